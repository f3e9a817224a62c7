// Mutex, MutexLock and CondVar: the standard ones, annotated so that clang's analysis can follow
// them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/thread_annotations.h"

namespace strata {

class STRATA_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() STRATA_ACQUIRE() { mu_.lock(); }
  void Unlock() STRATA_RELEASE() { mu_.unlock(); }
  bool TryLock() STRATA_TRY_ACQUIRE(true) { return mu_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

// Holds a Mutex for a scope. Unlock() and Lock() allow a gap inside the scope.
class STRATA_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mu) STRATA_ACQUIRE(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() STRATA_RELEASE() {
    if (held_) mu_.Unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Unlock() STRATA_RELEASE() {
    mu_.Unlock();
    held_ = false;
  }
  void Lock() STRATA_ACQUIRE() {
    mu_.Lock();
    held_ = true;
  }

 private:
  Mutex& mu_;
  bool held_ = true;
};

// A condition variable for a Mutex. Wake-ups may be spurious: always wait in a loop over the
// condition.
class CondVar {
 public:
  void Wait(Mutex& mu) STRATA_REQUIRES(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // Real time. Code that must be testable with an injected clock waits through Clock::WaitUntil.
  template <typename TimePoint>
  std::cv_status WaitUntil(Mutex& mu, const TimePoint& deadline) STRATA_REQUIRES(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    const std::cv_status status = cv_.wait_until(lock, deadline);
    lock.release();
    return status;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace strata
