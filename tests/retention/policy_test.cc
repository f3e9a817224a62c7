#include "retention/policy.h"

#include <limits>
#include <vector>

#include "tests/retention/pages.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using retention::ChannelView;
using retention::Counts;
using retention::CursorView;
using retention::Effective;
using retention::EligibleEnd;
using retention::PlanTrims;
using retention::Rule;
using retention::Rules;
using retention::Trim;
using storage::Page;
using testing::Gone;
using testing::kMax;
using testing::kNothingGoes;
using testing::kNow;
using testing::kSecond;
using testing::MakePage;
using testing::Pages;
using testing::Subscription;
using testing::Truncated;
using testing::With;

// For each rule how many of five pages it takes if all are eligible; 0: it is off. Limits are exactly such that it
// takes this many: the next page is as old, as large, as many as the limit allows.
struct Takes {
  int truncated = 0;
  int time = 0;
  int size = 0;
  int count = 0;
  int pressure = 0;  // beyond what the others take
};

ChannelView Five(const Takes& takes, RetentionPolicy policy) {
  Rules rules;
  rules.policy = policy;
  if (takes.time > 0) rules.retention_time = kNow - (takes.time + 1) * 100 * kSecond;
  if (takes.size > 0) rules.retention_size = (4 - takes.size) * 1'000;
  if (takes.count > 0) rules.max_messages = (4 - takes.count) * 100;
  ChannelView channel = Pages(5, rules);
  channel.truncated_through = takes.truncated * 100;
  channel.truncated_at = kNow;
  channel.cursors = {Subscription("s", 301)};  // three pages are acknowledged
  return channel;
}

struct RuleCase {
  const char* name;
  Takes takes;
  std::vector<Trim> limits;     // what goes with each policy
  std::vector<Trim> acked;      // three pages are eligible
  std::vector<Trim> truncated;  // none is
};

void Check(const RuleCase& c) {
  INFO(c.name);
  const uint64_t pressure = static_cast<uint64_t>(c.takes.pressure) * 1'000;
  CHECK(PlanTrims({Five(c.takes, RetentionPolicy::kLimits)}, kNow, pressure) == c.limits);
  CHECK(PlanTrims({Five(c.takes, RetentionPolicy::kAcked)}, kNow, pressure) == c.acked);
  CHECK(PlanTrims({Five(c.takes, RetentionPolicy::kTruncated)}, kNow, pressure) == c.truncated);
}

TEST_CASE("each rule takes pages as far as each policy lets it") {
  const RuleCase cases[] = {
      {"none", {}, kNothingGoes, kNothingGoes, kNothingGoes},
      {"truncated",
       {.truncated = 4},
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated)},
      {"truncated, all",
       {.truncated = 5},
       Gone(5, Rule::kTruncated),
       Gone(5, Rule::kTruncated),
       Gone(5, Rule::kTruncated)},
      {"time", {.time = 4}, Gone(4, Rule::kTime), Gone(3, Rule::kTime), kNothingGoes},
      {"time, acked", {.time = 2}, Gone(2, Rule::kTime), Gone(2, Rule::kTime), kNothingGoes},
      {"size", {.size = 4}, Gone(4, Rule::kSize), Gone(3, Rule::kSize), kNothingGoes},
      {"size, acked", {.size = 2}, Gone(2, Rule::kSize), Gone(2, Rule::kSize), kNothingGoes},
      {"count", {.count = 4}, Gone(4, Rule::kCount), Gone(3, Rule::kCount), kNothingGoes},
      {"count, acked", {.count = 2}, Gone(2, Rule::kCount), Gone(2, Rule::kCount), kNothingGoes},
      {"pressure",
       {.pressure = 4},
       Gone(4, Rule::kPressure),
       Gone(3, Rule::kPressure),
       kNothingGoes},
      {"pressure, all",
       {.pressure = 5},
       Gone(5, Rule::kPressure),
       Gone(3, Rule::kPressure),
       kNothingGoes},
  };
  for (const RuleCase& c : cases) Check(c);
}

TEST_CASE("of two rules the one that takes more decides, for each pair") {
  const RuleCase cases[] = {
      {"truncated > time",
       {.truncated = 4, .time = 2},
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated)},
      {"truncated < time",
       {.truncated = 1, .time = 4},
       Gone(4, Rule::kTime),
       Gone(3, Rule::kTime),
       Gone(1, Rule::kTruncated)},
      {"truncated > size",
       {.truncated = 4, .size = 2},
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated)},
      {"truncated < size",
       {.truncated = 1, .size = 4},
       Gone(4, Rule::kSize),
       Gone(3, Rule::kSize),
       Gone(1, Rule::kTruncated)},
      {"truncated > count",
       {.truncated = 4, .count = 2},
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated)},
      {"truncated < count",
       {.truncated = 1, .count = 4},
       Gone(4, Rule::kCount),
       Gone(3, Rule::kCount),
       Gone(1, Rule::kTruncated)},
      {"truncated, then pressure",
       {.truncated = 1, .pressure = 1},
       Gone(2, Rule::kPressure),
       Gone(2, Rule::kPressure),
       Gone(1, Rule::kTruncated)},
      {"truncated beyond what is eligible, then pressure",
       {.truncated = 4, .pressure = 1},
       Gone(5, Rule::kPressure),
       Gone(4, Rule::kTruncated),
       Gone(4, Rule::kTruncated)},
      {"time > size",
       {.time = 3, .size = 1},
       Gone(3, Rule::kTime),
       Gone(3, Rule::kTime),
       kNothingGoes},
      {"time < size",
       {.time = 1, .size = 4},
       Gone(4, Rule::kSize),
       Gone(3, Rule::kSize),
       kNothingGoes},
      {"time > count",
       {.time = 4, .count = 2},
       Gone(4, Rule::kTime),
       Gone(3, Rule::kTime),
       kNothingGoes},
      {"time < count",
       {.time = 1, .count = 2},
       Gone(2, Rule::kCount),
       Gone(2, Rule::kCount),
       kNothingGoes},
      {"time, then pressure",
       {.time = 1, .pressure = 3},
       Gone(4, Rule::kPressure),
       Gone(3, Rule::kPressure),
       kNothingGoes},
      {"time takes all that is eligible, then pressure",
       {.time = 3, .pressure = 1},
       Gone(4, Rule::kPressure),
       Gone(3, Rule::kTime),
       kNothingGoes},
      {"size > count",
       {.size = 3, .count = 2},
       Gone(3, Rule::kSize),
       Gone(3, Rule::kSize),
       kNothingGoes},
      {"size < count",
       {.size = 2, .count = 4},
       Gone(4, Rule::kCount),
       Gone(3, Rule::kCount),
       kNothingGoes},
      {"size, then pressure",
       {.size = 1, .pressure = 1},
       Gone(2, Rule::kPressure),
       Gone(2, Rule::kPressure),
       kNothingGoes},
      {"count, then pressure",
       {.count = 2, .pressure = 2},
       Gone(4, Rule::kPressure),
       Gone(3, Rule::kPressure),
       kNothingGoes},
  };
  for (const RuleCase& c : cases) Check(c);
}

TEST_CASE("of rules that take as much, the first in the order of the table is named") {
  const RetentionPolicy limits = RetentionPolicy::kLimits;
  const auto rule = [&](const Takes& takes) {
    return PlanTrims({Five(takes, limits)}, kNow, 0)[0].rule;
  };
  CHECK(rule({.truncated = 2, .time = 2, .size = 2, .count = 2}) == Rule::kTruncated);
  CHECK(rule({.time = 2, .size = 2, .count = 2}) == Rule::kTime);
  CHECK(rule({.size = 2, .count = 2}) == Rule::kSize);
}

struct Case {
  const char* name;
  ChannelView channel;
  TimeMicros now;
  uint64_t pressure;
  std::vector<Trim> expected;
};

template <size_t N>
void CheckAll(const Case (&cases)[N]) {
  for (const Case& c : cases) {
    INFO(c.name);
    CHECK(PlanTrims({c.channel}, c.now, c.pressure) == c.expected);
  }
}

TEST_CASE("subscriptions hold back what they have not acknowledged, unless they have expired") {
  const Rules keep_one{.retention_size = 500};
  const Rules expiring{.retention_size = 500, .subscription_expiry = 60 * kSecond};
  const TimeMicros idle = kNow - 60 * kSecond;
  const ChannelView five = Pages(5, keep_one);
  const ChannelView expires = Pages(5, expiring);
  const Case cases[] = {
      {"none", five, kNow, 0, Gone(4, Rule::kSize)},
      {"at the start", With(five, {Subscription("a", 1)}), kNow, 0, kNothingGoes},
      {"at the end", With(five, {Subscription("a", 501)}), kNow, 0, Gone(4, Rule::kSize)},
      {"one message short of a page", With(five, {Subscription("a", 200)}), kNow, 0,
       Gone(1, Rule::kSize)},
      {"exactly a page", With(five, {Subscription("a", 201)}), kNow, 0, Gone(2, Rule::kSize)},
      {"one behind", With(five, {Subscription("a", 501), Subscription("b", 101)}), kNow, 0,
       Gone(1, Rule::kSize)},
      {"idle for years without expiry", With(five, {Subscription("a", 1, 0)}), kMax, 0,
       kNothingGoes},
      {"idle, almost expired", With(expires, {Subscription("a", 1, idle + 1)}), kNow, 0,
       kNothingGoes},
      {"expired", With(expires, {Subscription("a", 1, idle)}), kNow, 0, Gone(4, Rule::kSize)},
      {"idle as long, but attached", With(expires, {Subscription("a", 101, idle, true)}), kNow, 0,
       Gone(1, Rule::kSize)},
      {"one expired, one not", With(expires, {Subscription("a", 1, idle), Subscription("b", 301)}),
       kNow, 0, Gone(3, Rule::kSize)},
      {"active in the future, as the clock was set back",
       With(expires, {Subscription("a", 1, kMax)}), kNow, 0, kNothingGoes},
      {"pressure asks the same", With(Pages(5), {Subscription("a", 201)}), kNow, 9'000,
       Gone(2, Rule::kPressure)},
      {"pressure, expired", With(expires, {Subscription("a", 201, idle)}), kNow, 9'000,
       Gone(5, Rule::kPressure)},
  };
  CheckAll(cases);
}

TEST_CASE("limits looks at no subscription, truncated lets nothing go") {
  ChannelView channel = With(Pages(3), {Subscription("a", 1, kNow, true)});
  CHECK(EligibleEnd(channel, kNow) == 1);
  channel.rules.policy = RetentionPolicy::kLimits;
  CHECK(EligibleEnd(channel, kNow) > 301);
  channel.rules.policy = RetentionPolicy::kTruncated;
  channel.cursors.clear();
  CHECK(EligibleEnd(channel, kNow) <= 1);
}

TEST_CASE("a subscription counts until it has been idle for the expiry, to the microsecond") {
  const Rules rules{.subscription_expiry = 10};
  CHECK(Counts(Subscription("s", 1, 100), rules, 109));
  CHECK_FALSE(Counts(Subscription("s", 1, 100), rules, 110));
  CHECK(Counts(Subscription("s", 1, 100, true), rules, 110));
  CHECK(Counts(Subscription("s", 1, 100), Rules{}, kMax));
}

TEST_CASE("truncation takes whole pages once its grace is over, acknowledged or not") {
  const Rules grace{.truncate_grace = 10 * kSecond};
  const Rules both{.retention_size = 2'000, .truncate_grace = 10 * kSecond};
  const CursorView behind = Subscription("s", 1);
  const TimeMicros over = kNow - 10 * kSecond;
  const Case cases[] = {
      {"no mark", Pages(3), kNow, 0, kNothingGoes},
      {"a message short of a page", Truncated(Pages(3), 99, kNow), kNow, 0, kNothingGoes},
      {"exactly a page", Truncated(Pages(3), 100, kNow), kNow, 0, Gone(1, Rule::kTruncated)},
      {"inside the second page", Truncated(Pages(3), 199, kNow), kNow, 0,
       Gone(1, Rule::kTruncated)},
      {"the newest page too", Truncated(Pages(3), 300, kNow), kNow, 0, Gone(3, Rule::kTruncated)},
      {"beyond the end", Truncated(Pages(3), kMax, kNow), kNow, 0, Gone(3, Rule::kTruncated)},
      {"not acknowledged", With(Truncated(Pages(3), 200, kNow), {behind}), kNow, 0,
       Gone(2, Rule::kTruncated)},
      {"without grace, the clock was set back", Truncated(Pages(3), 200, kNow + 5), kNow, 0,
       Gone(2, Rule::kTruncated)},
      {"grace lasts", Truncated(Pages(3, grace), 200, over + 1), kNow, 0, kNothingGoes},
      {"grace is over", Truncated(Pages(3, grace), 200, over), kNow, 0, Gone(2, Rule::kTruncated)},
      {"grace for ever", Truncated(Pages(3, {.truncate_grace = kMax}), 200, 0), kNow, 0,
       kNothingGoes},
      {"grace lasts, size takes less", Truncated(Pages(5, both), 400, kNow), kNow, 0,
       Gone(2, Rule::kSize)},
      {"grace is over, size takes less", Truncated(Pages(5, both), 400, over), kNow, 0,
       Gone(4, Rule::kTruncated)},
      {"grace lasts, size is held back", With(Truncated(Pages(5, both), 400, kNow), {behind}), kNow,
       0, kNothingGoes},
      {"grace is over, size is held back", With(Truncated(Pages(5, both), 400, over), {behind}),
       kNow, 0, Gone(4, Rule::kTruncated)},
      {"grace lasts, pressure", Truncated(Pages(5, grace), 400, kNow), kNow, 1'000,
       Gone(1, Rule::kPressure)},
  };
  CheckAll(cases);
}

TEST_CASE("at a limit a page stays, beyond it it goes") {
  const Case cases[] = {
      {"as old as allowed", Pages(1, {.retention_time = 900 * kSecond}), kNow, 0, kNothingGoes},
      {"a microsecond older", Pages(1, {.retention_time = 900 * kSecond - 1}), kNow, 0,
       Gone(1, Rule::kTime)},
      {"no time at all", Pages(3, {.retention_time = 0}), kNow, 0, Gone(3, Rule::kTime)},
      {"appended this moment", Pages(1, {.retention_time = 0}), 100 * kSecond, 0, kNothingGoes},
      {"appended in the future", Pages(1, {.retention_time = 0}), kSecond, 0, kNothingGoes},
      {"the rest is as large as allowed", Pages(3, {.retention_size = 2'000}), kNow, 0,
       kNothingGoes},
      {"the rest is a byte larger", Pages(3, {.retention_size = 1'999}), kNow, 0,
       Gone(1, Rule::kSize)},
      {"the rest has as many as allowed", Pages(3, {.max_messages = 200}), kNow, 0, kNothingGoes},
      {"the rest has one more", Pages(3, {.max_messages = 199}), kNow, 0, Gone(1, Rule::kCount)},
      {"no bytes at all: the newest page stays", Pages(3, {.retention_size = 0}), kNow, 0,
       Gone(2, Rule::kSize)},
      {"no messages at all: the newest page stays", Pages(3, {.max_messages = 0}), kNow, 0,
       Gone(2, Rule::kCount)},
      {"a single page larger than allowed", Pages(1, {.retention_size = 1, .max_messages = 1}),
       kNow, 0, kNothingGoes},
  };
  CheckAll(cases);
}

TEST_CASE("a limit of -1 turns its rule off") {
  const ChannelView off =
      Pages(5, {.retention_time = -1, .retention_size = -1, .max_messages = -1});
  const Case cases[] = {
      {"all", off, kMax, 0, kNothingGoes},
      {"all but time", Pages(5, {.retention_time = 1, .retention_size = -1, .max_messages = -1}),
       kNow, 0, Gone(5, Rule::kTime)},
      {"all but size", Pages(5, {.retention_time = -1, .retention_size = 1, .max_messages = -1}),
       kNow, 0, Gone(4, Rule::kSize)},
      {"all but count", Pages(5, {.retention_time = -1, .retention_size = -1, .max_messages = 1}),
       kNow, 0, Gone(4, Rule::kCount)},
  };
  CheckAll(cases);
}

TEST_CASE("limits near the end of their range neither overflow nor take anything") {
  const Rules most{.retention_time = kMax, .retention_size = kMax, .max_messages = kMax};
  ChannelView huge = Pages(2, most);
  huge.pages[1] = MakePage(101, kMax, kMax, kNow);
  const Case cases[] = {
      {"five pages", Pages(5, most), kMax, 0, kNothingGoes},
      {"a page of everything", huge, kNow, 0, kNothingGoes},
      {"the same, a little over",
       [&] {
         ChannelView over = huge;
         over.rules.retention_size = kMax - 1;
         return over;
       }(),
       kNow, 0, Gone(1, Rule::kSize)},
      {"no limit to pressure", Pages(5, most), kNow, std::numeric_limits<uint64_t>::max(),
       Gone(5, Rule::kPressure)},
  };
  CheckAll(cases);
}

TEST_CASE("pages with equal times go together") {
  ChannelView channel = Pages(3, {.retention_time = 500 * kSecond});
  for (Page& page : channel.pages) page.last_time = 400 * kSecond;
  CHECK(PlanTrims({channel}, 900 * kSecond, 0) == kNothingGoes);
  CHECK(PlanTrims({channel}, 900 * kSecond + 1, 0) == Gone(3, Rule::kTime));
}

TEST_CASE("a rule stops at the first page that it may not take") {
  ChannelView channel = Pages(3, {.retention_time = 0});
  channel.pages[1].last_time = kNow;
  CHECK(PlanTrims({channel}, kNow, 0) == Gone(1, Rule::kTime));
}

TEST_CASE("an empty channel has nothing to give") {
  const Rules all{.retention_time = 0, .retention_size = 0, .max_messages = 0};
  const ChannelView empty = Truncated(Pages(0, all), 1'000, 0);
  CHECK(PlanTrims({empty}, kNow, 1'000) == kNothingGoes);
  CHECK(PlanTrims({}, kNow, 1'000) == kNothingGoes);
}

TEST_CASE("a channel's own rules come before the broker's, each for itself") {
  const Rules defaults{RetentionPolicy::kLimits, 1, 2, 3, 4, 5};
  RetentionOverrides own;
  CHECK(Effective(defaults, own) == defaults);
  own.policy = RetentionPolicy::kAcked;
  CHECK(Effective(defaults, own) == Rules{RetentionPolicy::kAcked, 1, 2, 3, 4, 5});
  own.retention_time = kNoLimit;
  CHECK(Effective(defaults, own) == Rules{RetentionPolicy::kAcked, kNoLimit, 2, 3, 4, 5});
  own = {};
  own.retention_size = 0;
  CHECK(Effective(defaults, own) == Rules{RetentionPolicy::kLimits, 1, 0, 3, 4, 5});
  own = {};
  own.max_messages = 9;
  CHECK(Effective(defaults, own) == Rules{RetentionPolicy::kLimits, 1, 2, 9, 4, 5});
}

TEST_CASE("rules have the names of the table") {
  CHECK(RuleName(Rule::kTruncated) == "truncated");
  CHECK(RuleName(Rule::kTime) == "time");
  CHECK(RuleName(Rule::kSize) == "size");
  CHECK(RuleName(Rule::kCount) == "count");
  CHECK(RuleName(Rule::kPressure) == "pressure");
}

}  // namespace
}  // namespace strata
