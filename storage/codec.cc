#include "storage/codec.h"

#include <bit>
#include <cstring>
#include <limits>

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

// Nothing longer was ever written (limits.maxPayload is at most 1 GiB): what is asked for is allocated.
constexpr uint64_t kMaxBodyBytes = uint64_t{2} << 30;

// REQUIRES: 16 bytes of key.
uint64_t Checksum(const char* key, const char* header, uint64_t content) {
  std::array<char, kMessageKeyBytes + kChecksumOffset + sizeof(content)> covered;
  std::memcpy(&covered[0], key, kMessageKeyBytes);
  std::memcpy(&covered[kMessageKeyBytes], header, kChecksumOffset);
  PutLittle<uint64_t>(&covered[kMessageKeyBytes + kChecksumOffset], content);
  return XXH3_64bits(covered.data(), covered.size());
}

uint64_t ChecksumOfVersion1(std::string_view key, const char* header, std::string_view body) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, key.data(), key.size());
  XXH3_64bits_update(&state, header, kChecksumOffset);
  XXH3_64bits_update(&state, body.data(), body.size());
  return XXH3_64bits_digest(&state);
}

// `content`: the hash of what the row holds behind the header.
BatchHeader EncodeHeader(const MessageKey& key, const BatchRecord& batch, uint8_t codec,
                         uint64_t content) {
  BatchHeader header;
  PutLittle<uint8_t>(&header[kVersionAt], kBatchVersion);
  PutLittle<uint8_t>(&header[kCodecAt], codec);
  PutLittle<uint16_t>(&header[kFlagsAt], 0);
  PutLittle<uint32_t>(&header[kCountAt], batch.count);
  PutLittle<uint64_t>(&header[kAppendTimeAt], static_cast<uint64_t>(batch.append_time));
  PutLittle<uint64_t>(&header[kProducerAt], batch.producer);
  PutLittle<uint64_t>(&header[kSequenceAt], batch.sequence);
  PutLittle<uint64_t>(&header[kChecksumOffset], Checksum(key.data(), header.data(), content));
  return header;
}

// False if it is no reference.
bool DecodeReference(std::string_view bytes, BodyReference* where) {
  if (bytes.size() != kBodyReferenceBytes) return false;
  where->stratum = GetLittle<uint32_t>(bytes.data());
  where->offset = GetLittle<uint64_t>(bytes.data() + 4);
  where->length = GetLittle<uint64_t>(bytes.data() + 12);
  where->content = GetLittle<uint64_t>(bytes.data() + 20);
  return where->length <= kMaxBodyBytes;
}

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

EncodedReference EncodeReference(const BodyReference& where) {
  EncodedReference bytes;
  PutLittle<uint32_t>(&bytes[0], where.stratum);
  PutLittle<uint64_t>(&bytes[4], where.offset);
  PutLittle<uint64_t>(&bytes[12], where.length);
  PutLittle<uint64_t>(&bytes[20], where.content);
  return bytes;
}

uint64_t ContentOf(const BatchRecord& batch) {
  return batch.content != 0 ? batch.content : ContentHash(batch.bytes);
}

BatchHeader EncodeBatchHeader(const MessageKey& key, const BatchRecord& batch) {
  return EncodeHeader(key, batch, kCodecNone, ContentOf(batch));
}

BatchHeader EncodeBatchHeader(const MessageKey& key, const BatchRecord& batch,
                              const EncodedReference& reference) {
  return EncodeHeader(key, batch, kCodecSeparate, XXH3_64bits(reference.data(), reference.size()));
}

const char* DecodeBatch(std::string_view key, std::string_view value, BatchView* view) {
  if (!DecodeMessageKey(key, &view->channel, &view->first_id))
    return "a key that is not 16 bytes long";
  if (value.size() < kBatchHeaderBytes) return "a value shorter than its header";
  const char* header = value.data();
  // The checksum first: only a version that was really written is worth mentioning as unknown.
  const std::string_view body = value.substr(kBatchHeaderBytes);
  const uint8_t version = GetLittle<uint8_t>(header + kVersionAt);
  const uint64_t checksum =
      version == 1 ? ChecksumOfVersion1(key, header, body)
                   : Checksum(key.data(), header, XXH3_64bits(body.data(), body.size()));
  if (checksum != GetLittle<uint64_t>(header + kChecksumOffset))
    return "a checksum that does not match";
  if (version != 1 && version != kBatchVersion) return "a batch version that is not known";
  const uint8_t codec = GetLittle<uint8_t>(header + kCodecAt);
  if (codec != kCodecNone && codec != kCodecSeparate) return "a codec that is not known";
  if (GetLittle<uint16_t>(header + kFlagsAt) != 0) return "flags that are not known";
  view->count = GetLittle<uint32_t>(header + kCountAt);
  if (view->count == 0) return "a count of zero";
  if (view->first_id < kFirstMessageId ||
      view->first_id > std::numeric_limits<MessageId>::max() - view->count)
    return "ids that cannot be";
  view->append_time = static_cast<TimeMicros>(GetLittle<uint64_t>(header + kAppendTimeAt));
  view->producer = GetLittle<uint64_t>(header + kProducerAt);
  view->sequence = GetLittle<uint64_t>(header + kSequenceAt);
  view->body = body;
  view->elsewhere.reset();
  if (codec == kCodecNone) return nullptr;
  if (!DecodeReference(body, &view->elsewhere.emplace())) return "a reference that is none";
  view->body = {};
  return nullptr;
}

}  // namespace strata::storage
