// Calls: how long each call took, and whether one is still out. A call that hangs must be named, not
// end in a test that does not end.
//
//   Calls calls;
//   const auto received = calls.Timed("Receive", milliseconds(500), [&] { return reader.Receive(...); });
//   CHECK(calls.problem() == "");
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/mutex.h"

namespace strata::testing {

// Thread-safe.
class Calls {
 public:
  using Clock = std::chrono::steady_clock;

  // `slack`: what a call may take beyond the timeout it was given, for a machine that is busy and a
  // network that is broken.
  explicit Calls(std::chrono::milliseconds slack) : slack_(slack) {}

  template <typename Call>
  auto Timed(const char* name, std::chrono::milliseconds timeout, Call call) {
    const uint64_t number = Begin(name, timeout);
    auto result = call();
    End(number);
    return result;
  }

  // The first call that took longer than its timeout and the slack, or is still out after that; empty
  // if none.
  std::string problem() {
    MutexLock lock(mu_);
    for (const auto& [number, call] : out_) {
      if (Clock::now() > call.bound) return Describe(call) + " and has not returned";
    }
    return late_;
  }
  // Of those that have returned: "Send 1234 ms".
  std::string longest() {
    MutexLock lock(mu_);
    return longest_name_ + " " + std::to_string(longest_.count()) + " ms";
  }
  uint64_t count() {
    MutexLock lock(mu_);
    return next_;
  }

 private:
  struct Out {
    const char* name;
    Clock::time_point start;
    Clock::time_point bound;
  };

  uint64_t Begin(const char* name, std::chrono::milliseconds timeout) {
    MutexLock lock(mu_);
    const auto now = Clock::now();
    out_[next_] = {name, now, now + timeout + slack_};
    return next_++;
  }
  void End(uint64_t number) {
    MutexLock lock(mu_);
    const auto call = out_.extract(number).mapped();
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - call.start);
    if (Clock::now() > call.bound && late_.empty()) late_ = Describe(call);
    if (took <= longest_) return;
    longest_ = took;
    longest_name_ = call.name;
  }
  static std::string Describe(const Out& call) {
    const auto ms = [](auto time) {
      return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
    };
    return std::string(call.name) + " took " + ms(Clock::now() - call.start) +
           " ms, its bound is " + ms(call.bound - call.start);
  }

  const std::chrono::milliseconds slack_;
  Mutex mu_;
  std::map<uint64_t, Out> out_ STRATA_GUARDED_BY(mu_);
  uint64_t next_ STRATA_GUARDED_BY(mu_) = 0;
  std::string late_ STRATA_GUARDED_BY(mu_);
  std::chrono::milliseconds longest_ STRATA_GUARDED_BY(mu_){0};
  std::string longest_name_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::testing
