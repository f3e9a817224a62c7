#include "storage/codec.h"

#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace strata::storage {
namespace {

static_assert(std::endian::native == std::endian::little ||
              std::endian::native == std::endian::big);

template <typename T>
T ToEndian(T value, std::endian wanted) {
  if constexpr (sizeof(T) == 1) return value;
  if (std::endian::native == wanted) return value;
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(value));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(value));
}

template <typename T>
void PutLittle(char* out, T value) {
  value = ToEndian(value, std::endian::little);
  std::memcpy(out, &value, sizeof(value));
}

template <typename T>
T GetLittle(const char* in) {
  T value;
  std::memcpy(&value, in, sizeof(value));
  return ToEndian(value, std::endian::little);
}

// Offsets inside the header; docs/formats/batch.md.
constexpr size_t kVersionAt = 0;
constexpr size_t kCodecAt = 1;
constexpr size_t kFlagsAt = 2;
constexpr size_t kCountAt = 4;
constexpr size_t kAppendTimeAt = 8;
constexpr size_t kProducerAt = 16;
constexpr size_t kSequenceAt = 24;

// Feeds pieces and gives the hash of their concatenation.
class Checksum {
 public:
  Checksum() { XXH3_64bits_reset(&state_); }
  void Add(std::string_view bytes) { XXH3_64bits_update(&state_, bytes.data(), bytes.size()); }
  uint64_t value() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

}  // namespace

void PutBigEndian64(char* out, uint64_t value) {
  value = ToEndian(value, std::endian::big);
  std::memcpy(out, &value, sizeof(value));
}

void PutBigEndian32(char* out, uint32_t value) {
  value = ToEndian(value, std::endian::big);
  std::memcpy(out, &value, sizeof(value));
}

uint64_t GetBigEndian64(const char* in) {
  uint64_t value;
  std::memcpy(&value, in, sizeof(value));
  return ToEndian(value, std::endian::big);
}

uint32_t GetBigEndian32(const char* in) {
  uint32_t value;
  std::memcpy(&value, in, sizeof(value));
  return ToEndian(value, std::endian::big);
}

MessageKey EncodeMessageKey(ChannelNumber channel, MessageId first_id) {
  MessageKey key;
  PutBigEndian64(key.data(), channel);
  PutBigEndian64(key.data() + 8, static_cast<uint64_t>(first_id));
  return key;
}

bool DecodeMessageKey(std::string_view key, ChannelNumber* channel, MessageId* first_id) {
  if (key.size() != kMessageKeyBytes) return false;
  *channel = GetBigEndian64(key.data());
  *first_id = static_cast<MessageId>(GetBigEndian64(key.data() + 8));
  return true;
}

BatchHeader EncodeBatchHeader(const MessageKey& key, const BatchRecord& batch) {
  BatchHeader header;
  PutLittle<uint8_t>(&header[kVersionAt], kBatchVersion);
  PutLittle<uint8_t>(&header[kCodecAt], kCodecNone);
  PutLittle<uint16_t>(&header[kFlagsAt], 0);
  PutLittle<uint32_t>(&header[kCountAt], batch.count);
  PutLittle<uint64_t>(&header[kAppendTimeAt], static_cast<uint64_t>(batch.append_time));
  PutLittle<uint64_t>(&header[kProducerAt], batch.producer);
  PutLittle<uint64_t>(&header[kSequenceAt], batch.sequence);
  Checksum checksum;
  checksum.Add({key.data(), key.size()});
  checksum.Add({header.data(), kChecksumOffset});
  for (const std::string_view piece : batch.bytes.pieces()) checksum.Add(piece);
  PutLittle<uint64_t>(&header[kChecksumOffset], checksum.value());
  return header;
}

const char* DecodeBatch(std::string_view key, std::string_view value, BatchView* view) {
  if (!DecodeMessageKey(key, &view->channel, &view->first_id))
    return "a key that is not 16 bytes long";
  if (value.size() < kBatchHeaderBytes) return "a value shorter than its header";
  const char* header = value.data();
  // The checksum first: only a version that was really written is worth mentioning as unknown.
  Checksum checksum;
  checksum.Add(key);
  checksum.Add({header, kChecksumOffset});
  checksum.Add(value.substr(kBatchHeaderBytes));
  if (checksum.value() != GetLittle<uint64_t>(header + kChecksumOffset))
    return "a checksum that does not match";
  if (GetLittle<uint8_t>(header + kVersionAt) != kBatchVersion)
    return "a batch version that is not known";
  if (GetLittle<uint8_t>(header + kCodecAt) != kCodecNone) return "a codec that is not known";
  if (GetLittle<uint16_t>(header + kFlagsAt) != 0) return "flags that are not known";
  view->count = GetLittle<uint32_t>(header + kCountAt);
  if (view->count == 0) return "a count of zero";
  view->append_time = static_cast<TimeMicros>(GetLittle<uint64_t>(header + kAppendTimeAt));
  view->producer = GetLittle<uint64_t>(header + kProducerAt);
  view->sequence = GetLittle<uint64_t>(header + kSequenceAt);
  view->body = value.substr(kBatchHeaderBytes);
  return nullptr;
}

}  // namespace strata::storage
