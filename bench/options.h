// The options that all workloads share: which systems they run on, and where the results go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/report.h"
#include "bench/system.h"

namespace strata::bench {

// One value for each --name, or several with commas between them. `values` holds the defaults.
CLI::Option* AddList(CLI::App* command, const char* name, std::vector<std::string>* values,
                     const char* what);

// One system that was chosen. Start() as often as fresh ones are needed.
struct ChosenSystem {
  std::string name;  // strata or nats
  SystemOptions options;

  std::unique_ptr<System> Start() const;
  std::string Label() const;  // "strata unix always"
};

// A member of a workload's own options:
//
//   void AddSomething(CLI::App* app) {
//     struct Options { SystemChoice systems; int rounds = 5; };
//     auto options = std::make_shared<Options>();
//     CLI::App* command = app->add_subcommand("something", "what it shows");
//     options->systems.AddTo(command);
//     command->callback([options] {
//       Report report;
//       for (const ChosenSystem& chosen : options->systems.All()) {
//         const std::unique_ptr<System> system = chosen.Start();
//         report.AddVersion(*system);
//         ...
//       }
//       options->systems.Finish(report);
//     });
//   }
class SystemChoice {
 public:
  // Adds --mode, --sync, --set, --directory, --binary, --peer, --peer-binary, --peer-sync, --json
  // and --svg. What can be repeated also takes a list: --mode tcp,unix.
  void AddTo(CLI::App* command);

  // Strata in each mode with each sync, then the peers. Ends the program if there is none, or if a
  // file for the results cannot be written: now, not after an hour.
  std::vector<ChosenSystem> All() const;

  const std::string& directory() const { return directory_; }

  // The table, the ratios, the versions and the machine on standard output, and the files that
  // were asked for.
  void Finish(const Report& report) const;

  // What is chosen without options; a workload may set others before AddTo().
  std::vector<std::string> modes = {"unix"};
  std::vector<std::string> syncs = {"always"};

 private:
  std::string directory_ = ".";
  std::string binary_;
  std::vector<std::string> settings_;
  std::vector<std::string> peers_;
  std::string peer_binary_;
  std::vector<std::string> peer_syncs_ = {"default"};
  std::string json_;
  std::string svg_;
};

}  // namespace strata::bench
