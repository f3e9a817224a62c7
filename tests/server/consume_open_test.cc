// Consume streams on the way to their reader: waiting for a channel, standing by for a subscription, taking
// over from the stream before.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"

namespace strata::server {
namespace {

using testing::Consuming;
using testing::Eventually;
using testing::OpenFrom;
using testing::ServerFixture;

constexpr int64_t kPlenty = 1 << 30;

v1::ConsumeOpen Failover(const std::string& holder, uint64_t instance = 0) {
  v1::ConsumeOpen open = OpenFrom("c", StartPosition::Earliest(), kPlenty);
  open.set_subscription("s");
  open.set_holder(holder);
  open.set_mode(v1::ConsumeOpen::MODE_FAILOVER);
  open.set_instance(instance);
  return open;
}

v1::ConsumeOpen AwaitChannel(const StartPosition& start = {}) {
  v1::ConsumeOpen open = OpenFrom("c", start, kPlenty);
  open.set_wait_for_channel(true);
  return open;
}

void SendOpen(Consuming* consumer, const v1::ConsumeOpen& open) {
  v1::ConsumeRequest request;
  *request.mutable_open() = open;
  REQUIRE(consumer->Send(request));
}

uint32_t StandingBy(ServerFixture* f) {
  return f->broker().DescribeSubscription("c", "s")->standby;
}
std::string Holder(ServerFixture* f) { return f->broker().DescribeSubscription("c", "s")->holder; }

TEST_CASE("a consumer that stands by is told who has it, and opened when its turn comes") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  for (int i = 0; i < 3; ++i) f.Append("c", "x");
  Consuming first(f.log());
  REQUIRE(first.Open(Failover("a")) == 1);
  Consuming second(f.log());
  v1::ConsumeOpen open = Failover("b");
  open.set_credit(0);
  SendOpen(&second, open);
  const v1::ConsumeResponse standby = second.Next();
  REQUIRE(standby.has_standby());
  CHECK(standby.standby().channel_number() == number);
  CHECK(standby.standby().holder() == "a");
  CHECK(StandingBy(&f) == 1);
  // Credit that is given meanwhile counts.
  REQUIRE(second.AddCredit(kPlenty));
  for (int i = 0; i < 3; ++i) REQUIRE(first.Next().has_delivery());
  REQUIRE(first.Acknowledge(2));
  first.HalfClose();
  CHECK(first.Finish().ok());
  const v1::ConsumeResponse opened = second.Next();
  REQUIRE(opened.has_opened());
  CHECK(opened.opened().position() == 3);
  CHECK(second.Next().delivery().first_id() == 3);
  CHECK(Holder(&f) == "b");
}

TEST_CASE("a holder that vanishes makes room for the next one") {
  ServerFixture f;
  f.CreateChannel("c");
  const auto stub = v1::Log::NewStub(f.Connect());
  auto first = std::make_unique<Consuming>(*stub);
  REQUIRE(first->Open(Failover("a")) == 1);
  Consuming second(f.log());
  SendOpen(&second, Failover("b"));
  REQUIRE(second.Next().has_standby());
  first->Cancel();
  first.reset();
  CHECK(second.Next().has_opened());
  CHECK(Holder(&f) == "b");
}

TEST_CASE("a consumer that stands by may leave at any moment, and its place is free") {
  ServerFixture f;
  f.CreateChannel("c");
  Consuming first(f.log());
  REQUIRE(first.Open(Failover("a")) == 1);
  Consuming second(f.log());
  SendOpen(&second, Failover("b"));
  REQUIRE(second.Next().has_standby());
  Consuming third(f.log());
  SendOpen(&third, Failover("c"));
  REQUIRE(third.Next().has_standby());
  SECTION("by half-closing") {
    second.HalfClose();
    CHECK(second.Finish().ok());
  }
  SECTION("by cancelling") {
    second.Cancel();
    CHECK(second.Finish().reason() == Reason::CANCELLED);
    CHECK(Eventually([&] { return StandingBy(&f) == 1; }));
  }
  SECTION("by acknowledging what it cannot have") {
    REQUIRE(second.Acknowledge(1));
    CHECK(second.Finish().reason() == Reason::INVALID_ARGUMENT);
  }
  CHECK(StandingBy(&f) == 1);
  first.HalfClose();
  CHECK(first.Finish().ok());
  CHECK(third.Next().has_opened());
}

TEST_CASE("consumers that stand by hear of the end") {
  ServerFixture f;
  f.CreateChannel("c");
  Consuming first(f.log());
  REQUIRE(first.Open(Failover("a")) == 1);
  Consuming second(f.log());
  SendOpen(&second, Failover("b"));
  REQUIRE(second.Next().has_standby());
  Reason why = Reason::SUBSCRIPTION_NOT_FOUND;
  SECTION("of the subscription") { REQUIRE(f.broker().DeleteSubscription("c", "s").ok()); }
  SECTION("of the channel") {
    REQUIRE(f.broker().DeleteChannel("c").ok());
    why = Reason::CHANNEL_DELETED;
  }
  SECTION("of the server") {
    CHECK(f.server().Drain(std::chrono::seconds(20)));
    why = Reason::SHUTTING_DOWN;
  }
  CHECK(second.Finish().reason() == why);
  CHECK(first.Finish().reason() == why);
}

TEST_CASE("a consumer that connects again takes over from its old stream and goes on") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  const bool exclusive = GENERATE(false, true);
  v1::ConsumeOpen open = Failover("me", 77);
  if (exclusive) open.set_mode(v1::ConsumeOpen::MODE_EXCLUSIVE);
  Consuming old(f.log());
  REQUIRE(old.Open(open) == 1);
  for (int i = 0; i < 3; ++i) REQUIRE(old.Next().has_delivery());
  REQUIRE(old.Acknowledge(1));
  REQUIRE(Eventually([&] { return f.broker().DescribeSubscription("c", "s")->cursor == 2; }));

  open.set_resume_at(4);
  Consuming now(f.log());
  SendOpen(&now, open);
  const v1::ConsumeResponse opened = now.Next();
  REQUIRE(opened.has_opened());
  CHECK(opened.opened().position() == 4);
  const Status lost = old.Finish();
  CHECK(lost.reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(lost.message().find("opened again by the same consumer") != std::string::npos);
  CHECK(now.Next().delivery().first_id() == 4);
  CHECK(now.Next().delivery().first_id() == 5);
  CHECK(f.broker().DescribeSubscription("c", "s")->cursor == 2);
}

TEST_CASE("a seek while a consumer was away puts it there, and opening tells the number") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  v1::ConsumeOpen open = Failover("me", 77);
  {
    Consuming before(f.log());
    REQUIRE(before.Open(open) == 1);
    before.HalfClose();
    REQUIRE(before.Finish().ok());
  }
  REQUIRE(f.broker().SeekSubscription("c", "s", StartPosition::At(2)).ok());
  open.set_resume_at(5);
  Consuming now(f.log());
  SendOpen(&now, open);
  const v1::ConsumeResponse opened = now.Next();
  REQUIRE(opened.has_opened());
  CHECK(opened.opened().position() == 2);
  CHECK(opened.opened().seek_number() == 1);
}

TEST_CASE("a reader may wait for its channel, and LATEST is all of it then") {
  ServerFixture f;
  Consuming latest(f.log());
  SendOpen(&latest, AwaitChannel(StartPosition::Latest()));
  Consuming third(f.log());
  SendOpen(&third, AwaitChannel(StartPosition::At(3)));
  v1::ConsumeOpen open = AwaitChannel();
  open.set_subscription("s");
  open.set_credit(0);
  Consuming subscribed(f.log());
  SendOpen(&subscribed, open);
  REQUIRE(subscribed.AddCredit(kPlenty));
  REQUIRE(Eventually([&] { return f.broker().Stats().channel_waits == 3; }));
  f.CreateChannel("other");
  f.CreateChannel("c");
  for (int i = 0; i < 3; ++i) f.Append("c", "x");
  const v1::ConsumeResponse opened = latest.Next();
  REQUIRE(opened.has_opened());
  CHECK(opened.opened().position() == 1);
  for (MessageId id = 1; id <= 3; ++id) CHECK(latest.Next().delivery().first_id() == id);
  REQUIRE(third.Next().has_opened());
  CHECK(third.Next().delivery().first_id() == 3);
  REQUIRE(subscribed.Next().has_opened());
  CHECK(subscribed.Next().delivery().first_id() == 1);
  // One that need not wait means what it says.
  Consuming late(f.log());
  CHECK(late.Open(AwaitChannel(StartPosition::Latest())) == 4);
}

TEST_CASE("a reader that waits for its channel may end at any moment") {
  ServerFixture f;
  Consuming waiting(f.log());
  SendOpen(&waiting, AwaitChannel());
  SECTION("by half-closing") {
    waiting.HalfClose();
    CHECK(waiting.Finish().ok());
  }
  SECTION("by cancelling") {
    waiting.Cancel();
    CHECK(waiting.Finish().reason() == Reason::CANCELLED);
  }
  SECTION("by seeking") {
    REQUIRE(waiting.Seek(StartPosition::At(1)));
    CHECK(waiting.Finish().reason() == Reason::INVALID_ARGUMENT);
  }
  SECTION("with the server") {
    CHECK(f.server().Drain(std::chrono::seconds(20)));
    CHECK(waiting.Finish().reason() == Reason::SHUTTING_DOWN);
  }
  SECTION("with the broker") {
    f.broker().Close();
    CHECK(waiting.Finish().reason() == Reason::SHUTTING_DOWN);
    return;
  }
  f.CreateChannel("c");
  CHECK(f.broker().Stats().readers == 0);
}

TEST_CASE("streams that break while they wait leave nothing behind") {
  ServerFixture f;
  f.CreateChannel("c");
  Consuming holding(f.log());
  REQUIRE(holding.Open(Failover("a")) == 1);
  for (int i = 0; i < 60; ++i) {
    Consuming consumer(f.log());
    v1::ConsumeOpen open = Failover("b", static_cast<uint64_t>(i % 7));
    if (i % 3 == 0) {
      open = AwaitChannel();
      open.set_channel("missing");
    }
    SendOpen(&consumer, open);
    if (i % 3 == 1) REQUIRE(consumer.Next().has_standby());
    if (i % 2 == 0) consumer.HalfClose();
    if (i % 5 == 0) consumer.Cancel();
    if (i % 2 == 1) consumer.Cancel();
    (void)consumer.Finish();
  }
  CHECK(Eventually([&] { return StandingBy(&f) == 0; }));
  CHECK(Holder(&f) == "a");
  CHECK(f.broker().Stats().readers == 1);
}

}  // namespace
}  // namespace strata::server
