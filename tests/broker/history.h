// A history: threads append to and read from a broker over a store that stalls at random, and what
// they were promised is written down.
//
//   History history(seed, StoreKind::kHonest);
//   history.Run();                                  // until the plan says so
//   CHECK(history.CutPowerAndCheck() == Lines{});   // what the remains break of what was promised
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "tests/broker/fixture.h"
#include "tests/support/random.h"

namespace strata::testing {

enum class StoreKind {
  kHonest,
  kNeverSyncs,  // its Sync() says OK and does nothing
  kSyncsLate,   // its Sync() says OK at once and syncs afterwards: as if groups were published
                // before their sync
};

class History {
 public:
  static constexpr int kAppenders = 3;
  static constexpr int kChannels = 2;

  History(uint64_t seed, StoreKind kind);
  ~History();

  // Starts all, and returns when a number of groups that depends on the seed has been written.
  void Run();
  // Cuts the power in the middle of it, and returns what is missing of what was acknowledged or
  // seen by then, or out of order, in the store that comes up afterwards.
  Lines CutPowerAndCheck();
  // Lets all threads finish, and checks the same on the store as it is.
  Lines FinishAndCheck();
  size_t acknowledged() const;

 private:
  using Messages = std::map<std::pair<std::string, MessageId>, std::string>;
  struct Witness {
    mutable Mutex mu;
    Messages acknowledged STRATA_GUARDED_BY(mu);
    Messages seen STRATA_GUARDED_BY(mu);
    Lines wrong STRATA_GUARDED_BY(mu);
  };

  void Append(int appender);
  void Follow(int channel);
  void Stall();
  void StopStalling();
  void StopThreads();
  // What was appended under these ids, once it is acknowledged; ids must be above `floor`.
  void Acknowledged(const std::string& channel, const std::vector<std::string>& payloads,
                    MessageId floor, const Result<AppendResult>& answer);
  // What `broker` breaks of what was acknowledged and seen.
  static Lines Check(TestBroker* broker, const Messages& acknowledged, const Messages& seen);
  static Lines CheckChannel(TestBroker* broker, const std::string& channel, Messages* found);

  const uint64_t seed_;
  Random random_;
  const std::shared_ptr<MemoryStore> disk_ = std::make_shared<MemoryStore>();
  const std::shared_ptr<Witness> witness_ = std::make_shared<Witness>();
  std::unique_ptr<TestBroker> broker_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> stop_stalling_{false};
  std::atomic<MessageId> highest_[kChannels] = {};  // acknowledged
  Bell bells_[kChannels];                           // of the followers
  std::vector<std::thread> threads_;
  std::thread staller_;
};

}  // namespace strata::testing
