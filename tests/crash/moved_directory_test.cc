// One directory, served by the daemon and used embedded in turn, through the command line.
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/daemon.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace strata::crash {
namespace {

using testing::Daemon;
using testing::Outcome;
using testing::ProgramPath;
using testing::TempDir;

std::string Strata(const std::string& server, std::vector<std::string> arguments,
                   const std::string& input = "") {
  std::vector<std::string> argv = {ProgramPath("strata"), "--server", server};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const Outcome outcome = testing::Run(argv, input);
  INFO(outcome.ToString());
  REQUIRE(outcome.exit_code == 0);
  return outcome.out;
}

std::string Everything(const std::string& server) {
  return Strata(server, {"consume", "logs", "-o", "raw"});
}

TEST_CASE("A directory written embedded is served by the daemon and goes back") {
  const TempDir dir;
  const std::string data = dir / "data";
  const std::string embedded = "embedded:" + data;
  Strata(embedded, {"produce", "logs"}, "one\ntwo\n");
  Strata(embedded, {"subscription", "create", "logs", "s", "--from", "2"});
  {
    Daemon daemon({.data = data});
    CHECK(Everything(daemon.tcp()) == "one\ntwo\n");
    Strata(daemon.unix_socket(), {"produce", "logs"}, "three\n");
    CHECK(Strata(daemon.tcp(), {"consume", "logs", "--subscription", "s", "-o", "raw"}) ==
          "two\nthree\n");
    const Outcome stopped = daemon.Stop();
    INFO(stopped.ToString());
    CHECK(stopped.exit_code == 0);
  }
  CHECK(Everything(embedded) == "one\ntwo\nthree\n");
  Strata(embedded, {"produce", "logs"}, "four\n");
  CHECK(Strata(embedded, {"consume", "logs", "--subscription", "s", "-o", "raw"}) == "four\n");
  Daemon daemon({.data = data});
  CHECK(Everything(daemon.tcp()) == "one\ntwo\nthree\nfour\n");
}

TEST_CASE("A directory of a killed daemon is opened embedded") {
  const TempDir dir;
  Daemon daemon({.data = dir / "data"});
  Strata(daemon.tcp(), {"produce", "logs"}, "one\ntwo\n");
  daemon.Kill();
  CHECK(Everything("embedded:" + dir / "data") == "one\ntwo\n");
}

TEST_CASE("A directory that the daemon has open is refused to others, with its reason") {
  const TempDir dir;
  Daemon daemon({.data = dir / "data"});
  const Outcome refused =
      testing::Run({ProgramPath("strata"), "--server", "embedded:" + dir / "data", "status"});
  INFO(refused.ToString());
  CHECK(refused.exit_code == 1);
  CHECK(refused.err.find("strata: STORE_LOCKED: ") != std::string::npos);
  CHECK(refused.err.find(dir / "data") != std::string::npos);
  CHECK(Strata(daemon.tcp(), {"status"}).find("serving") != std::string::npos);
}

}  // namespace
}  // namespace strata::crash
