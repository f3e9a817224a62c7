// A Client for your own tests: a broker in this process, with nothing on disk and no port.
//
//   TEST(Billing, CountsEveryEvent) {
//     auto client = strata::testing::ConnectInMemory();
//     Billing billing(**client);               // takes a strata::Client&
//     ...
//   }
//
// It is no imitation: the broker is the one of stratad and of "embedded:", over a store in memory, and
// passes the same tests. So ids, gaps, fencing, subscriptions and every error are the real ones, and
// a test takes microseconds. What it cannot show is a connection, which has no place here to break: for
// CONNECTION_LOST and reconnecting, start a stratad.
//
// To see what your program does when something goes wrong, keep the broker:
//
//   auto broker = strata::testing::InMemoryBroker::Start();
//   auto client = (*broker)->NewClient();
//   (*broker)->Damage("events", 7);            // readers get a CORRUPT gap
//   (*broker)->FailWrites();                   // appends get STORE_FAILED, reads go on
//   (*broker)->Restart();                      // as if the daemon had been started again
//
// Link strata_testing. client/examples/in_memory.cc is a whole program.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/client.h"

namespace strata {
namespace broker {
class Broker;
struct BrokerOptions;
}  // namespace broker

namespace testing {

class MemoryStore;

struct InMemoryOptions {
  // "key=value" in the terms of conf/strata.yaml, for example "limits.maxPayload=2000" or
  // "retention.maxMsgs=100". What is not said has the daemon's default, but for limits.tailCache,
  // which is 0: there is no disk to be faster than. Addresses and paths mean nothing here.
  std::vector<std::string> settings = {};
  // The broker's time: append times, retention, expiry. A ManualClock (base/clock.h) moves only when
  // told to. Not owned; outlives the broker and everything that was opened from it.
  Clock* clock = Clock::System();
  // Where the broker logs; nowhere without it.
  LogSink log = {};
  LogLevel log_level = LogLevel::kWarning;
};

// Thread-safe. Messages take memory until retention or a truncation removes them.
class InMemoryBroker {
 public:
  // INVALID_CONFIG if the settings are wrong, with what is wrong about them.
  static Result<std::unique_ptr<InMemoryBroker>> Start(const InMemoryOptions& options = {});
  // Ends everything that was opened from it, with SHUTTING_DOWN. Clients may be destroyed later.
  ~InMemoryBroker();
  InMemoryBroker(const InMemoryBroker&) = delete;
  InMemoryBroker& operator=(const InMemoryBroker&) = delete;

  // As Connect() would give it. Any number; each is a program of its own to the broker.
  std::unique_ptr<Client> NewClient();

  // The broker's end and its next life: what was acknowledged is there again, clients, producers and
  // readers of before get SHUTTING_DOWN for good, and NewClient() connects to the new one. Repairs
  // what FailWrites() broke, as a restart does.
  void Restart();

  // From now on the disk takes nothing: the appends that meet it first get STORE_FAILED (may have
  // been appended), every later one and every other change STORE_FAILED (not appended); reads go on
  // and GetStatus() says "failed". Until Restart().
  void FailWrites();
  // The stored batch with message `id` cannot be read any more: readers get a CORRUPT gap in the place
  // of all its messages. CHANNEL_NOT_FOUND; INVALID_ARGUMENT if there is no such message.
  Status Damage(const std::string& channel, MessageId id);

 private:
  InMemoryBroker(const broker::BrokerOptions& options, std::unique_ptr<MemoryStore> store);
  void Open(std::unique_ptr<MemoryStore> store) STRATA_REQUIRES(mu_);

  const std::unique_ptr<const broker::BrokerOptions> options_;
  Mutex mu_;
  std::shared_ptr<broker::Broker> broker_ STRATA_GUARDED_BY(mu_);
  MemoryStore* store_ STRATA_GUARDED_BY(mu_) = nullptr;  // the broker's
};

// A client of a broker of its own, which ends with the last of what was opened from the client.
Result<std::unique_ptr<Client>> ConnectInMemory(const InMemoryOptions& options = {});

}  // namespace testing
}  // namespace strata
