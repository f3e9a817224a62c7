// Load on a daemon that is about to be killed, and an account of every message.
//
// Each message says who sent it and the how-manyth it is, and the rest of its payload follows from
// these two, so that whoever reads it later can tell which one it is and whether it is whole. No
// message is sent twice: a duplicate in the log is the broker's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/types.h"
#include "client/client.h"

namespace strata::crash {

struct Stamp {
  uint32_t producer = 0;
  uint32_t counter = 0;  // from 0, +1 per message of this producer

  friend bool operator==(const Stamp&, const Stamp&) = default;
};

std::string PayloadOf(Stamp stamp);
// False if `payload` is not, to the byte, PayloadOf(*stamp).
bool ReadStamp(std::string_view payload, Stamp* stamp);

// What one producer sent, by counter, and what it was told about it.
struct Account {
  struct Entry {
    MessageId id = 0;  // with kAppended
    DataFate fate = DataFate::kMayHaveBeenAppended;
  };
  std::string channel;
  uint32_t producer = 0;
  std::vector<Entry> entries;
  Status first_error;
};

// Producers that send as fast as they can until their connection breaks.
class Load {
 public:
  // `per_channel` threads for each channel, with the numbers first_producer and up.
  Load(const std::string& address, const std::vector<std::string>& channels, int per_channel,
       uint32_t first_producer);
  // Stops the producers, wherever they are.
  ~Load();

  // Until that many messages of all producers together are acknowledged. False if every producer
  // has ended before that, or after a minute.
  bool WaitForAcknowledged(uint64_t messages);
  // Until every producer has ended, which takes a broken connection.
  void Join();

  // One for each producer. REQUIRES, to look into them: Join() has returned.
  const std::vector<Account>& accounts() const { return accounts_; }
  uint64_t acknowledged();

 private:
  void Produce(const std::string& address, Account* account);
  void SendUntilError(Producer& producer, Account* account);

  std::vector<Account> accounts_;  // each written by its thread and its callbacks, under mu_
  std::vector<std::thread> threads_;
  Mutex mu_;
  CondVar changed_;
  uint64_t acknowledged_ STRATA_GUARDED_BY(mu_) = 0;
  uint64_t wanted_ STRATA_GUARDED_BY(mu_) = 0;  // by who waits for acknowledged_
  bool stopping_ STRATA_GUARDED_BY(mu_) = false;
  size_t running_ STRATA_GUARDED_BY(mu_) = 0;
};

// A consumer with a subscription that acknowledges now and then, until it is closed or its
// connection breaks.
class Follower {
 public:
  struct Report {
    std::vector<std::pair<MessageId, Stamp>> received;
    MessageId acknowledged = 0;  // the highest id for which Acknowledge() was called
    std::string problem;         // empty unless it received what it must not
  };

  Follower(const std::string& address, const std::string& channel, const std::string& subscription,
           uint64_t seed);
  ~Follower();
  // Closes the consumer and waits for its thread.
  Report Finish();

 private:
  Status Open(const std::string& address, const std::string& channel,
              const std::string& subscription);
  void Run(uint64_t seed);
  bool Note(const ReceivedBatch& batch);

  std::unique_ptr<Client> client_;
  std::unique_ptr<Consumer> consumer_;
  Report report_;  // the thread's until it has ended
  std::thread thread_;
};

}  // namespace strata::crash
