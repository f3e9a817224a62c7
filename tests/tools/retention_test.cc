// What the commands show of retention and space, and how a channel's rules are changed.
#include <string>

#include <nlohmann/json.hpp>

#include "base/held_by.h"
#include "tests/support/catch.h"
#include "tests/tools/command_fixture.h"
#include "tools/channel_command.h"
#include "tools/exit_codes.h"
#include "tools/retention_text.h"
#include "tools/space_command.h"
#include "tools/status_command.h"

namespace strata::tools {
namespace {

using nlohmann::json;

constexpr TimeMicros kTen = 1'795'168'800'000'000;  // 2026-11-20T10:00:00Z
constexpr int64_t kDay = 86'400'000'000;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("A channel is created with rules of its own") {
  CommandFixture f;
  RetentionChange change;
  change.time.emplace(3 * kDay);
  change.size.emplace(kNoLimit);
  change.policy.emplace(std::nullopt);
  CHECK(*CreateChannel(f.client, f.io, "logs", {.first_id = 1, .retention = change.On({})}) ==
        kExitOk);
  CHECK(f.client.channels["logs"].info.options.retention ==
        RetentionOverrides{.policy = {},
                           .retention_time = 3 * kDay,
                           .retention_size = kNoLimit,
                           .max_messages = {}});
}

TEST_CASE("Altering changes what is given, clears what is to be the default, keeps the rest") {
  CommandFixture f;
  f.client.Put("logs", {});
  f.client.channels["logs"].info.options.retention = {.policy = RetentionPolicy::kLimits,
                                                      .retention_time = kDay,
                                                      .retention_size = 1'000,
                                                      .max_messages = 5};
  RetentionChange change;
  CHECK(change.empty());
  change.time.emplace(std::nullopt);
  change.size.emplace(2'000);
  CHECK_FALSE(change.empty());
  CHECK(*AlterChannel(f.client, f.io, "logs", change) == kExitOk);
  CHECK(f.client.channels["logs"].info.options.retention ==
        RetentionOverrides{.policy = RetentionPolicy::kLimits,
                           .retention_time = {},
                           .retention_size = 2'000,
                           .max_messages = 5});
  CHECK(AlterChannel(f.client, f.io, "nope", change).status().reason() ==
        Reason::CHANNEL_NOT_FOUND);
}

TEST_CASE("A described channel has the rules in force and says whose they are") {
  CommandFixture f;
  f.client.Put("logs", {});
  f.client.channels["logs"].info.options.retention.retention_size = 256 << 20;
  ChannelSpaceInfo& space = f.client.spaces["logs"];
  space.policy = RetentionPolicy::kTruncated;
  space.retention_time = 3 * kDay;
  space.retention_size = 256 << 20;
  CHECK(*DescribeChannel(f.client, f.io, "logs") == kExitOk);
  CHECK(Contains(f.out.text(), "retention policy:   truncated, the broker's\n"));
  CHECK(Contains(f.out.text(), "retention time:     3d, the broker's\n"));
  CHECK(Contains(f.out.text(), "retention size:     256 MiB, its own\n"));
  CHECK(Contains(f.out.text(), "max messages:       off, the broker's\n"));

  CommandFixture g;
  g.client.channels = f.client.channels;
  g.client.spaces = f.client.spaces;
  g.io.json = true;
  CHECK(*DescribeChannel(g.client, g.io, "logs") == kExitOk);
  const json info = json::parse(g.out.text());
  CHECK(info["options"]["retention"] == json{{"retention_size_bytes", 268'435'456}});
  CHECK(info["retention"] == json{{"policy", "truncated"},
                                  {"retention_time_seconds", 259'200.0},
                                  {"retention_size_bytes", 268'435'456},
                                  {"max_messages", -1}});
}

TEST_CASE("What keeps a page is told in words") {
  ChannelSpaceInfo info;
  const auto text = [&](HeldBy held_by, std::optional<uint64_t> behind = {}) {
    info.held_by = held_by;
    return HolderText(info, behind);
  };
  CHECK(text(HeldBy::kNothing) == "there is no page");
  CHECK(text(HeldBy::kNoRule) == "every rule is off");
  CHECK(text(HeldBy::kPolicy) == "policy truncated: only truncation frees it");
  CHECK(text(HeldBy::kSweep) == "nothing: the next sweep takes it");
  info.subscription = "ingest";
  CHECK(text(HeldBy::kSubscription, 12'000) == "subscription 'ingest' (12,000 behind)");
  CHECK(text(HeldBy::kSubscription) == "subscription 'ingest'");
  info.until = kTen + 3 * kDay;
  CHECK(text(HeldBy::kGrace) == "truncated, in its grace until 2026-11-23 10:00 UTC");
  CHECK(text(HeldBy::kRules) == "time rule until 2026-11-23 10:00 UTC");
  info.bytes = 120 << 20;
  info.retention_size = 256 << 20;
  info.messages = 1'000;
  info.max_messages = 5'000;
  CHECK(text(HeldBy::kRules) ==
        "time rule until 2026-11-23 10:00 UTC; size rule: 120 MiB of 256 MiB; count rule: 1,000 of "
        "5,000 messages");
  info.until = 0;
  info.max_messages = kNoLimit;
  CHECK(text(HeldBy::kRules) == "size rule: 120 MiB of 256 MiB");
  CHECK(Contains(text(static_cast<HeldBy>(99)), "does not know"));
}

TEST_CASE("Every holder has a name of its own for programs") {
  CHECK(HeldByName(HeldBy::kNothing) == "nothing");
  CHECK(HeldByName(HeldBy::kRules) == "rules");
  CHECK(HeldByName(HeldBy::kNoRule) == "no_rule");
  CHECK(HeldByName(HeldBy::kSubscription) == "subscription");
  CHECK(HeldByName(HeldBy::kPolicy) == "policy");
  CHECK(HeldByName(HeldBy::kGrace) == "grace");
  CHECK(HeldByName(HeldBy::kSweep) == "sweep");
  CHECK(HeldByName(static_cast<HeldBy>(99)) == "unknown");
}

// Two channels: one with a slow subscription, one without pages.
void FillSpace(CommandFixture* f) {
  f->client.Put("idle", {});
  f->client.Put("logs", {{"a", {}}, {"b", {}}});
  REQUIRE(f->client.CreateSubscription("logs", "ingest", {}).ok());
  ChannelSpaceInfo& space = f->client.spaces["logs"];
  space.pages = 3;
  space.bytes = 2'500'000;
  space.messages = 90;
  space.oldest_first_id = 17;
  space.oldest_last_id = 40;
  space.oldest_bytes = 1'000'000;
  space.oldest_time = kTen;
  space.held_by = HeldBy::kSubscription;
  space.subscription = "ingest";
}

TEST_CASE("Space is a row for each channel with its oldest page and what keeps it") {
  CommandFixture f;
  FillSpace(&f);
  f.clock.SetWall(kTen + 3'720'000'000);
  CHECK(*ShowStatus(f.client, f.io, {.address = "unix:/x", .space = true}) == kExitOk);
  CHECK(f.out.text() ==
        "CHANNEL  PAGES  STORED  OLDEST PAGE    AGE  HELD BY\n"
        "idle         0     0 B  -                -  there is no page\n"
        "logs         3  2.5 MB  17..40       1h02m  subscription 'ingest' (2 behind)\n");
}

TEST_CASE("Space as JSON has names for programs and the words for people") {
  CommandFixture f;
  f.io.json = true;
  FillSpace(&f);
  CHECK(*ShowSpace(f.client, f.io) == kExitOk);
  const json channels = json::parse(f.out.text());
  REQUIRE(channels.size() == 2);
  CHECK(channels[0]["channel"] == "idle");
  CHECK(channels[0]["held_by"] == "nothing");
  CHECK_FALSE(channels[0].contains("oldest_page"));
  const json& logs = channels[1];
  CHECK(logs["pages"] == 3);
  CHECK(logs["bytes"] == 2'500'000);
  CHECK(logs["messages"] == 90);
  CHECK(logs["oldest_page"] == json{{"first_id", 17},
                                    {"last_id", 40},
                                    {"bytes", 1'000'000},
                                    {"time", "2026-11-20T10:00:00.000000Z"}});
  CHECK(logs["held_by"] == "subscription");
  CHECK(logs["subscription"] == "ingest");
  CHECK(logs["behind"] == 2);
  CHECK(logs["text"] == "subscription 'ingest' (2 behind)");
  CHECK(logs["rules"]["policy"] == "acked");
  CHECK(logs["rules"]["retention_time_seconds"] == -1);
}

TEST_CASE("Status shows the budgets, what retention did and what compression saves") {
  CommandFixture f;
  BrokerStatus& s = f.client.status;
  s.state = "full";
  s.space_state = "full";
  s.disk_bytes = 9'400'000'000;
  s.disk_budget_bytes = 10'000'000'000;
  s.soft_mark_bytes = 8'500'000'000;
  s.hard_mark_bytes = 9'300'000'000;
  s.ballast_bytes = 268'000'000;
  s.tail_cache_bytes = 1'000'000;
  s.tail_cache_limit = 32'000'000;
  s.write_buffer_limit = 64'000'000;
  s.block_cache_limit = 128'000'000;
  s.pending_limit = 63'000'000;
  s.sweeps = 12;
  s.trimmed_pages = 34;
  s.trimmed_bytes = 5'000'000;
  s.dropped_strata = 6;
  s.rewritten_strata = 7;
  s.rewrite_read_bytes = 8'000'000;
  s.rewrite_written_bytes = 2'000'000;
  s.compressed_strata = 3;
  s.compressed_raw_bytes = 100'000'000;
  s.compressed_file_bytes = 25'000'000;
  s.quarantined = {{9, 4'000, "block 7 of 000012.sst\x1b fails its checksum"}};
  CHECK(*ShowStatus(f.client, f.io, {.address = "unix:/x"}) == kExitOk);
  const std::string text = f.out.text();
  CHECK(Contains(text, "state:        full, durability.sync always, refuses appends\n"));
  CHECK(Contains(text, "disk:         9.4 GB used, 0 B free, ballast 268.0 MB\n"));
  CHECK(Contains(text,
                 "space:        full, 9.4 GB of 10.0 GB used; pressure from 8.5 GB, full from 9.3 "
                 "GB\n"));
  CHECK(Contains(text,
                 "retention:    34 pages with 5.0 MB removed in 12 sweeps; 6 strata dropped, 7 "
                 "rewritten (8.0 MB read, 2.0 MB written)\n"));
  CHECK(Contains(text,
                 "compressed:   3 strata, 100.0 MB in files of 25.0 MB: ratio 0.25, 75.0 MB "
                 "saved\n"));
  CHECK(Contains(text,
                 "tail cache 1.0 MB of 32.0 MB, memtables 0 B of 64.0 MB, block cache 0 B of "
                 "128.0 MB\n"));
  CHECK(Contains(text, "pending:      0 B of 63.0 MB not yet acknowledged\n"));
  CHECK(Contains(
      text,
      "quarantined:  stratum 9 with 4.0 kB: block 7 of 000012.sst\\x1b fails its checksum\n"));
}

TEST_CASE("Status without a budget, or anything compressed, says so") {
  CommandFixture f;
  f.client.status.space_state = "normal";
  CHECK(*ShowStatus(f.client, f.io, {.address = "unix:/x"}) == kExitOk);
  CHECK(Contains(f.out.text(), "space:       normal, no budget (limits.maxFileStore)\n"));
  CHECK(Contains(f.out.text(), "compressed:  nothing yet\n"));
  CHECK_FALSE(Contains(f.out.text(), "quarantined"));
}

TEST_CASE("Status as JSON names quarantined strata") {
  CommandFixture f;
  f.io.json = true;
  f.client.status.quarantined = {{9, 4'000, "damaged"}};
  f.client.status.compressed_file_bytes = 25;
  CHECK(*ShowStatus(f.client, f.io, {.address = "unix:/x"}) == kExitOk);
  const json status = json::parse(f.out.text())["status"];
  CHECK(status["compressed_file_bytes"] == 25);
  CHECK(status["quarantined"] ==
        json::array({{{"stratum", 9}, {"live_bytes", 4'000}, {"why", "damaged"}}}));
}

}  // namespace
}  // namespace strata::tools
