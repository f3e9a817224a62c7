// The embedded source of batches below the Consumer: turns, moves by others, the end of waiting.
#include "client/embedded/embedded_source.h"

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "base/batch.h"
#include "broker/broker.h"
#include "client/embedded/channel_waiting.h"
#include "client/testing/memory_store.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

// A broker with "c", whose ids are 1 to 3.
std::shared_ptr<broker::Broker> OpenBroker() {
  auto store = std::make_unique<MemoryStore>();
  storage::Recovered recovered = store->Recover();
  auto broker = std::make_shared<broker::Broker>(broker::BrokerOptions(), std::move(store),
                                                 std::move(recovered));
  REQUIRE(broker->CreateChannel("c", {}).ok());
  for (int i = 0; i < 3; ++i) {
    BatchBuilder batch;
    batch.Add("x");
    REQUIRE(broker->Append({.channel = "c", .batch = batch.Take()}).ok());
  }
  return broker;
}

std::shared_ptr<EmbeddedSource> Subscribe(const std::shared_ptr<broker::Broker>& broker,
                                          const std::string& holder, bool failover) {
  auto source = EmbeddedSource::Subscribe(
      broker, {.channel = "c", .subscription = "s", .holder = holder}, failover);
  REQUIRE(source.ok());
  return *std::move(source);
}

TEST_CASE("An embedded source that stands by is told when its turn comes, and from where") {
  const auto broker = OpenBroker();
  const auto first = Subscribe(broker, "one", /*failover=*/false);
  const auto second = Subscribe(broker, "two", /*failover=*/true);
  CHECK(first->active());
  CHECK_FALSE(second->active());
  CHECK(second->opened_at().position == 0);
  CHECK(second->opened_at().end == 0);
  CHECK(second->Next(milliseconds(0)).status().reason() == Reason::TIMEOUT);
  CHECK(second->AcknowledgeAsync(1).reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(second->Seek(StartPosition::At(1)).status().reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(second->position() == 0);
  REQUIRE(first->Acknowledge(1).ok());

  std::thread closing([&] { first->Close(); });
  const auto batch = second->Next(minutes(1));
  closing.join();
  REQUIRE(batch.ok());
  CHECK(batch->first_id() == 2);
  CHECK(second->active());
  CHECK(second->position() == 3);
  CHECK(second->opened_at().end == 4);
  second->Close();
  CHECK(broker->DescribeSubscription("c", "s")->holder.empty());
}

TEST_CASE("An embedded source follows seeks by others and its own") {
  const auto broker = OpenBroker();
  const auto source = Subscribe(broker, "one", /*failover=*/false);
  for (int i = 0; i < 3; ++i) REQUIRE(source->Next(milliseconds(0)).ok());
  REQUIRE(broker->SeekSubscription("c", "s", StartPosition::At(2)).ok());
  CHECK(source->Acknowledge(3).ok());  // from before: nothing
  CHECK(broker->DescribeSubscription("c", "s")->cursor == 2);
  CHECK(source->Next(milliseconds(0))->first_id() == 2);
  CHECK(source->position() == 3);
  REQUIRE(source->Seek(StartPosition::At(3)).ok());
  CHECK(source->Next(milliseconds(0))->first_id() == 3);
  CHECK(source->position() == 4);
  CHECK(source->Acknowledge(4).reason() == Reason::ACK_BEYOND_END);
}

TEST_CASE("Closing ends an embedded source that stands by, and frees its place") {
  const auto broker = OpenBroker();
  const auto first = Subscribe(broker, "one", /*failover=*/false);
  const auto second = Subscribe(broker, "two", /*failover=*/true);
  std::thread closing([&] { second->Close(); });
  CHECK(second->Next(minutes(1)).status().reason() == Reason::CLIENT_CLOSED);
  closing.join();
  CHECK(broker->DescribeSubscription("c", "s")->standby == 0);
}

TEST_CASE("An embedded client waits for a channel until it is there, closed, or out of time") {
  const auto broker = OpenBroker();
  OpenSet open;
  CHECK(*AwaitChannel(*broker, "c", minutes(1), &open) == false);
  CHECK(*AwaitChannel(*broker, "later", milliseconds(0), &open) == false);
  CHECK(*AwaitChannel(*broker, "later", milliseconds(1), &open) == true);
  CHECK(AwaitChannel(*broker, "no/name", minutes(1), &open).status().reason() ==
        Reason::INVALID_CHANNEL_NAME);
  bool created = false;
  std::thread creating([&] { created = broker->CreateChannel("later", {}).ok(); });
  CHECK(AwaitChannel(*broker, "later", minutes(1), &open).ok());
  creating.join();
  CHECK(created);
  CHECK(broker->OpenReader("later", {}).ok());
  std::thread closing([&] { open.EndAll(); });
  CHECK(AwaitChannel(*broker, "never", minutes(1), &open).status().reason() ==
        Reason::CLIENT_CLOSED);
  closing.join();
}

}  // namespace
}  // namespace strata::testing
