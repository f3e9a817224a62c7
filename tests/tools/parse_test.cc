#include "tools/parse.h"

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
