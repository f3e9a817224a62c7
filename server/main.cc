// stratad: the command line.
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <absl/synchronization/mutex.h>
#include <google/protobuf/stubs/logging.h>

#include "server/daemon.h"

int main(int argc, char** argv) {
  using namespace strata::server;
  BlockSignals();
  // glibc would give each of the 35 threads a heap of its own, and a batch is allocated on one of
  // them and freed on another, so that each keeps what it once needed. Two heaps, one for each core
  // of a small machine, take 27 MB less (bodies of 5 MB, 300 MB in all) and no more CPU. The
  // program's choice, not the library's: an embedded broker lives with its host's.
  mallopt(M_ARENA_MAX, 2);
  // Debian's abseil looks for cycles in the order of locks: each lock that gRPC takes while it holds
  // another one goes through a graph under one spin lock of the process. Only an abort could come of
  // it.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // protobuf prints a line to standard error for each text of a request that is not UTF-8: any client
  // could fill the disk of the log with it. The answer to the request says the same.
  ::google::protobuf::SetLogHandler(nullptr);

  DaemonOptions options;
  bool check = false;
  CLI::App app("stratad, the daemon of Strata, a durable log broker for one machine.");
  app.add_option("--config", options.config, "The settings, a YAML file (see conf/strata.yaml)")
      ->type_name("FILE");
  app.add_option("--set", options.set, "One setting, over the file's: --set server.port=7480")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->expected(1)
      ->delimiter('\0');
  app.add_flag("--check-config", check, "Check the settings and exit");
  app.add_flag("--accept-loss", options.accept_loss,
               "Open the store although acknowledged messages are missing; ids go on 2^32 higher");
  app.add_flag(
      "--quarantine", options.quarantine,
      "Open the store although a stratum cannot be opened; what it held is gone, its files are "
      "kept aside");
  app.set_version_flag("--version", "stratad " STRATA_VERSION);
  app.footer(
      "Signals: SIGTERM and SIGINT drain and end, a second one hastens; SIGHUP takes over "
      "retention, limits.maxStreams and the log level.\nExit codes: 0 ended when asked; 1 wrong "
      "command line or configuration; 2 the store "
      "could not be opened;\n3 an address is in use or a file cannot be written; 4 the store "
      "failed "
      "while serving.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kExitOk : kExitUsage;
  }
  return check ? CheckConfig(options) : RunDaemon(options);
}
