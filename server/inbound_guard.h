// InboundGuard: what gRPC 1.51 does not bound of what a client sends, bounded before gRPC gets it.
//
// - A header block may be spread over any number of CONTINUATION frames, and gRPC parses what it has of
//   an unfinished field again with each frame: measured, one string of 32 MB took 38 s of CPU on the
//   thread that serves everybody, and all of it is kept (CVE-2023-33953, mended in 1.53.2 and later).
//   Here a block ends at 32 KiB and 16 frames; gRPC itself refuses metadata above 8 KiB with a reason.
// - Streams that are opened and reset at once never count as open, so that no limit on streams holds
//   them ("rapid reset", CVE-2023-44487). Here resets are limited to 1,000 a second for a connection, with
//   a burst of 20,000: all streams of a connection may end together.
// - gRPC holds a client to the limit on open calls only once it has acknowledged the settings that tell
//   it, and does not mind if it never does. Here it has to before its 20,000th call, and is as a rule
//   after one round trip.
// - A message is handed on when it is complete, and gRPC keeps what has come of it, for each call up to the
//   largest message: 16,000 calls of one connection that each lack the last byte are 256 GB. Here what is
//   unfinished has one limit for all connections (limits.maxUnfinished), and one of them may have as much
//   of it as is still free, or 64 KiB: a single one gets half, many of them less each, and who sends small
//   messages is never cut off for what others hold. A call that the server has ended in the middle of a
//   message counts until the client resets it or its connection ends.
// - Frames that only cost work (settings, pings, priorities, frames of unknown types, data frames
//   without data) are limited alike. Pings have gRPC's own, stricter limit besides.
//
// It follows the frames, nine bytes of header each, and the prefixes of messages, and looks into nothing
// else: tens of nanoseconds for each frame.
// A connection that goes beyond a limit is cut off without a GOAWAY, because gRPC may be in the middle
// of a frame of its own; the reason is in the log.
//
// gRPC has no place to put this, and handing it one end of a socket pair would cost two copies of each
// byte. But it receives with recvmsg(), and stratad has one of its own (guarded_receive.cc).
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "base/log.h"

namespace strata::server {

// So many events at once, and so many a second after that.
class Allowance {
 public:
  Allowance(double burst, double per_second)
      : burst_(burst), per_second_(per_second), left_(burst) {}

  // False if this one is beyond it.
  bool Take(std::chrono::steady_clock::time_point now);

 private:
  double burst_;
  double per_second_;
  double left_;
  std::chrono::steady_clock::time_point since_{};
};

// What all connections hold of unfinished messages. Thread-safe; outlives its guards.
class UnfinishedBudget {
 public:
  explicit UnfinishedBudget(uint64_t limit) : limit_(static_cast<int64_t>(limit)) {}

  // `change` bytes more (or less) for a connection that holds `own` with them. False if that is beyond
  // what it may have.
  bool Change(int64_t change, int64_t own);
  int64_t held() const { return held_; }

 private:
  const int64_t limit_;
  std::atomic<int64_t> held_{0};
};

// One connection. One thread at a time.
class InboundGuard {
 public:
  static constexpr size_t kMaxHeaderBlock = 32u << 10;
  static constexpr int kMaxHeaderFrames = 16;
  static constexpr int kMaxCallsBeforeSettings = 20'000;

  // `budget` may be null.
  explicit InboundGuard(UnfinishedBudget* budget);
  ~InboundGuard();
  InboundGuard(const InboundGuard&) = delete;
  InboundGuard& operator=(const InboundGuard&) = delete;

  // What arrived next, from the preface on. Null, or the limit that it goes beyond; after that it is
  // not called again.
  const char* Inspect(std::string_view bytes, std::chrono::steady_clock::time_point now);

  // The connection has ended: what it held is free.
  void Release();

 private:
  static constexpr size_t kFrameHeader = 9;
  static constexpr size_t kMessagePrefix = 5;

  // The message that a call is in the middle of.
  struct Unfinished {
    std::array<uint8_t, kMessagePrefix> prefix{};
    size_t prefix_size = 0;  // what is there of it
    uint64_t left = 0;       // bytes of the message that are to come
    int64_t held = 0;        // bytes of it that have come
  };

  const char* InspectFrame(std::chrono::steady_clock::time_point now);
  const char* InspectHeaders(size_t length, bool first, uint8_t flags);
  // Some of the payload of a data frame, and its end.
  void FollowMessages(std::string_view bytes, Unfinished* message);
  const char* EndData();
  void Forget(uint32_t stream);
  const char* Account();

  size_t skip_;  // bytes of the preface, or of a frame's payload, that are to come
  std::array<uint8_t, kFrameHeader> header_{};
  size_t header_size_ = 0;  // what is there of it

  size_t block_bytes_ = 0;  // of the header block that is open
  int block_frames_ = 0;
  bool acknowledged_settings_ = false;
  int calls_before_settings_ = 0;
  Allowance resets_{20'000, 1'000};
  Allowance idle_frames_{20'000, 1'000};

  size_t data_left_ = 0;  // bytes of a data frame that are to come
  uint32_t data_stream_ = 0;
  bool data_ends_stream_ = false;
  std::unordered_map<uint32_t, Unfinished> unfinished_;  // by stream
  int64_t held_ = 0;                                     // of all of them
  int64_t accounted_ = 0;                                // what the budget knows of it
  UnfinishedBudget* const budget_;
};

// Begins to watch the connection that gRPC is about to get; a descriptor that was used before starts
// anew. What goes beyond a limit is logged to `log`.
void GuardConnection(int fd, std::shared_ptr<UnfinishedBudget> budget, const Logger& log);

// What recvmsg() has received on `fd`, so many bytes of it; 0 or less: the connection has ended. False:
// it is to be cut off. True for descriptors that are not watched.
bool InspectReceived(int fd, const msghdr& message, ssize_t size);

}  // namespace strata::server
