// Latency of appends while the store gives back, rewrites or compresses, as `strata-bench reclaim`: on a broker of its
// own, or on a daemon that runs already and that nobody else uses.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <thread>

#include "bench/options.h"
#include "bench/process.h"
#include "bench/space.h"
#include "bench/traffic.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

// What is done to the prepared bytes while the latency is measured.
enum class Work : uint8_t { kNothing, kReclaim, kRewrite, kCompress };
constexpr std::array<const char*, 4> kNames = {"nothing", "reclaimed", "rewritten", "compressed"};
const char* NameOf(Work work) { return kNames[static_cast<size_t>(work)]; }

struct Options {
  SystemChoice systems;
  std::string address;  // of one that runs already; empty: one of its own
  std::string store;    // its rocksmq.path
  int server_pid = 0;
  int seconds = 30;
  int rounds = 5;
  int rate = 2000;
  size_t size = 1024;
  uint64_t bytes = 1ull << 30;
  int compaction_interval = 20;  // seconds; 0: without compressing
};

// The broker under test: a System's, or the one at an address.
struct Broker {
  std::unique_ptr<Connection> connection;
  std::string directory;
  pid_t pid = 0;  // 0: this process
};

struct Result {
  double p50 = 0, p99 = 0, p999 = 0, max = 0;  // microseconds
  double before_mib = 0, after_mib = 0;        // du around the measurement
};

// A fixed rate from a fixed schedule: a message that could not leave in time is late from when it was due, so that a
// stall counts for every message it held up, not for one.
Result MeasureLatency(Connection* connection, const std::string& channel, const Options& options) {
  const auto count = static_cast<size_t>(options.seconds) * static_cast<size_t>(options.rate);
  const auto step = std::chrono::nanoseconds(1'000'000'000 / options.rate);
  std::vector<SteadyClock::time_point> acknowledged(count);
  Payloads payloads(options.size);
  const auto publisher = connection->OpenPublisher(channel);
  const auto start = SteadyClock::now() + std::chrono::milliseconds(10);
  for (size_t i = 0; i < count; ++i) {
    std::this_thread::sleep_until(start + step * i);
    publisher->Send(payloads.Make(i), [&acknowledged, i] { acknowledged[i] = SteadyClock::now(); });
  }
  publisher->Flush();
  Latencies latencies;
  latencies.Reserve(count);
  for (size_t i = 0; i < count; ++i) latencies.Add(acknowledged[i] - (start + step * i));
  Result result;
  result.p50 = latencies.Percentile(0.5);
  result.p99 = latencies.Percentile(0.99);
  result.p999 = latencies.Percentile(0.999);
  result.max = latencies.Percentile(1.0);
  return result;
}

class Bench {
 public:
  Bench(const Options& options, Broker broker)
      : options_(options),
        broker_(std::move(broker)),
        channel_(fmt::format("reclaim-{}", getpid())),
        doomed_(channel_ + "-doomed"),
        kept_(channel_ + "-kept") {
    broker_.connection->CreateChannel(channel_);
  }
  ~Bench() { broker_.connection->DeleteChannel(channel_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Result Run(Work work) {
    Prepare(work);
    const double before_mib = MiB(MeasureDisk(broker_.directory).blocks);
    // A second into the measurement, so that it begins in the middle of it also on a slow machine.
    std::thread trigger([this, work] {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      if (work == Work::kReclaim || work == Work::kRewrite)
        broker_.connection->DeleteChannel(doomed_);
    });
    Result result = MeasureLatency(broker_.connection.get(), channel_, options_);
    trigger.join();
    result.before_mib = before_mib;
    result.after_mib = MiB(MeasureDisk(broker_.directory).blocks);
    if (work == Work::kNothing) broker_.connection->DeleteChannel(doomed_);
    if (work == Work::kRewrite || work == Work::kCompress) broker_.connection->DeleteChannel(kept_);
    return result;
  }

  // Until the broker rests: it has nothing left to delete, rewrite or flush.
  void AwaitRest() {
    const auto end = SteadyClock::now() + std::chrono::seconds(120);
    int quiet = 0;
    double cpu = ProcessCpuSeconds(broker_.pid);
    while (quiet < 3 && SteadyClock::now() < end) {
      AwaitQuietDisk(broker_.directory, std::chrono::seconds(60));
      const double now = ProcessCpuSeconds(broker_.pid);
      quiet = now - cpu < 0.1 ? quiet + 1 : 0;
      cpu = now;
    }
  }

 private:
  void Prepare(Work work) {
    // With nothing to do the same lies there: only what is done to it is to differ.
    if (work == Work::kReclaim || work == Work::kNothing)
      FillInTurns({{doomed_, 1}}, /*compressible=*/false);
    // Just more than half of it garbage later, so that as much as possible has to be copied.
    if (work == Work::kRewrite) FillInTurns({{doomed_, 5}, {kept_, 4}}, /*compressible=*/false);
    const auto filled = SteadyClock::now();
    if (work == Work::kCompress) {
      FillInTurns({{kept_, 1}}, /*compressible=*/true);
      // Sealed strata are cold so long after; the oldest was sealed after `filled` and before now.
      std::this_thread::sleep_until(filled + std::chrono::seconds(options_.compaction_interval));
      return;
    }
    AwaitRest();
  }

  struct Share {
    std::string channel;
    int messages;  // of each turn
  };
  void FillInTurns(const std::vector<Share>& shares, bool compressible) {
    constexpr size_t kSize = 16u << 10;
    Payloads payloads(kSize);
    std::vector<std::unique_ptr<Publisher>> publishers;
    for (const Share& share : shares) {
      broker_.connection->CreateChannel(share.channel);
      publishers.push_back(broker_.connection->OpenPublisher(share.channel));
    }
    // A stratum more, because the newest one is being written.
    const uint64_t target = options_.bytes + (256u << 20);
    uint64_t number = 0;
    std::string payload;
    for (uint64_t sent = 0; sent < target;) {
      for (size_t i = 0; i < shares.size(); ++i) {
        for (int k = 0; k < shares[i].messages; ++k, sent += kSize) {
          payload = payloads.Make(number++);
          if (compressible) payload.replace(kSize / 2, std::string::npos, kSize / 2, 'x');
          publishers[i]->Send(payload);
        }
      }
    }
    for (const auto& publisher : publishers) publisher->Flush();
  }

  const Options& options_;
  const Broker broker_;
  const std::string channel_;
  const std::string doomed_;
  const std::string kept_;
};

using Results = std::array<std::vector<Result>, kNames.size()>;

Results MeasureAll(const Options& options, const std::vector<Work>& works, Broker broker) {
  Results results;
  Bench bench(options, std::move(broker));
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t turn = 0; turn < works.size(); ++turn) {
      // Each round begins with another one, so that none is always the first.
      const Work work = works[(turn + static_cast<size_t>(round)) % works.size()];
      bench.AwaitRest();
      const Result result = bench.Run(work);
      results[static_cast<size_t>(work)].push_back(result);
      fmt::print(
          "  {:>10}: p50 {:.0f}, p99 {:.0f}, p99.9 {:.0f}, max {:.0f}; du {:.0f} -> {:.0f} "
          "MiB\n",
          NameOf(work), result.p50, result.p99, result.p999, result.max, result.before_mib,
          result.after_mib);
      std::fflush(stdout);
    }
  }
  return results;
}

double MedianOf(const Results& results, Work work, double Result::*of) {
  std::vector<double> values;
  for (const Result& result : results[static_cast<size_t>(work)]) values.push_back(result.*of);
  return Median(std::move(values));
}

void CheckBounds(const Options& options, const std::vector<Work>& works, const Results& results,
                 Verdict* verdict) {
  const double idle = MedianOf(results, Work::kNothing, &Result::p99);
  for (const Work work : works) {
    if (work == Work::kNothing) continue;
    const double p99 = MedianOf(results, work, &Result::p99);
    const double gone =
        MedianOf(results, work, &Result::before_mib) - MedianOf(results, work, &Result::after_mib);
    verdict->Check(gone > MiB(options.bytes) / 4,
                   fmt::format("{}: the disk shrank by {:.0f} MiB meanwhile", NameOf(work), gone));
    verdict->Check(
        p99 <= std::max(1.25 * idle, idle + 1000),
        fmt::format("{}: median p99 {:.2f} x that of nothing, {:+.2f} ms; at most 1.25 x, "
                    "or +1 ms where that is more",
                    NameOf(work), p99 / idle, (p99 - idle) / 1000));
  }
}

// On one broker; `like` has the columns that say which one.
void ReclaimOn(const Options& options, const Row& like, Broker broker, Report* report,
               Verdict* verdict) {
  fmt::print(
      "reclaim, {} {}: {} messages of {} bytes a second for {} s, {} runs of each, in turns; "
      "microseconds from the due time to the acknowledgement\n",
      like.mode, like.sync, options.rate, options.size, options.seconds, options.rounds);
  std::vector<Work> works = {Work::kNothing, Work::kReclaim, Work::kRewrite};
  if (options.compaction_interval > 0) works.push_back(Work::kCompress);
  const Results results = MeasureAll(options, works, std::move(broker));
  for (const Work work : works) {
    Row row = like;
    row.row = NameOf(work);
    row.p50_us = MedianOf(results, work, &Result::p50);
    row.p99_us = MedianOf(results, work, &Result::p99);
    row.p999_us = MedianOf(results, work, &Result::p999);
    row.max_us = MedianOf(results, work, &Result::max);
    report->Add(row);
  }
  CheckBounds(options, works, results, verdict);
}

void ReclaimAtAddress(const Options& options) {
  if (options.store.empty() || options.server_pid == 0) {
    Die("--address needs --store and --server-pid, to see when that daemon rests");
  }
  Row like;
  like.workload = "reclaim";
  like.system = "strata";
  like.mode = options.address;
  like.data = "random";
  Report report;
  Verdict verdict;
  ReclaimOn(options, like, {ConnectStrata(options.address), options.store, options.server_pid},
            &report, &verdict);
  options.systems.Finish(report);
  verdict.Finish();
}

void ReclaimOnSystems(const Options& options) {
  Report report;
  Verdict verdict;
  for (ChosenSystem chosen : options.systems.All()) {
    if (chosen.name != "strata") Die("reclaim is about what only Strata does: leave out --peer");
    if (options.compaction_interval > 0) {
      chosen.options.settings.push_back(
          fmt::format("rocksmq.compactionInterval={}s", options.compaction_interval));
    }
    const std::unique_ptr<System> system = chosen.Start();
    report.AddVersion(*system);
    ReclaimOn(options, NewRow("reclaim", "", *system),
              {system->Connect(), system->directory(), system->pid()}, &report, &verdict);
  }
  options.systems.Finish(report);
  verdict.Finish();
}

}  // namespace

void AddReclaim(CLI::App* app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "reclaim", "latency at a fixed rate while the store gives back, rewrites, compresses");
  options->systems.AddTo(command);
  command->add_option("--address", options->address,
                      "a daemon that runs already: 127.0.0.1:7470 or unix:PATH");
  command->add_option("--store", options->store, "with --address: its rocksmq.path")
      ->check(CLI::ExistingDirectory);
  command->add_option("--server-pid", options->server_pid,
                      "with --address: the daemon, to see when it rests");
  command->add_option("--seconds", options->seconds, "of each run")
      ->check(CLI::Range(2, 3600))
      ->capture_default_str();
  command->add_option("--rounds", options->rounds)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--rate", options->rate, "messages a second")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--size", options->size, "bytes per message")
      ->check(CLI::Range(8, 1 << 20))
      ->capture_default_str();
  command->add_option("--bytes", options->bytes, "given back, rewritten or compressed in each run")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command
      ->add_option("--compaction-interval", options->compaction_interval,
                   "rocksmq.compactionInterval in seconds; with --address, that of the daemon; 0 "
                   "leaves out compressing")
      ->capture_default_str();
  command->callback([options] {
    if (options->address.empty()) {
      ReclaimOnSystems(*options);
    } else {
      ReclaimAtAddress(*options);
    }
  });
}

}  // namespace strata::bench
