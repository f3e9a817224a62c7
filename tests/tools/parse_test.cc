#include "tools/parse.h"

#include <optional>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tools/format.h"

namespace strata::tools {
namespace {

constexpr TimeMicros kTen = 1'795'168'800'000'000;  // 2026-11-20T10:00:00Z, by `date -d ... +%s`

TimeMicros Time(std::string_view text) {
  const Result<TimeMicros> time = ParseTime(text, kTen);
  INFO(text << ": " << time.status().ToString());
  REQUIRE(time.ok());
  return *time;
}

TEST_CASE("Times of RFC 3339 are read to the microsecond and in any zone") {
  CHECK(Time("2026-11-20T10:00:00Z") == kTen);
  CHECK(Time("2026-11-20t10:00:00z") == kTen);
  CHECK(Time("2026-11-20 10:00:00.5Z") == kTen + 500'000);
  CHECK(Time("2026-11-20T10:00:00.123456Z") == kTen + 123'456);
  CHECK(Time("2026-11-20T10:00:00.123456789Z") == kTen + 123'456);
  CHECK(Time("2026-11-20T11:30:00+01:30") == kTen);
  CHECK(Time("2026-11-20T08:00:00-02:00") == kTen);
  CHECK(Time("1970-01-01T00:00:00Z") == 0);
  CHECK(Time("2024-02-29T00:00:00Z") == 1'709'164'800'000'000);
}

TEST_CASE("Relative times are counted back from now") {
  CHECK(Time("-10m") == kTen - 600'000'000);
  CHECK(Time("-1h30m") == kTen - 5'400'000'000);
  CHECK(Time("-2d") == kTen - 2 * 86'400'000'000);
  CHECK(Time("-250ms") == kTen - 250'000);
  CHECK(Time("-5s") == kTen - 5'000'000);
}

TEST_CASE("What is no time is refused with what was typed and an example") {
  for (const char* text :
       {"", "-", "-10", "-m", "-10x", "10m", "yesterday", "2026-11-20", "2026-11-20T10:00:00",
        "2026-13-20T10:00:00Z", "2026-02-30T10:00:00Z", "2026-11-20T24:00:00Z",
        "2026-11-20T10:60:00Z", "2026-11-20T10:00:00.Z", "2026-11-20T10:00:00+1:00",
        "2026-11-20T10:00:00Zx", "2026-11-20T10:00:00+01:60"}) {
    const Result<TimeMicros> time = ParseTime(text, kTen);
    INFO(text);
    REQUIRE(time.status().reason() == Reason::INVALID_ARGUMENT);
    CHECK(time.status().message().find("'" + std::string(text) + "'") != std::string::npos);
    CHECK(time.status().message().find("2026-11-20T10:00:00Z") != std::string::npos);
  }
}

TEST_CASE("FormatTime writes what ParseTime reads") {
  for (const TimeMicros time : {TimeMicros{0}, kTen, kTen + 1, TimeMicros{951'782'399'999'999}}) {
    CHECK(Time(FormatTime(time)) == time);
  }
}

TEST_CASE("Positions are words, ids or times") {
  const auto start = [](std::string_view text) {
    const Result<StartPosition> position = ParseStart(text, kTen);
    INFO(text << ": " << position.status().ToString());
    REQUIRE(position.ok());
    return *position;
  };
  using Kind = StartPosition::Kind;
  CHECK(start("earliest").kind == Kind::kEarliest);
  CHECK(start("latest").kind == Kind::kLatest);
  CHECK(start("17").kind == Kind::kAtId);
  CHECK(start("17").id == 17);
  CHECK(start("0").id == 0);
  CHECK(start("9223372036854775807").id == INT64_MAX);
  CHECK(start("after:17").kind == Kind::kAfterId);
  CHECK(start("after:17").id == 17);
  CHECK(start("-10m").kind == Kind::kAtTime);
  CHECK(start("-10m").time == kTen - 600'000'000);
  CHECK(start("2026-11-20T10:00:00Z").time == kTen);
}

TEST_CASE("What is no position is refused") {
  for (const char* text :
       {"", "Earliest", "-5", "after:", "after:x", "17x", "9223372036854775808"}) {
    INFO(text);
    CHECK(ParseStart(text, kTen).status().reason() == Reason::INVALID_ARGUMENT);
  }
}

TEST_CASE("Durations and sizes are read with their units, exactly") {
  CHECK(*ParseDuration("3d") == 3 * 86'400'000'000);
  CHECK(*ParseDuration("90m") == 5'400'000'000);
  CHECK(*ParseDuration("1h30m") == 5'400'000'000);
  CHECK(*ParseDuration("1s500ms1us") == 1'500'001);
  CHECK(*ParseDuration("0s") == 0);
  for (const int64_t micros : {int64_t{0}, int64_t{1}, int64_t{90'061'001'001}, INT64_MAX}) {
    CHECK(*ParseDuration(FormatSpan(micros)) == micros);
  }
  CHECK(*ParseSize("4096") == 4'096);
  CHECK(*ParseSize("0") == 0);
  CHECK(*ParseSize("12B") == 12);
  CHECK(*ParseSize("256MiB") == 268'435'456);
  CHECK(*ParseSize("2KiB") == 2'048);
  CHECK(*ParseSize("8GiB") == 8'589'934'592);
  CHECK(*ParseSize("1TiB") == 1'099'511'627'776);
  CHECK(*ParseSize("3kB") == 3'000);
  CHECK(*ParseSize("10GB") == 10'000'000'000);
  CHECK(*ParseSize("5MB") == 5'000'000);
  CHECK(*ParseSize("1TB") == 1'000'000'000'000);
}

TEST_CASE("What is no duration or size is refused with what was typed and an example") {
  for (const char* text : {"", "3", "d", "-3d", "3x", "3d ", "1.5h", "107000000d",
                           "106751991d1d1d1d", "9999999999999999999s"}) {
    const Result<int64_t> duration = ParseDuration(text);
    INFO(text);
    REQUIRE(duration.status().reason() == Reason::INVALID_ARGUMENT);
    CHECK(duration.status().message().find("'" + std::string(text) + "'") != std::string::npos);
    CHECK(duration.status().message().find("1h30m") != std::string::npos);
  }
  for (const char* text : {"", "MiB", "-1", "1.5GiB", "10Mib", "10 MB", "10MiBs", "8388608TiB"}) {
    const Result<int64_t> size = ParseSize(text);
    INFO(text);
    REQUIRE(size.status().reason() == Reason::INVALID_ARGUMENT);
    CHECK(size.status().message().find("'" + std::string(text) + "'") != std::string::npos);
    CHECK(size.status().message().find("256MiB") != std::string::npos);
  }
}

TEST_CASE("A retention rule is a value, off, or the broker's default") {
  CHECK(*ParseRetentionTime("3d") == std::optional<int64_t>(3 * 86'400'000'000));
  CHECK(*ParseRetentionTime("off") == std::optional<int64_t>(kNoLimit));
  CHECK(*ParseRetentionTime("default") == std::optional<int64_t>());
  CHECK(*ParseRetentionSize("1KiB") == std::optional<int64_t>(1'024));
  CHECK(*ParseRetentionSize("off") == std::optional<int64_t>(kNoLimit));
  CHECK(*ParseMaxMessages("0") == std::optional<int64_t>(0));
  CHECK(*ParseMaxMessages("default") == std::optional<int64_t>());
  CHECK(*ParseRetentionPolicy("acked") == RetentionPolicy::kAcked);
  CHECK(*ParseRetentionPolicy("limits") == RetentionPolicy::kLimits);
  CHECK(*ParseRetentionPolicy("truncated") == RetentionPolicy::kTruncated);
  CHECK(*ParseRetentionPolicy("default") == std::optional<RetentionPolicy>());
  CHECK(ParseRetentionTime("forever").status().message() ==
        "'forever' is no time; write 3d, 90m or 1h30m (us, ms, s, m, h, d), or off or default");
  CHECK(ParseMaxMessages("-1").status().reason() == Reason::INVALID_ARGUMENT);
  CHECK(ParseRetentionPolicy("none").status().message() ==
        "'none' is no policy; write acked, limits, truncated or default");
}

TEST_CASE("Escapes stand for bytes") {
  const auto bytes = [](std::string_view text) {
    const Result<std::string> parsed = ParseEscapes(text);
    INFO(text << ": " << parsed.status().ToString());
    REQUIRE(parsed.ok());
    return *parsed;
  };
  CHECK(bytes("\\n") == "\n");
  CHECK(bytes("\\r\\n\\t\\\\") == "\r\n\t\\");
  CHECK(bytes("\\0") == std::string(1, '\0'));
  CHECK(bytes("a\\x00\\xfFb") == std::string("a\0\xff"
                                             "b",
                                             4));
  CHECK(bytes("--") == "--");
  CHECK(bytes("").empty());
}

TEST_CASE("An escape that is none is refused") {
  for (const char* text : {"\\", "\\q", "\\x", "\\x1", "\\xg0", "a\\"}) {
    INFO(text);
    CHECK(ParseEscapes(text).status().reason() == Reason::INVALID_ARGUMENT);
  }
}

TEST_CASE("A property is a name, an equals sign and any value") {
  CHECK(*ParseProperty("a=b") == std::pair<std::string, std::string>("a", "b"));
  CHECK(*ParseProperty("a=") == std::pair<std::string, std::string>("a", ""));
  CHECK(*ParseProperty("a=b=c") == std::pair<std::string, std::string>("a", "b=c"));
}

TEST_CASE("A property without a name, not in UTF-8 or of the program's own is refused") {
  for (const char* text : {"", "a", "=b", "a=\xff", "strata.unterminated=1"}) {
    INFO(text);
    CHECK(ParseProperty(text).status().reason() == Reason::INVALID_ARGUMENT);
  }
}

}  // namespace
}  // namespace strata::tools
