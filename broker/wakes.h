// Wakes: callbacks that were found due under a lock, called without it: when this goes out of scope.
// Declare it before the lock. And SpareTime: when a wake may do more than schedule.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace strata::broker {

class Wakes {
 public:
  Wakes() = default;
  ~Wakes() {
    for (const std::function<void()>& wake : wakes_) wake();
  }
  Wakes(const Wakes&) = delete;
  Wakes& operator=(const Wakes&) = delete;

  // Nothing for an empty one.
  void Add(std::function<void()> wake) {
    if (wake) wakes_.push_back(std::move(wake));
  }

 private:
  std::vector<std::function<void()>> wakes_;
};

// A wake only schedules, because it runs on a thread that others wait for; unless that thread has
// time: then a few wakes may do their work at once, and save the hand-over to another thread. What
// they do must be as quick as one small delivery, and must not wait.
class SpareTime {
 public:
  // In this scope, on this thread, for so many wakes.
  explicit SpareTime(int wakes) { left_ = wakes; }
  ~SpareTime() { left_ = 0; }
  SpareTime(const SpareTime&) = delete;
  SpareTime& operator=(const SpareTime&) = delete;

  // Asked by a wake: true if it may.
  static bool Take() {
    if (left_ == 0) return false;
    --left_;
    return true;
  }

 private:
  inline static thread_local int left_ = 0;
};

}  // namespace strata::broker
