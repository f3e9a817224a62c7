// LineSplitter: cuts a stream of blocks into lines without copying them.
//
//   LineSplitter lines("\n", max_payload);
//   for (;;) {
//     size_t n = read(fd, lines.Room().data(), lines.Room().size());
//     if (n == 0) break;
//     lines.Filled(n);
//     for (std::string_view line; lines.Next(&line);) Use(line);
//     if (lines.too_long()) return Error();
//   }
//   Use(lines.Rest());   // what follows the last separator: a line that was not finished
//
// Memory is bounded by the longest line allowed plus one block. Not thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace strata::tools {

class LineSplitter {
 public:
  // REQUIRES: a separator of at least one byte. A line may have max_line bytes, separator not
  // counted.
  LineSplitter(std::string separator, size_t max_line, size_t block = 1u << 20);

  // Where to put the next bytes, at least one block of them. Lines given out before are invalid
  // after it. REQUIRES: !too_long(), so that the memory stays bounded.
  std::span<char> Room();
  // The first `bytes` of Room() are filled.
  void Filled(size_t bytes) { end_ += bytes; }

  // The next whole line, without its separator. False when more bytes are needed.
  bool Next(std::string_view* line);
  // After Next() has said false: the line at hand exceeds max_line, whatever may follow.
  bool too_long() const { return end_ - begin_ > max_line_ + separator_.size() - 1; }
  // After Next() has said false: what there is of the line at hand.
  std::string_view Rest() const { return {data_.get() + begin_, end_ - begin_}; }

 private:
  const std::string separator_;
  const size_t max_line_;
  const size_t block_;
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;    // of the line at hand
  size_t scanned_ = 0;  // no separator begins in [begin_, scanned_)
  size_t end_ = 0;
};

}  // namespace strata::tools
