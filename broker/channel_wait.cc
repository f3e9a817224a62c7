#include "broker/channel_wait.h"

#include <algorithm>
#include <utility>

#include "broker/shared_state.h"

namespace strata::broker {

ChannelWait::~ChannelWait() { shared_->channel_waits.Remove(this); }

size_t ChannelWaits::size() const {
  MutexLock lock(mu_);
  return entries_.size();
}

bool ChannelWaits::Add(const ChannelWait* who, const std::string& name,
                       std::function<void()> wake) {
  MutexLock lock(mu_);
  if (ended_) return false;
  entries_.push_back({who, name, std::move(wake)});
  return true;
}

void ChannelWaits::Remove(const ChannelWait* who) {
  Entry removed;  // a wake may own things whose destructors must not run under the lock
  MutexLock lock(mu_);
  const auto it = std::find_if(entries_.begin(), entries_.end(),
                               [who](const Entry& entry) { return entry.who == who; });
  if (it == entries_.end()) return;
  removed = std::move(*it);
  entries_.erase(it);
}

void ChannelWaits::Take(const std::string& name, Wakes* wakes) {
  MutexLock lock(mu_);
  std::erase_if(entries_, [&](Entry& entry) {
    if (entry.name != name) return false;
    wakes->Add(std::move(entry.wake));
    return true;
  });
}

void ChannelWaits::End() {
  Wakes wakes;
  MutexLock lock(mu_);
  ended_ = true;
  for (Entry& entry : entries_) wakes.Add(std::move(entry.wake));
  entries_.clear();
}

}  // namespace strata::broker
