// What storage keeps, as plain values: the vocabulary between the broker and the store.
//
// The bytes of each are described in docs/formats/ and produced by one codec (storage/codec.h,
// storage/catalog.h).
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/api.h"
#include "base/buffer.h"
#include "base/types.h"

namespace strata::storage {

// A channel's row in the catalog.
struct ChannelRecord {
  ChannelNumber number = 0;
  std::string name;
  ChannelOptions options;
  TimeMicros created_at = 0;
  MessageId next_id = kFirstMessageId;  // ids go on here unless a page is newer
  MessageId truncated_through = 0;      // the truncation mark, inclusive; 0 is none
  TimeMicros truncated_at = 0;          // when the mark was last moved
  std::vector<Gap> lost;                // LOST holes, ascending

  friend bool operator==(const ChannelRecord&, const ChannelRecord&) = default;
};

// A subscription's row: "all below `cursor` is acknowledged".
struct SubscriptionRecord {
  ChannelNumber channel = 0;
  std::string name;
  MessageId cursor = kFirstMessageId;
  TimeMicros created_at = 0;
  TimeMicros active_at = 0;  // last attached, acknowledged or sought

  friend bool operator==(const SubscriptionRecord&, const SubscriptionRecord&) = default;
};

// A batch to store, ids and time assigned.
struct BatchRecord {
  ChannelNumber channel = 0;
  MessageId first_id = 0;
  uint32_t count = 0;
  TimeMicros append_time = 0;
  uint64_t producer = 0;  // 0: a plain append
  uint64_t sequence = 0;
  Buffer bytes;  // a strata.v1.MessageBatch, stored as it is
};

struct PutChannel {
  ChannelRecord channel;
};
struct DropChannel {  // its row, pages and subscriptions
  ChannelNumber channel = 0;
};
struct PutSubscription {
  SubscriptionRecord subscription;
};
struct DropSubscription {
  ChannelNumber channel = 0;
  std::string name;
};
using CatalogChange = std::variant<PutChannel, DropChannel, PutSubscription, DropSubscription>;

// What one WriteBatch carries: all of it is stored, or none. Changes are applied in order, after
// the batches.
struct WriteGroup {
  uint64_t commit = 0;  // the previous group's + 1
  std::vector<BatchRecord> batches;
  std::vector<CatalogChange> changes;

  bool empty() const { return batches.empty() && changes.empty(); }
  void Clear() {
    batches.clear();
    changes.clear();
  }
};

// A batch as read back.
struct StoredBatch {
  MessageId first_id = 0;
  uint32_t count = 0;
  TimeMicros append_time = 0;
  Buffer bytes;

  MessageId next_id() const { return first_id + count; }
};

// A channel as found when the store was opened.
struct RecoveredChannel {
  ChannelRecord record;
  MessageId next_id = kFirstMessageId;  // above every id ever given out
  TimeMicros last_append_time = 0;
};

// What the broker starts from.
struct Recovered {
  std::string store_id;  // 32 hex digits, given at creation
  uint64_t commit = 0;   // the last group's number
  ChannelNumber next_channel = 1;
  std::vector<RecoveredChannel> channels;
  std::vector<SubscriptionRecord> subscriptions;
};

struct StoreStats {
  uint64_t strata = 0;  // with data, the newest included
  uint64_t spares = 0;  // created ahead of need
  uint64_t pages = 0;
  uint64_t live_bytes = 0;       // of all pages
  uint64_t disk_bytes = 0;       // everything below the directory
  uint64_t disk_free_bytes = 0;  // of its file system, for this user
  uint64_t memtable_bytes = 0;   // not yet in a table file
  uint64_t block_cache_bytes = 0;
  uint64_t groups = 0;  // written since the store was opened
  uint64_t syncs = 0;   // completed since the store was opened
};

struct ChannelSpace {
  uint64_t pages = 0;
  uint64_t bytes = 0;  // stored bytes of its batches
};

// One step of a read: a batch, or a hole where a batch is damaged (CORRUPT).
using ReadItem = std::variant<StoredBatch, Gap>;

}  // namespace strata::storage
