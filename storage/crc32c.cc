#include "storage/crc32c.h"

#include <dlfcn.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>

#include <isa-l/crc.h>

// As RocksDB's util/crc32c.h, which it does not install, declares it. Weak: a static RocksDB has its own.
namespace rocksdb::crc32c {

__attribute__((weak, visibility("default"))) uint32_t Extend(uint32_t initial, const char* data,
                                                             size_t size) {
  uint32_t crc =
      ~initial;  // ISA-L leaves both inversions to the caller, and takes an int as length
  while (size > 0) {
    const size_t piece = std::min<size_t>(size, INT_MAX);
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<char*>(data));
    crc = crc32_iscsi(bytes, static_cast<int>(piece), crc);
    data += piece;
    size -= piece;
  }
  return ~crc;
}

}  // namespace rocksdb::crc32c

namespace strata::storage {

bool HasFastCrc32c() {
  // What the linker finds for everybody is the first definition in the order of loading.
  return dlsym(RTLD_DEFAULT, "_ZN7rocksdb6crc32c6ExtendEjPKcm") ==
         reinterpret_cast<void*>(&rocksdb::crc32c::Extend);
}

}  // namespace strata::storage
