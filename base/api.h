// The values that a broker and its clients exchange, the same ones wherever the broker runs.
//
// They mirror strata/v1/*.proto, which documents each field in full.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/types.h"

namespace strata {

// What a channel is created with. Part of its identity: creating it again with other options is
// refused.
struct ChannelOptions {
  MessageId first_id = kFirstMessageId;  // at least 1

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
};

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
  std::string holder;  // empty: nobody is attached
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

// strata.v1.GetStatusResponse, field by field.
struct BrokerStatus {
  bool accepts_appends = false;
  std::string state;  // "serving", "failed" or "draining"
  std::string failure;
  std::chrono::microseconds uptime{0};
  uint64_t channels = 0, subscriptions = 0, readers = 0;
  uint64_t messages_appended = 0, bytes_appended = 0, batches_appended = 0, groups = 0, syncs = 0;
  uint64_t cache_hits = 0, storage_reads = 0;
  uint64_t pending_bytes = 0, tail_cache_bytes = 0, memtable_bytes = 0, block_cache_bytes = 0,
           resident_bytes = 0;
  uint64_t strata = 0, pages = 0, live_bytes = 0, disk_bytes = 0, disk_free_bytes = 0;
};

}  // namespace strata
