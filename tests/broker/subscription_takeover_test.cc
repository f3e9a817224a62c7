// A consumer that opens its subscription again, because it lost its connection or believes so: it
// takes over from itself, and goes on where it was.
#include <memory>
#include <string>
#include <vector>

#include "broker/reader.h"
#include "broker/standby.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::Reader;
using broker::SubscriptionOpen;
using testing::Bell;
using testing::Lines;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::ToLines;

// "logs" with ids 1 to 6, a batch each.
void Fill(TestBroker* broker) {
  REQUIRE(broker->Create("logs"));
  for (const char* payload : {"a", "b", "c", "d", "e", "f"}) {
    REQUIRE(broker->Append("logs", {payload}).ok());
  }
}

SubscriptionOpen As(const std::string& holder, uint64_t instance) {
  SubscriptionOpen open;
  open.channel = "logs";
  open.subscription = "sub";
  open.holder = holder;
  open.instance = instance;
  return open;
}

std::unique_ptr<Reader> Open(TestBroker* broker, const SubscriptionOpen& open) {
  auto reader = (*broker)->OpenSubscription(open);
  REQUIRE(reader.ok());
  return *std::move(reader);
}

SubscriptionInfo Describe(TestBroker* broker) {
  return *(*broker)->DescribeSubscription("logs", "sub");
}

TEST_CASE("the same consumer takes over from its old reader, which can do nothing any more") {
  TestBroker broker;
  Fill(&broker);
  Bell bell;
  SubscriptionOpen first = As("host:1 before", 7);
  first.news = bell.Ringer();
  auto old = Open(&broker, first);
  CHECK(ToLines(old->Next()) == Lines{"1 a"});
  REQUIRE(old->Acknowledge(1).ok());

  auto now = Open(&broker, As("host:1", 7));
  CHECK(bell.rings() == 1);
  CHECK(Describe(&broker).holder == "host:1");
  CHECK(now->position() == 2);

  CHECK_FALSE(old->NeedsStorage());
  CHECK_FALSE(old->WakeWhenReady([] {}));
  const Reader::Item end = old->Next();
  REQUIRE(std::holds_alternative<Status>(end));
  CHECK(std::get<Status>(end).reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(std::get<Status>(end).message() ==
        "the subscription 'sub' of channel 'logs' was opened again by the same consumer, host:1, "
        "which has it now");
  CHECK(old->Acknowledge(5).reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(broker->Seek(old.get(), StartPosition::At(6)).status().reason() ==
        Reason::SUBSCRIPTION_HELD);
  CHECK(Describe(&broker).cursor == 2);
  // Its end takes nothing from the new one.
  old.reset();
  CHECK(Describe(&broker).holder == "host:1");
  CHECK(ToLines(now->Next()) == Lines{"2 b"});
  REQUIRE(now->Acknowledge(2).ok());
  CHECK(Describe(&broker).cursor == 3);
}

TEST_CASE("an old reader that waits for more is woken by the takeover") {
  TestBroker broker;
  Fill(&broker);
  auto old = Open(&broker, As("me", 7));
  CHECK(ReadToEnd(old.get()).size() == 6);
  Bell bell;
  REQUIRE(old->WakeWhenReady(bell.Ringer()));
  const auto now = Open(&broker, As("me", 7));
  CHECK(bell.rings() == 1);
  CHECK(ReadToEnd(old.get()) == Lines{"SUBSCRIPTION_HELD"});
}

TEST_CASE("another consumer, or one that cannot be told, takes over nothing") {
  TestBroker broker;
  Fill(&broker);
  {
    const auto holding = Open(&broker, As("me", 7));
    CHECK(broker->OpenSubscription(As("me", 8)).status().reason() == Reason::SUBSCRIPTION_HELD);
    CHECK(broker->OpenSubscription(As("me", 0)).status().reason() == Reason::SUBSCRIPTION_HELD);
    CHECK(holding->Acknowledge(1).ok());
  }
  const auto holding = Open(&broker, As("me", 0));
  CHECK(broker->OpenSubscription(As("me", 0)).status().reason() == Reason::SUBSCRIPTION_HELD);
}

TEST_CASE("takeovers leave those who stand by where they are") {
  TestBroker broker;
  Fill(&broker);
  auto first = Open(&broker, As("a", 1));
  Bell second_bell;
  Bell third_bell;
  SubscriptionOpen open = As("b", 2);
  open.news = second_bell.Ringer();
  auto second = *broker->StandBy(open);
  open = As("c", 3);
  open.news = third_bell.Ringer();
  auto third = *broker->StandBy(open);

  // The holder comes again: nobody moves up.
  auto again = Open(&broker, As("a", 1));
  first.reset();
  CHECK(second_bell.rings() == 0);

  // One who waits comes again: it keeps its place, and its old place is gone.
  open = As("b again", 2);
  Bell bell;
  open.news = bell.Ringer();
  auto second_again = *broker->StandBy(open);
  CHECK(Describe(&broker).standby == 2);
  CHECK(second_bell.rings() == 1);
  CHECK(second->Take().status().reason() == Reason::SUBSCRIPTION_HELD);
  second.reset();
  again.reset();
  CHECK(bell.rings() == 1);
  CHECK(third_bell.rings() == 0);
  CHECK(Describe(&broker).holder == "b again");

  // And once more, when the turn has come and nobody has taken it.
  auto taken = *broker->StandBy(As("b once more", 2));
  CHECK(second_again->Take().status().reason() == Reason::SUBSCRIPTION_HELD);
  second_again.reset();
  auto reader = *taken->Take();
  REQUIRE(reader != nullptr);
  CHECK(third_bell.rings() == 0);
  reader.reset();
  CHECK(third_bell.rings() == 1);

  // One who waits and wants it exclusively now gives its place up.
  auto holding = *third->Take();
  auto fourth = *broker->StandBy(As("d", 4));
  CHECK(broker->OpenSubscription(As("d", 4)).status().reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(fourth->Take().status().reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(Describe(&broker).standby == 0);
}

TEST_CASE("a consumer that comes again goes on behind what was delivered to it") {
  TestBroker broker;
  Fill(&broker);
  SubscriptionOpen open = As("me", 7);
  auto reader = Open(&broker, open);
  for (int i = 0; i < 4; ++i) (void)reader->Next();
  REQUIRE(reader->Acknowledge(2).ok());
  open.resume_at = 5;
  open.resume_seek = reader->seek_number();
  SECTION("while its old reader is still there") { reader = Open(&broker, open); }
  SECTION("after it has gone") {
    reader.reset();
    reader = Open(&broker, open);
  }
  SECTION("by way of the queue") {
    reader.reset();
    reader = *(*broker->StandBy(open))->Take();
  }
  CHECK(reader->position() == 5);
  // The cursor stays, and is acknowledged on.
  CHECK(Describe(&broker).cursor == 3);
  CHECK(ReadToEnd(reader.get()) == Lines{"5 e", "6 f"});
  REQUIRE(reader->Acknowledge(4).ok());
  CHECK(Describe(&broker).cursor == 5);
  reader.reset();
  // Somebody else starts from the cursor.
  CHECK(Open(&broker, As("other", 9))->position() == 5);
}

TEST_CASE("resuming never goes back behind the cursor, and announces what is gone") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
  REQUIRE(broker->Acknowledge("logs", "sub", 3).ok());
  SubscriptionOpen open = As("me", 7);
  open.resume_at = 2;
  CHECK(Open(&broker, open)->position() == 4);
  open.resume_at = 5;
  REQUIRE(broker->TruncateChannel("logs", 5).ok());
  CHECK(ReadToEnd(Open(&broker, open).get()) == Lines{"gap 5 to 5 TRIMMED", "6 f"});
}

TEST_CASE("a seek while a consumer was away counts, however far it had come") {
  TestBroker broker;
  Fill(&broker);
  SubscriptionOpen open = As("me", 7);
  open.resume_at = 6;
  REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(2)).ok());
  auto reader = Open(&broker, open);
  CHECK(reader->position() == 2);
  CHECK(reader->seek_number() == 1);
  open.resume_seek = 1;
  open.resume_at = 4;
  CHECK(Open(&broker, open)->position() == 4);
}

TEST_CASE("the number of seeks survives a power cut and everything that writes the cursor") {
  TestBroker broker;
  Fill(&broker);
  auto reader = Open(&broker, As("me", 7));
  REQUIRE(broker->SeekSubscription("logs", "sub", StartPosition::At(4)).ok());
  CHECK(broker->Seek(reader.get(), StartPosition::At(2))->seek == 2);
  REQUIRE(reader->Acknowledge(2).ok());
  REQUIRE(broker.Append("logs", {"g"}).ok());
  TestBroker after = broker.AfterPowerCut();
  auto again = Open(&after, As("me", 7));
  CHECK(again->seek_number() == 2);
  CHECK(again->position() == 3);
  CHECK(after->Seek(again.get(), StartPosition::At(1))->seek == 3);
}

}  // namespace
}  // namespace strata
