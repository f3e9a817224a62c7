#include "broker/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string_view>

namespace strata::broker {
namespace {

// The number in the file, or "no limit" if there is no such file or it says "max".
uint64_t ReadLimit(const std::string& file) {
  std::ifstream in(file);
  uint64_t value = 0;
  return in >> value ? value : UINT64_MAX;
}

// The smallest `name` in `top` + `path` and every folder above it, up to `top`. In a container the
// path may be the host's and not exist below `top`, whose own limit is then the container's.
uint64_t SmallestUpwards(const std::string& top, std::string path, const std::string& name) {
  uint64_t smallest = UINT64_MAX;
  while (true) {
    if (path == "/") path.clear();
    smallest = std::min(smallest, ReadLimit(top + path + "/" + name));
    if (path.empty()) return smallest;
    path.resize(path.rfind('/'));
  }
}

// A line of /proc/self/cgroup is "number:controllers:/path"; version 2 has no controllers.
uint64_t CgroupLimit(const std::string& root) {
  uint64_t limit = UINT64_MAX;
  std::ifstream in(root + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || second + 1 >= line.size() || line[second + 1] != '/') {
      continue;
    }
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    const std::string mount = root + "/sys/fs/cgroup";
    if (controllers == ",,") {
      limit = std::min(limit, SmallestUpwards(mount, path, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      limit = std::min(limit, SmallestUpwards(mount + "/memory", path, "memory.limit_in_bytes"));
    }
  }
  return limit;
}

}  // namespace

uint64_t MemoryLimit(const std::string& root) {
  const auto physical =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(physical, CgroupLimit(root));
}

}  // namespace strata::broker
