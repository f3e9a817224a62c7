// What storage keeps, as plain values: the vocabulary between the broker and the store.
//
// The bytes of each are described in docs/formats/ and produced by one codec (storage/codec.h,
// storage/catalog.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/api.h"
#include "base/buffer.h"
#include "base/types.h"

namespace strata::storage {

// A run of one channel's batches inside one stratum: the unit of retention.
struct Page {
  MessageId first = 0;  // [first, next)
  MessageId next = 0;
  uint64_t bytes = 0;  // keys and values of its batches
  uint32_t batches = 0;
  uint32_t stratum = 0;
  TimeMicros first_time = 0;  // append times of its first and last batch
  TimeMicros last_time = 0;
  uint64_t commit = 0;  // of the last group that changed it

  friend bool operator==(const Page&, const Page&) = default;
};

// A stratum, as those see it who decide about its space.
struct StratumInfo {
  uint32_t number = 0;
  TimeMicros created_at = 0;  // append time of its first batch: strata are ordered by it
  TimeMicros sealed_at = 0;   // 0: the one being written
  uint64_t live_pages = 0;    // that are neither trimmed nor moved away
  uint64_t live_bytes = 0;    // keys and values of their batches
  uint64_t raw_bytes = 0;     // keys and values of all batches in it, garbage included
  uint64_t file_bytes = 0;    // of its table files on disk, compressed
  bool rewritten = false;     // in the last level, with that level's compression
  std::string quarantined;    // why it is; empty: it is not
};

// A channel's row in the catalog.
struct ChannelRecord {
  ChannelNumber number = 0;
  std::string name;
  ChannelOptions options;
  TimeMicros created_at = 0;
  MessageId next_id = kFirstMessageId;  // ids go on here unless a page is newer
  TimeMicros last_append_time = 0;  // and append times; 0: a page tells, or nothing was appended
  MessageId truncated_through = 0;  // the truncation mark, inclusive; 0 is none
  TimeMicros truncated_at = 0;      // when the mark was last moved
  std::vector<Gap> lost;            // LOST holes, ascending
  int64_t exclusive_term = 0;       // the highest ever: lower terms are fenced for good; 0 is none
  std::string exclusive_holder;     // the producer that is the only writer; empty: none is
  uint64_t next_producer = 1;       // number of the next producer that is new to the channel

  friend bool operator==(const ChannelRecord&, const ChannelRecord&) = default;
};

// A subscription's row: "all below `cursor` is acknowledged".
struct SubscriptionRecord {
  ChannelNumber channel = 0;
  std::string name;
  MessageId cursor = kFirstMessageId;
  TimeMicros created_at = 0;
  TimeMicros active_at = 0;  // last attached, acknowledged or sought
  uint64_t seeks = 0;        // so often was the cursor moved by a seek

  friend bool operator==(const SubscriptionRecord&, const SubscriptionRecord&) = default;
};

// A named producer's row. Its results are in rows of their own, written with their batches.
struct ProducerRecord {
  ChannelNumber channel = 0;
  uint64_t number = 0;  // in its channel, from 1, never reused
  std::string name;
  int64_t term = 0;
  TimeMicros created_at = 0;
  TimeMicros opened_at = 0;  // last opened with a term of its own, or created

  friend bool operator==(const ProducerRecord&, const ProducerRecord&) = default;
};

// What became of one batch of a named producer. The last kProducerWindow are kept.
struct ProducerResult {
  uint64_t sequence = 0;
  MessageId first_id = 0;
  uint32_t count = 0;
  TimeMicros append_time = 0;
  uint64_t content = 0;  // ContentHash of its bytes: the same sequence with others is refused

  friend bool operator==(const ProducerResult&, const ProducerResult&) = default;
};

// A batch to store, ids and time assigned.
struct BatchRecord {
  ChannelNumber channel = 0;
  MessageId first_id = 0;
  uint32_t count = 0;
  TimeMicros append_time = 0;
  uint64_t producer = 0;  // ProducerRecord::number; 0: a plain append
  uint64_t sequence = 0;
  Buffer bytes;  // a strata.v1.MessageBatch, stored as it is
  // ContentHash of the bytes, which the stored checksum covers instead of them: so it is computed by whoever received
  // them, while the processor still has them at hand, and not by the one thread that writes. 0: computed there.
  uint64_t content = 0;
};

struct PutChannel {
  ChannelRecord channel;
};
struct DropChannel {  // its row, pages, subscriptions and producers
  ChannelNumber channel = 0;
};
struct PutSubscription {
  SubscriptionRecord subscription;
};
struct DropSubscription {
  ChannelNumber channel = 0;
  std::string name;
};
struct PutProducer {
  ProducerRecord producer;
};
struct DropProducer {  // its row and its results
  ChannelNumber channel = 0;
  uint64_t number = 0;
};
// Pages of which every id is at or below `through`: their rows go. The pages themselves stay readable
// until LogStore::ForgetPages, which follows once this is durable.
struct TrimPages {
  ChannelNumber channel = 0;
  MessageId through = 0;
};
// The next batch goes to a new stratum. Nothing happens if no spare is ready.
struct SealStratum {};
// Pages that LogStore::Rewrite has copied to stratum `to`, which is sealed from the start. Those that
// have been trimmed meanwhile are passed over.
struct MovePages {
  struct Moved {
    ChannelNumber channel = 0;
    MessageId first = 0;
    uint32_t from = 0;
  };
  uint32_t to = 0;
  TimeMicros created_at = 0;  // of the oldest stratum it replaces
  TimeMicros sealed_at = 0;   // of the newest one
  std::vector<Moved> pages;
};
// A sealed stratum that is damaged; `why` empty: not any more.
struct QuarantineStratum {
  uint32_t number = 0;
  std::string why;
};

using CatalogChange =
    std::variant<PutChannel, DropChannel, PutSubscription, DropSubscription, PutProducer,
                 DropProducer, TrimPages, SealStratum, MovePages, QuarantineStratum>;

// What one WriteBatch carries: all of it is stored, or none. Changes are applied in order, after
// the batches; a batch with a producer brings its ProducerResult, in the slot of its sequence.
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

// A producer as found when the store was opened: the newest results, ascending, without holes.
struct RecoveredProducer {
  ProducerRecord record;
  std::vector<ProducerResult> results;

  friend bool operator==(const RecoveredProducer&, const RecoveredProducer&) = default;
};

// What the broker starts from.
struct Recovered {
  std::string store_id;  // 32 hex digits, given at creation
  uint64_t commit = 0;   // the last group's number
  ChannelNumber next_channel = 1;
  std::vector<RecoveredChannel> channels;
  std::vector<SubscriptionRecord> subscriptions;
  std::vector<RecoveredProducer> producers;
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
  // Strata in the last level's compression: keys and values of their batches, and their files.
  uint64_t compressed_strata = 0;
  uint64_t compressed_raw_bytes = 0;
  uint64_t compressed_file_bytes = 0;
  std::vector<QuarantinedStratum> quarantined;
  uint64_t ballast_bytes = 0;
  uint64_t block_cache_limit = 0;
  uint64_t write_buffer_limit = 0;
};

struct ChannelSpace {
  uint64_t pages = 0;
  uint64_t bytes = 0;  // stored bytes of its batches
};

// What the directory takes and what its file system has left.
struct DiskUsage {
  uint64_t used = 0;  // bytes of all files below the directory, the ballast included
  uint64_t free = 0;  // for this user
};

struct RewriteRequest {
  std::vector<uint32_t> strata;  // sealed ones, in the order of created_at
  // Asked after each piece with the bytes read since the last time: may block, to set the pace.
  // False: give up.
  std::function<bool(uint64_t bytes)> pace;
};

// Exactly one of three: `changes` to commit, `damaged`, or neither, when it was told to give up.
struct RewriteResult {
  std::vector<CatalogChange> changes;  // a MovePages
  uint64_t read_bytes = 0;
  uint64_t written_bytes = 0;  // of the new table files
  uint32_t damaged = 0;        // the stratum in which damage was found; 0: none
  std::string damage;
};

// One step of a read: a batch, or a hole where a batch is damaged (CORRUPT).
using ReadItem = std::variant<StoredBatch, Gap>;

}  // namespace strata::storage
