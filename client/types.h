// The options of the client's interface, and what Fetch returns. The other values are in
// base/api.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/api.h"
#include "base/buffer.h"
#include "base/types.h"

namespace strata {

class ReceivedBatch;

// Of one append.
struct AppendOptions {
  // Refused with CHANNEL_RECREATED if the name means another channel; 0: any.
  ChannelNumber channel_number = 0;
  // Refused with ID_MISMATCH, whose Status::actual_next_id() tells the right one, unless the first
  // message gets this id; 0: any.
  MessageId expected_next_id = 0;
  // For programs that number batches themselves: stored once per (producer, sequence), however often
  // it is sent. Sequences start at 1 and have no holes. A Producer does this by itself.
  std::string producer = {};
  int64_t term = 0;
  uint64_t sequence = 0;
};

// One part of AppendMulti.
struct ChannelAppend {
  std::string channel;
  Buffer batch;  // from a BatchBuilder
  AppendOptions options = {};
};

struct ProducerOptions {
  bool create_if_missing = false;
  // Who produces. A name is kept by the broker, with the results of its last batches, so that what
  // is sent twice is stored once; one that is the same in the next run of the program also keeps
  // that run's older instances out (see term). Empty: one is made up, and forgotten by Close().
  std::string name = {};
  // Of a named producer: opening with a higher term fences the instances with lower ones, for good;
  // with the same term it takes over from the one before, which gets FENCED.
  // Programs take it from wherever they elect their writer; 0 if they do not.
  int64_t term = 0;
  // The channel's only writer: fences every named producer with a lower term (0 included), whatever
  // its name, for good, and all other writers until Close(). Destroying without Close() does not
  // release it. Needs a name and a term above 0.
  bool exclusive = false;
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
  // How long opening waits for a channel that does not exist yet; then, and at 0 at once, it is
  // CHANNEL_NOT_FOUND. LATEST starts with the channel's first message if it waited.
  std::chrono::milliseconds wait_for_channel{0};
};

struct ConsumerOptions {
  // Where a subscription that does not exist yet starts.
  StartPosition start = {};
  uint64_t read_ahead = 4u << 20;
  // Tells others who holds the subscription; empty: host name and process id.
  std::string holder = {};
  enum class Mode : uint8_t {
    kExclusive,  // SUBSCRIPTION_HELD, naming the holder, if somebody else has it
    kFailover,   // then waits its turn: Receive() answers TIMEOUT until it comes
  };
  Mode mode = Mode::kExclusive;
  std::chrono::milliseconds wait_for_channel{0};  // as of a reader
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
