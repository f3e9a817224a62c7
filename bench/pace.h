// Pace: the schedule of an open loop. Message i is due at start + i / rate whatever became of those
// before it, so that a stall counts for every message it held up and not for one of them.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

#include "bench/support.h"

namespace strata::bench {

class Pace {
 public:
  // The first is due in 10 ms. REQUIRES: rate > 0 before anything else is called.
  explicit Pace(double rate)
      : step_nanos_(rate > 0 ? 1e9 / rate : 0),
        start_(SteadyClock::now() + std::chrono::milliseconds(10)) {}

  SteadyClock::time_point Due(uint64_t i) const {
    return start_ +
           std::chrono::nanoseconds(static_cast<int64_t>(static_cast<double>(i) * step_nanos_));
  }

  // Sleeps until then, if that is still to come. A thread that spun would be punctual, but of the
  // cores that the measured broker needs it would take one; PunctualThread() makes sleeping enough.
  void AwaitDue(uint64_t i) const {
    const int64_t nanos = Due(i).time_since_epoch().count();
    const timespec due{nanos / 1'000'000'000, nanos % 1'000'000'000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr) != 0) {
    }
  }

 private:
  const double step_nanos_;
  const SteadyClock::time_point start_;
};

// While it lives, the calling thread's timers fire when they are due and not up to 50 us later, which
// is what the kernel allows itself otherwise.
class PunctualThread {
 public:
  PunctualThread();
  ~PunctualThread();
  PunctualThread(const PunctualThread&) = delete;
  PunctualThread& operator=(const PunctualThread&) = delete;
};

}  // namespace strata::bench
