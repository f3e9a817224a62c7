// Waiting for a channel that does not exist yet.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/channel_wait.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using testing::Bell;
using testing::TestBroker;

TEST_CASE("there is nothing to wait for if the channel exists") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  Bell bell;
  const auto wait = broker->WaitForChannel("logs", bell.Ringer());
  REQUIRE(wait.ok());
  CHECK(*wait == nullptr);
}

TEST_CASE("who waits for a channel is woken once, when it can be opened") {
  TestBroker broker;
  Bell first;
  Bell second;
  Bell other;
  const auto a = *broker->WaitForChannel("logs", first.Ringer());
  const auto b = *broker->WaitForChannel("logs", second.Ringer());
  const auto c = *broker->WaitForChannel("more", other.Ringer());
  REQUIRE(a != nullptr);
  broker.store().syncs.Close();
  bool created = false;
  std::thread creator([&] { created = broker.Create("logs"); });
  broker.store().syncs.AwaitWaiting(1);
  // Not before it is durable.
  CHECK(first.rings() == 0);
  broker.store().syncs.Open();
  creator.join();
  CHECK(created);
  CHECK(first.rings() == 1);
  CHECK(second.rings() == 1);
  CHECK(other.rings() == 0);
  CHECK(broker->OpenReader("logs", {}).ok());
  REQUIRE(broker->DeleteChannel("logs").ok());
  REQUIRE(broker.Create("logs"));
  CHECK(first.rings() == 1);
}

TEST_CASE("who gives up waiting is not woken") {
  TestBroker broker;
  Bell bell;
  auto wait = *broker->WaitForChannel("logs", bell.Ringer());
  wait.reset();
  REQUIRE(broker.Create("logs"));
  CHECK(bell.rings() == 0);
}

TEST_CASE("a wrong name is not waited for") {
  TestBroker broker;
  CHECK(broker->WaitForChannel("no/name", [] {}).status().reason() == Reason::INVALID_CHANNEL_NAME);
}

TEST_CASE("closing the broker wakes who waits, and lets nobody wait any more") {
  TestBroker broker;
  Bell bell;
  auto wait = *broker->WaitForChannel("logs", bell.Ringer());
  broker->Close();
  CHECK(bell.rings() == 1);
  CHECK(broker->WaitForChannel("logs", bell.Ringer()).status().reason() == Reason::SHUTTING_DOWN);
  broker.Destroy();
  wait.reset();  // may outlive the broker
}

TEST_CASE("no creation is lost, however close it comes to the wait for it") {
  TestBroker broker;
  for (int round = 0; round < 300; ++round) {
    const std::string name = "logs-" + std::to_string(round);
    bool created = false;
    std::thread creator([&] { created = broker.Create(name); });
    Bell bell;
    const auto wait = broker->WaitForChannel(name, bell.Ringer());
    const bool found =
        wait.ok() && (*wait == nullptr || bell.Await(1)) && broker->DescribeChannel(name).ok();
    creator.join();
    REQUIRE(created);
    REQUIRE(found);
  }
}

}  // namespace
}  // namespace strata
