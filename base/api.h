// The values that a broker and its clients exchange, the same ones wherever the broker runs.
//
// They mirror strata/v1/*.proto, which documents each field in full.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

namespace strata {

// Of a rule's limit: the rule is off.
inline constexpr int64_t kNoLimit = -1;

// A channel's own retention rules. What is not set follows the broker's configuration.
struct RetentionOverrides {
  std::optional<RetentionPolicy> policy = {};
  std::optional<int64_t> retention_time = {};  // microseconds after the append, or kNoLimit
  std::optional<int64_t> retention_size = {};  // bytes that the channel holds, or kNoLimit
  std::optional<int64_t> max_messages = {};    // that the channel holds, or kNoLimit

  friend bool operator==(const RetentionOverrides&, const RetentionOverrides&) = default;
};

// What a channel is created with: creating it again with other options is refused. `retention` may
// be altered later; the channel then counts as created with the new one.
struct ChannelOptions {
  MessageId first_id = kFirstMessageId;  // at least 1
  RetentionOverrides retention = {};

  friend bool operator==(const ChannelOptions&, const ChannelOptions&) = default;
};

struct ChannelInfo {
  std::string name;
  ChannelNumber number = 0;  // never reused: tells a recreated channel from the old one
  ChannelOptions options;
  TimeMicros created_at = 0;
  MessageId first_available = kFirstMessageId;  // readable are [first_available, next_id)
  MessageId next_id = kFirstMessageId;
  TimeMicros last_append_time = 0;  // 0: nothing was ever appended
  MessageId truncated_through = 0;  // the truncation mark; 0 is none
  uint64_t pages = 0;
  uint64_t bytes = 0;  // stored bytes of its batches
  // The highest term of an exclusive producer: lower ones are fenced for good; 0: there was none.
  int64_t exclusive_term = 0;
  std::string exclusive_holder;  // the producer that is the only writer now; empty: nobody is
};

// A named producer of a channel, as the broker remembers it.
struct ProducerInfo {
  std::string channel;
  std::string name;
  int64_t term = 0;
  uint64_t last_sequence = 0;  // stored; 0: none
  TimeMicros created_at = 0;
  TimeMicros active_at = 0;  // last opened or appended: it is forgotten producers.expiry later
  bool open = false;         // somebody produces as it now
};

// The most batches that one producer may have unacknowledged: so many results are kept for it.
inline constexpr uint32_t kProducerWindow = 64;

struct AppendResult {
  MessageId first_id = 0;
  uint32_t count = 0;
  TimeMicros append_time = 0;
};

// Where a reader or a new subscription starts.
struct StartPosition {
  enum class Kind : uint8_t { kEarliest, kLatest, kAtId, kAfterId, kAtTime };
  Kind kind = Kind::kEarliest;
  MessageId id = 0;     // kAtId (at or below 0: earliest), kAfterId
  TimeMicros time = 0;  // kAtTime

  static StartPosition Earliest() { return {}; }
  // Strictly after what is durable at the moment of opening.
  static StartPosition Latest() { return {Kind::kLatest, 0, 0}; }
  static StartPosition At(MessageId id) { return {Kind::kAtId, id, 0}; }
  static StartPosition After(MessageId id) { return {Kind::kAfterId, id, 0}; }
  // The first message appended at or after `time`.
  static StartPosition AtTime(TimeMicros time) { return {Kind::kAtTime, 0, time}; }
};

struct SubscriptionInfo {
  std::string channel;
  std::string name;
  MessageId cursor = kFirstMessageId;  // all below it is acknowledged
  uint64_t backlog = 0;
  std::string holder;    // empty: nobody is attached
  uint32_t standby = 0;  // consumers that wait for their turn (FAILOVER)
  TimeMicros created_at = 0;
  TimeMicros active_at = 0;
};

struct ServerInfo {
  std::string version;
  std::string store_id;
  std::string sync;  // "always", "interval" or "none"
  TimeMicros started_at = 0;
  uint64_t max_payload = 0;
  uint64_t max_batch = 0;
  uint32_t max_batch_messages = 0;
  uint64_t max_pending = 0;
  uint64_t max_pending_total = 0;
};

// What keeps a channel's oldest page on disk.
enum class HeldBy : uint8_t {
  kNothing = 1,       // there is no page
  kRules = 2,         // no rule takes it yet: `until` and the limits tell when one will
  kNoRule = 3,        // every rule is off: it is kept for ever, or until the store needs space
  kSubscription = 4,  // a rule would take it, but `subscription` has not acknowledged it
  kPolicy = 5,        // policy `truncated`: only a truncation frees it
  kGrace = 6,         // truncated, and truncateGrace lasts until `until`
  kSweep = 7,         // nothing: the next sweep takes it
};

// Where a channel's space goes: strata status --space.
struct ChannelSpaceInfo {
  std::string channel;
  uint64_t pages = 0;
  uint64_t bytes = 0;     // stored bytes of its batches
  uint64_t messages = 0;  // of its pages
  // The oldest page; zero if there is none.
  MessageId oldest_first_id = 0;
  MessageId oldest_last_id = 0;
  uint64_t oldest_bytes = 0;
  TimeMicros oldest_time = 0;  // when its newest message was appended
  HeldBy held_by = HeldBy::kNothing;
  std::string subscription;  // kSubscription: the one that is furthest behind
  TimeMicros until = 0;      // kRules (the time rule; 0: that is off), kGrace
  // The rules in force, overrides applied.
  RetentionPolicy policy = RetentionPolicy::kAcked;
  int64_t retention_time = kNoLimit;  // microseconds
  int64_t retention_size = kNoLimit;  // bytes
  int64_t max_messages = kNoLimit;
};

// A compaction by hand (strata compact): every stratum that is not yet as small as it can be is
// rewritten.
struct CompactionInfo {
  bool running = false;
  TimeMicros started_at = 0;  // 0: none since the broker was opened
  TimeMicros finished_at = 0;
  uint64_t strata_total = 0;
  uint64_t strata_done = 0;
  uint64_t bytes_before = 0;  // table files of those done, before and after
  uint64_t bytes_after = 0;
  std::string error;  // why it ended early; empty: it did not
};

// A stratum whose files are damaged: readable with gaps, never rewritten, dropped by retention.
struct QuarantinedStratum {
  uint32_t number = 0;
  uint64_t live_bytes = 0;
  std::string why;
};

// strata.v1.GetStatusResponse, field by field.
struct BrokerStatus {
  bool accepts_appends = false;
  std::string state;  // "serving", "full", "failed" or "draining"
  std::string failure;
  std::chrono::microseconds uptime{0};
  uint64_t channels = 0, subscriptions = 0, readers = 0;
  uint64_t messages_appended = 0, bytes_appended = 0, batches_appended = 0, groups = 0, syncs = 0;
  uint64_t cache_hits = 0, storage_reads = 0;
  uint64_t pending_bytes = 0, tail_cache_bytes = 0, memtable_bytes = 0, block_cache_bytes = 0,
           resident_bytes = 0;
  uint64_t strata = 0, pages = 0, live_bytes = 0, disk_bytes = 0, disk_free_bytes = 0;

  // "normal", "pressure" (above the soft mark: eligible pages go early) or "full" (at the hard
  // mark: appends get DISK_FULL).
  std::string space_state;
  // Of everything in the directory: limits.maxFileStore and what was derived from it.
  uint64_t disk_budget_bytes = 0, soft_mark_bytes = 0, hard_mark_bytes = 0, ballast_bytes = 0;
  // Budgets of memory.
  uint64_t write_buffer_limit = 0, tail_cache_limit = 0, block_cache_limit = 0, pending_limit = 0;
  // What retention did since the start.
  uint64_t sweeps = 0, trimmed_pages = 0, trimmed_bytes = 0, dropped_strata = 0;
  uint64_t rewritten_strata = 0, rewrite_read_bytes = 0, rewrite_written_bytes = 0;
  // Strata in their final, compressed form: bytes of their batches, and of their files.
  uint64_t compressed_strata = 0, compressed_raw_bytes = 0, compressed_file_bytes = 0;
  std::vector<QuarantinedStratum> quarantined;
};

}  // namespace strata
