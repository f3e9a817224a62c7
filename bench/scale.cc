// One broker, more and more of one thing: channels, producers, consumers, bytes per message.
//
// channels: the same bytes over n channels, each with a publisher that stays open, all of them on one
//   connection and one thread; each channel in its turn gets `--turn` bytes, and `--in-flight` bytes
//   are unacknowledged at most, of all channels together: as a publisher only bounds itself, 10,000
//   would otherwise hold everything in memory. What 10,000 open publishers cost is part of the
//   result: memory and threads of both sides are printed. One channel comes twice: with batches as
//   large as the client makes them, and with batches of a turn, as those of many channels are, so
//   that what smaller batches cost can be told from what channels cost.
// producers: n publishers of one channel, a thread each, on ten connections at most.
// consumers: n subscribers of one channel, a thread each, on `--connections`; the publisher stays
//   within `--lead` of the slowest, so that all of them are served from the tail cache.
// sizes: one publisher and one subscriber at the same time.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "bench/options.h"
#include "bench/process.h"
#include "bench/traffic.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

struct Options {
  SystemChoice systems;
  std::vector<std::string> what = {"channels", "producers", "consumers", "sizes"};
  uint64_t bytes = 512ull << 20;
  size_t size = 1024;
  uint64_t turn = 64u << 10;
  uint64_t in_flight = 16u << 20;
  int connections = 4;
  uint64_t lead = 16u << 20;
  int rounds = 5;
  std::vector<int> channels = {1, 10, 100, 1000, 10'000};
  std::vector<int> producers = {1, 10, 100};
  std::vector<int> consumers = {1, 10, 100};
  std::vector<uint64_t> sizes = {16, 256, 1024, 4096, 64u << 10, 1u << 20, 8u << 20};
};

// What one run showed.
struct Run {
  double seconds = 0;
  double cpu = 0;
  double broker_mb = 0;
  double client_mb = 0;
  uint64_t bytes = 0;  // payload, each delivery counted
  uint64_t messages = 0;
};

size_t ThreadsOf(pid_t pid) {
  std::error_code gone;
  const std::filesystem::directory_iterator tasks(
      pid == 0 ? "/proc/self/task" : fmt::format("/proc/{}/task", pid), gone);
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

// Resident now, not at the peak.
double ResidentMb(pid_t pid) {
  std::ifstream statm(pid == 0 ? "/proc/self/statm" : fmt::format("/proc/{}/statm", pid));
  uint64_t pages = 0;
  statm >> pages >> pages;
  return Megabytes(pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

void PrintResources(System* system, const std::string& when) {
  fmt::print("    {}: broker {:.0f} MB, {} threads", when, ResidentMb(system->pid()),
             ThreadsOf(system->pid()));
  if (!system->embedded()) {
    fmt::print("; this client {:.0f} MB, {} threads", ResidentMb(0), ThreadsOf(0));
  }
  fmt::print("\n");
}

// The median run of several, as a row.
Row MedianRow(const std::string& what, const System& system, std::vector<Run> runs) {
  std::sort(runs.begin(), runs.end(),
            [](const Run& a, const Run& b) { return a.seconds < b.seconds; });
  const Run& run = runs[(runs.size() - 1) / 2];
  Row row = NewRow("scale", what, system);
  row.s_per_op = run.seconds;
  row.mb_per_s = Megabytes(run.bytes) / run.seconds;
  row.msg_per_s = static_cast<double>(run.messages) / run.seconds;
  row.cpu_s_per_op = run.cpu;
  row.broker_rss_mb = run.broker_mb;
  if (!system.embedded()) row.client_rss_mb = run.client_mb;
  fmt::print("  {:<24} {:>7.0f} MB/s, {:>9.0f} msg/s, {:.2f} CPU s, broker {:.0f} MB\n", what,
             *row.mb_per_s, *row.msg_per_s, run.cpu, run.broker_mb);
  std::fflush(stdout);
  return row;
}

// Measures `body`, which returns the messages that it moved, `size` bytes each.
template <typename Body>
Run Measure(System* system, size_t size, Body&& body) {
  SettleSystem(system);
  system->ForgetPeak();
  Run run;
  const Meter meter(system);
  run.messages = body();
  run.seconds = meter.Seconds();
  run.cpu = meter.CpuSeconds();
  run.bytes = run.messages * size;
  run.broker_mb = Megabytes(system->PeakResidentBytes());
  run.client_mb = Megabytes(ProcessPeakResident(0));
  return run;
}

// --- channels ---

std::vector<std::unique_ptr<Publisher>> OpenAll(System* system, Connection* connection,
                                                const std::string& prefix, int channels,
                                                uint64_t batch_bytes) {
  const auto start = SteadyClock::now();
  for (int i = 0; i < channels; ++i) connection->CreateChannel(fmt::format("{}-{}", prefix, i));
  const double created = SecondsSince(start);
  if (channels >= 1000) PrintResources(system, fmt::format("{} channels", channels));
  std::vector<std::unique_ptr<Publisher>> publishers;
  for (int i = 0; i < channels; ++i) {
    publishers.push_back(connection->OpenPublisher(fmt::format("{}-{}", prefix, i), batch_bytes));
  }
  if (channels >= 1000) {
    fmt::print("    created in {:.2f} s, publishers opened in {:.2f} s\n", created,
               SecondsSince(start) - created);
    PrintResources(system, "all publishers open");
  }
  return publishers;
}

// A turn of messages to each channel, round and round.
uint64_t PublishInTurns(const std::vector<std::unique_ptr<Publisher>>& publishers,
                        const Options& options) {
  Payloads payloads(options.size);
  const uint64_t total = std::max<uint64_t>(1, options.bytes / options.size);
  const uint64_t of_turn = std::max<uint64_t>(1, options.turn / options.size);
  const uint64_t most = std::max(of_turn, options.in_flight / options.size);
  std::atomic<uint64_t> acknowledged = 0;
  const std::function<void()> note = [&acknowledged] { ++acknowledged; };
  uint64_t sent = 0;
  for (size_t at = 0; sent < total; at = (at + 1) % publishers.size()) {
    while (sent + of_turn > acknowledged + most) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    for (uint64_t i = 0; i < of_turn && sent < total; ++i) {
      publishers[at]->Send(payloads.Make(sent++), note);
    }
  }
  for (const auto& publisher : publishers) publisher->Flush();
  return sent;
}

// `batch_bytes`: of each publisher; 0 is the client's default.
Row PublishToChannels(const Options& options, System* system, int channels, uint64_t batch_bytes) {
  const auto connection = system->Connect();
  const std::string row =
      batch_bytes == 0 ? fmt::format("channels {}", channels)
                       : fmt::format("channels {}, batches of {}", channels, SizeText(batch_bytes));
  const std::string prefix = fmt::format("c{}-{}", channels, batch_bytes);
  std::vector<Run> runs;
  {
    const auto publishers = OpenAll(system, connection.get(), prefix, channels, batch_bytes);
    for (int round = 0; round < options.rounds; ++round) {
      runs.push_back(
          Measure(system, options.size, [&] { return PublishInTurns(publishers, options); }));
    }
    if (channels >= 1000) PrintResources(system, "after publishing");
  }
  for (int i = 0; i < channels; ++i) connection->DeleteChannel(fmt::format("{}-{}", prefix, i));
  return MedianRow(row, *system, std::move(runs));
}

void ScaleChannels(const Options& options, const ChosenSystem& chosen, Report* report) {
  const std::unique_ptr<System> system = chosen.Start();
  report->AddVersion(*system);
  double one = 0;
  double one_in_turns = 0;
  for (const int channels : options.channels) {
    const Row row = PublishToChannels(options, system.get(), channels, 0);
    report->Add(row);
    if (channels == 1) {
      one = *row.mb_per_s;
      const Row in_turns = PublishToChannels(options, system.get(), 1, options.turn);
      one_in_turns = *in_turns.mb_per_s;
      report->Add(in_turns);
    } else if (one > 0) {
      const std::string text = fmt::format("{} channels: {:.0f} % of the throughput of one",
                                           channels, 100 * *row.mb_per_s / one);
      const std::string equal =
          fmt::format("; {:.0f} % at equal batches", 100 * *row.mb_per_s / one_in_turns);
      if (channels >= 10'000) {
        PrintTarget(*row.mb_per_s >= 0.8 * one, text + ", at least 80" + equal);
      } else {
        fmt::print("    {}{}\n", text, equal);
      }
    }
  }
}

// --- producers ---

uint64_t PublishFromMany(System* system, const Options& options, int producers) {
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < std::min(producers, 10); ++i) connections.push_back(system->Connect());
  const uint64_t of_each =
      std::max<uint64_t>(1, options.bytes / options.size / static_cast<uint64_t>(producers));
  std::vector<std::thread> threads;
  for (int i = 0; i < producers; ++i) {
    Connection* const connection = connections[static_cast<size_t>(i) % connections.size()].get();
    threads.emplace_back([connection, of_each, &options] {
      Payloads payloads(options.size);
      const auto publisher = connection->OpenPublisher("producers");
      for (uint64_t n = 0; n < of_each; ++n) publisher->Send(payloads.Make(n));
      publisher->Flush();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return of_each * static_cast<uint64_t>(producers);
}

void ScaleProducers(const Options& options, const ChosenSystem& chosen, Report* report) {
  const std::unique_ptr<System> system = chosen.Start();
  report->AddVersion(*system);
  system->Connect()->CreateChannel("producers");
  for (const int producers : options.producers) {
    std::vector<Run> runs;
    for (int round = 0; round < options.rounds; ++round) {
      runs.push_back(Measure(system.get(), options.size,
                             [&] { return PublishFromMany(system.get(), options, producers); }));
    }
    report->Add(MedianRow(fmt::format("producers {}", producers), *system, std::move(runs)));
  }
}

// --- consumers ---

// Subscribers of one channel that count what they got, each on a thread of its own.
class Audience {
 public:
  Audience(System* system, const std::string& channel, int consumers, int connections,
           uint64_t count)
      : received_(static_cast<size_t>(consumers)) {
    for (int i = 0; i < std::min(consumers, connections); ++i) {
      connections_.push_back(system->Connect());
    }
    for (size_t i = 0; i < received_.size(); ++i) {
      subscribers_.push_back(connections_[i % connections_.size()]->OpenSubscriber(channel));
    }
    for (size_t i = 0; i < received_.size(); ++i) {
      threads_.emplace_back([this, i, count] { Receive(i, count); });
    }
  }
  ~Audience() { Join(); }
  Audience(const Audience&) = delete;
  Audience& operator=(const Audience&) = delete;

  uint64_t slowest() const {
    uint64_t least = UINT64_MAX;
    for (const auto& received : received_) least = std::min(least, received.load());
    return least;
  }
  void Join() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  void Receive(size_t self, uint64_t count) {
    uint64_t expected = 0;
    while (expected < count) {
      subscribers_[self]->Receive([&](std::string_view payload) {
        if (Payloads::NumberOf(payload) != expected) Die("a message out of order");
        ++expected;
      });
      received_[self] = expected;
    }
  }

  std::vector<std::atomic<uint64_t>> received_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Subscriber>> subscribers_;
  std::vector<std::thread> threads_;
};

// The publisher and all subscribers at the same time; messages delivered.
uint64_t FanOut(const Options& options, Connection* connection, const std::string& channel,
                Audience* audience, int consumers, uint64_t count) {
  Payloads payloads(options.size);
  const uint64_t lead = std::max<uint64_t>(1, options.lead / options.size);
  const auto publisher = connection->OpenPublisher(channel);
  uint64_t slowest = 0;
  for (uint64_t i = 0; i < count; ++i) {
    while (i >= slowest + lead) {
      slowest = audience->slowest();
      if (i >= slowest + lead) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    publisher->Send(payloads.Make(i));
  }
  publisher->Flush();
  audience->Join();
  return count * static_cast<uint64_t>(consumers);
}

void ScaleConsumers(const Options& options, const ChosenSystem& chosen, Report* report) {
  const std::unique_ptr<System> system = chosen.Start();
  report->AddVersion(*system);
  const auto connection = system->Connect();
  for (const int consumers : options.consumers) {
    // As many bytes delivered with many consumers as eight times what one gets.
    const uint64_t delivered = options.bytes * static_cast<uint64_t>(std::min(consumers, 8));
    const uint64_t count =
        std::max<uint64_t>(1, delivered / options.size / static_cast<uint64_t>(consumers));
    std::vector<Run> runs;
    for (int round = 0; round < options.rounds; ++round) {
      const std::string channel = fmt::format("fanout-{}-{}", consumers, round);
      connection->CreateChannel(channel);
      Audience audience(system.get(), channel, consumers, options.connections, count);
      runs.push_back(Measure(system.get(), options.size, [&] {
        return FanOut(options, connection.get(), channel, &audience, consumers, count);
      }));
    }
    const Row row = MedianRow(fmt::format("consumers {}", consumers), *system, std::move(runs));
    if (consumers >= 100 && system->mode() == "unix") {
      PrintTarget(*row.mb_per_s >= 1000, fmt::format("{} consumers: {:.0f} MB/s delivered in all, "
                                                     "at least 1,000",
                                                     consumers, *row.mb_per_s));
    }
    report->Add(row);
  }
}

// --- sizes ---

void ScaleSizes(const Options& options, const ChosenSystem& chosen, Report* report) {
  const std::unique_ptr<System> system = chosen.Start();
  report->AddVersion(*system);
  const auto connection = system->Connect();
  for (const uint64_t size : options.sizes) {
    // Small messages cost per message, not per byte.
    const uint64_t count = std::clamp<uint64_t>(options.bytes / size, 1, 2'000'000);
    std::vector<Run> runs;
    for (int round = 0; round < options.rounds; ++round) {
      const std::string channel = fmt::format("sizes-{}-{}", size, round);
      connection->CreateChannel(channel);
      runs.push_back(Measure(system.get(), size, [&] {
        Audience audience(system.get(), channel, 1, 1, count);
        Payloads payloads(size);
        const auto publisher = connection->OpenPublisher(channel);
        for (uint64_t i = 0; i < count; ++i) publisher->Send(payloads.Make(i));
        publisher->Flush();
        audience.Join();
        return count;
      }));
    }
    report->Add(MedianRow(fmt::format("size {}", SizeText(size)), *system, std::move(runs)));
  }
}

void Scale(const Options& options) {
  Report report;
  for (const ChosenSystem& chosen : options.systems.All()) {
    fmt::print("{}: medians of {} rounds\n", chosen.Label(), options.rounds);
    for (const std::string& what : options.what) {
      if (what == "channels") ScaleChannels(options, chosen, &report);
      if (what == "producers") ScaleProducers(options, chosen, &report);
      if (what == "consumers") ScaleConsumers(options, chosen, &report);
      if (what == "sizes") ScaleSizes(options, chosen, &report);
    }
  }
  options.systems.Finish(report);
}

}  // namespace

void AddScale(CLI::App* app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app->add_subcommand("scale",
                          "1 to 10,000 channels, 1 to 100 producers, 1 to 100 consumers, "
                          "messages of 16 B to 8 MB");
  options->systems.AddTo(command);
  const auto list = [&](const char* name, auto* values, const char* what) {
    return command->add_option(name, *values, what)->delimiter(',')->capture_default_str();
  };
  list("--what", &options->what, "channels, producers, consumers, sizes; a list")
      ->check(CLI::IsMember({"channels", "producers", "consumers", "sizes"}));
  list("--channels", &options->channels, "how many; a list")->check(CLI::Range(1, 100'000));
  list("--producers", &options->producers, "how many; a list")->check(CLI::Range(1, 1000));
  list("--consumers", &options->consumers, "how many; a list")->check(CLI::Range(1, 1000));
  list("--sizes", &options->sizes, "bytes per message; a list")->check(CLI::Range(8, 16 << 20));
  command->add_option("--bytes", options->bytes, "published in each round")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--size", options->size, "bytes per message, except of --what sizes")
      ->check(CLI::Range(8, 16 << 20))
      ->capture_default_str();
  command->add_option("--turn", options->turn, "bytes that a channel gets before the next one does")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command
      ->add_option("--in-flight", options->in_flight,
                   "of all channels together, before the publishing thread waits")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--connections", options->connections, "of the consumers")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--lead", options->lead, "of the publisher before the slowest consumer")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--rounds", options->rounds)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->callback([options] { Scale(*options); });
}

}  // namespace strata::bench
