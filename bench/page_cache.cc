#include "bench/page_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace strata::bench {
namespace {

void SyncFileSystem(const std::string& directory) {
  const int folder = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  syncfs(folder);
  close(folder);
}

}  // namespace

void DropPageCache(const std::string& directory) {
  SyncFileSystem(directory);
  std::error_code gone;
  for (auto it = std::filesystem::recursive_directory_iterator(directory, gone);
       it != std::filesystem::recursive_directory_iterator(); it.increment(gone)) {
    const int file = open(it->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) continue;
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
  std::ofstream("/proc/sys/vm/drop_caches") << "1";
}

uint64_t DeviceWrittenBytes(const std::string& directory) {
  SyncFileSystem(directory);
  struct stat folder {};
  if (stat(directory.c_str(), &folder) != 0) return 0;
  std::ifstream fields(
      fmt::format("/sys/dev/block/{}:{}/stat", major(folder.st_dev), minor(folder.st_dev)));
  // The seventh field: sectors of 512 bytes written.
  uint64_t value = 0;
  for (int i = 0; i < 7; ++i) {
    if (!(fields >> value)) return 0;
  }
  return value * 512;
}

}  // namespace strata::bench
