#include "base/types.h"

#include <string>

#include "tests/support/catch.h"

namespace strata {
namespace {

TEST_CASE("a name has 1 to 249 letters, digits, dots, underscores and dashes") {
  CHECK(IsValidName("a"));
  CHECK(IsValidName("by-dev-rootcoord-dml_0"));
  CHECK(IsValidName("0.A_z-"));
  CHECK(IsValidName(std::string(249, 'x')));
  CHECK_FALSE(IsValidName(""));
  CHECK_FALSE(IsValidName(std::string(250, 'x')));
}

TEST_CASE("a name of dots alone is a folder's to one and two of them, and a name from three on") {
  CHECK_FALSE(IsValidName("."));
  CHECK_FALSE(IsValidName(".."));
  CHECK(IsValidName("..."));
  CHECK(IsValidName(".hidden"));
}

TEST_CASE("a name has no other byte anywhere") {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool expected = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    INFO("byte " << byte);
    CHECK(IsValidName(std::string("a") + c) == expected);
    CHECK(IsValidName(c + std::string("a")) == expected);
    CHECK(IsValidName(std::string("a") + c + "a") == expected);
  }
}

TEST_CASE("each reason of a gap has its name on the wire") {
  CHECK(GapReasonName(GapReason::kTrimmed) == "TRIMMED");
  CHECK(GapReasonName(GapReason::kCorrupt) == "CORRUPT");
  CHECK(GapReasonName(GapReason::kLost) == "LOST");
  CHECK(GapReasonName(static_cast<GapReason>(9)) == "UNKNOWN");
}

}  // namespace
}  // namespace strata
