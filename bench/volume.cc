// What a payload byte costs the disk: written on the way, and kept.
#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

#include "bench/options.h"
#include "bench/page_cache.h"
#include "bench/space.h"
#include "bench/traffic.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

struct Options {
  SystemChoice systems;
  uint64_t bytes = 4ull << 30;
  size_t size = 64u << 10;
};

// Of RocksDB's log, as du counts.
uint64_t LogBytes(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code gone;
  for (auto it = std::filesystem::recursive_directory_iterator(directory, gone);
       it != std::filesystem::recursive_directory_iterator(); it.increment(gone)) {
    struct stat file {};
    if (it->path().extension() == ".log" && lstat(it->path().c_str(), &file) == 0) {
      bytes += static_cast<uint64_t>(file.st_blocks) * 512;
    }
  }
  return bytes;
}

// What the broker's process made dirty or wrote, until nothing of the payload waits in its memory:
// the start after the kill makes a table file of what was only in the log.
uint64_t WrittenUntilTables(System* system, uint64_t before) {
  if (system->embedded()) {
    system->Restart();
    return system->WrittenBytes() - before;
  }
  const uint64_t first = system->WrittenBytes() - before;
  system->Kill();
  system->Restart();
  SettleSystem(system);
  return first + system->WrittenBytes();
}

void VolumeOf(const Options& options, const ChosenSystem& chosen, Report* report) {
  const std::unique_ptr<System> system = chosen.Start();
  report->AddVersion(*system);
  SettleSystem(system.get());
  const uint64_t device_before = DeviceWrittenBytes(system->directory());
  const uint64_t written_before = system->WrittenBytes();
  Row row = NewRow(
      "volume", fmt::format("{} of {}", SizeText(options.bytes), SizeText(options.size)), *system);
  uint64_t count = 0;
  {
    const auto connection = system->Connect();
    connection->CreateChannel("volume");
    const Meter meter(system.get());
    count = FillChannel(connection.get(), "volume", options.size, options.bytes);
    row.s_per_op = meter.Seconds();
    row.cpu_s_per_op = meter.CpuSeconds();
  }
  const uint64_t written = WrittenUntilTables(system.get(), written_before);
  const uint64_t device = DeviceWrittenBytes(system->directory()) - device_before;
  const DiskUse use = MeasureDisk(system->directory());
  const uint64_t log = LogBytes(system->directory());
  const auto payload = static_cast<double>(count * options.size);
  const double kept = static_cast<double>(use.blocks - use.ballast - log) / payload;
  row.mb_per_s = payload / 1e6 / *row.s_per_op;
  row.stored_per_payload = kept;
  row.broker_rss_mb = Megabytes(system->PeakResidentBytes());
  report->Add(row);
  fmt::print("{}: {} messages of {}\n", chosen.Label(), count, SizeText(options.size));
  const double factor = static_cast<double>(written) / payload;
  PrintTarget(factor <= 2.05,
              fmt::format("the process wrote {:.3f} bytes per payload byte, at most "
                          "2.05",
                          factor));
  if (device > 0) {
    fmt::print("  the disk was given {:.3f} bytes per payload byte, by everybody\n",
               static_cast<double>(device) / payload);
  }
  PrintTarget(kept <= 1.05,
              fmt::format("on disk without log and ballast: {:.3f} bytes per payload byte, at most "
                          "1.05; with the log {:.3f}",
                          kept, kept + static_cast<double>(log) / payload));
}

}  // namespace

void AddVolume(CLI::App* app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app->add_subcommand("volume", "bytes written and bytes kept for each byte of payload");
  options->systems.AddTo(command);
  command->add_option("--bytes", options->bytes, "of payload, incompressible, in one channel")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--size", options->size, "bytes per message")
      ->check(CLI::Range(8, 16 << 20))
      ->capture_default_str();
  command->callback([options] {
    Report report;
    for (const ChosenSystem& chosen : options->systems.All()) VolumeOf(*options, chosen, &report);
    options->systems.Finish(report);
  });
}

}  // namespace strata::bench
