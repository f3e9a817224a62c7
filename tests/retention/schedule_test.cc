#include "retention/schedule.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace strata {
namespace {

using retention::NextRewrite;
using retention::Rewrite;
using retention::RewriteReason;
using retention::RewriteReasonName;
using retention::ScheduleSettings;
using retention::SealAfter;
using storage::StratumInfo;

constexpr int64_t kHour = int64_t{3'600} * 1'000'000;
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr uint64_t kMiB = 1u << 20;
constexpr TimeMicros kNow = 1'000 * kHour;

// Nothing is due but for what a test changes: a target of 1,000 MiB, cold after 24 hours.
ScheduleSettings Settings() {
  ScheduleSettings settings;
  settings.compaction_interval = 24 * kHour;
  settings.target_bytes = 1'000 * kMiB;
  return settings;
}

// Strata of 100 MiB, sealed an hour ago, `live` MiB of each live; the one being written comes last.
std::vector<StratumInfo> Strata(const std::vector<uint64_t>& live) {
  std::vector<StratumInfo> strata;
  for (const uint64_t mib : live) {
    StratumInfo stratum;
    stratum.number = static_cast<uint32_t>(strata.size()) + 1;
    stratum.created_at = kNow - 10 * kHour + static_cast<TimeMicros>(strata.size());
    stratum.sealed_at = kNow - kHour;
    stratum.live_pages = mib == 0 ? 0 : 1;
    stratum.live_bytes = mib * kMiB;
    stratum.raw_bytes = 100 * kMiB;
    stratum.file_bytes = 110 * kMiB;
    strata.push_back(stratum);
  }
  StratumInfo written;
  written.number = 1'000;
  written.created_at = kNow;
  written.live_pages = 1;
  written.live_bytes = 1;
  written.raw_bytes = 100 * kMiB;
  strata.push_back(written);
  return strata;
}

using Numbers = std::vector<uint32_t>;

std::string Reason(const std::optional<Rewrite>& rewrite) {
  return rewrite ? std::string(RewriteReasonName(rewrite->reason)) : "none";
}

void CheckNext(const std::vector<StratumInfo>& strata, const ScheduleSettings& settings,
               const std::string& reason, const Numbers& numbers) {
  const std::optional<Rewrite> next = NextRewrite(strata, kNow, settings);
  CHECK(Reason(next) == reason);
  CHECK((next ? next->strata : Numbers{}) == numbers);
}

TEST_CASE("what pays most comes first: merge, garbage, cold, request") {
  std::vector<StratumInfo> strata = Strata({100, 40, 100, 10, 10, 90});
  strata[2].sealed_at = kNow - 24 * kHour;
  ScheduleSettings settings = Settings();
  settings.requested = true;
  CheckNext(strata, settings, "merge", {4, 5});
  strata[3].live_bytes = strata[3].raw_bytes;
  CheckNext(strata, settings, "garbage", {5});
  strata[4].live_bytes = strata[4].raw_bytes;
  CheckNext(strata, settings, "garbage", {2});
  strata[1].live_bytes = strata[1].raw_bytes;
  CheckNext(strata, settings, "cold", {3});
  strata[2].sealed_at = kNow;
  CheckNext(strata, settings, "request", {1});
  settings.requested = false;
  CheckNext(strata, settings, "none", {});
}

TEST_CASE("a rewrite says what is to copy and what its files take") {
  const std::optional<Rewrite> next = NextRewrite(Strata({20, 30}), kNow, Settings());
  CHECK(next == Rewrite{{1, 2}, RewriteReason::kMerge, 50 * kMiB, 220 * kMiB});
}

TEST_CASE("an empty store, and one that is only written, has nothing to rewrite") {
  ScheduleSettings settings = Settings();
  settings.requested = true;
  settings.pressure = true;
  settings.max_strata = 0;
  CheckNext({}, settings, "none", {});
  CheckNext(Strata({}), settings, "none", {});
}

TEST_CASE("neighbours are merged when each is at most half live") {
  ScheduleSettings settings = Settings();
  CheckNext(Strata({50, 50}), settings, "merge", {1, 2});
  CheckNext(Strata({50, 51}), settings, "none", {});
  CheckNext(Strata({50, 51, 50}), settings, "none", {});
  CheckNext(Strata({50}), settings, "none", {});
}

TEST_CASE("the run that saves most strata is merged, of equal ones that with the least to copy") {
  CheckNext(Strata({50, 50, 90, 10, 10, 10, 90, 50}), Settings(), "merge", {4, 5, 6});
  CheckNext(Strata({30, 30, 90, 20, 20, 90, 20, 20}), Settings(), "merge", {4, 5});
}

TEST_CASE("a merge makes no stratum above the target") {
  ScheduleSettings settings = Settings();
  settings.target_bytes = 100 * kMiB;
  CheckNext(Strata({50, 50}), settings, "merge", {1, 2});
  CheckNext(Strata({50, 50, 10, 10, 10}), settings, "merge", {2, 3, 4, 5});
  settings.target_bytes = 100 * kMiB - 1;
  CheckNext(Strata({50, 50}), settings, "none", {});
  settings.target_bytes = std::numeric_limits<uint64_t>::max();
  CheckNext(Strata({50, 50}), settings, "merge", {1, 2});
}

TEST_CASE("neither merge nor garbage crosses what is quarantined or being written") {
  std::vector<StratumInfo> strata = Strata({10, 10, 10});
  strata[1].quarantined = "block 7 of 000123.sst";
  CheckNext(strata, Settings(), "garbage", {1});
  strata[0].live_bytes = strata[0].raw_bytes;
  strata[2].live_bytes = strata[2].raw_bytes;
  ScheduleSettings settings = Settings();
  settings.pressure = true;
  CheckNext(strata, settings, "none", {});
  settings.requested = true;
  settings.max_strata = 1;
  // The three may not become two in spite of the limit, and the damaged one is not compressed.
  CheckNext(strata, settings, "request", {1});
  strata[0].rewritten = strata[2].rewritten = true;
  CheckNext(strata, settings, "none", {});

  // The last one is written; the one in the middle is not last when an older one is restored beside it.
  strata = Strata({10, 10});
  strata[1].sealed_at = 0;
  CheckNext(strata, Settings(), "garbage", {1});
}

TEST_CASE("an empty quarantined stratum still parts its neighbours, any other empty one does not") {
  std::vector<StratumInfo> strata = Strata({10, 0, 10});
  CheckNext(strata, Settings(), "merge", {1, 3});
  strata[1].quarantined = "damaged";
  CheckNext(strata, Settings(), "garbage", {1});
}

TEST_CASE("empty strata are never rewritten and count for nothing") {
  ScheduleSettings settings = Settings();
  settings.requested = true;
  settings.pressure = true;
  settings.compaction_interval = 0;
  settings.max_strata = 4;
  CheckNext(Strata({0, 0, 0, 0, 0, 0}), settings, "none", {});
}

TEST_CASE("garbage is due above a half, under pressure above a quarter") {
  ScheduleSettings settings = Settings();
  CheckNext(Strata({50}), settings, "none", {});
  CheckNext(Strata({49}), settings, "garbage", {1});
  settings.pressure = true;
  CheckNext(Strata({75}), settings, "none", {});
  CheckNext(Strata({74}), settings, "garbage", {1});
}

TEST_CASE("of strata with garbage the one with the largest share goes first") {
  CheckNext(Strata({40, 90, 20, 90, 30}), Settings(), "garbage", {3});
}

TEST_CASE("a rewritten stratum is rewritten again for new garbage") {
  std::vector<StratumInfo> strata = Strata({40});
  strata[0].rewritten = true;
  CheckNext(strata, Settings(), "garbage", {1});
}

TEST_CASE("less than min_garbage is worth no rewrite, unless under pressure") {
  ScheduleSettings settings = Settings();
  settings.min_garbage = 60 * kMiB;
  CheckNext(Strata({40}), settings, "garbage", {1});
  settings.min_garbage += 1;
  CheckNext(Strata({40}), settings, "none", {});
  settings.pressure = true;
  CheckNext(Strata({40}), settings, "garbage", {1});

  settings.pressure = false;
  settings.min_garbage = 120 * kMiB;
  CheckNext(Strata({40, 40}), settings, "merge", {1, 2});
  settings.min_garbage += 1;
  CheckNext(Strata({40, 40}), settings, "none", {});
  settings.pressure = true;
  CheckNext(Strata({40, 40}), settings, "merge", {1, 2});
}

std::vector<StratumInfo> Rewritten(std::vector<StratumInfo> strata) {
  for (StratumInfo& stratum : strata) {
    stratum.rewritten = true;
    stratum.raw_bytes = stratum.live_bytes;
  }
  return strata;
}

TEST_CASE("more strata than 3/4 of the limit are merged, whatever they hold") {
  const std::vector<StratumInfo> strata = Rewritten(Strata({400, 300, 100, 60, 60, 400}));
  ScheduleSettings settings = Settings();
  settings.max_strata = 9;  // 7 are more than 6.75
  CheckNext(strata, settings, "merge", {3, 4, 5});
  settings.max_strata = 10;
  CheckNext(strata, settings, "none", {});
  settings.max_strata = std::numeric_limits<uint64_t>::max();
  CheckNext(strata, settings, "none", {});
}

TEST_CASE("strata that are not rewritten yet are merged when the count is closer to its limit") {
  std::vector<StratumInfo> strata = Rewritten(Strata({400, 300, 100, 60, 60, 400}));
  strata[3].rewritten = false;
  ScheduleSettings settings = Settings();
  settings.max_strata = 9;  // 3/4 are 6.75, 13/16 are 7.3
  CheckNext(strata, settings, "merge", {1, 2, 3});
  for (StratumInfo& stratum : strata) stratum.rewritten = false;
  CheckNext(strata, settings, "none", {});
  settings.max_strata = 8;
  CheckNext(strata, settings, "merge", {3, 4, 5});
}

TEST_CASE("the count limit is no reason to make a stratum above the target") {
  ScheduleSettings settings = Settings();
  settings.max_strata = 4;
  settings.target_bytes = 150 * kMiB;
  CheckNext(Strata({80, 80, 80, 80}), settings, "none", {});
  CheckNext(Strata({80, 80, 70, 80}), settings, "merge", {2, 3});
}

TEST_CASE(
    "for the count limit small strata are merged with each other before any with a large one") {
  ScheduleSettings settings = Settings();
  settings.max_strata = 4;
  CheckNext(Rewritten(Strata({500, 60, 60, 60})), settings, "merge", {2, 3, 4});
  // Adding 1 to 300 is cheaper than 200 + 200, but is so for every stratum that follows.
  CheckNext(Rewritten(Strata({300, 1, 700, 200, 200})), settings, "merge", {4, 5});
  // If nothing else is left, it is done, but not before the limit is close.
  CheckNext(Rewritten(Strata({300, 1, 990})), settings, "merge", {1, 2});
  settings.max_strata = 5;
  CheckNext(Rewritten(Strata({300, 1, 990})), settings, "none", {});
}

TEST_CASE("a stratum is cold once it has been sealed for the interval") {
  std::vector<StratumInfo> strata = Strata({100, 100});
  strata[1].sealed_at = kNow - 24 * kHour + 1;
  CheckNext(strata, Settings(), "none", {});
  strata[1].sealed_at = kNow - 24 * kHour;
  CheckNext(strata, Settings(), "cold", {2});
  strata[0].sealed_at = kNow - 25 * kHour;
  CheckNext(strata, Settings(), "cold", {1});
}

TEST_CASE("what is rewritten, or would not get smaller, does not become cold") {
  ScheduleSettings settings = Settings();
  settings.compaction_interval = 0;
  std::vector<StratumInfo> strata = Strata({100});
  CheckNext(strata, settings, "cold", {1});
  strata[0].rewritten = true;
  CheckNext(strata, settings, "none", {});
  strata[0].rewritten = false;
  settings.compresses = false;
  CheckNext(strata, settings, "none", {});
}

TEST_CASE("a restart does not postpone what is due: the time of sealing alone counts") {
  std::vector<StratumInfo> strata = Strata({100});
  const TimeMicros due = strata[0].sealed_at + 24 * kHour;
  // Whatever was asked before, and whatever number and place the stratum has.
  for (int restarts = 0; restarts < 3; ++restarts) {
    CHECK(Reason(NextRewrite(strata, due - 1, Settings())) == "none");
    strata[0].number += 100;
    strata[0].created_at -= 50 * kHour;
    CHECK(Reason(NextRewrite(strata, due, Settings())) == "cold");
    CHECK(Reason(NextRewrite(strata, due + 1'000 * kHour, Settings())) == "cold");
  }
}

TEST_CASE("an interval for ever, and a clock that was set back, make nothing cold") {
  std::vector<StratumInfo> strata = Strata({100});
  ScheduleSettings settings = Settings();
  settings.compaction_interval = kMax;
  CHECK(Reason(NextRewrite(strata, kMax, settings)) == "none");
  settings.compaction_interval = 0;
  CHECK(Reason(NextRewrite(strata, strata[0].sealed_at - 1, settings)) == "none");
}

TEST_CASE("a request is for all that is not compressed or has any garbage") {
  ScheduleSettings settings = Settings();
  settings.requested = true;
  std::vector<StratumInfo> strata = Strata({100, 100, 99});
  for (StratumInfo& stratum : strata) stratum.rewritten = true;
  CheckNext(strata, settings, "request", {3});
  strata[1].rewritten = false;
  CheckNext(strata, settings, "request", {2});
  settings.compresses = false;
  CheckNext(strata, settings, "request", {3});
  settings.requested = false;
  CheckNext(strata, settings, "none", {});
}

TEST_CASE("a request ends when nothing is left that could be smaller") {
  ScheduleSettings settings = Settings();
  settings.requested = true;
  std::vector<StratumInfo> strata = Strata({100, 10, 20, 90, 0, 70, 30, 100, 60});
  strata[7].quarantined = "damaged";
  size_t rewrites = 0;
  while (const std::optional<Rewrite> next = NextRewrite(strata, kNow, settings)) {
    REQUIRE(++rewrites <= 9);
    bool kept = false;
    std::erase_if(strata, [&](StratumInfo& stratum) {
      if (!std::count(next->strata.begin(), next->strata.end(), stratum.number)) return false;
      if (kept) return true;
      kept = true;
      stratum.live_bytes = stratum.raw_bytes = next->live_bytes;
      stratum.rewritten = true;
      return false;
    });
  }
  CHECK(rewrites == 6);  // 2 and 3 as one; 7; 1, 4, 6 and 9
  for (const StratumInfo& stratum : strata) {
    if (stratum.sealed_at == 0 || !stratum.quarantined.empty() || stratum.live_pages == 0) continue;
    CHECK(stratum.rewritten);
    CHECK(stratum.live_bytes == stratum.raw_bytes);
  }
}

TEST_CASE("numbers that do not fit together are no garbage") {
  std::vector<StratumInfo> strata = Strata({100});
  strata[0].raw_bytes = 0;
  strata[0].rewritten = true;
  ScheduleSettings settings = Settings();
  settings.requested = true;
  settings.pressure = true;
  CheckNext(strata, settings, "none", {});
}

TEST_CASE("a stratum is sealed by time in steps of a 24th of the shortest rule, an hour at least") {
  CHECK(SealAfter(kNoLimit) == kNoLimit);
  CHECK(SealAfter(0) == kHour);
  CHECK(SealAfter(1) == kHour);
  CHECK(SealAfter(24 * kHour) == kHour);
  CHECK(SealAfter(72 * kHour) == 3 * kHour);
  CHECK(SealAfter(kMax) == kMax / 24);
}

TEST_CASE("reasons have the names that the log shows") {
  CHECK(RewriteReasonName(RewriteReason::kMerge) == "merge");
  CHECK(RewriteReasonName(RewriteReason::kGarbage) == "garbage");
  CHECK(RewriteReasonName(RewriteReason::kCold) == "cold");
  CHECK(RewriteReasonName(RewriteReason::kRequest) == "request");
}

}  // namespace
}  // namespace strata
