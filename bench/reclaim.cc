// Latency of appends while the store gives back, rewrites or compresses, as `strata-bench reclaim`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>

#include "bench/space.h"

namespace strata::bench {
namespace {

// What is done to the prepared bytes while the latency is measured.
enum class Work : uint8_t { kNothing, kReclaim, kRewrite, kCompress };
constexpr std::array<const char*, 4> kNames = {"nothing", "reclaimed", "rewritten", "compressed"};
const char* NameOf(Work work) { return kNames[static_cast<size_t>(work)]; }

struct Result {
  double p50 = 0, p99 = 0, p999 = 0, max = 0;  // milliseconds
  double before_mib = 0, after_mib = 0;        // du around the measurement
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A fixed rate from a fixed schedule: a message that could not leave in time is late from when it was due, so that a
// stall counts for every message it held up, not for one.
Result MeasureLatency(Client& client, const std::string& channel, const ReclaimOptions& options) {
  const auto count = static_cast<size_t>(options.seconds) * static_cast<size_t>(options.rate);
  const auto step = std::chrono::nanoseconds(1'000'000'000 / options.rate);
  std::vector<SteadyClock::time_point> acknowledged(count);
  std::atomic<bool> failed = false;
  Payloads payloads(options.size);
  auto producer = ValueOrDie(client.OpenProducer(channel), "open the producer");
  const auto start = SteadyClock::now() + std::chrono::milliseconds(10);
  for (size_t i = 0; i < count; ++i) {
    std::this_thread::sleep_until(start + step * i);
    DieUnlessOk(producer->Send(payloads.Make(i),
                               [&acknowledged, &failed, i](const strata::Result<MessageId>& id) {
                                 acknowledged[i] = SteadyClock::now();
                                 if (!id.ok()) failed = true;
                               }),
                "send");
  }
  DieUnlessOk(producer->Close(), "close the producer");
  if (failed) Die("an append failed");
  Latencies latencies;
  latencies.Reserve(count);
  for (size_t i = 0; i < count; ++i) latencies.Add(acknowledged[i] - (start + step * i));
  Result result;
  result.p50 = latencies.Percentile(0.5) / 1e3;
  result.p99 = latencies.Percentile(0.99) / 1e3;
  result.p999 = latencies.Percentile(0.999) / 1e3;
  result.max = latencies.Percentile(1.0) / 1e3;
  return result;
}

class Bench {
 public:
  explicit Bench(const ReclaimOptions& options)
      : options_(options),
        client_(ValueOrDie(Connect(options.address), "connect")),
        channel_(fmt::format("reclaim-{}", getpid())),
        doomed_(channel_ + "-doomed"),
        kept_(channel_ + "-kept") {
    ValueOrDie(client_->CreateChannel(channel_), "create the channel");
  }
  ~Bench() { (void)client_->DeleteChannel(channel_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Result Run(Work work) {
    Prepare(work);
    Result result;
    result.before_mib = MiB(MeasureDisk(options_.directory).blocks);
    // A second into the measurement, so that it begins in the middle of it also on a slow machine.
    std::thread trigger([this, work] {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      if (work == Work::kReclaim || work == Work::kRewrite)
        DieUnlessOk(client_->DeleteChannel(doomed_), "delete a channel");
    });
    const Result latency = MeasureLatency(*client_, channel_, options_);
    trigger.join();
    result.p50 = latency.p50;
    result.p99 = latency.p99;
    result.p999 = latency.p999;
    result.max = latency.max;
    result.after_mib = MiB(MeasureDisk(options_.directory).blocks);
    if (work == Work::kNothing) DieUnlessOk(client_->DeleteChannel(doomed_), "delete a channel");
    if (work == Work::kRewrite || work == Work::kCompress)
      DieUnlessOk(client_->DeleteChannel(kept_), "delete a channel");
    return result;
  }

  // Until the daemon rests: it has nothing left to delete, rewrite or flush.
  void AwaitRest() {
    const auto end = SteadyClock::now() + std::chrono::seconds(120);
    int quiet = 0;
    double cpu = CpuSeconds(options_.server_pid);
    while (quiet < 3 && SteadyClock::now() < end) {
      AwaitQuietDisk(options_.directory, std::chrono::seconds(60));
      const double now = CpuSeconds(options_.server_pid);
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
    std::vector<std::unique_ptr<Producer>> producers;
    for (const Share& share : shares) {
      ValueOrDie(client_->CreateChannel(share.channel), "create a channel");
      producers.push_back(ValueOrDie(client_->OpenProducer(share.channel), "open a producer"));
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
          DieUnlessOk(producers[i]->Send(payload, [](const strata::Result<MessageId>&) {}), "send");
        }
      }
    }
    for (auto& producer : producers) DieUnlessOk(producer->Close(), "close a producer");
  }

  const ReclaimOptions& options_;
  const std::unique_ptr<Client> client_;
  const std::string channel_;
  const std::string doomed_;
  const std::string kept_;
};

}  // namespace

void Reclaim(const ReclaimOptions& options) {
  fmt::print(
      "reclaim over {}: {} messages of {} bytes a second for {} s, {} runs of each, in turns; "
      "milliseconds from the due time to the acknowledgement\n",
      options.address, options.rate, options.size, options.seconds, options.rounds);
  std::vector<Work> works = {Work::kNothing, Work::kReclaim, Work::kRewrite};
  if (options.compaction_interval > 0) works.push_back(Work::kCompress);
  std::array<std::vector<Result>, kNames.size()> results;
  Bench bench(options);
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t turn = 0; turn < works.size(); ++turn) {
      // Each round begins with another one, so that none is always the first.
      const Work work = works[(turn + static_cast<size_t>(round)) % works.size()];
      bench.AwaitRest();
      const Result result = bench.Run(work);
      results[static_cast<size_t>(work)].push_back(result);
      fmt::print(
          "  {:>10}: p50 {:.2f}, p99 {:.2f}, p99.9 {:.2f}, max {:.2f}; du {:.0f} -> {:.0f} "
          "MiB\n",
          NameOf(work), result.p50, result.p99, result.p999, result.max, result.before_mib,
          result.after_mib);
      std::fflush(stdout);
    }
  }
  Verdict verdict;
  const auto median = [&](Work work, double Result::*of) {
    std::vector<double> values;
    for (const Result& result : results[static_cast<size_t>(work)]) values.push_back(result.*of);
    return Median(values);
  };
  const double idle = median(Work::kNothing, &Result::p99);
  for (const Work work : works) {
    const double p99 = median(work, &Result::p99);
    fmt::print("  median, {}: p50 {:.2f}, p99 {:.2f}, p99.9 {:.2f}, max {:.2f}\n", NameOf(work),
               median(work, &Result::p50), p99, median(work, &Result::p999),
               median(work, &Result::max));
    if (work == Work::kNothing) continue;
    const double gone = median(work, &Result::before_mib) - median(work, &Result::after_mib);
    verdict.Check(gone > MiB(options.bytes) / 4,
                  fmt::format("{}: the disk shrank by {:.0f} MiB meanwhile", NameOf(work), gone));
    verdict.Check(
        p99 <= std::max(1.25 * idle, idle + 1.0),
        fmt::format("{}: median p99 {:.2f} x that of nothing, {:+.2f} ms; at most 1.25 x, "
                    "or +1 ms where that is more",
                    NameOf(work), p99 / idle, p99 - idle));
  }
  verdict.Finish();
}

}  // namespace strata::bench
