// The calls that are no streams: Append, Fetch, Acknowledge and strata.v1.Admin.
#include <chrono>
#include <string>
#include <thread>

#include <google/protobuf/descriptor.h>

#include "proto/convert.h"
#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"

namespace strata::server {
namespace {

using testing::BatchOf;
using testing::Eventually;
using testing::SendRaw;
using testing::ServerFixture;

// One unary call: the response, or the error.
template <typename Stub, typename Request, typename Response>
Result<Response> Call(Stub& stub,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      const Request& request) {
  grpc::ClientContext context;
  Response response;
  const Status status =
      FromGrpc((stub.*method)(&context, request, &response), DataFate::kMayHaveBeenAppended);
  if (!status.ok()) return status;
  return response;
}

v1::AppendRequest AppendOf(const std::string& channel, const std::string& payload) {
  v1::AppendRequest request;
  request.set_channel(channel);
  *request.mutable_batch() = BatchOf({payload});
  return request;
}

v1::FetchRequest FetchFrom(const std::string& channel, const StartPosition& start) {
  v1::FetchRequest request;
  request.set_channel(channel);
  ToProto(start, request.mutable_start());
  return request;
}

// --- Append ---

TEST_CASE("a single append is answered with its ids and time") {
  ServerFixture f;
  f.CreateChannel("c");
  v1::AppendRequest request;
  request.set_channel("c");
  *request.mutable_batch() = BatchOf({"a", "b", "c"});
  auto response = Call(f.log(), &v1::Log::Stub::Append, request);
  REQUIRE(response.ok());
  CHECK(response->result().first_id() == 1);
  CHECK(response->result().count() == 3);
  CHECK(response->result().append_time_micros() > 1'600'000'000'000'000);
  CHECK(Call(f.log(), &v1::Log::Stub::Append, request)->result().first_id() == 4);
}

TEST_CASE("an append that cannot be is refused unappended") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  v1::AppendRequest request = AppendOf("c", "x");
  Reason expected = Reason::INVALID_ARGUMENT;
  SECTION("no batch") { request.clear_batch(); }
  SECTION("a producer without a sequence") { request.set_producer("p"); }
  SECTION("a sequence without a producer") { request.set_sequence(1); }
  SECTION("a term without a producer") { request.set_term(1); }
  SECTION("a sequence that is not the first") {
    request.set_producer("p");
    request.set_sequence(2);
    expected = Reason::OUT_OF_SEQUENCE;
  }
  SECTION("another id than the expected one") {
    request.set_expected_next_id(2);
    expected = Reason::ID_MISMATCH;
  }
  SECTION("no message") {
    request.mutable_batch()->clear_messages();
    expected = Reason::INVALID_BATCH;
  }
  SECTION("no channel of this name") {
    request.set_channel("nowhere");
    expected = Reason::CHANNEL_NOT_FOUND;
  }
  SECTION("another channel's number") {
    request.set_channel_number(number + 1);
    expected = Reason::CHANNEL_RECREATED;
  }
  const auto response = Call(f.log(), &v1::Log::Stub::Append, request);
  REQUIRE_FALSE(response.ok());
  CHECK(response.status().reason() == expected);
  CHECK(response.status().fate() == DataFate::kNotAppended);
  CHECK(f.NextId("c") == 1);
}

TEST_CASE("garbage in place of a single request is refused") {
  ServerFixture f;
  for (const char* method :
       {"/strata.v1.Log/Append", "/strata.v1.Log/AppendMulti", "/strata.v1.Log/Fetch"}) {
    CHECK(SendRaw(f.Connect(), method, {std::string(20, '\xff')}).reason() ==
          Reason::INVALID_ARGUMENT);
  }
}

// --- Fetch ---

TEST_CASE("a fetch brings batches up to its soft limit, and says where to go on") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  for (int i = 0; i < 10; ++i) f.Append("c", std::string(1000, 'x'));
  v1::FetchRequest request = FetchFrom("c", StartPosition::Earliest());
  request.set_max_bytes(1500);
  auto response = Call(f.log(), &v1::Log::Stub::Fetch, request);
  REQUIRE(response.ok());
  // The batch that reaches the limit is the last.
  CHECK(response->items_size() == 2);
  CHECK(response->items(0).delivery().first_id() == 1);
  CHECK(response->next_position() == 3);
  CHECK(response->next_id() == 11);
  CHECK(response->first_available_id() == 1);
  CHECK(response->channel_number() == number);
  request.set_max_bytes(0);
  ToProto(StartPosition::At(response->next_position()), request.mutable_start());
  response = Call(f.log(), &v1::Log::Stub::Fetch, request);
  REQUIRE(response.ok());
  CHECK(response->items_size() == 8);
  CHECK(response->next_position() == 11);
}

TEST_CASE("a fetch at the end is empty at once, or after its time") {
  ServerFixture f;
  f.CreateChannel("c");
  v1::FetchRequest request = FetchFrom("c", StartPosition::Latest());
  auto response = Call(f.log(), &v1::Log::Stub::Fetch, request);
  REQUIRE(response.ok());
  CHECK(response->items_size() == 0);
  CHECK(response->next_position() == 1);
  request.set_max_wait_micros(20'000);
  const auto start = std::chrono::steady_clock::now();
  response = Call(f.log(), &v1::Log::Stub::Fetch, request);
  REQUIRE(response.ok());
  CHECK(response->items_size() == 0);
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(19));
}

TEST_CASE("a fetch that waits is answered by what comes") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 20; ++i) {
    v1::FetchRequest request = FetchFrom("c", StartPosition::Latest());
    request.set_max_wait_micros(60'000'000);
    Result<v1::FetchResponse> response = Status(Reason::INTERNAL, "not called");
    std::thread fetching([&] { response = Call(f.log(), &v1::Log::Stub::Fetch, request); });
    const bool opened = Eventually([&] { return f.broker().Stats().readers == 1; });
    const MessageId id = f.Append("c", "x");
    fetching.join();
    CHECK(opened);
    REQUIRE(response.ok());
    REQUIRE(response->items_size() == 1);
    CHECK(response->items(0).delivery().first_id() == id);
  }
}

TEST_CASE("a fetch that waits ends with its channel, and with its caller's patience") {
  ServerFixture f;
  f.CreateChannel("c");
  v1::FetchRequest request = FetchFrom("c", StartPosition::Latest());
  request.set_max_wait_micros(60'000'000);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(20));
  v1::FetchResponse response;
  CHECK(f.log().Fetch(&context, request, &response).error_code() ==
        grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(Eventually([&] { return f.broker().Stats().readers == 0; }));

  Status status;
  std::thread fetching([&] { status = Call(f.log(), &v1::Log::Stub::Fetch, request).status(); });
  const bool opened = Eventually([&] { return f.broker().Stats().readers == 1; });
  const Status deleted = f.broker().DeleteChannel("c");
  fetching.join();
  CHECK(opened);
  CHECK(deleted.ok());
  CHECK(status.reason() == Reason::CHANNEL_DELETED);
}

TEST_CASE("a fetch announces gaps between batches") {
  ServerFixture f({"limits.tailCache=0"});
  const ChannelNumber number = f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  f.store().Damage(number, 3);
  REQUIRE(f.broker().TruncateChannel("c", 1).ok());
  const auto response = Call(f.log(), &v1::Log::Stub::Fetch, FetchFrom("c", StartPosition::At(1)));
  REQUIRE(response.ok());
  REQUIRE(response->items_size() == 5);
  CHECK(response->items(0).gap().reason() == v1::GAP_REASON_TRIMMED);
  CHECK(response->items(1).delivery().first_id() == 2);
  CHECK(response->items(2).gap().reason() == v1::GAP_REASON_CORRUPT);
  CHECK(response->items(2).gap().last_id() == 3);
  CHECK(response->items(4).delivery().first_id() == 5);
}

TEST_CASE("a fetch that cannot be says why") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  v1::FetchRequest request = FetchFrom("nowhere", StartPosition::Earliest());
  CHECK(Call(f.log(), &v1::Log::Stub::Fetch, request).status().reason() ==
        Reason::CHANNEL_NOT_FOUND);
  request.set_channel("c");
  request.set_channel_number(number + 1);
  CHECK(Call(f.log(), &v1::Log::Stub::Fetch, request).status().reason() ==
        Reason::CHANNEL_RECREATED);
  request.set_channel_number(0);
  request.mutable_start()->mutable_time()->set_nanos(-1);
  CHECK(Call(f.log(), &v1::Log::Stub::Fetch, request).status().reason() ==
        Reason::INVALID_ARGUMENT);
}

// --- Admin, and Acknowledge ---

TEST_CASE("channels are created, opened, described, listed, truncated and deleted") {
  ServerFixture f;
  v1::CreateChannelRequest create;
  create.set_name("logs.a");
  create.mutable_options()->set_first_id(100);
  const auto created = Call(f.admin(), &v1::Admin::Stub::CreateChannel, create);
  REQUIRE(created.ok());
  CHECK(created->next_id() == 100);
  CHECK(created->options().first_id() == 100);
  CHECK(Call(f.admin(), &v1::Admin::Stub::CreateChannel, create)->number() == created->number());
  create.mutable_options()->set_first_id(5);
  CHECK(Call(f.admin(), &v1::Admin::Stub::CreateChannel, create).status().reason() ==
        Reason::CHANNEL_EXISTS);
  create.mutable_options()->set_first_id(-5);
  CHECK(Call(f.admin(), &v1::Admin::Stub::CreateChannel, create).status().reason() ==
        Reason::INVALID_ARGUMENT);
  create.set_name("no/slashes");
  create.clear_options();
  CHECK(Call(f.admin(), &v1::Admin::Stub::CreateChannel, create).status().reason() ==
        Reason::INVALID_CHANNEL_NAME);

  v1::OpenChannelRequest open;
  open.set_name("events");
  CHECK(Call(f.admin(), &v1::Admin::Stub::OpenChannel, open).status().reason() ==
        Reason::CHANNEL_NOT_FOUND);
  open.set_create_if_missing(true);
  CHECK(Call(f.admin(), &v1::Admin::Stub::OpenChannel, open)->name() == "events");

  v1::ListChannelsRequest list;
  CHECK(Call(f.admin(), &v1::Admin::Stub::ListChannels, list)->channels_size() == 2);
  list.set_prefix("logs.");
  const auto listed = Call(f.admin(), &v1::Admin::Stub::ListChannels, list);
  REQUIRE(listed->channels_size() == 1);
  CHECK(listed->channels(0).name() == "logs.a");

  f.Append("events", "x");
  f.Append("events", "y");
  v1::TruncateChannelRequest truncate;
  truncate.set_name("events");
  truncate.set_through_id(1);
  CHECK(Call(f.admin(), &v1::Admin::Stub::TruncateChannel, truncate)->first_available_id() == 2);
  v1::DescribeChannelRequest describe;
  describe.set_name("events");
  CHECK(Call(f.admin(), &v1::Admin::Stub::DescribeChannel, describe)->truncated_through() == 1);

  v1::DeleteChannelRequest remove;
  remove.set_name("events");
  CHECK(Call(f.admin(), &v1::Admin::Stub::DeleteChannel, remove).ok());
  CHECK(Call(f.admin(), &v1::Admin::Stub::DescribeChannel, describe).status().reason() ==
        Reason::CHANNEL_NOT_FOUND);
}

TEST_CASE("subscriptions are created, described, listed, sought, acknowledged and deleted") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 5; ++i) f.Append("c", "x");
  v1::CreateSubscriptionRequest create;
  create.set_channel("c");
  create.set_subscription("s");
  create.mutable_start()->set_id(3);
  const auto created = Call(f.admin(), &v1::Admin::Stub::CreateSubscription, create);
  REQUIRE(created.ok());
  CHECK(created->cursor() == 3);
  CHECK(created->backlog() == 3);
  CHECK(Call(f.admin(), &v1::Admin::Stub::CreateSubscription, create).status().reason() ==
        Reason::SUBSCRIPTION_EXISTS);

  v1::AcknowledgeRequest acknowledge;
  acknowledge.set_channel("c");
  acknowledge.set_subscription("s");
  acknowledge.set_through_id(4);
  CHECK(Call(f.log(), &v1::Log::Stub::Acknowledge, acknowledge).ok());
  acknowledge.set_through_id(6);
  CHECK(Call(f.log(), &v1::Log::Stub::Acknowledge, acknowledge).status().reason() ==
        Reason::ACK_BEYOND_END);

  v1::DescribeSubscriptionRequest describe;
  describe.set_channel("c");
  describe.set_subscription("s");
  CHECK(Call(f.admin(), &v1::Admin::Stub::DescribeSubscription, describe)->cursor() == 5);

  v1::SeekSubscriptionRequest seek;
  seek.set_channel("c");
  seek.set_subscription("s");
  seek.mutable_to()->mutable_earliest();
  CHECK(Call(f.admin(), &v1::Admin::Stub::SeekSubscription, seek)->cursor() == 1);

  v1::ListSubscriptionsRequest list;
  CHECK(Call(f.admin(), &v1::Admin::Stub::ListSubscriptions, list)->subscriptions_size() == 1);
  list.set_channel("nowhere");
  CHECK(Call(f.admin(), &v1::Admin::Stub::ListSubscriptions, list).status().reason() ==
        Reason::CHANNEL_NOT_FOUND);

  v1::DeleteSubscriptionRequest remove;
  remove.set_channel("c");
  remove.set_subscription("s");
  CHECK(Call(f.admin(), &v1::Admin::Stub::DeleteSubscription, remove).ok());
  CHECK(Call(f.admin(), &v1::Admin::Stub::DescribeSubscription, describe).status().reason() ==
        Reason::SUBSCRIPTION_NOT_FOUND);
}

TEST_CASE("the server tells its version, limits and state") {
  ServerFixture f({"limits.maxPayload=1MiB", "limits.maxPending=2MiB",
                   "limits.maxPendingTotal=3MiB", "durability.sync=interval"});
  f.CreateChannel("c");
  f.Append("c", "x");
  const auto info = Call(f.admin(), &v1::Admin::Stub::GetServerInfo, v1::GetServerInfoRequest());
  REQUIRE(info.ok());
  CHECK(info->version() == STRATA_VERSION);
  CHECK(info->store_id() == f.broker().store_id());
  CHECK(info->sync() == "interval");
  CHECK(info->limits().max_payload() == 1u << 20);
  CHECK(info->limits().max_batch() == (1u << 20) + (64u << 10));
  CHECK(info->limits().max_batch_messages() == 65'536);
  CHECK(info->limits().max_pending() == 2u << 20);
  CHECK(info->limits().max_pending_total() == 3u << 20);
  const auto status = Call(f.admin(), &v1::Admin::Stub::GetStatus, v1::GetStatusRequest());
  REQUIRE(status.ok());
  CHECK(status->accepts_appends());
  CHECK(status->state() == "serving");
  CHECK(status->channels() == 1);
  CHECK(status->messages_appended() == 1);
  CHECK(status->resident_bytes() > 1u << 20);
}

TEST_CASE("reflection lists the services") {
  // What a reflection client asks first; the reply is searched as bytes, since its classes are not
  // installed.
  ServerFixture f;
  grpc::GenericStub stub(f.Connect());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  REQUIRE(wait());
  const grpc::Slice list_services(std::string("\x3a\x00", 2));
  call->Write(grpc::ByteBuffer(&list_services, 1), nullptr);
  REQUIRE(wait());
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  REQUIRE(wait());
  grpc::Slice bytes;
  REQUIRE(response.DumpToSingleSlice(&bytes).ok());
  const std::string text(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  CHECK(text.find("strata.v1.Log") != std::string::npos);
  CHECK(text.find("strata.v1.Admin") != std::string::npos);
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  (void)wait();
  queue.Shutdown();
  while (wait()) continue;
}

}  // namespace
}  // namespace strata::server
