// The life of stratad: open, serve, answer signals, end. main.cc is its command line.
#pragma once

#include <string>
#include <vector>

namespace strata::server {

struct DaemonOptions {
  std::string config;            // a file, or empty for the defaults
  std::vector<std::string> set;  // "key=value"
  bool accept_loss = false;      // open although acknowledged messages are missing
  bool quarantine = false;       // open although a stratum cannot be: what it held is gone
};

// What the process ends with.
enum ExitCode : int {
  kExitOk = 0,      // asked to end, and every acknowledged message is safe under the policy
  kExitUsage = 1,   // the command line or the configuration is wrong
  kExitStore = 2,   // the store could not be opened
  kExitListen = 3,  // an address could not be had, or the log file not be written
  kExitFailed = 4,  // it served, and the store failed meanwhile (fail-stop)
};

// Blocks SIGTERM, SIGINT and SIGHUP for the calling thread and all that it starts, and ignores
// SIGPIPE. REQUIRES: called before any other thread exists.
void BlockSignals();

// Serves until SIGTERM or SIGINT. Those drain, for at most 10 seconds, or shorter if a second one
// comes; SIGHUP reads the configuration again and takes over what may change in it. REQUIRES:
// BlockSignals().
ExitCode RunDaemon(const DaemonOptions& options);

// Says on stderr what is wrong, or on stdout that nothing is.
ExitCode CheckConfig(const DaemonOptions& options);

}  // namespace strata::server
