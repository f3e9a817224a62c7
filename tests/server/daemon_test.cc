// stratad as a process: its command line, exit codes, signals and files.
#include "tests/support/daemon.h"

#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "client/connect.h"
#include "tests/server/http_get.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace strata::server {
namespace {

using std::chrono::seconds;
using testing::Daemon;
using testing::HttpGet;
using testing::Outcome;
using testing::Process;
using testing::ProgramPath;
using testing::Run;
using testing::TempDir;

// Runs stratad to its end with these settings.
Outcome Stratad(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), ProgramPath("stratad"));
  return Run(std::move(arguments));
}

TEST_CASE("Version and help say what they are asked and end well") {
  const Outcome version = Stratad({"--version"});
  CHECK(version.exit_code == 0);
  CHECK(version.out == "stratad " STRATA_VERSION "\n");
  const Outcome help = Stratad({"--help"});
  CHECK(help.exit_code == 0);
  for (const char* part :
       {"--config", "--set", "--check-config", "--accept-loss", "--quarantine", "Exit codes"}) {
    CHECK(help.out.find(part) != std::string::npos);
  }
}

TEST_CASE("stratad takes settings from its environment") {
  const auto check = [](const std::string& variable) {
    return Run({.argv = {ProgramPath("stratad"), "--check-config"}, .environment = {variable}});
  };
  CHECK(check("STRATA__SERVER__PORT=7480").exit_code == 0);
  const Outcome wrong = check("STRATA__SERVER__PORT=0");
  CHECK(wrong.exit_code == 1);
  CHECK_THAT(wrong.err, Catch::Contains("environment STRATA__SERVER__PORT: server.port: '0'"));
}

TEST_CASE("a wrong command line or configuration ends with 1 and says what is wrong") {
  CHECK(Stratad({"--no-such-option"}).exit_code == 1);
  CHECK(Stratad({"stray"}).exit_code == 1);
  TempDir dir;
  std::ofstream(dir / "strata.yaml") << "server:\n  prot: 1\n";
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, std::vector<std::string>{"--check-config"}}) {
    std::vector<std::string> arguments = {"--config", dir / "strata.yaml", "--set", "x=1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome done = Stratad(arguments);
    INFO(done.ToString());
    CHECK(done.exit_code == 1);
    CHECK(done.out.empty());
    CHECK(done.err.find("strata.yaml:2: server.prot: unknown key; did you mean server.port?") !=
          std::string::npos);
    CHECK(done.err.find("--set x=1: x: unknown") != std::string::npos);
  }
}

TEST_CASE("The option --check-config only checks") {
  TempDir dir;
  const Outcome done = Stratad({"--check-config", "--set", "rocksmq.path=" + (dir / "data"),
                                "--set", "rocksmq.retentionSizeInMB=1"});
  INFO(done.ToString());
  CHECK(done.exit_code == 0);
  CHECK(done.out == "the configuration is correct\n");
  CHECK(done.err.empty());
  CHECK_FALSE(std::filesystem::exists(dir / "data"));
}

TEST_CASE("The option --set takes a list with blanks and commas as one value") {
  const Outcome done = Stratad(
      {"--check-config", "--set", "rocksmq.compressionTypes=[0, 0, 7]", "--set", "server.port=-1"});
  INFO(done.ToString());
  CHECK(done.exit_code == 0);
}

TEST_CASE("a store that cannot be opened ends with 2 and its reason") {
  TempDir dir;
  std::filesystem::create_directory(dir / "data");
  std::ofstream(dir / "data/CURRENT") << "MANIFEST-000004\n";
  const Outcome done = Stratad({"--set", "rocksmq.path=" + (dir / "data"), "--set",
                                "server.port=-1", "--set", "http.port=-1"});
  INFO(done.ToString());
  CHECK(done.exit_code == 2);
  CHECK(done.err.find("FOREIGN_DIRECTORY") != std::string::npos);
}

TEST_CASE("addresses that somebody has end it with 3, and a store in use with 2") {
  TempDir dir;
  Daemon first({.data = dir / "data"});
  const std::string port = first.tcp().substr(first.tcp().rfind(':') + 1);
  const Outcome tcp = Stratad({"--set", "rocksmq.path=" + (dir / "other"), "--set",
                               "server.port=" + port, "--set", "http.port=-1"});
  INFO(tcp.ToString());
  CHECK(tcp.exit_code == 3);
  CHECK(tcp.err.find("Address already in use") != std::string::npos);
  const Outcome store =
      Stratad({"--set", "rocksmq.path=" + (dir / "data"), "--set", "server.port=-1", "--set",
               "http.port=-1", "--set", "server.initializeTimeout=0"});
  INFO(store.ToString());
  CHECK(store.exit_code == 2);
  CHECK(first.Stop().exit_code == 0);
}

TEST_CASE("SIGTERM and SIGINT drain and end with 0, and the socket file is gone") {
  for (const int signal : {SIGTERM, SIGINT}) {
    TempDir dir;
    Process process({.argv = {ProgramPath("stratad"), "--set", "rocksmq.path=" + (dir / "data"),
                              "--set", "server.port=-1", "--set", "http.port=-1", "--set",
                              "server.unixSocket=" + (dir / "s")}});
    const std::string printed = process.WaitForOutput("http on ", seconds(30));
    CHECK(printed.find("listening on 127.0.0.1:") != std::string::npos);
    CHECK(printed.find("listening on unix:" + (dir / "s") + "\n") != std::string::npos);
    CHECK(std::filesystem::exists(dir / "s"));
    process.Signal(signal);
    const Outcome done = process.Wait();
    INFO(done.ToString());
    CHECK(done.exit_code == 0);
    CHECK_FALSE(std::filesystem::exists(dir / "s"));
    CHECK(done.err.find(signal == SIGINT ? "SIGINT: draining" : "SIGTERM: draining") !=
          std::string::npos);
  }
}

TEST_CASE("SIGHUP takes over the log level, and a wrong file changes nothing") {
  TempDir dir;
  const std::string config = dir / "strata.yaml";
  std::ofstream(config) << "rocksmq:\n  path: " << (dir / "data")
                        << "\nserver:\n  port: -1\nhttp:\n  port: -1\n";
  Process process({.argv = {ProgramPath("stratad"), "--config", config}});
  REQUIRE(process.WaitForOutput("http on ", seconds(30)).find("http on ") != std::string::npos);
  process.Signal(SIGHUP);
  CHECK_THAT(process.WaitForOutput("SIGHUP: ", seconds(30)),
             Catch::Contains("SIGHUP: nothing is different"));
  std::ofstream(config, std::ios::app) << "monitor:\n  debug: true\nlimits:\n  tailCache: 1MiB\n";
  process.Signal(SIGHUP);
  CHECK_THAT(process.WaitForOutput("from the next start on count", seconds(30)),
             Catch::Contains("SIGHUP: took over monitor.debug\n") &&
                 Catch::Contains("SIGHUP: from the next start on count limits.tailCache\n"));
  std::ofstream(config) << "rubbish: 1\n";
  process.Signal(SIGHUP);
  CHECK(process.WaitForOutput("SIGHUP: nothing changed", seconds(30)).find("nothing changed") !=
        std::string::npos);
  process.Signal(SIGTERM);
  CHECK(process.Wait().exit_code == 0);
}

TEST_CASE("SIGHUP takes over retention rules and the number of streams, without a break") {
  TempDir dir;
  const std::string config = dir / "strata.yaml";
  const std::string start = "rocksmq:\n  path: " + (dir / "data") +
                            "\n  rocksmqPageSize: 64KiB\nserver:\n  port: -1\nhttp:\n  port: -1\n";
  std::ofstream(config) << start;
  Process process({.argv = {ProgramPath("stratad"), "--config", config}});
  const std::string out = process.WaitForOutput("http on ", seconds(30));
  const size_t at = out.find("listening on ");
  REQUIRE(at != std::string::npos);
  const size_t from = at + std::string("listening on ").size();
  auto client = ConnectRemote(out.substr(from, out.find('\n', from) - from));
  REQUIRE(client.ok());
  auto producer = (*client)->OpenProducer("logs", {.create_if_missing = true});
  REQUIRE(producer.ok());
  const std::string payload(20'000, 'x');
  for (int i = 0; i < 20; ++i)
    REQUIRE((*producer)->Send({.payload = payload, .properties = {}}).get().ok());
  REQUIRE((*client)->DescribeChannel("logs")->first_available == 1);
  std::ofstream(config) << start << "retention:\n  maxMsgs: 5\nlimits:\n  maxStreams: 1\n";
  process.Signal(SIGHUP);
  CHECK_THAT(process.WaitForOutput("took over", seconds(30)),
             Catch::Contains("took over retention.maxMsgs, limits.maxStreams\n"));
  const auto deadline = std::chrono::steady_clock::now() + seconds(30);
  MessageId first = 1;
  while (first == 1 && std::chrono::steady_clock::now() < deadline) {
    first = (*client)->DescribeChannel("logs")->first_available;
  }
  CHECK(first > 1);
  CHECK((*producer)
            ->Send({.payload = payload, .properties = {}})
            .get()
            .ok());  // the stream that was open
  const auto reader = (*client)->OpenReader("logs", StartPosition::Earliest());
  CHECK(reader.status().reason() == Reason::BACK_PRESSURE);
  process.Signal(SIGTERM);
  CHECK(process.Wait().exit_code == 0);
}

TEST_CASE("a killed daemon's socket file does not keep the next one from starting") {
  TempDir dir;
  Daemon first({.data = dir / "data"});
  first.Kill();
  CHECK(std::filesystem::exists(dir / "data.sock"));
  Daemon second({.data = dir / "data"});
  CHECK(second.Stop().exit_code == 0);
}

TEST_CASE("The option --quarantine changes nothing about a store that is whole") {
  TempDir dir;
  Process process(
      {.argv = {ProgramPath("stratad"), "--quarantine", "--set", "rocksmq.path=" + (dir / "data"),
                "--set", "server.port=-1", "--set", "http.port=-1"}});
  REQUIRE(process.WaitForOutput("http on ", seconds(30)).find("http on ") != std::string::npos);
  process.Signal(SIGTERM);
  CHECK(process.Wait().exit_code == 0);
}

TEST_CASE("the log goes to a file if one is named") {
  TempDir dir;
  {
    Daemon daemon({.data = dir / "data",
                   .settings = {"monitor.logFile=" + (dir / "log"), "monitor.logTime=false"}});
    const Outcome done = daemon.Stop();
    CHECK(done.exit_code == 0);
    CHECK(done.err.empty());
  }
  std::ifstream in(dir / "log");
  const std::string log{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  CHECK(log.find("info    stratad " STRATA_VERSION " starts") == 0);
  // A file is no folder for another one.
  const Outcome done = Stratad(
      {"--set", "rocksmq.path=" + (dir / "data"), "--set", "monitor.logFile=" + (dir / "log/log")});
  CHECK(done.exit_code == 3);
  CHECK(done.err.find("monitor.logFile") != std::string::npos);
}

}  // namespace
}  // namespace strata::server
