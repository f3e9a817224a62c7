// tests/server/wrong_config.golden: wrong configurations and what is said about each. A block is
//
//   ### what is wrong
//   $ --set server.port=0         (any number of settings, and variables: $ STRATA__SERVER__PORT=0)
//   the file strata.yaml
//   --- the mistakes, as they are printed
//
// With STRATA_UPDATE_DOCS=1 in the environment the last part is written instead of compared: read it before you commit.
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "broker/config.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::broker {
namespace {

constexpr char kGolden[] = STRATA_SOURCE_DIR "/tests/server/wrong_config.golden";
constexpr char kAnswer[] = "---";

struct Block {
  std::string title;
  std::vector<std::string> settings;     // as after --set
  std::vector<std::string> environment;  // NAME=value
  std::string file;
  std::string mistakes;  // lines
};

std::vector<Block> ReadGolden() {
  std::vector<Block> blocks;
  std::ifstream in(kGolden);
  bool answer = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("### ")) {
      blocks.emplace_back().title = line.substr(4);
      answer = false;
      continue;
    }
    REQUIRE(!blocks.empty());
    Block& block = blocks.back();
    if (line == kAnswer) {
      answer = true;
    } else if (answer) {
      if (!line.empty()) block.mistakes += line + "\n";
    } else if (line.starts_with("$ --set ")) {
      block.settings.push_back(line.substr(8));
    } else if (line.starts_with("$ ")) {
      block.environment.push_back(line.substr(2));
    } else {
      block.file += line + "\n";
    }
  }
  return blocks;
}

std::string MistakesOf(const Block& block) {
  testing::TempDir dir;
  const std::string path = dir / "strata.yaml";
  std::ofstream(path) << block.file;
  const auto config = LoadConfig(path, block.settings, block.environment);
  if (config.ok()) return "";
  CHECK(config.status().reason() == Reason::INVALID_CONFIG);
  std::string text = config.status().message() + "\n";
  const std::string folder = dir.path() + "/";
  for (size_t at; (at = text.find(folder)) != std::string::npos;) text.erase(at, folder.size());
  return text;
}

TEST_CASE("each wrong configuration is refused with its line, the reason and what to do") {
  std::vector<Block> blocks = ReadGolden();
  const char* update = std::getenv("STRATA_UPDATE_DOCS");
  if (update != nullptr && *update == '1') {
    std::ofstream out(kGolden);
    for (const Block& block : blocks) {
      out << "### " << block.title << "\n";
      for (const std::string& each : block.settings) out << "$ --set " << each << "\n";
      for (const std::string& each : block.environment) out << "$ " << each << "\n";
      out << block.file << kAnswer << "\n" << MistakesOf(block) << "\n";
    }
    out.close();
    blocks = ReadGolden();
  }
  CHECK(blocks.size() >= 40);
  for (const Block& block : blocks) {
    INFO(block.title);
    const std::string mistakes = MistakesOf(block);
    CHECK(!mistakes.empty());
    CHECK(mistakes == block.mistakes);
    std::istringstream lines(mistakes);
    for (std::string line; std::getline(lines, line);) {
      INFO(line);
      CHECK((line.starts_with("strata.yaml:") || line.starts_with("--set ") ||
             line.starts_with("environment STRATA__")));
    }
  }
}

}  // namespace
}  // namespace strata::broker
