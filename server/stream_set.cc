#include "server/stream_set.h"

#include <vector>

namespace strata::server {

bool StreamSet::Add(const std::shared_ptr<DrainableStream>& stream) {
  MutexLock lock(mu_);
  if (draining_) return false;
  streams_.emplace(stream.get(), stream);
  return true;
}

void StreamSet::Remove(const DrainableStream* stream) {
  MutexLock lock(mu_);
  streams_.erase(stream);
  if (streams_.empty()) empty_.NotifyAll();
}

void StreamSet::Drain() {
  std::vector<std::shared_ptr<DrainableStream>> open;
  {
    MutexLock lock(mu_);
    draining_ = true;
    open.reserve(streams_.size());
    for (const auto& [key, stream] : streams_) {
      if (auto alive = stream.lock()) open.push_back(std::move(alive));
    }
  }
  for (const auto& stream : open) stream->Drain();
}

bool StreamSet::WaitUntilEmpty(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mu_);
  while (!streams_.empty() && !stop_waiting_) {
    if (empty_.WaitUntil(mu_, deadline) == std::cv_status::timeout) break;
  }
  return streams_.empty();
}

void StreamSet::StopWaiting() {
  MutexLock lock(mu_);
  stop_waiting_ = true;
  empty_.NotifyAll();
}

size_t StreamSet::size() {
  MutexLock lock(mu_);
  return streams_.size();
}

}  // namespace strata::server
