// Producers that nobody uses are forgotten, and who still may come back is not.
#include <chrono>

#include "broker/producers.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::OpenedProducer;
using testing::Eventually;
using testing::Lines;
using testing::TestBroker;

constexpr std::chrono::hours kDay{24};

broker::BrokerOptions Expiry(Clock::Duration expiry) {
  broker::BrokerOptions options;
  options.producer_expiry = expiry;
  return options;
}

// Moves the clock on, and waits until the maintenance thread has done its work and waits again.
void Pass(TestBroker& broker, Clock::Duration time) {
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  broker.clock().Advance(time);
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
}

std::vector<std::string> Names(TestBroker& broker) {
  std::vector<std::string> names;
  const auto infos = broker->ListProducers("");
  for (const ProducerInfo& info : *infos) names.push_back(info.name);
  return names;
}

TEST_CASE("a producer that was idle for the time is forgotten with its rows, and may start over") {
  TestBroker broker(Expiry(7 * kDay));
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.AppendAs("idle", 3, 1, "a").ok());
  REQUIRE(broker.AppendAs("used", 3, 1, "b").ok());
  for (int day = 1; day <= 6; ++day) Pass(broker, kDay);
  REQUIRE(broker.AppendAs("used", 3, 2, "c").ok());
  CHECK(Names(broker) == Lines{"idle", "used"});
  Pass(broker, kDay + std::chrono::hours(1));
  REQUIRE(Eventually([&] { return Names(broker) == Lines{"used"}; }));
  CHECK(broker.disk().Recover().producers.size() == 1);
  CHECK(broker.AppendAs("idle", 0, 1, "d")->first_id == 4);
  CHECK(broker.AppendAs("used", 3, 2, "c")->first_id == 3);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("who is open is not forgotten, nor at once when it is dropped") {
  TestBroker broker(Expiry(7 * kDay));
  REQUIRE(broker.Create("logs"));
  auto opened = broker->OpenProducer({.channel = "logs", .producer = "p", .term = 1});
  REQUIRE(broker.AppendBy(*opened, 1, "a").ok());
  for (int day = 1; day <= 20; ++day) Pass(broker, kDay);
  CHECK(Names(broker) == Lines{"p"});
  opened->session.reset();
  Pass(broker, 2 * kDay);
  CHECK(Names(broker) == Lines{"p"});
  for (int day = 1; day <= 6; ++day) Pass(broker, kDay);
  CHECK(Eventually([&] { return Names(broker).empty(); }));
}

TEST_CASE("the exclusive holder is not forgotten, and its term never is") {
  TestBroker broker(Expiry(7 * kDay));
  REQUIRE(broker.Create("logs"));
  auto opened =
      broker->OpenProducer({.channel = "logs", .producer = "p", .term = 5, .exclusive = true});
  opened->session.reset();
  for (int day = 1; day <= 20; ++day) Pass(broker, kDay);
  CHECK(Names(broker) == Lines{"p"});
  opened = broker->OpenProducer({.channel = "logs", .producer = "p", .term = 5, .exclusive = true});
  REQUIRE(broker->CloseProducer(opened->session).ok());
  for (int day = 1; day <= 9; ++day) Pass(broker, kDay);
  REQUIRE(Eventually([&] { return Names(broker).empty(); }));
  CHECK(broker.AppendAs("p", 4, 1, "x").status().reason() == Reason::FENCED);
}

TEST_CASE("after a restart there is time to come back before anybody is forgotten") {
  TestBroker broker(Expiry(7 * kDay));
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.AppendAs("p", 0, 1, "a").ok());
  TestBroker after = broker.AfterPowerCut(0, Expiry(7 * kDay));
  after.clock().Advance(std::chrono::minutes(30));
  after.clock().SetWall(after.clock().WallMicros() + Clock::Duration(30 * kDay).count());
  Pass(after, std::chrono::minutes(20));
  CHECK(Names(after) == Lines{"p"});
  const auto opened = after->OpenProducer({.channel = "logs", .producer = "p"});
  CHECK(opened->last_sequence == 1);
  Pass(after, std::chrono::hours(2));
  CHECK(Names(after) == Lines{"p"});
}

TEST_CASE("with 0 nobody is forgotten") {
  TestBroker broker(Expiry(Clock::Duration(0)));
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.AppendAs("p", 0, 1, "a").ok());
  for (int i = 0; i < 10; ++i) Pass(broker, 365 * kDay);
  CHECK(Names(broker) == Lines{"p"});
}

TEST_CASE("a name that was opened and dropped before its first batch leaves nothing behind") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  auto opened = broker->OpenProducer({.channel = "logs", .producer = "p"});
  CHECK(Names(broker) == Lines{"p"});
  opened->session.reset();
  CHECK(Names(broker) == Lines{});
  Pass(broker, std::chrono::hours(2));
  CHECK(broker.AppendAs("p", 0, 1, "a").ok());
  CHECK(broker.disk().breaches() == Lines{});
}

}  // namespace
}  // namespace strata
