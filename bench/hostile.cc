// A producer and a consumer that behave, beside clients that do not, as `strata-bench hostile`.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "bench/hostile_load.h"
#include "bench/open_loop.h"
#include "bench/options.h"
#include "bench/process.h"
#include "bench/space.h"
#include "bench/traffic.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

constexpr char kReadSlowly[] = "read-slowly";
constexpr uint64_t kReadSlowlyBytes = 8u << 20;
// Of the broker, for everything that the hostile clients make it keep: 1,150 connections at 32 KB, a batch of 1 MiB
// for each of 50 slow readers, streams and calls that are on their way.
constexpr double kMostGrowthMb = 160;

struct HostileOptions : OpenLoopOptions {
  SystemChoice systems;
  int rounds = 5;
  HostileRates rates;
};

// What a connection on one address found, round by round.
struct Side {
  Rounds ack;
  Rounds deliver;
  double peak_mb = 0;  // of the broker, the highest
  std::vector<double> cpu;
};

class HostileBench {
 public:
  explicit HostileBench(const HostileOptions& options) : options_(options) {}

  void Run() {
    fmt::print(
        "hostile: {} messages of {} bytes a second for {} s, from when each was due, without and "
        "with\n  {}\n",
        options_.rate, options_.size, options_.seconds, options_.rates.ToString());
    Report report;
    Verdict verdict;
    for (const ChosenSystem& chosen : options_.systems.All()) {
      if (chosen.name != "strata" || chosen.options.mode == "embedded") {
        Die("hostile clients need a daemon of Strata: --mode tcp,unix");
      }
      Measure(chosen, &report, &verdict);
    }
    options_.systems.Finish(report);
    verdict.Finish();
  }

 private:
  void Measure(const ChosenSystem& chosen, Report* report, Verdict* verdict) {
    const std::unique_ptr<System> system = chosen.Start();
    report->AddVersion(*system);
    const auto connection = system->Connect();
    connection->CreateChannel(kReadSlowly);
    FillChannel(connection.get(), kReadSlowly, 16 << 10, kReadSlowlyBytes);
    Side without;
    Side with;
    for (int round = 0; round < options_.rounds; ++round) {
      fmt::print("{} round {} of {}\n", chosen.Label(), round + 1, options_.rounds);
      for (const bool hostile : {round % 2 == 1, round % 2 == 0}) {
        RunOne(system.get(), fmt::format("hostile-{}-{}", round, hostile), hostile,
               hostile ? &with : &without);
      }
    }
    Add(*system, "without", without, report);
    Add(*system, "with", with, report);
    fmt::print("{}: bounds\n", chosen.Label());
    Check("ack", without.ack.p99(), with.ack.p99(), verdict);
    Check("deliver", without.deliver.p99(), with.deliver.p99(), verdict);
    verdict->Check(
        with.peak_mb <= without.peak_mb + kMostGrowthMb,
        fmt::format("peak memory of the broker {:.0f} MB, at most {:.0f} more than {:.0f} without",
                    with.peak_mb, kMostGrowthMb, without.peak_mb));
  }

  void RunOne(System* system, const std::string& channel, bool hostile, Side* side) {
    SettleSystem(system);
    system->ForgetPeak();
    std::unique_ptr<Process> load;
    const std::string output = std::filesystem::path(system->directory()).parent_path() / "hostile";
    if (hostile) {
      load = std::make_unique<Process>(LoadCommand(system->address()), output);
      load->WaitForLine("ready", std::chrono::seconds(60));
    }
    const double cpu = system->CpuSeconds();
    const auto start = SteadyClock::now();
    OpenLoopRound found = OpenLoop(system, options_, channel).Run();
    side->cpu.push_back(100 * (system->CpuSeconds() - cpu) / SecondsSince(start));
    load.reset();
    const char* const name = hostile ? "with:   " : "without:";
    fmt::print("  {} ack     {}\n  {} deliver {}\n", name, found.ack.Summary(), name,
               found.deliver.Summary());
    fmt::print(
        "  {} the sender itself was late by p50 {:.1f} us, p99 {:.1f} us; broker: {:.0f} % of a "
        "core, peak "
        "{:.0f} MB\n",
        name, found.sender.Percentile(0.5), found.sender.Percentile(0.99), side->cpu.back(),
        Megabytes(system->PeakResidentBytes()));
    if (hostile) fmt::print("  hostile: {}\n", LastLine(output));
    std::fflush(stdout);
    side->ack.Add(&found.ack);
    side->deliver.Add(&found.deliver);
    side->peak_mb = std::max(side->peak_mb, Megabytes(system->PeakResidentBytes()));
  }

  std::vector<std::string> LoadCommand(const std::string& address) const {
    const HostileRates& rates = options_.rates;
    std::vector<std::string> command = {"/proc/self/exe", "hostile-load", address, kReadSlowly};
    const auto set = [&](const char* name, int value) {
      command.insert(command.end(), {name, std::to_string(value)});
    };
    set("--idle", rates.idle);
    set("--slow-readers", rates.slow_readers);
    set("--slow-writers", rates.slow_writers);
    set("--silent", rates.silent);
    set("--garbage", rates.garbage);
    set("--streams", rates.streams);
    set("--bad-calls", rates.bad_calls);
    set("--pings", rates.pings);
    set("--header-floods", rates.header_floods);
    return command;
  }

  static std::string LastLine(const std::string& file) {
    std::ifstream lines(file);
    std::string line;
    std::string last;
    while (std::getline(lines, line)) last = line;
    return last;
  }

  void Check(const char* what, double without, double with, Verdict* verdict) const {
    const double most = std::max(2 * without, without + 2000);
    verdict->Check(
        with <= most,
        fmt::format("{}: median p99 {:.0f} us, at most {:.0f}: the larger of 2 x and + 2 ms "
                    "of {:.0f} without",
                    what, with, most, without));
  }

  void Add(const System& system, const char* name, const Side& side, Report* report) const {
    for (const bool ack : {true, false}) {
      const Rounds& rounds = ack ? side.ack : side.deliver;
      Row row = NewRow(
          "hostile", fmt::format("{} hostile clients, {}", name, ack ? "ack" : "deliver"), system);
      row.p50_us = rounds.p50();
      row.p99_us = rounds.p99();
      row.p999_us = rounds.p999();
      row.max_us = rounds.max();
      row.broker_rss_mb = side.peak_mb;
      report->Add(std::move(row));
    }
  }

  const HostileOptions& options_;
};

void AddRates(CLI::App* command, HostileRates* rates) {
  const auto add = [&](const char* name, int* value, const char* what) {
    command->add_option(name, *value, what)->check(CLI::Range(0, 100'000))->capture_default_str();
  };
  add("--idle", &rates->idle, "connections that are kept without a call");
  add("--slow-readers", &rates->slow_readers, "Consume streams that never read");
  add("--slow-writers", &rates->slow_writers, "messages of 16 MiB that come byte by byte");
  add("--silent", &rates->silent, "connections a second that say nothing");
  add("--garbage", &rates->garbage, "connections a second with random bytes");
  add("--streams", &rates->streams, "streams a second that are opened and reset");
  add("--bad-calls", &rates->bad_calls, "calls a second that are nonsense");
  add("--pings", &rates->pings, "a second");
  add("--header-floods", &rates->header_floods, "a second");
}

}  // namespace

void AddHostile(CLI::App* app) {
  auto options = std::make_shared<HostileOptions>();
  options->seconds = 6;
  options->systems.modes = {"unix", "tcp"};
  CLI::App* command = app->add_subcommand(
      "hostile", "latency at a fixed rate, without and beside hostile clients, in turns");
  options->systems.AddTo(command);
  AddRates(command, &options->rates);
  options->AddTo(command, "of each half of a round");
  command->add_option("--rounds", options->rounds)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->callback([options] { HostileBench(*options).Run(); });

  struct LoadOptions {
    std::string address;
    std::string channel;
    HostileRates rates;
  };
  auto load = std::make_shared<LoadOptions>();
  CLI::App* alone =
      app->add_subcommand("hostile-load", "the hostile clients of `hostile` alone, until SIGTERM");
  alone->add_option("address", load->address, "127.0.0.1:7470 or unix:PATH")->required();
  alone->add_option("channel", load->channel, "an existing one, for streams")->required();
  AddRates(alone, &load->rates);
  alone->callback([load] { HostileLoad(load->address, load->channel, load->rates); });
}

}  // namespace strata::bench
