// What is behind a sync can be damaged all the same: a bit of RocksDB's log rots, its end is cut off, a whole log is
// gone. Then a store either has everything that was acknowledged, or refuses to open, says of which channels which ids
// are missing and leaves everything as it is; and if the loss is accepted, every missing id is in a LOST gap.
//
//   STRATA_LOST_LOG_SEEDS       histories, default 30
//   STRATA_LOST_LOG_FIRST_SEED  the first one
#include <fmt/format.h>

#include <cstdlib>

#include "storage/files.h"
#include "tests/faults/lives.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

constexpr uint64_t kFarAway = uint64_t{1} << 60;
constexpr const char* kDatabase = "/var/strata/db";

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Totals {
  uint64_t whole = 0;    // opened: nothing that was acknowledged had been in what was damaged
  uint64_t refused = 0;  // by the name of what is missing
};

// Rots, cuts or deletes one log; what was done, empty if there is none with anything in it.
std::string DamageLog(FaultFileSystem* disk, Random* random) {
  bool exists = false;
  auto names = storage::ListDirectory(*disk, kDatabase, &exists);
  REQUIRE(names.ok());
  std::vector<std::pair<std::string, std::string>> logs;
  for (const std::string& name : *names) {
    if (!name.ends_with(".log")) continue;
    const std::string path = std::string(kDatabase) + "/" + name;
    auto content = storage::ReadFile(*disk, path);
    REQUIRE(content.ok());
    if (!content->empty()) logs.emplace_back(path, *std::move(content));
  }
  if (logs.empty()) return "";
  auto& [path, content] = logs[random->Below(logs.size())];
  const uint64_t at = random->Below(content.size());
  const uint64_t dice = random->Below(3);
  if (dice == 0) {
    REQUIRE(disk->DeleteFile(path, rocksdb::IOOptions(), nullptr).ok());
    disk->SyncAll();
    return fmt::format("deleted {} of {} bytes, one of {}", path, content.size(), logs.size());
  }
  if (dice == 1) {
    content.resize(at);
  } else {
    content[at] = static_cast<char>(content[at] ^ (1 << random->Below(8)));
  }
  REQUIRE(storage::ReplaceFile(*disk, kDatabase, path.substr(path.rfind('/') + 1), content).ok());
  disk->SyncAll();
  return fmt::format("{} {} at {}", dice == 1 ? "cut" : "flipped a bit of", path, at);
}

// One seed. What was wrong, empty if nothing.
std::vector<std::string> Run(uint64_t seed, Totals* totals) {
  Lives lives(seed, nullptr, SyncPolicy::kAlways);
  Random& random = lives.random();
  std::unique_ptr<broker::Broker> broker;
  std::vector<std::string> violations = lives.Check(Ending::kClean, &broker);
  const uint64_t rounds = random.Between(1, 3);
  for (uint64_t round = 0; round < rounds && violations.empty(); ++round) {
    lives.shape().steps = random.Between(10, 80);
    lives.Live(broker.get());
    lives.disk().CutAfterNextWrites(0);
    broker.reset();
    lives.End(Ending::kKilled);
    lives.disk().CutAfterNextWrites(kFarAway);
    const std::string damage = DamageLog(&lives.disk(), &random);
    auto refused = lives.Open();
    if (refused.ok()) broker = std::move(refused).value();
    if (refused.ok()) {
      ++totals->whole;
      violations = lives.ledger().Check(*broker, Ending::kKilled);
    } else if (refused.status().reason() != Reason::ACKNOWLEDGED_DATA_LOST ||
               (refused.status().message().find("ids ") == std::string::npos)) {
      violations = {"refused without the ids: " + refused.status().ToString()};
    } else {
      ++totals->refused;
      lives.set_accept_loss(true);
      violations = lives.Check(Ending::kLossAccepted, &broker);
      lives.set_accept_loss(false);
      if (!violations.empty()) violations.push_back("refused: " + refused.status().ToString());
    }
    if (!violations.empty()) violations.push_back(damage);
  }
  broker.reset();
  if (!violations.empty()) violations.push_back("the log:\n" + lives.log());
  return violations;
}

}  // namespace

TEST_CASE("a damaged log is refused by what is missing, and accepted losses are LOST gaps") {
  const uint64_t first = FromEnvironment("STRATA_LOST_LOG_FIRST_SEED", 1);
  const uint64_t seeds = FromEnvironment("STRATA_LOST_LOG_SEEDS", 30);
  Totals totals;
  uint64_t violating = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const std::vector<std::string> violations = Run(seed, &totals);
    if (violations.empty()) continue;
    ++violating;
    fmt::print("seed {} (STRATA_LOST_LOG_FIRST_SEED={} STRATA_LOST_LOG_SEEDS=1):\n", seed, seed);
    for (const std::string& violation : violations) fmt::print("  {}\n", violation);
    std::fflush(stdout);
  }
  fmt::print(
      "lost logs: seeds {} to {}, {} times whole, {} times refused, {} seeds with violations\n",
      first, first + seeds - 1, totals.whole, totals.refused, violating);
  CHECK(violating == 0);
  CHECK((seeds < 20 || totals.refused > seeds / 4));
  CHECK((seeds < 20 || totals.whole > 0));
}

}  // namespace strata::testing
