// Reading and writing protobuf's wire format without message objects.
//
// The server never builds a strata.v1.MessageBatch: it walks tags and lengths over the received
// slices and hands the bytes on. Two things live here: a cursor over a Buffer's pieces, and the
// split of a request into its one large embedded message (kept as a Buffer, not copied) and the
// rest (small, for the generated parser). The format:
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/status.h"

namespace strata::wire {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Tag {
  uint32_t field = 0;
  WireType type = WireType::kVarint;
};

// Walks forward over the bytes of a Buffer. Every read returns false, and leaves the cursor
// unspecified, where the bytes are malformed or end early. The Buffer must outlive the cursor.
class Cursor {
 public:
  explicit Cursor(const Buffer& buffer);

  bool AtEnd() const { return position_ == end_; }
  size_t position() const { return position_; }  // from the start of the buffer
  size_t remaining() const { return end_ - position_; }

  bool ReadVarint(uint64_t* value);
  // False also for field 0, groups and unknown wire types: nothing of Strata's uses them. A tag and a
  // length have at most five bytes, because protobuf's own parsers refuse more: what is accepted
  // here is stored, and every consumer has to read it.
  bool ReadTag(Tag* tag);
  // The length of a kBytes field, checked to lie inside the remaining bytes.
  bool ReadLength(size_t* length);
  bool Skip(size_t bytes);
  bool SkipValue(WireType type);
  // Exactly `length` bytes: a view into the piece, or, across pieces, into *scratch.
  bool ReadBytes(size_t length, std::string* scratch, std::string_view* out);

 private:
  bool ReadByte(uint8_t* byte);
  bool ReadVarintOf(int most_bytes, uint64_t* value);
  void Advance(size_t bytes);

  std::span<const std::string_view> pieces_;
  size_t piece_ = 0;   // index into pieces_
  size_t offset_ = 0;  // inside pieces_[piece_]
  size_t position_ = 0;
  size_t end_ = 0;
};

void AppendVarint(std::string* out, uint64_t value);
void AppendTag(std::string* out, uint32_t field, WireType type);
void AppendBytes(std::string* out, uint32_t field, std::string_view bytes);
constexpr size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

// A message split at one of its embedded messages.
struct Split {
  std::string rest;              // every other field, still encoded
  std::optional<Buffer> nested;  // the embedded message's bytes, sharing the input's memory
};

// Takes field `field` (an embedded message) out of `message`. INVALID_ARGUMENT if the bytes are
// malformed or the field occurs twice (protobuf would merge them; a batch must not be merged).
// `rest` is limited to `max_rest` bytes, so that a hostile request cannot make the server copy
// megabytes.
Result<Split> SplitNested(const Buffer& message, uint32_t field, size_t max_rest = 1u << 20);

}  // namespace strata::wire
