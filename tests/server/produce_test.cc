#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/wire.h"
#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"

namespace strata::server {
namespace {

using testing::BatchOf;
using testing::Eventually;
using testing::Producing;
using testing::SendRaw;
using testing::ServerFixture;

constexpr char kProduce[] = "/strata.v1.Log/Produce";

std::string OpenRequest(const std::string& channel) {
  v1::ProduceRequest request;
  request.mutable_open()->set_channel(channel);
  return request.SerializeAsString();
}

std::string BatchRequest(const std::string& batch) {
  std::string out;
  wire::AppendBytes(&out, 15, batch);
  return out;
}

// Everything that a stream answers, until it ends.
struct Answers {
  std::vector<MessageId> first_ids;
  Status status;
};

Answers ReadAll(Producing* stream) {
  Answers answers;
  for (v1::ProduceResponse response; stream->Read(&response);) {
    for (const auto& result : response.results()) answers.first_ids.push_back(result.first_id());
  }
  answers.status = stream->Finish();
  return answers;
}

TEST_CASE("batches are stored in the order sent, and half-closing ends with OK") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  Producing stream(f.log());
  REQUIRE(stream.Open("c", number));
  for (int i = 0; i < 100; ++i) REQUIRE(stream.Send({"a" + std::to_string(i), "b"}));
  stream.HalfClose();
  const Answers answers = ReadAll(&stream);
  CHECK(answers.status.ok());
  REQUIRE(answers.first_ids.size() == 100);
  for (size_t i = 0; i < 100; ++i) CHECK(answers.first_ids[i] == static_cast<MessageId>(1 + 2 * i));
  CHECK(f.NextId("c") == 201);
}

TEST_CASE("a stream that is half-closed before anything was sent ends with OK") {
  ServerFixture f;
  Producing stream(f.log());
  stream.HalfClose();
  CHECK(stream.Finish().ok());
}

TEST_CASE("opening answers with the channel's number and end, or why not") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  f.Append("c", "x");
  Producing stream(f.log());
  v1::ProduceRequest request;
  request.mutable_open()->set_channel("c");
  REQUIRE(stream.Send(request));
  v1::ProduceResponse response;
  REQUIRE(stream.Read(&response));
  CHECK(response.opened().channel_number() == number);
  CHECK(response.opened().next_id() == 2);

  Producing missing(f.log());
  CHECK_FALSE(missing.Open("nowhere"));
  CHECK(missing.Finish().reason() == Reason::CHANNEL_NOT_FOUND);

  Producing recreated(f.log());
  CHECK_FALSE(recreated.Open("c", number + 7));
  CHECK(recreated.Finish().reason() == Reason::CHANNEL_RECREATED);

  request.mutable_open()->set_channel("new");
  request.mutable_open()->set_create_if_missing(true);
  Producing creating(f.log());
  REQUIRE(creating.Send(request));
  REQUIRE(creating.Read(&response));
  CHECK(f.broker().DescribeChannel("new").ok());
}

TEST_CASE("requests out of order, and bytes that are no request, end the stream unappended") {
  ServerFixture f;
  f.CreateChannel("c");
  const std::string batch = BatchOf({"x"}).SerializeAsString();
  std::string twice = BatchRequest(batch) + BatchRequest(batch);
  const std::vector<std::vector<std::string>> streams = {
      {BatchRequest(batch)},                                 // no open
      {""},                                                  // nothing at all
      {OpenRequest("c") + BatchRequest(batch)},              // both at once
      {OpenRequest("c"), OpenRequest("c")},                  // open twice
      {OpenRequest("c"), ""},                                // no batch
      {OpenRequest("c"), twice},                             // two batches
      {OpenRequest("c"), std::string(20, '\xff')},           // a varint without end
      {OpenRequest("c"), BatchRequest(batch).substr(0, 3)},  // cut off
      {std::string("\x0a\x7f", 2)},                          // a length beyond the end
  };
  for (size_t i = 0; i < streams.size(); ++i) {
    INFO("stream " << i);
    const Status status = SendRaw(f.Connect(), kProduce, streams[i]);
    CHECK(status.reason() == Reason::INVALID_ARGUMENT);
    CHECK(status.fate() == DataFate::kNotAppended);
  }
  CHECK(f.NextId("c") == 1);
}

TEST_CASE("a batch that is not one is refused, unknown fields inside it included") {
  ServerFixture f;
  f.CreateChannel("c");
  std::string unknown_in_batch = BatchOf({"x"}).SerializeAsString();
  wire::AppendBytes(&unknown_in_batch, 2, "what");
  std::string message;
  wire::AppendBytes(&message, 1, "x");
  wire::AppendBytes(&message, 9, "what");
  std::string unknown_in_message;
  wire::AppendBytes(&unknown_in_message, 1, message);
  for (const std::string& batch :
       {std::string("garbage"), std::string(), unknown_in_batch, unknown_in_message,
        std::string("\x0a\xff\xff\xff\xff\xff\x7f")}) {
    const Status status = SendRaw(f.Connect(), kProduce, {OpenRequest("c"), BatchRequest(batch)});
    CHECK(status.reason() == Reason::INVALID_BATCH);
    CHECK(status.fate() == DataFate::kNotAppended);
  }
  CHECK(f.NextId("c") == 1);
}

TEST_CASE("fields of the request that this version does not know are ignored") {
  ServerFixture f;
  f.CreateChannel("c");
  std::string request = BatchRequest(BatchOf({"x"}).SerializeAsString());
  wire::AppendBytes(&request, 1000, "from the future");
  CHECK(SendRaw(f.Connect(), kProduce, {OpenRequest("c"), request}).ok());
  CHECK(f.NextId("c") == 2);
}

TEST_CASE("what is too large is told so, by the broker or, far beyond, by gRPC") {
  ServerFixture f({"limits.maxPayload=64KiB"});
  f.CreateChannel("c");
  Producing message(f.log());
  REQUIRE(message.Open("c"));
  message.Send({std::string((64u << 10) + 1, 'x')});
  CHECK(message.Finish().reason() == Reason::MESSAGE_TOO_LARGE);

  Producing batch(f.log());
  REQUIRE(batch.Open("c"));
  batch.Send(std::vector<std::string>(5, std::string(60'000, 'x')));
  CHECK(batch.Finish().reason() == Reason::BATCH_TOO_LARGE);

  Producing far(f.log());
  REQUIRE(far.Open("c"));
  far.Send({std::string(4u << 20, 'x')});
  CHECK(far.Finish().reason() == Reason::BATCH_TOO_LARGE);
  CHECK(f.NextId("c") == 1);
}

TEST_CASE("the first error comes after the results before it, and nothing after it is appended") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int round = 0; round < 20; ++round) {
    const MessageId before = f.NextId("c");
    Producing stream(f.log());
    REQUIRE(stream.Open("c"));
    stream.Send({"good"});
    stream.Send({"good"});
    v1::ProduceRequest empty;
    empty.mutable_batch();
    stream.Send(empty);
    stream.Send({"never"});
    stream.HalfClose();
    const Answers answers = ReadAll(&stream);
    CHECK(answers.first_ids == std::vector<MessageId>{before, before + 1});
    CHECK(answers.status.reason() == Reason::INVALID_BATCH);
    CHECK(f.NextId("c") == before + 2);
  }
}

// Round trips that give the server the time to do what it must not do.
void LetItRun(ServerFixture* f) {
  for (int i = 0; i < 50; ++i) {
    grpc::ClientContext context;
    v1::GetStatusResponse response;
    CHECK(f->admin().GetStatus(&context, {}, &response).ok());
  }
}

TEST_CASE(
    "what comes behind a request that is none is not appended, while earlier results are due") {
  ServerFixture f;
  f.CreateChannel("c");
  Producing stream(f.log());
  REQUIRE(stream.Open("c"));
  f.store().HoldSyncs();
  stream.Send({"good"});
  v1::ProduceRequest again;
  again.mutable_open()->set_channel("c");
  stream.Send(again);
  stream.Send({"never"});
  stream.HalfClose();
  f.store().AwaitHeldSync();
  LetItRun(&f);
  f.store().ReleaseSyncs();
  const Answers answers = ReadAll(&stream);
  CHECK(answers.first_ids == std::vector<MessageId>{1});
  CHECK(answers.status.reason() == Reason::INVALID_ARGUMENT);
  CHECK(f.NextId("c") == 2);
}

TEST_CASE("a channel that is deleted ends the stream that appends to it") {
  ServerFixture f;
  f.CreateChannel("c");
  Producing stream(f.log());
  REQUIRE(stream.Open("c"));
  REQUIRE(f.broker().DeleteChannel("c").ok());
  f.CreateChannel("c");
  stream.Send({"x"});
  const Reason reason = stream.Finish().reason();
  CHECK((reason == Reason::CHANNEL_DELETED || reason == Reason::CHANNEL_RECREATED));
  CHECK(f.NextId("c") == 1);
}

// --- Back-pressure ---

// Sends batches from a thread of its own, because writing stops when the server stops reading.
class Sender {
 public:
  Sender(v1::Log::Stub& stub, const std::string& channel, int batches, size_t bytes,
         size_t messages = 1)
      : stream_(stub), thread_([=, this] {
          opened_ = stream_.Open(channel);
          for (int i = 0; i < batches; ++i) {
            if (!stream_.Send(std::vector<std::string>(messages, std::string(bytes, 'x')))) break;
          }
          stream_.HalfClose();
          answers_ = ReadAll(&stream_);
        }) {}
  ~Sender() {
    if (thread_.joinable()) thread_.join();
  }

  const Answers& Wait() {
    thread_.join();
    return answers_;
  }

 private:
  Producing stream_;
  Answers answers_;
  bool opened_ = false;
  std::thread thread_;
};

TEST_CASE("reading stops while maxPending bytes of a stream have no result") {
  ServerFixture f({"limits.maxPending=256KiB"});
  f.CreateChannel("c");
  f.store().HoldSyncs();
  Sender sender(f.log(), "c", 100, 60'000);
  REQUIRE(Eventually([&] { return f.broker().Stats().pending_bytes > 200'000; }));
  LetItRun(&f);
  CHECK(f.broker().Stats().pending_bytes <= 256u << 10);
  f.store().ReleaseSyncs();
  const Answers& answers = sender.Wait();
  CHECK(answers.status.ok());
  CHECK(answers.first_ids.size() == 100);
  CHECK(f.broker().Stats().pending_bytes == 0);
}

TEST_CASE("a batch larger than maxPending goes alone") {
  ServerFixture f({"limits.maxPending=64KiB"});
  f.CreateChannel("c");
  Sender sender(f.log(), "c", 5, 200'000);
  CHECK(sender.Wait().first_ids.size() == 5);
}

TEST_CASE("at maxPendingTotal streams wait, and single appends are refused") {
  ServerFixture f({"limits.maxPendingTotal=256KiB"});
  f.CreateChannel("c");
  f.store().HoldSyncs();
  Sender first(f.log(), "c", 50, 60'000);
  REQUIRE(Eventually([&] { return f.broker().Stats().pending_bytes > 200'000; }));
  Sender second(f.log(), "c", 50, 60'000);
  Sender third(f.log(), "c", 50, 60'000);
  LetItRun(&f);
  CHECK(f.broker().Stats().pending_bytes <= 256u << 10);

  grpc::ClientContext context;
  v1::AppendRequest request;
  request.set_channel("c");
  *request.mutable_batch() = BatchOf({std::string(60'000, 'y')});
  v1::AppendResponse response;
  const Status status =
      FromGrpc(f.log().Append(&context, request, &response), DataFate::kMayHaveBeenAppended);
  CHECK(status.reason() == Reason::BACK_PRESSURE);
  CHECK(status.fate() == DataFate::kNotAppended);

  f.store().ReleaseSyncs();
  for (Sender* sender : {&first, &second, &third}) {
    const Answers& answers = sender->Wait();
    CHECK(answers.status.ok());
    CHECK(answers.first_ids.size() == 50);
    CHECK(std::is_sorted(answers.first_ids.begin(), answers.first_ids.end()));
  }
  CHECK(f.NextId("c") == 151);
}

TEST_CASE("streams that race for the last room all get through") {
  // Room for one batch at a time, so that of those that see it all but one are late. Checking a
  // batch of many messages takes the time in which they overtake each other.
  ServerFixture f({"limits.maxPendingTotal=64KiB"});
  f.CreateChannel("c");
  std::vector<std::unique_ptr<Sender>> senders;
  for (int i = 0; i < 6; ++i) {
    senders.push_back(std::make_unique<Sender>(f.log(), "c", 200, 1, 10'000));
  }
  for (const auto& sender : senders) {
    const Answers& answers = sender->Wait();
    CHECK(answers.status.ToString() == "OK");
    CHECK(answers.first_ids.size() == 200);
  }
}

TEST_CASE("a stream that is cancelled while it waits for room takes none") {
  ServerFixture f({"limits.maxPendingTotal=64KiB"});
  f.CreateChannel("c");
  f.store().HoldSyncs();
  Sender holder(f.log(), "c", 1, 60'000);
  REQUIRE(Eventually([&] { return f.broker().Stats().pending_bytes > 50'000; }));
  Producing waiting(f.log());
  REQUIRE(waiting.Open("c"));
  REQUIRE(waiting.Send({std::string(60'000, 'x')}));
  LetItRun(&f);
  waiting.Cancel();
  CHECK(waiting.Finish().reason() == Reason::CANCELLED);
  f.store().ReleaseSyncs();
  CHECK(holder.Wait().status.ok());
  Sender after(f.log(), "c", 3, 60'000);
  CHECK(after.Wait().first_ids.size() == 3);
}

TEST_CASE("Produce streams that break at any moment leave nothing behind") {
  ServerFixture f;
  f.CreateChannel("c");
  for (int i = 0; i < 100; ++i) {
    Producing stream(f.log());
    if (i % 4 > 0) {
      v1::ProduceRequest open;
      open.mutable_open()->set_channel("c");
      stream.Send(open);
    }
    for (int batch = 0; batch < i % 7; ++batch) stream.Send({"x"});
    if (i % 3 == 0) std::this_thread::yield();
    stream.Cancel();
    (void)stream.Finish();
  }
  CHECK(Eventually([&] { return f.broker().Stats().pending_bytes == 0; }));
  Sender after(f.log(), "c", 3, 10);
  CHECK(after.Wait().first_ids.size() == 3);
}

// --- Fail-stop ---

TEST_CASE(
    "a failed sync ends the streams whose batches were on their way: may have been appended") {
  ServerFixture f;
  f.CreateChannel("c");
  Producing stream(f.log());
  REQUIRE(stream.Open("c"));
  f.store().FailNextSync();
  stream.Send({"x"});
  const Status in_flight = stream.Finish();
  CHECK(in_flight.reason() == Reason::STORE_FAILED);
  CHECK(in_flight.fate() == DataFate::kMayHaveBeenAppended);

  Producing later(f.log());
  REQUIRE(later.Open("c"));
  later.Send({"y"});
  const Status refused = later.Finish();
  CHECK(refused.reason() == Reason::STORE_FAILED);
  CHECK(refused.fate() == DataFate::kNotAppended);
}

}  // namespace
}  // namespace strata::server
