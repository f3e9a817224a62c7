// The proxy that tests break connections with: what it forwards, and what each way of breaking looks
// like to plain sockets at both ends.
#include "tests/support/flaky_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;

sockaddr_in Loopback(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

sockaddr_un UnixAt(const std::string& path) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  memcpy(at.sun_path, path.c_str(), path.size() + 1);
  return at;
}

// One end of a connection. Reads give up after ten seconds.
class End {
 public:
  explicit End(int fd) : fd_(fd) {
    const timeval bound = {10, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
  }
  End(End&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~End() {
    if (fd_ >= 0) close(fd_);
  }

  static End ConnectedTo(const std::string& address) {
    if (address.starts_with("unix:")) {
      const sockaddr_un at = UnixAt(address.substr(5));
      End end(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      connect(end.fd_, reinterpret_cast<const sockaddr*>(&at), sizeof(at));
      return end;
    }
    const sockaddr_in at = Loopback(std::stoi(address.substr(address.rfind(':') + 1)));
    End end(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    connect(end.fd_, reinterpret_cast<const sockaddr*>(&at), sizeof(at));
    return end;
  }

  bool Send(const std::string& bytes) {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // So many bytes, or "END", "RESET" or "NOTHING" where they stop.
  std::string Read(size_t count) {
    std::string bytes;
    while (bytes.size() < count) {
      char block[4096];
      const ssize_t n = recv(fd_, block, std::min(sizeof(block), count - bytes.size()), 0);
      if (n == 0) return bytes + "END";
      if (n < 0) return bytes + (errno == ECONNRESET || errno == EPIPE ? "RESET" : "NOTHING");
      bytes.append(block, static_cast<size_t>(n));
    }
    return bytes;
  }
  // True if nothing arrives for a moment: what must not come is waited for as shortly as it would
  // take to come.
  bool Silent() {
    pollfd fd = {fd_, POLLIN, 0};
    return poll(&fd, 1, 50) == 0;
  }
  void FinishSending() { shutdown(fd_, SHUT_WR); }

 private:
  int fd_;
};

// What the proxy connects to.
class Target {
 public:
  Target() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at = Loopback(0);
    socklen_t size = sizeof(at);
    REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(listen(fd_, 1000) == 0);
    const timeval bound = {10, 0};  // of accept()
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address_ = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
  }
  ~Target() { close(fd_); }

  const std::string& address() const { return address_; }
  End Accept() { return End(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }
  // Within 10 ms.
  bool SomebodyComes() {
    pollfd fd = {fd_, POLLIN, 0};
    return poll(&fd, 1, 10) == 1;
  }

 private:
  int fd_;
  std::string address_;
};

struct Connected {
  explicit Connected(FlakyProxyOptions options = {})
      : proxy([&] {
          options.target = target.address();
          return options;
        }()),
        client(End::ConnectedTo(proxy.address())),
        server(target.Accept()) {}

  Target target;
  FlakyProxy proxy;
  End client;
  End server;
};

TEST_CASE("A proxy forwards both ways, and the end of either") {
  TempDir dir;
  Connected c(
      {.target = {}, .listen = GENERATE(true, false) ? "127.0.0.1:0" : "unix:" + (dir / "socket")});
  REQUIRE(c.client.Send("question"));
  CHECK(c.server.Read(8) == "question");
  REQUIRE(c.server.Send("answer"));
  CHECK(c.client.Read(6) == "answer");
  c.client.FinishSending();
  CHECK(c.server.Read(1) == "END");
  REQUIRE(c.server.Send("last words"));
  CHECK(c.client.Read(10) == "last words");
  c.server.FinishSending();
  CHECK(c.client.Read(1) == "END");
  CHECK(c.proxy.counters().accepted == 1);
  CHECK(c.proxy.counters().bytes == 24);
}

TEST_CASE("A peer that does not read holds the other one up, and nothing is lost") {
  Connected c;
  constexpr size_t kBytes = 20 << 20;
  std::string bytes(kBytes, '\0');
  Random random(1);
  for (char& byte : bytes) byte = static_cast<char>(random.Below(256));
  bool sent = false;
  std::thread sender([&] { sent = c.client.Send(bytes); });
  const bool equal = c.server.Read(kBytes) == bytes;
  sender.join();
  CHECK(sent);
  CHECK(equal);
}

TEST_CASE("A cut ends every connection at both ends, and new ones get through") {
  Connected c;
  const auto how = GENERATE(FlakyProxy::Cut::kReset, FlakyProxy::Cut::kFin);
  c.proxy.CutAll(how);
  const std::string end = how == FlakyProxy::Cut::kReset ? "RESET" : "END";
  CHECK(c.client.Read(1) == end);
  CHECK(c.server.Read(1) == end);
  CHECK(c.proxy.counters().cut == 1);
  CHECK(c.proxy.counters().open == 0);
  End again = End::ConnectedTo(c.proxy.address());
  End served = c.target.Accept();
  REQUIRE(again.Send("x"));
  CHECK(served.Read(1) == "x");
}

TEST_CASE("A half-closed direction ends for its receiver, swallows, and leaves the other one") {
  Connected c;
  c.proxy.HalfCloseAll(FlakyProxy::Direction::kToTarget);
  CHECK(c.server.Read(1) == "END");
  REQUIRE(c.client.Send("swallowed"));
  REQUIRE(c.server.Send("still here"));
  CHECK(c.client.Read(10) == "still here");
  c.proxy.HalfCloseAll(FlakyProxy::Direction::kToClient);
  CHECK(c.client.Read(1) == "END");
  CHECK(c.proxy.counters().half_closed == 2);
}

TEST_CASE("A delay holds bytes back and then brings all of them") {
  Connected c;
  const auto start = std::chrono::steady_clock::now();
  c.proxy.DelayAll(milliseconds(100));
  REQUIRE(c.client.Send("late"));
  CHECK(c.server.Read(4) == "late");
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(100));
}

TEST_CASE("A black hole is silent, takes new connections too, and gives everything back") {
  Connected c;
  c.proxy.BlackHole(true);
  REQUIRE(c.client.Send("into the dark"));
  End other = End::ConnectedTo(c.proxy.address());
  REQUIRE(other.Send("me too"));
  CHECK(c.server.Silent());
  CHECK(c.client.Silent());
  CHECK(other.Silent());
  c.proxy.BlackHole(false);
  CHECK(c.server.Read(13) == "into the dark");
  CHECK(c.target.Accept().Read(6) == "me too");
}

TEST_CASE("New connections are refused when told to, and when nobody listens behind") {
  Connected c;
  c.proxy.RefuseNew(true);
  CHECK(End::ConnectedTo(c.proxy.address()).Read(1) == "RESET");
  REQUIRE(c.client.Send("old ones stay"));
  CHECK(c.server.Read(13) == "old ones stay");
  c.proxy.RefuseNew(false);
  c.proxy.SetTarget("unix:/nonexistent/strata.sock");
  CHECK(End::ConnectedTo(c.proxy.address()).Read(1) == "RESET");
  CHECK(c.proxy.counters().refused == 2);
  c.proxy.SetTarget(c.target.address());
  End again = End::ConnectedTo(c.proxy.address());
  REQUIRE(again.Send("x"));
  CHECK(c.target.Accept().Read(1) == "x");
}

// Accepts whoever comes, and keeps the last fifty. A target that accepts nobody stands still for seconds once its
// backlog is full: the system tries again after 1, 3 and 7 s.
class Crowd {
 public:
  Crowd() : thread_([this] { AcceptAll(); }) {}
  ~Crowd() {
    ended_ = true;
    thread_.join();
  }
  const std::string& address() const { return target_.address(); }

 private:
  void AcceptAll() {
    std::list<End> guests;
    while (!ended_) {
      if (!target_.SomebodyComes()) continue;
      guests.push_back(target_.Accept());
      if (guests.size() > 50) guests.pop_front();
    }
  }

  Target target_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

TEST_CASE("Chaos does all of it at random, and nothing any more once it is stopped") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Connected c;
  Crowd crowd;
  c.proxy.SetTarget(crowd.address());
  c.proxy.StartChaos({.seed = seed, .mean_pause = milliseconds(1)});
  std::list<End> clients;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  FlakyProxyCounters seen;
  while (seen.cut < 5 || seen.half_closed < 5 || seen.delayed < 5 || seen.holes < 5) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    clients.push_back(End::ConnectedTo(c.proxy.address()));
    if (clients.size() > 50) clients.pop_front();
    seen = c.proxy.counters();
  }
  c.proxy.StopChaos();
  clients.clear();
  Target quiet;
  c.proxy.SetTarget(quiet.address());
  End last = End::ConnectedTo(c.proxy.address());
  REQUIRE(last.Send("whole"));
  CHECK(quiet.Accept().Read(5) == "whole");
}

TEST_CASE("A proxy goes away with connections open") {
  Target target;
  auto proxy = std::make_unique<FlakyProxy>(FlakyProxyOptions{.target = target.address()});
  End client = End::ConnectedTo(proxy->address());
  End server = target.Accept();
  proxy.reset();
  CHECK(client.Read(1) == "END");
  CHECK(server.Read(1) == "END");
}

}  // namespace
}  // namespace strata::testing
