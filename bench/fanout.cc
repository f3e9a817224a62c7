// Many consumers of one channel, one of them stopped, as `strata-bench fanout`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "bench/process.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

struct Phase {
  double producer_seconds = 0;
  double slowest_consumer_seconds = 0;
};

Phase RunPhase(Client& client, const FanoutOptions& options, const std::string& channel,
               int reading, int stopped) {
  ValueOrDie(client.CreateChannel(channel), "create the channel");
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < reading + stopped; ++i) {
    readers.push_back(
        ValueOrDie(client.OpenReader(channel, StartPosition::Earliest()), "open a reader"));
  }
  auto producer = ValueOrDie(client.OpenProducer(channel), "open the producer");

  Phase phase;
  std::vector<double> seconds(static_cast<size_t>(reading));
  const auto start = SteadyClock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < reading; ++i) {
    threads.emplace_back([&, i] {
      uint64_t received = 0;
      while (received < options.count) {
        const ReceivedBatch batch = ValueOrDie(
            readers[static_cast<size_t>(i)]->ReceiveBatch(std::chrono::seconds(60)), "receive");
        if (batch.is_gap()) Die("a gap where there must be none");
        received += batch.size();
      }
      seconds[static_cast<size_t>(i)] = SecondsSince(start);
    });
  }
  Payloads payloads(options.size);
  for (uint64_t i = 0; i < options.count; ++i) {
    DieUnlessOk(producer->Send(payloads.Make(i), [](const Result<MessageId>&) {}), "send");
  }
  DieUnlessOk(producer->Close(), "close the producer");
  phase.producer_seconds = SecondsSince(start);
  for (std::thread& thread : threads) thread.join();
  phase.slowest_consumer_seconds = *std::max_element(seconds.begin(), seconds.end());

  // The stopped ones lose nothing: they read on from where they stood.
  for (int i = reading; i < reading + stopped; ++i) {
    uint64_t received = 0;
    while (received < options.count) {
      received +=
          ValueOrDie(readers[static_cast<size_t>(i)]->ReceiveBatch(std::chrono::seconds(60)),
                     "receive late")
              .size();
    }
  }
  readers.clear();
  DieUnlessOk(client.DeleteChannel(channel), "delete the channel");
  return phase;
}

}  // namespace

void Fanout(const FanoutOptions& options) {
  auto client = ValueOrDie(Connect(options.address), "connect");
  fmt::print("fanout over {}, {} messages of {} bytes to {} consumers\n", options.address,
             options.count, options.size, options.consumers);
  const auto report = [&](const char* what, const Phase& phase) {
    const auto rate = [&](double seconds) { return static_cast<double>(options.count) / seconds; };
    fmt::print("  {}: producer {:.0f} msg/s, slowest reading consumer {:.0f} msg/s", what,
               rate(phase.producer_seconds), rate(phase.slowest_consumer_seconds));
    if (options.server_pid > 0) {
      fmt::print("; server peak resident memory {:.1f} MB",
                 static_cast<double>(ProcessPeakResident(options.server_pid)) / 1e6);
    }
    fmt::print("\n");
  };
  const std::string channel = fmt::format("fanout-{}", getpid());
  // In turns, because the machine's speed drifts; each pair compares the same number of reading
  // consumers.
  for (int round = 0; round < 3; ++round) {
    const int reading = options.consumers - 1;
    report("all reading",
           RunPhase(*client, options, fmt::format("{}-a{}", channel, round), reading, 0));
    report("plus one stopped",
           RunPhase(*client, options, fmt::format("{}-b{}", channel, round), reading, 1));
  }
}

}  // namespace strata::bench
