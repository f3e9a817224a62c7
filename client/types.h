// The options of the client's interface, and what Fetch returns. The other values are in
// base/api.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/api.h"
#include "base/types.h"

namespace strata {

class ReceivedBatch;

struct ProducerOptions {
  bool create_if_missing = false;
  // A batch leaves when it has this many bytes. Larger is faster up to 1 MiB and holds more in
  // memory.
  uint64_t batch_bytes = 1u << 20;
  // How long a batch may wait for more messages although it could leave. 0: it leaves at once
  // unless a few batches are on their way already, which makes large batches under load and lets a
  // lone message wait for nothing.
  std::chrono::microseconds linger{0};
  // Bytes sent but not yet acknowledged, unsent batches included.
  uint64_t max_in_flight = 16u << 20;
  // At max_in_flight: wait (true), or refuse with PRODUCER_FULL (false).
  bool block_when_full = true;
};

struct ReaderOptions {
  // Bytes received ahead of the caller.
  uint64_t read_ahead = 4u << 20;
};

struct ConsumerOptions {
  // Where a subscription that does not exist yet starts.
  StartPosition start = {};
  uint64_t read_ahead = 4u << 20;
  // Tells others who holds the subscription; empty: host name and process id.
  std::string holder = {};
};

struct FetchOptions {
  uint64_t max_bytes = 1u << 20;  // soft: the batch that reaches it is the last
  std::chrono::milliseconds max_wait{0};
};

struct FetchResult {
  std::vector<ReceivedBatch> batches;  // gaps included, in order of ids
  MessageId next_position = 0;         // where the next fetch goes on
  MessageId first_available = 0;
  MessageId next_id = 0;  // the channel's durable end
};

}  // namespace strata
