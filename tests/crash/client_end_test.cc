// The end of the last client in a process. gRPC 1.51 ends its threads with it, which aborted the
// process when one of those threads was the one that let go of it.
#include <chrono>
#include <string>
#include <string_view>

#include "client/connect.h"
#include "tests/support/catch.h"
#include "tests/support/daemon.h"
#include "tests/support/temp_dir.h"

namespace strata::crash {
namespace {

TEST_CASE("Clients that come and go one at a time do not harm their process") {
  const testing::TempDir dir;
  testing::Daemon daemon({.data = dir / "data"});
  // Without the cure every second run of 500 rounds aborted.
  for (int round = 0; round < 400; ++round) {
    auto client = ConnectRemote(daemon.unix_socket());
    if (!client.ok()) {
      FAIL("round " << round << ": " << client.status().ToString() << '\n'
                    << daemon.Stop().ToString());
    }
    auto producer = (*client)->OpenProducer("logs", {.create_if_missing = true});
    REQUIRE(producer.ok());
    REQUIRE((*producer)->Send(std::string_view("x"), nullptr).ok());
    if (round % 2 == 0) REQUIRE((*producer)->Close().ok());
    producer->reset();
    (*client)->Close();
  }
}

}  // namespace
}  // namespace strata::crash
