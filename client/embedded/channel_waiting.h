// Waiting for a channel that does not exist yet (ReaderOptions::wait_for_channel), over a broker in this
// process.
#pragma once

#include <chrono>
#include <string>

#include "base/status.h"
#include "broker/broker.h"
#include "client/open_set.h"

namespace strata {

// Returns when `channel` exists or `time` is over; opening it tells which. True if it had to wait:
// then everything in it is later than the call. Closing the client, by `open`, ends it with
// CLIENT_CLOSED; INVALID_CHANNEL_NAME and SHUTTING_DOWN are the broker's.
Result<bool> AwaitChannel(broker::Broker& broker, const std::string& channel,
                          std::chrono::milliseconds time, OpenSet* open);

}  // namespace strata
