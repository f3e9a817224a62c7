// Numbers as RocksDB's files have them. Internal to salvage*.cc.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace rocksdb::crc32c {
uint32_t Extend(uint32_t initial, const char* data, size_t size);  // crc32c.h says where it is
}

namespace strata::storage {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "RocksDB's files are little-endian");

inline uint32_t GetFixed32(const char* in) {
  uint32_t value;
  std::memcpy(&value, in, sizeof(value));
  return value;
}
inline uint64_t GetFixed64(const char* in) {
  uint64_t value;
  std::memcpy(&value, in, sizeof(value));
  return value;
}

// A checksum of bytes that themselves hold checksums is stored in this form.
inline uint32_t MaskedCrc(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

// Takes from the front; every call says whether there was enough.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}
  std::string_view rest() const { return rest_; }

  bool Varint64(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      *value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool Varint32(uint32_t* value) {
    uint64_t wide = 0;
    if (!Varint64(&wide) || wide > UINT32_MAX) return false;
    *value = static_cast<uint32_t>(wide);
    return true;
  }
  bool Bytes(size_t size, std::string_view* bytes) {
    if (size > rest_.size()) return false;
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  // With its length in front.
  bool Prefixed(std::string_view* bytes) {
    uint32_t size = 0;
    return Varint32(&size) && Bytes(size, bytes);
  }

 private:
  std::string_view rest_;
};

}  // namespace strata::storage
