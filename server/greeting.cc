#include "server/greeting.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace strata::server {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static_assert(kPreface.size() == kGreetingSize);

constexpr uint8_t kSettings = 4;
constexpr uint8_t kGoAway = 7;
constexpr uint32_t kEnhanceYourCalm = 11;

void AppendNumber(uint32_t number, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(number >> shift));
  }
}

// The header of a frame that concerns the connection.
void AppendFrame(uint8_t type, size_t length, std::string* out) {
  AppendNumber(static_cast<uint32_t>(length), 3, out);
  AppendNumber(type, 1, out);
  AppendNumber(0, 1, out);
  AppendNumber(0, 4, out);
}

}  // namespace

Greeting JudgeGreeting(std::string_view bytes) {
  bytes = bytes.substr(0, kGreetingSize);
  if (kPreface.starts_with(bytes)) {
    return bytes.size() == kGreetingSize ? Greeting::kHttp2 : Greeting::kIncomplete;
  }
  for (const std::string_view method : {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS "}) {
    if (bytes.starts_with(method)) return Greeting::kHttp1;
    if (method.starts_with(bytes)) return Greeting::kIncomplete;
  }
  return Greeting::kOther;
}

std::string Http2Refusal(std::string_view why) {
  std::string out;
  AppendFrame(kSettings, 0, &out);
  AppendFrame(kGoAway, 8 + why.size(), &out);
  AppendNumber(0, 4, &out);
  AppendNumber(kEnhanceYourCalm, 4, &out);
  out += why;
  return out;
}

std::string Http1Refusal(std::string_view why) {
  return fmt::format(
      "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}\n",
      why.size() + 1, why);
}

}  // namespace strata::server
