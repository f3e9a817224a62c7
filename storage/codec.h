// The bytes of a batch in a stratum: key, header, checksum. docs/formats/batch.md has grammar and worked example.
//
//   key    channel u64 BE | first id u64 BE                                      16 bytes
//   value  version u8 | codec u8 | flags u16 | count u32 | append time i64 |
//          producer u64 | sequence u64 | checksum u64                            40 bytes, little-endian
//          body: codec 0: the strata.v1.MessageBatch as the client sent it
//                codec 1: where that is in the stratum's body file (bodies.h), and its hash
//                         stratum u32 | offset u64 | length u64 | content u64         28 bytes, little-endian
//
// The checksum is XXH3-64 over key, the first 32 bytes of the header and the XXH3-64 of what follows it: a batch under
// another's key, or a header of another batch, is as damaged as a flipped bit. The body's hash is what ContentHash
// (base/buffer.h) gives, so whoever has computed that need not read the body again. In version 1, which is still read,
// it was over key, header and body, and there was no codec 1.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/types.h"
#include "storage/records.h"

namespace strata::storage {

inline constexpr size_t kMessageKeyBytes = 16;
inline constexpr size_t kBatchHeaderBytes = 40;
inline constexpr size_t kChecksumOffset = 32;  // inside the header

// On disk: never change the meaning of a number.
inline constexpr uint8_t kBatchVersion = 2;
inline constexpr uint8_t kCodecNone = 0;      // the body as it is
inline constexpr uint8_t kCodecSeparate = 1;  // a reference to it
inline constexpr size_t kBodyReferenceBytes = 28;

using MessageKey = std::array<char, kMessageKeyBytes>;
using BatchHeader = std::array<char, kBatchHeaderBytes>;

// Big-endian, so that the order of the bytes is the order of the numbers. Ids are positive: no sign to flip.
void PutBigEndian64(char* out, uint64_t value);
void PutBigEndian32(char* out, uint32_t value);
uint64_t GetBigEndian64(const char* in);
uint32_t GetBigEndian32(const char* in);

MessageKey EncodeMessageKey(ChannelNumber channel, MessageId first_id);
// False if `key` is not 16 bytes long.
bool DecodeMessageKey(std::string_view key, ChannelNumber* channel, MessageId* first_id);

// Where a body lies that is not in its row.
struct BodyReference {
  uint32_t stratum = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t content = 0;  // ContentHash of the body
};
using EncodedReference = std::array<char, kBodyReferenceBytes>;
EncodedReference EncodeReference(const BodyReference& where);

// BatchRecord::content, or what it would be: then the body is read.
uint64_t ContentOf(const BatchRecord& batch);

// The header of `batch` under `key`, checksum included: reads the body if its hash (BatchRecord::content) is not there.
BatchHeader EncodeBatchHeader(const MessageKey& key, const BatchRecord& batch);
// The same for a row that holds `reference` in place of the body.
BatchHeader EncodeBatchHeader(const MessageKey& key, const BatchRecord& batch,
                              const EncodedReference& reference);

// A stored batch as views into its key and value.
struct BatchView {
  ChannelNumber channel = 0;
  MessageId first_id = 0;
  uint32_t count = 0;
  TimeMicros append_time = 0;
  uint64_t producer = 0;
  uint64_t sequence = 0;
  std::string_view body;  // unless it lies elsewhere
  std::optional<BodyReference> elsewhere;

  uint64_t body_bytes() const { return elsewhere ? elsewhere->length : body.size(); }
  MessageId next_id() const { return first_id + count; }
};

// Fills *view and returns nullptr, or says in a few words what is wrong with the row. A version or codec that this
// code does not know is wrong too: there is nothing it could hand out.
const char* DecodeBatch(std::string_view key, std::string_view value, BatchView* view);

}  // namespace strata::storage
