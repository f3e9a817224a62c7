// A year of a store, as a loop: slow channels that keep everything beside busy ones that keep a day.
#include <algorithm>
#include <optional>
#include <vector>

#include "retention/schedule.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using retention::NextRewrite;
using retention::Rewrite;
using retention::ScheduleSettings;
using storage::StratumInfo;
using testing::Random;
using testing::TestSeed;

constexpr int64_t kHour = int64_t{3'600} * 1'000'000;
constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kPage = 64 * kMiB;
constexpr uint64_t kMaxTarget = 64 * kPage;

// A store that fills a stratum in an hour: nearly all of it is of busy channels and goes a day later, `slow` bytes
// stay for ever.
class Year {
 public:
  explicit Year(bool compresses) : compresses_(compresses) {}

  void Hour(uint64_t slow) {
    now_ += kHour;
    // The one being written is sealed, the next one opened.
    if (!strata_.empty()) strata_.back().sealed_at = now_;
    const uint64_t busy = 10 * kPage;
    StratumInfo stratum;
    stratum.number = ++last_number_;
    stratum.created_at = now_;
    stratum.live_pages = slow > 0 ? 2 : 1;
    stratum.live_bytes = stratum.raw_bytes = busy + slow;
    stratum.file_bytes = stratum.raw_bytes;
    strata_.push_back(stratum);
    busy_.push_back({last_number_, busy, 1});
    slow_bytes_ += slow;
    ForgetDayOld();
    RewriteAll();
    most_strata_ = std::max(most_strata_, strata_.size());
  }

  size_t most_strata() const { return most_strata_; }
  uint64_t slow_bytes() const { return slow_bytes_; }
  uint64_t copied() const { return copied_; }

  uint64_t live_bytes() const {
    uint64_t live = 0;
    for (const StratumInfo& stratum : strata_) live += stratum.live_bytes;
    return live;
  }
  uint64_t max_strata() const { return std::max<uint64_t>(128, 3 * live_bytes() / kMaxTarget); }
  bool in_order() const {
    return std::is_sorted(strata_.begin(), strata_.end(),
                          [](const auto& a, const auto& b) { return a.created_at < b.created_at; });
  }

 private:
  // The busy channels' share of a stratum.
  struct Busy {
    uint32_t stratum;
    uint64_t bytes;
    uint64_t pages;
  };

  StratumInfo& Find(uint32_t number) {
    return *std::find_if(strata_.begin(), strata_.end(),
                         [number](const StratumInfo& s) { return s.number == number; });
  }

  void ForgetDayOld() {
    if (busy_.size() <= 24) return;
    StratumInfo& stratum = Find(busy_.front().stratum);
    stratum.live_bytes -= busy_.front().bytes;
    stratum.live_pages -= busy_.front().pages;
    busy_.erase(busy_.begin());
    std::erase_if(strata_, [](const StratumInfo& s) { return s.live_pages == 0; });
  }

  void RewriteAll() {
    ScheduleSettings settings;
    settings.compaction_interval = 6 * kHour;
    settings.compresses = compresses_;
    settings.target_bytes = std::clamp(live_bytes() / 32, 4 * kPage, kMaxTarget);
    settings.max_strata = max_strata();
    int rewrites = 0;
    while (const std::optional<Rewrite> next = NextRewrite(strata_, now_, settings)) {
      REQUIRE(++rewrites < 200);
      Apply(*next);
    }
  }

  // As the store does it: a new stratum in the place of the oldest.
  void Apply(const Rewrite& rewrite) {
    REQUIRE_FALSE(rewrite.strata.empty());
    copied_ += rewrite.live_bytes;
    StratumInfo merged;
    merged.number = ++last_number_;
    merged.created_at = Find(rewrite.strata.front()).created_at;
    merged.sealed_at = Find(rewrite.strata.back()).sealed_at;
    merged.live_bytes = merged.raw_bytes = merged.file_bytes = rewrite.live_bytes;
    merged.rewritten = true;
    for (const uint32_t number : rewrite.strata) {
      const StratumInfo& old = Find(number);
      REQUIRE(old.sealed_at != 0);
      merged.live_pages += old.live_pages;
      for (Busy& busy : busy_) {
        if (busy.stratum == number) busy.stratum = merged.number;
      }
    }
    Find(rewrite.strata.front()) = merged;
    for (size_t i = 1; i < rewrite.strata.size(); ++i) {
      std::erase_if(strata_, [&](const StratumInfo& s) { return s.number == rewrite.strata[i]; });
    }
  }

  const bool compresses_;
  TimeMicros now_ = 1'000 * kHour;
  uint32_t last_number_ = 0;
  std::vector<StratumInfo> strata_;
  std::vector<Busy> busy_;
  uint64_t slow_bytes_ = 0;
  uint64_t copied_ = 0;
  size_t most_strata_ = 0;
};

constexpr int kHours = 365 * 24;

TEST_CASE("a year of a slow channel beside busy ones stays below 128 strata and copies little") {
  const bool compresses = GENERATE(false, true);
  Year year(compresses);
  for (int hour = 0; hour < kHours; ++hour) year.Hour(kMiB);
  CHECK(year.most_strata() < 128);
  CHECK(year.in_order());
  CHECK(year.slow_bytes() == kHours * kMiB);
  CHECK(year.live_bytes() == year.slow_bytes() + 24 * 10 * kPage);
  // Each slow byte is copied a few times in the year; with compression everything is once more, when it is cold.
  const uint64_t once = compresses ? kHours * (10 * kPage + kMiB) : 0;
  CHECK(year.copied() < once + 8 * year.slow_bytes());
  CHECK(year.copied() > once / 2);
}

TEST_CASE("a year of a channel of which 550 GiB stay keeps to the limit and copies little") {
  Year year(false);
  for (int hour = 0; hour < kHours; ++hour) year.Hour(kPage);
  CHECK(year.live_bytes() > 128 * kMaxTarget);
  CHECK(year.most_strata() < year.max_strata());
  CHECK(year.copied() < 8 * year.slow_bytes());
}

TEST_CASE("a year of slow channels of any size stays below 128 strata") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  Year year(true);
  for (int hour = 0; hour < kHours; ++hour) {
    year.Hour(random.OneIn(3) ? 0 : 1 + random.Below(uint64_t{1} << random.Between(1, 26)));
  }
  CHECK(year.most_strata() < 128);
  CHECK(year.in_order());
  CHECK(year.live_bytes() == year.slow_bytes() + 24 * 10 * kPage);
}

}  // namespace
}  // namespace strata
