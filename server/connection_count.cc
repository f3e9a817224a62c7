#include "server/connection_count.h"

#include <sys/stat.h>

#include <algorithm>

namespace strata::server {
namespace {

constexpr std::chrono::milliseconds kPause{100};

// 0 if the descriptor is closed or no socket.
ino_t SocketOf(int fd) {
  struct stat found;
  return fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

}  // namespace

bool ConnectionCount::HasRoom(std::chrono::steady_clock::time_point now) {
  if (given_.size() < limit_) return true;
  if (now - counted_ < kPause) return false;
  counted_ = now;
  return Recount() < limit_;
}

void ConnectionCount::Add(int fd) { given_.push_back({fd, SocketOf(fd)}); }

size_t ConnectionCount::Recount() {
  given_.erase(
      std::remove_if(given_.begin(), given_.end(),
                     [](const Given& given) { return SocketOf(given.fd) != given.socket; }),
      given_.end());
  return given_.size();
}

}  // namespace strata::server
