// What the workloads do with a System: fill channels, read them, and measure both.
#pragma once

#include <cstdint>
#include <string>

#include "bench/report.h"
#include "bench/support.h"
#include "bench/system.h"

namespace strata::bench {

// Time and CPU from here on: of the broker and of this process, counted once when they are the same.
class Meter {
 public:
  explicit Meter(System* system) : system_(system), cpu_(Cpu()), start_(SteadyClock::now()) {}
  double Seconds() const { return SecondsSince(start_); }
  double CpuSeconds() const { return Cpu() - cpu_; }

 private:
  double Cpu() const;

  System* const system_;
  const double cpu_;
  const SteadyClock::time_point start_;
};

// Publishes messages 0, 1, ... of `size` bytes, pipelined, until they have `bytes` together, and
// waits for the acknowledgements. How many.
uint64_t FillChannel(Connection* connection, const std::string& channel, size_t size,
                     uint64_t bytes);
// Reads that many from the first on, and ends the program unless they come in order.
void ReadChannel(Connection* connection, const std::string& channel, uint64_t count);

// Waits until neither the system nor the disk has anything left to do.
void SettleSystem(System* system);

// With the columns that say what was measured on what; the data is random.
Row NewRow(const std::string& workload, const std::string& row, const System& system);

// "1 KB", "64 KB", "8 MB", "16 B": powers of 1,024, as the published tables call them.
std::string SizeText(uint64_t bytes);
inline double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

// Prints "holds" or "MISSED" before the text: a target is compared, not enforced.
void PrintTarget(bool holds, const std::string& text);

}  // namespace strata::bench
