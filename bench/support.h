// What the benchmarks share: payloads, latencies, a temporary store.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"
#include "client/connect.h"

namespace strata::bench {

using SteadyClock = std::chrono::steady_clock;

inline double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// Ends the program with the message: a benchmark has nothing to save.
[[noreturn]] void Die(const std::string& message);
void DieUnlessOk(const Status& status, std::string_view what);
template <typename T>
T ValueOrDie(Result<T> result, std::string_view what) {
  DieUnlessOk(result.status(), what);
  return std::move(result).value();
}

// Incompressible payloads of one size, cut at varying places from one pool, so that making them
// costs nothing while measuring. The first 8 bytes carry the message's number, by which a consumer
// checks order and loss.
class Payloads {
 public:
  // REQUIRES: size >= 8.
  explicit Payloads(size_t size);
  // Valid until the next call.
  std::string_view Make(uint64_t number);
  static uint64_t NumberOf(std::string_view payload);

 private:
  const size_t size_;
  std::string pool_;
  std::string current_;
};

// Latencies in microseconds.
class Latencies {
 public:
  void Reserve(size_t count) { micros_.reserve(count); }
  void Add(std::chrono::nanoseconds latency) {
    micros_.push_back(static_cast<float>(latency.count()) / 1000.0F);
  }
  // REQUIRES: Add was called. `share` of 0.5 is the median.
  double Percentile(double share);
  std::string Summary();  // "p50 12.3 us, p99 ..., p99.9 ..., max ..."

 private:
  std::vector<float> micros_;
  bool sorted_ = false;
};

// A folder that is removed at the end, below `parent` (which decides the disk that is measured).
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& parent);
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// --- The benchmarks, one file each. Each prints its own result lines. ---

struct PublishConsumeOptions {
  std::string address;
  size_t size = 1024;
  uint64_t count = 1'000'000;
  int rounds = 5;
  size_t batch_bytes = 1u << 20;
  int server_pid = 0;
};
// Publishes `count` messages and consumes them at the same time; a round ends when the last one was
// received.
void PublishConsume(const PublishConsumeOptions& options);

struct AppendOptions {
  std::string directory = ".";
  std::string sync = "always";
  size_t size = 1024;
  uint64_t count = 20'000;
  int rounds = 5;
};
// Embedded synchronous single appends; with sync: always also write + fdatasync of the same size,
// in turns with them.
void Append(const AppendOptions& options);

struct FanoutOptions {
  std::string address;
  size_t size = 1024;
  uint64_t count = 500'000;
  int consumers = 10;
  int server_pid = 0;
};
// `consumers` consumers of one channel: first all of them reading, then with one that has stopped
// reading.
void Fanout(const FanoutOptions& options);

struct SeekOptions {
  std::string address;  // empty: embedded only
  std::string directory = ".";
  size_t size = 100;
  uint64_t count = 10'000'000;
  uint64_t batch = 1000;  // messages
  int seeks = 1000;
};
// From opening a reader at a random time or id of a long channel to its first message.
void Seek(const SeekOptions& options);

}  // namespace strata::bench
