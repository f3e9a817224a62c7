#include "tests/support/http2_wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace strata::testing {
namespace {

using Clock = std::chrono::steady_clock;

// The length of a string of HPACK: an integer with a prefix of seven bits.
std::string HpackLength(uint64_t length) {
  if (length < 127) return {static_cast<char>(length)};
  std::string out = {127};
  for (length -= 127; length >= 128; length /= 128) out += static_cast<char>(length % 128 | 128);
  out += static_cast<char>(length);
  return out;
}

int Left(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::max<int64_t>(left, 0));
}

bool ConnectTo(int fd, const std::string& address) {
  if (address.starts_with("unix:")) {
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    address.copy(un.sun_path, sizeof(un.sun_path) - 1, 5);
    return connect(fd, reinterpret_cast<const sockaddr*>(&un), sizeof(un)) == 0;
  }
  sockaddr_in in = {};
  in.sin_family = AF_INET;
  const size_t colon = address.rfind(':');
  in.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &in.sin_addr);
  return connect(fd, reinterpret_cast<const sockaddr*>(&in), sizeof(in)) == 0;
}

}  // namespace

std::string Number(uint64_t value, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out += static_cast<char>(value >> shift);
  return out;
}

std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out = Number(payload.size(), 3) + Number(type, 1) + Number(flags, 1);
  out += Number(stream, 4);
  out += payload;
  return out;
}

std::string Greeting() {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, kNoFlags, 0);
}

std::string HeaderField(std::string_view name, std::string_view value) {
  return HeaderFieldBegin(name, value.size()).append(value);
}

std::string HeaderFieldBegin(std::string_view name, uint64_t length) {
  std::string out(1, '\0');
  out += HpackLength(name.size());
  out += name;
  return out + HpackLength(length);
}

std::string RequestHeaders(std::string_view path, std::string_view more,
                           std::string_view content_type) {
  std::string out = "\x83\x86";  // :method POST, :scheme http
  out += HeaderField(":path", path) + HeaderField(":authority", "strata");
  out += HeaderField("te", "trailers") + HeaderField("content-type", content_type);
  return out.append(more);
}

std::string GrpcMessage(std::string_view bytes, bool compressed) {
  return Number(compressed ? 1 : 0, 1) + Number(bytes.size(), 4).append(bytes);
}

std::string UnaryCall(uint32_t stream, std::string_view path, std::string_view message) {
  return Frame(kHeaders, kEndHeaders, stream, RequestHeaders(path)) +
         Frame(kData, kEndStream, stream, GrpcMessage(message));
}

std::vector<ReceivedFrame> Heard::Frames() const {
  std::vector<ReceivedFrame> frames;
  const auto byte = [this](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  for (size_t at = 0; at + 9 <= bytes.size();) {
    const size_t length = static_cast<size_t>(byte(at)) << 16 | byte(at + 1) << 8 | byte(at + 2);
    const uint32_t stream = static_cast<uint32_t>(byte(at + 5) & 127) << 24 | byte(at + 6) << 16 |
                            byte(at + 7) << 8 | byte(at + 8);
    if (at + 9 + length > bytes.size()) break;
    frames.push_back({byte(at + 3), byte(at + 4), stream, bytes.substr(at + 9, length)});
    at += 9 + length;
  }
  return frames;
}

size_t Heard::Count(uint8_t type) const {
  const std::vector<ReceivedFrame> frames = Frames();
  return static_cast<size_t>(std::count_if(
      frames.begin(), frames.end(), [type](const ReceivedFrame& f) { return f.type == type; }));
}

RawConnection::RawConnection(const std::string& address, int receive_buffer)
    : fd_(socket(address.starts_with("unix:") ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  }
  if (fd_ >= 0 && ConnectTo(fd_, address)) return;
  const int error = errno;
  if (fd_ >= 0) close(fd_);
  throw std::system_error(error, std::generic_category(), "connect to " + address);
}

RawConnection::~RawConnection() { Close(); }

void RawConnection::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

RawConnection::RawConnection(RawConnection&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), heard_(std::move(other.heard_)) {}

RawConnection& RawConnection::operator=(RawConnection&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(heard_, other.heard_);
  return *this;
}

bool RawConnection::Send(std::string_view bytes, std::chrono::milliseconds patience) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return false;
    pollfd writable = {fd_, POLLOUT, 0};
    if (poll(&writable, 1, static_cast<int>(patience.count())) == 0) return false;
  }
  return true;
}

Heard RawConnection::Take() {
  Hear(std::chrono::milliseconds(0));
  Heard taken = heard_;
  size_t whole = 0;
  for (const ReceivedFrame& frame : taken.Frames()) whole += 9 + frame.payload.size();
  taken.bytes.resize(whole);
  heard_.bytes.erase(0, whole);
  return taken;
}

Heard RawConnection::Hear(std::chrono::milliseconds longest, std::string_view text) {
  const Clock::time_point deadline = Clock::now() + longest;
  std::array<char, 16384> buffer;
  while (!heard_.closed && (text.empty() || !heard_.Says(text))) {
    pollfd readable = {fd_, POLLIN, 0};
    if (poll(&readable, 1, Left(deadline)) == 0) break;
    const ssize_t size = recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size > 0) heard_.bytes.append(buffer.data(), static_cast<size_t>(size));
    heard_.closed = size <= 0;
  }
  return heard_;
}

}  // namespace strata::testing
