// Shared producers and their terms: who is fenced by whom, when it is told, and what a power cut
// leaves of it.
#include <string>

#include "broker/producers.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::OpenedProducer;
using broker::ProducerOpen;
using testing::Answers;
using testing::BatchOf;
using testing::Eventually;
using testing::Lines;
using testing::TestBroker;

Result<OpenedProducer> Open(TestBroker& broker, int64_t term, uint64_t instance = 0,
                            uint64_t attempt = 0) {
  return broker->OpenProducer(
      {.channel = "logs", .producer = "p", .term = term, .instance = instance, .attempt = attempt});
}

Reason ReasonOf(const Result<AppendResult>& result) { return result.status().reason(); }

TEST_CASE("a higher term fences the instances with lower ones, for good") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto one = Open(broker, 1);
  REQUIRE(broker.AppendBy(*one, 1, "a").ok());
  const auto two = Open(broker, 2);
  REQUIRE(two.ok());
  CHECK(two->last_sequence == 1);
  const Status fenced = broker.AppendBy(*one, 2, "b").status();
  CHECK(fenced.reason() == Reason::FENCED);
  CHECK(fenced.fate() == DataFate::kNotAppended);
  CHECK(fenced.message() ==
        "producer 'p' of channel 'logs' has term 1: a newer instance has term 2");
  CHECK(Open(broker, 1).status().reason() == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendAs("p", 1, 2, "b")) == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendAs("p", 0, 1, "a")) == Reason::FENCED);
  CHECK(broker.AppendBy(*two, 2, "c").ok());
  REQUIRE(broker->CloseProducer(two->session).ok());
  CHECK(Open(broker, 1).status().reason() == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendBy(*one, 3, "d")) == Reason::FENCED);

  TestBroker after = broker.AfterPowerCut();
  CHECK(Open(after, 1).status().reason() == Reason::FENCED);
  CHECK(ReasonOf(after.AppendAs("p", 1, 3, "d")) == Reason::FENCED);
  CHECK(Open(after, 2)->last_sequence == 2);
  CHECK(after.Read("logs") == Lines{"1 a", "2 c"});
}

TEST_CASE("a term that is opened is durable before the answer, and its row is written once") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const size_t groups = broker.disk().durable_groups();
  REQUIRE(Open(broker, 5).ok());
  CHECK(broker.disk().durable_groups() == groups + 1);
  REQUIRE(Open(broker, 5).ok());
  CHECK(broker.disk().groups() == groups + 1);
  const auto producers = broker.disk().Recover().producers;
  REQUIRE(producers.size() == 1);
  CHECK(producers[0].record.term == 5);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("a refusal by a term that is not durable yet waits for its sync") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto one = Open(broker, 1);
  broker.store().syncs.Close();
  Answers second;
  broker->AppendAsync(
      {.channel = "logs", .batch = BatchOf({"b"}), .producer = "p", .term = 2, .sequence = 1},
      second.Callback());
  broker.store().syncs.AwaitWaiting(1);
  Answers first;
  broker.AppendByAsync(*one, 1, "a", &first);
  broker.AppendAsync("logs", {"plain"}, &second);
  REQUIRE(Eventually([&] { return broker.disk().groups() == 4; }));
  CHECK(first.count() == 0);
  broker.store().syncs.Open();
  CHECK(ReasonOf(first.Await(1)[0]) == Reason::FENCED);
  CHECK(second.Await(2)[0].ok());
}

TEST_CASE("an equal term takes over: the session that was opened before is fenced") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  for (const int64_t term : {0, 7}) {
    const auto older = Open(broker, term);
    const uint64_t next = older->last_sequence + 1;
    REQUIRE(broker.AppendBy(*older, next, "a").ok());
    const auto newer = Open(broker, term);
    REQUIRE(newer.ok());
    const Status fenced = broker.AppendBy(*older, next + 1, "b").status();
    CHECK(fenced.reason() == Reason::FENCED);
    CHECK(fenced.message().find("opened again with the same term") != std::string::npos);
    CHECK(broker.AppendBy(*newer, next + 1, "c").ok());
    // Even what it had stored before: the newer one answers for the name now.
    CHECK(ReasonOf(broker.AppendBy(*older, next, "a")) == Reason::FENCED);
  }
}

TEST_CASE("what an older session has in flight is stored before the newer one opens, or never") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto older = Open(broker, 1);
  broker.store().writes.Close();
  Answers answers;
  broker.AppendByAsync(*older, 1, "a", &answers);
  broker.store().writes.AwaitWaiting(1);
  broker.AppendByAsync(*older, 2, "b", &answers);
  std::thread opener;
  uint64_t last_sequence = 0;
  opener = std::thread([&] { last_sequence = Open(broker, 1)->last_sequence; });
  broker.store().writes.Open();
  opener.join();
  for (uint64_t i = 3; i < 6; ++i) broker.AppendByAsync(*older, i, "late", &answers);
  const auto all = answers.Await(5);
  for (size_t i = 2; i < 5; ++i) CHECK(ReasonOf(all[i]) == Reason::FENCED);
  CHECK(broker.NextId("logs") == static_cast<MessageId>(last_sequence) + 1);
}

TEST_CASE("a name without a term may be used by appends that have none, next to its session") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto opened = Open(broker, 3);
  REQUIRE(broker.AppendBy(*opened, 1, "a").ok());
  REQUIRE(broker.AppendAs("p", 3, 2, "b").ok());
  CHECK(broker.AppendAs("p", 3, 1, "a")->first_id == 1);
  CHECK(broker.AppendBy(*opened, 3, "c").ok());
}

TEST_CASE("an append with a higher term raises it, whether it is stored now or was before") {
  for (const bool duplicate : {false, true}) {
    TestBroker broker;
    REQUIRE(broker.Create("logs"));
    const auto one = Open(broker, 1);
    REQUIRE(broker.AppendBy(*one, 1, "a").ok());
    const auto raised =
        duplicate ? broker.AppendAs("p", 2, 1, "a") : broker.AppendAs("p", 2, 2, "b");
    REQUIRE(raised.ok());
    CHECK(raised->first_id == (duplicate ? 1 : 2));
    CHECK(ReasonOf(broker.AppendBy(*one, 2, "b")) == Reason::FENCED);
    TestBroker after = broker.AfterPowerCut();
    CHECK(Open(after, 1).status().reason() == Reason::FENCED);
    CHECK(broker.disk().breaches() == Lines{});
  }
}

TEST_CASE("an append that is refused raises nothing") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto one = Open(broker, 1);
  CHECK(ReasonOf(broker.AppendAs("p", 2, 9, "x")) == Reason::OUT_OF_SEQUENCE);
  CHECK(broker.AppendBy(*one, 1, "a").ok());
}

TEST_CASE("an opening that a newer one of the same program has overtaken is refused") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto second = Open(broker, 0, 77, 2);
  REQUIRE(second.ok());
  const Status late = Open(broker, 0, 77, 1).status();
  CHECK(late.reason() == Reason::FENCED);
  CHECK(late.message().find("came late") != std::string::npos);
  CHECK(broker.AppendBy(*second, 1, "a").ok());
  // Another program takes over, and the first one's late request is late still.
  const auto other = Open(broker, 0, 78, 1);
  REQUIRE(other.ok());
  CHECK(ReasonOf(broker.AppendBy(*second, 2, "b")) == Reason::FENCED);
  CHECK(Open(broker, 0, 77, 1).status().reason() == Reason::FENCED);
  CHECK(broker.AppendBy(*other, 2, "b").ok());
  CHECK(Open(broker, 0, 77, 3).ok());
  // Without an instance every opening is a new one.
  CHECK(Open(broker, 0, 0, 1).ok());
  CHECK(Open(broker, 0, 0, 0).ok());
}

TEST_CASE("names of one channel do not fence each other, whatever their terms") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto one = Open(broker, 1);
  REQUIRE(broker.AppendAs("q", 9, 1, "q").ok());
  CHECK(broker.AppendBy(*one, 1, "p").ok());
  CHECK(broker.Append("logs", {"plain"}).ok());
}

TEST_CASE("a producer that is forgotten when closed starts over under its name") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  ProducerOpen open{.channel = "logs", .producer = "p", .term = 3, .forget_when_closed = true};
  const auto opened = broker->OpenProducer(open);
  REQUIRE(broker.AppendBy(*opened, 1, "a").ok());
  REQUIRE(broker->CloseProducer(opened->session).ok());
  CHECK(broker.disk().Recover().producers.empty());
  CHECK(broker->ListProducers("logs")->empty());
  CHECK(Open(broker, 1)->last_sequence == 0);
  CHECK(broker.AppendAs("p", 1, 1, "a")->first_id == 2);

  // Unless another session has taken over.
  open.term = 4;
  const auto older = broker->OpenProducer(open);
  const auto newer = Open(broker, 4);
  REQUIRE(broker->CloseProducer(older->session).ok());
  CHECK(broker->ListProducers("logs")->size() == 1);
  CHECK(broker.AppendBy(*newer, 2, "b").ok());
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("a session of a name that was forgotten is fenced, not started over") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto older = Open(broker, 3);
  REQUIRE(broker.AppendBy(*older, 1, "a").ok());
  const auto newer = broker->OpenProducer(
      {.channel = "logs", .producer = "p", .term = 3, .forget_when_closed = true});
  REQUIRE(broker->CloseProducer(newer->session).ok());
  CHECK(ReasonOf(broker.AppendBy(*older, 2, "b")) == Reason::FENCED);
  REQUIRE(broker.AppendAs("p", 0, 1, "c").ok());
  CHECK(ReasonOf(broker.AppendBy(*older, 2, "b")) == Reason::FENCED);
}

TEST_CASE("a producer on a store that failed gets STORE_FAILED") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto opened = Open(broker, 1);
  broker.disk().FailNextWrite();
  const Status failed = broker.AppendBy(*opened, 1, "a").status();
  CHECK(failed.reason() == Reason::STORE_FAILED);
  CHECK(failed.fate() == DataFate::kMayHaveBeenAppended);
  CHECK(broker.AppendBy(*opened, 2, "b").status().fate() == DataFate::kNotAppended);
  CHECK(Open(broker, 2).status().reason() == Reason::STORE_FAILED);
  CHECK(broker->ListProducers("logs").status().reason() == Reason::STORE_FAILED);
  CHECK(broker.disk().breaches() == Lines{});
}

}  // namespace
}  // namespace strata
