// All ceilings of this machine, as `strata-bench ceiling`.
#include "bench/ceiling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>

#include <nlohmann/json.hpp>

#include "bench/report.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

struct Size {
  const char* name;
  size_t bytes;
  uint64_t seeds;  // messages of the seeds' row
};
constexpr Size kSizes[] = {
    {"1 KB", 1u << 10, 50'000},
    {"64 KB", 64u << 10, 10'000},
    {"1 MB", 1u << 20, 500},
    {"5 MB", 5u << 20, 100},
};

struct CeilingOptions {
  std::string directory = ".";
  std::string json;
  int rounds = 3;
};

// One figure: the values of its rounds.
struct Figure {
  std::string what;
  std::string unit;
  std::vector<double> values;
};

class Ceilings {
 public:
  explicit Ceilings(const CeilingOptions& options) : options_(options) {}

  // All of a round before the next, so that a slow minute of the machine is in one round of each.
  void MeasureRound() {
    MeasureDisk();
    for (const Size& size : kSizes) {
      Note(fmt::format("RocksDB, {} x {}", size.name, size.seeds), "MB/s",
           RawRocksDb(options_.directory, size.bytes, size.seeds));
    }
    for (const char* mode : {"tcp", "unix"}) {
      for (const Size& size : kSizes) {
        // About half a second each.
        const uint64_t bytes = size.bytes < 64u << 10 ? 64u << 20 : 1u << 30;
        Note(fmt::format("gRPC echo over {}, {}", mode, size.name), "MB/s",
             RawGrpcEcho(mode, options_.directory, size.bytes, bytes));
        Note(fmt::format("gRPC stream over {}, {}", mode, size.name), "MB/s",
             RawGrpcStream(mode, options_.directory, size.bytes, bytes));
      }
    }
  }

  void Print() const {
    fmt::print("medians of {} rounds; the least and the most of them\n", options_.rounds);
    for (const Figure& figure : figures_) {
      const auto [least, most] = std::minmax_element(figure.values.begin(), figure.values.end());
      fmt::print("  {:<44} {:>9.1f} {:<5} ({:.1f} to {:.1f})\n", figure.what, Median(figure.values),
                 figure.unit, *least, *most);
    }
  }

  // An array of {what, unit, median, values}.
  void WriteJson() const {
    nlohmann::ordered_json array = nlohmann::ordered_json::array();
    for (const Figure& figure : figures_) {
      array.push_back({{"what", figure.what},
                       {"unit", figure.unit},
                       {"median", Median(figure.values)},
                       {"values", figure.values}});
    }
    std::ofstream file(options_.json);
    file << array.dump(2) << "\n";
    file.flush();
    if (!file.good()) Die("cannot write " + options_.json);
  }

 private:
  void MeasureDisk() {
    NoteLatencies("1 KB append + fdatasync", RawSync(options_.directory, 1u << 10, 5000));
    NoteLatencies("64 KB append + fdatasync", RawSync(options_.directory, 64u << 10, 2000));
    NoteLatencies("1 MB append + fdatasync", RawSync(options_.directory, 1u << 20, 500));
    Latencies from_due;
    NoteLatencies("1 KB append + fdatasync, 2,000/s",
                  RawSync(options_.directory, 1u << 10, 10'000, 2000, &from_due));
    NoteLatencies("the same from when due", std::move(from_due));
    Note("sequential write + one fdatasync, 2 GiB", "MB/s",
         RawSequentialWrite(options_.directory, uint64_t{2} << 30));
  }

  void NoteLatencies(const std::string& what, Latencies latencies) {
    Note(what + ", p50", "us", latencies.Percentile(0.5));
    Note(what + ", p99", "us", latencies.Percentile(0.99));
    Note(what + ", p99.9", "us", latencies.Percentile(0.999));
    Note(what + ", max", "us", latencies.Percentile(1.0));
  }

  void Note(const std::string& what, const std::string& unit, double value) {
    fmt::print("{}: {:.1f} {}\n", what, value, unit);
    std::fflush(stdout);
    const auto same = [&](const Figure& figure) { return figure.what == what; };
    auto it = std::find_if(figures_.begin(), figures_.end(), same);
    if (it == figures_.end()) it = figures_.insert(it, {what, unit, {}});
    it->values.push_back(value);
  }

  const CeilingOptions& options_;
  std::vector<Figure> figures_;
};

void MeasureCeilings(const CeilingOptions& options) {
  if (!options.json.empty() && !std::ofstream(options.json, std::ios::app).good()) {
    Die("cannot write " + options.json);
  }
  Ceilings ceilings(options);
  for (int round = 0; round < options.rounds; ++round) {
    fmt::print("round {} of {}\n", round + 1, options.rounds);
    ceilings.MeasureRound();
  }
  ceilings.Print();
  if (!options.json.empty()) ceilings.WriteJson();
}

}  // namespace

void AddCeiling(CLI::App* app) {
  auto options = std::make_shared<CeilingOptions>();
  CLI::App* command = app->add_subcommand(
      "ceiling", "what this machine can do without Strata: fdatasync, writing, RocksDB, gRPC");
  command->add_option("--directory", options->directory, "on the disk to measure")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  command->add_option("--rounds", options->rounds)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--json", options->json, "write the figures to this file");
  command->callback([options] { MeasureCeilings(*options); });
}

}  // namespace strata::bench
