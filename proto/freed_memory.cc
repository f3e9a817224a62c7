#include "proto/freed_memory.h"

#include <cstdlib>

namespace strata {
namespace {

constexpr size_t kBlock = 8u << 20;

}  // namespace

void KeepFreedMemory() {
  static const bool done = [] {
    // Through a volatile pointer: compilers may leave out an allocation that nobody uses.
    void* volatile block = std::malloc(kBlock);
    std::free(block);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace strata
