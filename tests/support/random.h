// Random: what random tests draw from. A failing one is repeated by setting STRATA_TEST_SEED to the
// seed that it printed.
//
//   const uint64_t seed = TestSeed();
//   INFO("STRATA_TEST_SEED=" << seed);
//   Random random(seed);
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/buffer.h"

namespace strata::testing {

// $STRATA_TEST_SEED, or another one each time.
inline uint64_t TestSeed() {
  if (const char* given = std::getenv("STRATA_TEST_SEED")) {
    return std::strtoull(given, nullptr, 10);
  }
  return std::random_device()();
}

// Not thread-safe: each thread has its own.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // 0 to n - 1. REQUIRES: n > 0.
  uint64_t Below(uint64_t n) { return engine_() % n; }
  // first to last, both included.
  uint64_t Between(uint64_t first, uint64_t last) { return first + Below(last - first + 1); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  // Any bytes, zero and invalid UTF-8 among them.
  std::string Bytes(size_t size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(engine_());
    return bytes;
  }

 private:
  std::mt19937_64 engine_;
};

// `bytes` in up to `most` pieces, some of them empty, each in memory of its own, so that a read
// across a border is a read out of bounds.
inline Buffer InPieces(std::string_view bytes, Random* random, size_t most) {
  auto owner = std::make_shared<std::vector<std::unique_ptr<std::string>>>();
  std::vector<std::string_view> pieces;
  while (!bytes.empty() && pieces.size() + 1 < most) {
    size_t take = random->OneIn(4) ? 0 : 1 + random->Below(bytes.size());
    if (random->OneIn(2)) take = take < 3 ? take : 1 + random->Below(3);
    owner->push_back(std::make_unique<std::string>(bytes.substr(0, take)));
    pieces.push_back(*owner->back());
    bytes.remove_prefix(take);
  }
  owner->push_back(std::make_unique<std::string>(bytes));
  pieces.push_back(*owner->back());
  return Buffer(std::move(pieces), std::move(owner));
}

}  // namespace strata::testing
