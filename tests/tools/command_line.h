// The built `strata` against a broker at each kind of address.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/daemon.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace strata::tools {

// A broker with a directory of its own, at an address of the kind "tcp", "unix" or "embedded".
class Place {
 public:
  explicit Place(const std::string& kind) : kind_(kind) {
    if (kind == "embedded") {
      address_ = "embedded:" + data();
      return;
    }
    daemon_ = std::make_unique<testing::Daemon>(testing::DaemonOptions{.data = data()});
    address_ = kind == "tcp" ? daemon_->tcp() : daemon_->unix_socket();
  }

  const std::string& address() const { return address_; }
  std::string data() const { return dir_ / "data"; }
  std::string path(const std::string& name) const { return dir_ / name; }
  // Null if it is embedded.
  testing::Daemon* daemon() { return daemon_.get(); }

  std::vector<std::string> Command(const std::vector<std::string>& arguments) const {
    std::vector<std::string> argv = {testing::ProgramPath("strata"), "--server", address_};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return argv;
  }
  // Runs `strata` with these arguments.
  testing::Outcome Try(const std::vector<std::string>& arguments,
                       const std::string& input = "") const {
    return testing::Run(Command(arguments), input);
  }
  // The same, and requires success. Returns standard output.
  std::string Do(const std::vector<std::string>& arguments, const std::string& input = "") const {
    const testing::Outcome outcome = Try(arguments, input);
    INFO(kind_ << ": " << arguments.front() << ": " << outcome.ToString());
    REQUIRE(outcome.exit_code == 0);
    return outcome.out;
  }

 private:
  const std::string kind_;
  testing::TempDir dir_;
  std::string address_;
  std::unique_ptr<testing::Daemon> daemon_;
};

inline bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace strata::tools
