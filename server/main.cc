// stratad: the command line.
#include <CLI/CLI.hpp>

#include "server/daemon.h"

int main(int argc, char** argv) {
  using namespace strata::server;
  BlockSignals();

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
      "Signals: SIGTERM and SIGINT drain and end, a second one hastens; SIGHUP takes over the log "
      "level.\nExit codes: 0 ended when asked; 1 wrong command line or configuration; 2 the store "
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
