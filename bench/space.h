// What the benchmarks of retention share: the disk over time, payloads that can be checked, what the store promises.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "bench/support.h"

namespace strata::bench {

inline double MiB(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// What a directory takes.
struct DiskUse {
  uint64_t blocks = 0;  // allocated, as du says
  uint64_t sizes = 0;   // sum of the files' lengths, as the store itself counts
  uint64_t ballast =
      0;  // of both, what the store keeps free for a full disk; no part of any bound here
  uint64_t bounded() const { return std::max(blocks, sizes) - ballast; }
};
// Files that vanish meanwhile do not count.
DiskUse MeasureDisk(const std::string& directory);

// Measures a directory on a thread of its own until it is destroyed.
class DiskSampler {
 public:
  struct Sample {
    SteadyClock::time_point at;
    DiskUse use;
  };

  DiskSampler(std::string directory, std::chrono::milliseconds every);
  ~DiskSampler();
  DiskSampler(const DiskSampler&) = delete;
  DiskSampler& operator=(const DiskSampler&) = delete;

  DiskUse max() const;  // of each kind so far
  DiskUse last() const;
  std::vector<Sample> samples() const;

 private:
  const std::string directory_;
  const std::chrono::milliseconds every_;
  mutable Mutex mu_;
  std::vector<Sample> samples_ STRATA_GUARDED_BY(mu_);
  DiskUse max_ STRATA_GUARDED_BY(mu_);
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// "0 s: 900, 0.1 s: 512, ...": MiB without the ballast, up to 60 s after `start`.
std::string Curve(const std::vector<DiskSampler::Sample>& samples, SteadyClock::time_point start);

// Waits until the directory has kept its size for two seconds, at most for `longest`.
void AwaitQuietDisk(const std::string& directory, std::chrono::seconds longest);

struct SizeRange {
  size_t smallest = 1024;
  size_t largest = 1024;
};
// "1KiB..64KiB", or one size. Ends the program if it is neither, or if it is below 8 bytes or above 16 MiB.
SizeRange ParseSizes(const std::string& text);

// Payloads of varying sizes that any thread can make again from a seed and their number: with a channel's number of
// order as the seed and the id as the number, a reader checks every byte without a record of what was sent.
class CheckedPayloads {
 public:
  CheckedPayloads(uint64_t seed, SizeRange sizes);
  // Valid until the next call. REQUIRES: number >= 1.
  std::string_view Make(uint64_t number);
  size_t SizeOf(uint64_t number) const;
  bool Matches(uint64_t number, std::string_view payload) const;

 private:
  // Where in the pool the bytes behind the first 8 begin.
  size_t OffsetOf(uint64_t number) const;

  const uint64_t seed_;
  const SizeRange sizes_;
  std::string current_;
};

// How large a stratum gets, as the store has it (storage/store_write.cc): a share of the live bytes, within 4 and 64
// pages, at most a sixteenth of the disk budget.
struct StoreSizes {
  uint64_t page = 64u << 20;          // rocksmq.rocksmqPageSize
  uint64_t write_buffer = 64u << 20;  // limits.writeBuffer
  uint64_t max_file_store = 0;        // limits.maxFileStore; 0: no small one
};
uint64_t StratumBytes(const StoreSizes& sizes, uint64_t live_bytes);
// What the size rule leaves a channel: a page goes when the channel still holds the limit without it, and a page may be
// larger than its size by a producer's batch.
inline uint64_t MostRetained(const StoreSizes& sizes, uint64_t retained_mb) {
  return (retained_mb << 20) + sizes.page + (1u << 20);
}
// What the directory may take with so many bytes retained: they, 3 strata, and a log of 4 write buffers. The ballast,
// a file of fixed size, comes on top.
uint64_t DiskBound(const StoreSizes& sizes, uint64_t retained_bytes);

// Publishes messages 1, 2, ... of `payloads` until they have `bytes`, and waits for the acknowledgements. Their ids are
// their numbers. The last one.
uint64_t Fill(Client& client, const std::string& channel, CheckedPayloads payloads, uint64_t bytes);
// Reads ids [from, through], checks every byte, and ends the program at the first gap or difference. Bytes read.
uint64_t ReadBack(Client& client, const std::string& channel, const CheckedPayloads& payloads,
                  MessageId from, MessageId through);

// Ends the program with a failure when a bound was broken; several are collected first.
class Verdict {
 public:
  void Check(bool holds, const std::string& what);  // prints what, and whether it holds
  void Finish() const;

 private:
  bool broken_ = false;
};

// --- The benchmarks, one file each. Each prints its figures and ends the program with 1 if a bound is broken. ---

struct RetentionOptions {
  std::string address;
  std::string directory;
  int channels = 4;
  uint64_t bytes = 20ull << 30;
  std::string message = "1KiB..64KiB";
  uint64_t retained_mb = 256;
  StoreSizes sizes;
  int settle_seconds = 60;
};
// Publishes and consumes through several channels at once, far more than is retained.
void Retention(const RetentionOptions& options);

struct HoldOptions {
  std::string address;
  std::string directory;
  int channels = 16;
  uint64_t bytes = 4ull << 30;
  std::string message = "1KiB..64KiB";
  uint64_t retained_mb = 32;
  StoreSizes sizes;
  bool expect_trim = false;
  int settle_seconds = 120;
};
// One of many subscriptions never acknowledges.
void Hold(const HoldOptions& options);

struct TruncateOptions {
  std::string address;
  std::string directory;
  uint64_t bytes = 4ull << 30;
  std::string message = "1KiB..64KiB";
  StoreSizes sizes;
};
// Half of a channel is truncated.
void Truncate(const TruncateOptions& options);

struct FullDiskOptions {
  std::string address;
  std::string record;
  int channels = 2;
  int seconds = 0;  // 0: until SIGTERM
};
// Appends without end, whatever happens, and records what was acknowledged.
void FullDiskLoad(const FullDiskOptions& options);
// Compares what was recorded with what the channels hold.
void FullDiskVerify(const FullDiskOptions& options);

}  // namespace strata::bench
