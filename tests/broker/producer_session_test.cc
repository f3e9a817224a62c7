// Sessions of producers: what ends them, what they refuse afterwards, and how they are listed.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "broker/producers.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::OpenedProducer;
using testing::Answers;
using testing::BatchOf;
using testing::Lines;
using testing::TestBroker;

OpenedProducer OpenAs(TestBroker& broker, const std::string& producer, int64_t term = 0) {
  Result<OpenedProducer> opened =
      broker->OpenProducer({.channel = "logs", .producer = producer, .term = term});
  REQUIRE(opened.ok());
  return *std::move(opened);
}

TEST_CASE("after the first refusal of a session nothing that it sent later is stored") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  for (const std::string producer : {"", "p"}) {
    const OpenedProducer opened = OpenAs(broker, producer);
    const MessageId next_id = broker.NextId("logs");
    const auto sequence = [&](uint64_t n) { return producer.empty() ? 0 : n; };
    Answers answers;
    broker.store().writes.Close();
    broker.AppendByAsync(opened, sequence(1), "a", &answers);
    broker.store().writes.AwaitWaiting(1);
    broker->AppendAsync({.channel = "",
                         .batch = BatchOf({"b"}),
                         .sequence = sequence(2),
                         .expected_next_id = 1'000,
                         .session = opened.session},
                        answers.Callback());
    // These would be in order by themselves.
    broker.AppendByAsync(opened, sequence(2), "c", &answers);
    broker.AppendByAsync(opened, sequence(3), "d", &answers);
    broker.store().writes.Open();
    const auto all = answers.Await(4);
    CHECK(all[0].ok());
    for (size_t i = 1; i < 4; ++i) {
      CHECK(all[i].status().reason() == Reason::ID_MISMATCH);
      CHECK(all[i].status().fate() == DataFate::kNotAppended);
      CHECK(all[i].status().message() == all[1].status().message());
    }
    CHECK(broker.AppendBy(opened, sequence(2), "e").status().reason() == Reason::ID_MISMATCH);
    CHECK(broker.NextId("logs") == next_id + 1);
    // Opened again it goes on.
    CHECK(broker.AppendBy(OpenAs(broker, producer), sequence(2), "f").ok());
  }
}

TEST_CASE(
    "what is refused before it is queued ends its session too, but not what is queued already") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const OpenedProducer opened = OpenAs(broker, "p");
  broker.store().writes.Close();
  Answers before;
  broker.AppendByAsync(opened, 1, "a", &before);
  broker.store().writes.AwaitWaiting(1);
  broker.AppendByAsync(opened, 2, "b", &before);
  Answers refused;
  broker->AppendAsync({.channel = "", .batch = Buffer(), .sequence = 3, .session = opened.session},
                      refused.Callback());
  broker.AppendByAsync(opened, 3, "c", &refused);
  broker.store().writes.Open();
  for (const auto& answer : before.Await(2)) CHECK(answer.ok());
  for (const auto& answer : refused.Await(2)) {
    CHECK(answer.status().reason() == Reason::INVALID_BATCH);
    CHECK(answer.status().fate() == DataFate::kNotAppended);
  }
  CHECK(broker.Read("logs") == Lines{"1 a", "2 b"});
}

TEST_CASE("back-pressure does not end a session: the batch comes again") {
  broker::BrokerOptions options;
  options.max_pending_total = 10;
  TestBroker broker(options);
  REQUIRE(broker.Create("logs"));
  const OpenedProducer opened = OpenAs(broker, "p");
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendByAsync(opened, 1, "0123456789", &answers);
  broker.store().syncs.AwaitWaiting(1);
  CHECK(broker.AppendBy(opened, 2, "b").status().reason() == Reason::BACK_PRESSURE);
  broker.store().syncs.Open();
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(broker.AppendBy(opened, 2, "b").ok());
}

TEST_CASE("a closed producer appends no more; closing twice, or a fenced one, is fine") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const OpenedProducer opened = OpenAs(broker, "p");
  REQUIRE(broker.AppendBy(opened, 1, "a").ok());
  CHECK(broker->CloseProducer(opened.session).ok());
  CHECK(broker->CloseProducer(opened.session).ok());
  CHECK(broker.AppendBy(opened, 2, "b").status().reason() == Reason::CLIENT_CLOSED);
  const OpenedProducer older = OpenAs(broker, "p");
  CHECK(older.last_sequence == 1);
  const OpenedProducer newer = OpenAs(broker, "p");
  CHECK(broker->CloseProducer(older.session).ok());
  CHECK(broker.AppendBy(newer, 2, "b").ok());
  const OpenedProducer plain = OpenAs(broker, "");
  CHECK(broker->CloseProducer(plain.session).ok());
  CHECK(broker.AppendBy(plain, 0, "c").status().reason() == Reason::CLIENT_CLOSED);
}

TEST_CASE("a deleted channel takes its producers along") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const OpenedProducer opened = OpenAs(broker, "p");
  REQUIRE(broker.AppendBy(opened, 1, "a").ok());
  REQUIRE(broker->DeleteChannel("logs").ok());
  CHECK(broker.disk().Recover().producers.empty());
  CHECK(broker.AppendBy(opened, 2, "b").status().reason() == Reason::CHANNEL_DELETED);
  REQUIRE(broker.Create("logs"));
  CHECK(broker.AppendBy(opened, 2, "b").status().reason() == Reason::CHANNEL_DELETED);
  CHECK(broker->CloseProducer(opened.session).ok());
  CHECK(OpenAs(broker, "p").last_sequence == 0);
  CHECK(broker->OpenProducer({.channel = "logs", .channel_number = opened.channel_number})
            .status()
            .reason() == Reason::CHANNEL_RECREATED);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("producers are listed by channel and name, with what they stored and who is open") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Create("audit"));
  CHECK(broker->ListProducers("")->empty());
  CHECK(broker->ListProducers("none").status().reason() == Reason::CHANNEL_NOT_FOUND);
  OpenedProducer opened = OpenAs(broker, "q", 4);
  REQUIRE(broker.AppendAs("p", 0, 1, "a").ok());
  REQUIRE(broker.AppendAs("p", 0, 1, "a", "audit").ok());
  broker.clock().Advance(std::chrono::seconds(1));
  REQUIRE(broker.AppendBy(opened, 1, "b").ok());
  const auto all = broker->ListProducers("");
  REQUIRE(all->size() == 3);
  CHECK(((*all)[0].channel == "audit" && (*all)[1].channel == "logs"));
  CHECK(((*all)[1].name == "p" && (*all)[2].name == "q"));
  const auto logs = broker->ListProducers("logs");
  REQUIRE(logs->size() == 2);
  const ProducerInfo q = (*logs)[1];
  CHECK(q.term == 4);
  CHECK(q.last_sequence == 1);
  CHECK(q.open);
  CHECK(q.active_at == q.created_at + 1'000'000);
  CHECK_FALSE((*logs)[0].open);
  opened.session.reset();
  CHECK_FALSE((*broker->ListProducers("logs"))[1].open);
}

TEST_CASE("a list waits for the sync of what it shows") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker->AppendAsync({.channel = "logs", .batch = BatchOf({"a"}), .producer = "p", .sequence = 1},
                      answers.Callback());
  broker.store().syncs.AwaitWaiting(1);
  const int synced = broker.store().syncs.passed();
  size_t listed = 0;
  int synced_when_listed = 0;
  std::atomic<bool> asked{false};
  std::thread lister([&] {
    asked.store(true);
    listed = broker->ListProducers("logs")->size();
    synced_when_listed = broker.store().syncs.passed();
  });
  REQUIRE(testing::Eventually([&] { return asked.load(); }));
  broker.AppendAsync("logs", {"b"}, &answers);
  REQUIRE(testing::Eventually([&] { return broker.disk().groups() == 3; }));
  broker.store().syncs.Open();
  lister.join();
  CHECK(listed == 1);
  CHECK(synced_when_listed > synced);
}

}  // namespace
}  // namespace strata
