// Daemon: a real stratad of this build, on a directory, with free ports and a Unix socket.
//
//   Daemon daemon({.data = dir / "data"});
//   Run({ProgramPath("strata"), "--server", daemon.tcp(), "status"});
//   daemon.Kill();                          // SIGKILL
//   Daemon again({.data = dir / "data"});   // what was acknowledged is there
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace strata::testing {

struct DaemonOptions {
  std::string data;                        // the store's directory
  std::vector<std::string> settings = {};  // "key=value", as for stratad --set
};

class Daemon {
 public:
  // Returns once it serves. Throws std::runtime_error with what it printed if it does not.
  explicit Daemon(DaemonOptions options);

  const std::string& tcp() const { return tcp_; }           // "127.0.0.1:PORT"
  const std::string& unix_socket() const { return unix_; }  // "unix:PATH"
  const std::string& http() const { return http_; }         // "127.0.0.1:PORT"
  // From its start to the moment at which it said that it serves.
  std::chrono::milliseconds startup() const { return startup_; }
  int pid() const { return process_->pid(); }

  // SIGKILL, and waits for its end.
  void Kill();
  // SIGTERM, and waits for its end; it drains.
  Outcome Stop();

 private:
  std::string tcp_;
  std::string unix_;
  std::string http_;
  std::chrono::milliseconds startup_{0};
  std::unique_ptr<Process> process_;
};

}  // namespace strata::testing
