// Policy: which pages may go. A pure function of pages, cursors, rules and the time.
//
//   pages of one channel, oldest first      rules, oldest page first
//   [1..90] [91..200] [201..260] ..         truncated | time | size | count, then across channels: pressure
//
// A rule takes pages from the oldest end and stops at the first one that it may not take, so that what remains
// is one run without holes. Rules are independent: a page goes when any of them takes it.
//
//   rule       takes a page when
//   truncated  all its messages are at or below the truncation mark, truncate_grace after the mark was set
//   time       its newest message was appended more than retention_time ago, and the page is eligible
//   size       without it the channel still holds more than retention_size, and the page is eligible
//   count      without it the channel still holds more than max_messages, and the page is eligible
//   pressure   the store is above its soft mark: eligible pages go oldest first (newest message) across channels
//
//   policy     eligible
//   acked      acknowledged by every subscription that counts; with none, every page
//   limits     every page
//   truncated  none
//
// A subscription stops counting when nobody is attached and it has been idle for subscription_expiry.
//
// What is decided here is carried out by the broker, which looks at cursors once more while it holds the write
// role (broker/sweep.cc), and by the store. docs/retention.md says the same for users, with examples.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/api.h"
#include "storage/records.h"

namespace strata::retention {

// The rules in force for a channel.
struct Rules {
  RetentionPolicy policy = RetentionPolicy::kAcked;
  int64_t retention_time = kNoLimit;  // microseconds, or kNoLimit
  int64_t retention_size = kNoLimit;  // bytes, or kNoLimit
  int64_t max_messages = kNoLimit;    // messages, or kNoLimit
  int64_t truncate_grace = 0;         // microseconds
  int64_t subscription_expiry = 0;    // microseconds; 0: never

  friend bool operator==(const Rules&, const Rules&) = default;
};

// The broker's rules with a channel's own on top.
Rules Effective(const Rules& defaults, const RetentionOverrides& overrides);

struct CursorView {
  std::string name;
  MessageId cursor = kFirstMessageId;  // all below is acknowledged
  TimeMicros active_at = 0;            // last attached, acknowledged or sought
  bool attached = false;
};

// A channel at one moment.
struct ChannelView {
  ChannelNumber number = 0;
  std::string name;
  Rules rules;
  std::vector<storage::Page> pages;  // oldest first
  MessageId truncated_through = 0;
  TimeMicros truncated_at = 0;
  std::vector<CursorView> cursors;
};

enum class Rule : uint8_t { kTruncated = 1, kTime, kSize, kCount, kPressure };
std::string_view RuleName(Rule rule);  // "truncated", "time", ...

// Pages of a channel that go: all whose ids are at or below `through`.
struct Trim {
  ChannelNumber channel = 0;
  MessageId through = 0;
  uint64_t pages = 0;
  uint64_t bytes = 0;
  // Of the newest page that goes; the first in the order above if several take it.
  Rule rule = Rule::kTruncated;

  friend bool operator==(const Trim&, const Trim&) = default;
};

// False if the subscription has expired: it holds nothing back.
bool Counts(const CursorView& cursor, const Rules& rules, TimeMicros now);

// The id below which the policy lets pages go: all pages with next <= EligibleEnd() are eligible.
MessageId EligibleEnd(const ChannelView& channel, TimeMicros now);

// One Trim at most per channel, in the order of `channels`. `pressure_bytes`: so much has to go beyond what the
// other rules take, as far as pages are eligible; 0 without pressure.
std::vector<Trim> PlanTrims(const std::vector<ChannelView>& channels, TimeMicros now,
                            uint64_t pressure_bytes);

// Which rule or which subscription keeps the channel's oldest page. With kSubscription it is the one that is
// furthest behind among those that hold back a page which a rule (truncation excepted) would otherwise take. kSweep
// if PlanTrims takes the page without pressure; then kGrace, kPolicy, kNoRule, kRules, kSubscription: the first that is
// the case.
ChannelSpaceInfo DescribeSpace(const ChannelView& channel, TimeMicros now);

}  // namespace strata::retention
