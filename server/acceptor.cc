#include "server/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "server/greeting.h"

namespace strata::server {
namespace {

// How long it waits, out of file descriptors or memory, before it looks again.
constexpr int kExhaustedPauseMs = 100;

// So many are accepted of one socket before others get their turn.
constexpr int kAcceptsInARow = 64;

constexpr std::chrono::seconds kLogPause{10};

// What the kernel may hold of what a client has not received yet: the largest usual batch. By default
// it is 208 KiB, and a batch of 1 MiB goes in five rounds of filling it, sleeping until the client
// has emptied it and being woken; like this, writing a batch is done at once, and the next one is read
// from storage while the client takes this one: measured, half of the context switches of both sides
// and 30 % more throughput. Where net.core.wmem_max is at its usual 208 KiB as well, this still
// doubles the buffer. TCP sizes its buffers by itself.
constexpr int kUnixSendBuffer = 1 << 20;

constexpr std::string_view kWrongProtocol =
    "stratad serves gRPC here, which is HTTP/2 without TLS; health and metrics are on http.port";

// What epoll gives back: newcomers have their numbers, the rest is above all of them.
constexpr uint64_t kStop = uint64_t{1} << 63;
constexpr uint64_t kFirstListener = kStop + 1;

void Watch(int epoll, int fd, uint32_t events, uint64_t data) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = data;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

Acceptor::Acceptor(std::vector<Listening> sockets, AcceptorOptions options,
                   std::function<void(int fd)> accepted, Logger log)
    : sockets_(std::move(sockets)),
      options_(options),
      accepted_(std::move(accepted)),
      log_(log),
      stop_(eventfd(0, EFD_CLOEXEC)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      open_(sockets_.size(), ConnectionCount(options.max_connections)),
      thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "strata-accept");
}

Acceptor::~Acceptor() {
  const uint64_t one = 1;
  while (write(stop_, &one, sizeof(one)) < 0 && errno == EINTR) continue;
  thread_.join();
  for (const auto& [number, newcomer] : newcomers_) close(newcomer.fd);
  for (const Listening& socket : sockets_) close(socket.fd);
  close(epoll_);
  close(stop_);
}

void Acceptor::Run() {
  Watch(epoll_, stop_, EPOLLIN, kStop);
  for (size_t i = 0; i < sockets_.size(); ++i) {
    Watch(epoll_, sockets_[i].fd, EPOLLIN, kFirstListener + i);
  }
  std::array<epoll_event, 128> events;
  for (;;) {
    const int count =
        epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), TimeoutMs());
    bool exhausted = false;
    for (int i = 0; i < count; ++i) {
      const uint64_t data = events[static_cast<size_t>(i)].data.u64;
      if (data == kStop) return;
      if (data < kStop) {
        Hear(data);
      } else if (!exhausted && !Accept(data - kFirstListener)) {
        exhausted = true;
      }
    }
    CloseOverdue();
    if (!exhausted) continue;
    // Out of descriptors the listening sockets stay readable: only the end is waited for, for a moment.
    pollfd stop = {stop_, POLLIN, 0};
    if (poll(&stop, 1, kExhaustedPauseMs) > 0) return;
  }
}

int Acceptor::TimeoutMs() const {
  if (newcomers_.empty()) return -1;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      newcomers_.begin()->second.deadline - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0)) + 1;
}

bool Acceptor::Accept(size_t listener) {
  const Listening& socket = sockets_[listener];
  for (int i = 0; i < kAcceptsInARow; ++i) {
    const int fd = accept4(socket.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      const int error = errno;
      // One that went away before it was accepted is nobody's trouble.
      const bool exhausted =
          error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
      if (exhausted) log_.Warning("connections wait: {}", std::strerror(error));
      return !exhausted;
    }
    if (socket.port != 0) {
      // Requests and answers are small and waited for.
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    } else {
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kUnixSendBuffer, sizeof(kUnixSendBuffer));
    }
    if (newcomers_.size() >= options_.max_newcomers) {
      Refuse(Take(newcomers_.begin()->first), "",
             "too many at a time that had said nothing yet, the oldest closed");
    }
    const uint64_t number = next_number_++;
    newcomers_.emplace(number, Newcomer{fd, listener, Clock::now() + options_.greeting_timeout});
    // Told of each arrival once: what is looked at stays unread.
    Watch(epoll_, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, number);
    Hear(number);
  }
  return true;
}

void Acceptor::Hear(uint64_t number) {
  const auto found = newcomers_.find(number);
  if (found == newcomers_.end()) return;  // closed since epoll spoke of it
  std::array<char, kGreetingSize> said;
  const ssize_t size = recv(found->second.fd, said.data(), said.size(), MSG_PEEK | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    close(Take(number).fd);
    return;
  }
  switch (JudgeGreeting({said.data(), static_cast<size_t>(size)})) {
    case Greeting::kIncomplete:
      return;
    case Greeting::kHttp2:
      return Admit(Take(number));
    case Greeting::kHttp1:
      return Refuse(Take(number), Http1Refusal(kWrongProtocol), "they spoke HTTP/1, not HTTP/2");
    case Greeting::kOther:
      return Refuse(Take(number), "", "they did not speak HTTP/2 (TLS, perhaps)");
  }
}

void Acceptor::Admit(const Newcomer& newcomer) {
  ConnectionCount& open = open_[newcomer.listener];
  if (open.HasRoom(Clock::now())) {
    open.Add(newcomer.fd);
    accepted_(newcomer.fd);
    return;
  }
  const std::string why = fmt::format(
      "stratad has {} connections open on this address, as many as limits.maxConnections "
      "allows; close some, or raise it",
      open.limit());
  Refuse(newcomer, Http2Refusal(why), "limits.maxConnections are open");
}

void Acceptor::CloseOverdue() {
  const auto now = Clock::now();
  while (!newcomers_.empty() && newcomers_.begin()->second.deadline <= now) {
    Refuse(Take(newcomers_.begin()->first), "", "they did not greet within server.greetingTimeout");
  }
}

Acceptor::Newcomer Acceptor::Take(uint64_t number) {
  const auto found = newcomers_.find(number);
  const Newcomer taken = found->second;
  newcomers_.erase(found);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, taken.fd, nullptr);
  return taken;
}

void Acceptor::Refuse(const Newcomer& newcomer, const std::string& answer, std::string_view why) {
  if (!answer.empty()) {
    // What is left unread when a socket is closed makes TCP throw away what was sent.
    std::array<char, 4096> unread;
    for (int i = 0; i < 16 && recv(newcomer.fd, unread.data(), unread.size(), MSG_DONTWAIT) > 0;) {
      ++i;
    }
    // A few hundred bytes on a fresh connection: there is room for them, or nobody who reads.
    static_cast<void>(send(newcomer.fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
    shutdown(newcomer.fd, SHUT_WR);
  }
  close(newcomer.fd);
  Refusals& refusals = refusals_[why];
  ++refusals.count;
  const auto now = Clock::now();
  if (now - refusals.logged < kLogPause) return;
  log_.Warning("{} new connections refused: {}", refusals.count, why);
  refusals = {0, now};
}

}  // namespace strata::server
