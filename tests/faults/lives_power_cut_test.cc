// The whole promise under power cuts: everything that clients do at once (tests/faults/workload.h), the power gone at
// random calls, several times in the life of one store, also while it opens and while it closes; between the cuts
// killed processes and clean ends; every durability.sync. And the proof that this test can fail.
//
//   STRATA_POWER_CUT_SEEDS       histories, default 200; tests/faults/power-cuts runs many on all cores
//   STRATA_POWER_CUT_FIRST_SEED  the first one
#include <fmt/format.h>

#include <cstdlib>

#include "tests/faults/lives.h"
#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"

namespace strata::testing {
namespace {

constexpr uint64_t kFarAway = uint64_t{1} << 60;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Totals {
  uint64_t power_cuts = 0;
  uint64_t while_opening = 0;
  uint64_t kills = 0;
  uint64_t clean = 0;
  uint64_t messages = 0;  // acknowledged
};

// One seed. Violations, empty if every promise was kept.
class History {
 public:
  History(uint64_t seed, Totals* totals, Scene::Wrap wrap = nullptr,
          std::optional<SyncPolicy> sync = {})
      : lives_(seed, std::move(wrap), sync), totals_(totals) {}

  std::vector<std::string> Run() {
    Random& random = lives_.random();
    const uint64_t rounds = random.Between(1, 4);
    std::unique_ptr<broker::Broker> broker;
    std::vector<std::string> violations = Reopen(Ending::kClean, &broker);
    for (uint64_t round = 0; round < rounds && violations.empty(); ++round) {
      const Ending ending = Live(broker.get());
      if (ending != Ending::kClean) lives_.disk().CutAfterNextWrites(0);
      broker.reset();
      // The power may have gone while it closed.
      violations = Reopen(
          lives_.disk().PowerIsOff() && ending == Ending::kClean ? Ending::kPowerCut : ending,
          &broker);
    }
    broker.reset();
    totals_->messages += lives_.ledger().acknowledged();
    if (!violations.empty()) violations.push_back("the log:\n" + lives_.log());
    return violations;
  }

 private:
  // How it is to end.
  Ending Live(broker::Broker* broker) {
    Random& random = lives_.random();
    lives_.shape().steps = random.Between(5, 60);
    const uint64_t dice = random.Below(10);
    if (dice > 1) lives_.disk().CutAfterNextWrites(1 + random.Below(50 + random.Below(1200)));
    lives_.Live(broker);
    if (dice == 0) return Ending::kKilled;
    if (dice == 1) return Ending::kClean;
    if (lives_.disk().PowerIsOff() || random.OneIn(2)) return Ending::kPowerCut;
    // The cut comes while it closes, or never.
    return Ending::kClean;
  }

  // The ending, perhaps more power cuts while it opens, and the comparison.
  std::vector<std::string> Reopen(Ending ending, std::unique_ptr<broker::Broker>* broker) {
    Random& random = lives_.random();
    Count(ending);
    lives_.End(ending);
    while (random.OneIn(4)) {
      lives_.disk().CutAfterNextWrites(1 + random.Below(150));
      Result<std::unique_ptr<broker::Broker>> opened = lives_.Open();
      if (!opened.ok() && !lives_.disk().PowerIsOff())
        return {"does not open: " + opened.status().ToString()};
      lives_.disk().CutAfterNextWrites(0);
      if (opened.ok()) opened->reset();
      ending = Ending::kPowerCut;
      ++totals_->while_opening;
      Count(ending);
      lives_.End(ending);
    }
    lives_.disk().CutAfterNextWrites(kFarAway);
    return lives_.Check(ending, broker);
  }

  void Count(Ending ending) {
    if (ending == Ending::kPowerCut) ++totals_->power_cuts;
    if (ending == Ending::kKilled) ++totals_->kills;
    if (ending == Ending::kClean) ++totals_->clean;
  }

  Lives lives_;
  Totals* const totals_;
};

// A store whose syncs do nothing: what a forgotten SyncWAL would be.
class WithoutSync final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  Status Sync() override { return Status::Ok(); }
};

}  // namespace

TEST_CASE("every promise is kept through the power cuts of several lives") {
  const uint64_t first = FromEnvironment("STRATA_POWER_CUT_FIRST_SEED", 1);
  const uint64_t seeds = FromEnvironment("STRATA_POWER_CUT_SEEDS", 200);
  Totals totals;
  uint64_t violating = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const std::vector<std::string> violations = History(seed, &totals).Run();
    if (violations.empty()) continue;
    ++violating;
    fmt::print("seed {} (STRATA_POWER_CUT_FIRST_SEED={} STRATA_POWER_CUT_SEEDS=1):\n", seed, seed);
    for (const std::string& violation : violations) fmt::print("  {}\n", violation);
    std::fflush(stdout);
  }
  fmt::print(
      "lives: seeds {} to {}, {} power cuts ({} while opening), {} kills, {} clean ends, {} "
      "messages "
      "acknowledged, {} seeds with violations\n",
      first, first + seeds - 1, totals.power_cuts, totals.while_opening, totals.kills, totals.clean,
      totals.messages, violating);
  CHECK(violating == 0);
  CHECK((seeds < 20 || totals.messages > seeds));  // some seeds have no power for a single one
}

TEST_CASE("without the sync the power cuts of several lives break promises") {
  Totals totals;
  bool broken = false;
  for (uint64_t seed = 1; seed <= 40 && !broken; ++seed) {
    const auto wrap = [](std::unique_ptr<storage::LogStore> store) {
      return std::make_unique<WithoutSync>(std::move(store));
    };
    broken = !History(seed, &totals, wrap, SyncPolicy::kAlways).Run().empty();
  }
  CHECK(broken);
}

}  // namespace strata::testing
