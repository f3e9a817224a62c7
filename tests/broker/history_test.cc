// The promise, under load and through power cuts, and the proof that these tests notice when it is
// broken.
#include "tests/broker/history.h"

#include "tests/support/catch.h"

namespace strata {
namespace {

using testing::History;
using testing::Lines;
using testing::StoreKind;
using testing::TestSeed;

TEST_CASE("under load ids are dense and in order of time, and readers see what was acknowledged") {
  const uint64_t base = TestSeed();
  for (uint64_t seed = base; seed < base + 15; ++seed) {
    INFO("STRATA_TEST_SEED=" << seed);
    History history(seed, StoreKind::kHonest);
    history.Run();
    REQUIRE(history.FinishAndCheck() == Lines{});
    REQUIRE(history.acknowledged() > 0);
  }
}

TEST_CASE(
    "a power cut takes nothing that was acknowledged or read, and producers go on without a "
    "message twice or missing") {
  const uint64_t base = TestSeed();
  size_t acknowledged = 0;
  for (uint64_t seed = base; seed < base + 30; ++seed) {
    INFO("STRATA_TEST_SEED=" << seed);
    History history(seed, StoreKind::kHonest);
    history.Run();
    REQUIRE(history.CutPowerAndCheck() == Lines{});
    acknowledged += history.acknowledged();
  }
  CHECK(acknowledged > 0);
}

// How many histories it took until one broke the promise; 0 if none of a hundred did.
int HistoriesUntilBroken(StoreKind kind) {
  const uint64_t base = TestSeed();
  for (int n = 1; n <= 100; ++n) {
    History history(base + static_cast<uint64_t>(n), kind);
    history.Run();
    if (!history.CutPowerAndCheck().empty()) return n;
  }
  return 0;
}

TEST_CASE("without syncs power cuts do take what was acknowledged, and it is noticed") {
  CHECK(HistoriesUntilBroken(StoreKind::kNeverSyncs) > 0);
}

TEST_CASE("publishing before the sync loses what was acknowledged, and it is noticed") {
  CHECK(HistoriesUntilBroken(StoreKind::kSyncsLate) > 0);
}

}  // namespace
}  // namespace strata
