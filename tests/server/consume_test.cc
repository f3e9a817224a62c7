#include <grpcpp/create_channel.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "base/batch.h"
#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"

namespace strata::server {
namespace {

using testing::Consuming;
using testing::Eventually;
using testing::OpenFrom;
using testing::SendRaw;
using testing::ServerFixture;

constexpr int64_t kPlenty = 1 << 30;

v1::ConsumeOpen Subscribe(const std::string& channel, const std::string& subscription) {
  v1::ConsumeOpen open = OpenFrom(channel, StartPosition::Earliest(), kPlenty);
  open.set_subscription(subscription);
  return open;
}

// Retries while somebody else still holds the subscription.
bool AttachSoon(ServerFixture* f, const v1::ConsumeOpen& open) {
  return Eventually([&] {
    Consuming consumer(f->log());
    const bool attached = consumer.Open(open) >= 0;
    consumer.HalfClose();
    (void)consumer.Finish();
    return attached;
  });
}

TEST_CASE("a reader gets what is there, then what comes") {
  ServerFixture f;
  f.CreateChannel("c");
  f.Append("c", "one");
  f.Append("c", "two");
  Consuming reader(f.log());
  CHECK(reader.Open(OpenFrom("c", StartPosition::Earliest(), kPlenty)) == 1);
  for (const char* expected : {"one", "two"}) {
    const v1::ConsumeResponse response = reader.Next();
    REQUIRE(response.has_delivery());
    CHECK(response.delivery().batch().messages(0).payload() == expected);
    CHECK(response.delivery().append_time_micros() > 0);
  }
  for (int i = 0; i < 50; ++i) {
    const MessageId id = f.Append("c", "later");
    const v1::ConsumeResponse response = reader.Next();
    REQUIRE(response.has_delivery());
    CHECK(response.delivery().first_id() == id);
  }
  reader.HalfClose();
  CHECK(reader.Finish().ok());
}

TEST_CASE("the answer to opening names the channel, its range and the position") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  REQUIRE(f.broker().TruncateChannel("c", 2).ok());
  v1::ConsumeRequest request;
  *request.mutable_open() = OpenFrom("c", StartPosition::Latest(), 0);
  request.mutable_open()->set_channel_number(number);
  Consuming reader(f.log());
  reader.Send(request);
  const v1::ConsumeResponse response = reader.Next();
  REQUIRE(response.has_opened());
  CHECK(response.opened().channel_number() == number);
  CHECK(response.opened().position() == 6);
  CHECK(response.opened().next_id() == 6);
  CHECK(response.opened().first_available_id() == 3);
  CHECK(response.opened().store_id() == f.broker().store_id());
  CHECK(response.opened().seek_number() == 0);
}

TEST_CASE("a delivery comes whenever credit is above 0, and may make it negative") {
  ServerFixture f;
  f.CreateChannel("c");
  BatchBuilder builder;
  builder.Add(std::string(1000, 'x'));
  const auto batch_bytes = static_cast<int64_t>(builder.bytes());
  for (int i = 0; i < 4; ++i) f.Append("c", std::string(1000, 'x'));
  Consuming reader(f.log());
  REQUIRE(reader.Open(OpenFrom("c", StartPosition::Earliest(), 1)) == 1);
  REQUIRE(reader.Next().delivery().first_id() == 1);
  // Still not above 0: the answer to a seek comes, and no delivery before it.
  REQUIRE(reader.AddCredit(batch_bytes - 1));
  REQUIRE(reader.Seek(StartPosition::At(3)));
  REQUIRE(reader.Next().sought().position() == 3);
  REQUIRE(reader.AddCredit(1));
  CHECK(reader.Next().delivery().first_id() == 3);
  REQUIRE(reader.Seek(StartPosition::At(1)));
  REQUIRE(reader.Next().has_sought());
  // Enough for exactly two.
  REQUIRE(reader.AddCredit(2 * batch_bytes));
  CHECK(reader.Next().delivery().first_id() == 1);
  CHECK(reader.Next().delivery().first_id() == 2);
  REQUIRE(reader.Seek(StartPosition::At(4)));
  CHECK(reader.Next().has_sought());
}

TEST_CASE("credit that does not fit counts as the most that fits") {
  ServerFixture f;
  f.CreateChannel("c");
  f.Append("c", "x");
  Consuming reader(f.log());
  REQUIRE(reader.Open(OpenFrom("c", StartPosition::Earliest(), INT64_MAX)) == 1);
  REQUIRE(reader.AddCredit(INT64_MAX));
  CHECK(reader.Next().delivery().first_id() == 1);
}

TEST_CASE("holes are announced where they are") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 4; ++i) f.Append("c", "x");
  REQUIRE(f.broker().TruncateChannel("c", 2).ok());
  Consuming reader(f.log());
  REQUIRE(reader.Open(OpenFrom("c", StartPosition::At(1), kPlenty)) >= 0);
  const v1::ConsumeResponse gap = reader.Next();
  REQUIRE(gap.has_gap());
  CHECK(gap.gap().first_id() == 1);
  CHECK(gap.gap().last_id() == 2);
  CHECK(gap.gap().reason() == v1::GAP_REASON_TRIMMED);
  CHECK(reader.Next().delivery().first_id() == 3);
}

TEST_CASE("a reader that is behind reads from storage, everything and in order") {
  ServerFixture f({"limits.tailCache=0"});
  f.CreateChannel("c");
  for (int i = 0; i < 300; ++i) f.Append("c", std::string(10'000, 'x'));
  Consuming reader(f.log());
  REQUIRE(reader.Open(OpenFrom("c", StartPosition::Earliest(), kPlenty)) == 1);
  for (MessageId id = 1; id <= 300; ++id) REQUIRE(reader.Next().delivery().first_id() == id);
  CHECK(f.broker().Stats().storage_reads > 0);
}

// A batch that does not fit into what HTTP/2 lets a stream have unread; and a connection on which that
// does not grow. So none is written for good before it is received.
constexpr size_t kTooLargeToBeUnread = 1'000'000;
std::unique_ptr<v1::Log::Stub> ConnectWithSmallWindow(const ServerFixture& f) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::Log::NewStub(grpc::CreateCustomChannel("unix:" + f.socket_path(),
                                                    grpc::InsecureChannelCredentials(), arguments));
}

TEST_CASE("a reader that is behind has the next batch read while one is on its way, and no more") {
  ServerFixture f({"limits.tailCache=0"});
  f.CreateChannel("c");
  for (int i = 0; i < 4; ++i) f.Append("c", std::string(kTooLargeToBeUnread, 'x'));
  const auto log = ConnectWithSmallWindow(f);
  Consuming reader(*log);
  REQUIRE(reader.Open(OpenFrom("c", StartPosition::Earliest(), kPlenty)) == 1);
  REQUIRE(Eventually([&] { return f.broker().Stats().storage_reads == 2; }));
  for (MessageId id = 1; id <= 4; ++id) {
    REQUIRE(reader.Next().delivery().first_id() == id);
    CHECK(f.broker().Stats().storage_reads <= static_cast<uint64_t>(id) + 2);
  }
  CHECK(f.broker().Stats().storage_reads == 4);
}

TEST_CASE("a seek passes over what was read ahead while a batch is on its way") {
  ServerFixture f({"limits.tailCache=0"});
  f.CreateChannel("c");
  for (int i = 0; i < 3; ++i) f.Append("c", std::string(kTooLargeToBeUnread, 'x'));
  f.Append("c", "y");
  const auto log = ConnectWithSmallWindow(f);
  Consuming consumer(*log);
  REQUIRE(consumer.Open(Subscribe("c", "s")) == 1);
  REQUIRE(Eventually([&] { return f.broker().Stats().storage_reads == 2; }));
  REQUIRE(f.broker().SeekSubscription("c", "s", StartPosition::At(4)).ok());
  CHECK(consumer.Next().delivery().first_id() == 1);
  CHECK(consumer.Next().sought().position() == 4);
  CHECK(consumer.Next().delivery().first_id() == 4);
}

TEST_CASE("acknowledgements move the cursor, and one beyond the end ends the stream") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  Consuming consumer(f.log());
  REQUIRE(consumer.Open(Subscribe("c", "s")) == 1);
  for (int i = 0; i < 5; ++i) REQUIRE(consumer.Next().has_delivery());
  REQUIRE(consumer.Acknowledge(3));
  CHECK(Eventually([&] { return f.broker().DescribeSubscription("c", "s")->cursor == 4; }));
  REQUIRE(consumer.Acknowledge(6));
  CHECK(consumer.Finish().reason() == Reason::ACK_BEYOND_END);
  CHECK(f.broker().DescribeSubscription("c", "s")->cursor == 4);
}

TEST_CASE("what was acknowledged before half-closing is taken note of") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 3; ++i) f.Append("c", "x");
  Consuming consumer(f.log());
  REQUIRE(consumer.Open(Subscribe("c", "s")) == 1);
  for (MessageId id = 1; id <= 3; ++id) REQUIRE(consumer.Acknowledge(id));
  consumer.HalfClose();
  CHECK(consumer.Finish().ok());
  CHECK(f.broker().DescribeSubscription("c", "s")->cursor == 4);
}

TEST_CASE("a reader has nothing to acknowledge") {
  ServerFixture f;
  f.CreateChannel("c");
  f.Append("c", "x");
  Consuming reader(f.log());
  REQUIRE(reader.Open(OpenFrom("c", StartPosition::Earliest(), kPlenty)) == 1);
  REQUIRE(reader.Acknowledge(1));
  CHECK(reader.Finish().reason() == Reason::INVALID_ARGUMENT);
}

TEST_CASE("a subscription has one holder, whose name the next one is told") {
  ServerFixture f;
  f.CreateChannel("c");
  Consuming first(f.log());
  v1::ConsumeOpen open = Subscribe("c", "s");
  open.set_holder("host-a:17");
  REQUIRE(first.Open(open) == 1);
  CHECK(f.broker().DescribeSubscription("c", "s")->holder == "host-a:17");

  Consuming second(f.log());
  CHECK(second.Open(Subscribe("c", "s")) == -1);
  const Status held = second.Finish();
  CHECK(held.reason() == Reason::SUBSCRIPTION_HELD);
  CHECK(held.message().find("host-a:17") != std::string::npos);
}

TEST_CASE("a subscription is free as soon as its consumer has seen the end") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 200; ++i) {
    Consuming consumer(f.log());
    REQUIRE(consumer.Open(Subscribe("c", "s")) >= 0);
    consumer.HalfClose();
    REQUIRE(consumer.Finish().ok());
  }
}

TEST_CASE("a consumer that vanishes frees its subscription") {
  ServerFixture f;
  f.CreateChannel("c");
  SECTION("by cancelling") {
    Consuming consumer(f.log());
    REQUIRE(consumer.Open(Subscribe("c", "s")) >= 0);
    consumer.Cancel();
    (void)consumer.Finish();
    CHECK(AttachSoon(&f, Subscribe("c", "s")));
  }
  SECTION("with its connection") {
    {
      const auto stub = v1::Log::NewStub(f.Connect());
      Consuming consumer(*stub);
      REQUIRE(consumer.Open(Subscribe("c", "s")) >= 0);
      consumer.Cancel();
    }
    CHECK(AttachSoon(&f, Subscribe("c", "s")));
  }
  SECTION("while it was being sent more than it takes") {
    for (int i = 0; i < 100; ++i) f.Append("c", std::string(100'000, 'x'));
    Consuming consumer(f.log());
    REQUIRE(consumer.Open(Subscribe("c", "s")) >= 0);
    REQUIRE(consumer.Next().has_delivery());
    consumer.Cancel();
    (void)consumer.Finish();
    CHECK(AttachSoon(&f, Subscribe("c", "s")));
  }
}

TEST_CASE("Consume streams that break at any moment leave nothing behind") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 20; ++i) f.Append("c", std::string(5'000, 'x'));
  for (int i = 0; i < 100; ++i) {
    Consuming consumer(f.log());
    v1::ConsumeRequest request;
    *request.mutable_open() = OpenFrom("c", StartPosition::Earliest(), kPlenty);
    const bool opened = i % 5 > 0;
    if (opened) consumer.Send(request);
    for (int response = 0; opened && response < i % 4; ++response) (void)consumer.Next();
    consumer.Cancel();
    (void)consumer.Finish();
  }
  CHECK(Eventually([&] { return f.broker().Stats().readers == 0; }));
}

TEST_CASE("deleting the channel ends its consumers") {
  ServerFixture f;
  f.CreateChannel("c");
  Consuming waiting(f.log());
  REQUIRE(waiting.Open(OpenFrom("c", StartPosition::Latest(), kPlenty)) == 1);
  REQUIRE(f.broker().DeleteChannel("c").ok());
  CHECK(waiting.Finish().reason() == Reason::CHANNEL_DELETED);
}

TEST_CASE("a seek of the subscription takes its consumer along") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 3; ++i) f.Append("c", "x");
  Consuming consumer(f.log());
  REQUIRE(consumer.Open(Subscribe("c", "s")) == 1);
  for (int i = 0; i < 3; ++i) REQUIRE(consumer.Next().has_delivery());
  REQUIRE(f.broker().SeekSubscription("c", "s", StartPosition::At(2)).ok());
  const v1::ConsumeResponse moved = consumer.Next();
  REQUIRE(moved.has_sought());
  CHECK(moved.sought().position() == 2);
  CHECK(moved.sought().seek_number() == 1);
  CHECK(moved.sought().by_other());
  CHECK(consumer.Next().delivery().first_id() == 2);
}

TEST_CASE("a consumer without credit hears of a seek and of the subscription's end, too") {
  ServerFixture f;
  f.CreateChannel("c");
  f.Append("c", "x");
  Consuming consumer(f.log());
  v1::ConsumeOpen open = Subscribe("c", "s");
  open.set_credit(0);
  REQUIRE(consumer.Open(open) == 1);
  REQUIRE(f.broker().SeekSubscription("c", "s", StartPosition::Latest()).ok());
  CHECK(consumer.Next().sought().position() == 2);
  REQUIRE(f.broker().DeleteSubscription("c", "s").ok());
  CHECK(consumer.Finish().reason() == Reason::SUBSCRIPTION_NOT_FOUND);
}

TEST_CASE("a consumer's own seeks are answered once each, with their numbers") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  Consuming consumer(f.log());
  v1::ConsumeOpen open = Subscribe("c", "s");
  open.set_credit(0);
  REQUIRE(consumer.Open(open) == 1);
  constexpr uint64_t kSeeks = 20;
  for (uint64_t i = 0; i < kSeeks; ++i) {
    REQUIRE(consumer.Seek(StartPosition::At(static_cast<MessageId>(i % 5) + 1)));
  }
  for (uint64_t i = 0; i < kSeeks; ++i) {
    const v1::ConsumeResponse response = consumer.Next();
    REQUIRE(response.has_sought());
    CHECK(response.sought().seek_number() == i + 1);
    CHECK(response.sought().position() == static_cast<MessageId>(i % 5) + 1);
    CHECK_FALSE(response.sought().by_other());
  }
  REQUIRE(consumer.AddCredit(kPlenty));
  CHECK(consumer.Next().delivery().first_id() == 5);
}

TEST_CASE("an acknowledgement from before a seek changes nothing") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  Consuming consumer(f.log());
  REQUIRE(consumer.Open(Subscribe("c", "s")) == 1);
  for (int i = 0; i < 5; ++i) REQUIRE(consumer.Next().has_delivery());
  REQUIRE(f.broker().SeekSubscription("c", "s", StartPosition::At(2)).ok());
  REQUIRE(consumer.Next().has_sought());
  REQUIRE(f.broker().SeekSubscription("c", "s", StartPosition::At(3)).ok());
  v1::ConsumeRequest request;
  request.set_acknowledge_through(5);
  request.set_acknowledge_seek(1);
  REQUIRE(consumer.Send(request));
  request.set_acknowledge_through(3);
  request.set_acknowledge_seek(2);
  REQUIRE(consumer.Send(request));
  consumer.HalfClose();
  CHECK(consumer.Finish().ok());
  CHECK(f.broker().DescribeSubscription("c", "s")->cursor == 4);
}

TEST_CASE("a consumer that seeks moves its subscription's cursor, either way") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  Consuming consumer(f.log());
  REQUIRE(consumer.Open(Subscribe("c", "s")) == 1);
  for (int i = 0; i < 5; ++i) REQUIRE(consumer.Next().has_delivery());
  REQUIRE(consumer.Acknowledge(5));
  REQUIRE(consumer.Seek(StartPosition::At(2)));
  CHECK(consumer.Next().sought().position() == 2);
  CHECK(consumer.Next().delivery().first_id() == 2);
  CHECK(f.broker().DescribeSubscription("c", "s")->cursor == 2);
  REQUIRE(consumer.Seek(StartPosition::Latest()));
  v1::ConsumeResponse response;
  do response = consumer.Next();
  while (response.has_delivery());
  CHECK(response.sought().position() == 6);
  CHECK(f.Append("c", "new") == 6);
  CHECK(consumer.Next().delivery().first_id() == 6);
}

TEST_CASE("requests that make no sense end the stream and say so") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  v1::ConsumeRequest open;
  *open.mutable_open() = OpenFrom("c", StartPosition::Earliest(), 0);
  v1::ConsumeRequest request;
  Reason expected = Reason::INVALID_ARGUMENT;
  bool first = true;
  SECTION("no open") { request.set_add_credit(1); }
  SECTION("negative credit at once") {
    request = open;
    request.mutable_open()->set_credit(-1);
  }
  SECTION("a seek with the opening") {
    request = open;
    request.mutable_seek()->set_id(1);
  }
  SECTION("a holder of 257 bytes") {
    request = open;
    request.mutable_open()->set_holder(std::string(257, 'h'));
  }
  SECTION("a time that is none") {
    request = open;
    request.mutable_open()->mutable_start()->mutable_time()->set_nanos(-1);
  }
  SECTION("a mode that is none") {
    request = open;
    request.mutable_open()->set_mode(static_cast<v1::ConsumeOpen::Mode>(9));
    expected = Reason::NOT_SUPPORTED;
  }
  SECTION("resuming without a subscription") {
    request = open;
    request.mutable_open()->set_resume_at(2);
  }
  SECTION("a subscription's name that is none") {
    request = open;
    request.mutable_open()->set_subscription("a/b");
  }
  SECTION("waiting for a channel's name that is none") {
    request = open;
    request.mutable_open()->set_channel("a/b");
    request.mutable_open()->set_wait_for_channel(true);
    expected = Reason::INVALID_CHANNEL_NAME;
  }
  SECTION("waiting for a channel whose number is known") {
    request = open;
    request.mutable_open()->set_channel("nowhere");
    request.mutable_open()->set_channel_number(number);
    request.mutable_open()->set_wait_for_channel(true);
    expected = Reason::CHANNEL_NOT_FOUND;
  }
  SECTION("another channel's number") {
    request = open;
    request.mutable_open()->set_channel_number(number + 1);
    request.mutable_open()->set_subscription("never");
    expected = Reason::CHANNEL_RECREATED;
  }
  SECTION("a channel that is not there") {
    request = open;
    request.mutable_open()->set_channel("nowhere");
    expected = Reason::CHANNEL_NOT_FOUND;
  }
  SECTION("opening twice") {
    first = false;
    request = open;
  }
  SECTION("negative credit later") {
    first = false;
    request.set_add_credit(-1);
  }
  Consuming consumer(f.log());
  if (!first) consumer.Send(open);
  consumer.Send(request);
  CHECK(consumer.Finish().reason() == expected);
  CHECK(f.broker().ListSubscriptions("c")->empty());
}

TEST_CASE("bytes that are no request end the stream") {
  ServerFixture f;
  for (const std::string& bytes : {std::string("\xff\xff\xff"), std::string("\x0a\x7f")}) {
    CHECK(SendRaw(f.Connect(), "/strata.v1.Log/Consume", {bytes}).reason() ==
          Reason::INVALID_ARGUMENT);
  }
}

TEST_CASE("a consumer that stops reading holds up nobody") {
  ServerFixture f;
  f.CreateChannel("c");
  Consuming stopped(f.log());
  REQUIRE(stopped.Open(OpenFrom("c", StartPosition::Earliest(), kPlenty)) == 1);
  Consuming reading(f.log());
  REQUIRE(reading.Open(OpenFrom("c", StartPosition::Earliest(), kPlenty)) == 1);
  // 20 MB, far more than any window between server and client.
  for (MessageId id = 1; id <= 200; ++id) {
    f.Append("c", std::string(100'000, 'x'));
    REQUIRE(reading.Next().delivery().first_id() == id);
  }
  // And gets it all once it reads again.
  for (MessageId id = 1; id <= 200; ++id) REQUIRE(stopped.Next().delivery().first_id() == id);
}

}  // namespace
}  // namespace strata::server
