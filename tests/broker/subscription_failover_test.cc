// FAILOVER: consumers that stand by for a subscription, in the order in which they came.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/reader.h"
#include "broker/standby.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using broker::Reader;
using broker::Standby;
using broker::SubscriptionOpen;
using testing::Bell;
using testing::Eventually;
using testing::Lines;
using testing::Random;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::TestSeed;
using testing::ToLines;

// "logs" with ids 1 to 3, a batch each.
void Fill(TestBroker* broker) {
  REQUIRE(broker->Create("logs"));
  for (const char* payload : {"a", "b", "c"}) REQUIRE(broker->Append("logs", {payload}).ok());
}

SubscriptionOpen As(const std::string& holder, uint64_t instance = 0) {
  SubscriptionOpen open;
  open.channel = "logs";
  open.subscription = "sub";
  open.holder = holder;
  open.instance = instance;
  return open;
}

// One that stands by, and how often it was told.
struct Waiting {
  Waiting(TestBroker* broker, SubscriptionOpen open) {
    open.news = bell.Ringer();
    auto opened = (*broker)->StandBy(open);
    REQUIRE(opened.ok());
    standby = *std::move(opened);
  }
  // Its turn, which must have come.
  std::unique_ptr<Reader> Take() {
    auto reader = standby->Take();
    REQUIRE(reader.ok());
    REQUIRE(*reader != nullptr);
    return *std::move(reader);
  }
  // Its reason if it has ended, "WAITS" or "TURN".
  std::string State() {
    const auto reader = standby->Take();
    if (!reader.ok()) return GetErrorInfo(reader.status().reason()).name;
    return *reader == nullptr ? "WAITS" : "TURN";
  }

  Bell bell;
  std::unique_ptr<Standby> standby;
};

SubscriptionInfo Describe(TestBroker* broker) {
  return *(*broker)->DescribeSubscription("logs", "sub");
}

TEST_CASE("who stands by for a subscription that is free has its turn at once") {
  TestBroker broker;
  Fill(&broker);
  Waiting only(&broker, As("only"));
  CHECK(only.standby->held_by().empty());
  CHECK(Describe(&broker).holder == "only");
  const auto reader = only.Take();
  CHECK(ToLines(reader->Next()) == Lines{"1 a"});
  // Once.
  CHECK(only.State() == "WAITS");
  CHECK(only.bell.rings() == 0);
}

TEST_CASE("consumers that stand by get the subscription in the order in which they came") {
  TestBroker broker;
  Fill(&broker);
  auto holding = *broker->OpenSubscription(As("first"));
  std::vector<std::unique_ptr<Waiting>> queue;
  for (const char* holder : {"second", "third", "fourth"}) {
    queue.push_back(std::make_unique<Waiting>(&broker, As(holder)));
    CHECK(queue.back()->standby->held_by() == "first");
    CHECK(queue.back()->State() == "WAITS");
  }
  CHECK(Describe(&broker).holder == "first");
  CHECK(Describe(&broker).standby == 3);
  for (size_t i = 0; i < queue.size(); ++i) {
    REQUIRE(holding->Acknowledge(static_cast<MessageId>(i) + 1).ok());
    holding.reset();
    CHECK(queue[i]->bell.rings() == 1);
    for (size_t later = i + 1; later < queue.size(); ++later)
      CHECK(queue[later]->bell.rings() == 0);
    // It is the holder before it has taken note.
    CHECK(Describe(&broker).standby == queue.size() - 1 - i);
    CHECK(broker->OpenSubscription(As("late")).status().reason() == Reason::SUBSCRIPTION_HELD);
    holding = queue[i]->Take();
    CHECK(holding->position() == static_cast<MessageId>(i) + 2);
  }
  CHECK(Describe(&broker).holder == "fourth");
  holding.reset();
  CHECK(Describe(&broker).holder.empty());
}

TEST_CASE(
    "an exclusive consumer is refused while others hold it and stand by, and told the holder") {
  TestBroker broker;
  Fill(&broker);
  auto holding = *broker->OpenSubscription(As("first"));
  Waiting second(&broker, As("second"));
  CHECK(broker->OpenSubscription(As("x")).status().message().find("held by first") !=
        std::string::npos);
  holding.reset();
  // It has not even looked yet.
  CHECK(broker->OpenSubscription(As("x")).status().message().find("held by second") !=
        std::string::npos);
  second.standby.reset();
  CHECK(broker->OpenSubscription(As("x")).ok());
}

TEST_CASE("who leaves the queue at any moment passes the turn on") {
  TestBroker broker;
  Fill(&broker);
  auto holding = *broker->OpenSubscription(As("first"));
  Waiting second(&broker, As("second"));
  Waiting third(&broker, As("third"));
  Waiting fourth(&broker, As("fourth"));
  SECTION("before it comes") {
    second.standby.reset();
    CHECK(Describe(&broker).standby == 2);
    holding.reset();
    CHECK(second.bell.rings() == 0);
    CHECK(third.bell.rings() == 1);
  }
  SECTION("when it has come, not taken") {
    holding.reset();
    CHECK(third.bell.rings() == 0);
    second.standby.reset();
    CHECK(third.bell.rings() == 1);
  }
  SECTION("when it was taken") {
    holding.reset();
    auto reader = second.Take();
    // The place is the reader's now.
    second.standby.reset();
    CHECK(third.bell.rings() == 0);
    reader.reset();
    CHECK(third.bell.rings() == 1);
  }
  SECTION("all of those in front") {
    second.standby.reset();
    third.standby.reset();
    holding.reset();
    CHECK(fourth.bell.rings() == 1);
    CHECK(fourth.State() == "TURN");
    return;
  }
  CHECK(fourth.bell.rings() == 0);
  CHECK(third.State() == "TURN");
  // That turn was taken and dropped.
  CHECK(fourth.bell.rings() == 1);
}

TEST_CASE("everybody who stands by hears why there will be no turn") {
  TestBroker broker;
  Fill(&broker);
  auto holding = *broker->OpenSubscription(As("first"));
  Waiting second(&broker, As("second"));
  Waiting third(&broker, As("third"));
  std::string why;
  SECTION("the subscription is deleted") {
    REQUIRE(broker->DeleteSubscription("logs", "sub").ok());
    why = "SUBSCRIPTION_NOT_FOUND";
  }
  SECTION("the channel is deleted") {
    REQUIRE(broker->DeleteChannel("logs").ok());
    why = "CHANNEL_DELETED";
  }
  SECTION("the broker closes") {
    broker->Close();
    why = "SHUTTING_DOWN";
  }
  CHECK(second.bell.rings() >= 1);
  CHECK(third.bell.rings() >= 1);
  CHECK(second.State() == why);
  CHECK(third.State() == why);
  CHECK(ReadToEnd(holding.get()) == Lines{why});
  broker.Destroy();
  // What is left may outlive the broker.
  CHECK(third.State() != "WAITS");
}

TEST_CASE("a turn starts from the cursor as it is then, seeks included") {
  TestBroker broker;
  Fill(&broker);
  auto holding = *broker->OpenSubscription(As("first"));
  Waiting second(&broker, As("second"));
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(3)).ok());
  holding.reset();
  const auto reader = second.Take();
  CHECK(reader->seek_number() == 1);
  CHECK(ReadToEnd(reader.get()) == Lines{"3 c"});
}

TEST_CASE("consumers that come and go at once: one holds it at a time, and in the end nobody") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
  std::atomic<int> holding{0};
  std::atomic<int> wrong{0};
  std::atomic<int> turns{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      for (int i = 0; i < 300; ++i) {
        Bell bell;
        SubscriptionOpen open = As("consumer " + std::to_string(t));
        open.news = bell.Ringer();
        auto standby = broker->StandBy(open);
        if (!standby.ok()) {
          ++wrong;
          continue;
        }
        if (random.OneIn(4)) continue;  // gives up, perhaps with its turn
        std::unique_ptr<Reader> reader;
        for (int rings = 0;; ++rings) {
          auto taken = (*standby)->Take();
          if (!taken.ok()) ++wrong;
          if (taken.ok()) reader = *std::move(taken);
          if (reader != nullptr || !taken.ok()) break;
          if (!bell.Await(rings + 1)) ++wrong;
        }
        if (reader == nullptr) continue;
        if (holding.fetch_add(1) != 0) ++wrong;
        ++turns;
        holding.fetch_sub(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  CHECK(turns.load() > 300);
  CHECK(Describe(&broker).holder.empty());
  CHECK(Describe(&broker).standby == 0);
  CHECK(broker->Stats().readers == 0);
}

}  // namespace
}  // namespace strata
