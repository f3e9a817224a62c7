// strata consume: messages of a channel become a stream of bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/api.h"
#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"
#include "tools/message_format.h"

namespace strata::tools {

struct ConsumeOptions {
  std::string channel;
  // Where it begins. With a subscription: where that begins if it does not exist yet.
  StartPosition from = {};
  // Not empty: consume with this subscription and acknowledge what was written to io.out.
  std::string subscription = {};
  bool failover = false;                          // wait for the subscription if somebody holds it
  std::chrono::milliseconds wait_for_channel{0};  // for a channel that does not exist yet
  std::optional<uint64_t> max = {};               // messages
  bool follow = false;  // go on after the end that the channel had at the start
  MessageStyle style = MessageStyle::kText;
  std::string separator = "\n";  // for kRaw
};

// Writes messages to io.out until the end, the maximum, io.stop, or until nobody reads the output
// any more (which is no error). Gaps are told on io.err.
//
// With a subscription everything written is acknowledged: about once a second, when the channel has
// nothing more, and at the end. What was written since then comes again after a crash; nothing that
// was not written is ever acknowledged.
//
// Returns the exit code: 0, or 128 + signal if it was stopped before its end without `follow`.
Result<int> Consume(Client& client, const Io& io, const ConsumeOptions& options);

}  // namespace strata::tools
