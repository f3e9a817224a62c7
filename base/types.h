// The vocabulary of Strata as types: ids, channel numbers, gaps. See the glossary in
// docs/architecture.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace strata {

// The position of a message in its channel: dense (+1 per message), never reused, the first one is
// 1 unless the channel was created with another. Ranges are half-open, [first, next), unless a name
// says `last`.
using MessageId = int64_t;
inline constexpr MessageId kFirstMessageId = 1;

// What keys use instead of a channel's name. Never reused: a recreated name gets a new number. 0 is
// none.
using ChannelNumber = uint64_t;

// Microseconds since 1970 UTC. One append_time per batch, never below the channel's previous one.
using TimeMicros = int64_t;

// Ids continue this much higher where acknowledged data may have been lost, so that none is ever
// reused.
inline constexpr MessageId kLostIdJump = MessageId{1} << 32;

// Limits that are part of the format rather than of the configuration.
inline constexpr uint32_t kMaxBatchMessages = 65'536;
inline constexpr uint64_t kDefaultMaxPayload = 16u << 20;  // limits.maxPayload
inline constexpr uint64_t kMaxBatchOverhead = 64u << 10;   // maxBatch = maxPayload + this

// Why a reader does not receive some ids. Numbers are those of strata.v1.GapReason.
enum class GapReason : uint8_t {
  kTrimmed = 1,  // truncation or retention removed them
  kCorrupt = 2,  // stored bytes fail their checksum
  kLost = 3,     // ids that were skipped because acknowledged data may have been lost
};

// An announced hole: the reader will receive none of [first, last].
struct Gap {
  MessageId first = 0;
  MessageId last = 0;
  GapReason reason = GapReason::kTrimmed;

  friend bool operator==(const Gap&, const Gap&) = default;
};

constexpr std::string_view GapReasonName(GapReason reason) {
  switch (reason) {
    case GapReason::kTrimmed:
      return "TRIMMED";
    case GapReason::kCorrupt:
      return "CORRUPT";
    case GapReason::kLost:
      return "LOST";
  }
  return "UNKNOWN";
}

// When an append counts as acknowledged (durability.sync).
enum class SyncPolicy : uint8_t {
  kAlways = 1,    // after the sync that covers it: survives a power cut
  kInterval = 2,  // after the write; synced every syncInterval: survives a killed process
  kNone = 3,  // after the write; synced when the operating system likes: survives a killed process
};

// Which pages retention's rules may take (retention.policy). docs/retention.md.
enum class RetentionPolicy : uint8_t {
  kAcked = 1,      // acknowledged by every durable subscription; with no subscription, every page
  kLimits = 2,     // every page
  kTruncated = 3,  // none by rule: only the truncation mark frees
};

// True for 1 to 249 characters of A-Z a-z 0-9 . _ - that are not "." or "..". Channels and
// subscriptions.
constexpr bool IsValidName(std::string_view name) {
  if (name.empty() || name.size() > 249 || name == "." || name == "..") return false;
  for (const char c : name) {
    const bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
    if (!ok) return false;
  }
  return true;
}

}  // namespace strata
