// Clock: the only source of time in Strata, injected so that tests own it.
#pragma once

#include <chrono>
#include <vector>

#include "base/mutex.h"
#include "base/types.h"

namespace strata {

// Thread-safe. Outlives everything it is given to.
class Clock {
 public:
  using Duration = std::chrono::microseconds;

  virtual ~Clock() = default;

  // Wall-clock time; may jump. For append_time and retention.
  virtual TimeMicros WallMicros() = 0;
  // Monotonic time since an arbitrary origin. For deadlines and measuring.
  virtual Duration Monotonic() = 0;
  // Waits until `cv` is notified, spuriously, or until Monotonic() >= deadline: callers loop over
  // their condition. REQUIRES: mu is held; it is released while waiting and held again on return.
  virtual void WaitUntil(Mutex& mu, CondVar& cv, Duration deadline) STRATA_REQUIRES(mu) = 0;

  // The system's clock; never destroyed.
  static Clock* System();
};

// A clock that moves only when told to. Waiters wake when Advance() reaches their deadline.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(TimeMicros wall_start = 1'000'000'000'000'000) : wall_start_(wall_start) {}

  TimeMicros WallMicros() override;
  Duration Monotonic() override;
  void WaitUntil(Mutex& mu, CondVar& cv, Duration deadline) override STRATA_REQUIRES(mu);

  // Moves both times forward and wakes every waiter. REQUIRES: the caller holds no mutex that a
  // waiter waits with.
  void Advance(Duration by);
  // Moves the wall clock alone, backwards too, as an administrator or NTP would.
  void SetWall(TimeMicros wall);
  // How many threads wait and know the time as it is: lets a test advance only once the thread it means is
  // waiting, and go on only once that thread has done what the last Advance() gave it to do.
  int waiters();

 private:
  struct Waiter {
    Mutex* mu;
    CondVar* cv;
    bool woken = false;  // by an Advance(); it has yet to see why
  };

  Mutex mu_;  // leaf: taken while a waiter's own mutex is held, never the other way round
  CondVar advanced_;
  TimeMicros wall_start_ STRATA_GUARDED_BY(mu_);
  Duration now_ STRATA_GUARDED_BY(mu_){0};
  int advancing_ STRATA_GUARDED_BY(mu_) = 0;  // calls of Advance() under way
  std::vector<Waiter*> waiters_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata
