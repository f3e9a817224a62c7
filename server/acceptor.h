// Acceptor: listens, and hands each connection that speaks HTTP/2 to a gRPC server as a file
// descriptor.
//
// gRPC 1.51 could listen itself. But for each connection that it accepts it starts to read, and only
// then sets up the timer that limits the wait for the client's settings; when another thread gets the
// settings in between, it cancels a timer that was never set up. What happens then depends on what the
// memory held before: nothing, or a list that is torn (seen as assertions of gRPC, in seconds under
// AddressSanitizer with two hundred clients that come and go); and always the connection is kept, or
// if it is in use closed, two minutes later. For descriptors that it is given there is no such timer;
// a peer that never says anything after its greeting is the keepalive's. (core: chttp2_server.cc,
// OnHandshakeDone and OnReceiveSettings.)
//
// So a newcomer is kept here until the preface of HTTP/2 is there, which is looked at and left for
// gRPC to read: one that is silent costs a descriptor and 100 bytes. What becomes of it:
//
//   it speaks HTTP/2           gRPC gets it; if limits.maxConnections of its listening socket are open,
//                              a GOAWAY names the limit
//   it speaks HTTP/1           a 400 that says what listens here
//   it speaks something else   closed
//   it is silent               closed after server.greetingTimeout; and earlier, the oldest first, where
//                              more than max_newcomers are, so that they cannot keep others out
//
// TCP and the Unix socket are counted each for itself: a flood on one leaves room on the other.
//
// Threads: one of its own, which waits for all of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "server/connection_count.h"
#include "server/listen.h"

namespace strata::server {

struct AcceptorOptions {
  size_t max_connections = 4096;  // open at a time, of each listening socket
  size_t max_newcomers = 1024;    // that have not greeted yet, of all
  std::chrono::milliseconds greeting_timeout{5000};
};

class Acceptor {
 public:
  // `accepted` gets each connection, non-blocking, and owns it; called on the acceptor's thread.
  Acceptor(std::vector<Listening> sockets, AcceptorOptions options,
           std::function<void(int fd)> accepted, Logger log);
  // No call of `accepted` is under way or follows.
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

 private:
  using Clock = std::chrono::steady_clock;

  struct Newcomer {
    int fd;
    size_t listener;  // an index into sockets_
    Clock::time_point deadline;
  };
  // What was refused since that was last logged, by reason.
  struct Refusals {
    uint64_t count = 0;
    Clock::time_point logged{};
  };

  void Run();
  int TimeoutMs() const;
  // False if the process can have no more connections at the moment.
  bool Accept(size_t listener);
  // Looks at what it has said so far.
  void Hear(uint64_t number);
  void Admit(const Newcomer& newcomer);
  void CloseOverdue();
  // Takes it out of the newcomers, still open.
  Newcomer Take(uint64_t number);
  // Says `answer`, if there is one, closes it, and logs `why`: the first time, then at most every ten seconds.
  void Refuse(const Newcomer& newcomer, const std::string& answer, std::string_view why);

  const std::vector<Listening> sockets_;
  const AcceptorOptions options_;
  const std::function<void(int fd)> accepted_;
  const Logger log_;
  const int stop_;   // an eventfd: readable means the end
  const int epoll_;  // of stop_, the listening sockets and the newcomers

  // --- Of the acceptor's thread ---
  std::vector<ConnectionCount> open_;       // of each listening socket
  std::map<uint64_t, Newcomer> newcomers_;  // by number, so the oldest is the first
  uint64_t next_number_ = 0;                // of the next newcomer
  std::map<std::string_view, Refusals> refusals_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace strata::server
