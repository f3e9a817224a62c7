// HTTP/2 by hand: frames as bytes, well-formed or not, and a socket to send them on. For clients that a
// library would not be: tests/hostile and `strata-bench hostile`.
//
//   RawConnection connection(daemon.tcp());
//   connection.Send(Greeting() + Frame(kHeaders, kEndHeaders, 1, RequestHeaders("/strata.v1.Log/Produce")));
//   const Heard heard = connection.Hear(seconds(5), "grpc-status");
//
// Nothing here keeps to flow control or answers pings; whoever needs it does so by hand.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata::testing {

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kResetStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
inline constexpr uint8_t kNoFlags = 0;
inline constexpr uint8_t kAck = 1;        // settings, ping
inline constexpr uint8_t kEndStream = 1;  // data, headers
inline constexpr uint8_t kEndHeaders = 4;

// Big-endian.
std::string Number(uint64_t value, int bytes);
std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = "");
// The preface and empty settings.
std::string Greeting();
// A header field of HPACK, in plain characters and not to be remembered.
std::string HeaderField(std::string_view name, std::string_view value);
// Only the beginning of one: its name, and that its value has `length` bytes.
std::string HeaderFieldBegin(std::string_view name, uint64_t length);
// The header block of a gRPC request, `more` (fields) at its end.
std::string RequestHeaders(std::string_view path, std::string_view more = "",
                           std::string_view content_type = "application/grpc");
// A message with gRPC's prefix.
std::string GrpcMessage(std::string_view bytes, bool compressed = false);
// A whole call on `stream` with one message, half-closed. REQUIRES: small enough for one frame.
std::string UnaryCall(uint32_t stream, std::string_view path, std::string_view message);

struct ReceivedFrame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

struct Heard {
  std::string bytes;
  bool closed = false;  // by the other side

  bool Says(std::string_view text) const { return bytes.find(text) != std::string::npos; }
  // The whole frames at its beginning.
  std::vector<ReceivedFrame> Frames() const;
  size_t Count(uint8_t type) const;
};

// A connected socket. Throws std::system_error if it cannot be had.
class RawConnection {
 public:
  // "127.0.0.1:7470" or "unix:PATH"; `receive_buffer` bytes at most lie unread in the kernel (0: as usual).
  explicit RawConnection(const std::string& address, int receive_buffer = 0);
  ~RawConnection();
  RawConnection(RawConnection&& other) noexcept;
  RawConnection& operator=(RawConnection&& other) noexcept;

  int fd() const { return fd_; }
  void Close();
  // False if the other side has closed, or takes nothing for `patience`.
  bool Send(std::string_view bytes, std::chrono::milliseconds patience = std::chrono::seconds(10));
  // Until `text` has come, the other side has closed, or `longest` is over. What came before is in it.
  Heard Hear(std::chrono::milliseconds longest, std::string_view text = "");
  // What has come and was not taken before, without waiting; an unfinished frame at its end stays.
  Heard Take();

 private:
  int fd_ = -1;
  Heard heard_;
};

}  // namespace strata::testing
