// A history: threads append to and read from a broker over a store that stalls at random, and what
// they were promised is written down. Some are named producers, which send some batches twice, and
// send again after a power cut what was not acknowledged.
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
#include "tests/support/log_history.h"
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
  static constexpr int kProducers = 2;
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
  // What a named producer sent, by sequence.
  using Sent = std::vector<std::vector<std::string>>;
  struct Witness {
    mutable Mutex mu;
    LogHistory history STRATA_GUARDED_BY(mu);
    std::map<int, Sent> produced STRATA_GUARDED_BY(mu);  // by producer
    Lines wrong STRATA_GUARDED_BY(mu);
  };

  void Append(int appender);
  void Produce(int producer);
  void Follow(int channel);
  void Stall();
  void StopStalling();
  void StopThreads();
  // Writes down that it is sent, and how it is answered, which has to be well.
  broker::AppendCallback Note(LogHistory::Attempt attempt);
  // Sends again what the store may not have, and a few batches that it has.
  void Resend(TestBroker* broker, const std::map<int, Sent>& produced);
  // What `broker` breaks of `history`.
  static Lines Check(TestBroker* broker, LogHistory history);

  const uint64_t seed_;
  Random random_;
  const std::shared_ptr<MemoryStore> disk_ = std::make_shared<MemoryStore>();
  const std::shared_ptr<Ticks> ticks_ = std::make_shared<Ticks>();
  const std::shared_ptr<Witness> witness_ = std::make_shared<Witness>();
  std::unique_ptr<TestBroker> broker_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> stop_stalling_{false};
  Bell bells_[kChannels];  // of the followers
  std::vector<std::thread> threads_;
  std::thread staller_;
};

}  // namespace strata::testing
