// What the kernel and the disk hold of a directory's files.
#pragma once

#include <cstdint>
#include <string>

namespace strata::bench {

// Writes back what is dirty on the file system of `directory` (syncfs), and takes every file below it
// out of the page cache (posix_fadvise). Where this process may, everything else, too
// (/proc/sys/vm/drop_caches). Pages that a running process has mapped stay: restart it before.
void DropPageCache(const std::string& directory);

// Bytes that the disk below `directory` has been given to write, by everybody (/sys/dev/block); 0
// where the kernel does not tell. After a syncfs, so that nothing waits in the page cache.
uint64_t DeviceWrittenBytes(const std::string& directory);

}  // namespace strata::bench
