// strata status: what the broker does and holds.
#pragma once

#include <chrono>
#include <string>

#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"

namespace strata::tools {

struct StatusOptions {
  std::string address = {};  // to show
  // Instead of one answer: a line per interval, with rates made of the difference of two answers,
  // until io.stop.
  bool watch = false;
  std::chrono::milliseconds interval{1'000};
  // Instead of one answer: what keeps each channel's oldest page (tools/space_command.h).
  bool space = false;
};

// Prints to io.out; JSON: one object, or one a line. Returns the exit code.
Result<int> ShowStatus(Client& client, const Io& io, const StatusOptions& options);

}  // namespace strata::tools
