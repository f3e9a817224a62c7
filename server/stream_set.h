// StreamSet: the calls of one kind that are open, so that draining can tell each of them and wait
// until all have ended.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <unordered_map>

#include "base/mutex.h"

namespace strata::server {

// A call that can be told to come to its end.
class DrainableStream {
 public:
  virtual ~DrainableStream() = default;
  // Finishes what is under way, then ends the call with SHUTTING_DOWN. Any thread; idempotent.
  virtual void Drain() = 0;
};

// Thread-safe.
class StreamSet {
 public:
  // False when draining: the call is to be refused.
  [[nodiscard]] bool Add(const std::shared_ptr<DrainableStream>& stream);
  // Once the call has ended. No effect for a stream that was never added.
  void Remove(const DrainableStream* stream);

  // Refuses new ones and drains those that are there.
  void Drain();
  // False if some were still there when the time was over, or StopWaiting() came.
  bool WaitUntilEmpty(std::chrono::steady_clock::time_point deadline);
  // Ends that wait, and every later one, at once.
  void StopWaiting();
  size_t size();

 private:
  Mutex mu_;
  CondVar empty_;
  bool draining_ STRATA_GUARDED_BY(mu_) = false;
  bool stop_waiting_ STRATA_GUARDED_BY(mu_) = false;
  std::unordered_map<const DrainableStream*, std::weak_ptr<DrainableStream>> streams_
      STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::server
