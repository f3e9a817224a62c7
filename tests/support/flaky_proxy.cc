#include "tests/support/flaky_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kMostHeld = 64 << 10;

[[noreturn]] void Throw(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress Parse(const std::string& address) {
  SocketAddress parsed;
  if (address.starts_with("unix:")) {
    auto* un = reinterpret_cast<sockaddr_un*>(&parsed.storage);
    const std::string path = address.substr(5);
    if (path.size() >= sizeof(un->sun_path)) throw std::invalid_argument(address);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.c_str(), path.size() + 1);
    parsed.size = sizeof(sockaddr_un);
    return parsed;
  }
  auto* in = reinterpret_cast<sockaddr_in*>(&parsed.storage);
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) throw std::invalid_argument(address);
  in->sin_family = AF_INET;
  in->sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  if (inet_pton(AF_INET, address.substr(0, colon).c_str(), &in->sin_addr) != 1) {
    throw std::invalid_argument(address);
  }
  parsed.size = sizeof(sockaddr_in);
  return parsed;
}

// Bytes leave at once: the proxy must not be what delays them.
void SendAtOnce(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // no effect on a Unix socket
}

// Closing sends RST, or, over a Unix socket, ECONNRESET if something was not read.
void CloseWithReset(int fd) {
  const linger at_once = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd);
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

FlakyProxy::FlakyProxy(FlakyProxyOptions options) : target_(std::move(options.target)) {
  Listen(options.listen);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) Throw("eventfd");
  thread_ = std::thread(&FlakyProxy::Loop, this);
}

FlakyProxy::~FlakyProxy() {
  Do([&] {
    while (!links_.empty()) End(links_.begin(), Cut::kFin);
    ending_ = true;
  });
  thread_.join();
  close(listener_);
  close(wake_);
  if (address_.starts_with("unix:")) unlink(address_.c_str() + 5);
}

void FlakyProxy::Listen(const std::string& listen_on) {
  const SocketAddress at = Parse(listen_on);
  listener_ = socket(at.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener_ < 0) Throw("socket");
  if (bind(listener_, at.get(), at.size) != 0) Throw("bind " + listen_on);
  if (listen(listener_, SOMAXCONN) != 0) Throw("listen " + listen_on);
  address_ = listen_on;
  if (at.get()->sa_family != AF_INET) return;
  sockaddr_in bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &size) != 0) Throw("getsockname");
  address_ = "127.0.0.1:" + std::to_string(ntohs(bound.sin_port));
}

void FlakyProxy::Do(std::function<void()> what) {
  MutexLock lock(mu_);
  requests_.push_back(std::move(what));
  const uint64_t mine = ++asked_;
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof(one)) < 0 && !WouldBlock()) Throw("eventfd");
  while (served_ < mine) done_.Wait(mu_);
}

void FlakyProxy::SetTarget(const std::string& target) {
  Do([&] { target_ = target; });
}

void FlakyProxy::CutAll(Cut how) {
  Do([&] {
    while (!links_.empty()) CutLink(links_.begin(), how);
  });
}

void FlakyProxy::HalfCloseAll(Direction direction) {
  Do([&] {
    for (Link& link : links_) {
      HalfClose(direction == Direction::kToTarget ? &link.to_target : &link.to_client);
    }
  });
}

void FlakyProxy::DelayAll(milliseconds delay) {
  Do([&] {
    for (Link& link : links_) {
      link.to_target.not_before = link.to_client.not_before = steady_clock::now() + delay;
      ++counters_.delayed;
    }
  });
}

void FlakyProxy::BlackHole(bool on) {
  Do([&] { black_hole_ = on; });
}

void FlakyProxy::RefuseNew(bool on) {
  Do([&] { refuse_new_ = on; });
}

void FlakyProxy::StartChaos(const ChaosOptions& options) {
  Do([&] {
    chaos_ = std::make_unique<Chaos>(Chaos{options, Random(options.seed), steady_clock::now()});
  });
}

void FlakyProxy::StopChaos() {
  Do([&] {
    chaos_.reset();
    for (Link& link : links_) link.to_target.not_before = link.to_client.not_before = {};
  });
}

FlakyProxyCounters FlakyProxy::counters() {
  FlakyProxyCounters counters;
  Do([&] {
    counters = counters_;
    counters.open = links_.size();
  });
  return counters;
}

bool FlakyProxy::RunRequests() {
  uint64_t ignored = 0;
  while (read(wake_, &ignored, sizeof(ignored)) > 0) continue;
  MutexLock lock(mu_);
  for (const std::function<void()>& request : requests_) request();
  served_ += requests_.size();
  requests_.clear();
  done_.NotifyAll();
  return !ending_;
}

void FlakyProxy::Loop() {
  std::vector<pollfd> fds;
  while (RunRequests()) {
    const Time now = steady_clock::now();
    if (chaos_ != nullptr && now >= chaos_->next) CauseChaos(now);
    fds.assign({{wake_, POLLIN, 0}, {listener_, POLLIN, 0}});
    for (const Link& link : links_) {
      // An end that nothing may be done with is left out: poll() would report its state at once,
      // and again.
      for (const auto& [in, out] : {std::pair(&link.to_target, &link.to_client),
                                    std::pair(&link.to_client, &link.to_target)}) {
        short events = 0;
        const bool in_waits = black_hole_ || now < in->not_before;
        const bool out_waits = black_hole_ || now < out->not_before;
        if (!in_waits && !in->ended && in->held.size() < kMostHeld) events |= POLLIN;
        if (!out_waits && !out->held.empty()) events |= POLLOUT;
        fds.push_back({events == 0 ? -1 : in->from, events, 0});
      }
    }
    if (poll(fds.data(), fds.size(), MillisecondsToWait(now)) < 0 && errno != EINTR) return;
    size_t i = 2;
    for (auto link = links_.begin(); link != links_.end(); i += 2) {
      const auto next = std::next(link);
      Forward(link, fds[i].revents, fds[i + 1].revents);
      link = next;
    }
    if ((fds[1].revents & POLLIN) != 0) Accept();
  }
}

int FlakyProxy::MillisecondsToWait(Time now) const {
  Time next = Time::max();
  if (chaos_ != nullptr) next = chaos_->next;
  for (const Link& link : links_) {
    for (const Pipe* pipe : {&link.to_target, &link.to_client}) {
      if (!black_hole_ && pipe->not_before > now) next = std::min(next, pipe->not_before);
    }
  }
  if (next == Time::max()) return -1;
  return static_cast<int>(std::chrono::ceil<milliseconds>(next - now).count());
}

void FlakyProxy::Accept() {
  while (true) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) return;
    ++counters_.accepted;
    const bool refuse =
        refuse_new_ || (chaos_ != nullptr && steady_clock::now() < chaos_->accept_again);
    const SocketAddress to = Parse(target_);
    const int target =
        refuse ? -1 : socket(to.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (target < 0 || (connect(target, to.get(), to.size) != 0 && errno != EINPROGRESS)) {
      ++counters_.refused;
      if (target >= 0) close(target);
      CloseWithReset(client);
      continue;
    }
    SendAtOnce(client);
    SendAtOnce(target);
    Link& link = links_.emplace_back();
    link.to_target.from = link.to_client.to = client;
    link.to_target.to = link.to_client.from = target;
  }
}

void FlakyProxy::Forward(Links::iterator link, short of_client, short of_target) {
  const Time now = steady_clock::now();
  const bool alive = Move(&link->to_target, of_client, of_target, now) &&
                     Move(&link->to_client, of_target, of_client, now);
  if (!alive) {
    End(link, Cut::kReset);
  } else if (link->to_target.shut && link->to_client.shut && link->to_target.ended &&
             link->to_client.ended) {
    End(link, Cut::kFin);
  }
}

// False when one end is broken.
bool FlakyProxy::Move(Pipe* pipe, short of_from, short of_to, Time now) {
  if (((of_from | of_to) & (POLLERR | POLLNVAL)) != 0) return false;
  if (black_hole_ || now < pipe->not_before) return true;
  if ((of_from & (POLLIN | POLLHUP)) != 0 && !pipe->ended && pipe->held.size() < kMostHeld) {
    char block[16 << 10];
    const ssize_t n = recv(pipe->from, block, sizeof(block), 0);
    if (n < 0 && !WouldBlock()) return false;
    if (n == 0) pipe->ended = true;
    if (n > 0 && !pipe->swallows) pipe->held.append(block, static_cast<size_t>(n));
  }
  // Tried without asking first: what was just read can mostly be written at once.
  if (!pipe->held.empty() && !pipe->shut) {
    const ssize_t n = send(pipe->to, pipe->held.data(), pipe->held.size(), MSG_NOSIGNAL);
    if (n < 0 && !WouldBlock() && errno != ENOTCONN) return false;
    if (n > 0) {
      counters_.bytes += static_cast<uint64_t>(n);
      pipe->held.erase(0, static_cast<size_t>(n));
    }
  }
  if (pipe->ended && pipe->held.empty() && !pipe->shut) {
    shutdown(pipe->to, SHUT_WR);
    pipe->shut = true;
  }
  return true;
}

void FlakyProxy::End(Links::iterator link, Cut how) {
  for (const int fd : {link->to_target.from, link->to_target.to}) {
    if (how == Cut::kReset) {
      CloseWithReset(fd);
    } else {
      shutdown(fd, SHUT_WR);
      close(fd);
    }
  }
  links_.erase(link);
}

void FlakyProxy::CutLink(Links::iterator link, Cut how) {
  ++counters_.cut;
  End(link, how);
}

void FlakyProxy::HalfClose(Pipe* pipe) {
  if (pipe->shut) return;
  shutdown(pipe->to, SHUT_WR);
  pipe->shut = true;
  pipe->swallows = true;
  pipe->held.clear();
  ++counters_.half_closed;
}

void FlakyProxy::CauseChaos(Time now) {
  Random& random = chaos_->random;
  const auto mean = static_cast<uint64_t>(chaos_->options.mean_pause.count());
  chaos_->next = now + milliseconds(random.Between(1, 2 * mean));
  // A pause in which nobody gets in; clients that come back at once have to come again. One behind the other, so that
  // the door is open for two thirds of the time, however often something happens.
  if (now >= chaos_->accept_again && random.OneIn(16)) {
    chaos_->accept_again = now + milliseconds(random.Between(1, 16 * mean));
  }
  if (links_.empty()) return;
  if (random.OneIn(40)) {
    while (!links_.empty()) CutLink(links_.begin(), random.OneIn(2) ? Cut::kReset : Cut::kFin);
    return;
  }
  HappenTo(std::next(links_.begin(), static_cast<ptrdiff_t>(random.Below(links_.size()))), now);
}

void FlakyProxy::HappenTo(Links::iterator link, Time now) {
  Random& random = chaos_->random;
  Pipe* const pipe = random.OneIn(2) ? &link->to_target : &link->to_client;
  const auto up_to = [&](milliseconds longest) {
    return milliseconds(random.Between(1, static_cast<uint64_t>(longest.count())));
  };
  switch (random.Below(8)) {
    case 0:
      return CutLink(link, Cut::kReset);
    case 1:
      return CutLink(link, Cut::kFin);
    case 2:
    case 3:
      return HalfClose(pipe);
    case 4:
      ++counters_.holes;
      link->to_target.not_before = link->to_client.not_before =
          now + up_to(chaos_->options.longest_hole);
      return;
    default:
      ++counters_.delayed;
      pipe->not_before = std::max(pipe->not_before, now + up_to(chaos_->options.longest_delay));
  }
}

}  // namespace strata::testing
