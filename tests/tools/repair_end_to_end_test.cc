// The built `strata` after damage: verify finds it, repair saves the rest, and what was saved is used as before.
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/tools/command_line.h"

namespace strata::tools {
namespace {

using nlohmann::json;
using testing::Outcome;
namespace fs = std::filesystem;

std::string BytesOf(const fs::path& file) {
  std::ostringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  return bytes.str();
}

std::map<std::string, std::string> FilesOf(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files[entry.path()] = BytesOf(entry.path());
  }
  return files;
}

// A closed store: ids 1 and 3 are short, 2 has a body file, and a subscription has acknowledged nothing.
struct DamagedPlace : Place {
  DamagedPlace() : Place("embedded") {
    Do({"produce", "logs"}, "first\n");
    Do({"produce", "logs"}, std::string(100'000, 'x') + "\n");
    Do({"produce", "logs"}, "third\n");
    Do({"subscription", "create", "logs", "ingest"});
  }
  // `strata` on the store's directory, without a broker.
  Outcome Inspect(const std::string& command, const std::string& directory) const {
    return testing::Run({testing::ProgramPath("strata"), command, directory, "-o", "json"});
  }
  // On the store that the repair made.
  Outcome After(std::vector<std::string> arguments, const std::string& input = "") const {
    arguments.insert(arguments.begin(), {testing::ProgramPath("strata"), "--server",
                                         "embedded:" + data() + ".repaired"});
    return testing::Run(arguments, input);
  }
};

TEST_CASE("What a damaged file does not hold comes out of a repair, the rest is told lost",
          "[end-to-end]") {
  const DamagedPlace place;
  REQUIRE(place.Inspect("verify", place.data()).exit_code == 0);
  std::string damaged;
  for (const auto& [file, bytes] : FilesOf(place.data())) {
    if (file.ends_with(".body") && bytes.size() > 50'000) damaged = file;
  }
  REQUIRE_FALSE(damaged.empty());
  std::fstream(damaged, std::ios::in | std::ios::out | std::ios::binary).seekp(50'000).put('y');
  const auto before = FilesOf(place.data());

  const Outcome verified = place.Inspect("verify", place.data());
  INFO("verify: " << verified.ToString());
  CHECK(verified.exit_code == 1);
  CHECK(Contains(verified.out, fs::path(damaged).filename()));
  const Outcome repaired = place.Inspect("repair", place.data());
  INFO("repair: " << repaired.ToString());
  REQUIRE(repaired.exit_code == 1);  // something is lost
  const json report = json::parse(repaired.out);
  CHECK(report["catalog_whole"] == true);
  CHECK(report["messages"] == 2);
  CHECK(report["lost"] ==
        json{{{"channel", "logs"}, {"number", 1}, {"first_id", 2}, {"last_id", 2}}});
  CHECK(FilesOf(place.data()) == before);
  CHECK(place.Inspect("repair", place.data()).exit_code == 2);  // never over what is there

  CHECK(place.Inspect("verify", place.data() + ".repaired").exit_code == 0);
  const Outcome consumed = place.After({"consume", "logs", "-o", "raw"});
  CHECK(consumed.exit_code == 0);
  CHECK(consumed.out == "first\nthird\n");
  CHECK(Contains(consumed.err, "LOST"));
  CHECK(Contains(place.After({"subscription", "list", "logs"}).out, "ingest"));
  CHECK(Contains(place.After({"produce", "logs"}, "fourth\n").err, "ids 4..4"));
}

TEST_CASE("A store without CURRENT does not open, and a repair loses nothing of it",
          "[end-to-end]") {
  const DamagedPlace place;
  REQUIRE(fs::remove(place.data() + "/db/CURRENT"));
  const Outcome refused = place.Try({"consume", "logs", "-o", "raw"});
  CHECK(refused.exit_code == 1);
  CHECK(Contains(refused.err, "strata repair " + place.data()));
  const Outcome repaired = place.Inspect("repair", place.data());
  INFO("repair: " << repaired.ToString());
  REQUIRE(repaired.exit_code == 0);
  CHECK(json::parse(repaired.out)["complete"] == true);
  CHECK(place.After({"consume", "logs", "-o", "raw"}).out ==
        "first\n" + std::string(100'000, 'x') + "\nthird\n");
}

}  // namespace
}  // namespace strata::tools
