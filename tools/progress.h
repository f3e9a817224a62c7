// Progress: one line on a terminal about work that takes longer than half a second, redrawn at most
// ten times a second and removed at the end. With a known total it has a bar.
//
//   [=========>          ]  46%  1.2 GB  340.1 MB/s  332,000 msg/s
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "tools/io.h"

namespace strata::tools {

// "[=========>          ]  46%" for a share of 0 to 1.
std::string ProgressBar(double share);

class Progress {
 public:
  // Silent unless standard error is a terminal. `io` outlives it.
  Progress(const Io& io, std::optional<uint64_t> total_bytes);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Cheap enough for every block, not for every message.
  void Update(uint64_t bytes, uint64_t messages = 0);
  // Removes the line, so that something else can be written.
  void Clear();

 private:
  std::string Line(uint64_t bytes, uint64_t messages, double seconds) const;

  const Io& io_;
  const std::optional<uint64_t> total_;
  const std::chrono::microseconds start_;
  std::chrono::microseconds next_;
  bool visible_ = false;
};

}  // namespace strata::tools
