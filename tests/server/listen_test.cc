#include "server/listen.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <future>
#include <string>

#include "server/acceptor.h"
#include "server/http.h"
#include "server/stream_set.h"
#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::server {
namespace {

using testing::ServerFixture;
using testing::TempDir;

int PortOf(const std::string& address) { return std::stoi(address.substr(address.rfind(':') + 1)); }

TEST_CASE("addresses are written as clients write them") {
  CHECK(FormatAddress("127.0.0.1", 7470) == "127.0.0.1:7470");
  CHECK(FormatAddress("::1", 7470) == "[::1]:7470");
}

TEST_CASE("a port that somebody has is refused, naming address, reason and key") {
  ServerFixture f({"http.address=127.0.0.1"});
  const int port = PortOf(f.server().addresses()[0]);
  const Status status = ProbeTcp("127.0.0.1", port, "server.port");
  CHECK(status.reason() == Reason::IO_ERROR);
  CHECK(status.message() == "cannot listen on 127.0.0.1:" + std::to_string(port) +
                                ": Address already in use; stop the program that has it, or choose "
                                "another port with server.port");

  // gRPC would share the port with the other server if it were let.
  const auto config =
      broker::LoadConfig("", {"server.port=" + std::to_string(port), "http.address=none"});
  Server second(*config, Logger());
  CHECK(second.Start(nullptr).reason() == Reason::IO_ERROR);

  const int http_port = PortOf(f.server().http_address());
  const auto http = broker::LoadConfig("", {"http.port=" + std::to_string(http_port)});
  Server third(*http, Logger());
  CHECK(third.StartHttp().message().find("http.port") != std::string::npos);
}

TEST_CASE("an address of another machine cannot be listened on") {
  CHECK(ProbeTcp("192.0.2.1", 0, "server.port").reason() == Reason::IO_ERROR);
  CHECK(ProbeTcp("example.com", 0, "server.port").reason() == Reason::IO_ERROR);
  CHECK(ProbeTcp("127.0.0.1", 0, "server.port").ok());
}

TEST_CASE("a connection over the Unix socket has room for a batch on its way to the client") {
  TempDir dir;
  const std::string path = dir / "s";
  REQUIRE(PrepareUnixSocket(path).ok());
  const Result<Listening> listening = ListenUnix(path);
  REQUIRE(listening.ok());
  std::promise<int> accepted;
  const Acceptor acceptor(
      {*listening}, AcceptorOptions(), [&](int fd) { accepted.set_value(fd); }, Logger());

  const int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  REQUIRE(connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(send(client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, MSG_NOSIGNAL) == 24);
  std::future<int> server = accepted.get_future();
  REQUIRE(server.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  const int fd = server.get();
  const auto room = [](int of) {
    int bytes = 0;
    socklen_t length = sizeof(bytes);
    getsockopt(of, SOL_SOCKET, SO_SNDBUF, &bytes, &length);
    return bytes;
  };
  // The system may allow less than a batch, but more than it gives by itself, as on the other side.
  CHECK(room(fd) > room(client));
  close(fd);
  close(client);
}

TEST_CASE("a socket file that a killed server left behind is removed") {
  TempDir dir;
  const std::string path = dir / "s";
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  close(fd);
  REQUIRE(std::filesystem::exists(path));
  CHECK(PrepareUnixSocket(path).ok());
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(PrepareUnixSocket(path).ok());
}

TEST_CASE("a socket on which a server answers is left to it") {
  ServerFixture f;
  const Status status = PrepareUnixSocket(f.socket_path());
  CHECK(status.reason() == Reason::IO_ERROR);
  CHECK(status.message().find("another server answers on it") != std::string::npos);
  CHECK(std::filesystem::exists(f.socket_path()));
  const auto config = broker::LoadConfig(
      "", {"server.address=none", "http.address=none", "server.unixSocket=" + f.socket_path()});
  {
    Server second(*config, Logger());
    CHECK(second.Start(nullptr).reason() == Reason::IO_ERROR);
  }
  f.CreateChannel("c");
  testing::Producing stream(f.log());
  CHECK(stream.Open("c"));
}

TEST_CASE("a file that is no socket, and a folder that is not there, are named and left alone") {
  TempDir dir;
  std::ofstream(dir / "file") << "precious";
  const Status status = PrepareUnixSocket(dir / "file");
  CHECK(status.message().find("is no socket; it was not touched") != std::string::npos);
  CHECK(std::filesystem::file_size(dir / "file") == 8);
  RemoveUnixSocket(dir / "file");
  CHECK(std::filesystem::exists(dir / "file"));
  CHECK(PrepareUnixSocket(dir / "missing/s").message().find("No such file or directory") !=
        std::string::npos);
  CHECK_FALSE(PrepareUnixSocket(dir / std::string(200, 'x')).ok());
}

TEST_CASE("the limit on open files is raised to what the system allows") {
  CHECK(RaiseOpenFileLimit() == RaiseOpenFileLimit());
  CHECK(RaiseOpenFileLimit() > 0);
}

// --- StreamSet ---

class Stream final : public DrainableStream {
 public:
  void Drain() override { ++drained; }
  int drained = 0;
};

TEST_CASE("a set of streams drains those that are open and takes no more") {
  StreamSet set;
  const auto first = std::make_shared<Stream>();
  const auto second = std::make_shared<Stream>();
  CHECK(set.Add(first));
  CHECK(set.Add(second));
  set.Remove(second.get());
  set.Drain();
  CHECK(first->drained == 1);
  CHECK(second->drained == 0);
  CHECK_FALSE(set.Add(second));
  const auto now = std::chrono::steady_clock::now();
  CHECK_FALSE(set.WaitUntilEmpty(now));
  set.Remove(first.get());
  CHECK(set.WaitUntilEmpty(now));
  CHECK(set.size() == 0);
}

}  // namespace
}  // namespace strata::server
