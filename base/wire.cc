#include "base/wire.h"

#include <algorithm>

namespace strata::wire {

Cursor::Cursor(const Buffer& buffer) : pieces_(buffer.pieces()), end_(buffer.size()) {}

void Cursor::Advance(size_t bytes) {
  position_ += bytes;
  while (bytes > 0) {
    const size_t here = std::min(bytes, pieces_[piece_].size() - offset_);
    offset_ += here;
    bytes -= here;
    if (offset_ == pieces_[piece_].size() && bytes > 0) {
      ++piece_;
      offset_ = 0;
    }
  }
}

bool Cursor::ReadByte(uint8_t* byte) {
  if (AtEnd()) return false;
  while (offset_ == pieces_[piece_].size()) {
    ++piece_;
    offset_ = 0;
  }
  *byte = static_cast<uint8_t>(pieces_[piece_][offset_++]);
  ++position_;
  return true;
}

bool Cursor::ReadVarint(uint64_t* value) { return ReadVarintOf(10, value); }

bool Cursor::ReadVarintOf(int most_bytes, uint64_t* value) {
  uint64_t result = 0;
  for (int shift = 0; shift < 7 * most_bytes; shift += 7) {
    uint8_t byte = 0;
    if (!ReadByte(&byte)) return false;
    // The tenth byte has room for one bit only: more would be silently dropped.
    if (shift == 63 && byte > 1) return false;
    result |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) {
      *value = result;
      return true;
    }
  }
  return false;
}

bool Cursor::ReadTag(Tag* tag) {
  uint64_t value = 0;
  if (!ReadVarintOf(5, &value) || value > 0xffffffffu) return false;
  const uint32_t type = value & 7;
  tag->field = static_cast<uint32_t>(value >> 3);
  tag->type = static_cast<WireType>(type);
  return tag->field != 0 && (type == 0 || type == 1 || type == 2 || type == 5);
}

bool Cursor::ReadLength(size_t* length) {
  uint64_t value = 0;
  if (!ReadVarintOf(5, &value) || value > remaining()) return false;
  *length = static_cast<size_t>(value);
  return true;
}

bool Cursor::Skip(size_t bytes) {
  if (bytes > remaining()) return false;
  Advance(bytes);
  return true;
}

bool Cursor::SkipValue(WireType type) {
  uint64_t ignored = 0;
  size_t length = 0;
  switch (type) {
    case WireType::kVarint:
      return ReadVarint(&ignored);
    case WireType::kFixed64:
      return Skip(8);
    case WireType::kFixed32:
      return Skip(4);
    case WireType::kBytes:
      return ReadLength(&length) && Skip(length);
  }
  return false;
}

bool Cursor::ReadBytes(size_t length, std::string* scratch, std::string_view* out) {
  if (length > remaining()) return false;
  if (length == 0) {
    *out = {};
    return true;
  }
  while (offset_ == pieces_[piece_].size()) {
    ++piece_;
    offset_ = 0;
  }
  if (pieces_[piece_].size() - offset_ >= length) {
    *out = pieces_[piece_].substr(offset_, length);
    Advance(length);
    return true;
  }
  scratch->clear();
  scratch->reserve(length);
  while (scratch->size() < length) {
    const size_t take = std::min(length - scratch->size(), pieces_[piece_].size() - offset_);
    scratch->append(pieces_[piece_].substr(offset_, take));
    offset_ += take;
    position_ += take;
    if (offset_ == pieces_[piece_].size() && scratch->size() < length) {
      ++piece_;
      offset_ = 0;
    }
  }
  *out = *scratch;
  return true;
}

void AppendVarint(std::string* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>((value & 0x7f) | 0x80));
  out->push_back(static_cast<char>(value));
}

void AppendTag(std::string* out, uint32_t field, WireType type) {
  AppendVarint(out, (uint64_t{field} << 3) | static_cast<uint64_t>(type));
}

void AppendBytes(std::string* out, uint32_t field, std::string_view bytes) {
  AppendTag(out, field, WireType::kBytes);
  AppendVarint(out, bytes.size());
  out->append(bytes);
}

Result<Split> SplitNested(const Buffer& message, uint32_t field, size_t max_rest) {
  Split split;
  Cursor cursor(message);
  std::string scratch;
  const auto malformed = [&cursor] {
    return Status(Reason::INVALID_ARGUMENT, "the request's bytes are malformed near offset " +
                                                std::to_string(cursor.position()));
  };
  while (!cursor.AtEnd()) {
    // A second cursor, because Slice() walks from the first piece each time: a hostile request of
    // half a million fields in as many pieces would cost minutes.
    Cursor field_start = cursor;
    Tag tag;
    if (!cursor.ReadTag(&tag)) return malformed();
    if (tag.field == field && tag.type == WireType::kBytes) {
      size_t length = 0;
      if (!cursor.ReadLength(&length)) return malformed();
      if (split.nested.has_value()) {
        return Status(Reason::INVALID_ARGUMENT,
                      "field " + std::to_string(field) + " of the request is given twice");
      }
      split.nested = message.Slice(cursor.position(), length);
      if (!cursor.Skip(length)) return malformed();
      continue;
    }
    if (!cursor.SkipValue(tag.type)) return malformed();
    const size_t length = cursor.position() - field_start.position();
    if (split.rest.size() + length > max_rest) {
      return Status(
          Reason::INVALID_ARGUMENT,
          "the request has more than " + std::to_string(max_rest) + " bytes besides its batch");
    }
    std::string_view bytes;
    if (!field_start.ReadBytes(length, &scratch, &bytes)) return malformed();
    split.rest.append(bytes);
  }
  return split;
}

}  // namespace strata::wire
