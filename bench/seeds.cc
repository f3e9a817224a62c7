// The four rows of the published "NATS vs RocksMQ" table: a new channel, a publisher, a subscriber
// from the earliest message, until the last one is received. bench/README.md says how they are run.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "bench/ceiling.h"
#include "bench/options.h"
#include "bench/process.h"
#include "bench/support.h"
#include "bench/workloads.h"

namespace strata::bench {
namespace {

struct Seed {
  std::string option;
  std::string name;
  size_t size;
  uint64_t count;
};

const std::vector<Seed> kSeeds = {
    {"1KB", "1 KB", 1u << 10, 50'000},
    {"64KB", "64 KB", 64u << 10, 10'000},
    {"1MB", "1 MB", 1u << 20, 500},
    {"5MB", "5 MB", 5u << 20, 100},
};

struct SeedsOptions {
  SystemChoice systems;
  std::vector<std::string> rows = {"1KB", "64KB", "1MB", "5MB"};
  std::vector<std::string> data = {"letters"};
  std::vector<std::string> sends = {"pipelined"};
  int rounds = 5;
  double scale = 1;
  bool verify = false;
  bool no_ceiling = false;
};

std::string WithCommas(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

// All messages of an operation, as slices of one pool, made before the clock runs.
//
// letters: as in the published benchmark, slices at random places of 2 x size letters: small rows
// repeat themselves within each block of a store. random: of 16 MiB + size bytes, one slice behind
// the other, so that nothing comes again within what a compressor looks at.
class Messages {
 public:
  Messages(const std::string& data, size_t size, uint64_t count) : size_(size) {
    std::mt19937_64 random(1);
    const bool letters = data == "letters";
    const size_t places = letters ? size : 16u << 20;
    pool_.resize(places + size);
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (char& byte : pool_) {
      byte = letters ? kLetters[random() % kLetters.size()] : static_cast<char>(random());
    }
    for (uint64_t i = 0; i < count; ++i) {
      // 61 bytes more than a message, so that the second round through the pool is another one.
      offsets_.push_back(letters ? random() % places : i * (size + 61) % places);
    }
  }

  size_t size() const { return size_; }
  uint64_t count() const { return offsets_.size(); }
  uint64_t bytes() const { return size_ * count(); }
  std::string_view At(uint64_t index) const { return {&pool_[offsets_[index]], size_}; }

  // Its length and beginning tell it from its neighbours; `whole` compares all of it.
  void Check(uint64_t index, std::string_view received, bool whole) const {
    const size_t compared = whole ? size_ : std::min<size_t>(size_, 16);
    if (received.size() != size_ || received.substr(0, compared) != At(index).substr(0, compared)) {
      Die(fmt::format("message {} of {} is not the one that was sent: lost, reordered or damaged",
                      index + 1, count()));
    }
  }

 private:
  const size_t size_;
  std::string pool_;
  std::vector<size_t> offsets_;
};

double MegaBytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

// One system on one row, with what its operations took.
class Contestant {
 public:
  explicit Contestant(const ChosenSystem& chosen)
      : label_(chosen.Label()),
        system_(chosen.Start()),
        sender_(system_->Connect()),
        receiver_(system_->Connect()),
        empty_bytes_(system_->StoredBytes()) {}

  const std::string& label() const { return label_; }
  System* system() const { return system_.get(); }
  // One operation: what it took, in seconds. Its channel is deleted after that.
  double Run(const SeedsOptions& options, const Messages& messages, bool single);
  Row Summary(const Messages& messages);

 private:
  double Cpu() const {
    return ProcessCpuSeconds(0) + (system_->embedded() ? 0 : system_->CpuSeconds());
  }
  void Publish(Publisher* publisher, const Messages& messages, bool single);
  static void Receive(Subscriber* subscriber, const Messages& messages, bool whole);

  const std::string label_;
  const std::unique_ptr<System> system_;
  const std::unique_ptr<Connection> sender_;
  const std::unique_ptr<Connection> receiver_;
  const uint64_t empty_bytes_;  // what the system holds without a message
  int operations_ = 0;
  std::vector<double> seconds_;
  std::vector<double> cpu_seconds_;
  std::vector<double> stored_bytes_;
  uint64_t client_peak_ = 0;
  Latencies latencies_;  // of single sends
  bool has_latencies_ = false;
};

void Contestant::Publish(Publisher* publisher, const Messages& messages, bool single) {
  for (uint64_t i = 0; i < messages.count(); ++i) {
    if (!single) {
      publisher->Send(messages.At(i));
      continue;
    }
    const auto start = SteadyClock::now();
    publisher->SendAndWait(messages.At(i));
    latencies_.Add(SteadyClock::now() - start);
  }
  publisher->Flush();
}

void Contestant::Receive(Subscriber* subscriber, const Messages& messages, bool whole) {
  for (uint64_t next = 0; next < messages.count();) {
    subscriber->Receive([&](std::string_view payload) {
      if (next == messages.count()) Die("more messages came than were sent");
      messages.Check(next++, payload, whole);
    });
  }
}

double Contestant::Run(const SeedsOptions& options, const Messages& messages, bool single) {
  const std::string channel = fmt::format("seeds-{}", ++operations_);
  has_latencies_ = single;
  // What another system's client left in this process's heap is not this one's memory.
  malloc_trim(0);
  ForgetPeakResident(0);
  const double cpu = Cpu();
  const auto start = SteadyClock::now();
  sender_->CreateChannel(channel);
  std::unique_ptr<Publisher> publisher;
  std::thread publishing([&] {
    publisher = sender_->OpenPublisher(channel);
    Publish(publisher.get(), messages, single);
  });
  std::unique_ptr<Subscriber> subscriber = receiver_->OpenSubscriber(channel);
  Receive(subscriber.get(), messages, options.verify);
  publishing.join();
  seconds_.push_back(SecondsSince(start));
  cpu_seconds_.push_back(Cpu() - cpu);
  client_peak_ = std::max(client_peak_, ProcessPeakResident(0));
  const uint64_t stored = system_->StoredBytes();
  stored_bytes_.push_back(static_cast<double>(stored - std::min(stored, empty_bytes_)));
  publisher.reset();
  subscriber.reset();
  sender_->DeleteChannel(channel);
  return seconds_.back();
}

Row Contestant::Summary(const Messages& messages) {
  Row row;
  row.system = system_->name();
  row.mode = system_->mode();
  row.sync = system_->sync();
  row.s_per_op = Median(seconds_);
  row.mb_per_s = MegaBytes(messages.bytes()) / *row.s_per_op;
  row.msg_per_s = static_cast<double>(messages.count()) / *row.s_per_op;
  row.cpu_s_per_op = Median(cpu_seconds_);
  row.broker_rss_mb = MegaBytes(system_->embedded() ? client_peak_ : system_->PeakResidentBytes());
  if (!system_->embedded()) row.client_rss_mb = MegaBytes(client_peak_);
  row.stored_per_payload = Median(stored_bytes_) / static_cast<double>(messages.bytes());
  if (has_latencies_) {
    row.p50_us = latencies_.Percentile(0.5);
    row.p99_us = latencies_.Percentile(0.99);
    row.p999_us = latencies_.Percentile(0.999);
    row.max_us = latencies_.Percentile(1);
  }
  return row;
}

// MB/s of RocksDB and gRPC by themselves, measured once in each round.
class Ceilings {
 public:
  // Pipelined messages go through both in batches of up to 1 MiB, so those are what limits them.
  Ceilings(std::string directory, const Messages& messages, bool single)
      : directory_(std::move(directory)),
        unit_(single ? messages.size() : std::max<size_t>(messages.size(), 1u << 20)),
        count_(std::max<uint64_t>(messages.bytes() / unit_, 1)) {}

  void Measure(const std::vector<std::unique_ptr<Contestant>>& contestants) {
    bool embedded = false;
    std::map<std::string, bool> wires;
    for (const auto& contestant : contestants) {
      if (contestant->system()->name() != "strata") continue;
      embedded = true;
      if (!contestant->system()->embedded()) wires[contestant->system()->mode()] = true;
    }
    if (embedded) rocksdb_.push_back(RawRocksDb(directory_, unit_, count_));
    for (const auto& [mode, _] : wires) {
      grpc_[mode].push_back(RawGrpcEcho(mode, directory_, unit_, unit_ * count_));
    }
  }

  // Of a row that Measure() saw; none for the peers, which are made of something else.
  std::optional<double> PercentOf(const Row& row) const {
    if (rocksdb_.empty() || row.system != "strata") return std::nullopt;
    double limit = Median(rocksdb_);
    if (const auto wire = grpc_.find(row.mode); wire != grpc_.end()) {
      limit = std::min(limit, Median(wire->second));
    }
    return 100 * *row.mb_per_s / limit;
  }

 private:
  const std::string directory_;
  const size_t unit_;
  const uint64_t count_;
  std::vector<double> rocksdb_;
  std::map<std::string, std::vector<double>> grpc_;  // by mode
};

// All systems side by side on one row, in turns.
void RunRow(const SeedsOptions& options, const Seed& seed, const std::string& data, bool single,
            Report* report) {
  const auto scaled =
      static_cast<uint64_t>(std::llround(static_cast<double>(seed.count) * options.scale));
  const Messages messages(data, seed.size, std::max<uint64_t>(scaled, 2));
  const std::string name = fmt::format("{} x {}", seed.name, WithCommas(messages.count()));
  const std::string workload = single ? "seeds-single" : "seeds";
  std::vector<std::unique_ptr<Contestant>> contestants;
  std::vector<pid_t> pids = {0};
  for (const ChosenSystem& chosen : options.systems.All()) {
    contestants.push_back(std::make_unique<Contestant>(chosen));
    report->AddVersion(*contestants.back()->system());
    if (const pid_t pid = contestants.back()->system()->pid(); pid != 0) pids.push_back(pid);
  }
  const auto settle = [&] { Settle(options.systems.directory(), pids); };
  Ceilings ceilings(options.systems.directory(), messages, single);
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t turn = 0; turn < contestants.size(); ++turn) {
      Contestant& contestant = *contestants[(turn + round) % contestants.size()];
      settle();
      const double seconds = contestant.Run(options, messages, single);
      fmt::print(stderr, "{} {} {}: round {} of {}: {}: {:.4f} s\n", workload, name, data,
                 round + 1, options.rounds, contestant.label(), seconds);
    }
    if (options.no_ceiling) continue;
    settle();
    ceilings.Measure(contestants);
  }
  for (const auto& contestant : contestants) {
    Row row = contestant->Summary(messages);
    row.workload = workload;
    row.row = name;
    row.data = data;
    row.percent_of_ceiling = ceilings.PercentOf(row);
    report->Add(std::move(row));
  }
}

void Run(const SeedsOptions& options) {
  Report report;
  for (const std::string& send : options.sends) {
    for (const std::string& data : options.data) {
      for (const std::string& chosen : options.rows) {
        const auto seed = std::find_if(kSeeds.begin(), kSeeds.end(),
                                       [&](const Seed& known) { return known.option == chosen; });
        RunRow(options, *seed, data, send == "single", &report);
      }
    }
  }
  options.systems.Finish(report);
}

}  // namespace

void AddSeeds(CLI::App* app) {
  auto options = std::make_shared<SeedsOptions>();
  CLI::App* command = app->add_subcommand(
      "seeds", "the four published rows: one op = a new channel, published and received");
  options->systems.AddTo(command);
  AddList(command, "--row", &options->rows, "which rows")
      ->check(CLI::IsMember({"1KB", "64KB", "1MB", "5MB"}));
  AddList(command, "--data", &options->data, "letters (a-zA-Z, compressible) or random")
      ->check(CLI::IsMember({"letters", "random"}));
  AddList(command, "--send", &options->sends, "pipelined, or single: each waits for its answer")
      ->check(CLI::IsMember({"pipelined", "single"}));
  command->add_option("--rounds", options->rounds, "of which the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--scale", options->scale, "times as many messages, for a quick look")
      ->check(CLI::Range(0.0001, 1000.0))
      ->capture_default_str();
  command->add_flag("--verify", options->verify,
                    "compare whole messages, not only their length and beginning");
  command->add_flag("--no-ceiling", options->no_ceiling,
                    "do not measure RocksDB and gRPC by themselves");
  command->callback([options] { Run(*options); });
}

}  // namespace strata::bench
