#include <signal.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/tools/command_fixture.h"
#include "tools/consume_command.h"

namespace strata::tools {
namespace {

constexpr MessageStyle kRaw = MessageStyle::kRaw;

std::vector<Message> Numbered(int first, int last) {
  std::vector<Message> messages;
  for (int i = first; i <= last; ++i) messages.push_back({std::to_string(i), {}});
  return messages;
}

TEST_CASE("Without --follow everything up to the present end is printed") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 7));
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .style = kRaw}) == 0);
  CHECK(f.out.text() == "1\n2\n3\n4\n5\n6\n7\n");
  CHECK(f.err.text().empty());
}

TEST_CASE("An empty channel and a start at its end print nothing") {
  CommandFixture f;
  f.client.Put("logs", {});
  CHECK(*Consume(f.client, f.io, {.channel = "logs"}) == 0);
  f.client.Put("logs", Numbered(1, 3));
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .from = StartPosition::Latest()}) == 0);
  CHECK(f.out.text().empty());
}

TEST_CASE("It begins where it is told") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 5));
  CHECK(*Consume(f.client, f.io,
                 {.channel = "logs", .from = StartPosition::After(3), .style = kRaw}) == 0);
  CHECK(f.out.text() == "4\n5\n");
}

TEST_CASE("The option --max ends it in the middle of a batch") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 9));
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .max = 4, .style = kRaw}) == 0);
  CHECK(f.out.text() == "1\n2\n3\n4\n");
}

TEST_CASE("A channel that is not there is an error") {
  CommandFixture f;
  const auto result = Consume(f.client, f.io, {.channel = "nope"});
  CHECK(result.status().reason() == Reason::CHANNEL_NOT_FOUND);
}

TEST_CASE("With --follow it goes on with what comes and a signal is its normal end") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 2));
  int waits = 0;
  std::string before;
  f.client.on_wait = [&] {
    if (++waits == 1) {
      before = f.out.text();
      f.client.Put("logs", Numbered(3, 4));
    } else {
      f.stop.Request(SIGINT);
    }
  };
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .follow = true, .style = kRaw}) == 0);
  CHECK(before == "1\n2\n");  // nothing is held back while it waits
  CHECK(f.out.text() == "1\n2\n3\n4\n");
}

TEST_CASE("A signal before the end without --follow is told in the exit code") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 2));
  f.stop.Request(SIGTERM);
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .style = kRaw}) == 143);
}

TEST_CASE("What was printed is acknowledged at the end") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 5));
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .subscription = "s", .style = kRaw}) == 0);
  CHECK(f.out.text() == "1\n2\n3\n4\n5\n");
  CHECK(f.client.acknowledged == std::vector<MessageId>{5});
}

TEST_CASE("The option --max acknowledges no more than it printed") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 5));
  CHECK(*Consume(f.client, f.io,
                 {.channel = "logs", .subscription = "s", .max = 2, .style = kRaw}) == 0);
  CHECK(f.client.acknowledged == std::vector<MessageId>{2});
}

TEST_CASE("Nothing is acknowledged where nothing was printed") {
  CommandFixture f;
  f.client.Put("logs", {});
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .subscription = "s"}) == 0);
  CHECK(f.client.acknowledged.empty());
}

TEST_CASE("While it waits what was printed is acknowledged once") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 2));
  int waits = 0;
  f.client.on_wait = [&] {
    if (++waits == 3) f.stop.Request(SIGINT);
  };
  CHECK(*Consume(f.client, f.io,
                 {.channel = "logs", .subscription = "s", .follow = true, .style = kRaw}) == 0);
  CHECK(f.client.acknowledged == std::vector<MessageId>{2});
}

TEST_CASE("Output that nobody reads any more ends it quietly and is not acknowledged") {
  CommandFixture f("", /*output_capacity=*/1'000);
  f.client.Put("logs", std::vector<Message>(300, {std::string(10'000, 'x'), {}}));
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .subscription = "s", .style = kRaw}) == 0);
  CHECK(f.client.acknowledged.empty());
  CHECK(f.err.text().empty());
}

TEST_CASE("Gaps are told on standard error and do not stop it") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 9));
  f.client.channels["logs"].gaps = {{4, 6, GapReason::kCorrupt}};
  CHECK(*Consume(f.client, f.io, {.channel = "logs", .subscription = "s", .style = kRaw}) == 0);
  CHECK(f.out.text() == "1\n2\n3\n7\n8\n9\n");
  CHECK(f.err.text() ==
        "strata: ids 4..6 are missing: CORRUPT, damaged on disk; strata verify says more\n");
  CHECK(f.client.acknowledged == std::vector<MessageId>{9});
}

TEST_CASE("A gap at the end is passed and acknowledged") {
  CommandFixture f;
  f.client.Put("logs", Numbered(1, 3));
  f.client.channels["logs"].gaps = {{2, 3, GapReason::kLost}};
  f.client.messages_per_batch = 1;
  CHECK(*Consume(f.client, f.io,
                 {.channel = "logs", .subscription = "s", .style = MessageStyle::kJson}) == 0);
  CHECK(f.out.text().find("{\"gap\":{\"first\":2,\"last\":3,\"reason\":\"LOST\"}}\n") !=
        std::string::npos);
  CHECK(f.client.acknowledged == std::vector<MessageId>{3});
}

}  // namespace
}  // namespace strata::tools
