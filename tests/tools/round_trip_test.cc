// What goes in with `strata produce` comes out with `strata consume -o raw`, at every kind of
// address.
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/tools/command_line.h"

namespace strata::tools {
namespace {

using nlohmann::json;

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  REQUIRE(file.flush().good());
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// `lines` lines of 0 to 200 bytes of any value but the newline's.
std::string RandomLines(uint64_t seed, int lines) {
  std::mt19937_64 random(seed);
  std::string text;
  for (int i = 0; i < lines; ++i) {
    for (uint64_t left = random() % 200; left > 0; --left) {
      const auto byte = static_cast<char>(random());
      text += byte == '\n' ? ' ' : byte;
    }
    text += '\n';
  }
  return text;
}

// Not CHECK(a == b): nobody wants megabytes printed.
bool Same(const std::string& a, const std::string& b) { return a == b; }

TEST_CASE("A file of 100,000 lines comes back byte for byte", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix", "embedded");
  const uint64_t seed = std::random_device()();
  INFO(kind << ", seed " << seed);
  const Place place(kind);
  const std::string text = RandomLines(seed, 100'000);
  WriteFile(place.path("in"), text);

  const testing::Outcome produced = place.Try({"produce", "logs", place.path("in")});
  INFO(produced.ToString());
  REQUIRE(produced.exit_code == 0);
  CHECK(Contains(produced.err, "100,000 messages, "));
  CHECK(Contains(produced.err, ", ids 1..100000 stored in logs\n"));

  const testing::Outcome consumed =
      testing::Run({.argv = place.Command({"consume", "logs", "--from", "earliest", "-o", "raw"}),
                    .output_file = place.path("out")});
  INFO(consumed.ToString());
  REQUIRE(consumed.exit_code == 0);
  CHECK(consumed.err.empty());
  CHECK(Same(ReadFile(place.path("out")), text));
}

TEST_CASE("Input of every shape comes back byte for byte", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix", "embedded");
  const Place place(kind);
  const std::vector<std::string> inputs = {
      "",
      "\n",
      "\n\n\n",
      "one line\n",
      "no newline at the end",
      "two\nlines and no newline at the end",
      "\nempty lines\n\n\nbetween\n",
      "carriage\r\nreturns\r\n\r\n",
      std::string("zero\0bytes\n\0\n\0", 14),
      "\xff\xfe not text \x80\n",
      std::string(100'000, 'x') + "\n" + std::string(3'000'000, 'y') + "\nshort\n",
      std::string(2'000'000, 'z'),
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    INFO(kind << ", input " << i);
    const std::string channel = "c" + std::to_string(i);
    place.Do({"produce", channel}, inputs[i]);
    CHECK(Same(place.Do({"consume", channel, "-o", "raw"}), inputs[i]));
  }
  // One after the other in one channel, as `cat` would have it.
  place.Do({"produce", "all", "-"}, "a\nb");
  place.Do({"produce", "all", "-"}, "c\n");
  CHECK(place.Do({"consume", "all", "-o", "raw"}) == "a\nbc\n");
}

TEST_CASE("A message of 16 MiB comes back byte for byte", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "unix", "embedded");
  INFO(kind);
  const Place place(kind);
  std::string bytes = RandomLines(7, 180'000);
  REQUIRE(bytes.size() > 16u << 20);
  bytes.resize(16u << 20);
  WriteFile(place.path("in"), bytes);
  place.Do({"produce", "big", "--raw", place.path("in")});
  CHECK(Contains(place.Do({"channel", "describe", "big"}), "messages:           1\n"));
  CHECK(Same(place.Do({"consume", "big", "-o", "raw"}), bytes));

  const testing::Outcome refused = place.Try({"produce", "big", "--raw"}, bytes + "x");
  CHECK(refused.exit_code == 1);
  CHECK(Contains(refused.err, "strata: MESSAGE_TOO_LARGE: message 1 of the input"));
  CHECK(Contains(refused.err, "(not appended)"));
}

TEST_CASE("Other separators cut and come back", "[end-to-end]") {
  const Place place("embedded");
  const std::string zeros("one\0two\n\0\0", 10);
  place.Do({"produce", "zeros", "--separator", "\\0"}, zeros);
  CHECK(place.Do({"consume", "zeros", "-o", "raw", "--separator", "\\x00"}) == zeros);
  CHECK(place.Do({"consume", "zeros", "-o", "raw", "--max", "1"}) == "one\n");
  place.Do({"produce", "words", "--separator", "--"}, "a--b---");
  CHECK(place.Do({"consume", "words", "-o", "raw", "--separator", ", "}) == "a, b, -");
  CHECK(place.Do({"consume", "words", "-o", "raw", "--separator", ""}) == "ab-");
}

TEST_CASE("Properties come back", "[end-to-end]") {
  const std::string kind = GENERATE("tcp", "embedded");
  INFO(kind);
  const Place place(kind);
  place.Do({"produce", "logs", "--property", "source=a=b", "--property",
            "name=gr\xc3\xbc\xc3\x9f"
            "e"},
           "one\n\xff\n");
  const std::string lines = place.Do({"consume", "logs", "-o", "json"});
  const size_t end = lines.find('\n');
  const json first = json::parse(lines.substr(0, end));
  CHECK(first["id"] == 1);
  CHECK(first["payload"] == "one");
  CHECK(first["properties"] == json{{"source", "a=b"},
                                    {"name",
                                     "gr\xc3\xbc\xc3\x9f"
                                     "e"}});
  const json second = json::parse(lines.substr(end + 1));
  CHECK(second["payload_base64"] == "/w==");
  CHECK(second["properties"] == first["properties"]);
  CHECK(Contains(place.Do({"consume", "logs"}),
                 "{name=gr\xc3\xbc\xc3\x9f"
                 "e, source=a=b}  one\n"));
}

}  // namespace
}  // namespace strata::tools
