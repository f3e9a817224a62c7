// How much memory this process may use: what shares of memory are taken of.
#pragma once

#include <cstdint>
#include <string>

namespace strata::broker {

// The smallest of the machine's memory and the limits of the process's control group and the groups
// above it, in bytes (cgroup v2, or the memory controller of v1). `root` is put before /proc and
// /sys, for tests.
uint64_t MemoryLimit(const std::string& root = "");

}  // namespace strata::broker
