#include "retention/policy.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

namespace strata::retention {
namespace {

using storage::Page;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// A rule's limit as it is compared with; REQUIRES: the rule is on.
uint64_t Limit(int64_t limit) { return static_cast<uint64_t>(limit); }
bool IsOn(int64_t limit) { return limit >= 0; }

uint64_t Messages(const Page& page) { return static_cast<uint64_t>(page.next - page.first); }
uint64_t Bytes(const Page& page) { return page.bytes; }

// Never negative: the wall clock may have been set back.
int64_t Since(TimeMicros then, TimeMicros now) { return then < now ? now - then : 0; }
TimeMicros After(TimeMicros then, int64_t wait) { return wait < kMax - then ? then + wait : kMax; }

template <typename Takes>
size_t CountWhile(const std::vector<Page>& pages, Takes takes) {
  const auto kept = std::find_if_not(pages.begin(), pages.end(), takes);
  return static_cast<size_t>(kept - pages.begin());
}

size_t EligiblePages(const ChannelView& channel, TimeMicros now) {
  const MessageId end = EligibleEnd(channel, now);
  return CountWhile(channel.pages, [end](const Page& page) { return page.next <= end; });
}

// Pages below the truncation mark, whatever the grace.
size_t PagesBelowMark(const ChannelView& channel) {
  return CountWhile(channel.pages, [&channel](const Page& page) {
    return page.next - 1 <= channel.truncated_through;
  });
}

// A grace of 0 is over at once, also when the clock has been set back since.
bool GraceIsOver(const ChannelView& channel, TimeMicros now) {
  return Since(channel.truncated_at, now) >= channel.rules.truncate_grace;
}

size_t TakenByTruncation(const ChannelView& channel, TimeMicros now) {
  return GraceIsOver(channel, now) ? PagesBelowMark(channel) : 0;
}

// The others take from the first `eligible` pages.
size_t TakenByTime(const ChannelView& channel, TimeMicros now, size_t eligible) {
  const int64_t limit = channel.rules.retention_time;
  if (!IsOn(limit)) return 0;
  const size_t old = CountWhile(
      channel.pages, [limit, now](const Page& page) { return Since(page.last_time, now) > limit; });
  return std::min(old, eligible);
}

// Pages without which the rest still has more than `limit` of what `amount` counts.
size_t TakenByAmount(const ChannelView& channel, int64_t limit, size_t eligible,
                     uint64_t (*amount)(const Page&)) {
  if (!IsOn(limit) || eligible == 0) return 0;
  uint64_t left = 0;
  for (const Page& page : channel.pages) left += amount(page);
  size_t taken = 0;
  for (; taken < eligible; ++taken) {
    left -= amount(channel.pages[taken]);
    if (left <= Limit(limit)) break;
  }
  return taken;
}

// How many of the oldest pages go, and the rule that takes the newest of them.
struct Taken {
  size_t pages = 0;
  Rule rule = Rule::kTruncated;

  // Of several rules that take as much, the first one has it.
  void Add(Rule by, size_t count) {
    if (count <= pages) return;
    pages = count;
    rule = by;
  }
};

// What time, size and count take, of the first `eligible` pages.
Taken TakenByLimits(const ChannelView& channel, TimeMicros now, size_t eligible) {
  const Rules& rules = channel.rules;
  Taken taken;
  taken.Add(Rule::kTime, TakenByTime(channel, now, eligible));
  taken.Add(Rule::kSize, TakenByAmount(channel, rules.retention_size, eligible, Bytes));
  taken.Add(Rule::kCount, TakenByAmount(channel, rules.max_messages, eligible, Messages));
  return taken;
}

Taken TakenByRules(const ChannelView& channel, TimeMicros now, size_t eligible) {
  Taken taken;
  taken.Add(Rule::kTruncated, TakenByTruncation(channel, now));
  const Taken by_limits = TakenByLimits(channel, now, eligible);
  taken.Add(by_limits.rule, by_limits.pages);
  return taken;
}

// Takes eligible pages beyond what `taken` has, oldest first across channels, until they make up
// `bytes`. A heap with the next page of each channel keeps that at pages x log channels.
void AddPressure(const std::vector<ChannelView>& channels, TimeMicros now, uint64_t bytes,
                 std::vector<Taken>* taken) {
  using Next = std::pair<TimeMicros, size_t>;  // of a page, its channel's place in `channels`
  std::priority_queue<Next, std::vector<Next>, std::greater<>> oldest;
  std::vector<size_t> eligible(channels.size());
  const auto add_next = [&](size_t i) {
    const size_t page = (*taken)[i].pages;
    if (page < eligible[i]) oldest.emplace(channels[i].pages[page].last_time, i);
  };
  for (size_t i = 0; i < channels.size(); ++i) {
    eligible[i] = EligiblePages(channels[i], now);
    add_next(i);
  }
  uint64_t found = 0;
  while (found < bytes && !oldest.empty()) {
    const size_t i = oldest.top().second;
    oldest.pop();
    const size_t page = (*taken)[i].pages;
    found += channels[i].pages[page].bytes;
    (*taken)[i].Add(Rule::kPressure, page + 1);
    add_next(i);
  }
}

// The subscription that is furthest behind of those that hold back the oldest page.
const CursorView* FurthestBehind(const ChannelView& channel, TimeMicros now) {
  const CursorView* behind = nullptr;
  for (const CursorView& cursor : channel.cursors) {
    if (cursor.cursor >= channel.pages.front().next || !Counts(cursor, channel.rules, now))
      continue;
    if (behind == nullptr || cursor.cursor < behind->cursor) behind = &cursor;
  }
  return behind;
}

// What keeps the oldest page. REQUIRES: there is one.
void DescribeOldest(const ChannelView& channel, TimeMicros now, ChannelSpaceInfo* info) {
  const Rules& rules = channel.rules;
  if (TakenByRules(channel, now, EligiblePages(channel, now)).pages > 0) {
    info->held_by = HeldBy::kSweep;
  } else if (PagesBelowMark(channel) > 0) {
    info->held_by = HeldBy::kGrace;
    info->until = After(channel.truncated_at, rules.truncate_grace);
  } else if (rules.policy == RetentionPolicy::kTruncated) {
    info->held_by = HeldBy::kPolicy;
  } else if (!IsOn(rules.retention_time) && !IsOn(rules.retention_size) &&
             !IsOn(rules.max_messages)) {
    info->held_by = HeldBy::kNoRule;
  } else if (TakenByLimits(channel, now, 1).pages == 0) {
    info->held_by = HeldBy::kRules;
    if (IsOn(rules.retention_time)) info->until = After(info->oldest_time, rules.retention_time);
  } else {
    info->held_by = HeldBy::kSubscription;
    if (const CursorView* const behind = FurthestBehind(channel, now)) {
      info->subscription = behind->name;
    }
  }
}

}  // namespace

Rules Effective(const Rules& defaults, const RetentionOverrides& overrides) {
  Rules rules = defaults;
  rules.policy = overrides.policy.value_or(rules.policy);
  rules.retention_time = overrides.retention_time.value_or(rules.retention_time);
  rules.retention_size = overrides.retention_size.value_or(rules.retention_size);
  rules.max_messages = overrides.max_messages.value_or(rules.max_messages);
  return rules;
}

std::string_view RuleName(Rule rule) {
  switch (rule) {
    case Rule::kTruncated:
      return "truncated";
    case Rule::kTime:
      return "time";
    case Rule::kSize:
      return "size";
    case Rule::kCount:
      return "count";
    case Rule::kPressure:
      return "pressure";
  }
  return "unknown";
}

bool Counts(const CursorView& cursor, const Rules& rules, TimeMicros now) {
  if (cursor.attached || rules.subscription_expiry <= 0) return true;
  return Since(cursor.active_at, now) < rules.subscription_expiry;
}

MessageId EligibleEnd(const ChannelView& channel, TimeMicros now) {
  if (channel.rules.policy == RetentionPolicy::kTruncated) return 0;
  MessageId end = kMax;
  if (channel.rules.policy == RetentionPolicy::kLimits) return end;
  for (const CursorView& cursor : channel.cursors) {
    if (Counts(cursor, channel.rules, now)) end = std::min(end, cursor.cursor);
  }
  return end;
}

std::vector<Trim> PlanTrims(const std::vector<ChannelView>& channels, TimeMicros now,
                            uint64_t pressure_bytes) {
  std::vector<Taken> taken;
  taken.reserve(channels.size());
  for (const ChannelView& channel : channels) {
    taken.push_back(TakenByRules(channel, now, EligiblePages(channel, now)));
  }
  if (pressure_bytes > 0) AddPressure(channels, now, pressure_bytes, &taken);

  std::vector<Trim> trims;
  for (size_t i = 0; i < channels.size(); ++i) {
    const size_t count = taken[i].pages;
    if (count == 0) continue;
    const std::vector<Page>& pages = channels[i].pages;
    Trim trim{channels[i].number, pages[count - 1].next - 1, count, 0, taken[i].rule};
    for (size_t page = 0; page < count; ++page) trim.bytes += pages[page].bytes;
    trims.push_back(trim);
  }
  return trims;
}

ChannelSpaceInfo DescribeSpace(const ChannelView& channel, TimeMicros now) {
  ChannelSpaceInfo info;
  info.channel = channel.name;
  info.policy = channel.rules.policy;
  info.retention_time = channel.rules.retention_time;
  info.retention_size = channel.rules.retention_size;
  info.max_messages = channel.rules.max_messages;
  for (const Page& page : channel.pages) {
    ++info.pages;
    info.bytes += page.bytes;
    info.messages += Messages(page);
  }
  if (channel.pages.empty()) return info;

  const Page& oldest = channel.pages.front();
  info.oldest_first_id = oldest.first;
  info.oldest_last_id = oldest.next - 1;
  info.oldest_bytes = oldest.bytes;
  info.oldest_time = oldest.last_time;
  DescribeOldest(channel, now, &info);
  return info;
}

}  // namespace strata::retention
