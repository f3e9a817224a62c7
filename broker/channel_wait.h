// ChannelWait: waiting for a channel that does not exist yet (Broker::WaitForChannel), without a thread and
// without asking again and again.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "broker/wakes.h"

namespace strata::broker {

struct SharedState;

// Destroying it ends the waiting. May outlive the broker.
class ChannelWait {
 public:
  explicit ChannelWait(std::shared_ptr<SharedState> shared) : shared_(std::move(shared)) {}
  ~ChannelWait();
  ChannelWait(const ChannelWait&) = delete;
  ChannelWait& operator=(const ChannelWait&) = delete;

 private:
  const std::shared_ptr<SharedState> shared_;
};

// All who wait. Thread-safe; its lock is a leaf. The broker adds and takes under the lock of its
// channels: so either a channel is found, or its creation finds who waits for it.
class ChannelWaits {
 public:
  // False once all has ended; `wake` is dropped then.
  [[nodiscard]] bool Add(const ChannelWait* who, const std::string& name,
                         std::function<void()> wake);
  void Remove(const ChannelWait* who);
  // Those who wait for `name` wait no more, and are woken by `wakes`.
  void Take(const std::string& name, Wakes* wakes);
  // Wakes all, and lets nobody wait any more.
  void End();
  size_t size() const;

 private:
  struct Entry {
    const ChannelWait* who;
    std::string name;
    std::function<void()> wake;
  };

  mutable Mutex mu_;
  bool ended_ STRATA_GUARDED_BY(mu_) = false;
  std::vector<Entry> entries_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::broker
