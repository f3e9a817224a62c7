// How soon a killed broker serves again, by what it holds.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "bench/options.h"
#include "bench/traffic.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

struct Options {
  SystemChoice systems;
  std::vector<uint64_t> bytes = {1ull << 30, 8ull << 30};
  std::vector<int> channels = {1, 1000};
  size_t size = 64u << 10;
  int rounds = 5;
};

std::string ChannelName(int i) { return fmt::format("restart-{:05}", i); }

// Spread evenly, a megabyte at a time: each open publisher holds buffers, so only one is open.
void Fill(Connection* connection, int channels, const Options& options, uint64_t bytes) {
  Payloads payloads(options.size);
  const uint64_t of_each = bytes / static_cast<uint64_t>(channels);
  for (int i = 0; i < channels; ++i) {
    connection->CreateChannel(ChannelName(i));
    const auto publisher = connection->OpenPublisher(ChannelName(i));
    for (uint64_t sent = 0, n = 0; sent < of_each; sent += options.size, ++n) {
      publisher->Send(payloads.Make(n));
    }
    publisher->Flush();
  }
}

// Publishes on a thread of its own, also across the break, until it is stopped.
class Load {
 public:
  Load(System* system, size_t size) : connection_(system->Connect()), payloads_(size) {
    connection_->CreateChannel(kChannel);
    thread_ = std::thread([this] { Run(); });
    // It is at work once something was acknowledged.
    while (acknowledged_ < 100) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~Load() {
    stop_ = true;
    thread_.join();
    connection_->DeleteChannel(kChannel);
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

 private:
  static constexpr char kChannel[] = "load";

  void Run() {
    const auto publisher = connection_->OpenPublisher(kChannel);
    for (uint64_t i = 0; !stop_; ++i) {
      publisher->Send(payloads_.Make(i), [this] { ++acknowledged_; });
    }
    publisher->Flush();
  }

  const std::unique_ptr<Connection> connection_;
  Payloads payloads_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> acknowledged_{0};
  std::thread thread_;
};

struct Times {
  std::vector<double> serving, read, append;  // seconds since the start
};

void MeasureRestart(System* system, Times* times) {
  const double serving = system->Restart();
  const auto start = SteadyClock::now();
  times->serving.push_back(serving);
  const auto connection = system->Connect();
  const auto subscriber = connection->OpenSubscriber(ChannelName(0));
  subscriber->Receive([](std::string_view) {});
  times->read.push_back(serving + SecondsSince(start));
  const auto publisher = connection->OpenPublisher(ChannelName(0));
  publisher->SendAndWait("the first message after a restart");
  times->append.push_back(serving + SecondsSince(start));
}

void RestartOf(const Options& options, const ChosenSystem& chosen, uint64_t bytes, int channels,
               Report* report) {
  const std::unique_ptr<System> system = chosen.Start();
  report->AddVersion(*system);
  Fill(system->Connect().get(), channels, options, bytes);
  Times times;
  for (int round = 0; round < options.rounds; ++round) {
    SettleSystem(system.get());
    if (system->embedded()) {
      MeasureRestart(system.get(), &times);
      continue;
    }
    // The load goes on as soon as it is let in again, so that the first read and append compete with
    // it. Only Strata's client survives the break of its connection for certain.
    std::unique_ptr<Load> load;
    if (system->name() == "strata") load = std::make_unique<Load>(system.get(), 1024);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    system->Kill();
    MeasureRestart(system.get(), &times);
  }
  const std::array<std::pair<const char*, std::vector<double>*>, 3> found = {
      {{"serves", &times.serving}, {"first read", &times.read}, {"first append", &times.append}}};
  for (const auto& [what, seconds] : found) {
    Row row = NewRow(
        "restart", fmt::format("{} in {} channels, {}", SizeText(bytes), channels, what), *system);
    row.s_per_op = Median(*seconds);
    row.max_us = *std::max_element(seconds->begin(), seconds->end()) * 1e6;
    row.broker_rss_mb = Megabytes(system->PeakResidentBytes());
    fmt::print("{}, {} in {} channels, {}: {} {:.3f} s, at most {:.3f} s\n", chosen.Label(),
               SizeText(bytes), channels, system->embedded() ? "opened again" : "killed", what,
               *row.s_per_op, *row.max_us / 1e6);
    if (what == found[0].first && system->name() == "strata") {
      PrintTarget(*row.max_us <= 1e6, "serving within 1 s, each time");
    }
    report->Add(row);
  }
}

}  // namespace

void AddRestart(CLI::App* app) {
  const auto options = std::make_shared<Options>();
  options->systems.modes = {"unix", "embedded"};
  CLI::App* command = app->add_subcommand(
      "restart",
      "from the start after SIGKILL under load until it serves, reads and appends; "
      "embedded: closed and opened again");
  options->systems.AddTo(command);
  command->add_option("--bytes", options->bytes, "that it holds; a list")
      ->delimiter(',')
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("--channels", options->channels, "that it holds them in; a list")
      ->delimiter(',')
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--size", options->size, "bytes per message")
      ->check(CLI::Range(8, 16 << 20))
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "kills")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->callback([options] {
    Report report;
    for (const ChosenSystem& chosen : options->systems.All()) {
      for (const uint64_t bytes : options->bytes) {
        for (const int channels : options->channels) {
          RestartOf(*options, chosen, bytes, channels, &report);
        }
      }
    }
    options->systems.Finish(report);
  });
}

}  // namespace strata::bench
