// The values that go into a broker and come out of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
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

class ProducerSession;

struct AppendRequest {
  std::string channel = {};  // may be left out with a session
  Buffer batch = {};         // a strata.v1.MessageBatch
  // Refuses the append if the name has become another channel: the number from OpenChannel, or 0
  // for any.
  ChannelNumber channel_number = 0;
  // With a name: the batch's number of that producer, from 1, contiguous. A sequence that is stored
  // is answered with its first result. Empty: a plain append. Left out with a session.
  std::string producer = {};
  int64_t term = 0;
  uint64_t sequence = 0;
  MessageId expected_next_id = 0;  // ID_MISMATCH unless it gets this id; 0: any
  // From OpenProducer: whose append it is. After the first one of a session that is refused, all
  // that follow are refused, not appended.
  std::shared_ptr<ProducerSession> session = {};
};

using AppendCallback = std::function<void(const Result<AppendResult>&)>;
using AppendMultiCallback = std::function<void(const Result<std::vector<AppendResult>>&)>;

struct ProducerOpen {
  std::string channel = {};
  bool create_if_missing = false;
  ChannelNumber channel_number = 0;  // CHANNEL_RECREATED if it is another one; 0: any
  std::string producer = {};         // empty: a plain producer, without duplicate detection
  int64_t term = 0;                  // FENCED if below the one in force; needs a name
  bool exclusive = false;            // the channel's only writer; needs a name and a term above 0
  bool forget_when_closed = false;   // CloseProducer forgets the name
  uint64_t instance = 0;             // strata.v1.ProduceOpen.instance and attempt
  uint64_t attempt = 0;
};

struct OpenedProducer {
  std::shared_ptr<ProducerSession> session;
  ChannelNumber channel_number = 0;
  MessageId next_id = kFirstMessageId;  // the channel's durable end
  uint64_t last_sequence = 0;           // stored for this name; 0: none
};

// A stored batch on its way to a reader. The first `skip` messages lie before the reader's
// position.
struct Delivery {
  StoredBatch batch;
  uint32_t skip = 0;

  MessageId first_id() const { return batch.first_id + skip; }
  uint32_t count() const { return batch.count - skip; }
};

// To consume with a subscription.
struct SubscriptionOpen {
  std::string channel;
  std::string subscription;
  StartPosition start = {};  // where it starts if it does not exist yet
  std::string holder = {};   // describes this consumer to others ("host:pid" or an address)
  // Tells this consumer from every other one: an open with the instance of the present holder takes
  // over from it. 0: it cannot be told.
  uint64_t instance = 0;
  // When it comes again: deliveries go on from here instead of the cursor, if that is lower and no
  // seek has come after number `resume_seek`. 0: from the cursor. Otherwise a subscription that does
  // not exist is not created: SUBSCRIPTION_NOT_FOUND.
  MessageId resume_at = 0;
  uint64_t resume_seek = 0;
  // Called when a standby has its turn, or the reader's TakeNews() something to say. From any
  // thread, also late or without need; must only schedule. Perhaps empty.
  std::function<void()> news = {};
};

// A seek of a subscription: deliveries go on from `position`.
struct Moved {
  MessageId position = 0;
  uint64_t seek = 0;  // its number: so often was the subscription sought until now; 0 without one
};

struct BrokerStats {
  uint64_t channels = 0;
  uint64_t subscriptions = 0;
  uint64_t readers = 0;
  uint64_t channel_waits = 0;      // for channels that do not exist yet
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
