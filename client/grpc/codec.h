// What the daemon sends on the data path, read without copying batches more than once: gRPC brings
// a large message in many slices, and messages are viewed in one piece.
#pragma once

#include <variant>

#include "base/buffer.h"
#include "base/status.h"
#include "client/client.h"
#include "strata/v1/log.pb.h"

namespace strata {

// One response of a Consume stream: a batch or a gap, or one of the others.
using ConsumeEvent = std::variant<ReceivedBatch, v1::ConsumeResponse>;

// INTERNAL for bytes that are not the message: daemon and client do not speak the same protocol.
Result<ConsumeEvent> ParseConsumeResponse(const Buffer& message);
Result<FetchResult> ParseFetchResponse(const Buffer& message);

}  // namespace strata
