#include "bench/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "bench/picture.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

void CheckWritable(const std::string& file) {
  if (!file.empty() && !std::ofstream(file, std::ios::app).good()) Die("cannot write " + file);
}

std::string Processor() {
  std::ifstream lines("/proc/cpuinfo");
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(": ") + 2);
  }
  return "unknown processor";
}

void PrintMachine() {
  utsname system{};
  uname(&system);
  struct sysinfo memory {};
  sysinfo(&memory);
  const double gib = static_cast<double>(memory.totalram) * memory.mem_unit / (1u << 30);
  fmt::print("machine: {} cores of {}, {:.1f} GiB, {} {}\n", sysconf(_SC_NPROCESSORS_ONLN),
             Processor(), gib, system.sysname, system.release);
}

}  // namespace

CLI::Option* AddList(CLI::App* command, const char* name, std::vector<std::string>* values,
                     const char* what) {
  return command->add_option(name, *values, what)
      ->allow_extra_args(false)
      ->delimiter(',')
      ->capture_default_str();
}

std::unique_ptr<System> ChosenSystem::Start() const {
  return name == "strata" ? StartStrata(options) : StartNats(options);
}

std::string ChosenSystem::Label() const {
  return fmt::format("{} {} {}", name, options.mode, options.sync);
}

void SystemChoice::AddTo(CLI::App* command) {
  AddList(command, "--mode", &modes, "Strata's: embedded, tcp, unix or none")
      ->check(CLI::IsMember({"embedded", "tcp", "unix", "none"}));
  AddList(command, "--sync", &syncs, "Strata's: always, interval or none")
      ->check(CLI::IsMember({"always", "interval", "none"}));
  command
      ->add_option("--set", settings_, "another setting of Strata, SECTION.KEY=VALUE; repeatable")
      ->allow_extra_args(false);
  command->add_option("--directory", directory_, "where the stores lie: the disk to measure")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  command->add_option("--binary", binary_, "stratad, if not the one beside this program or in PATH")
      ->check(CLI::ExistingFile);
  AddList(command, "--peer", &peers_, "also on this one: nats")->check(CLI::IsMember({"nats"}));
  command
      ->add_option("--peer-binary", peer_binary_,
                   "nats-server, if not the one in PATH or /usr/sbin")
      ->check(CLI::ExistingFile);
  AddList(command, "--peer-sync", &peer_syncs_,
          "the peer's: default, or always (fsync before acknowledging)")
      ->check(CLI::IsMember({"default", "always"}));
  command->add_option("--json", json_, "write the results to this file");
  command->add_option("--svg", svg_, "draw the results into this file; needs gnuplot");
}

std::vector<ChosenSystem> SystemChoice::All() const {
  CheckWritable(json_);
  CheckWritable(svg_);
  if (!svg_.empty()) RequireGnuplot();
  std::vector<ChosenSystem> all;
  for (const std::string& mode : modes) {
    if (mode == "none") continue;
    for (const std::string& sync : syncs) {
      all.push_back({"strata", {mode, sync, directory_, binary_, settings_}});
    }
  }
  for (const std::string& peer : peers_) {
    for (const std::string& sync : peer_syncs_) {
      all.push_back({peer, {"tcp", sync, directory_, peer_binary_, {}}});
    }
  }
  if (all.empty()) Die("nothing to measure: --mode none needs --peer nats");
  return all;
}

void SystemChoice::Finish(const Report& report) const {
  report.PrintTable();
  fmt::print("\n");
  report.PrintRatios();
  fmt::print("\nversions: {}\n", fmt::join(report.versions(), ", "));
  PrintMachine();
  if (!json_.empty()) report.WriteJson(json_);
  if (!svg_.empty()) DrawPicture(report, svg_);
}

}  // namespace strata::bench
