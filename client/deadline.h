// Deadlines from the timeouts that callers give, whatever their size.
#pragma once

#include <algorithm>
#include <chrono>

namespace strata {

// So that "for ever" (milliseconds::max()) does not overflow when it is added to a time.
inline constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(24 * 365);

inline std::chrono::milliseconds BoundedTimeout(std::chrono::milliseconds timeout) {
  return std::clamp(timeout, std::chrono::milliseconds(0), kLongestTimeout);
}

inline std::chrono::steady_clock::time_point DeadlineAfter(std::chrono::milliseconds timeout) {
  return std::chrono::steady_clock::now() + BoundedTimeout(timeout);
}

}  // namespace strata
