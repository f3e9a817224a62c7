// strata-bench seeds, with as few messages as make sense: that it runs, checks what it receives and
// writes what it found. Not how fast.
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace strata::bench {
namespace {

using nlohmann::json;
using testing::Outcome;
using testing::ProgramPath;
using testing::TempDir;

Outcome RunSeeds(const TempDir& dir, std::vector<std::string> arguments) {
  const std::vector<std::string> first = {ProgramPath("strata-bench"), "seeds", "--directory",
                                          dir.path()};
  arguments.insert(arguments.begin(), first.begin(), first.end());
  return testing::Run(arguments);
}

TEST_CASE("A small run of the seeds on an embedded broker and on a daemon fills its report") {
  const TempDir dir;
  const std::string file = dir / "report.json";
  const Outcome outcome =
      RunSeeds(dir, {"--mode", "embedded,unix", "--sync", "always", "--row", "1KB", "--scale",
                     "0.002", "--rounds", "1", "--verify", "--no-ceiling", "--json", file});
  INFO(outcome.ToString());
  REQUIRE(outcome.ok());
  CHECK(outcome.out.find("versions: strata ") != std::string::npos);
  std::ifstream in(file);
  const json array = json::parse(in);
  REQUIRE(array.size() == 2);
  CHECK(array[0]["mode"] == "embedded");
  CHECK(array[1]["mode"] == "unix");
  for (const json& row : array) {
    CHECK(row["workload"] == "seeds");
    CHECK(row["row"] == "1 KB x 100");
    CHECK(row["data"] == "letters");
    for (const char* key : {"s_per_op", "mb_per_s", "msg_per_s", "cpu_s_per_op", "broker_rss_mb"}) {
      INFO(key);
      CHECK(row[key].get<double>() > 0);
    }
    CHECK(row["p50_us"].is_null());
    CHECK(row["percent_of_ceiling"].is_null());
  }
}

TEST_CASE("Single sends are another workload, with the latency of each") {
  const TempDir dir;
  const std::string file = dir / "report.json";
  const Outcome outcome =
      RunSeeds(dir, {"--mode", "embedded", "--sync", "none", "--row", "1MB", "--scale", "0.01",
                     "--rounds", "1", "--data", "random", "--send", "single", "--verify",
                     "--no-ceiling", "--json", file});
  INFO(outcome.ToString());
  REQUIRE(outcome.ok());
  std::ifstream in(file);
  const json row = json::parse(in).at(0);
  CHECK(row["workload"] == "seeds-single");
  CHECK(row["row"] == "1 MB x 5");
  CHECK(row["data"] == "random");
  CHECK(row["p50_us"].get<double>() > 0);
}

TEST_CASE("Results that cannot be written end a run before it measures") {
  const TempDir dir;
  const Outcome outcome = RunSeeds(dir, {"--json", dir / "not/there.json"});
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.err.find("cannot write ") != std::string::npos);
  CHECK(outcome.err.find("round 1") == std::string::npos);
}

}  // namespace
}  // namespace strata::bench
