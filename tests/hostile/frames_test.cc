// What is no HTTP/2, no gRPC or too much of it, on one connection at a time.
#include <cstdlib>
#include <string>
#include <vector>

#include "server/inbound_guard.h"
#include "tests/hostile/siege.h"
#include "tests/support/catch.h"
#include "tests/support/http2_wire.h"
#include "tests/support/random.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kServerInfo[] = "/strata.v1.Admin/GetServerInfo";
constexpr char kProduce[] = "/strata.v1.Log/Produce";

std::string Repeat(const std::string& text, int times) {
  std::string all;
  all.reserve(text.size() * static_cast<size_t>(times));
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// Streams first, first + 2, ... of a call that is opened and not ended.
std::string OpenStreams(int count, const std::string& after_each = "",
                        const char* path = kProduce) {
  std::string all;
  for (int i = 0; i < count; ++i) {
    const auto stream = static_cast<uint32_t>(1 + 2 * i);
    all += Frame(kHeaders, kEndHeaders, stream, RequestHeaders(path));
    if (!after_each.empty()) all += Frame(kResetStream, kNoFlags, stream, after_each);
  }
  return all;
}

struct Attack {
  const char* name;
  std::string bytes;
  // What the daemon says about it; empty: it has to close the connection.
  std::string answer;
};

// Sends it on a connection of its own; what is wrong about the answer.
std::string TryOn(const std::string& address, const Attack& attack) {
  RawConnection connection(address);
  connection.Send(attack.bytes);
  const Heard heard = connection.Hear(seconds(60), attack.answer);
  if (attack.answer.empty()) return heard.closed ? "" : "the connection was left open";
  return heard.Says(attack.answer) ? "" : "it was not told '" + attack.answer + "'";
}

void CheckAll(const std::vector<Attack>& attacks, int64_t most_mb = 32) {
  Siege siege;
  // TCP and the Unix socket in turns, and both where more is asked for.
  const size_t times = attacks.size() * (HostileFactor() > 1 ? 2 : 1);
  for (size_t i = 0; i < times; ++i) {
    const Attack& attack = attacks[i % attacks.size()];
    const std::string& address =
        (i + i / attacks.size()) % 2 == 0 ? siege.tcp() : siege.unix_socket();
    INFO(attack.name << " on " << address);
    CHECK(TryOn(address, attack) == "");
  }
  CheckToll(&siege, most_mb);
}

TEST_CASE("what is no HTTP/2 is closed, and told why where it can understand it") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  CheckAll({
      {"random bytes", "\x01" + random.Bytes(10'000), ""},
      {"another preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", ""},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + random.Bytes(500),
       ""},
      {"HTTP/1", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"},
      {"HTTP/1 POST", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", "stratad serves gRPC here"},
      {"random bytes behind the preface", Greeting() + random.Bytes(100'000), ""},
  });
}

TEST_CASE("frames that HTTP/2 forbids end the connection") {
  const std::string headers = RequestHeaders(kProduce);
  CheckAll({
      {"a frame of 16 MB",
       Greeting() + Number(0xffffff, 3) + Number(0, 6) + std::string(70'000, 'x'), ""},
      {"settings of 5 bytes", Greeting() + Frame(kSettings, kNoFlags, 0, "12345"), ""},
      {"a window above 2^31",
       Greeting() + Frame(kSettings, kNoFlags, 0, Number(4, 2) + Number(0xffffffff, 4)), ""},
      {"a ping of 7 bytes", Greeting() + Frame(kPing, kNoFlags, 0, "1234567"), ""},
      {"a reset of 3 bytes", Greeting() + Frame(kResetStream, kNoFlags, 1, "123"), ""},
      {"a window update of 3 bytes", Greeting() + Frame(kWindowUpdate, kNoFlags, 0, "123"), ""},
      {"a continuation of nothing", Greeting() + Frame(kContinuation, kEndHeaders, 1, headers), ""},
      {"data inside a header block",
       Greeting() + Frame(kHeaders, kNoFlags, 1, headers) + Frame(kData, kNoFlags, 1, "x"), ""},
      {"the header block of another stream",
       Greeting() + Frame(kHeaders, kNoFlags, 1, headers) +
           Frame(kContinuation, kEndHeaders, 3, ""),
       ""},
      {"a header that is not in the table",
       Greeting() + Frame(kHeaders, kEndHeaders, 1, "\xff\xff\xff\x7f"), ""},
  });
}

TEST_CASE("floods of frames on one connection end it before they cost much") {
  const std::string cancel = Number(8, 4);
  const std::string fields = Repeat(HeaderField("x", std::string(4000, 'x')), 4);
  std::string string_without_end =
      Frame(kHeaders, kNoFlags, 1, RequestHeaders(kProduce) + HeaderFieldBegin("x", 1 << 30));
  string_without_end += Repeat(Frame(kContinuation, kNoFlags, 1, std::string(16'000, 'x')), 1000);
  CheckAll(
      {
          {"pings", Greeting() + Repeat(Frame(kPing, kNoFlags, 0, "12345678"), 100'000), ""},
          {"settings", Greeting() + Repeat(Frame(kSettings, kNoFlags, 0), 100'000), ""},
          {"priorities", Greeting() + Repeat(Frame(kPriority, kNoFlags, 1, "12345"), 100'000), ""},
          {"frames of an unknown type", Greeting() + Repeat(Frame(77, kNoFlags, 0), 100'000), ""},
          {"data without data",
           Greeting() + OpenStreams(1) + Repeat(Frame(kData, kNoFlags, 1), 100'000), ""},
          {"streams that are reset at once", Greeting() + OpenStreams(30'000, cancel), ""},
          {"resets of nothing",
           Greeting() + Repeat(Frame(kResetStream, kNoFlags, 1, cancel), 100'000), ""},
          {"a header string without end", Greeting() + string_without_end, ""},
          {"headers without end",
           Greeting() + Frame(kHeaders, kNoFlags, 1, RequestHeaders(kProduce)) +
               Repeat(Frame(kContinuation, kNoFlags, 1, fields), 1000),
           ""},
          {"continuations of nothing without end",
           Greeting() + Frame(kHeaders, kNoFlags, 1, RequestHeaders(kProduce)) +
               Repeat(Frame(kContinuation, kNoFlags, 1), 100'000),
           ""},
          {"streams without end", Greeting() + OpenStreams(21'000), ""},
      },
      // 20,000 calls at once, of which gRPC and the daemon keep 15 to 24 KB each (of those that are reset
      // some, of those that are open all, and the allocator the rest).
      20'000 * 32 / 1000);
}

TEST_CASE("requests that are no gRPC, or none that the daemon knows, get an error") {
  const std::string call =
      Greeting() + Frame(kHeaders, kEndHeaders, 1, RequestHeaders(kServerInfo));
  const auto with = [](const std::string& more) {
    return Greeting() + Frame(kHeaders, kEndHeaders, 1, RequestHeaders(kServerInfo, more)) +
           Frame(kData, kEndStream, 1, GrpcMessage(""));
  };
  CheckAll({
      {"an unknown method", Greeting() + UnaryCall(1, "/strata.v1.Log/Format", ""),
       "grpc-status\x02"
       "12"},
      {"a path with tricks", Greeting() + UnaryCall(1, "/../../etc/passwd", ""),
       "grpc-status\x02"
       "12"},
      {"no path",
       Greeting() +
           Frame(kHeaders, kEndHeaders | kEndStream, 1, "\x83\x86" + HeaderField("te", "trailers")),
       "grpc-status"},
      {"no te",
       Greeting() + Frame(kHeaders, kEndHeaders | kEndStream, 1,
                          "\x83\x86" + HeaderField(":path", kServerInfo)),
       "te header"},
      {"another te", with(HeaderField("te", "x")), "grpc-status"},
      {"metadata above 16 KiB", with(Repeat(HeaderField("x", std::string(6000, 'x')), 3)),
       "grpc-status"},
      {"a message that ends before its length",
       call + Frame(kData, kEndStream, 1, Number(0, 1) + Number(0xffffffff, 4) + "x"),
       "grpc-status"},
      {"compressed without saying how", call + Frame(kData, kEndStream, 1, GrpcMessage("x", true)),
       "grpc-status"},
      {"compressed rubbish",
       Greeting() +
           Frame(kHeaders, kEndHeaders, 1,
                 RequestHeaders(kServerInfo, HeaderField("grpc-encoding", "gzip"))) +
           Frame(kData, kEndStream, 1, GrpcMessage("rubbish", true)),
       "'gzip' is disabled"},
  });
}

TEST_CASE("a guard follows frames however they are cut, and knows each limit") {
  const auto now = std::chrono::steady_clock::now();
  const std::string big(server::InboundGuard::kMaxHeaderBlock / 2, 'x');
  const std::string fits =
      Frame(kHeaders, kNoFlags, 1, big) + Frame(kContinuation, kEndHeaders, 1, big);
  const std::string stream =
      Greeting() + fits + Frame(kData, kNoFlags, 1, std::string(70'000, '\x01')) + fits;
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}, stream.size()}) {
    INFO("in pieces of " << piece);
    server::InboundGuard guard(nullptr);
    for (size_t at = 0; at < stream.size(); at += piece) {
      REQUIRE(guard.Inspect(std::string_view(stream).substr(at, piece), now) == nullptr);
    }
    const char* const why = guard.Inspect(
        Frame(kHeaders, kNoFlags, 3, big) + Frame(kContinuation, kNoFlags, 3, big + "x"), now);
    REQUIRE(why != nullptr);
    CHECK(std::string(why).find("header block") != std::string::npos);
  }
}

TEST_CASE("a guard counts what is unfinished of messages, until they are complete or given up") {
  const auto now = std::chrono::steady_clock::now();
  constexpr int64_t kMiB = 1 << 20;
  constexpr int64_t kLimit = 10 * kMiB;
  server::UnfinishedBudget budget(kLimit);
  // It is told in steps of 16 KiB.
  const auto holds = [&](int64_t bytes) { return std::abs(budget.held() - bytes) < (32 << 10); };
  const std::string half(kMiB, 'x');
  const auto begin = [&](uint32_t stream) {
    return Frame(kData, kNoFlags, stream, Number(0, 1) + Number(2 * kMiB, 4) + half);
  };
  {
    server::InboundGuard guard(&budget);
    // As other calls go on in between, and however it is cut.
    const std::string bytes = Greeting() + begin(1) + Frame(kData, kNoFlags, 3, GrpcMessage("x")) +
                              begin(5) + Frame(kPing, kNoFlags, 0, "12345678");
    for (size_t at = 0; at < bytes.size(); at += 1000) {
      REQUIRE(guard.Inspect(std::string_view(bytes).substr(at, 1000), now) == nullptr);
    }
    CHECK(holds(2 * kMiB));
    // Complete, with the next message behind it; and reset.
    REQUIRE(guard.Inspect(Frame(kData, kNoFlags, 1, half + GrpcMessage("")), now) == nullptr);
    CHECK(holds(kMiB));
    REQUIRE(guard.Inspect(Frame(kResetStream, kNoFlags, 5, Number(8, 4)), now) == nullptr);
    REQUIRE(guard.Inspect(begin(7), now) == nullptr);
    CHECK(holds(kMiB));
    // As much as is free: half of all.
    const char* why = nullptr;
    for (uint32_t stream = 9; why == nullptr; stream += 2) why = guard.Inspect(begin(stream), now);
    CHECK(std::string(why).find("limits.maxUnfinished") != std::string::npos);
    CHECK(budget.held() >= kLimit / 2);
    CHECK(budget.held() <= kLimit / 2 + 2 * kMiB);
    // Small messages of others get through meanwhile.
    server::InboundGuard other(&budget);
    const std::string small = Number(0, 1) + Number(60'000, 4) + std::string(50'000, 'x');
    CHECK(other.Inspect(Greeting() + Frame(kData, kNoFlags, 1, small), now) == nullptr);
  }
  CHECK(budget.held() == 0);
}

TEST_CASE("a guard wants the settings acknowledged before many calls") {
  const auto now = std::chrono::steady_clock::now();
  const int most = server::InboundGuard::kMaxCallsBeforeSettings;
  const std::string calls = OpenStreams(most);
  server::InboundGuard silent(nullptr);
  CHECK(silent.Inspect(Greeting() + calls, now) == nullptr);
  const char* const why = silent.Inspect(OpenStreams(1), now);
  REQUIRE(why != nullptr);
  CHECK(std::string(why).find("settings") != std::string::npos);
  server::InboundGuard polite(nullptr);
  CHECK(polite.Inspect(Greeting() + calls + Frame(kSettings, kAck, 0), now) == nullptr);
  CHECK(polite.Inspect(calls, now) == nullptr);
}

TEST_CASE("an allowance is for a burst, and grows again with time") {
  auto now = std::chrono::steady_clock::now();
  server::Allowance allowance(3, 10);
  for (int i = 0; i < 3; ++i) CHECK(allowance.Take(now));
  CHECK_FALSE(allowance.Take(now));
  now += milliseconds(100);
  CHECK(allowance.Take(now));
  CHECK_FALSE(allowance.Take(now));
  now += seconds(60);
  for (int i = 0; i < 3; ++i) CHECK(allowance.Take(now));
  CHECK_FALSE(allowance.Take(now));
}

}  // namespace
}  // namespace strata::testing
