// Random channels: what is planned against what the rules say page by page.
#include <algorithm>
#include <limits>
#include <vector>

#include "retention/policy.h"
#include "tests/retention/pages.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using retention::ChannelView;
using retention::Counts;
using retention::CursorView;
using retention::DescribeSpace;
using retention::PlanTrims;
using retention::Rule;
using retention::Rules;
using retention::Trim;
using storage::Page;
using testing::MakePage;
using testing::Random;
using testing::TestSeed;

constexpr int kRounds = 2'000;
constexpr TimeMicros kLater = 1'000;

int64_t LimitOrOff(Random* random, uint64_t most) {
  return random->OneIn(2) ? kNoLimit : static_cast<int64_t>(random->Below(most));
}

ChannelView RandomChannel(Random* random, ChannelNumber number) {
  ChannelView channel;
  channel.number = number;
  Rules& rules = channel.rules;
  rules.policy = static_cast<RetentionPolicy>(random->Between(1, 3));
  rules.retention_time = LimitOrOff(random, 1'200);
  rules.retention_size = LimitOrOff(random, 600);
  rules.max_messages = LimitOrOff(random, 60);
  rules.truncate_grace = random->OneIn(2) ? 0 : static_cast<int64_t>(random->Below(600));
  rules.subscription_expiry = random->OneIn(2) ? 0 : static_cast<int64_t>(random->Below(600));

  const uint64_t pages = random->Below(9);
  auto next = static_cast<MessageId>(random->Between(1, 50));
  auto time = static_cast<TimeMicros>(random->Below(400));
  const MessageId begin = next;
  for (uint64_t i = 0; i < pages; ++i) {
    const auto first = next;
    next += static_cast<MessageId>(random->Between(1, 10));
    if (!random->OneIn(3)) time += static_cast<TimeMicros>(random->Below(120));
    channel.pages.push_back(MakePage(first, next, random->Between(1, 100), time));
  }
  const auto somewhere = [&] {
    return begin + static_cast<MessageId>(random->Below(static_cast<uint64_t>(next - begin + 1)));
  };
  if (random->OneIn(2)) {
    channel.truncated_through = somewhere() - 1;
    channel.truncated_at = static_cast<TimeMicros>(random->Below(1'100));
  }
  for (uint64_t i = random->Below(3); i > 0; --i) {
    channel.cursors.push_back({"s" + std::to_string(i), somewhere(),
                               static_cast<TimeMicros>(random->Below(1'100)), random->OneIn(4)});
  }
  return channel;
}

bool HasLimit(const Rules& rules) {
  return rules.retention_time >= 0 || rules.retention_size >= 0 || rules.max_messages >= 0;
}

// --- The rules once more, for page `i` alone. ---

bool IsEligible(const ChannelView& channel, size_t i) {
  if (channel.rules.policy != RetentionPolicy::kAcked) {
    return channel.rules.policy == RetentionPolicy::kLimits;
  }
  return std::all_of(channel.cursors.begin(), channel.cursors.end(), [&](const CursorView& cursor) {
    return !Counts(cursor, channel.rules, kLater) || channel.pages[i].next <= cursor.cursor;
  });
}

bool MayTake(const ChannelView& channel, Rule rule, size_t i) {
  const Rules& rules = channel.rules;
  const Page& page = channel.pages[i];
  if (rule == Rule::kTruncated) {
    return page.next <= channel.truncated_through + 1 &&
           (rules.truncate_grace == 0 || channel.truncated_at + rules.truncate_grace <= kLater);
  }
  int64_t bytes = 0, messages = 0;  // of the newer pages
  for (size_t newer = i + 1; newer < channel.pages.size(); ++newer) {
    bytes += static_cast<int64_t>(channel.pages[newer].bytes);
    messages += channel.pages[newer].next - channel.pages[newer].first;
  }
  if (!IsEligible(channel, i)) return false;
  switch (rule) {
    case Rule::kTime:
      return rules.retention_time != kNoLimit && page.last_time + rules.retention_time < kLater;
    case Rule::kSize:
      return rules.retention_size != kNoLimit && bytes > rules.retention_size;
    case Rule::kCount:
      return rules.max_messages != kNoLimit && messages > rules.max_messages;
    default:
      return true;
  }
}

size_t Reach(const ChannelView& channel, Rule rule) {
  size_t i = 0;
  while (i < channel.pages.size() && MayTake(channel, rule, i)) ++i;
  return i;
}

size_t ReachOfRules(const ChannelView& channel) {
  size_t most = 0;
  for (const Rule rule : {Rule::kTruncated, Rule::kTime, Rule::kSize, Rule::kCount}) {
    most = std::max(most, Reach(channel, rule));
  }
  return most;
}

uint64_t Bytes(const ChannelView& channel, size_t first, size_t end) {
  uint64_t bytes = 0;
  for (size_t i = first; i < end; ++i) bytes += channel.pages[i].bytes;
  return bytes;
}

// A trim names whole pages from the oldest on, so that what remains is a suffix.
void CheckIsPrefix(const ChannelView& channel, const Trim& trim) {
  REQUIRE(trim.channel == channel.number);
  REQUIRE(trim.pages >= 1);
  REQUIRE(trim.pages <= channel.pages.size());
  REQUIRE(trim.through == channel.pages[trim.pages - 1].next - 1);
  REQUIRE(trim.bytes == Bytes(channel, 0, trim.pages));
}

TEST_CASE("of random channels exactly the oldest pages go that a rule takes") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  int trimmed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const ChannelView channel = RandomChannel(&random, 1);
    const std::vector<Trim> trims = PlanTrims({channel}, kLater, 0);
    const size_t expected = ReachOfRules(channel);
    REQUIRE(trims.size() == (expected > 0 ? 1 : 0));
    if (trims.empty()) continue;
    ++trimmed;
    CheckIsPrefix(channel, trims[0]);
    REQUIRE(trims[0].pages == expected);
    REQUIRE(Reach(channel, trims[0].rule) == expected);
    if (!HasLimit(channel.rules)) REQUIRE(trims[0].rule == Rule::kTruncated);
    for (size_t i = 0; i < expected; ++i) {
      REQUIRE((IsEligible(channel, i) || i < Reach(channel, Rule::kTruncated)));
    }
  }
  CHECK(trimmed > kRounds / 20);
}

TEST_CASE("without a rule and a truncation nothing goes of random channels") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < kRounds; ++round) {
    ChannelView channel = RandomChannel(&random, 1);
    channel.rules.retention_time = kNoLimit;
    channel.rules.retention_size = kNoLimit;
    channel.rules.max_messages = kNoLimit;
    channel.truncated_through = 0;
    REQUIRE(PlanTrims({channel}, kLater, 0).empty());
  }
}

TEST_CASE("a random channel is held by the sweep exactly when its oldest page would go") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  int seen[8] = {};
  for (int round = 0; round < kRounds; ++round) {
    const ChannelView channel = RandomChannel(&random, 1);
    const ChannelSpaceInfo info = DescribeSpace(channel, kLater);
    REQUIRE((info.held_by == HeldBy::kSweep) == !PlanTrims({channel}, kLater, 0).empty());
    REQUIRE((info.held_by == HeldBy::kNothing) == channel.pages.empty());
    REQUIRE((info.held_by == HeldBy::kSubscription) == !info.subscription.empty());
    ++seen[static_cast<int>(info.held_by)];
  }
  for (int held_by = 1; held_by <= 7; ++held_by) {
    INFO("HeldBy " << held_by);
    CHECK(seen[held_by] > 0);
  }
}

TEST_CASE("waiting for a subscription alone lets the oldest page of a random channel go") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < kRounds; ++round) {
    ChannelView channel = RandomChannel(&random, 1);
    if (DescribeSpace(channel, kLater).held_by != HeldBy::kSubscription) continue;
    for (CursorView& cursor : channel.cursors) cursor.cursor = channel.pages[0].next;
    REQUIRE(DescribeSpace(channel, kLater).held_by == HeldBy::kSweep);
  }
}

// How many pages of each channel go: those of the rules, then, while `bytes` are not reached, the oldest eligible one.
std::vector<size_t> WithPressure(const std::vector<ChannelView>& channels, uint64_t bytes) {
  std::vector<size_t> pages;
  for (const ChannelView& channel : channels) pages.push_back(ReachOfRules(channel));
  uint64_t found = 0;
  while (found < bytes) {
    size_t oldest = channels.size();
    for (size_t i = 0; i < channels.size(); ++i) {
      if (pages[i] == channels[i].pages.size() || !IsEligible(channels[i], pages[i])) continue;
      if (oldest == channels.size() ||
          channels[i].pages[pages[i]].last_time < channels[oldest].pages[pages[oldest]].last_time) {
        oldest = i;
      }
    }
    if (oldest == channels.size()) break;
    found += channels[oldest].pages[pages[oldest]++].bytes;
  }
  return pages;
}

TEST_CASE(
    "under pressure the oldest eligible pages of random channels go, and no more than needed") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<ChannelView> channels;
    for (uint64_t i = random.Below(8); i > 0; --i) channels.push_back(RandomChannel(&random, i));
    const uint64_t bytes = random.Below(800);
    const std::vector<size_t> expected = WithPressure(channels, bytes);
    const std::vector<Trim> trims = PlanTrims(channels, kLater, bytes);
    size_t next = 0;
    for (size_t i = 0; i < channels.size(); ++i) {
      if (expected[i] == 0) continue;
      REQUIRE(next < trims.size());
      CheckIsPrefix(channels[i], trims[next]);
      REQUIRE(trims[next].pages == expected[i]);
      const bool by_rule = expected[i] == ReachOfRules(channels[i]);
      REQUIRE((trims[next].rule == Rule::kPressure) == !by_rule);
      ++next;
    }
    REQUIRE(next == trims.size());
  }
}

}  // namespace
}  // namespace strata
