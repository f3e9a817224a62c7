// strata status --space: what keeps each channel's oldest page.
#pragma once

#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"

namespace strata::tools {

// A table of all channels, or a JSON array, to io.out. Returns the exit code.
Result<int> ShowSpace(Client& client, const Io& io);

}  // namespace strata::tools
