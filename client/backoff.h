// The pauses between attempts to come back to a broker: 50 ms, doubled up to 2 s, each shortened at
// random by up to a quarter, so that the clients of a daemon that restarts do not come in step.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace strata {

class Backoff {
 public:
  std::chrono::milliseconds Next() {
    const auto pause = pause_;
    pause_ = std::min(pause_ * 2, kLongest);
    std::uniform_int_distribution<int64_t> shorter(0, pause.count() / 4);
    return pause - std::chrono::milliseconds(shorter(random_));
  }

 private:
  static constexpr std::chrono::milliseconds kFirst{50};
  static constexpr std::chrono::milliseconds kLongest{2000};

  std::chrono::milliseconds pause_ = kFirst;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace strata
