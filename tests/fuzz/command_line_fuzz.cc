// Any bytes as what a person types: addresses, positions, times, sizes, escapes, properties; and any
// bytes as input that `strata produce` cuts into lines. The first byte chooses.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "client/address.h"
#include "tests/fuzz/fuzz.h"
#include "tools/line_splitter.h"
#include "tools/parse.h"

namespace strata {
namespace {

constexpr TimeMicros kNow = 1'790'000'000'000'000;

void CheckRefusal(const Status& status) {
  FUZZ_CHECK(status.reason() == Reason::INVALID_ARGUMENT && !status.message().empty());
}

std::string PercentDecoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    FUZZ_CHECK(i + 2 < text.size());
    out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
    i += 2;
  }
  return out;
}

// What gRPC is told to dial is what was typed, and nothing in it means something else in a URI.
void CheckAddress(const std::string& text) {
  const auto address = ParseAddress(text);
  if (!address.ok()) return CheckRefusal(address.status());
  FUZZ_CHECK(text.find('\0') == std::string::npos);
  switch (address->kind) {
    case Address::Kind::kTcp: {
      const std::string& target = address->target;
      FUZZ_CHECK(target == "ipv4:" + text || target == "ipv6:" + text ||
                 target == "dns:///" + text);
      FUZZ_CHECK(std::all_of(text.begin(), text.end(),
                             [](unsigned char c) { return c > ' ' && c < 0x7f; }));
      FUZZ_CHECK(text.find_first_of("?#/@\\") == std::string::npos);
      // A zone of an IPv6 address is the only place for a percent sign.
      FUZZ_CHECK(text.find('%') == std::string::npos || target.starts_with("ipv6:"));
      break;
    }
    case Address::Kind::kUnix: {
      FUZZ_CHECK(address->target.starts_with("unix:"));
      FUZZ_CHECK(address->target.find_first_of("?# ") == std::string::npos);
      const std::string path = PercentDecoded(address->target.substr(5));
      FUZZ_CHECK(!path.starts_with("//"));
      FUZZ_CHECK(text == "unix:" + path || text == "unix://" + path);
      break;
    }
    case Address::Kind::kEmbedded:
      FUZZ_CHECK(!address->directory.empty() && address->target.empty());
      FUZZ_CHECK(text == "embedded:" + address->directory +
                             (address->config.empty() ? "" : "?config=" + address->config));
  }
}

void CheckStart(const std::string& text) {
  const auto start = tools::ParseStart(text, kNow);
  if (!start.ok()) return CheckRefusal(start.status());
  using Kind = StartPosition::Kind;
  if (start->kind == Kind::kAtId) FUZZ_CHECK(std::stoll(text) == start->id && start->id >= 0);
  if (start->kind == Kind::kAfterId) FUZZ_CHECK(std::stoll(text.substr(6)) == start->id);
  if (start->kind == Kind::kAtTime) FUZZ_CHECK(tools::ParseTime(text, kNow).ok());
}

void CheckAmounts(const std::string& text) {
  const auto time = tools::ParseTime(text, kNow);
  const auto duration = tools::ParseDuration(text);
  if (duration.ok()) {
    FUZZ_CHECK(*duration >= 0);
    const auto ago = tools::ParseTime("-" + text, kNow);
    FUZZ_CHECK(ago.ok() && *ago == kNow - *duration);
  } else {
    CheckRefusal(duration.status());
  }
  // An amount of time is no instant.
  FUZZ_CHECK(!time.ok() || !duration.ok());
  const auto bytes = tools::ParseSize(text);
  if (bytes.ok()) {
    FUZZ_CHECK(*bytes >= 0);
  } else {
    CheckRefusal(bytes.status());
  }
  const auto rule = tools::ParseRetentionSize(text);
  FUZZ_CHECK(rule.ok() == (bytes.ok() || text == "off" || text == "default"));
  const auto most = tools::ParseMaxMessages(text);
  FUZZ_CHECK(!most.ok() || !most->has_value() || **most >= kNoLimit);
}

void CheckEscapes(const std::string& text) {
  const auto bytes = tools::ParseEscapes(text);
  if (bytes.ok()) {
    FUZZ_CHECK(bytes->size() <= text.size());
    FUZZ_CHECK(text.find('\\') != std::string::npos || *bytes == text);
  } else {
    CheckRefusal(bytes.status());
    FUZZ_CHECK(text.find('\\') != std::string::npos);
  }
  // Any bytes can be written, and mean themselves.
  std::string escaped;
  for (const char c : text) {
    constexpr char kHex[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    escaped += std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
  }
  const auto back = tools::ParseEscapes(escaped);
  FUZZ_CHECK(back.ok() && *back == text);
}

void CheckProperty(const std::string& text) {
  const auto property = tools::ParseProperty(text);
  if (!property.ok()) return CheckRefusal(property.status());
  FUZZ_CHECK(property->first + "=" + property->second == text && !property->first.empty());
  FUZZ_CHECK(property->first.find('=') == std::string::npos && IsValidUtf8(text));
}

// The lines of a stream are those of its bytes, however they arrive.
void CheckLines(fuzz::Input* input) {
  std::string separator(input->Take(1 + input->Byte() % 3));
  if (separator.empty()) separator = "\n";
  const size_t max_line = input->Byte();
  const size_t block = 1 + input->Byte() % 16;
  std::string_view left = input->rest();
  testing::Random random = fuzz::RandomOf(left);

  tools::LineSplitter splitter(separator, max_line, block);
  std::string_view expected = left;  // what is not yet given out
  bool too_long = false;
  while (!too_long && !left.empty()) {
    const auto room = splitter.Room();
    FUZZ_CHECK(room.size() >= block);
    const size_t filled = 1 + random.Below(std::min(left.size(), room.size()));
    std::memcpy(room.data(), left.data(), filled);
    splitter.Filled(filled);
    left.remove_prefix(filled);
    for (std::string_view line; splitter.Next(&line);) {
      const size_t end = expected.find(separator);
      FUZZ_CHECK(end != std::string_view::npos && line == expected.substr(0, end));
      expected.remove_prefix(end + separator.size());
    }
    too_long = splitter.too_long();
  }
  const std::string_view rest = splitter.Rest();
  FUZZ_CHECK(rest == expected.substr(0, expected.size() - left.size()));
  FUZZ_CHECK(rest.find(separator) == std::string_view::npos);
  FUZZ_CHECK(too_long == (rest.size() > max_line + separator.size() - 1));
}

}  // namespace
}  // namespace strata

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  fuzz::Input input(data, size);
  const uint8_t kind = input.Byte() % 6;
  if (kind == 5) {
    CheckLines(&input);
    return 0;
  }
  const std::string text(input.rest());
  constexpr void (*kChecks[])(const std::string&) = {CheckAddress, CheckStart, CheckAmounts,
                                                     CheckEscapes, CheckProperty};
  kChecks[kind](text);
  return 0;
}
