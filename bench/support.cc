#include "bench/support.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

namespace strata::bench {

void Die(const std::string& message) {
  fmt::print(stderr, "strata-bench: {}\n", message);
  std::exit(1);
}

void DieUnlessOk(const Status& status, std::string_view what) {
  if (!status.ok()) Die(fmt::format("{}: {}", what, status.ToString()));
}

Payloads::Payloads(size_t size) : size_(size) {
  std::mt19937_64 random(1);
  pool_.resize(2 * size + 64 * 1024);
  for (size_t i = 0; i + 8 <= pool_.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(pool_.data() + i, &word, 8);
  }
}

std::string_view Payloads::Make(uint64_t number) {
  const size_t offset = (number * 7919) % (pool_.size() - size_);
  current_.assign(pool_, offset, size_);
  std::memcpy(current_.data(), &number, sizeof(number));
  return current_;
}

uint64_t Payloads::NumberOf(std::string_view payload) {
  uint64_t number = 0;
  std::memcpy(&number, payload.data(), sizeof(number));
  return number;
}

double Latencies::Percentile(double share) {
  if (!sorted_) std::sort(micros_.begin(), micros_.end());
  sorted_ = true;
  const auto index = static_cast<size_t>(share * static_cast<double>(micros_.size()));
  return micros_[std::min(index, micros_.size() - 1)];
}

std::string Latencies::Summary() {
  return fmt::format("p50 {:.1f} us, p99 {:.1f} us, p99.9 {:.1f} us, max {:.1f} us",
                     Percentile(0.5), Percentile(0.99), Percentile(0.999), Percentile(1.0));
}

TemporaryDirectory::TemporaryDirectory(const std::string& parent) {
  path_ = parent + "/strata-bench.XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) Die("cannot make a folder in " + parent);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace strata::bench
