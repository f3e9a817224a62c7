// stratad under a service manager: a datagram socket in the place of systemd's, and what arrives at it.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace strata::server {
namespace {

using std::chrono::seconds;
using testing::Outcome;
using testing::Process;
using testing::ProgramPath;
using testing::TempDir;

class Manager {
 public:
  explicit Manager(const std::string& path) : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof(address.sun_path));
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Manager() { close(fd_); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // The next message; empty if none comes within `timeout`.
  std::string Next(std::chrono::milliseconds timeout = seconds(30)) {
    pollfd wait{fd_, POLLIN, 0};
    if (poll(&wait, 1, static_cast<int>(timeout.count())) != 1) return "";
    char text[4096];
    const ssize_t size = recv(fd_, text, sizeof(text), 0);
    return size > 0 ? std::string(text, static_cast<size_t>(size)) : "";
  }
  // The next one that has `part` in it, passing over others; empty if there is none.
  std::string NextWith(const std::string& part) {
    for (int i = 0; i < 1000; ++i) {
      const std::string text = Next();
      if (text.empty() || text.find(part) != std::string::npos) return text;
    }
    return "";
  }

 private:
  const int fd_;
};

// A stratad whose service manager listens at `socket`.
testing::ProcessOptions Service(const TempDir& dir, const std::string& socket,
                                std::vector<std::string> environment) {
  environment.push_back("NOTIFY_SOCKET=" + socket);
  return {.argv = {ProgramPath("stratad"), "--set", "rocksmq.path=" + (dir / "data"), "--set",
                   "server.port=-1", "--set", "http.port=-1"},
          .environment = std::move(environment)};
}

TEST_CASE("A service manager hears when stratad opens, serves, reloads and ends") {
  TempDir dir;
  Manager manager(dir / "notify");
  Process stratad(Service(dir, dir / "notify", {"WATCHDOG_USEC"}));
  CHECK(manager.Next() == "STATUS=opening " + (dir / "data"));
  const std::string ready = manager.Next();
  CHECK_THAT(ready, Catch::StartsWith("READY=1\nSTATUS=serving on 127.0.0.1:"));
  CHECK(stratad.WaitForOutput("listening on ", seconds(30)).find("listening on ") !=
        std::string::npos);
  stratad.Signal(SIGHUP);
  CHECK_THAT(manager.Next(), Catch::StartsWith("RELOADING=1\nMONOTONIC_USEC="));
  CHECK(manager.Next() == "READY=1");
  stratad.Signal(SIGTERM);
  CHECK(manager.Next() == "STOPPING=1\nSTATUS=draining after SIGTERM");
  const Outcome ended = stratad.Wait();
  INFO(ended.ToString());
  CHECK(ended.exit_code == 0);
  CHECK(manager.Next(std::chrono::milliseconds(0)).empty());
}

TEST_CASE("A watchdog gets signs of life until the end begins") {
  TempDir dir;
  Manager manager(dir / "notify");
  Process stratad(Service(dir, dir / "notify", {"WATCHDOG_USEC=40000"}));
  REQUIRE(!manager.NextWith("READY=1").empty());
  for (int i = 0; i < 3; ++i) CHECK(manager.Next() == "WATCHDOG=1");
  stratad.Signal(SIGTERM);
  REQUIRE(!manager.NextWith("STOPPING=1").empty());
  CHECK(stratad.Wait().exit_code == 0);
  // Those that were on their way when it was told.
  std::string last;
  for (std::string each; !(each = manager.Next(std::chrono::milliseconds(0))).empty();) last = each;
  CHECK((last.empty() || last == "WATCHDOG=1"));
}

TEST_CASE("A stratad that cannot open its store never says that it is ready") {
  TempDir dir;
  Manager manager(dir / "notify");
  Process stratad({.argv = {ProgramPath("stratad"), "--set", "rocksmq.path=" + (dir / "no/data"),
                            "--set", "server.port=-1", "--set", "http.port=-1"},
                   .environment = {"NOTIFY_SOCKET=" + (dir / "notify")}});
  CHECK(stratad.Wait().exit_code == 2);
  CHECK_THAT(manager.Next(std::chrono::milliseconds(0)), Catch::StartsWith("STATUS=opening"));
  CHECK(manager.Next(std::chrono::milliseconds(0)).empty());
}

}  // namespace
}  // namespace strata::server
