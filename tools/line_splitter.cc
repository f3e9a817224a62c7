#include "tools/line_splitter.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace strata::tools {

LineSplitter::LineSplitter(std::string separator, size_t max_line, size_t block)
    : separator_(std::move(separator)), max_line_(max_line), block_(block) {}

std::span<char> LineSplitter::Room() {
  const size_t held = end_ - begin_;
  if (capacity_ - held >= block_) {
    if (begin_ > 0) std::memmove(data_.get(), data_.get() + begin_, held);
  } else {
    // Doubled, so that a long line is copied a constant number of times on average.
    const size_t capacity = std::max(2 * capacity_, held + block_);
    auto data = std::make_unique_for_overwrite<char[]>(capacity);
    if (held > 0) std::memcpy(data.get(), data_.get() + begin_, held);
    data_ = std::move(data);
    capacity_ = capacity;
  }
  scanned_ -= begin_;
  begin_ = 0;
  end_ = held;
  return {data_.get() + end_, capacity_ - end_};
}

bool LineSplitter::Next(std::string_view* line) {
  const std::string_view held(data_.get(), end_);
  const size_t found = held.find(separator_, scanned_);
  if (found == std::string_view::npos) {
    // A separator may have begun in the last bytes.
    const size_t undecided = separator_.size() - 1;
    scanned_ = std::max(begin_, end_ - std::min(end_, undecided));
    return false;
  }
  *line = held.substr(begin_, found - begin_);
  begin_ = scanned_ = found + separator_.size();
  return true;
}

}  // namespace strata::tools
