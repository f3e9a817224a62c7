// What users' own tests have besides a Client: a broker in memory that can be broken and restarted.
#include "client/testing/in_memory.h"

#include <thread>

#include "tests/contract/place.h"

namespace strata::testing {
namespace {

TEST_CASE("A client in memory is connected at once, and each has a broker of its own") {
  auto one = Get(ConnectInMemory());
  auto other = Get(ConnectInMemory());
  Create(*one, "c");
  CHECK(Append(*one, "c", {"a"}).first_id == 1);
  CHECK(Why(other->DescribeChannel("c")) == "CHANNEL_NOT_FOUND");
  // The broker lives as long as something of it is open.
  auto reader = Read(*one, "c");
  CHECK(Take(*reader, 1) == Strings{"1:a"});
}

TEST_CASE("A broker in memory takes the settings of strata.yaml and refuses wrong ones") {
  auto client = Get(ConnectInMemory({.settings = {"limits.maxPayload=2000"}}));
  CHECK(Get(client->GetServerInfo()).max_payload == 2000);
  const auto wrong = ConnectInMemory({.settings = {"limits.maxPayloads=2000"}});
  CHECK(Why(wrong) == "INVALID_CONFIG");
  CHECK(Why(InMemoryBroker::Start({.settings = {"nonsense"}}).status()) == "INVALID_CONFIG");
}

TEST_CASE("A broker in memory that restarts has what was acknowledged, and its clients are told") {
  auto broker = Get(InMemoryBroker::Start());
  auto client = broker->NewClient();
  const ChannelInfo before = Create(*client, "c");
  Append(*client, "c", {"a", "b"});
  Get(client->TruncateChannel("c", 1));
  auto consumer = Consume(*client, "c", "s");
  Ok(consumer->Acknowledge(2));
  auto reader = Read(*client, "c", StartPosition::Latest());
  std::string ended;
  std::thread waiting([&] { ended = Why(reader->Receive(kSoon)); });
  broker->Restart();
  waiting.join();
  CHECK(ended == "SHUTTING_DOWN");
  CHECK(Why(client->Append("c", std::vector<Message>{{"late", {}}})) == "SHUTTING_DOWN not");

  auto again = broker->NewClient();
  const ChannelInfo after = Get(again->DescribeChannel("c"));
  CHECK(after.number == before.number);
  CHECK(after.first_available == 2);
  CHECK(after.next_id == 3);
  CHECK(Take(*Read(*again, "c"), 1) == Strings{"2:b"});
  CHECK(Get(again->DescribeSubscription("c", "s")).cursor == 3);
  CHECK(Append(*again, "c", {"c"}).first_id == 3);
}

TEST_CASE("A broker in memory whose writes fail goes on reading, until it is restarted") {
  auto broker = Get(InMemoryBroker::Start());
  auto client = broker->NewClient();
  Create(*client, "c");
  Append(*client, "c", {"kept"});
  broker->FailWrites();
  const std::vector<Message> message = {{"lost", {}}};
  CHECK(Why(client->Append("c", message)) == "STORE_FAILED maybe");
  CHECK(Why(client->Append("c", message)) == "STORE_FAILED not");
  CHECK(Get(client->GetStatus()).state == "failed");
  CHECK(Take(*Read(*client, "c"), 1) == Strings{"1:kept"});
  broker->Restart();
  auto again = broker->NewClient();
  CHECK(Get(again->GetStatus()).state == "serving");
  CHECK(Append(*again, "c", {"after"}).first_id == 2);
  CHECK(Take(*Read(*again, "c"), 2) == Strings{"1:kept", "2:after"});
}

TEST_CASE("A damaged batch in memory is a gap for its readers, across a restart too") {
  auto broker = Get(InMemoryBroker::Start());
  auto client = broker->NewClient();
  Create(*client, "c");
  Append(*client, "c", {"a"});
  Append(*client, "c", {"b", "c", "d"});
  Append(*client, "c", {"e"});
  Ok(broker->Damage("c", 3));
  CHECK(Take(*Read(*client, "c"), 3) == Strings{"1:a", "gap 2-4 CORRUPT", "5:e"});
  Ok(broker->Damage("c", 3));
  CHECK(Why(broker->Damage("c", 6)) == "INVALID_ARGUMENT");
  CHECK(Why(broker->Damage("c", 0)) == "INVALID_ARGUMENT");
  CHECK(Why(broker->Damage("d", 1)) == "CHANNEL_NOT_FOUND");
  broker->Restart();
  CHECK(Take(*Read(*broker->NewClient(), "c"), 3) == Strings{"1:a", "gap 2-4 CORRUPT", "5:e"});
}

TEST_CASE("A broker in memory has the time that the test gives it") {
  ManualClock clock;
  auto client = Get(ConnectInMemory({.clock = &clock}));
  Create(*client, "c");
  const TimeMicros start = clock.WallMicros();
  CHECK(Append(*client, "c", {"a"}).append_time == start);
  clock.Advance(std::chrono::hours(1));
  CHECK(Append(*client, "c", {"b"}).append_time == start + 3'600'000'000);
  CHECK(Take(*Read(*client, "c", StartPosition::AtTime(start + 1)), 1) == Strings{"2:b"});
}

TEST_CASE("What was opened from a broker in memory may outlive it") {
  auto broker = Get(InMemoryBroker::Start());
  auto client = broker->NewClient();
  Create(*client, "c");
  auto producer = Produce(*client, "c");
  auto reader = Read(*client, "c");
  broker.reset();
  CHECK(Why(reader->Receive(kNow)) == "SHUTTING_DOWN");
  CHECK_FALSE(producer->Send(Message{"late", {}}).get().ok());
  CHECK(Why(client->DescribeChannel("c").status()) != "");
}

}  // namespace
}  // namespace strata::testing
