// ConnectionCount: how many of the connections that gRPC was given are still open.
//
// gRPC owns a connection once it has it, closes it when it likes and tells nobody. But a socket has a
// number of its own (the inode), so whether a descriptor is still that socket can be asked at any time,
// for half a microsecond. That is done when the count has come to the limit, at most ten times a
// second, so that a flood at the limit costs a few per cent of a core.
//
// Not thread-safe: of the acceptor's thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <vector>

namespace strata::server {

class ConnectionCount {
 public:
  explicit ConnectionCount(size_t limit) : limit_(limit) {}

  size_t limit() const { return limit_; }
  // Whether one more may come. `now` decides whether it looks again.
  bool HasRoom(std::chrono::steady_clock::time_point now);
  // A connection that somebody else will close.
  void Add(int fd);
  // What is open, as of now.
  size_t Recount();

 private:
  struct Given {
    int fd;
    ino_t socket;
  };

  const size_t limit_;
  std::vector<Given> given_;
  std::chrono::steady_clock::time_point counted_{};
};

}  // namespace strata::server
