#include "base/buffer.h"

#include <algorithm>
#include <cassert>

// Headers only: nothing to link.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace strata {

Buffer::Buffer(std::string bytes) {
  auto owned = std::make_shared<const std::string>(std::move(bytes));
  one_ = *owned;
  size_ = one_.size();
  owner_ = std::move(owned);
}

Buffer::Buffer(std::string_view bytes, std::shared_ptr<const void> owner)
    : size_(bytes.size()), one_(bytes), owner_(std::move(owner)) {}

Buffer::Buffer(std::vector<std::string_view> pieces, std::shared_ptr<const void> owner)
    : owner_(std::move(owner)) {
  for (const std::string_view piece : pieces) size_ += piece.size();
  if (pieces.size() == 1) {
    one_ = pieces.front();
  } else {
    many_ = std::move(pieces);
  }
}

Buffer Buffer::Slice(size_t offset, size_t length) const {
  assert(offset + length <= size_);
  std::vector<std::string_view> out;
  for (const std::string_view piece : pieces()) {
    if (length == 0) break;
    if (offset >= piece.size()) {
      offset -= piece.size();
      continue;
    }
    const size_t take = std::min(length, piece.size() - offset);
    out.push_back(piece.substr(offset, take));
    length -= take;
    offset = 0;
  }
  return Buffer(std::move(out), owner_);
}

Buffer Buffer::Contiguous() const {
  if (many_.size() <= 1) return *this;
  return Buffer(ToString());
}

void Buffer::AppendTo(std::string* out) const {
  for (const std::string_view piece : pieces()) out->append(piece);
}

std::string Buffer::ToString() const {
  std::string out;
  out.reserve(size_);
  AppendTo(&out);
  return out;
}

uint64_t ContentHash(const Buffer& bytes) {
  if (bytes.pieces().size() <= 1) {
    const std::string_view piece = bytes.empty() ? std::string_view() : bytes.view();
    return XXH3_64bits(piece.data(), piece.size());
  }
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (const std::string_view piece : bytes.pieces()) {
    XXH3_64bits_update(&state, piece.data(), piece.size());
  }
  return XXH3_64bits_digest(&state);
}

}  // namespace strata
