// Subscriptions: who holds one, what an acknowledgement means, and what of it is on disk when.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/reader.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using broker::Reader;
using testing::Answers;
using testing::Bell;
using testing::Eventually;
using testing::Lines;
using testing::Random;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::TestSeed;
using testing::ToLines;

// "logs" with ids 1 to 6, a batch each.
void Fill(TestBroker* broker) {
  REQUIRE(broker->Create("logs"));
  for (const char* payload : {"a", "b", "c", "d", "e", "f"}) {
    REQUIRE(broker->Append("logs", {payload}).ok());
  }
}

std::unique_ptr<Reader> Attach(TestBroker* broker, const std::string& name = "sub",
                               const std::string& holder = "host:1",
                               const StartPosition& start = {}) {
  Result<std::unique_ptr<Reader>> reader = broker->Hold("logs", name, start, holder);
  REQUIRE(reader.ok());
  return *std::move(reader);
}

MessageId Cursor(TestBroker* broker, const std::string& name = "sub") {
  return (*broker)->DescribeSubscription("logs", name)->cursor;
}

// The cursor that is written, durable or not; 0 without a row.
MessageId WrittenCursor(TestBroker* broker) {
  const auto rows = broker->disk().Recover().subscriptions;
  return rows.empty() ? 0 : rows[0].cursor;
}

TEST_CASE("a subscription is created where it was asked to start, and goes on from its cursor") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker->TruncateChannel("logs", 2).ok());
  const TimeMicros now = broker.clock().WallMicros();
  CHECK(broker->CreateSubscription("logs", "earliest", StartPosition::Earliest())->cursor == 3);
  CHECK(broker->CreateSubscription("logs", "latest", StartPosition::Latest())->cursor == 7);
  CHECK(broker->CreateSubscription("logs", "id", StartPosition::At(5))->cursor == 5);
  CHECK(broker->CreateSubscription("logs", "after", StartPosition::After(5))->cursor == 6);
  CHECK(broker->CreateSubscription("logs", "zero", StartPosition::At(0))->cursor == 3);
  CHECK(broker->CreateSubscription("logs", "below", StartPosition::At(1))->cursor == 1);
  CHECK(broker->CreateSubscription("logs", "beyond", StartPosition::At(100))->cursor == 100);
  CHECK(broker->CreateSubscription("logs", "time", StartPosition::AtTime(now))->cursor == 3);
  CHECK(broker->Stats().subscriptions == 8);
  const auto reader = Attach(&broker, "id");
  CHECK(ToLines(reader->Next()) == Lines{"5 e"});
  CHECK(ToLines(Attach(&broker, "below")->Next()) == Lines{"gap 1 to 2 TRIMMED"});
  CHECK(ReadToEnd(Attach(&broker, "beyond").get()) == Lines{});
}

TEST_CASE("consuming creates a subscription at its start once, and later starts do not count") {
  TestBroker broker;
  Fill(&broker);
  auto reader = Attach(&broker, "sub", "a", StartPosition::At(4));
  CHECK(reader->position() == 4);
  reader.reset();
  reader = Attach(&broker, "sub", "a", StartPosition::Earliest());
  CHECK(reader->position() == 4);
  CHECK(broker.Hold("none", "sub", {}, "a").status().reason() == Reason::CHANNEL_NOT_FOUND);
}

TEST_CASE("a subscription's name is checked, and is one channel's own") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker.Create("other"));
  CHECK(broker->CreateSubscription("logs", "a/b", {}).status().reason() ==
        Reason::INVALID_ARGUMENT);
  CHECK(broker.Hold("logs", "", {}, "a").status().reason() == Reason::INVALID_ARGUMENT);
  REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
  CHECK(broker->CreateSubscription("logs", "sub", {}).status().reason() ==
        Reason::SUBSCRIPTION_EXISTS);
  CHECK(broker->CreateSubscription("other", "sub", {}).ok());
  for (const Status& status :
       {broker->DescribeSubscription("logs", "no").status(),
        broker->SeekSubscription("logs", "no", {}).status(),
        broker->DeleteSubscription("logs", "no"), broker->Acknowledge("logs", "no", 1)}) {
    CHECK(status.reason() == Reason::SUBSCRIPTION_NOT_FOUND);
    CHECK(status.message().find("'no'") != std::string::npos);
  }
}

TEST_CASE("subscriptions are listed by channel, then name, with their backlog") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker.Create("before"));
  REQUIRE(broker->CreateSubscription("logs", "b", StartPosition::At(5)).ok());
  REQUIRE(broker->CreateSubscription("logs", "a", StartPosition::At(100)).ok());
  REQUIRE(broker->CreateSubscription("before", "c", {}).ok());
  const auto all = *broker->ListSubscriptions("");
  REQUIRE(all.size() == 3);
  CHECK(all[0].channel == "before");
  CHECK(all[1].name == "a");
  CHECK(all[1].backlog == 0);
  CHECK(all[2].name == "b");
  CHECK(all[2].backlog == 2);
  CHECK(broker->ListSubscriptions("logs")->size() == 2);
  CHECK(broker->ListSubscriptions("none").status().reason() == Reason::CHANNEL_NOT_FOUND);
  REQUIRE(broker->TruncateChannel("logs", 5).ok());
  CHECK(broker->DescribeSubscription("logs", "b")->backlog == 1);
}

TEST_CASE("a subscription has one holder, and the second is told who that is") {
  TestBroker broker;
  Fill(&broker);
  auto first = Attach(&broker, "sub", "host:1");
  CHECK(broker->DescribeSubscription("logs", "sub")->holder == "host:1");
  const Status second = broker.Hold("logs", "sub", {}, "host:2").status();
  CHECK(second.reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(second.retryable());
  CHECK(second.message().find("held by host:1") != std::string::npos);
  first.reset();
  CHECK(broker->DescribeSubscription("logs", "sub")->holder.empty());
  const auto unnamed = Attach(&broker, "sub", "");
  CHECK(broker.Hold("logs", "sub", {}, "x").status().message().find("an unnamed consumer") !=
        std::string::npos);
}

TEST_CASE("of many who attach at once one gets it") {
  for (int round = 0; round < 20; ++round) {
    TestBroker broker;
    Fill(&broker);
    std::vector<Result<std::unique_ptr<Reader>>> results;
    for (int i = 0; i < 4; ++i) results.emplace_back(Status(Reason::INTERNAL, "not run"));
    std::vector<std::thread> threads;
    for (auto& result : results) {
      threads.emplace_back(
          [&] { result = broker.Hold("logs", "sub", StartPosition::At(3), "me"); });
    }
    for (std::thread& thread : threads) thread.join();
    int held = 0;
    for (auto& result : results) {
      if (result.ok()) {
        ++held;
        CHECK((*result)->position() == 3);
      } else {
        CHECK(result.status().reason() == Reason::SUBSCRIPTION_HELD);
      }
    }
    CHECK(held == 1);
  }
}

TEST_CASE("acknowledgements are cumulative, never go back, and not beyond the end") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  CHECK(reader->Acknowledge(3).ok());
  CHECK(Cursor(&broker) == 4);
  for (const MessageId lower : {MessageId{3}, MessageId{1}, MessageId{0}, MessageId{-7}}) {
    CHECK(reader->Acknowledge(lower).ok());
    CHECK(Cursor(&broker) == 4);
  }
  CHECK(broker->Acknowledge("logs", "sub", 5).ok());
  CHECK(Cursor(&broker) == 6);
  const Status beyond = reader->Acknowledge(7);
  CHECK(beyond.reason() == Reason::ACK_BEYOND_END);
  CHECK(beyond.message() == "id 7 was acknowledged, but the last message of 'logs' is 6");
  CHECK(Cursor(&broker) == 6);
  CHECK(reader->Acknowledge(6).ok());
  CHECK(broker->DescribeSubscription("logs", "sub")->backlog == 0);
  // What was read but not acknowledged comes again to the next holder.
  CHECK(reader->position() == 1);
}

TEST_CASE("what is not durable cannot be acknowledged") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {"g"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  CHECK(broker->Acknowledge("logs", "sub", 7).reason() == Reason::ACK_BEYOND_END);
  broker.store().syncs.Open();
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(broker->Acknowledge("logs", "sub", 7).ok());
}

TEST_CASE("acknowledgements from many threads leave the highest") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  TestBroker broker;
  Fill(&broker);
  for (int i = 0; i < 100; ++i) REQUIRE(broker.Append("logs", {"x", "y", "z"}).ok());
  REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
  std::atomic<MessageId> highest{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      MessageId seen = 0;
      for (int i = 0; i < 500; ++i) {
        const auto id = static_cast<MessageId>(random.Between(1, 300));
        if (!broker->Acknowledge("logs", "sub", id).ok()) wrong.fetch_add(1);
        MessageId known = highest.load();
        while (known < id && !highest.compare_exchange_weak(known, id)) {
        }
        const MessageId cursor = broker->DescribeSubscription("logs", "sub")->cursor;
        if (cursor < seen || cursor <= id) wrong.fetch_add(1);
        seen = cursor;
        if (random.OneIn(20) && !broker.Append("logs", {"more"}).ok()) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  CHECK(Cursor(&broker) == highest.load() + 1);
  broker->Close();
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&after) == highest.load() + 1);
}

TEST_CASE("a cursor reaches the disk with the next group") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  const size_t groups = broker.disk().groups();
  REQUIRE(reader->Acknowledge(2).ok());
  REQUIRE(reader->Acknowledge(4).ok());
  CHECK(broker.disk().groups() == groups);
  CHECK(WrittenCursor(&broker) == 1);
  REQUIRE(broker.Append("logs", {"g"}).ok());
  CHECK(broker.disk().groups() == groups + 1);
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&after) == 5);
  CHECK(ToLines(Attach(&after)->Next()) == Lines{"5 e"});
}

TEST_CASE("thousands of acknowledgements between two groups are one row") {
  // Counts the rows of subscriptions that are written.
  class CountingStore final : public testing::GatedStore {
   public:
    using GatedStore::GatedStore;
    Status Write(const storage::WriteGroup& group) override {
      for (const auto& change : group.changes) {
        if (std::holds_alternative<storage::PutSubscription>(change)) rows.fetch_add(1);
      }
      return GatedStore::Write(group);
    }
    std::atomic<int> rows{0};
  };
  const auto disk = std::make_shared<testing::MemoryStore>();
  auto owned = std::make_unique<CountingStore>(disk);
  CountingStore& store = *owned;
  TestBroker broker({}, disk, std::move(owned), disk->Recover());
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", std::vector<std::string>(5'000, "x")).ok());
  const auto reader = Attach(&broker);
  const size_t groups = broker.disk().groups();
  store.rows = 0;
  for (MessageId id = 1; id <= 5'000; ++id) REQUIRE(reader->Acknowledge(id).ok());
  CHECK(broker.disk().groups() == groups);
  REQUIRE(broker.Append("logs", {"y"}).ok());
  CHECK(broker.disk().groups() == groups + 1);
  CHECK(store.rows == 1);
  CHECK(WrittenCursor(&broker) == 5'001);
}

TEST_CASE(
    "on an idle store a cursor reaches the disk within one second, and nothing is written else") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  const size_t groups = broker.disk().groups();
  REQUIRE(reader->Acknowledge(2).ok());
  broker.clock().Advance(std::chrono::microseconds(999'999));
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  CHECK(broker.disk().groups() == groups);
  broker.clock().Advance(std::chrono::microseconds(1));
  REQUIRE(Eventually([&] { return broker.disk().durable_groups() == groups + 1; }));
  CHECK(WrittenCursor(&broker) == 3);
  for (int i = 0; i < 5; ++i) {
    REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
    broker.clock().Advance(std::chrono::seconds(1));
  }
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  // An acknowledgement of what is acknowledged writes nothing either.
  REQUIRE(reader->Acknowledge(1).ok());
  broker.clock().Advance(std::chrono::seconds(1));
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  CHECK(broker.disk().groups() == groups + 1);
}

TEST_CASE("closing persists the cursors, and keeps no holder") {
  TestBroker before;
  Fill(&before);
  const auto reader = Attach(&before);
  REQUIRE(reader->Acknowledge(3).ok());
  before->Close();
  CHECK(reader->Acknowledge(4).reason() == Reason::SHUTTING_DOWN);
  TestBroker after = before.AfterPowerCut();
  CHECK(Cursor(&after) == 4);
  CHECK(after->DescribeSubscription("logs", "sub")->holder.empty());
}

TEST_CASE("an acknowledgement that is accepted while the broker closes is kept") {
  for (int round = 0; round < 30; ++round) {
    TestBroker broker;
    Fill(&broker);
    for (int i = 0; i < 20; ++i) REQUIRE(broker.Append("logs", {"1", "2", "3", "4", "5"}).ok());
    REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
    std::atomic<MessageId> accepted{0};
    std::thread acknowledging([&] {
      for (MessageId id = 1; id <= 106 && broker->Acknowledge("logs", "sub", id).ok(); ++id) {
        accepted.store(id);
        std::this_thread::yield();
      }
    });
    REQUIRE(Eventually([&] { return accepted.load() > 10; }));
    broker->Close();
    acknowledging.join();
    TestBroker after = broker.AfterPowerCut();
    REQUIRE(Cursor(&after) == accepted.load() + 1);
  }
}

TEST_CASE("a subscription survives a power cut once it was acknowledged to its creator") {
  TestBroker before;
  Fill(&before);
  REQUIRE(before->CreateSubscription("logs", "sub", StartPosition::At(4)).ok());
  TestBroker after = before.AfterPowerCut();
  const auto was = *before->DescribeSubscription("logs", "sub");
  const auto is = *after->DescribeSubscription("logs", "sub");
  CHECK(is.cursor == 4);
  CHECK(is.created_at == was.created_at);
  CHECK(is.backlog == 3);
}

TEST_CASE("a power cut may take back acknowledgements, and never messages behind them") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < 30; ++round) {
    TestBroker before;
    Fill(&before);
    REQUIRE(before->CreateSubscription("logs", "sub", {}).ok());
    before.disk().HoldSyncs();
    Answers answers;
    for (int i = 0; i < 10; ++i) {
      (void)before->Acknowledge("logs", "sub", static_cast<MessageId>(random.Between(1, 6)));
      before.AppendAsync("logs", {"x"}, &answers);
    }
    TestBroker after = before.AfterPowerCut(random.Below(12));
    const MessageId cursor = Cursor(&after);
    CHECK(cursor >= 1);
    CHECK(cursor <= after.NextId("logs"));
    before.disk().ReleaseSyncs();
    (void)answers.Await(10);
  }
}

TEST_CASE("deleting a channel takes its subscriptions, and its next one has none") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  REQUIRE(reader->Acknowledge(2).ok());
  REQUIRE(broker->DeleteChannel("logs").ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"CHANNEL_DELETED"});
  CHECK(reader->Acknowledge(3).reason() == Reason::CHANNEL_DELETED);
  CHECK(broker.disk().Recover().subscriptions.empty());
  Fill(&broker);
  CHECK(broker->ListSubscriptions("logs")->empty());
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("after fail-stop a subscription is read on, and its disk stays what it was") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  broker.disk().FailNextWrite();
  CHECK_FALSE(broker.Append("logs", {"x"}).ok());
  CHECK(ReadToEnd(reader.get()).size() == 6);
  (void)reader->Acknowledge(3);
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  broker.clock().Advance(std::chrono::seconds(1));
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  broker->Close();
  CHECK(WrittenCursor(&broker) == 1);
  CHECK(broker.disk().breaches() == Lines{});
}

}  // namespace
}  // namespace strata
