// OpenLoop: one publisher and one subscriber at a fixed rate, and how late everything was.
//
// Message i is due at a time that was fixed before the first one was sent, its latency counts from then, and the
// sender never waits for an answer. A broker that stalls for 10 ms is 10 ms late for the first message of the stall
// and a little less for each of those that came due in it; a loop that waited would have sent one message and called
// the rest fast.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/pace.h"
#include "bench/report.h"
#include "bench/support.h"
#include "bench/system.h"

namespace strata::bench {

struct OpenLoopOptions {
  int rate = 2000;  // messages a second
  size_t size = 1024;
  int seconds = 10;

  uint64_t count() const { return static_cast<uint64_t>(rate) * static_cast<uint64_t>(seconds); }
  // --rate, --size and --seconds, which are so many `of_what`.
  void AddTo(CLI::App* command, const std::string& of_what);
};

// What one round found.
struct OpenLoopRound {
  Latencies ack;
  Latencies deliver;
  Latencies sender;  // how late it was itself
};

// The percentiles of each round, and their medians.
class Rounds {
 public:
  void Add(Latencies* latencies);
  double p50() const { return Median(values_[0]); }
  double p99() const { return Median(values_[1]); }
  double p999() const { return Median(values_[2]); }
  double max() const { return Median(values_[3]); }

 private:
  static constexpr std::array<double, 4> kShares = {0.5, 0.99, 0.999, 1.0};
  std::array<std::vector<double>, kShares.size()> values_;
};

// One round: a new channel, one publisher and one subscriber with a connection each.
class OpenLoop {
 public:
  // Creates the channel, and deletes it at the end.
  OpenLoop(System* system, const OpenLoopOptions& options, const std::string& channel);
  ~OpenLoop();
  OpenLoop(const OpenLoop&) = delete;
  OpenLoop& operator=(const OpenLoop&) = delete;

  OpenLoopRound Run();

 private:
  Pace SendAll(Publisher* publisher, Latencies* lateness);
  // Until the message before `end` has come; each is checked for order and loss.
  void ReceiveUntil(Subscriber* subscriber, uint64_t end);

  const OpenLoopOptions options_;
  const std::string channel_;
  const std::unique_ptr<Connection> publishing_;
  const std::unique_ptr<Connection> subscribing_;
  Payloads payloads_;
  std::vector<SteadyClock::time_point> acknowledged_;  // each written once, read after Flush()
  std::vector<SteadyClock::time_point> delivered_;     // of the thread that receives
  uint64_t received_ = 0;                              // of the thread that receives
};

}  // namespace strata::bench
