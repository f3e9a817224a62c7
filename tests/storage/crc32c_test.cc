// RocksDB checks its log by our CRC-32C, which gives what its own gives.
#include "storage/crc32c.h"

#include <dlfcn.h>

#include <cstdint>
#include <random>
#include <string>

#include "tests/support/catch.h"

namespace rocksdb::crc32c {
uint32_t Extend(uint32_t initial, const char* data, size_t size);
}

namespace strata::storage {
namespace {

using Extend = uint32_t (*)(uint32_t, const char*, size_t);

// The one inside the library: the next definition after the program's.
Extend OwnOfRocksDb() {
  return reinterpret_cast<Extend>(dlsym(RTLD_NEXT, "_ZN7rocksdb6crc32c6ExtendEjPKcm"));
}

TEST_CASE("RocksDB's calls reach our CRC-32C", "[crc32c]") { CHECK(HasFastCrc32c()); }

TEST_CASE("our CRC-32C gives what the standard says", "[crc32c]") {
  // RFC 3720, appendix B.4.
  const auto crc = [](const std::string& bytes) {
    return rocksdb::crc32c::Extend(0, bytes.data(), bytes.size());
  };
  CHECK(crc(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(crc(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(crc("123456789") == 0xe3069283);
  CHECK(crc("") == 0);
}

TEST_CASE("our CRC-32C gives what RocksDB's own gives, from any place and in any pieces",
          "[crc32c]") {
  const Extend own = OwnOfRocksDb();
  REQUIRE(own != nullptr);
  REQUIRE(own != &rocksdb::crc32c::Extend);
  std::mt19937_64 random(7);
  std::string bytes(100'000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  for (int i = 0; i < 2000; ++i) {
    const size_t from = random() % 64;
    const size_t size = random() % (i % 10 == 0 ? bytes.size() - from : 300);
    const size_t cut = size == 0 ? 0 : random() % size;
    const uint32_t whole = own(0, bytes.data() + from, size);
    const uint32_t first = rocksdb::crc32c::Extend(0, bytes.data() + from, cut);
    const uint32_t both = rocksdb::crc32c::Extend(first, bytes.data() + from + cut, size - cut);
    REQUIRE(both == whole);
  }
}

}  // namespace
}  // namespace strata::storage
