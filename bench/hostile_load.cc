#include "bench/hostile_load.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <deque>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/process.h"
#include "bench/support.h"
#include "tests/support/http2_wire.h"

namespace strata::bench {
namespace {

using namespace testing;  // NOLINT: the frames

constexpr std::chrono::milliseconds kTick{10};
constexpr std::chrono::milliseconds kNoPatience{0};
constexpr char kConsume[] = "/strata.v1.Log/Consume";
constexpr char kProduce[] = "/strata.v1.Log/Produce";

volatile sig_atomic_t stop_requested = 0;

// A field of protobuf that has bytes, and one that has a number.
std::string Field(int number, std::string_view bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())}.append(
      bytes);
}
std::string Field(int number, uint64_t value) {
  std::string out(1, static_cast<char>(number << 3));
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}

// First requests, of a reader from the beginning and of a plain producer.
std::string ConsumeOpen(const std::string& channel, uint64_t credit) {
  return Field(1, Field(1, channel) + Field(7, credit));
}
std::string ProduceOpen(const std::string& channel) { return Field(1, Field(1, channel)); }

std::string Begin(uint32_t stream, const char* path, const std::string& message) {
  return Frame(kHeaders, kEndHeaders, stream, RequestHeaders(path)) +
         Frame(kData, kNoFlags, stream, GrpcMessage(message));
}

// Answers the pings in what has come since the last time; false if the connection is closed.
bool StayAlive(RawConnection* connection) {
  const Heard heard = connection->Take();
  for (const ReceivedFrame& frame : heard.Frames()) {
    if (frame.type == kPing && (frame.flags & kAck) == 0) {
      connection->Send(Frame(kPing, kAck, 0, frame.payload), kNoPatience);
    }
  }
  return !heard.closed;
}

// So many a second, in ticks.
class Due {
 public:
  explicit Due(int per_second) : per_tick_(per_second * 0.01) {}
  int Next() {
    owed_ += per_tick_;
    const int now = static_cast<int>(owed_);
    owed_ -= now;
    return now;
  }

 private:
  const double per_tick_;
  double owed_ = 0;
};

class Attackers {
 public:
  Attackers(std::string address, std::string channel, const HostileRates& rates)
      : address_(std::move(address)), channel_(std::move(channel)), rates_(rates) {}

  void Prepare() {
    for (int i = 0; i < rates_.idle; ++i) Keep(&idle_, Greeting());
    for (int i = 0; i < rates_.slow_readers; ++i) Keep(&readers_, SlowReader());
    for (int i = 0; i < rates_.slow_writers; ++i) Keep(&writers_, SlowWriter());
    for (int i = 0; i < 4; ++i) Keep(&openers_, Greeting());
    next_streams_.assign(openers_.size(), 1);
  }

  void Tick(int tick) {
    // Each of those that are kept in turns, the idle ones once a second, the others ten times.
    for (size_t i = static_cast<size_t>(tick % 100); i < idle_.size(); i += 100) {
      if (!StayAlive(&idle_[i])) Again(&idle_[i], Greeting());
    }
    for (size_t i = static_cast<size_t>(tick % 10); i < readers_.size(); i += 10) {
      if (!StayAlive(&readers_[i])) Again(&readers_[i], SlowReader());
    }
    for (size_t i = static_cast<size_t>(tick % 10); i < writers_.size(); i += 10) {
      const bool alive = StayAlive(&writers_[i]);
      if (!alive || !writers_[i].Send(Frame(kData, kNoFlags, 1, "x"), kNoPatience)) {
        Again(&writers_[i], SlowWriter());
      }
    }
    for (int n = silent_due_.Next(); n > 0; --n) OpenSilent();
    while (silent_.size() > static_cast<size_t>(rates_.silent)) silent_.pop_front();
    for (int n = garbage_due_.Next(); n > 0; --n) SendGarbage();
    for (int n = streams_due_.Next(); n > 0; --n) OpenStream();
    for (int n = calls_due_.Next(); n > 0; --n) CallBadly();
    for (int n = pings_due_.Next(); n > 0; --n) Ping();
    for (int n = floods_due_.Next(); n > 0; --n) FloodHeaders();
  }

  std::string Did() const {
    return fmt::format(
        "{} silent connections, {} with garbage, {} streams, {} bad calls, {} pings, {} header "
        "floods; {} kept "
        "connections opened again, {} could not be opened",
        silent_done_, garbage_done_, streams_done_, calls_done_, pings_done_, floods_done_, again_,
        failed_);
  }

 private:
  std::string SlowReader() const {
    return Greeting() + Frame(kSettings, kNoFlags, 0, Number(4, 2) + Number(0, 4)) +
           Begin(1, kConsume, ConsumeOpen(channel_, 1 << 30));
  }
  std::string SlowWriter() const {
    return Greeting() + Frame(kHeaders, kEndHeaders, 1, RequestHeaders("/strata.v1.Log/Append")) +
           Frame(kData, kNoFlags, 1, Number(0, 1) + Number(16 << 20, 4));
  }

  void Keep(std::vector<RawConnection>* kept, const std::string& hello) {
    kept->emplace_back(address_);
    kept->back().Send(hello);
  }
  void Again(RawConnection* connection, const std::string& hello) {
    ++again_;
    try {
      *connection = RawConnection(address_);
      connection->Send(hello, kNoPatience);
    } catch (const std::system_error&) {
      ++failed_;
    }
  }
  template <typename Use>
  void Briefly(uint64_t* done, Use use) {
    try {
      RawConnection connection(address_);
      use(&connection);
      ++*done;
    } catch (const std::system_error&) {
      ++failed_;
    }
  }

  void OpenSilent() {
    try {
      silent_.emplace_back(address_);
      ++silent_done_;
    } catch (const std::system_error&) {
      ++failed_;
    }
  }
  void SendGarbage() {
    Briefly(&garbage_done_, [this](RawConnection* connection) {
      std::string bytes(4096, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random_());
      connection->Send(Greeting() + bytes, kNoPatience);
    });
  }
  void OpenStream() {
    const size_t at = streams_done_ % openers_.size();
    RawConnection* const connection = &openers_[at];
    if (!StayAlive(connection) || next_streams_[at] > 1'000'000'000) {
      Again(connection, Greeting());
      next_streams_[at] = 1;
    }
    const uint32_t stream = next_streams_[at];
    next_streams_[at] += 2;
    const std::string opened = streams_done_ / openers_.size() % 2 == 0
                                   ? Begin(stream, kConsume, ConsumeOpen(channel_, 1000))
                                   : Begin(stream, kProduce, ProduceOpen(channel_));
    connection->Send(opened + Frame(kResetStream, kNoFlags, stream, Number(8, 4)), kNoPatience);
    ++streams_done_;
  }
  void CallBadly() {
    static constexpr std::array<const char*, 4> kPaths = {
        "/strata.v1.Log/Append", "/strata.v1.Log/Format", "/strata.v1.Admin/CreateChannel",
        "/../../etc/passwd"};
    const size_t at = calls_done_ % openers_.size();
    const uint32_t stream = next_streams_[at];
    next_streams_[at] += 2;
    const std::string bodies[] = {"\x0a\x09../../etc", "\x08" + std::string(12, '\xff'),
                                  std::string(2000, '\x0b')};
    openers_[at].Send(
        UnaryCall(stream, kPaths[calls_done_ % kPaths.size()], bodies[calls_done_ % 3]),
        kNoPatience);
    ++calls_done_;
  }
  void Ping() {
    if (pinging_.empty()) Keep(&pinging_, Greeting());
    if (!pinging_[0].Send(Frame(kPing, kNoFlags, 0, "12345678"), kNoPatience)) {
      Again(&pinging_[0], Greeting());
    }
    ++pings_done_;
  }
  void FloodHeaders() {
    Briefly(&floods_done_, [](RawConnection* connection) {
      std::string bytes =
          Greeting() +
          Frame(kHeaders, kNoFlags, 1, RequestHeaders(kConsume) + HeaderFieldBegin("x", 1 << 30));
      for (int i = 0; i < 4; ++i)
        bytes += Frame(kContinuation, kNoFlags, 1, std::string(16'000, 'x'));
      connection->Send(bytes, kNoPatience);
    });
  }

  const std::string address_;
  const std::string channel_;
  const HostileRates rates_;
  std::mt19937_64 random_{1};

  std::vector<RawConnection> idle_;
  std::vector<RawConnection> readers_;
  std::vector<RawConnection> writers_;
  std::vector<RawConnection> openers_;
  std::vector<uint32_t> next_streams_;
  std::vector<RawConnection> pinging_;
  std::deque<RawConnection> silent_;  // the last second's

  Due silent_due_{rates_.silent};
  Due garbage_due_{rates_.garbage};
  Due streams_due_{rates_.streams};
  Due calls_due_{rates_.bad_calls};
  Due pings_due_{rates_.pings};
  Due floods_due_{rates_.header_floods};

  uint64_t silent_done_ = 0;
  uint64_t garbage_done_ = 0;
  uint64_t streams_done_ = 0;
  uint64_t calls_done_ = 0;
  uint64_t pings_done_ = 0;
  uint64_t floods_done_ = 0;
  uint64_t again_ = 0;
  uint64_t failed_ = 0;
};

}  // namespace

std::string HostileRates::ToString() const {
  return fmt::format(
      "{} idle connections, {} slow readers, {} slow writers; each second {} silent connections, "
      "{} with garbage, {} "
      "streams opened and reset, {} bad calls, {} pings, {} header floods",
      idle, slow_readers, slow_writers, silent, garbage, streams, bad_calls, pings, header_floods);
}

void HostileLoad(const std::string& address, const std::string& channel,
                 const HostileRates& rates) {
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGTERM, [](int) { stop_requested = 1; });
  Attackers attackers(address, channel, rates);
  attackers.Prepare();
  fmt::print("ready\n");
  std::fflush(stdout);
  const auto start = SteadyClock::now();
  const double cpu_before = ProcessCpuSeconds(0);
  int ticks = 0;
  for (auto next = start; stop_requested == 0; ++ticks) {
    attackers.Tick(ticks);
    // A tick that is late is left out.
    next = std::max(next + kTick, SteadyClock::now() - kTick);
    std::this_thread::sleep_until(next);
  }
  const double seconds = SecondsSince(start);
  fmt::print("in {:.1f} s: {}; {:.0f} % of the ticks on time, {:.0f} % of a core\n", seconds,
             attackers.Did(), 100 * ticks / (seconds * 100),
             100 * (ProcessCpuSeconds(0) - cpu_before) / seconds);
  std::fflush(stdout);
}

}  // namespace strata::bench
