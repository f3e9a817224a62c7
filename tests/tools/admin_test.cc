// channel, subscription, status and the report of verify.
#include <signal.h>

#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tools/command_fixture.h"
#include "tools/channel_command.h"
#include "tools/exit_codes.h"
#include "tools/status_command.h"
#include "tools/subscription_command.h"
#include "tools/verify_command.h"

namespace strata::tools {
namespace {

using nlohmann::json;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("A created channel is described") {
  CommandFixture f;
  CHECK(*CreateChannel(f.client, f.io, "logs", {.first_id = 100}) == kExitOk);
  CHECK(Contains(f.out.text(), "channel:            logs\n"));
  CHECK(Contains(f.out.text(), "ids:                none yet, the next is 100\n"));
  CHECK(Contains(f.out.text(), "last append:        never\n"));
}

TEST_CASE("A channel as JSON has what a program needs") {
  CommandFixture f;
  f.io.json = true;
  f.client.Put("logs", {{"abc", {}}, {"de", {}}});
  REQUIRE(f.client.TruncateChannel("logs", 1).ok());
  CHECK(*DescribeChannel(f.client, f.io, "logs") == kExitOk);
  const json info = json::parse(f.out.text());
  CHECK(info["name"] == "logs");
  CHECK(info["first_available_id"] == 2);
  CHECK(info["next_id"] == 3);
  CHECK(info["messages"] == 1);
  CHECK(info["bytes"] == 5);
  CHECK(info["truncated_through"] == 1);
  CHECK(info["last_append_time"] == "2026-11-20T10:00:00.000000Z");
}

TEST_CASE("Channels are listed in a table and by prefix") {
  CommandFixture f;
  f.client.Put("logs.a", {{"abc", {}}});
  f.client.Put("logs.b", {});
  f.client.Put("other", {});
  CHECK(*ListChannels(f.client, f.io, "logs.") == kExitOk);
  CHECK(f.out.text() ==
        "CHANNEL  FIRST ID  NEXT ID  MESSAGES  STORED  PAGES  LAST APPEND\n"
        "logs.a          1        2         1     3 B      0  2026-11-20T10:00:00.000000Z\n"
        "logs.b          1        1         0     0 B      0  2026-11-20T10:00:00.000000Z\n");
}

TEST_CASE("The answer of truncate shows what is left") {
  CommandFixture f;
  f.client.Put("logs", {{"a", {}}, {"b", {}}, {"c", {}}});
  CHECK(*TruncateChannel(f.client, f.io, "logs", 2) == kExitOk);
  CHECK(Contains(f.out.text(), "ids:                3..3\n"));
  CHECK(Contains(f.out.text(), "truncated through:  2\n"));
}

TEST_CASE("Deleting without a terminal needs --yes") {
  CommandFixture f("y\n");
  f.client.Put("logs", {});
  CHECK(*DeleteChannel(f.client, f.io, "logs", false) == kExitUsage);
  CHECK(Contains(f.err.text(), "--yes"));
  CHECK(f.client.channels.count("logs") == 1);
  CHECK(*DeleteChannel(f.client, f.io, "logs", true) == kExitOk);
  CHECK(f.client.channels.empty());
  CHECK(f.out.text() == "deleted logs\n");
}

TEST_CASE("On a terminal deleting asks and only a yes deletes") {
  for (const std::string answer : {"y\n", "yes\n", "n\n", "\n", "", "logs\n"}) {
    CommandFixture f(answer);
    f.io.in_is_terminal = true;
    f.client.Put("logs", {{"abc", {}}});
    const bool yes = answer.starts_with("y");
    INFO("answer " << answer);
    CHECK(*DeleteChannel(f.client, f.io, "logs", false) == (yes ? kExitOk : kExitFailed));
    CHECK(f.client.channels.count("logs") == (yes ? 0 : 1));
    CHECK(Contains(f.err.text(), "Delete channel logs with 1 messages (3 B)"));
  }
}

TEST_CASE("Deleting a channel that is not there fails") {
  CommandFixture f;
  CHECK(DeleteChannel(f.client, f.io, "nope", true).status().reason() == Reason::CHANNEL_NOT_FOUND);
}

TEST_CASE("Subscriptions are created, listed, moved, described and deleted") {
  CommandFixture f;
  f.client.Put("logs", {{"a", {}}, {"b", {}}, {"c", {}}});
  CHECK(*CreateSubscription(f.client, f.io, "logs", "s", StartPosition::Latest()) == kExitOk);
  CHECK(Contains(f.out.text(), "cursor:        4, all below it is acknowledged\n"));
  CHECK(*SeekSubscription(f.client, f.io, "logs", "s", StartPosition::At(2)) == kExitOk);
  CHECK(Contains(f.out.text(), "backlog:       2 messages\n"));
  CHECK(Contains(f.out.text(), "held by:       nobody\n"));

  f.io.json = true;
  CHECK(*ListSubscriptions(f.client, f.io, "") == kExitOk);
  const json list = json::parse(f.out.text().substr(f.out.text().find('[')));
  REQUIRE(list.size() == 1);
  CHECK(list[0]["channel"] == "logs");
  CHECK(list[0]["name"] == "s");
  CHECK(list[0]["cursor"] == 2);
  CHECK(list[0]["backlog"] == 2);

  CHECK(*DeleteSubscription(f.client, f.io, "logs", "s") == kExitOk);
  CHECK(DescribeSubscription(f.client, f.io, "logs", "s").status().reason() ==
        Reason::SUBSCRIPTION_NOT_FOUND);
}

TEST_CASE("The name of a holder cannot send control sequences") {
  CommandFixture f;
  f.client.Put("logs", {});
  REQUIRE(f.client.CreateSubscription("logs", "s", {}).ok());
  f.client.subscriptions[{"logs", "s"}].holder = "a\x1b[2J";
  CHECK(*ListSubscriptions(f.client, f.io, "logs") == kExitOk);
  CHECK(Contains(f.out.text(), "a\\x1b[2J"));
}

TEST_CASE("Status shows state, counts and what is stored") {
  CommandFixture f;
  BrokerStatus& status = f.client.status;
  status.accepts_appends = false;
  status.state = "failed";
  status.failure = "sync of 000012.log: Input/output error";
  status.uptime = std::chrono::seconds(3'720);
  status.channels = 1'234;
  status.messages_appended = 5'000'000;
  status.bytes_appended = 5'000'000'000;
  status.disk_bytes = 1'500'000;
  f.client.Put("logs", {});
  REQUIRE(f.client.CreateSubscription("logs", "a", {}).ok());
  REQUIRE(f.client.CreateSubscription("logs", "b", {}).ok());
  f.client.subscriptions[{"logs", "a"}].backlog = 5;
  f.client.subscriptions[{"logs", "b"}].backlog = 7'000;
  CHECK(*ShowStatus(f.client, f.io, {.address = "unix:/x"}) == kExitOk);
  const std::string text = f.out.text();
  CHECK(Contains(text, "server:      unix:/x, version 9.9.9, up 1h02m\n"));
  CHECK(Contains(text,
                 "state:       failed, durability.sync always, refuses appends: sync of 000012."
                 "log: Input/output error\n"));
  CHECK(Contains(text, "channels:    1,234\n"));
  CHECK(Contains(text, "backlog:     7,000 messages at most, b of channel logs\n"));
  CHECK(Contains(text, "appended:    5,000,000 messages, 5.0 GB"));
  CHECK(Contains(text, "disk:        1.5 MB used"));
}

TEST_CASE("Status as JSON has every field of the answer") {
  CommandFixture f;
  f.io.json = true;
  f.client.status.state = "serving";
  f.client.status.uptime = std::chrono::seconds(2);
  f.client.status.strata = 3;
  CHECK(*ShowStatus(f.client, f.io, {.address = "unix:/x"}) == kExitOk);
  const json status = json::parse(f.out.text());
  CHECK(status["address"] == "unix:/x");
  CHECK(status["server"]["store_id"] == "5107e");
  CHECK(status["server"]["limits"]["max_payload"] == 1000);
  CHECK(status["status"]["state"] == "serving");
  CHECK(status["status"]["uptime_seconds"] == 2.0);
  CHECK(status["status"]["strata"] == 3);
  CHECK(status["status"].size() == 44);
}

TEST_CASE("Watching shows the difference of two answers for each second") {
  CommandFixture f;
  f.io.json = true;
  int answers = 0;
  f.client.on_status = [&] {
    BrokerStatus& s = f.client.status;
    s.uptime += std::chrono::seconds(2);
    s.messages_appended += 3'000;
    s.bytes_appended = answers == 2 ? 0 : s.bytes_appended + 500;
    if (++answers == 3) f.stop.Request(SIGINT);
  };
  const StatusOptions options{
      .address = "unix:/x", .watch = true, .interval = std::chrono::milliseconds(1)};
  CHECK(*ShowStatus(f.client, f.io, options) == kExitOk);
  const size_t end = f.out.text().find('\n');
  const json first = json::parse(f.out.text().substr(0, end));
  CHECK(first["per_second"]["messages"] == 1'500);
  CHECK(first["per_second"]["bytes"] == 250);
  CHECK(first["messages_appended"] == 6'000);
  // A counter that went back belongs to a server that was started anew.
  const json second = json::parse(f.out.text().substr(end + 1));
  CHECK(second["per_second"]["bytes"] == 0);
}

TEST_CASE("Watching as text has a header and rows under it") {
  CommandFixture f;
  f.client.on_status = [&] {
    f.client.status.uptime += std::chrono::seconds(1);
    f.client.status.messages_appended += 1'000;
    if (f.client.status.messages_appended == 3'000) f.stop.Request(SIGINT);
  };
  const StatusOptions options{
      .address = "unix:/x", .watch = true, .interval = std::chrono::milliseconds(1)};
  CHECK(*ShowStatus(f.client, f.io, options) == kExitOk);
  CHECK(f.out.text().starts_with("      msg/s    bytes/s batches/s"));
  CHECK(Contains(f.out.text(), "\n      1,000        0 B         0"));
}

TEST_CASE("Watching ends quietly when nobody reads it") {
  CommandFixture f("", /*output_capacity=*/10);
  const StatusOptions options{
      .address = "unix:/x", .watch = true, .interval = std::chrono::milliseconds(1)};
  CHECK(*ShowStatus(f.client, f.io, options) == kExitOk);
}

TEST_CASE("The report of verify lists every problem and their number") {
  storage::VerifyReport report;
  report.messages = 1'000;
  CHECK(FormatReport("/d", report, false) ==
        "/d: no problems; read 1,000 messages in 0 batches, 0 pages, 0 channels and 0 strata, 0 "
        "B\n");
  report.problems = {{"catalog", "a row is damaged."}, {"stratum 4", "a block is damaged."}};
  report.problem_count = 5;
  const std::string text = FormatReport("/d", report, false);
  CHECK(Contains(text, "catalog: a row is damaged.\nstratum 4: a block is damaged.\n"));
  CHECK(Contains(text, "... and 3 more\n"));
  CHECK(Contains(text, "/d: 5 problems; "));
  const json object = json::parse(FormatReport("/d", report, true));
  CHECK(object["ok"] == false);
  CHECK(object["problem_count"] == 5);
  CHECK(object["problems"][1]["where"] == "stratum 4");
}

}  // namespace
}  // namespace strata::tools
