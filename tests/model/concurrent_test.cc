// All at once: what many clients did and were told keeps the rules of a log, over every transport and
// across restarts of the broker.
//
// STRATA_MODEL_HISTORIES: how many over each transport; the default is a few.
#include "tests/model/concurrent.h"

#include <cstdlib>

#include "tests/support/catch.h"

namespace strata::testing {
namespace {

uint64_t Histories(uint64_t otherwise) {
  const char* given = std::getenv("STRATA_MODEL_HISTORIES");
  return given != nullptr && *given != '\0' ? std::strtoull(given, nullptr, 10) : otherwise;
}

void CheckAll(Transport transport, uint64_t histories) {
  const uint64_t base = TestSeed();
  size_t attempts = 0;
  size_t received = 0;
  for (uint64_t seed = base; seed < base + histories; ++seed) {
    INFO("STRATA_TEST_SEED=" << seed << " STRATA_MODEL_HISTORIES=1, " << transport);
    const ConcurrentRun run = RunConcurrently(transport, seed);
    REQUIRE(run.problems == Strings{});
    REQUIRE(CheckHistory(run.history) == Strings{});
    attempts += run.history.attempts.size();
    for (const auto& reading : run.history.readings) received += reading.got.size();
  }
  // Had nobody done anything, nothing would have been wrong.
  CHECK(attempts >= histories * 100);
  CHECK(received >= attempts);
  if (std::getenv("STRATA_MODEL_HISTORIES") != nullptr) {
    WARN(transport << ": " << histories << " histories, " << attempts << " appends, " << received
                   << " received");
  }
}

TEST_CASE("Clients in memory keep the rules of a log, all at once") {
  CheckAll(Transport::kInMemory, Histories(5));
}

TEST_CASE("Embedded clients keep the rules of a log, all at once") {
  CheckAll(Transport::kEmbedded, Histories(1));
}

TEST_CASE("Clients over a Unix socket keep the rules of a log, all at once") {
  CheckAll(Transport::kUnix, Histories(1));
}

TEST_CASE("Clients over TCP keep the rules of a log, all at once") {
  CheckAll(Transport::kTcp, Histories(1));
}

}  // namespace
}  // namespace strata::testing
