// strata compact: rewrites everything that is not yet as small as it can be.
#pragma once

#include <chrono>

#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"

namespace strata::tools {

struct CompactOptions {
  // Returns when it has ended, with progress on a terminal; otherwise once it has begun.
  bool wait = false;
  // How often to ask how far it is.
  std::chrono::milliseconds interval{200};
};

// Starts a compaction, or joins one that is running, and prints what it did to io.out; JSON: one
// object. Returns the exit code: 1 if it ended early. io.stop ends the waiting, not the compaction.
Result<int> Compact(Client& client, const Io& io, const CompactOptions& options);

}  // namespace strata::tools
