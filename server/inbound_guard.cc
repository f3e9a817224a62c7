#include "server/inbound_guard.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "server/greeting.h"

namespace strata::server {
namespace {

using Clock = std::chrono::steady_clock;

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kResetStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
constexpr uint8_t kAck = 1;        // of settings and pings
constexpr uint8_t kEndStream = 1;  // of data
constexpr uint8_t kEndHeaders = 4;

constexpr char kTooLargeHeaders[] = "a header block above 32 KiB or 16 frames";
constexpr char kTooManyResets[] = "more than 1,000 streams reset in a second";
constexpr char kNoSettings[] = "20,000 calls before the client has acknowledged the settings";
constexpr char kTooManyIdle[] = "more than 1,000 frames without content in a second";

constexpr char kTooMuchUnfinished[] =
    "more bytes of unfinished messages than limits.maxUnfinished leaves it";
// What a connection may always hold.
constexpr int64_t kAlwaysHeld = 64 << 10;
// Told to the budget in steps, so that connections do not write to the same place for each frame.
constexpr int64_t kStep = 16 << 10;

struct Watched {
  Watched(std::shared_ptr<UnfinishedBudget> the_budget, const Logger& the_log)
      : budget(std::move(the_budget)), guard(budget.get()), log(the_log) {}

  const std::shared_ptr<UnfinishedBudget> budget;
  InboundGuard guard;
  const Logger log;
};

// By descriptor. More of them than a process gets by default anywhere; what is above is not watched. An
// entry stays for the next connection with its number.
constexpr size_t kMaxDescriptor = 1u << 18;
std::array<std::atomic<Watched*>, kMaxDescriptor> watched_descriptors;

std::atomic<Watched*>* EntryOf(int fd) {
  const auto index = static_cast<size_t>(fd);
  return fd >= 0 && index < kMaxDescriptor ? &watched_descriptors[index] : nullptr;
}

}  // namespace

bool Allowance::Take(Clock::time_point now) {
  const std::chrono::duration<double> passed = now - since_;
  since_ = now;
  left_ = std::min(burst_, left_ + std::max(passed.count(), 0.0) * per_second_);
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

bool UnfinishedBudget::Change(int64_t change, int64_t own) {
  const int64_t held = held_.fetch_add(change, std::memory_order_relaxed) + change;
  return change <= 0 || own <= std::max(kAlwaysHeld, limit_ - held);
}

InboundGuard::InboundGuard(UnfinishedBudget* budget) : skip_(kGreetingSize), budget_(budget) {}

InboundGuard::~InboundGuard() { Release(); }

void InboundGuard::Release() {
  if (budget_ != nullptr) budget_->Change(-accounted_, 0);
  unfinished_.clear();
  held_ = 0;
  accounted_ = 0;
}

const char* InboundGuard::Inspect(std::string_view bytes, Clock::time_point now) {
  while (!bytes.empty()) {
    if (skip_ > 0) {
      const size_t passed = std::min(skip_, bytes.size());
      skip_ -= passed;
      bytes.remove_prefix(passed);
      continue;
    }
    if (data_left_ > 0) {
      const size_t here = std::min(data_left_, bytes.size());
      FollowMessages(bytes.substr(0, here), &unfinished_[data_stream_]);
      data_left_ -= here;
      bytes.remove_prefix(here);
      const char* const why = data_left_ == 0 ? EndData() : Account();
      if (why != nullptr) return why;
      continue;
    }
    const size_t taken = std::min(kFrameHeader - header_size_, bytes.size());
    std::copy_n(bytes.begin(), taken, header_.begin() + static_cast<ptrdiff_t>(header_size_));
    header_size_ += taken;
    bytes.remove_prefix(taken);
    if (header_size_ < kFrameHeader) break;
    header_size_ = 0;
    if (const char* why = InspectFrame(now)) return why;
  }
  return nullptr;
}

const char* InboundGuard::InspectFrame(Clock::time_point now) {
  const size_t length =
      static_cast<size_t>(header_[0]) << 16 | static_cast<size_t>(header_[1]) << 8 | header_[2];
  const uint8_t type = header_[3];
  const uint8_t flags = header_[4];
  const uint32_t stream = (header_[5] & 127u) << 24 | static_cast<uint32_t>(header_[6]) << 16 |
                          static_cast<uint32_t>(header_[7]) << 8 | header_[8];
  skip_ = type == kData ? 0 : length;
  switch (type) {
    case kHeaders:
      if (!acknowledged_settings_ && ++calls_before_settings_ > kMaxCallsBeforeSettings) {
        return kNoSettings;
      }
      [[fallthrough]];
    case kContinuation:
      return InspectHeaders(length, type == kHeaders, flags);
    case kResetStream:
      Forget(stream);
      return resets_.Take(now) ? nullptr : kTooManyResets;
    case kData:
      data_left_ = length;
      data_stream_ = stream;
      data_ends_stream_ = (flags & kEndStream) != 0;
      if (length > 0) return nullptr;
      if (data_ends_stream_) return EndData();
      break;
    case kSettings:
    case kPing:
      if (type == kSettings && (flags & kAck) != 0) acknowledged_settings_ = true;
      if ((flags & kAck) != 0) return nullptr;
      break;
    case kGoAway:
    case kWindowUpdate:
      return nullptr;
    default:
      break;
  }
  return idle_frames_.Take(now) ? nullptr : kTooManyIdle;
}

const char* InboundGuard::InspectHeaders(size_t length, bool first, uint8_t flags) {
  if (first) {
    block_bytes_ = 0;
    block_frames_ = 0;
  }
  block_bytes_ += length;
  ++block_frames_;
  const bool ends = (flags & kEndHeaders) != 0;
  const bool fits = block_bytes_ <= kMaxHeaderBlock && block_frames_ <= kMaxHeaderFrames;
  if (ends) {
    block_bytes_ = 0;
    block_frames_ = 0;
  }
  return fits ? nullptr : kTooLargeHeaders;
}

void InboundGuard::FollowMessages(std::string_view bytes, Unfinished* message) {
  while (!bytes.empty()) {
    if (message->left == 0) {
      const size_t taken = std::min(kMessagePrefix - message->prefix_size, bytes.size());
      std::copy_n(bytes.begin(), taken,
                  message->prefix.begin() + static_cast<ptrdiff_t>(message->prefix_size));
      message->prefix_size += taken;
      bytes.remove_prefix(taken);
      if (message->prefix_size < kMessagePrefix) return;
      message->prefix_size = 0;
      for (size_t i = 1; i < kMessagePrefix; ++i) {
        message->left = message->left << 8 | message->prefix[i];
      }
      continue;
    }
    const size_t here = std::min<uint64_t>(message->left, bytes.size());
    message->left -= here;
    message->held += static_cast<int64_t>(here);
    held_ += static_cast<int64_t>(here);
    bytes.remove_prefix(here);
    if (message->left > 0) return;
    held_ -= message->held;
    message->held = 0;
  }
}

const char* InboundGuard::EndData() {
  const auto found = unfinished_.find(data_stream_);
  const bool between =
      found != unfinished_.end() && found->second.left == 0 && found->second.prefix_size == 0;
  if (between || data_ends_stream_) Forget(data_stream_);
  return Account();
}

void InboundGuard::Forget(uint32_t stream) {
  const auto found = unfinished_.find(stream);
  if (found == unfinished_.end()) return;
  held_ -= found->second.held;
  unfinished_.erase(found);
}

const char* InboundGuard::Account() {
  const int64_t change = held_ - accounted_;
  if (budget_ == nullptr || (change < kStep && change > -kStep && held_ != 0)) return nullptr;
  accounted_ = held_;
  return change == 0 || budget_->Change(change, held_) ? nullptr : kTooMuchUnfinished;
}

void GuardConnection(int fd, std::shared_ptr<UnfinishedBudget> budget, const Logger& log) {
  std::atomic<Watched*>* const entry = EntryOf(fd);
  if (entry == nullptr) return;
  // The connection that had the number is closed, and nobody receives on this one yet.
  delete entry->exchange(new Watched(std::move(budget), log));
}

bool InspectReceived(int fd, const msghdr& message, ssize_t received) {
  std::atomic<Watched*>* const entry = EntryOf(fd);
  Watched* const watched = entry == nullptr ? nullptr : entry->load(std::memory_order_acquire);
  if (watched == nullptr) return true;
  if (received <= 0) {
    watched->guard.Release();
    return true;
  }
  auto size = static_cast<size_t>(received);
  const auto now = Clock::now();
  for (size_t i = 0; i < message.msg_iovlen && size > 0; ++i) {
    const size_t here = std::min(size, message.msg_iov[i].iov_len);
    const char* const why =
        watched->guard.Inspect({static_cast<const char*>(message.msg_iov[i].iov_base), here}, now);
    if (why != nullptr) {
      watched->log.Warning("connection fd:{} cut off: {}", fd, why);
      watched->guard.Release();
      return false;
    }
    size -= here;
  }
  return true;
}

}  // namespace strata::server
