// One call after the other: every client does what the model says, over every transport; and a model
// with one rule wrong is found out, rule by rule.
//
// STRATA_MODEL_SEEDS: how many random runs over each transport; the default is a few.
#include <cstdlib>

#include "tests/model/play.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata::testing {
namespace {

uint64_t Seeds(uint64_t otherwise) {
  const char* given = std::getenv("STRATA_MODEL_SEEDS");
  return given != nullptr && *given != '\0' ? std::strtoull(given, nullptr, 10) : otherwise;
}

constexpr size_t kOperations = 90;

std::string Joined(const Strings& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

void PlayAll(Transport transport, uint64_t seeds) {
  const uint64_t base = TestSeed();
  for (uint64_t seed = base; seed < base + seeds; ++seed) {
    const std::vector<Operation> operations = DrawOperations(seed, kOperations);
    if (!Play(transport, operations).has_value()) continue;
    FAIL("STRATA_TEST_SEED=" << seed << " STRATA_MODEL_SEEDS=1, " << transport << "\n"
                             << Joined(PlayShortest(transport, operations)));
  }
  SUCCEED(seeds << " runs");
}

TEST_CASE("A client in memory does what the model says, call by call") {
  PlayAll(Transport::kInMemory, Seeds(150));
}

TEST_CASE("An embedded client does what the model says, call by call") {
  PlayAll(Transport::kEmbedded, Seeds(4));
}

TEST_CASE("A client over a Unix socket does what the model says, call by call") {
  PlayAll(Transport::kUnix, Seeds(4));
}

TEST_CASE("A client over TCP does what the model says, call by call") {
  PlayAll(Transport::kTcp, Seeds(2));
}

const char* Name(Flaw flaw) {
  switch (flaw) {
    case Flaw::kNone:
      return "None";
#define FLAW(name)    \
  case Flaw::k##name: \
    return #name;
      STRATA_MODEL_FLAWS(FLAW)
#undef FLAW
  }
  return "";
}

// How many runs until client and model disagree; 0: they never did.
uint64_t RunsUntilFound(Flaw flaw, uint64_t most) {
  for (uint64_t seed = 1; seed <= most; ++seed) {
    if (Play(Transport::kInMemory, DrawOperations(seed, kOperations), flaw)) return seed;
  }
  return 0;
}

TEST_CASE("A model with one rule wrong is found out, whichever rule it is") {
#define FLAW(name) Flaw::k##name,
  for (const Flaw flaw : {STRATA_MODEL_FLAWS(FLAW)}) {
#undef FLAW
    const uint64_t runs = RunsUntilFound(flaw, 400);
    INFO(Name(flaw));
    CHECK(runs > 0);
    if (std::getenv("STRATA_MODEL_SEEDS") != nullptr) {
      WARN(Name(flaw) << " took " << runs << " runs");
    }
  }
}

TEST_CASE("What is printed of a disagreement is short and begins at the beginning") {
  const std::vector<Operation> operations = DrawOperations(1, kOperations);
  const Strings calls = PlayShortest(Transport::kInMemory, operations, Flaw::kLatestIsTheLast);
  INFO(Joined(calls));
  CHECK(calls.size() <= 12);
  CHECK(calls.front().starts_with("CreateChannel"));
  CHECK(calls.back().starts_with("the model: "));
}

}  // namespace
}  // namespace strata::testing
