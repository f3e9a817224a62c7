#include <string>
#include <vector>

#include "retention/policy.h"
#include "tests/retention/pages.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using retention::ChannelView;
using retention::DescribeSpace;
using retention::PlanTrims;
using retention::Rules;
using testing::kMax;
using testing::kNow;
using testing::kSecond;
using testing::Pages;
using testing::Subscription;
using testing::Truncated;
using testing::With;

struct SpaceCase {
  const char* name;
  ChannelView channel;
  HeldBy held_by;
  std::string subscription;
  TimeMicros until;
};

template <size_t N>
void CheckAll(const SpaceCase (&cases)[N]) {
  for (const SpaceCase& c : cases) {
    INFO(c.name);
    const ChannelSpaceInfo info = DescribeSpace(c.channel, kNow);
    CHECK(info.held_by == c.held_by);
    CHECK(info.subscription == c.subscription);
    CHECK(info.until == c.until);
    CHECK((info.held_by == HeldBy::kSweep) == !PlanTrims({c.channel}, kNow, 0).empty());
  }
}

TEST_CASE("a description has the channel's numbers, its oldest page and the rules in force") {
  const Rules rules{RetentionPolicy::kLimits, 5'000 * kSecond, 6'000, 7'000};
  const ChannelSpaceInfo info = DescribeSpace(Pages(3, rules), kNow);
  CHECK(info.channel == "c");
  CHECK(info.pages == 3);
  CHECK(info.bytes == 3'000);
  CHECK(info.messages == 300);
  CHECK(info.oldest_first_id == 1);
  CHECK(info.oldest_last_id == 100);
  CHECK(info.oldest_bytes == 1'000);
  CHECK(info.oldest_time == 100 * kSecond);
  CHECK(info.policy == RetentionPolicy::kLimits);
  CHECK(info.retention_time == 5'000 * kSecond);
  CHECK(info.retention_size == 6'000);
  CHECK(info.max_messages == 7'000);
}

TEST_CASE("an empty channel is held by nothing") {
  const ChannelSpaceInfo info = DescribeSpace(Pages(0, {.retention_time = 0}), kNow);
  CHECK(info.held_by == HeldBy::kNothing);
  CHECK(info.oldest_first_id == 0);
  CHECK(info.oldest_last_id == 0);
  CHECK(info.pages == 0);
}

TEST_CASE("what keeps the oldest page is named, of rules and policies") {
  const Rules truncated{.policy = RetentionPolicy::kTruncated, .retention_time = 0};
  const SpaceCase cases[] = {
      {"no rule", Pages(3), HeldBy::kNoRule, "", 0},
      {"no rule, and nobody has read it", With(Pages(3), {Subscription("s", 1)}), HeldBy::kNoRule,
       "", 0},
      {"time, to come", Pages(3, {.retention_time = 950 * kSecond}), HeldBy::kRules, "",
       1'050 * kSecond},
      {"time, at the limit", Pages(3, {.retention_time = 900 * kSecond}), HeldBy::kRules, "", kNow},
      {"time, for ages", Pages(3, {.retention_time = kMax}), HeldBy::kRules, "", kMax},
      {"size, not reached", Pages(3, {.retention_size = 2'000}), HeldBy::kRules, "", 0},
      {"count, not reached", Pages(3, {.max_messages = 200}), HeldBy::kRules, "", 0},
      {"rules do not take it yet, nor would a subscription let them",
       With(Pages(3, {.retention_size = 2'000}), {Subscription("s", 1)}), HeldBy::kRules, "", 0},
      {"time takes it", Pages(3, {.retention_time = 0}), HeldBy::kSweep, "", 0},
      {"size takes it", Pages(3, {.retention_size = 1'999}), HeldBy::kSweep, "", 0},
      {"count takes it", Pages(3, {.max_messages = 199}), HeldBy::kSweep, "", 0},
      {"policy truncated", Pages(3, truncated), HeldBy::kPolicy, "", 0},
      {"policy truncated without rules", Pages(3, {.policy = RetentionPolicy::kTruncated}),
       HeldBy::kPolicy, "", 0},
  };
  CheckAll(cases);
}

TEST_CASE("what keeps the oldest page is named, of truncations") {
  const Rules grace{.truncate_grace = 10 * kSecond};
  const Rules policy{.policy = RetentionPolicy::kTruncated, .truncate_grace = 10 * kSecond};
  const Rules both{.retention_size = 0, .truncate_grace = 10 * kSecond};
  const SpaceCase cases[] = {
      {"all of it", Truncated(Pages(3), 100, kNow), HeldBy::kSweep, "", 0},
      {"a part of it", Truncated(Pages(3), 99, kNow), HeldBy::kNoRule, "", 0},
      {"a part of it, policy truncated", Truncated(Pages(3, policy), 99, kNow), HeldBy::kPolicy, "",
       0},
      {"grace lasts", Truncated(Pages(3, grace), 100, kNow - kSecond), HeldBy::kGrace, "",
       kNow + 9 * kSecond},
      {"grace lasts, policy truncated", Truncated(Pages(3, policy), 100, kNow), HeldBy::kGrace, "",
       kNow + 10 * kSecond},
      {"grace is over", Truncated(Pages(3, grace), 100, kNow - 10 * kSecond), HeldBy::kSweep, "",
       0},
      {"grace for ages", Truncated(Pages(3, {.truncate_grace = kMax}), 100, kNow), HeldBy::kGrace,
       "", kMax},
      {"grace lasts, size takes it", Truncated(Pages(3, both), 100, kNow), HeldBy::kSweep, "", 0},
      {"grace lasts, a subscription keeps it from size",
       With(Truncated(Pages(3, both), 100, kNow), {Subscription("s", 1)}), HeldBy::kGrace, "",
       kNow + 10 * kSecond},
  };
  CheckAll(cases);
}

TEST_CASE("what keeps the oldest page is named, of subscriptions") {
  const Rules keep_one{.retention_size = 1'000};
  const Rules expiring{.retention_size = 1'000, .subscription_expiry = kSecond};
  const TimeMicros idle = kNow - kSecond;
  const ChannelView five = Pages(5, keep_one);
  const ChannelView expires = Pages(5, expiring);
  ChannelView limits = With(five, {Subscription("s", 1)});
  limits.rules.policy = RetentionPolicy::kLimits;
  const SpaceCase cases[] = {
      {"one", With(five, {Subscription("a", 100)}), HeldBy::kSubscription, "a", 0},
      {"past the page", With(five, {Subscription("a", 101)}), HeldBy::kSweep, "", 0},
      {"the furthest behind of three",
       With(five, {Subscription("a", 90), Subscription("b", 50), Subscription("c", 60)}),
       HeldBy::kSubscription, "b", 0},
      {"one is past it", With(five, {Subscription("a", 301), Subscription("b", 100)}),
       HeldBy::kSubscription, "b", 0},
      {"the furthest has expired",
       With(expires, {Subscription("a", 1, idle), Subscription("b", 50)}), HeldBy::kSubscription,
       "b", 0},
      {"idle as long, but attached", With(expires, {Subscription("a", 1, idle, true)}),
       HeldBy::kSubscription, "a", 0},
      {"all have expired", With(expires, {Subscription("a", 1, idle)}), HeldBy::kSweep, "", 0},
      {"policy limits", limits, HeldBy::kSweep, "", 0},
      {"by time", With(Pages(1, {.retention_time = 900 * kSecond - 1}), {Subscription("a", 1)}),
       HeldBy::kSubscription, "a", 0},
      {"by count", With(Pages(2, {.max_messages = 0}), {Subscription("a", 1)}),
       HeldBy::kSubscription, "a", 0},
  };
  CheckAll(cases);
}

}  // namespace
}  // namespace strata
