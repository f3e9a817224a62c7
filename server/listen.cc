#include "server/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace strata::server {
namespace {

class Socket {
 public:
  explicit Socket(int family) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// So many connections may wait to be accepted; the system's own limit (net.core.somaxconn) is lower.
constexpr int kBacklog = 4096;

// Non-blocking: a connection may be gone before it is accepted.
bool Listen(int fd) {
  return listen(fd, kBacklog) == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

class TcpAddress {
 public:
  static std::optional<TcpAddress> Parse(const std::string& address, int port) {
    TcpAddress out;
    if (inet_pton(AF_INET, address.c_str(), &out.v4_.sin_addr) == 1) {
      out.v4_.sin_family = AF_INET;
      out.v4_.sin_port = htons(static_cast<uint16_t>(port));
      return out;
    }
    out.is_v4_ = false;
    out.v6_.sin6_family = AF_INET6;
    out.v6_.sin6_port = htons(static_cast<uint16_t>(port));
    if (inet_pton(AF_INET6, address.c_str(), &out.v6_.sin6_addr) == 1) return out;
    return std::nullopt;
  }

  int family() const { return is_v4_ ? AF_INET : AF_INET6; }
  const sockaddr* get() const {
    return is_v4_ ? reinterpret_cast<const sockaddr*>(&v4_)
                  : reinterpret_cast<const sockaddr*>(&v6_);
  }
  socklen_t length() const { return is_v4_ ? sizeof(v4_) : sizeof(v6_); }

 private:
  bool is_v4_ = true;
  sockaddr_in v4_ = {};
  sockaddr_in6 v6_ = {};
};

Status Refused(const std::string& what, const std::string& why) {
  return Status(Reason::IO_ERROR, "cannot listen on " + what + ": " + why);
}

bool IsSocket(const std::string& path) {
  struct stat found;
  return lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode);
}

}  // namespace

std::string FormatAddress(const std::string& address, int port) {
  const bool v6 = address.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

Status BindTcp(const Socket& socket, const TcpAddress& parsed, const std::string& name,
               const std::string& key) {
  // Connections of an earlier server that are still fading out do not count.
  const int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (socket.fd() >= 0 && bind(socket.fd(), parsed.get(), parsed.length()) == 0) return Status();
  std::string why = std::strerror(errno);
  if (errno == EADDRINUSE) {
    why += "; stop the program that has it, or choose another port with " + key;
  }
  return Refused(name, why);
}

Status ProbeTcp(const std::string& address, int port, const std::string& key) {
  const std::string name = FormatAddress(address, port);
  const std::optional<TcpAddress> parsed = TcpAddress::Parse(address, port);
  if (!parsed) return Refused(name, "it is not an IP address");
  return BindTcp(Socket(parsed->family()), *parsed, name, key);
}

Result<Listening> ListenTcp(const std::string& address, int port, const std::string& key) {
  const std::string name = FormatAddress(address, port);
  const std::optional<TcpAddress> parsed = TcpAddress::Parse(address, port);
  if (!parsed) return Refused(name, "it is not an IP address");
  Socket socket(parsed->family());
  STRATA_RETURN_IF_ERROR(BindTcp(socket, *parsed, name, key));
  sockaddr_in6 bound = {};  // the larger of the two; the port is at the same place
  socklen_t length = sizeof(bound);
  if (!Listen(socket.fd()) ||
      getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return Refused(name, std::strerror(errno));
  }
  return Listening{socket.Release(), ntohs(bound.sin6_port)};
}

Result<Listening> ListenUnix(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  Socket socket(AF_UNIX);
  if (socket.fd() < 0 ||
      bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      !Listen(socket.fd())) {
    return Refused("unix:" + path, std::strerror(errno));
  }
  return Listening{socket.Release(), 0};
}

void Knock(const std::string& address, int port) {
  const std::optional<TcpAddress> parsed = TcpAddress::Parse(address, port);
  if (!parsed) return;
  const Socket client(parsed->family());
  // Whether it succeeds does not matter: who refuses no longer waits.
  static_cast<void>(connect(client.fd(), parsed->get(), parsed->length()));
}

Status PrepareUnixSocket(const std::string& path) {
  const std::string name = "unix:" + path;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Refused(name, "the path is too long");
  path.copy(address.sun_path, path.size());

  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return Refused(name, fmt::format("{}: {}", folder, std::strerror(errno)));
  }
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) return Status();
  if (!S_ISSOCK(found.st_mode)) {
    return Refused(name, "the file exists and is no socket; it was not touched");
  }
  const Socket client(AF_UNIX);
  if (client.fd() < 0) return Refused(name, std::strerror(errno));
  if (connect(client.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return Refused(name,
                   "another server answers on it; stop that one, or choose another path with "
                   "server.unixSocket");
  }
  if (errno != ECONNREFUSED) return Refused(name, std::strerror(errno));
  if (unlink(path.c_str()) != 0) {
    return Refused(name, fmt::format("the socket that a killed server left behind cannot be "
                                     "removed: {}",
                                     std::strerror(errno)));
  }
  return Status();
}

void RemoveUnixSocket(const std::string& path) {
  if (IsSocket(path)) unlink(path.c_str());
}

uint64_t RaiseOpenFileLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

uint64_t OpenFileLimit() {
  rlimit limit = {};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

}  // namespace strata::server
