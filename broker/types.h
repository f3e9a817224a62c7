// The values that go into a broker and come out of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/api.h"
#include "base/buffer.h"
#include "base/status.h"
#include "base/types.h"
#include "retention/sweeper.h"
#include "storage/records.h"

namespace strata::broker {

using storage::StoredBatch;

struct AppendRequest {
  std::string channel;
  Buffer batch;  // a strata.v1.MessageBatch
  // Refuses the append if the name has become another channel: the number from OpenChannel, or 0
  // for any.
  ChannelNumber channel_number = 0;
};

using AppendCallback = std::function<void(const Result<AppendResult>&)>;

// A stored batch on its way to a reader. The first `skip` messages lie before the reader's
// position.
struct Delivery {
  StoredBatch batch;
  uint32_t skip = 0;

  MessageId first_id() const { return batch.first_id + skip; }
  uint32_t count() const { return batch.count - skip; }
};

struct BrokerStats {
  uint64_t channels = 0;
  uint64_t subscriptions = 0;
  uint64_t readers = 0;
  uint64_t messages_appended = 0;  // since the broker was opened, as are the next four
  uint64_t bytes_appended = 0;     // of batches
  uint64_t batches_appended = 0;
  uint64_t cache_hits = 0;     // batches that readers got from the tail cache
  uint64_t storage_reads = 0;  // reads that went to storage
  uint64_t pending_bytes = 0;  // appended, not yet acknowledged
  uint64_t tail_cache_bytes = 0;
  retention::SweeperCounters swept;
  retention::SpaceState space_state = retention::SpaceState::kNormal;
  retention::Marks space_marks;  // zero: no budget
};

}  // namespace strata::broker
