// Very many connections: silent, half-open, idle, slow.
#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "client/connect.h"
#include "tests/hostile/siege.h"
#include "tests/support/catch.h"
#include "tests/support/http2_wire.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// As many as the test's own descriptors allow.
size_t Many(size_t count) {
  const uint64_t most = RaiseFileLimit() - 200;
  return std::min<size_t>(count * static_cast<size_t>(HostileFactor()), most);
}

std::vector<RawConnection> Open(const std::string& address, size_t count,
                                const std::string& bytes) {
  std::vector<RawConnection> all;
  for (size_t i = 0; i < count; ++i) {
    all.emplace_back(address);
    if (!bytes.empty()) all.back().Send(bytes);
  }
  return all;
}

size_t CountClosed(std::vector<RawConnection>* connections) {
  size_t closed = 0;
  for (RawConnection& connection : *connections)
    closed += connection.Hear(milliseconds(0)).closed ? 1 : 0;
  return closed;
}

template <typename Check>
bool Eventually(Check check) {
  for (int i = 0; i < 2000 && !check(); ++i) std::this_thread::sleep_for(milliseconds(5));
  return check();
}

TEST_CASE(
    "thousands that connect and say nothing cost a descriptor each, and make way for others") {
  Siege siege({"server.greetingTimeout=2s"});
  const int before = siege.Descriptors();
  std::vector<RawConnection> silent = Open(siege.tcp(), Many(3000), "");
  // Others get in meanwhile, and those that were first had to go.
  CHECK(ConnectRemote(siege.tcp()).ok());
  CHECK(Eventually([&] { return CountClosed(&silent) + 1024 >= silent.size(); }));
  CHECK(siege.Descriptors() - before <= 1024 + 10);
  // The rest goes when its time is over.
  CHECK(Eventually([&] { return CountClosed(&silent) == silent.size(); }));
  silent.clear();
  CheckToll(&siege, 16);
}

TEST_CASE("a greeting that comes byte by byte is taken, and has to be in time") {
  Siege siege({"server.greetingTimeout=500ms"});
  RawConnection slow(siege.tcp());
  for (const char byte : Greeting() + UnaryCall(1, "/strata.v1.Admin/GetServerInfo", "")) {
    REQUIRE(slow.Send(std::string(1, byte)));
  }
  CHECK(slow.Hear(seconds(10), "grpc-status")
            .Says("grpc-status\x01"
                  "0"));
  RawConnection late(siege.tcp());
  late.Send(Greeting().substr(0, 23));
  CHECK(late.Hear(seconds(10)).closed);
  slow.Close();
  CheckToll(&siege, 16);
}

TEST_CASE("connections beyond the limit are told its name, and get in once there is room again") {
  Siege siege({"limits.maxConnections=50"});
  std::vector<RawConnection> open = Open(siege.tcp(), 50, Greeting());
  for (RawConnection& connection : open) CHECK(connection.Hear(seconds(10), "\x04").Says("\x04"));
  RawConnection one_more(siege.tcp());
  one_more.Send(Greeting());
  const Heard heard = one_more.Hear(seconds(10));
  CHECK(heard.closed);
  CHECK(heard.Says("limits.maxConnections"));
  CHECK(heard.Count(kGoAway) == 1);
  ClientOptions options;
  options.connect_timeout = milliseconds(300);
  const auto refused = ConnectRemote(siege.tcp(), options);
  CHECK_FALSE(refused.ok());
  // The Unix socket has a count of its own.
  CHECK(ConnectRemote(siege.unix_socket()).ok());
  open.clear();
  CHECK(ConnectRemote(siege.tcp()).ok());
  CheckToll(&siege, 16);
}

TEST_CASE("thousands of idle connections have a bounded price") {
  Siege siege;
  const size_t count = std::min<size_t>(Many(1500), 4000);
  for (int round = 0; round < 2; ++round) {
    std::vector<RawConnection> idle = Open(siege.tcp(), count, Greeting());
    REQUIRE(idle.back().Hear(seconds(10), "\x04").Says("\x04"));
  }
  CheckToll(&siege, 16 + static_cast<int64_t>(count) * 32 / 1000);
}

TEST_CASE("connections that come, call and vanish leave nothing behind") {
  Siege siege;
  const std::string bytes =
      Greeting() + UnaryCall(1, "/strata.v1.Admin/GetServerInfo", "") +
      Frame(kHeaders, kEndHeaders, 3, RequestHeaders("/strata.v1.Log/Produce"));
  for (size_t i = 0; i < Many(1000); ++i) RawConnection(siege.unix_socket()).Send(bytes);
  CheckToll(&siege, 48);
}

TEST_CASE("a peer that never answers a ping is given up, whatever it holds") {
  Siege siege({"server.keepalive=1s"});
  std::vector<RawConnection> dead =
      Open(siege.tcp(), 50,
           Greeting() + Frame(kHeaders, kEndHeaders, 1, RequestHeaders("/strata.v1.Log/Consume")));
  CHECK(Eventually([&] { return CountClosed(&dead) == dead.size(); }));
  CheckToll(&siege, 32);
}

}  // namespace
}  // namespace strata::testing
