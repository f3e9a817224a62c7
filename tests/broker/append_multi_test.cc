// AppendMulti: batches for several channels, all or none.
#include <string>
#include <thread>
#include <vector>

#include "broker/producers.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::AppendRequest;
using testing::Answers;
using testing::BatchOf;
using testing::Lines;
using testing::TestBroker;

AppendRequest To(const std::string& channel, const std::string& payload,
                 const std::string& producer = "", uint64_t sequence = 0) {
  return {
      .channel = channel, .batch = BatchOf({payload}), .producer = producer, .sequence = sequence};
}

struct Channels : TestBroker {
  explicit Channels(broker::BrokerOptions options = {}) : TestBroker(std::move(options)) {
    for (const char* name : {"a", "b", "c"}) REQUIRE(Create(name));
  }
  Status Multi(std::vector<AppendRequest> requests) {
    return (*this)->AppendMulti(std::move(requests)).status();
  }
  bool Empty() { return NextId("a") == 1 && NextId("b") == 1 && NextId("c") == 1; }
};

TEST_CASE("batches for several channels are stored in one group, with results in their order") {
  Channels broker;
  REQUIRE(broker.Append("b", {"before"}).ok());
  const size_t groups = broker.disk().groups();
  const auto results = broker->AppendMulti({To("b", "1"), To("a", "2"), To("c", "3")});
  REQUIRE(results.ok());
  REQUIRE(results->size() == 3);
  CHECK((*results)[0].first_id == 2);
  CHECK((*results)[1].first_id == 1);
  CHECK((*results)[2].first_id == 1);
  CHECK(broker.disk().groups() == groups + 1);
  CHECK(broker.disk().batches_per_group().back() == 3);
  CHECK(broker.Read("b") == Lines{"1 before", "2 1"});
  CHECK(broker->Stats().batches_appended == 4);
  CHECK(broker->Stats().pending_bytes == 0);
}

TEST_CASE("a power cut takes all of it or nothing") {
  for (const size_t survives : {0u, 1u}) {
    Channels broker;
    broker.store().syncs.Close();
    Result<std::vector<AppendResult>> results = Status(Reason::INTERNAL, "not answered");
    std::thread sender([&] { results = broker->AppendMulti({To("a", "1"), To("b", "2")}); });
    broker.store().syncs.AwaitWaiting(1);
    CHECK(broker.Read("a") == Lines{});
    TestBroker after = broker.AfterPowerCut(survives);
    CHECK(after.NextId("a") == 1 + static_cast<MessageId>(survives));
    CHECK(after.NextId("b") == 1 + static_cast<MessageId>(survives));
    broker.store().syncs.Open();
    sender.join();
    CHECK(results.ok());
  }
}

TEST_CASE("what one channel refuses is stored in none") {
  Channels broker;
  const size_t groups = broker.disk().groups();
  AppendRequest wrong_id = To("c", "x");
  wrong_id.expected_next_id = 7;
  Status status = broker.Multi({To("a", "x"), To("b", "x", "p", 1), wrong_id});
  CHECK(status.reason() == Reason::ID_MISMATCH);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(status.actual_next_id() == 1);
  CHECK(broker.Multi({To("a", "x"), To("b", "x", "p", 2)}).reason() == Reason::OUT_OF_SEQUENCE);
  REQUIRE(
      broker->OpenProducer({.channel = "c", .producer = "h", .term = 1, .exclusive = true}).ok());
  CHECK(broker.Multi({To("a", "x"), To("b", "x", "p", 1), To("c", "x")}).reason() ==
        Reason::FENCED);
  CHECK(broker.disk().groups() == groups + 1);
  CHECK(broker.Empty());
  CHECK(broker->ListProducers("b")->empty());
  CHECK(broker->Stats().pending_bytes == 0);
  // Nothing of it is remembered as sent.
  CHECK(broker.Multi({To("a", "x", "p", 1), To("b", "x", "p", 1)}).ok());
}

TEST_CASE("requests that make no sense are refused whole") {
  broker::BrokerOptions options;
  options.limits.max_payload = 1'000;
  Channels broker(options);
  CHECK(broker.Multi({}).reason() == Reason::INVALID_ARGUMENT);
  CHECK(broker.Multi({To("a", "x"), To("b", "x"), To("a", "y")}).reason() ==
        Reason::INVALID_ARGUMENT);
  CHECK(broker.Multi({To("a", "x"), To("none", "x")}).reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker.Multi({To("a", "x"), To("b", "x", "p", 0)}).reason() == Reason::INVALID_ARGUMENT);
  CHECK(broker.Multi({To("a", "x"), To("b", std::string(1'001, 'x'))}).reason() ==
        Reason::MESSAGE_TOO_LARGE);
  AppendRequest recreated = To("b", "x");
  recreated.channel_number = 99;
  CHECK(broker.Multi({To("a", "x"), recreated}).reason() == Reason::CHANNEL_RECREATED);
  AppendRequest with_session = To("b", "x");
  with_session.session = broker->OpenProducer({.channel = "b"})->session;
  CHECK(broker.Multi({To("a", "x"), with_session}).reason() == Reason::INVALID_ARGUMENT);
  // Each is below the limit of a batch, 1,000 + 64 KiB.
  const std::vector<std::string> many(60, std::string(1'000, 'x'));
  const AppendRequest large_a{.channel = "a", .batch = BatchOf(many)};
  const AppendRequest large_b{.channel = "b", .batch = BatchOf(many)};
  CHECK(broker.Multi({large_a, large_b}).reason() == Reason::BATCH_TOO_LARGE);
  CHECK(broker.Empty());
  CHECK(broker.Multi({large_a}).ok());
  CHECK(broker->Stats().pending_bytes == 0);
}

TEST_CASE("its bytes are pending once, and back-pressure speaks of their sum") {
  broker::BrokerOptions options;
  options.max_pending_total = 100;
  Channels broker(options);
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("a", {"x"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  const std::string sixty(60, 'x');
  CHECK(broker.Multi({To("a", sixty), To("b", sixty)}).reason() == Reason::BACK_PRESSURE);
  CHECK(broker->Stats().pending_bytes == BatchOf({"x"}).size());
  broker.store().syncs.Open();
  REQUIRE(answers.Await(1)[0].ok());
  // Alone it is let in, as a batch that is larger than the bound is.
  CHECK(broker.Multi({To("a", sixty), To("b", sixty)}).ok());
  CHECK(broker->Stats().pending_bytes == 0);
}

TEST_CASE("sent again whole it is answered with its first results, also after a power cut") {
  Channels broker;
  const std::vector<AppendRequest> requests = {To("a", "x", "p", 1), To("b", "y", "p", 1)};
  REQUIRE(broker.Append("b", {"before"}).ok());
  REQUIRE(broker->AppendMulti(requests).ok());
  const auto check = [&](TestBroker& on) {
    const size_t groups = on.disk().groups();
    const auto again = on->AppendMulti(requests);
    REQUIRE(again.ok());
    CHECK((*again)[0].first_id == 1);
    CHECK((*again)[1].first_id == 2);
    CHECK(on.disk().groups() == groups);
    CHECK(on.NextId("b") == 3);
  };
  check(broker);
  TestBroker after = broker.AfterPowerCut();
  check(after);
}

TEST_CASE("sent again in part it is refused, and nothing of it is stored") {
  Channels broker;
  REQUIRE(broker.AppendAs("p", 0, 1, "x", "a").ok());
  const Status status = broker.Multi({To("a", "x", "p", 1), To("b", "y", "p", 1)});
  CHECK(status.reason() == Reason::INVALID_ARGUMENT);
  CHECK(status.message().find("channel 'a' was stored before") != std::string::npos);
  CHECK(broker.Multi({To("a", "x", "p", 1), To("b", "y")}).reason() == Reason::INVALID_ARGUMENT);
  CHECK(broker.NextId("b") == 1);
  CHECK(broker.NextId("a") == 2);
}

TEST_CASE("a channel that is deleted meanwhile keeps all of it out") {
  Channels broker;
  broker.store().writes.Close();
  Answers first;
  broker.AppendAsync("a", {"first"}, &first);
  broker.store().writes.AwaitWaiting(1);
  Status status;
  std::thread deleter([&] { (void)broker->DeleteChannel("b"); });
  std::thread sender;
  broker.store().writes.Open();
  deleter.join();
  sender = std::thread([&] { status = broker.Multi({To("a", "x"), To("b", "x")}); });
  sender.join();
  CHECK(status.reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker.Read("a") == Lines{"1 first"});
}

TEST_CASE("an asynchronous one is answered once, on another thread") {
  Channels broker;
  testing::Bell bell;
  std::vector<AppendResult> results;
  const auto ring = bell.Ringer();
  broker->AppendMultiAsync({To("a", "1"), To("b", "2")},
                           [&, ring](const Result<std::vector<AppendResult>>& answer) {
                             if (answer.ok()) results = *answer;
                             ring();
                           });
  REQUIRE(bell.Await(1));
  CHECK(results.size() == 2);
  bool refused = false;
  broker->AppendMultiAsync(
      {}, [&](const Result<std::vector<AppendResult>>& answer) { refused = !answer.ok(); });
  CHECK(refused);
}

}  // namespace
}  // namespace strata
