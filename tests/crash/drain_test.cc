// SIGTERM of a loaded stratad: the end is clean, and every producer was told the truth.
#include <chrono>
#include <string>
#include <vector>

#include "client/connect.h"
#include "tests/crash/ledger.h"
#include "tests/crash/load.h"
#include "tests/support/catch.h"
#include "tests/support/daemon.h"
#include "tests/support/temp_dir.h"

namespace strata::crash {
namespace {

using testing::Daemon;
using testing::Outcome;
using testing::TempDir;

TEST_CASE("A loaded daemon that is told to end keeps order and what it has acknowledged") {
  const bool over_tcp = GENERATE(true, false);
  INFO((over_tcp ? "TCP" : "Unix socket"));
  const TempDir dir;
  std::vector<Ledger> ledgers = {Ledger("one"), Ledger("two")};
  Daemon daemon({.data = dir / "data"});
  const std::string address = over_tcp ? daemon.tcp() : daemon.unix_socket();
  // One producer alone in its channel as well as several in one: batches that overtake each other
  // inside one stream show in both.
  Load load(address, {"one", "two", "two", "two"}, /*per_channel=*/1, /*first_producer=*/1);
  REQUIRE(load.WaitForAcknowledged(150'000));
  const Outcome stopped = daemon.Stop();
  load.Join();
  INFO(stopped.ToString());
  REQUIRE(stopped.exit_code == 0);
  for (const Account& account : load.accounts()) {
    INFO(account.first_error.ToString());
    CHECK((account.first_error.reason() == Reason::SHUTTING_DOWN ||
           account.first_error.reason() == Reason::CONNECTION_LOST));
  }

  Daemon again({.data = dir / "data"});
  const auto client = ConnectRemote(again.tcp());
  REQUIRE(client.ok());
  uint64_t stored = 0;
  for (Ledger& ledger : ledgers) {
    INFO("channel " << ledger.channel());
    REQUIRE(ledger.AddRound(**client, load.accounts()) == "");
    stored += ledger.size();
  }
  CHECK(stored >= load.acknowledged());
}

}  // namespace
}  // namespace strata::crash
