#include "tools/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "tools/format.h"

namespace strata::tools {

using std::chrono::milliseconds;

std::string ProgressBar(double share) {
  constexpr size_t kWidth = 20;
  share = std::clamp(share, 0.0, 1.0);
  const auto filled = static_cast<size_t>(share * kWidth);
  std::string bar(filled, '=');
  if (filled < kWidth) bar += '>';
  return fmt::format("[{:<{}}] {:3.0f}%", bar, kWidth, share * 100);
}

Progress::Progress(const Io& io, std::optional<uint64_t> total_bytes)
    : io_(io),
      total_(total_bytes),
      start_(io.clock.Monotonic()),
      next_(start_ + milliseconds(500)) {}

void Progress::Update(uint64_t bytes, uint64_t messages) {
  if (!io_.err_is_terminal) return;
  const std::chrono::microseconds now = io_.clock.Monotonic();
  if (now < next_) return;
  next_ = now + milliseconds(100);
  visible_ = true;
  const double seconds = static_cast<double>((now - start_).count()) / 1e6;
  // Return to the first column and erase what the line had.
  io_.Note("\r\x1b[K" + Line(bytes, messages, seconds));
}

void Progress::Clear() {
  if (visible_) io_.Note("\r\x1b[K");
  visible_ = false;
}

std::string Progress::Line(uint64_t bytes, uint64_t messages, double seconds) const {
  std::string line;
  if (total_ && *total_ > 0) {
    line = ProgressBar(static_cast<double>(bytes) / static_cast<double>(*total_)) + "  ";
  }
  const auto rate = [&](uint64_t amount) {
    return static_cast<uint64_t>(static_cast<double>(amount) / seconds);
  };
  line += fmt::format("{}  {}/s", FormatBytes(bytes), FormatBytes(rate(bytes)));
  if (messages > 0) line += fmt::format("  {} msg/s", FormatCount(rate(messages)));
  return line;
}

}  // namespace strata::tools
