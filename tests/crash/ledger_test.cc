// A check that cannot fail checks nothing: logs that break each promise, and one that keeps them.
#include "tests/crash/ledger.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/tools/fake_client.h"

namespace strata::crash {
namespace {

using tools::FakeClient;

// A channel "one" with messages 0 and 1 of producer 1, then 0 of producer 2.
struct Fixture {
  Fixture() {
    accounts = {{"one", 1, {{1, DataFate::kAppended}, {2, DataFate::kAppended}}, Status()},
                {"one", 2, {{3, DataFate::kAppended}}, Status()}};
    Store({{1, 0}, {1, 1}, {2, 0}});
  }
  void Store(const std::vector<Stamp>& stamps) {
    client.channels.clear();
    for (const Stamp stamp : stamps) client.Put("one", {{PayloadOf(stamp), {}}});
  }
  std::string Check() { return Ledger("one").AddRound(client, accounts); }

  FakeClient client;
  std::vector<Account> accounts;
};

bool Says(const std::string& problem, const std::string& part) {
  INFO(problem);
  return problem.find(part) != std::string::npos;
}

TEST_CASE("A log with all that was acknowledged, in order, has no problem") {
  Fixture f;
  CHECK(f.Check() == "");
}

TEST_CASE("What may have been appended may be there or not") {
  Fixture f;
  f.accounts[1].entries[0] = {0, DataFate::kMayHaveBeenAppended};
  CHECK(f.Check() == "");
  f.Store({{1, 0}, {1, 1}});
  CHECK(f.Check() == "");
}

TEST_CASE("A lost message that was acknowledged is found") {
  Fixture f;
  f.Store({{1, 0}, {1, 1}});
  CHECK(Says(f.Check(), "message 0 of producer 2 was acknowledged and is lost"));
}

TEST_CASE("A hole in what one producer sent is found") {
  Fixture f;
  f.Store({{1, 1}, {2, 0}});
  CHECK(Says(f.Check(), "id 1 is message 1 of producer 1, whose message 0 is next"));
}

TEST_CASE("Two messages that changed places are found") {
  Fixture f;
  f.Store({{1, 1}, {1, 0}, {2, 0}});
  CHECK(Says(f.Check(), "whose message 0 is next"));
}

TEST_CASE("A duplicate is found") {
  Fixture f;
  f.Store({{1, 0}, {1, 0}, {1, 1}, {2, 0}});
  CHECK(Says(f.Check(), "id 2 is message 0 of producer 1, whose message 1 is next"));
}

TEST_CASE("An id other than the one that was told is found") {
  Fixture f;
  f.accounts[1].entries[0].id = 2;
  CHECK(Says(f.Check(), "has another id"));
}

TEST_CASE("A message that is there in spite of a promise that it is not is found") {
  Fixture f;
  f.accounts[1].entries[0] = {0, DataFate::kNotAppended};
  CHECK(Says(f.Check(), "is there in spite of its error"));
}

TEST_CASE("Payloads that nobody sent are found") {
  Fixture f;
  f.client.channels["one"].messages[1].payload += 'x';
  CHECK(Says(f.Check(), "that nobody sent"));
  f.Store({{1, 0}, {1, 1}, {3, 0}});
  CHECK(Says(f.Check(), "of producer 3, who does not write now"));
}

TEST_CASE("A gap is found") {
  Fixture f;
  f.client.channels["one"].gaps = {{2, 2, GapReason::kCorrupt}};
  f.client.messages_per_batch = 1;
  CHECK(Says(f.Check(), "a gap: ids 2..2"));
}

TEST_CASE("What an earlier round had must stay as it was") {
  Fixture f;
  Ledger ledger("one");
  REQUIRE(ledger.AddRound(f.client, f.accounts) == "");
  CHECK(ledger.CheckWhole(f.client) == "");
  CHECK(ledger.CheckReceived({{1, {1, 0}}, {3, {2, 0}}}) == "");
  CHECK(Says(ledger.CheckReceived({{4, {1, 0}}}), "id 4 was delivered and is lost"));
  CHECK(Says(ledger.CheckReceived({{1, {2, 0}}}), "id 1 was delivered as another message"));
  f.Store({{1, 0}, {2, 0}, {1, 1}});
  CHECK(Says(ledger.CheckWhole(f.client), "their order changed"));
}

}  // namespace
}  // namespace strata::crash
