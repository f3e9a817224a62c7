// Buffer: immutable bytes in one or more pieces, kept alive by reference counting.
//
// A payload travels from the socket to disk, into the tail cache and out to readers as one Buffer:
// the pieces point into memory that `owner` keeps alive (a gRPC slice, a string, a block read from
// storage), so no hop copies it. Copying a Buffer copies pointers. Threads may share the bytes; a
// Buffer object itself is a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata {

class Buffer {
 public:
  Buffer() = default;
  // One piece that owns `bytes`.
  explicit Buffer(std::string bytes);
  // One piece inside memory that lives as long as `owner`.
  Buffer(std::string_view bytes, std::shared_ptr<const void> owner);
  // Many pieces inside memory that lives as long as `owner`.
  Buffer(std::vector<std::string_view> pieces, std::shared_ptr<const void> owner);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // In order; empty pieces are possible. The span is valid as long as this object lives and is not
  // assigned, the bytes as long as any copy or slice of it does.
  std::span<const std::string_view> pieces() const {
    if (!many_.empty()) return many_;
    return {&one_, size_t{size_ > 0}};
  }
  const std::shared_ptr<const void>& owner() const { return owner_; }

  // The bytes [offset, offset + length), sharing the owner. REQUIRES: offset + length <= size().
  Buffer Slice(size_t offset, size_t length) const;

  // This buffer if it has at most one piece, otherwise one that holds a copy in a single piece.
  Buffer Contiguous() const;
  // REQUIRES: at most one piece (see Contiguous).
  std::string_view view() const { return many_.empty() ? one_ : many_.front(); }

  void AppendTo(std::string* out) const;
  std::string ToString() const;

 private:
  size_t size_ = 0;
  std::string_view one_;                // the only piece, unless many_ is used
  std::vector<std::string_view> many_;  // two or more pieces, or none
  std::shared_ptr<const void> owner_;
};

// XXH3-64 of the bytes, however they are cut into pieces. It is stored (docs/formats), so it never
// changes. About 20 GB/s.
uint64_t ContentHash(const Buffer& bytes);

}  // namespace strata
