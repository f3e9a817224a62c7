#include "base/utf8.h"

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace strata {
namespace {

using Range = std::pair<int, int>;

// The Unicode standard's table 3-7, row by row: the bytes that a well-formed sequence may have.
const std::vector<std::vector<Range>> kTable = {
    {{0x00, 0x7f}},
    {{0xc2, 0xdf}, {0x80, 0xbf}},
    {{0xe0, 0xe0}, {0xa0, 0xbf}, {0x80, 0xbf}},
    {{0xe1, 0xec}, {0x80, 0xbf}, {0x80, 0xbf}},
    {{0xed, 0xed}, {0x80, 0x9f}, {0x80, 0xbf}},
    {{0xee, 0xef}, {0x80, 0xbf}, {0x80, 0xbf}},
    {{0xf0, 0xf0}, {0x90, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}},
    {{0xf1, 0xf3}, {0x80, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}},
    {{0xf4, 0xf4}, {0x80, 0x8f}, {0x80, 0xbf}, {0x80, 0xbf}},
};

bool RowMatches(const std::vector<Range>& row, const std::string& text, size_t at) {
  if (text.size() - at < row.size()) return false;
  for (size_t i = 0; i < row.size(); ++i) {
    const int byte = static_cast<uint8_t>(text[at + i]);
    if (byte < row[i].first || byte > row[i].second) return false;
  }
  return true;
}

bool TableAccepts(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    for (const std::vector<Range>& row : kTable) {
      if (RowMatches(row, text, at)) length = row.size();
    }
    if (length == 0) return false;
    at += length;
  }
  return true;
}

// Each border of table 3-7 and its neighbours.
constexpr std::array<uint8_t, 26> kBytes = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                            0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                            0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xfe, 0xff};

// How many strings of `length` bytes out of kBytes are judged otherwise than by the table, with
// `before` and `after` around them.
int Disagreements(size_t length, const std::string& before = "", const std::string& after = "") {
  size_t combinations = 1;
  for (size_t i = 0; i < length; ++i) combinations *= kBytes.size();
  int disagreements = 0;
  for (size_t n = 0; n < combinations; ++n) {
    std::string text = before;
    size_t rest = n;
    for (size_t i = 0; i < length; ++i, rest /= kBytes.size()) {
      text.push_back(static_cast<char>(kBytes[rest % kBytes.size()]));
    }
    text += after;
    if (IsValidUtf8(text) != TableAccepts(text)) ++disagreements;
  }
  return disagreements;
}

TEST_CASE("strings of one to four bytes are UTF-8 exactly where table 3-7 says so") {
  CHECK(IsValidUtf8(""));
  for (const size_t length : {1, 2, 3, 4}) CHECK(Disagreements(length) == 0);
}

TEST_CASE(
    "a sequence is judged the same wherever it lies in the eight bytes that are taken at once") {
  for (size_t before = 0; before <= 9; ++before) {
    INFO(before << " bytes before it");
    CHECK(Disagreements(2, std::string(before, 'x'), "") == 0);
    CHECK(Disagreements(2, std::string(before, 'x'), "yyyyyyyyy") == 0);
    CHECK(Disagreements(3, std::string(before, 'x'), "y") == 0);
  }
}

TEST_CASE("overlong forms, surrogates and what lies above U+10FFFF are refused") {
  CHECK_FALSE(IsValidUtf8("\xc0\x80"));          // U+0000 in two bytes
  CHECK_FALSE(IsValidUtf8("\xe0\x9f\xbf"));      // U+07FF in three
  CHECK_FALSE(IsValidUtf8("\xf0\x8f\xbf\xbf"));  // U+FFFF in four
  CHECK_FALSE(IsValidUtf8("\xed\xa0\x80"));      // U+D800
  CHECK_FALSE(IsValidUtf8("\xed\xbf\xbf"));      // U+DFFF
  CHECK_FALSE(IsValidUtf8("\xf4\x90\x80\x80"));  // U+110000
  CHECK(IsValidUtf8("\xee\x80\x80"));            // U+E000
  CHECK(IsValidUtf8("\xf4\x8f\xbf\xbf"));        // U+10FFFF
  CHECK(IsValidUtf8("\xef\xbf\xbf"));            // U+FFFF, a noncharacter, is well-formed
}

TEST_CASE("a sequence that is cut short is refused at every length") {
  const std::string clef = "\xf0\x9d\x84\x9e";
  for (size_t length = 1; length < clef.size(); ++length) {
    CHECK_FALSE(IsValidUtf8(clef.substr(0, length)));
    CHECK_FALSE(IsValidUtf8("12345678" + clef.substr(0, length)));
  }
  CHECK(IsValidUtf8(clef));
}

TEST_CASE("Text that is not UTF-8 is made readable byte by byte") {
  CHECK(ToValidUtf8("plain") == "plain");
  CHECK(ToValidUtf8("gr\xc3\xbcn") == "gr\xc3\xbcn");
  CHECK(ToValidUtf8("gr\xfcn \xc3\xbc") == "gr?n ??");
  CHECK(ToValidUtf8("").empty());
}

}  // namespace
}  // namespace strata
