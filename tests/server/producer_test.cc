// Producers with identity on the wire: what a Produce stream, Append, AppendMulti and ListProducers say to a client
// that numbers its batches. The rules themselves are tested with the broker.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"

namespace strata::server {
namespace {

using testing::BatchOf;
using testing::Eventually;
using testing::Producing;
using testing::ServerFixture;

template <typename Stub, typename Request, typename Response>
Result<Response> Call(Stub& stub,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      const Request& request) {
  grpc::ClientContext context;
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return FromGrpc(status, DataFate::kMayHaveBeenAppended);
  return response;
}

v1::ProduceOpen As(const std::string& producer, int64_t term = 0, bool exclusive = false) {
  v1::ProduceOpen open;
  open.set_channel("c");
  open.set_producer(producer);
  open.set_term(term);
  open.set_exclusive(exclusive);
  return open;
}

// A stream of a producer of channel "c".
struct Stream {
  Stream(ServerFixture* f, const v1::ProduceOpen& open) : call(f->log()) {
    v1::ProduceRequest request;
    *request.mutable_open() = open;
    v1::ProduceResponse response;
    if (call.Send(request) && call.Read(&response) && response.has_opened()) {
      opened = response.opened();
    }
  }

  void Send(uint64_t sequence, const std::string& payload, MessageId expected_next_id = 0) {
    v1::ProduceRequest request;
    request.set_sequence(sequence);
    request.set_expected_next_id(expected_next_id);
    *request.mutable_batch() = BatchOf({payload});
    call.Send(request);
  }
  // The first ids of the next `count` results, fewer if the stream ends.
  std::vector<MessageId> Results(size_t count) {
    std::vector<MessageId> ids;
    while (ids.size() < count) {
      const auto results = call.Results();
      if (results.empty()) break;
      for (const v1::AppendResult& result : results) ids.push_back(result.first_id());
    }
    return ids;
  }
  Status HalfClose() {
    call.HalfClose();
    return call.Finish();
  }

  Producing call;
  std::optional<v1::ProduceOpened> opened;
};

Result<v1::AppendResponse> AppendPlain(ServerFixture* f) {
  v1::AppendRequest request;
  request.set_channel("c");
  *request.mutable_batch() = BatchOf({"plain"});
  return Call(f->log(), &v1::Log::Stub::Append, request);
}

std::vector<v1::ProducerInfo> ProducersOf(ServerFixture* f, const std::string& channel) {
  v1::ListProducersRequest request;
  request.set_channel(channel);
  const auto response = Call(f->admin(), &v1::Admin::Stub::ListProducers, request);
  REQUIRE(response.ok());
  return {response->producers().begin(), response->producers().end()};
}

TEST_CASE("opening tells what is known of the producer, the channel and the store") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  {
    Stream stream(&f, As("p"));
    REQUIRE(stream.opened.has_value());
    CHECK(stream.opened->channel_number() == number);
    CHECK(stream.opened->next_id() == 1);
    CHECK(stream.opened->last_sequence() == 0);
    CHECK(stream.opened->store_id() == f.broker().store_id());
    for (uint64_t i = 1; i <= 3; ++i) stream.Send(i, "x");
    CHECK(stream.Results(3) == std::vector<MessageId>{1, 2, 3});
    CHECK(stream.HalfClose().ok());
  }
  Stream again(&f, As("p"));
  REQUIRE(again.opened.has_value());
  CHECK(again.opened->next_id() == 4);
  CHECK(again.opened->last_sequence() == 3);
  Stream plain(&f, As(""));
  REQUIRE(plain.opened.has_value());
  CHECK(plain.opened->last_sequence() == 0);
  CHECK(plain.opened->store_id() == f.broker().store_id());
}

TEST_CASE("batches that are sent again are answered with their first results") {
  ServerFixture f;
  f.CreateChannel("c");
  v1::ProduceOpen open = As("p");
  open.set_instance(77);
  open.set_attempt(1);
  Stream broken(&f, open);
  for (uint64_t i = 1; i <= 10; ++i) broken.Send(i, "x" + std::to_string(i));
  REQUIRE(broken.Results(5).size() >= 5);
  broken.call.Cancel();

  open.set_attempt(2);
  Stream back(&f, open);
  REQUIRE(back.opened.has_value());
  for (uint64_t i = 1; i <= 12; ++i) back.Send(i, "x" + std::to_string(i));
  back.call.HalfClose();
  const std::vector<MessageId> ids = back.Results(12);
  REQUIRE(ids.size() == 12);
  for (size_t i = 0; i < 12; ++i) CHECK(ids[i] == static_cast<MessageId>(i + 1));
  CHECK(back.call.Finish().ok());
  CHECK(f.NextId("c") == 13);
}

TEST_CASE("a wrong sequence ends the stream after the results before it") {
  ServerFixture f;
  f.CreateChannel("c");
  Stream stream(&f, As("p"));
  stream.Send(1, "a");
  stream.Send(2, "b");
  uint64_t sequence = 4;
  std::string payload = "c";
  Reason expected = Reason::OUT_OF_SEQUENCE;
  SECTION("with a hole") {}
  SECTION("stored with another content") {
    sequence = 1;
    expected = Reason::INVALID_ARGUMENT;
  }
  SECTION("left out") {
    sequence = 0;
    expected = Reason::INVALID_ARGUMENT;
  }
  stream.Send(sequence, payload);
  stream.Send(3, "never");
  stream.call.HalfClose();
  CHECK(stream.Results(3) == std::vector<MessageId>{1, 2});
  const Status status = stream.call.Finish();
  CHECK(status.reason() == expected);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(f.NextId("c") == 3);
}

TEST_CASE("older instances are fenced, when they open and when they append") {
  ServerFixture f;
  f.CreateChannel("c");
  Stream old(&f, As("p", 1));
  old.Send(1, "a");
  REQUIRE(old.Results(1).size() == 1);
  Stream young(&f, As("p", 2));
  REQUIRE(young.opened.has_value());
  CHECK(young.opened->last_sequence() == 1);
  old.Send(2, "b");
  const Status fenced = old.call.Finish();
  CHECK(fenced.reason() == Reason::FENCED);
  CHECK(fenced.fate() == DataFate::kNotAppended);
  Stream late(&f, As("p", 1));
  CHECK_FALSE(late.opened.has_value());
  CHECK(late.call.Finish().reason() == Reason::FENCED);
  young.Send(2, "b");
  CHECK(young.HalfClose().ok());
  CHECK(f.NextId("c") == 3);
}

TEST_CASE("an opening that makes no sense is refused") {
  ServerFixture f;
  const ChannelNumber number = f.CreateChannel("c");
  v1::ProduceOpen open = As("p", 1, true);
  Reason expected = Reason::INVALID_ARGUMENT;
  SECTION("a term without a name") { open.clear_producer(); }
  SECTION("exclusive without a term") { open.clear_term(); }
  SECTION("a name that is none") { open.set_producer("no/name"); }
  SECTION("no such channel") {
    open.set_channel("nowhere");
    expected = Reason::CHANNEL_NOT_FOUND;
  }
  SECTION("another channel") {
    open.set_channel_number(number + 1);
    expected = Reason::CHANNEL_RECREATED;
  }
  Stream stream(&f, open);
  CHECK_FALSE(stream.opened.has_value());
  CHECK(stream.call.Finish().reason() == expected);
}

TEST_CASE("half-closing releases the channel, before the status comes") {
  ServerFixture f;
  f.CreateChannel("c");
  Stream stream(&f, As("p", 5, true));
  REQUIRE(stream.opened.has_value());
  CHECK(AppendPlain(&f).status().reason() == Reason::FENCED);
  CHECK(f.broker().DescribeChannel("c")->exclusive_holder == "p");
  stream.Send(1, "x");
  REQUIRE(stream.HalfClose().ok());
  CHECK(f.broker().DescribeChannel("c")->exclusive_holder.empty());
  CHECK(f.broker().DescribeChannel("c")->exclusive_term == 5);
  CHECK(AppendPlain(&f).ok());
}

TEST_CASE("a stream that breaks, fails or is drained releases nothing") {
  ServerFixture f;
  f.CreateChannel("c");
  Stream stream(&f, As("p", 5, true));
  REQUIRE(stream.opened.has_value());
  stream.Send(1, "x");
  REQUIRE(stream.Results(1).size() == 1);
  SECTION("broken") { stream.call.Cancel(); }
  SECTION("broken many times") {
    // The server reads an end of the stream first, or the cancellation.
    for (int i = 0; i < 50; ++i) {
      Stream taking_over(&f, As("p", 5, true));
      REQUIRE(taking_over.opened.has_value());
      taking_over.call.Cancel();
      (void)taking_over.call.Finish();
      REQUIRE(Eventually([&] { return !f.broker().ListProducers("c")->at(0).open; }));
      REQUIRE(f.broker().DescribeChannel("c")->exclusive_holder == "p");
    }
    stream.Send(2, "x");
  }
  SECTION("failed") { stream.Send(9, "x"); }
  SECTION("drained") { CHECK(f.server().Drain(std::chrono::seconds(60))); }
  SECTION("drained before it has ended in peace") {
    f.store().HoldSyncs();
    stream.Send(2, "x");
    stream.call.HalfClose();
    REQUIRE(Eventually([&] { return f.broker().Stats().pending_bytes > 0; }));
    std::thread draining([&] { (void)f.server().Drain(std::chrono::seconds(60)); });
    const bool said = Eventually([&] {
      const auto late = Call(f.log(), &v1::Log::Stub::AppendMulti, v1::AppendMultiRequest());
      return late.status().reason() == Reason::SHUTTING_DOWN;
    });
    // New calls are refused first, then the streams are told.
    for (int i = 0; i < 50; ++i) {
      (void)Call(f.admin(), &v1::Admin::Stub::GetStatus, v1::GetStatusRequest());
    }
    f.store().ReleaseSyncs();
    draining.join();
    CHECK(said);
  }
  SECTION("half-closed behind an error") {
    stream.Send(9, "x");
    stream.call.HalfClose();
  }
  CHECK_FALSE(stream.call.Finish().ok());
  CHECK(Eventually([&] { return !f.broker().ListProducers("c")->at(0).open; }));
  CHECK(f.broker().DescribeChannel("c")->exclusive_holder == "p");
}

TEST_CASE("a producer that was to be forgotten is, once it has closed") {
  ServerFixture f;
  f.CreateChannel("c");
  v1::ProduceOpen open = As("made-up");
  open.set_forget_when_closed(true);
  Stream stream(&f, open);
  stream.Send(1, "x");
  REQUIRE(stream.Results(1).size() == 1);
  CHECK(ProducersOf(&f, "c").size() == 1);
  REQUIRE(stream.HalfClose().ok());
  CHECK(ProducersOf(&f, "c").empty());
}

TEST_CASE("an expected id that is not the next one tells which that is") {
  ServerFixture f;
  f.CreateChannel("c");
  Stream stream(&f, As(""));
  stream.Send(0, "x", 1);
  stream.Send(0, "x", 2);
  CHECK(stream.Results(2) == std::vector<MessageId>{1, 2});
  stream.Send(0, "x", 2);
  const Status status = stream.call.Finish();
  CHECK(status.reason() == Reason::ID_MISMATCH);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(status.actual_next_id() == 3);
}

TEST_CASE("a single append with a sequence is stored once") {
  ServerFixture f;
  f.CreateChannel("c");
  v1::AppendRequest request;
  request.set_channel("c");
  request.set_producer("p");
  request.set_term(3);
  request.set_sequence(1);
  request.set_expected_next_id(1);
  *request.mutable_batch() = BatchOf({"x"});
  const auto first = Call(f.log(), &v1::Log::Stub::Append, request);
  REQUIRE(first.ok());
  const auto again = Call(f.log(), &v1::Log::Stub::Append, request);
  REQUIRE(again.ok());
  CHECK(again->result().first_id() == first->result().first_id());
  CHECK(again->result().append_time_micros() == first->result().append_time_micros());
  request.set_term(2);
  CHECK(Call(f.log(), &v1::Log::Stub::Append, request).status().reason() == Reason::FENCED);
  CHECK(f.NextId("c") == 2);
}

// --- AppendMulti ---

void Add(v1::AppendMultiRequest* request, const std::string& channel, const std::string& payload) {
  v1::AppendRequest* append = request->add_appends();
  append->set_channel(channel);
  *append->mutable_batch() = BatchOf({payload, payload});
}

TEST_CASE("an append to several channels is answered in its order") {
  ServerFixture f;
  for (const char* name : {"a", "b", "c"}) f.CreateChannel(name);
  f.Append("b", "before");
  v1::AppendMultiRequest request;
  Add(&request, "c", "x");
  Add(&request, "b", std::string(100'000, 'y'));
  Add(&request, "a", "");
  const auto response = Call(f.log(), &v1::Log::Stub::AppendMulti, request);
  INFO(response.status().ToString());
  REQUIRE(response.ok());
  REQUIRE(response->results_size() == 3);
  CHECK(response->results(0).first_id() == 1);
  CHECK(response->results(1).first_id() == 2);
  CHECK(response->results(2).first_id() == 1);
  CHECK(response->results(2).count() == 2);
  CHECK(f.NextId("a") == 3);
  CHECK(f.NextId("b") == 4);
  CHECK(f.NextId("c") == 3);
}

TEST_CASE("an append to several channels stores all or nothing") {
  ServerFixture f;
  f.CreateChannel("a");
  f.CreateChannel("b");
  v1::AppendMultiRequest request;
  Add(&request, "a", "x");
  Reason expected = Reason::INVALID_ARGUMENT;
  SECTION("no append") { request.clear_appends(); }
  SECTION("the same channel twice") { Add(&request, "a", "x"); }
  SECTION("no batch") { request.add_appends()->set_channel("b"); }
  SECTION("a batch without messages") {
    v1::AppendRequest* append = request.add_appends();
    append->set_channel("b");
    append->mutable_batch();
    expected = Reason::INVALID_BATCH;
  }
  SECTION("no such channel") {
    Add(&request, "nowhere", "x");
    expected = Reason::CHANNEL_NOT_FOUND;
  }
  SECTION("another id than the expected one") {
    Add(&request, "b", "x");
    request.mutable_appends(1)->set_expected_next_id(7);
    expected = Reason::ID_MISMATCH;
  }
  const auto response = Call(f.log(), &v1::Log::Stub::AppendMulti, request);
  CHECK(response.status().reason() == expected);
  CHECK(response.status().fate() == DataFate::kNotAppended);
  CHECK(f.NextId("a") == 1);
  CHECK(f.NextId("b") == 1);
}

TEST_CASE("draining waits for an append to several channels and refuses the next") {
  ServerFixture f;
  f.CreateChannel("a");
  v1::AppendMultiRequest request;
  Add(&request, "a", "x");
  f.store().HoldSyncs();
  Status in_flight;
  std::thread appending(
      [&] { in_flight = Call(f.log(), &v1::Log::Stub::AppendMulti, request).status(); });
  const bool under_way = Eventually([&] { return f.broker().Stats().pending_bytes > 0; });
  bool drained = false;
  std::thread draining([&] { drained = f.server().Drain(std::chrono::seconds(60)); });
  // Health answers until the end; it turns when draining begins.
  v1::GetStatusResponse state;
  const bool said = Eventually([&] {
    state = Call(f.admin(), &v1::Admin::Stub::GetStatus, v1::GetStatusRequest()).value();
    return state.state() == "draining";
  });
  Status refused;
  const bool late = Eventually([&] {
    refused = Call(f.log(), &v1::Log::Stub::AppendMulti, v1::AppendMultiRequest()).status();
    return refused.reason() == Reason::SHUTTING_DOWN;
  });
  f.store().ReleaseSyncs();
  appending.join();
  draining.join();
  CHECK(under_way);
  CHECK(said);
  CHECK(late);
  CHECK(in_flight.ok());
  CHECK(refused.fate() == DataFate::kNotAppended);
  CHECK(drained);
  CHECK(f.NextId("a") == 3);
}

// --- ListProducers ---

TEST_CASE("named producers are listed with what is known of them") {
  ServerFixture f;
  f.CreateChannel("c");
  f.CreateChannel("other");
  CHECK(ProducersOf(&f, "").empty());
  Stream open(&f, As("open", 4));
  open.Send(1, "x");
  REQUIRE(open.Results(1).size() == 1);
  Stream closed(&f, As("closed"));
  closed.Send(1, "x");
  REQUIRE(closed.HalfClose().ok());
  const auto all = ProducersOf(&f, "");
  REQUIRE(all.size() == 2);
  CHECK(all[0].name() == "closed");
  CHECK_FALSE(all[0].open());
  CHECK(all[1].name() == "open");
  CHECK(all[1].channel() == "c");
  CHECK(all[1].term() == 4);
  CHECK(all[1].last_sequence() == 1);
  CHECK(all[1].open());
  CHECK(all[1].active_at().seconds() > 1'600'000'000);
  CHECK(ProducersOf(&f, "other").empty());
  v1::ListProducersRequest request;
  request.set_channel("nowhere");
  CHECK(Call(f.admin(), &v1::Admin::Stub::ListProducers, request).status().reason() ==
        Reason::CHANNEL_NOT_FOUND);
}

TEST_CASE("streams of one producer that break at any moment leave no gap in its sequence") {
  ServerFixture f;
  f.CreateChannel("c");
  uint64_t sent = 0;
  v1::ProduceOpen open = As("p");
  open.set_instance(1);
  for (uint64_t round = 1; round <= 100; ++round) {
    open.set_attempt(round);
    Stream stream(&f, open);
    REQUIRE(stream.opened.has_value());
    REQUIRE(stream.opened->last_sequence() <= sent);
    sent = stream.opened->last_sequence();
    for (uint64_t batch = 0; batch < round % 7; ++batch) {
      ++sent;
      stream.Send(sent, std::to_string(sent));
    }
    stream.call.Cancel();
    (void)stream.call.Finish();
  }
  CHECK(Eventually([&] { return !f.broker().ListProducers("c")->at(0).open; }));
  CHECK(f.NextId("c") == static_cast<MessageId>(ProducersOf(&f, "c").at(0).last_sequence() + 1));
}

}  // namespace
}  // namespace strata::server
