// strata compact.
#include <signal.h>

#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tools/command_fixture.h"
#include "tools/compact_command.h"
#include "tools/exit_codes.h"

namespace strata::tools {
namespace {

using nlohmann::json;

constexpr TimeMicros kTen = 1'795'168'800'000'000;  // 2026-11-20T10:00:00Z
constexpr CompactOptions kWait{.wait = true, .interval = std::chrono::milliseconds(1)};

// `done` of four strata, each 1 MB before and 250 kB after.
CompactionInfo Info(uint64_t done, bool running) {
  CompactionInfo info;
  info.running = running;
  info.started_at = kTen;
  info.finished_at = running ? 0 : kTen + 3'200'000;
  info.strata_total = 4;
  info.strata_done = done;
  info.bytes_before = done * 1'000'000;
  info.bytes_after = done * 250'000;
  return info;
}

TEST_CASE("Without waiting a compaction is started and left to itself") {
  CommandFixture f;
  f.client.compactions = {Info(0, true)};
  CHECK(*Compact(f.client, f.io, {}) == kExitOk);
  CHECK(f.out.text() == "compacting (strata compact --wait waits for it), 0 of 4 strata done\n");
}

TEST_CASE("With waiting it is followed to its end and said what it saved") {
  CommandFixture f;
  f.client.compactions = {Info(0, true), Info(2, true), Info(4, false)};
  CHECK(*Compact(f.client, f.io, kWait) == kExitOk);
  CHECK(
      f.out.text() ==
      "compacted 4 of 4 strata in 3.2 s: 4.0 MB before, 1.0 MB after, ratio 0.25, 3.0 MB saved\n");
  CHECK(f.err.text().empty());
}

TEST_CASE("On a terminal its progress is shown on a line that is gone in the end") {
  CommandFixture f;
  f.io.err_is_terminal = true;
  f.client.compactions = {Info(0, true), Info(2, true), Info(4, false)};
  CHECK(*Compact(f.client, f.io, kWait) == kExitOk);
  CHECK(f.err.text() ==
        "\r\x1b[K[>                   ]   0%  0 of 4 strata"
        "\r\x1b[K[==========>         ]  50%  2 of 4 strata  2.0 MB -> 500.0 kB"
        "\r\x1b[K");
}

TEST_CASE("A store that is as small as it can be is told so") {
  CommandFixture f;
  f.client.compactions = {CompactionInfo{}};
  CHECK(*Compact(f.client, f.io, kWait) == kExitOk);
  CHECK(f.out.text() == "nothing to compact: every sealed stratum is as small as it can be\n");
}

TEST_CASE("A compaction that ended early fails with its reason") {
  CommandFixture f;
  CompactionInfo ended = Info(1, false);
  ended.error = "no space left on device";
  f.client.compactions = {Info(0, true), ended};
  CHECK(*Compact(f.client, f.io, kWait) == kExitFailed);
  CHECK(f.out.text().starts_with("compacted 1 of 4 strata in 3.2 s: 1.0 MB before"));
  CHECK(f.err.text() == "strata: the compaction ended early: no space left on device\n");
}

TEST_CASE("Ctrl-C ends the waiting and says how far the compaction is") {
  CommandFixture f;
  f.client.compactions = {Info(1, true)};
  f.stop.Request(SIGINT);
  CHECK(*Compact(f.client, f.io, kWait) == 128 + SIGINT);
  CHECK(f.out.text() == "no longer waiting for the compaction, 1 of 4 strata done\n");
}

TEST_CASE("A daemon that goes away while it is waited for is an error") {
  CommandFixture f;
  f.io.err_is_terminal = true;
  f.client.compactions = {Info(0, true)};
  f.client.compaction_error = Status(Reason::CONNECTION_LOST, "gone");
  CHECK(Compact(f.client, f.io, kWait).status().reason() == Reason::CONNECTION_LOST);
  CHECK(f.out.text().empty());
  CHECK(f.err.text().ends_with("\r\x1b[K"));
}

TEST_CASE("A compaction as JSON has its numbers and ratio") {
  CommandFixture f;
  f.io.json = true;
  f.client.compactions = {Info(0, true), Info(4, false)};
  CHECK(*Compact(f.client, f.io, kWait) == kExitOk);
  CHECK(json::parse(f.out.text()) == json{{"running", false},
                                          {"strata_total", 4},
                                          {"strata_done", 4},
                                          {"bytes_before", 4'000'000},
                                          {"bytes_after", 1'000'000},
                                          {"ratio", 0.25},
                                          {"started_at", "2026-11-20T10:00:00.000000Z"},
                                          {"finished_at", "2026-11-20T10:00:03.200000Z"}});
}

}  // namespace
}  // namespace strata::tools
