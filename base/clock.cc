#include "base/clock.h"

#include <algorithm>

namespace strata {
namespace {

class SystemClock final : public Clock {
 public:
  TimeMicros WallMicros() override {
    return std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  Duration Monotonic() override {
    return std::chrono::duration_cast<Duration>(
        std::chrono::steady_clock::now().time_since_epoch());
  }
  void WaitUntil(Mutex& mu, CondVar& cv, Duration deadline) override STRATA_REQUIRES(mu) {
    cv.WaitUntil(mu, std::chrono::steady_clock::time_point(deadline));
  }
};

}  // namespace

Clock* Clock::System() {
  static SystemClock* const kClock = new SystemClock;
  return kClock;
}

TimeMicros ManualClock::WallMicros() {
  MutexLock lock(mu_);
  return wall_start_ + now_.count();
}

Clock::Duration ManualClock::Monotonic() {
  MutexLock lock(mu_);
  return now_;
}

void ManualClock::WaitUntil(Mutex& mu, CondVar& cv, Duration deadline) {
  Waiter waiter{&mu, &cv};
  {
    MutexLock lock(mu_);
    if (now_ >= deadline) return;
    waiters_.push_back(&waiter);
  }
  cv.Wait(mu);
  // Advance() may be about to lock `mu` for this waiter: it works on a copy of {mu, cv}, both of
  // which outlive the wait because their owner cannot be destroyed before this thread leaves.
  MutexLock lock(mu_);
  waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
}

void ManualClock::Advance(Duration by) {
  std::vector<Waiter> to_wake;
  {
    MutexLock lock(mu_);
    now_ += by;
    for (const Waiter* waiter : waiters_) to_wake.push_back(*waiter);
  }
  for (const Waiter& waiter : to_wake) {
    // Holding the waiter's mutex means that it is inside Wait(), so the notification cannot fall
    // between its check of the time and its wait.
    MutexLock lock(*waiter.mu);
    waiter.cv->NotifyAll();
  }
}

void ManualClock::SetWall(TimeMicros wall) {
  MutexLock lock(mu_);
  wall_start_ = wall - now_.count();
}

int ManualClock::waiters() {
  MutexLock lock(mu_);
  return static_cast<int>(waiters_.size());
}

}  // namespace strata
