// Catch-up: one reader goes through a full channel, from the page cache and from the disk.
#include <fmt/format.h>

#include <array>
#include <map>

#include "bench/ceiling.h"
#include "bench/options.h"
#include "bench/page_cache.h"
#include "bench/process.h"
#include "bench/traffic.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

constexpr char kChannel[] = "replay";
// What the daemon sends as one message: a producer's batch.
constexpr size_t kDelivery = 1u << 20;

struct Options {
  SystemChoice systems;
  uint64_t bytes = 2ull << 30;
  std::vector<size_t> sizes = {64u << 10, 1024};
  std::vector<std::string> mmap = {"false", "true"};
  int rounds = 5;
  bool ceiling = true;
};

enum class Cache : uint8_t { kWarm, kCold };
constexpr std::array<const char*, 2> kCacheNames = {"warm", "cold"};

struct Runs {
  std::vector<double> seconds;
  std::vector<double> cpu;
  double peak_mb = 0;
};

// One system with a full channel. Before each run it is started again, so that neither memtables nor
// mappings of the run before serve it.
class Place {
 public:
  Place(const ChosenSystem& chosen, std::string label, size_t size, uint64_t bytes)
      : system(chosen.Start()), label(std::move(label)) {
    const auto connection = system->Connect();
    connection->CreateChannel(kChannel);
    count_ = FillChannel(connection.get(), kChannel, size, bytes);
  }

  void Run(Cache cache) {
    if (!system->embedded()) system->Kill();
    system->Restart();
    SettleSystem(system.get());
    if (cache == Cache::kCold) DropPageCache(system->directory());
    system->ForgetPeak();
    const auto connection = system->Connect();
    const Meter meter(system.get());
    ReadChannel(connection.get(), kChannel, count_);
    Runs& of = runs[cache];
    of.seconds.push_back(meter.Seconds());
    of.cpu.push_back(meter.CpuSeconds());
    of.peak_mb = std::max(of.peak_mb, Megabytes(system->PeakResidentBytes()));
  }

  const std::unique_ptr<System> system;
  const std::string label;  // "", or "mmapReads"
  std::map<Cache, Runs> runs;
  uint64_t count() const { return count_; }

 private:
  uint64_t count_ = 0;
};

Row MakeRow(const Place& place, Cache cache, size_t size, double ceiling_mb_per_s) {
  const Runs& runs = place.runs.at(cache);
  Row row = NewRow("replay",
                   fmt::format("{} {}{}", SizeText(size), kCacheNames[static_cast<size_t>(cache)],
                               place.label.empty() ? "" : " " + place.label),
                   *place.system);
  const uint64_t bytes = place.count() * size;
  row.s_per_op = Median(runs.seconds);
  row.mb_per_s = Megabytes(bytes) / *row.s_per_op;
  row.msg_per_s = static_cast<double>(place.count()) / *row.s_per_op;
  row.cpu_s_per_op = Median(runs.cpu);
  row.broker_rss_mb = runs.peak_mb;
  if (ceiling_mb_per_s > 0 && cache == Cache::kWarm) {
    row.percent_of_ceiling = 100 * *row.mb_per_s / ceiling_mb_per_s;
  }
  fmt::print("  {:<28} {:>7.0f} MB/s, {:.2f} CPU s/GB\n", row.row, *row.mb_per_s,
             *row.cpu_s_per_op / Megabytes(bytes) * 1000);
  return row;
}

void CheckTargets(const Place& place, const Row& row) {
  if (place.system->name() != "strata") return;
  if (place.system->embedded()) {
    PrintTarget(*row.mb_per_s >= 2000,
                fmt::format("embedded, {}: {:.0f} MB/s, at least 2,000", row.row, *row.mb_per_s));
  } else if (row.percent_of_ceiling && row.mode == "unix") {
    PrintTarget(*row.percent_of_ceiling >= 70,
                fmt::format("Unix socket, {}: {:.0f} % of gRPC alone, at least 70", row.row,
                            *row.percent_of_ceiling));
  }
}

// All systems of one mode in turns, so that they have the same machine.
void ReplayOfMode(const Options& options, const std::vector<ChosenSystem>& group, size_t size,
                  Report* report) {
  const std::string& mode = group.front().options.mode;
  fmt::print("{}, messages of {}, {} in the channel, medians of {} rounds\n", mode, SizeText(size),
             SizeText(options.bytes), options.rounds);
  std::vector<std::unique_ptr<Place>> places;
  for (const ChosenSystem& chosen : group) {
    if (chosen.name != "strata") {
      places.push_back(std::make_unique<Place>(chosen, "", size, options.bytes));
      continue;
    }
    for (const std::string& mmap : options.mmap) {
      ChosenSystem with = chosen;
      with.options.settings.push_back("storage.mmapReads=" + mmap);
      places.push_back(
          std::make_unique<Place>(with, mmap == "true" ? "mmapReads" : "", size, options.bytes));
    }
  }
  std::vector<double> ceilings;
  for (int round = 0; round < options.rounds; ++round) {
    // Each round begins with another one, so that none is always the first.
    for (size_t i = 0; i < places.size(); ++i) {
      Place& place = *places[(i + static_cast<size_t>(round)) % places.size()];
      // The cold run fills the page cache for the warm one.
      place.Run(Cache::kCold);
      place.Run(Cache::kWarm);
    }
    if (options.ceiling && mode != "embedded") {
      ceilings.push_back(
          RawGrpcStream(mode, options.systems.directory(), kDelivery, options.bytes));
    }
  }
  const double ceiling = ceilings.empty() ? 0 : Median(ceilings);
  if (ceiling > 0) fmt::print("  gRPC alone: {:.0f} MB/s\n", ceiling);
  for (const auto& place : places) {
    report->AddVersion(*place->system);
    for (const Cache cache : {Cache::kWarm, Cache::kCold}) {
      const Row row = MakeRow(*place, cache, size, ceiling);
      if (cache == Cache::kWarm) CheckTargets(*place, row);
      report->Add(row);
    }
  }
}

void Replay(const Options& options) {
  std::map<std::string, std::vector<ChosenSystem>> groups;
  for (const ChosenSystem& chosen : options.systems.All()) {
    groups[chosen.options.mode].push_back(chosen);
  }
  Report report;
  for (const size_t size : options.sizes) {
    for (const auto& [mode, group] : groups) ReplayOfMode(options, group, size, &report);
  }
  options.systems.Finish(report);
}

}  // namespace

void AddReplay(CLI::App* app) {
  const auto options = std::make_shared<Options>();
  options->systems.modes = {"embedded", "unix", "tcp"};
  CLI::App* command = app->add_subcommand(
      "replay", "one reader goes through a full channel, from the page cache and from the disk");
  options->systems.AddTo(command);
  command->add_option("--bytes", options->bytes, "in the channel")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--size", options->sizes, "bytes per message; a list")
      ->delimiter(',')
      ->check(CLI::Range(8, 16 << 20))
      ->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--mmap",
          [options](const std::string& which) {
            options->mmap = which == "both" ? std::vector<std::string>{"false", "true"}
                                            : std::vector<std::string>{which};
          },
          "storage.mmapReads: false, true or both, which is the default")
      ->check(CLI::IsMember({"false", "true", "both"}));
  command->add_option("--rounds", options->rounds)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_flag("!--no-ceiling", options->ceiling, "do not measure gRPC alone");
  command->callback([options] { Replay(*options); });
}

}  // namespace strata::bench
