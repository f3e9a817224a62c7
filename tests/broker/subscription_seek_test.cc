// Subscriptions that are moved, deleted and made anew, while others hold them and acknowledge.
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
using testing::Bell;
using testing::Eventually;
using testing::Lines;
using testing::Random;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::TestSeed;
using testing::ToLines;

// "logs" with ids 1 to 6, a batch each, and its subscription at 1.
void Fill(TestBroker* broker) {
  REQUIRE(broker->Create("logs"));
  for (const char* payload : {"a", "b", "c", "d", "e", "f"}) {
    REQUIRE(broker->Append("logs", {payload}).ok());
  }
  REQUIRE((*broker)->CreateSubscription("logs", "sub", {}).ok());
}

std::unique_ptr<Reader> Attach(TestBroker* broker) {
  Result<std::unique_ptr<Reader>> reader = broker->Hold("logs", "sub", {}, "me");
  REQUIRE(reader.ok());
  return *std::move(reader);
}

MessageId Cursor(TestBroker* broker) {
  return (*broker)->DescribeSubscription("logs", "sub")->cursor;
}

// Starts `change` on a thread, and returns when its group is written while its sync waits.
class InFlight {
 public:
  InFlight(TestBroker* broker, std::function<Status()> change)
      : groups_(broker->disk().groups()),
        thread_([this, change = std::move(change)] { status_ = change(); }) {
    REQUIRE(Eventually([&] { return broker->disk().groups() == groups_ + 1; }));
  }
  Status Join() {
    thread_.join();
    return status_;
  }

 private:
  const size_t groups_;
  Status status_;
  std::thread thread_;
};

TEST_CASE("a seek moves the cursor both ways, and an attached reader goes on from there") {
  for (const uint64_t cache : {uint64_t{0}, uint64_t{1} << 20}) {
    broker::BrokerOptions options;
    options.tail_cache = cache;
    TestBroker broker(options);
    Fill(&broker);
    const auto reader = Attach(&broker);
    CHECK(ToLines(reader->Next()) == Lines{"1 a"});
    REQUIRE(reader->Acknowledge(1).ok());
    CHECK(broker->SeekSubscription("logs", "sub", StartPosition::At(5))->cursor == 5);
    CHECK(ReadToEnd(reader.get()) == Lines{"moved to 5 by seek 1", "5 e", "6 f"});
    CHECK(broker->SeekSubscription("logs", "sub", StartPosition::Earliest())->cursor == 1);
    CHECK(ToLines(reader->Next()) == Lines{"moved to 1 by seek 2"});
    CHECK(ToLines(reader->Next()) == Lines{"1 a"});
    CHECK(broker->SeekSubscription("logs", "sub", StartPosition::Latest())->cursor == 7);
    CHECK(ReadToEnd(reader.get()) == Lines{"moved to 7 by seek 3"});
    TestBroker after = broker.AfterPowerCut();
    CHECK(Cursor(&after) == 7);
  }
}

TEST_CASE("a seek wakes a reader that waits, and one that was on its way to wait") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  CHECK(ReadToEnd(reader.get()).size() == 6);
  Bell bell;
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(6)).ok());
  CHECK(bell.rings() == 1);
  CHECK(ReadToEnd(reader.get()) == Lines{"moved to 6 by seek 1", "6 f"});
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(5)).ok());
  CHECK_FALSE(reader->WakeWhenReady(bell.Ringer()));
  CHECK(ReadToEnd(reader.get()) == Lines{"moved to 5 by seek 2", "5 e", "6 f"});
}

TEST_CASE("a reader with a subscription does not seek by itself") {
  TestBroker broker;
  Fill(&broker);
  CHECK(Attach(&broker)->Seek(StartPosition::At(2)).reason() == Reason::INVALID_ARGUMENT);
}

TEST_CASE("a reader is told of each place where others moved it to, before anything of there") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  CHECK(ToLines(reader->Next()) == Lines{"1 a"});
  CHECK_FALSE(reader->TakeNews().has_value());
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(5)).ok());
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(3)).ok());
  // Also by those who deliver nothing now; the last place counts.
  CHECK_FALSE(reader->NeedsStorage());
  const auto news = reader->TakeNews();
  REQUIRE(news.has_value());
  CHECK(ToLines(*news) == Lines{"moved to 3 by seek 2"});
  CHECK(reader->seek_number() == 2);
  CHECK_FALSE(reader->TakeNews().has_value());
  CHECK(ReadToEnd(reader.get()) == Lines{"3 c", "4 d", "5 e", "6 f"});
  // Even if it moves to where it is.
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::Latest()).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"moved to 7 by seek 3"});
}

TEST_CASE("a reader's own seek is answered, and not told again") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(5)).ok());
  // The seek before it is passed over by its own.
  const auto moved = broker->Seek(reader.get(), StartPosition::At(4));
  REQUIRE(moved.ok());
  CHECK(moved->position == 4);
  CHECK(moved->seek == 2);
  CHECK(Cursor(&broker) == 4);
  CHECK(ReadToEnd(reader.get()) == Lines{"4 d", "5 e", "6 f"});
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&after) == 4);
  // Without a subscription it is the reader alone that moves.
  const auto plain = broker.Open("logs");
  CHECK(broker->Seek(plain.get(), StartPosition::At(6))->position == 6);
  CHECK(ReadToEnd(plain.get()) == Lines{"6 f"});
  CHECK(Cursor(&broker) == 4);
}

TEST_CASE("a reader of a deleted subscription seeks nothing, even if the name is there again") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  REQUIRE(broker->DeleteSubscription("logs", "sub").ok());
  REQUIRE(broker->CreateSubscription("logs", "sub", StartPosition::At(2)).ok());
  CHECK(broker->Seek(reader.get(), StartPosition::At(5)).status().reason() ==
        Reason::SUBSCRIPTION_NOT_FOUND);
  CHECK(Cursor(&broker) == 2);
}

TEST_CASE("an acknowledgement of what was delivered before a seek changes nothing") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  for (int i = 0; i < 5; ++i) (void)reader->Next();
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(2)).ok());
  // The reader has not followed yet: it can only mean what was before.
  CHECK(reader->Acknowledge(5).ok());
  CHECK(Cursor(&broker) == 2);
  CHECK(ToLines(reader->Next()) == Lines{"moved to 2 by seek 1"});
  // A client that numbers them may come later still.
  REQUIRE(broker->Seek(reader.get(), StartPosition::At(3)).ok());
  CHECK(reader->Acknowledge(5, 1).ok());
  CHECK(Cursor(&broker) == 3);
  CHECK(reader->Acknowledge(4, 2).ok());
  CHECK(Cursor(&broker) == 5);
  CHECK(reader->Acknowledge(5).ok());
  CHECK(Cursor(&broker) == 6);
  CHECK(reader->Acknowledge(7, 1).reason() == Reason::ACK_BEYOND_END);
  // Number 0 is that of what was delivered before the first seek, not none.
  CHECK(reader->Acknowledge(6, 0).ok());
  CHECK(broker->Acknowledge("logs", "sub", 6, 1).ok());
  CHECK(Cursor(&broker) == 6);
  CHECK(broker->Acknowledge("logs", "sub", 6, 2).ok());
  CHECK(Cursor(&broker) == 7);
}

TEST_CASE("an acknowledgement for another channel of the same name is refused") {
  TestBroker broker;
  Fill(&broker);
  const ChannelNumber old = broker.Number("logs");
  REQUIRE(broker->DeleteChannel("logs").ok());
  Fill(&broker);
  CHECK(broker->Acknowledge("logs", "sub", 3, {}, old).reason() == Reason::CHANNEL_RECREATED);
  CHECK(Cursor(&broker) == 1);
  CHECK(broker->Acknowledge("logs", "sub", 3, {}, broker.Number("logs")).ok());
  CHECK(Cursor(&broker) == 4);
}

TEST_CASE("each of several seeks in one group has its number, on disk as in memory") {
  TestBroker broker;
  Fill(&broker);
  broker.store().syncs.Close();
  InFlight first(&broker, [&] {
    return broker->SeekSubscription("logs", "sub", StartPosition::At(4)).status();
  });
  InFlight second(&broker, [&] {
    return broker->SeekSubscription("logs", "sub", StartPosition::At(5)).status();
  });
  CHECK(broker.disk().Recover().subscriptions[0].seeks == 2);
  broker.store().syncs.Open();
  CHECK(first.Join().ok());
  CHECK(second.Join().ok());
  const auto reader = Attach(&broker);
  CHECK(reader->seek_number() == 2);
  TestBroker after = broker.AfterPowerCut();
  CHECK(Attach(&after)->seek_number() == 2);
}

TEST_CASE("a subscription at a time in the future begins at the end as it was then") {
  TestBroker broker;
  Fill(&broker);
  const TimeMicros later = broker.clock().WallMicros() + 3'600'000'000;
  CHECK(broker->CreateSubscription("logs", "future", StartPosition::AtTime(later))->cursor == 7);
  CHECK(broker->SeekSubscription("logs", "sub", StartPosition::AtTime(later))->cursor == 7);
  const auto reader = Attach(&broker);
  REQUIRE(broker.Append("logs", {"g"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"7 g"});
}

TEST_CASE("nobody follows a seek before it is durable") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  broker.store().syncs.Close();
  InFlight seek(&broker, [&] {
    return broker->SeekSubscription("logs", "sub", StartPosition::At(4)).status();
  });
  CHECK(ToLines(reader->Next()) == Lines{"1 a"});
  CHECK(Cursor(&broker) == 1);
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&after) == 1);
  broker.store().syncs.Open();
  CHECK(seek.Join().ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"moved to 4 by seek 1", "4 d", "5 e", "6 f"});
}

TEST_CASE("a seek wins over acknowledgements that come while it is on its way to disk") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = Attach(&broker);
  broker.store().syncs.Close();
  InFlight seek(&broker, [&] {
    return broker->SeekSubscription("logs", "sub", StartPosition::At(2)).status();
  });
  CHECK(reader->Acknowledge(5).ok());
  // A later group must not write the old cursor over the seek's.
  testing::Answers answers;
  broker.AppendAsync("logs", {"g"}, &answers);
  broker.store().syncs.Open();
  CHECK(seek.Join().ok());
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(Cursor(&broker) == 2);
  CHECK(ToLines(reader->Next()) == Lines{"moved to 2 by seek 1"});
  CHECK(ToLines(reader->Next()) == Lines{"2 b"});
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&after) == 2);
  // And acknowledging goes on, on disk too.
  CHECK(reader->Acknowledge(3).ok());
  REQUIRE(broker.Append("logs", {"h"}).ok());
  TestBroker later = broker.AfterPowerCut();
  CHECK(Cursor(&later) == 4);
}

TEST_CASE("an acknowledgement that was not on disk yet does not come back after a seek") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker->Acknowledge("logs", "sub", 6).ok());
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(3)).ok());
  REQUIRE(broker.Append("logs", {"g"}).ok());
  CHECK(Cursor(&broker) == 3);
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&after) == 3);
}

TEST_CASE("seeks, acknowledgements and appends at once leave on disk what is in memory") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  TestBroker broker;
  Fill(&broker);
  for (int i = 0; i < 100; ++i) REQUIRE(broker.Append("logs", {"x"}).ok());
  const auto reader = Attach(&broker);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      for (int i = 0; i < 300; ++i) {
        const auto id = static_cast<MessageId>(random.Between(1, 100));
        Status status;
        if (t == 0)
          status = broker->SeekSubscription("logs", "sub", StartPosition::At(id)).status();
        if (t == 1) status = broker->Acknowledge("logs", "sub", id);
        if (t == 2) status = broker.Append("logs", {"x"}).status();
        if (!status.ok()) wrong.fetch_add(1);
      }
    });
  }
  // Whatever moves under it, the reader delivers one id after the other from where it was put.
  Random random(seed + 9);
  for (int i = 0; i < 1'000; ++i) {
    const Reader::Item item = reader->Next();
    if (std::holds_alternative<Status>(item) || std::holds_alternative<Gap>(item)) ++wrong;
    if (random.OneIn(3)) (void)reader->Acknowledge(reader->position() - 1);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  const MessageId cursor = Cursor(&broker);
  broker->Close();
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&after) == cursor);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("deleting a subscription ends its reader, and frees the name") {
  TestBroker broker;
  Fill(&broker);
  auto reader = Attach(&broker);
  CHECK(ReadToEnd(reader.get()).size() == 6);
  Bell bell;
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  REQUIRE(broker->DeleteSubscription("logs", "sub").ok());
  CHECK(bell.rings() == 1);
  CHECK(ReadToEnd(reader.get()) == Lines{"SUBSCRIPTION_NOT_FOUND"});
  CHECK(reader->Acknowledge(1).reason() == Reason::SUBSCRIPTION_NOT_FOUND);
  CHECK_FALSE(reader->WakeWhenReady(bell.Ringer()));
  CHECK_FALSE(reader->NeedsStorage());
  CHECK(broker->DeleteSubscription("logs", "sub").reason() == Reason::SUBSCRIPTION_NOT_FOUND);
  CHECK(broker.disk().Recover().subscriptions.empty());

  REQUIRE(broker->CreateSubscription("logs", "sub", StartPosition::At(3)).ok());
  const auto next = Attach(&broker);
  // The old reader's end takes nothing from the new holder.
  reader.reset();
  CHECK(broker->DescribeSubscription("logs", "sub")->holder == "me");
  CHECK(ToLines(next->Next()) == Lines{"3 c"});
}

TEST_CASE("a deleted subscription's late cursor does not bring its row back") {
  TestBroker broker;
  Fill(&broker);
  auto reader = Attach(&broker);
  REQUIRE(reader->Acknowledge(2).ok());
  broker.store().syncs.Close();
  InFlight deletion(&broker, [&] { return broker->DeleteSubscription("logs", "sub"); });
  CHECK(reader->Acknowledge(4).ok());
  testing::Answers answers;
  broker.AppendAsync("logs", {"g"}, &answers);
  broker.store().syncs.Open();
  CHECK(deletion.Join().ok());
  REQUIRE(answers.Await(1)[0].ok());
  REQUIRE(broker.Append("logs", {"h"}).ok());
  CHECK(broker.disk().Recover().subscriptions.empty());
}

TEST_CASE(
    "a seek behind a deletion and a new creation moves the new subscription, on disk as in "
    "memory") {
  TestBroker broker;
  Fill(&broker);
  broker.store().syncs.Close();
  InFlight deletion(&broker, [&] { return broker->DeleteSubscription("logs", "sub"); });
  InFlight creation(&broker, [&] {
    return broker->CreateSubscription("logs", "sub", StartPosition::At(3)).status();
  });
  InFlight seek(&broker, [&] {
    return broker->SeekSubscription("logs", "sub", StartPosition::At(5)).status();
  });
  broker.store().syncs.Open();
  CHECK(deletion.Join().ok());
  CHECK(creation.Join().ok());
  CHECK(seek.Join().ok());
  TestBroker after = broker.AfterPowerCut();
  CHECK(Cursor(&broker) == 5);
  CHECK(Cursor(&after) == 5);
}

TEST_CASE("a creation is answered as such, although it was deleted again at once") {
  TestBroker broker;
  Fill(&broker);
  broker.store().syncs.Close();
  InFlight deletion(&broker, [&] { return broker->DeleteSubscription("logs", "sub"); });
  InFlight creation(&broker,
                    [&] { return broker->CreateSubscription("logs", "sub", {}).status(); });
  InFlight again(&broker, [&] { return broker->DeleteSubscription("logs", "sub"); });
  broker.store().syncs.Open();
  CHECK(deletion.Join().ok());
  CHECK(creation.Join().ok());
  CHECK(again.Join().ok());
  CHECK(broker.disk().Recover().subscriptions.empty());
  CHECK(broker->ListSubscriptions("logs")->empty());
}

TEST_CASE("a deletion that met the old subscription takes the new one, with its late cursor") {
  TestBroker broker;
  Fill(&broker);
  broker.store().syncs.Close();
  InFlight deletion(&broker, [&] { return broker->DeleteSubscription("logs", "sub"); });
  InFlight creation(&broker,
                    [&] { return broker->CreateSubscription("logs", "sub", {}).status(); });
  broker.store().writes.Close();
  Status again;
  std::thread deleter([&] { again = broker->DeleteSubscription("logs", "sub"); });
  broker.store().writes.AwaitWaiting(1);
  broker.store().syncs.LetPass(1);
  CHECK(deletion.Join().ok());
  broker.store().syncs.LetPass(1);
  CHECK(creation.Join().ok());

  // The new one is there; its deletion is being written, and not yet known to anybody.
  const auto reader = Attach(&broker);
  CHECK(reader->Acknowledge(4).ok());
  broker.store().writes.LetPass(1);
  testing::Answers answers;
  broker.AppendAsync("logs", {"g"}, &answers);
  broker.store().writes.LetPass(1);
  broker.store().syncs.Open();
  deleter.join();
  CHECK(again.ok());
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(broker.disk().Recover().subscriptions.empty());
}

}  // namespace
}  // namespace strata
