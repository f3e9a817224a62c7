// Random damage to every kind of file: contained, refused with a remedy, or of no consequence; never silent or wrong.
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <iostream>

#include "tests/corruption/trial.h"
#include "tests/support/catch.h"

namespace strata::corruption {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

struct Row {
  std::array<uint64_t, kOutcomes> outcomes{};
  uint64_t trials = 0;
  uint64_t kept = 0;
  uint64_t all = 0;
};

void Print(const std::array<Row, kKinds + 1>& rows) {
  std::cout << fmt::format("{:<24} {:>6} {:>10} {:>7} {:>10} {:>8} {:>10} {:>9}\n", "damaged",
                           "trials", "available", "silent", "contained", "refused", "violations",
                           "kept");
  for (int kind = 0; kind <= kKinds; ++kind) {
    const Row& row = rows[static_cast<size_t>(kind)];
    if (row.trials == 0) continue;
    std::cout << fmt::format("{:<24} {:>6} {:>10} {:>7} {:>10} {:>8} {:>10} {:>8.3f}%\n",
                             kind == kKinds ? "all" : NameOf(static_cast<Kind>(kind)), row.trials,
                             row.outcomes[0], row.outcomes[1], row.outcomes[2], row.outcomes[3],
                             row.outcomes[4],
                             100.0 * static_cast<double>(row.kept) /
                                 static_cast<double>(std::max<uint64_t>(row.all, 1)));
  }
  std::cout << std::flush;
}

// Bytes of which nothing depends on what they are.
bool MayBeSilent(const Damage& damage) {
  switch (damage.kind) {
    case Kind::kOptions:  // written by RocksDB, read by nobody
      return true;
    case Kind::kLog:  // cut between two records, all that they said is elsewhere too
    case Kind::kManifest:
      return damage.truncate;
    default:
      return false;
  }
}

void Run(const char* count_name, uint64_t default_count, bool truncate) {
  const uint64_t count = FromEnvironment(count_name, default_count);
  const uint64_t seed = FromEnvironment("STRATA_CORRUPTION_SEED", 1);
  const bool verbose = std::getenv("STRATA_CORRUPTION_VERBOSE") != nullptr;
  std::array<Row, kKinds + 1> rows{};
  for (uint64_t i = 0; i < count; ++i) {
    testing::Random random((seed + i) * 2 + (truncate ? 1 : 0));
    const Damage damage = Choose(&random, static_cast<Kind>((seed + i) % kKinds), truncate);
    Verdict verdict = Try(damage);
    if (verdict.outcome == Outcome::kSilent && !MayBeSilent(damage)) {
      verdict.outcome = Outcome::kViolation;
      verdict.text = "verify does not find it";
    }
    for (const auto kind : {static_cast<size_t>(damage.kind), size_t{kKinds}}) {
      ++rows[kind].trials;
      ++rows[kind].outcomes[static_cast<size_t>(verdict.outcome)];
      rows[kind].kept += verdict.kept;
      rows[kind].all += verdict.all;
    }
    const std::string line = fmt::format("STRATA_CORRUPTION_SEED={} {}={}: {}\n{}", seed + i,
                                         count_name, 1, damage.Describe(), verdict.text);
    if (verbose) {
      std::cout << static_cast<int>(verdict.outcome) << " " << verdict.kept << "/" << verdict.all
                << " " << line << std::endl;
    }
    if (verdict.outcome == Outcome::kViolation) FAIL_CHECK(line);
  }
  Print(rows);
  CHECK(rows[kKinds].trials == count);
}

TEST_CASE("a flipped bit anywhere is contained or refused, never silent or wrong", "[corruption]") {
  Run("STRATA_CORRUPTION_FLIPS", 36, /*truncate=*/false);
}

TEST_CASE("a file cut short anywhere is contained or refused, never silent or wrong",
          "[corruption]") {
  Run("STRATA_CORRUPTION_TRUNCATIONS", 24, /*truncate=*/true);
}

}  // namespace
}  // namespace strata::corruption
