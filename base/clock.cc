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
  // The owner of `mu` and `cv` may be destroyed as soon as this thread has left, so it leaves only
  // while no Advance() is under way with a copy of them.
  mu.Unlock();
  {
    MutexLock lock(mu_);
    while (advancing_ > 0) advanced_.Wait(mu_);
    waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
  }
  mu.Lock();
}

void ManualClock::Advance(Duration by) {
  std::vector<Waiter> to_wake;
  {
    MutexLock lock(mu_);
    now_ += by;
    ++advancing_;
    for (Waiter* waiter : waiters_) {
      waiter->woken = true;
      to_wake.push_back(*waiter);
    }
  }
  for (const Waiter& waiter : to_wake) {
    // Holding the waiter's mutex means that it is inside Wait(), so the notification cannot fall
    // between its check of the time and its wait.
    MutexLock lock(*waiter.mu);
    waiter.cv->NotifyAll();
  }
  MutexLock lock(mu_);
  --advancing_;
  advanced_.NotifyAll();
}

void ManualClock::SetWall(TimeMicros wall) {
  MutexLock lock(mu_);
  wall_start_ = wall - now_.count();
}

int ManualClock::waiters() {
  MutexLock lock(mu_);
  return static_cast<int>(std::count_if(waiters_.begin(), waiters_.end(),
                                        [](const Waiter* waiter) { return !waiter->woken; }));
}

}  // namespace strata
