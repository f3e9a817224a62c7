// Siege: a stratad of its own, a client that behaves, and what the test's hostile clients do to them.
//
//   Siege siege({"limits.maxConnections=100"});
//   ... RawConnection(siege.tcp()) ...
//   const Toll toll = siege.End();
//   INFO(toll.ToString());
//   CHECK(toll.bystander.empty());
//
// The bystander appends a message, waits for its acknowledgement, receives and compares it, from the
// beginning to the end of the siege, over the Unix socket, with a client that does not reconnect: any
// harm to its connection is an error.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "tests/support/daemon.h"
#include "tests/support/temp_dir.h"

namespace strata::testing {

// What a daemon may take of memory, as a test measures it: AddressSanitizer surrounds every block, and keeps
// 256 MB of what was freed.
#ifdef __SANITIZE_ADDRESS__
constexpr int64_t MeasuredMb(int64_t mb) { return 8 * mb + 512; }
#else
constexpr int64_t MeasuredMb(int64_t mb) { return mb; }
#endif

struct Toll {
  bool alive = false;        // the daemon
  std::string bystander;     // what went wrong for it; empty if nothing
  uint64_t messages = 0;     // that it sent and got back
  double slowest_ms = 0;     // of them, from sending to getting back
  int64_t resident_mb = 0;   // by which the daemon has grown
  int descriptors_left = 0;  // that the daemon has open and had not before, after at most 10 s,
                             // a few files of the store aside
  double cpu_seconds = 0;    // of the daemon

  std::string ToString() const;
};

class Siege {
 public:
  explicit Siege(std::vector<std::string> settings = {});
  ~Siege();

  Daemon& daemon() { return *daemon_; }
  const std::string& tcp() const { return daemon_->tcp(); }
  const std::string& unix_socket() const { return daemon_->unix_socket(); }
  // "127.0.0.1:PORT".
  const std::string& http() const { return daemon_->http(); }

  int64_t ResidentMb() const;
  int Descriptors() const;
  double CpuSeconds() const;
  // Messages of the bystander so far.
  uint64_t messages() const { return messages_; }

  // Waits until the bystander has got another message through (at most 10 s) and the daemon has closed
  // what it had opened. The hostile connections have to be closed before.
  Toll End();

 private:
  void Behave();

  TempDir dir_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Client> client_;
  int64_t resident_before_ = 0;
  int descriptors_before_ = 0;
  double cpu_before_ = 0;

  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> messages_{0};
  std::string trouble_;    // of the bystander's thread, until it is joined
  double slowest_ms_ = 0;  // the same
  std::thread bystander_;
};

// Raises the limit on open files of this process to what the system allows. How many that are.
uint64_t RaiseFileLimit();

// $STRATA_HOSTILE_FACTOR: how many times more of everything than the default, 1 without it.
int HostileFactor();

// Ends the siege and asserts that the daemon lives, others had no trouble, no descriptor is left and it has grown by at
// most so many MB. The main thread's.
void CheckToll(Siege* siege, int64_t most_mb);

}  // namespace strata::testing
