#include "tools/line_splitter.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace strata::tools {
namespace {

struct Lines {
  std::vector<std::string> whole;
  std::string rest;
  bool too_long = false;

  friend bool operator==(const Lines&, const Lines&) = default;
};

// What a splitter makes of `input` when it comes in pieces of `piece` bytes.
Lines Split(std::string_view input, const std::string& separator, size_t piece,
            size_t max_line = 1'000, size_t block = 16) {
  LineSplitter splitter(separator, max_line, block);
  Lines lines;
  while (!input.empty() && !lines.too_long) {
    const std::span<char> room = splitter.Room();
    const size_t n = std::min({room.size(), piece, input.size()});
    std::memcpy(room.data(), input.data(), n);
    input.remove_prefix(n);
    splitter.Filled(n);
    for (std::string_view line; splitter.Next(&line);) lines.whole.emplace_back(line);
    lines.too_long = splitter.too_long();
  }
  lines.rest = splitter.Rest();
  return lines;
}

// The same by means that are too simple to be wrong.
Lines SplitSimply(const std::string& input, const std::string& separator) {
  Lines lines;
  size_t begin = 0;
  for (size_t end; (end = input.find(separator, begin)) != std::string::npos;) {
    lines.whole.push_back(input.substr(begin, end - begin));
    begin = end + separator.size();
  }
  lines.rest = input.substr(begin);
  return lines;
}

TEST_CASE("Lines come without their separators and the rest is what follows the last one") {
  CHECK(Split("a\nbc\n", "\n", 100) == Lines{{"a", "bc"}, "", false});
  CHECK(Split("a\nbc", "\n", 100) == Lines{{"a"}, "bc", false});
  CHECK(Split("", "\n", 100) == Lines{});
}

TEST_CASE("Empty lines are lines") {
  CHECK(Split("\n\n\n", "\n", 100) == Lines{{"", "", ""}, "", false});
  CHECK(Split("\n\na", "\n", 1) == Lines{{"", ""}, "a", false});
}

TEST_CASE("A zero byte and a carriage return are bytes like others") {
  const std::string input("a\0b\r\nc\n", 7);
  CHECK(Split(input, "\n", 100) == Lines{{std::string("a\0b\r", 4), "c"}, "", false});
  CHECK(Split(input, std::string(1, '\0'), 100) == Lines{{"a"}, "b\r\nc\n", false});
}

TEST_CASE("A separator of several bytes is found where blocks cut it") {
  for (size_t piece = 1; piece < 12; ++piece) {
    INFO("pieces of " << piece);
    CHECK(Split("one--two---three-", "--", piece) == Lines{{"one", "two"}, "-three-", false});
  }
}

TEST_CASE("What looks like the beginning of a separator is kept") {
  CHECK(Split("aab", "ab", 1) == Lines{{"a"}, "", false});
  CHECK(Split("ababac", "abac", 1) == Lines{{"ab"}, "", false});
}

TEST_CASE("Any cutting into blocks gives the same lines") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2'000; ++round) {
    const std::string separator =
        std::vector<std::string>{"\n", "ab", "aab", "abcab"}[random() % 4];
    std::string input;
    for (size_t i = random() % 100; i > 0; --i) input += "abc\n"[random() % 4];
    const size_t piece = 1 + random() % 20;
    const size_t block = 1 + random() % 30;
    INFO("separator " << separator << ", pieces of " << piece << ", blocks of " << block);
    REQUIRE(Split(input, separator, piece, 1'000, block) == SplitSimply(input, separator));
  }
}

TEST_CASE("A line of the maximum is taken and one byte more is too long") {
  const std::string most(50, 'x');
  for (const std::string separator : {"\n", "--"}) {
    CHECK_FALSE(Split(most + separator, separator, 7, 50).too_long);
    CHECK(Split(most, separator, 7, 50) == Lines{{}, most, false});
    CHECK(Split(most + "x" + separator.substr(1), separator, 1, 50).too_long);
  }
}

TEST_CASE("The buffer of a line that is too long stays bounded") {
  LineSplitter splitter("\n", 1'000, 64);
  size_t filled = 0;
  while (!splitter.too_long()) {
    const std::span<char> room = splitter.Room();
    REQUIRE(room.size() <= 4'000);
    std::memset(room.data(), 'x', room.size());
    splitter.Filled(room.size());
    filled += room.size();
    std::string_view line;
    REQUIRE_FALSE(splitter.Next(&line));
  }
  CHECK(filled <= 5'000);
}

}  // namespace
}  // namespace strata::tools
