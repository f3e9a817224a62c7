// Exclusive producers: the channel's only writer, and the term that outlives it.
#include <string>

#include "broker/producers.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::OpenedProducer;
using testing::Answers;
using testing::BatchOf;
using testing::Eventually;
using testing::Lines;
using testing::TestBroker;

Result<OpenedProducer> Open(TestBroker& broker, const std::string& producer, int64_t term,
                            bool exclusive) {
  return broker->OpenProducer(
      {.channel = "logs", .producer = producer, .term = term, .exclusive = exclusive});
}
Result<OpenedProducer> Hold(TestBroker& broker, const std::string& producer, int64_t term) {
  return Open(broker, producer, term, /*exclusive=*/true);
}
Result<OpenedProducer> Share(TestBroker& broker, const std::string& producer, int64_t term) {
  return Open(broker, producer, term, /*exclusive=*/false);
}

template <typename T>
Reason ReasonOf(const Result<T>& result) {
  return result.status().reason();
}

TEST_CASE("while a producer holds the channel nobody else appends, whatever its term") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto plain = Share(broker, "", 0);
  const auto shared = Share(broker, "shared", 100);
  REQUIRE(broker.AppendBy(*shared, 1, "s").ok());
  const auto holder = Hold(broker, "h", 5);
  REQUIRE(holder.ok());
  CHECK(holder->next_id == 2);
  const ChannelInfo info = *broker->DescribeChannel("logs");
  CHECK(info.exclusive_term == 5);
  CHECK(info.exclusive_holder == "h");

  const Status status = broker.Append("logs", {"x"}).status();
  CHECK(status.reason() == Reason::FENCED);
  CHECK(status.message().find("'h' holds the channel with term 5") != std::string::npos);
  CHECK(ReasonOf(broker.AppendBy(*plain, 0, "x")) == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendBy(*shared, 2, "x")) == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendAs("shared", 200, 2, "x")) == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendAs("h", 4, 1, "x")) == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendAs("h", 6, 1, "x")) == Reason::FENCED);
  CHECK(ReasonOf(Share(broker, "other", 9)) == Reason::FENCED);
  CHECK(ReasonOf(Share(broker, "", 0)) == Reason::FENCED);
  CHECK(ReasonOf(Share(broker, "h", 6)) == Reason::FENCED);
  CHECK(broker.AppendBy(*holder, 1, "a").ok());
  CHECK(broker.AppendAs("h", 5, 2, "b").ok());
  CHECK(broker.AppendAs("h", 5, 1, "a")->first_id == 2);
  CHECK(broker.Read("logs") == Lines{"1 s", "2 a", "3 b"});
}

TEST_CASE("closing the holder releases the channel; lower terms stay fenced for good") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto low = Share(broker, "low", 4);
  REQUIRE(broker.AppendBy(*low, 1, "l").ok());
  const auto none = Share(broker, "none", 0);
  REQUIRE(broker.AppendBy(*none, 1, "n").ok());
  const auto holder = Hold(broker, "h", 5);
  REQUIRE(broker.AppendBy(*holder, 1, "a").ok());
  REQUIRE(broker->CloseProducer(holder->session).ok());
  const auto check = [](TestBroker& on) {
    const ChannelInfo info = *on->DescribeChannel("logs");
    CHECK(info.exclusive_term == 5);
    CHECK(info.exclusive_holder.empty());
    CHECK(ReasonOf(on.AppendAs("low", 4, 2, "x")) == Reason::FENCED);
    CHECK(ReasonOf(on.AppendAs("none", 0, 2, "x")) == Reason::FENCED);
    CHECK(ReasonOf(on.AppendAs("new", 0, 1, "x")) == Reason::FENCED);
    CHECK(ReasonOf(Share(on, "another", 4)) == Reason::FENCED);
    CHECK(ReasonOf(Hold(on, "another", 4)) == Reason::FENCED);
    CHECK(on.Append("logs", {"plain"}).ok());
    CHECK(on.AppendAs("fine", 5, 1, "fine").ok());
  };
  check(broker);
  CHECK(ReasonOf(broker.AppendBy(*low, 2, "x")) == Reason::FENCED);
  CHECK(ReasonOf(broker.AppendBy(*none, 2, "x")) == Reason::FENCED);
  broker.disk().Recover();
  TestBroker after(broker::BrokerOptions(), broker.disk().Reopen());
  REQUIRE(after->DescribeChannel("logs")->exclusive_term == 5);
  CHECK(ReasonOf(after.AppendAs("low", 4, 2, "x")) == Reason::FENCED);
  CHECK(after.Append("logs", {"plain"}).ok());
}

TEST_CASE("a channel that is released may be held by another name with the same term") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto holder = Hold(broker, "h", 5);
  CHECK(ReasonOf(Hold(broker, "g", 5)) == Reason::FENCED);
  REQUIRE(broker->CloseProducer(holder->session).ok());
  const auto next = Hold(broker, "g", 5);
  REQUIRE(next.ok());
  CHECK(broker.AppendBy(*next, 1, "a").ok());
  CHECK(ReasonOf(Hold(broker, "h", 5)) == Reason::FENCED);
}

TEST_CASE("a holder that is only dropped holds on, also across a power cut") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  auto holder = Hold(broker, "h", 5);
  REQUIRE(broker.AppendBy(*holder, 1, "a").ok());
  holder->session.reset();
  CHECK(ReasonOf(broker.Append("logs", {"x"})) == Reason::FENCED);
  TestBroker after = broker.AfterPowerCut();
  CHECK(after->DescribeChannel("logs")->exclusive_holder == "h");
  CHECK(ReasonOf(after.Append("logs", {"x"})) == Reason::FENCED);
  CHECK(ReasonOf(Hold(after, "g", 5)) == Reason::FENCED);
  const auto again = Hold(after, "h", 5);
  REQUIRE(again.ok());
  CHECK(again->last_sequence == 1);
  CHECK(after.AppendBy(*again, 2, "b").ok());
}

TEST_CASE("a higher term takes a held channel over, and the old holder's close changes nothing") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto one = Hold(broker, "h", 1);
  REQUIRE(broker.AppendBy(*one, 1, "a").ok());
  for (const std::string name : {"h", "g"}) {
    const int64_t term = name == "h" ? 2 : 3;
    const auto next = Hold(broker, name, term);
    REQUIRE(next.ok());
    const Status fenced = broker.AppendBy(*one, 2, "x").status();
    CHECK(fenced.reason() == Reason::FENCED);
    REQUIRE(broker->CloseProducer(one->session).ok());
    CHECK(broker->DescribeChannel("logs")->exclusive_holder == name);
    CHECK(broker.AppendBy(*next, next->last_sequence + 1, name).ok());
  }
  CHECK(broker.Read("logs") == Lines{"1 a", "2 h", "3 g"});
}

TEST_CASE("opening exclusively again with the same term fences the session before") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto older = Hold(broker, "h", 5);
  const size_t groups = broker.disk().groups();
  const auto newer = Hold(broker, "h", 5);
  REQUIRE(newer.ok());
  CHECK(broker.disk().groups() == groups);
  CHECK(ReasonOf(broker.AppendBy(*older, 1, "x")) == Reason::FENCED);
  REQUIRE(broker->CloseProducer(older->session).ok());
  CHECK(broker->DescribeChannel("logs")->exclusive_holder == "h");
  CHECK(broker.AppendBy(*newer, 1, "a").ok());
}

TEST_CASE("a name that had a higher term does not hold the channel with a lower one") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(Share(broker, "h", 9).ok());
  CHECK(ReasonOf(Hold(broker, "h", 5)) == Reason::FENCED);
  CHECK(broker->DescribeChannel("logs")->exclusive_term == 0);
  CHECK(broker.Append("logs", {"plain"}).ok());
}

TEST_CASE("holding and releasing are durable before the answer, and shown only then") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Result<OpenedProducer> holder = Status(Reason::INTERNAL, "not opened");
  std::thread opener([&] { holder = Hold(broker, "h", 5); });
  broker.store().syncs.AwaitWaiting(1);
  CHECK(broker.disk().Recover().channels[0].record.exclusive_holder == "h");
  CHECK(broker->DescribeChannel("logs")->exclusive_holder.empty());
  broker.store().syncs.Open();
  opener.join();
  REQUIRE(holder.ok());
  CHECK(broker->DescribeChannel("logs")->exclusive_holder == "h");

  broker.store().syncs.Close();
  std::thread closer([&] { (void)broker->CloseProducer(holder->session); });
  broker.store().syncs.AwaitWaiting(1);
  CHECK(broker->DescribeChannel("logs")->exclusive_holder == "h");
  TestBroker after = broker.AfterPowerCut();
  CHECK(ReasonOf(after.Append("logs", {"x"})) == Reason::FENCED);
  broker.store().syncs.Open();
  closer.join();
  CHECK(broker->DescribeChannel("logs")->exclusive_holder.empty());
  CHECK(broker.Append("logs", {"plain"}).ok());
}

TEST_CASE("a refusal by a holder that is not durable yet waits for its sync") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  std::thread opener([&] { (void)Hold(broker, "h", 5); });
  broker.store().syncs.AwaitWaiting(1);
  Answers fenced;
  Answers other;
  broker.AppendAsync("logs", {"x"}, &fenced);
  REQUIRE(broker.disk().groups() == 2);
  broker->AppendAsync(
      {.channel = "logs", .batch = BatchOf({"a"}), .producer = "h", .term = 5, .sequence = 1},
      other.Callback());
  REQUIRE(Eventually([&] { return broker.disk().groups() == 3; }));
  CHECK(fenced.count() == 0);
  broker.store().syncs.Open();
  opener.join();
  CHECK(ReasonOf(fenced.Await(1)[0]) == Reason::FENCED);
  CHECK(other.Await(1)[0].ok());
}

TEST_CASE("an exclusive producer that is forgotten when closed leaves its term behind") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto holder = broker->OpenProducer({.channel = "logs",
                                            .producer = "h",
                                            .term = 5,
                                            .exclusive = true,
                                            .forget_when_closed = true});
  REQUIRE(broker.AppendBy(*holder, 1, "a").ok());
  REQUIRE(broker->CloseProducer(holder->session).ok());
  CHECK(broker->ListProducers("logs")->empty());
  CHECK(ReasonOf(broker.AppendAs("h", 4, 1, "x")) == Reason::FENCED);
  TestBroker after = broker.AfterPowerCut();
  CHECK(ReasonOf(Share(after, "h", 4)) == Reason::FENCED);
  CHECK(after.Append("logs", {"plain"}).ok());
}

}  // namespace
}  // namespace strata
