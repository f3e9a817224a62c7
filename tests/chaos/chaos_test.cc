// Everything breaks while everybody goes on: proxies between SDK and daemon cut, half-close, delay and
// silence connections at random, the daemon is killed and started again, and no program has a line of
// code about it. In the end every message that was sent is there once, in the order of its producer.
//
//   STRATA_CHAOS_SECONDS   how long, default 15
//   STRATA_TEST_SEED       repeats the choices of another run (not the timing of its threads)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "client/connect.h"
#include "tests/chaos/actors.h"
#include "tests/support/catch.h"
#include "tests/support/daemon.h"
#include "tests/support/flaky_proxy.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

seconds Duration() {
  const char* text = std::getenv("STRATA_CHAOS_SECONDS");
  return seconds(text != nullptr && *text != '\0' ? std::atoi(text) : 15);
}

// Ends the program, with the reason, when a call hangs: joining its thread would take for ever.
class Watchdog {
 public:
  explicit Watchdog(Calls* calls) : calls_(calls), thread_(&Watchdog::Run, this) {}
  ~Watchdog() {
    {
      MutexLock lock(mu_);
      end_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }

 private:
  void Run() {
    MutexLock lock(mu_);
    while (!end_) {
      changed_.WaitUntil(mu_, Calls::Clock::now() + seconds(1));
      const std::string problem = calls_->problem();
      if (problem.find("has not returned") == std::string::npos) continue;
      std::fprintf(stderr, "a call hangs: %s\n", problem.c_str());
      std::fflush(stderr);
      std::_Exit(1);
    }
  }

  Calls* const calls_;
  Mutex mu_;
  CondVar changed_;
  bool end_ STRATA_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// A daemon, two proxies before it, and everybody who uses them.
class Scene {
 public:
  explicit Scene(uint64_t seed)
      : random_(seed),
        calls_(kChaosSlack),
        tcp_({.target = "unix:" + (dir_ / "data.sock")}),
        unix_({.target = "unix:" + (dir_ / "data.sock"), .listen = "unix:" + (dir_ / "proxy")}) {
    StartDaemon();
    OpenProducers();
    OpenReaders();
    asker_ = std::make_unique<ChaosAsker>(NewClient(), "one", &calls_);
  }

  // Breaks everything for that long.
  void Break(seconds time) {
    const auto end = Calls::Clock::now() + time;
    tcp_.StartChaos({.seed = random_.Below(1u << 31)});
    unix_.StartChaos({.seed = random_.Below(1u << 31)});
    while (Calls::Clock::now() < end && problem().empty()) {
      Wait(milliseconds(random_.Between(1500, 6000)), end);
      daemon_->Kill();
      ++kills_;
      // Sometimes it stays away for a while.
      if (random_.OneIn(3)) Wait(milliseconds(random_.Between(100, 3000)), end);
      StartDaemon();
    }
    tcp_.StopChaos();
    unix_.StopChaos();
  }

  // Everybody comes to an end by itself: a minute for the producers, a minute for the readers.
  void Finish() {
    for (const auto& producer : producers_) producer->Stop();
    asker_->Stop();
    auto client = Connected(daemon_->tcp());
    for (const char* channel : {"one", "two", "owned"}) {
      ends_[channel] = client->DescribeChannel(channel).value().next_id;
    }
    const auto bound = Calls::Clock::now() + kChaosSlack + seconds(60);
    for (const auto& [channel, reader] : readers_) reader->ReadUntil(ends_[channel]);
    while (!AllRead() && problem().empty() && Calls::Clock::now() < bound)
      Wait(milliseconds(10), bound);
    for (const auto& [channel, reader] : readers_) reader->Stop();
    for (const auto& consumer : pair_) consumer->Stop();
  }

  void Check() {
    CHECK(problem() == "");
    for (const auto& [channel, reader] : readers_) {
      INFO(reader->name() << " of channel " << channel);
      REQUIRE(reader->position() == ends_[channel]);
      CHECK(CheckChannel(reader->received(), ProducersOf(channel)) == "");
    }
    // A reader that has seen nothing of all this finds the same.
    auto client = Connected(daemon_->tcp());
    for (const auto& [channel, end] : ends_) {
      INFO("afterwards, channel " << channel);
      ChaosReader after(client->OpenReader(channel, StartPosition::Earliest()).value(), "after",
                        ChaosReader::Order::kDense, &calls_);
      after.ReadUntil(end);
      const auto bound = Calls::Clock::now() + seconds(60);
      while (!after.done() && Calls::Clock::now() < bound) Wait(milliseconds(5), bound);
      after.Stop();
      CHECK(after.problem() == "");
      CHECK(CheckChannel(after.received(), ProducersOf(channel)) == "");
    }
    CheckPair();
    CHECK(client->DescribeSubscription("one", "alone").value().cursor == ends_["one"]);
    CHECK(calls_.problem() == "");
  }

  std::string Summary(seconds time) {
    uint64_t messages = 0;
    for (const auto& producer : producers_) messages += producer->acknowledged();
    const FlakyProxyCounters a = tcp_.counters();
    const FlakyProxyCounters b = unix_.counters();
    const auto both = [&](uint64_t FlakyProxyCounters::*counter) {
      return std::to_string(a.*counter + b.*counter);
    };
    return std::to_string(time.count()) + " s: " + std::to_string(messages) + " messages, " +
           both(&FlakyProxyCounters::cut) + " cuts, " + both(&FlakyProxyCounters::half_closed) +
           " half-closes, " + both(&FlakyProxyCounters::delayed) + " delays, " +
           both(&FlakyProxyCounters::holes) + " silences, " + std::to_string(kills_) + " kills, " +
           both(&FlakyProxyCounters::accepted) + " connections made, " +
           both(&FlakyProxyCounters::refused) + " refused; " + std::to_string(calls_.count()) +
           " calls, longest " + calls_.longest();
  }

  // The first one of anybody.
  std::string problem() {
    for (const auto& producer : producers_) {
      if (!producer->problem().empty()) return producer->problem();
    }
    for (const auto& [channel, reader] : readers_) {
      if (!reader->problem().empty()) return channel + " " + reader->problem();
    }
    for (const auto& consumer : pair_) {
      if (!consumer->problem().empty()) return consumer->problem();
    }
    return asker_ == nullptr ? "" : asker_->problem();
  }

 private:
  void StartDaemon() { daemon_ = std::make_unique<Daemon>(DaemonOptions{.data = dir_ / "data"}); }

  static std::unique_ptr<Client> Connected(const std::string& address) {
    Result<std::unique_ptr<Client>> client =
        ConnectRemote(address, {.call_timeout = kCallTimeout,
                                .keepalive = milliseconds(1200),
                                .reconnect_timeout = std::chrono::minutes(10)});
    INFO(client.status().ToString());
    REQUIRE(client.ok());
    return std::move(client).value();
  }

  // Through one proxy or the other.
  std::unique_ptr<Client> NewClient() {
    return Connected((clients_made_++ % 2 == 0 ? tcp_ : unix_).address());
  }
  Client& KeptClient() { return *clients_.emplace_back(NewClient()); }

  void Produce(const std::string& channel, ProducerOptions options) {
    options.create_if_missing = true;
    options.batch_bytes = 4096;
    options.max_in_flight = 256 << 10;
    Result<std::unique_ptr<Producer>> producer = KeptClient().OpenProducer(channel, options);
    INFO(producer.status().ToString());
    REQUIRE(producer.ok());
    producers_.push_back(std::make_unique<ChaosProducer>(
        std::move(producer).value(), channel, static_cast<uint32_t>(producers_.size() + 1),
        random_.Below(1u << 31), &calls_));
  }

  void OpenProducers() {
    for (const char* channel : {"one", "two"}) {
      Produce(channel, {});
      Produce(channel, {});
      Produce(channel, {.name = "named"});
      Produce(channel, {.name = "with-a-term", .term = 7, .linger = milliseconds(2)});
    }
    // The only writer of its channel.
    Produce("owned", {.name = "owner", .term = 3, .exclusive = true});
  }

  void OpenReaders() {
    const auto add = [&](const std::string& channel, auto opened, const std::string& name) {
      INFO(opened.status().ToString());
      REQUIRE(opened.ok());
      readers_.emplace_back(channel,
                            std::make_unique<ChaosReader>(std::move(opened).value(), name,
                                                          ChaosReader::Order::kDense, &calls_));
    };
    for (const char* channel : {"one", "two", "owned"}) {
      add(channel, KeptClient().OpenReader(channel, StartPosition::Earliest()), "reader");
      add(channel, KeptClient().OpenReader(channel, StartPosition::Earliest(), {.read_ahead = 1}),
          "reader with little read-ahead");
    }
    add("one", KeptClient().OpenConsumer("one", "alone"), "consumer");
    add("two", KeptClient().OpenConsumer("two", "alone"), "consumer");
    for (const char* name : {"left", "right"}) {
      Result<std::unique_ptr<Consumer>> consumer = KeptClient().OpenConsumer(
          "one", "pair", {.holder = name, .mode = ConsumerOptions::Mode::kFailover});
      INFO(consumer.status().ToString());
      REQUIRE(consumer.ok());
      pair_.push_back(std::make_unique<ChaosReader>(std::move(consumer).value(), name,
                                                    ChaosReader::Order::kRising, &calls_));
    }
  }

  bool AllRead() {
    for (const auto& [channel, reader] : readers_) {
      if (!reader->done()) return false;
    }
    return std::max(pair_[0]->position(), pair_[1]->position()) >= ends_["one"];
  }

  // Between them the two have received everything, each in order.
  void CheckPair() {
    for (MessageId id = 1; id < ends_["one"]; ++id) {
      INFO("id " << id);
      REQUIRE((pair_[0]->Has(id) || pair_[1]->Has(id)));
    }
  }

  std::vector<const ChaosProducer*> ProducersOf(const std::string& channel) const {
    std::vector<const ChaosProducer*> found;
    for (const auto& producer : producers_) {
      if (producer->channel() == channel) found.push_back(producer.get());
    }
    return found;
  }

  // The pace of the breaking; nothing is waited for in the hope that it has happened.
  static void Wait(milliseconds time, Calls::Clock::time_point end) {
    std::this_thread::sleep_until(std::min(Calls::Clock::now() + time, end));
  }

  TempDir dir_;
  Random random_;
  Calls calls_;
  Watchdog watchdog_{&calls_};
  FlakyProxy tcp_;
  FlakyProxy unix_;
  std::unique_ptr<Daemon> daemon_;
  int kills_ = 0;
  int clients_made_ = 0;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<ChaosProducer>> producers_;
  std::vector<std::pair<std::string, std::unique_ptr<ChaosReader>>> readers_;
  std::vector<std::unique_ptr<ChaosReader>> pair_;
  std::unique_ptr<ChaosAsker> asker_;
  std::map<std::string, MessageId> ends_;
};

TEST_CASE("Everything breaks at random, and every message is delivered exactly once, in order") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  const seconds time = Duration();
  Scene scene(seed);
  scene.Break(time);
  scene.Finish();
  std::printf("chaos, STRATA_TEST_SEED=%llu, %s\n", static_cast<unsigned long long>(seed),
              scene.Summary(time).c_str());
  std::fflush(stdout);
  scene.Check();
}

}  // namespace
}  // namespace strata::testing
