// FlakyProxy: a network between two programs that a test can break.
//
//   FlakyProxy proxy({.target = daemon.tcp()});
//   auto client = Connect(proxy.address());
//   proxy.CutAll(FlakyProxy::Cut::kReset);         // every connection ends, with RST or FIN
//   proxy.BlackHole(true);                         // a network that is gone: silence, no end
//   proxy.RefuseNew(true);                         // nobody gets through any more
//   proxy.StartChaos({.seed = seed});              // all of it at random, until StopChaos()
//
// It accepts on a free port of 127.0.0.1 or on a Unix socket, connects to `target` for each connection
// and forwards bytes both ways, at most 64 KiB held in each direction; a peer that does not read holds
// up the other one, as a network would. What it has forwarded it never alters or repeats: all that goes
// wrong is where a stream of bytes ends, and when.
//
// One thread of its own with plain sockets and poll(). Every call returns when it has taken effect.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "tests/support/random.h"

namespace strata::testing {

struct FlakyProxyOptions {
  std::string target;                  // "127.0.0.1:PORT" or "unix:PATH"; may be absent for now
  std::string listen = "127.0.0.1:0";  // or "unix:PATH"
};

// What goes wrong at random, and how often.
struct ChaosOptions {
  uint64_t seed = 0;
  std::chrono::milliseconds mean_pause{100};     // between two events
  std::chrono::milliseconds longest_delay{300};  // of bytes that are held
  std::chrono::milliseconds longest_hole{2500};  // of a connection that is silent
};

// Since the start.
struct FlakyProxyCounters {
  uint64_t accepted = 0;  // connections
  uint64_t refused = 0;   // by RefuseNew(), or because nobody listens at the target
  uint64_t cut = 0;       // connections that the proxy ended
  uint64_t half_closed = 0;
  uint64_t delayed = 0;
  uint64_t holes = 0;  // connections that were silenced for a while
  uint64_t open = 0;   // now
  uint64_t bytes = 0;  // forwarded
};

class FlakyProxy {
 public:
  enum class Cut { kReset, kFin };
  enum class Direction { kToTarget, kToClient };

  // Throws std::system_error if it cannot listen.
  explicit FlakyProxy(FlakyProxyOptions options);
  ~FlakyProxy();
  FlakyProxy(const FlakyProxy&) = delete;
  FlakyProxy& operator=(const FlakyProxy&) = delete;

  // What clients connect to: "127.0.0.1:PORT" or "unix:PATH".
  const std::string& address() const { return address_; }
  // Of connections from now on.
  void SetTarget(const std::string& target);

  // Ends every connection at both ends; what was not yet forwarded is lost.
  void CutAll(Cut how);
  // The receiving end of that direction sees an end of the stream (FIN); what its sender goes on
  // sending is swallowed. The other direction stays.
  void HalfCloseAll(Direction direction);
  // Forwards nothing for so long, then all of it.
  void DelayAll(std::chrono::milliseconds delay);
  // Accepts, forwards nothing, ends nothing; what was under way goes on when it is off again.
  void BlackHole(bool on);
  // New connections are reset at once.
  void RefuseNew(bool on);

  void StartChaos(const ChaosOptions& options);
  // And forwards everything that it held up.
  void StopChaos();

  FlakyProxyCounters counters();

 private:
  using Time = std::chrono::steady_clock::time_point;
  // One direction of a connection.
  struct Pipe {
    int from = -1;
    int to = -1;
    std::string held;
    bool ended = false;     // `from` sent its end
    bool shut = false;      // `to` was told
    bool swallows = false;  // half-closed: reads and drops
    Time not_before{};      // when it may forward again
  };
  struct Link {
    Pipe to_target;
    Pipe to_client;
  };
  struct Chaos {
    ChaosOptions options;
    Random random;
    Time next;
    Time accept_again{};
  };
  using Links = std::list<Link>;

  void Listen(const std::string& listen);
  // Runs `what` on the proxy's thread.
  void Do(std::function<void()> what);

  // --- The proxy's thread ---
  void Loop();
  bool RunRequests();  // false: it is to end
  int MillisecondsToWait(Time now) const;
  void Accept();
  void Forward(Links::iterator link, short from_client, short from_target);
  bool Move(Pipe* pipe, short readable, short writable, Time now);
  void End(Links::iterator link, Cut how);
  void CutLink(Links::iterator link, Cut how);
  void HalfClose(Pipe* pipe);
  void CauseChaos(Time now);
  void HappenTo(Links::iterator link, Time now);

  std::string address_;
  int listener_ = -1;
  int wake_ = -1;  // an eventfd

  // The proxy's thread's.
  std::string target_;
  Links links_;
  bool black_hole_ = false;
  bool refuse_new_ = false;
  bool ending_ = false;
  std::unique_ptr<Chaos> chaos_;
  FlakyProxyCounters counters_;

  Mutex mu_;
  CondVar done_;
  std::vector<std::function<void()>> requests_ STRATA_GUARDED_BY(mu_);
  uint64_t asked_ STRATA_GUARDED_BY(mu_) = 0;
  uint64_t served_ STRATA_GUARDED_BY(mu_) = 0;
  std::thread thread_;
};

}  // namespace strata::testing
