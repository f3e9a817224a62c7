#include "tools/format.h"

#include <algorithm>
#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tools/message_format.h"
#include "tools/unterminated.h"

namespace strata::tools {
namespace {

using std::chrono::seconds;

// `messages` as a reader gets them, printed.
std::string Printed(MessageStyle style, const std::vector<Message>& messages,
                    const std::string& separator = "\n") {
  BatchBuilder builder;
  for (const Message& message : messages) builder.Add(message);
  const Buffer batch = builder.Take();
  StringOutput out;
  MessagePrinter printer(style, separator, out);
  BatchIterator it(batch.view(), 17, 1'795'168'800'000'000);
  for (MessageView message; it.Next(&message);) REQUIRE(printer.Print(message).ok());
  REQUIRE(out.Flush().ok());
  return out.text();
}

TEST_CASE("Times are written in UTC with microseconds") {
  CHECK(FormatTime(0) == "1970-01-01T00:00:00.000000Z");
  CHECK(FormatTime(1'795'168'800'000'042) == "2026-11-20T10:00:00.000042Z");
  CHECK(FormatTimeOrNever(0) == "never");
}

TEST_CASE("Durations, sizes and counts are short") {
  CHECK(FormatDuration(std::chrono::milliseconds(950)) == "950 ms");
  CHECK(FormatDuration(seconds(12)) == "12.0 s");
  CHECK(FormatDuration(seconds(245)) == "4m05s");
  CHECK(FormatDuration(seconds(11'520)) == "3h12m");
  CHECK(FormatDuration(seconds(12 * 86'400 + 3 * 3'600)) == "12d03h");
  CHECK(FormatBytes(0) == "0 B");
  CHECK(FormatBytes(999) == "999 B");
  CHECK(FormatBytes(1'000) == "1.0 kB");
  CHECK(FormatBytes(999'949) == "999.9 kB");
  CHECK(FormatBytes(999'950) == "1.0 MB");
  CHECK(FormatBytes(UINT64_MAX) == "18.4 EB");
  CHECK(FormatCount(0) == "0");
  CHECK(FormatCount(999) == "999");
  CHECK(FormatCount(1'000) == "1,000");
  CHECK(FormatCount(1'234'567) == "1,234,567");
}

TEST_CASE("Limits are written as they are typed") {
  CHECK(FormatSpan(0) == "0s");
  CHECK(FormatSpan(3 * 86'400'000'000) == "3d");
  CHECK(FormatSpan(5'400'000'000) == "1h30m");
  CHECK(FormatSpan(1'500'001) == "1s500ms1us");
  CHECK(FormatSize(0) == "0 B");
  CHECK(FormatSize(1'023) == "1023 B");
  CHECK(FormatSize(1'024) == "1 KiB");
  CHECK(FormatSize(256u << 20) == "256 MiB");
  CHECK(FormatSize(3u << 19) == "1.5 MiB");
  CHECK(FormatSize((1u << 20) - 1) == "1 MiB");
  CHECK(FormatSize(UINT64_MAX) == "16 EiB");
}

TEST_CASE("Escaped text has no byte that a terminal would act on") {
  CHECK(EscapeText("plain text") == "plain text");
  CHECK(EscapeText("a\nb\tc\rd\\e") == "a\\nb\\tc\\rd\\\\e");
  CHECK(EscapeText(std::string("\0\x1b[31m\x7f", 7)) == "\\x00\\x1b[31m\\x7f");
  CHECK(EscapeText("gr\xc3\xbc\xc3\x9f \xf0\x9f\x99\x82") == "gr\xc3\xbc\xc3\x9f \xf0\x9f\x99\x82");
  CHECK(EscapeText("\xff\xc3") == "\\xff\\xc3");
  CHECK(EscapeText("\xc2\x9b") == "\\xc2\\x9b");  // CSI as one character
  CHECK(EscapeText("\xed\xa0\x80") == "\\xed\\xa0\\x80");
}

TEST_CASE("Base64 is that of RFC 4648") {
  CHECK(Base64("").empty());
  CHECK(Base64("f") == "Zg==");
  CHECK(Base64("fo") == "Zm8=");
  CHECK(Base64("foo") == "Zm9v");
  CHECK(Base64("foobar") == "Zm9vYmFy");
  CHECK(Base64("\xff\xef\xbe") == "/+++");
}

TEST_CASE("An error says its reason, what happened to the data and what to do") {
  const Status status(Reason::CHANNEL_NOT_FOUND, "there is no channel 'x'");
  CHECK(FormatError(status) ==
        "strata: CHANNEL_NOT_FOUND: there is no channel 'x' (not appended)\n  " +
            std::string(GetErrorInfo(Reason::CHANNEL_NOT_FOUND).what_to_do) + "\n");
}

TEST_CASE("A table aligns words left and numbers right") {
  Table table({{"NAME"}, {"COUNT", Table::Align::kRight}, {"NOTE"}});
  table.Row({"a", "1", "x"});
  table.Row(
      {"gr\xc3\xbc\xc3\x9f"
       "e",
       "1,000,000", ""});
  CHECK(table.ToString() ==
        "NAME       COUNT  NOTE\n"
        "a              1  x\n"
        "gr\xc3\xbc\xc3\x9f"
        "e  1,000,000\n");
}

TEST_CASE("Fields align their values") {
  CHECK(FormatFields({{"a", "1"}, {"long name", "2"}}) ==
        "a:          1\n"
        "long name:  2\n");
}

TEST_CASE("Text output has id, time, properties if any and the escaped payload") {
  CHECK(Printed(MessageStyle::kText, {{"one\n", {}}, {"two", {{"b", "2"}, {"a", "x y"}}}}) ==
        "17  2026-11-20T10:00:00.000000Z  one\\n\n"
        "18  2026-11-20T10:00:00.000000Z  {a=x y, b=2}  two\n");
}

TEST_CASE("Raw output is payload and separator") {
  CHECK(Printed(MessageStyle::kRaw, {{"one", {}}, {"", {}}, {"t\0wo", {{"a", "b"}}}}) ==
        "one\n\nt\n");
  CHECK(Printed(MessageStyle::kRaw, {{"one", {}}, {"two", {}}}, "--") == "one--two--");
}

TEST_CASE("Raw output leaves the separator out where the input had none") {
  Properties mark;
  MarkUnterminated(3, 1'000, &mark);
  CHECK(mark == Properties{{"strata.unterminated", "1"}});
  CHECK(Printed(MessageStyle::kRaw, {{"one", {}}, {"two", mark}}) == "one\ntwo");
}

TEST_CASE("The mark of an unterminated message takes no room where there is none") {
  Properties mark{{"a", "bc"}};
  MarkUnterminated(978, 1'000, &mark);
  CHECK(mark == Properties{{"a", "bc"}, {"", ""}});
  CHECK(Printed(MessageStyle::kRaw, {{"two", mark}}) == "two");
  // 977 + 3 + 20 bytes fit exactly.
  mark = {{"a", "bc"}};
  MarkUnterminated(977, 1'000, &mark);
  CHECK(mark.count("strata.unterminated") == 1);
}

TEST_CASE("JSON output has one object on each line and base64 for what is not text") {
  const std::string lines =
      Printed(MessageStyle::kJson, {{"on\"e\n", {}}, {std::string("\xff\0", 2), {{"k", "v"}}}});
  const size_t end = lines.find('\n');
  const auto first = nlohmann::json::parse(lines.substr(0, end));
  CHECK(first == nlohmann::json{
                     {"id", 17}, {"time", "2026-11-20T10:00:00.000000Z"}, {"payload", "on\"e\n"}});
  const auto second = nlohmann::json::parse(lines.substr(end + 1));
  CHECK(second == nlohmann::json{{"id", 18},
                                 {"time", "2026-11-20T10:00:00.000000Z"},
                                 {"properties", {{"k", "v"}}},
                                 {"payload_base64", "/wA="}});
  CHECK(lines.back() == '\n');
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
}

TEST_CASE("A gap is an object in JSON and a sentence otherwise") {
  const Gap gap{5, 100, GapReason::kTrimmed};
  StringOutput out;
  REQUIRE(MessagePrinter(MessageStyle::kJson, "\n", out).Print(gap).ok());
  REQUIRE(MessagePrinter(MessageStyle::kRaw, "\n", out).Print(gap).ok());
  REQUIRE(out.Flush().ok());
  CHECK(out.text() == "{\"gap\":{\"first\":5,\"last\":100,\"reason\":\"TRIMMED\"}}\n");
  CHECK(FormatGap(gap) == "ids 5..100 are missing: TRIMMED, truncated, or removed by retention");
}

}  // namespace
}  // namespace strata::tools
