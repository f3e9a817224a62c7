// The built `strata` and retention: rules of a channel, status --space, compact.
#include <string>

#include <nlohmann/json.hpp>

#include "tests/tools/command_line.h"

namespace strata::tools {
namespace {

using nlohmann::json;

TEST_CASE("A channel's rules are given, changed one by one, cleared and shown", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix", "embedded");
  INFO(kind);
  const Place place(kind);
  const auto own = [&] {
    const json info = json::parse(place.Do({"channel", "describe", "logs", "-o", "json"}));
    return info["options"]["retention"];
  };
  place.Do({"channel", "create", "logs", "--retention-time", "3d", "--max-msgs", "off"});
  CHECK(own() == json{{"retention_time_seconds", 259'200.0}, {"max_messages", -1}});
  place.Do({"channel", "alter", "logs", "--retention-size", "256MiB", "--retention-policy",
            "truncated"});
  CHECK(own() == json{{"policy", "truncated"},
                      {"retention_time_seconds", 259'200.0},
                      {"retention_size_bytes", 268'435'456},
                      {"max_messages", -1}});
  const std::string text = place.Do(
      {"channel", "alter", "logs", "--retention-time", "default", "--max-msgs", "default"});
  CHECK(Contains(text, "retention policy:   truncated, its own\n"));
  CHECK(Contains(text, "retention size:     256 MiB, its own\n"));
  CHECK(Contains(text, "the broker's\n"));
  CHECK(own() == json{{"policy", "truncated"}, {"retention_size_bytes", 268'435'456}});

  const testing::Outcome missing = place.Try({"channel", "alter", "no", "--max-msgs", "1"});
  CHECK(missing.exit_code == 1);
  CHECK(Contains(missing.err, "strata: CHANNEL_NOT_FOUND: "));
}

TEST_CASE("Space names the subscription that keeps a channel's oldest page", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix", "embedded");
  INFO(kind);
  const Place place(kind);
  place.Do({"channel", "create", "logs", "--retention-time", "0s", "--retention-policy", "acked"});
  place.Do({"subscription", "create", "logs", "ingest"});
  place.Do({"produce", "logs"}, "a\nb\nc\n");
  place.Do({"channel", "create", "empty"});
  const std::string table = place.Do({"status", "--space"});
  CHECK(table.starts_with("CHANNEL"));
  CHECK(Contains(table, "subscription 'ingest' (3 behind)\n"));
  CHECK(Contains(table, "there is no page\n"));
  const json channels = json::parse(place.Do({"status", "--space", "-o", "json"}));
  REQUIRE(channels.size() == 2);
  CHECK(channels[0]["channel"] == "empty");
  CHECK(channels[1]["held_by"] == "subscription");
  CHECK(channels[1]["subscription"] == "ingest");
  CHECK(channels[1]["behind"] == 3);
  CHECK(channels[1]["oldest_page"]["last_id"] == 3);
}

TEST_CASE("A compaction is waited for and loses nothing", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix", "embedded");
  INFO(kind);
  const Place place(kind);
  place.Do({"produce", "logs"}, "a\nb\nc\n");
  const json info = json::parse(place.Do({"compact", "--wait", "-o", "json"}));
  CHECK(info["running"] == false);
  CHECK(info["strata_done"] == info["strata_total"]);
  CHECK_FALSE(info.contains("error"));
  CHECK(info.contains("finished_at"));
  CHECK(place.Do({"consume", "logs", "-o", "raw"}) == "a\nb\nc\n");
  // In this process nothing is left to itself.
  const std::string text = place.Do({"compact"});
  CHECK(Contains(text, "compact"));
  if (kind == "embedded") CHECK_FALSE(Contains(text, "--wait"));
}

}  // namespace
}  // namespace strata::tools
