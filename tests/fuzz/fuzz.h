// What the fuzzers share. Each <target>_fuzz.cc is one function that takes any bytes and checks what must
// hold of them; a finding is a process that ends by SIGABRT or a sanitizer.
//
// The same file is two programs: in the preset `fuzz` libFuzzer drives it (tests/fuzz/run), in every
// other one replay.cc does, as a test of ctest.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/status.h"
#include "tests/support/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// Says what does not hold, and ends the process.
#define FUZZ_CHECK(condition) \
  ((condition) ? void() : strata::fuzz::Fail(__FILE__, __LINE__, #condition, ""))
// The same with values that explain it.
#define FUZZ_CHECK_SAY(condition, text) \
  ((condition) ? void() : strata::fuzz::Fail(__FILE__, __LINE__, #condition, (text)))

namespace strata::fuzz {

[[noreturn]] inline void Fail(const char* file, int line, const char* condition,
                              const std::string& text) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n%s%s", file, line, condition, text.c_str(),
               text.empty() ? "" : "\n");
  std::abort();
}

// The fuzzer's bytes, taken apart from the front. What is missing at the end reads as zero.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  uint8_t Byte() {
    const std::string_view byte = Take(1);
    return byte.empty() ? 0 : static_cast<uint8_t>(byte.front());
  }
  // Little-endian.
  uint64_t Number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 8) value |= uint64_t{Byte()} << shift;
    return value;
  }
  std::string_view Take(size_t bytes) {
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // A length of two bytes, little-endian, and so many bytes.
  std::string_view Sized() {
    const size_t low = Byte();
    return Take(low | size_t{Byte()} << 8);
  }
  std::string_view rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// Choices that follow from the bytes alone, so that an input behaves the same each time.
inline testing::Random RandomOf(std::string_view bytes) {
  return testing::Random(ContentHash(Buffer(bytes, nullptr)));
}

}  // namespace strata::fuzz
