// Everything that clients do to a broker at once, at random, with each promise noted in a Ledger.
//
//   channel     retention   who writes
//   plain       acked       plain appends; parts of AppendMulti; subscriptions fast and slow
//   named       truncated   two named producers, one with sessions and pipelining, one without; parts of AppendMulti
//   held        truncated   an exclusive producer with rising terms; now and then somebody who is fenced
//   limits      limits      plain appends
//   phoenix     limits      plain appends, parts of AppendMulti; deleted and created again
//
// Besides: acknowledgements and seeks, truncation, sweeps, sealing, rewrites, and a reader that is shown everything.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "tests/faults/ledger.h"
#include "tests/support/random.h"

namespace strata::testing {

std::vector<ChannelPlan> WorkloadPlans();

struct WorkloadShape {
  size_t steps = 60;            // of each actor
  bool threads = true;          // one for each actor; false: one for all, step by step in turns
  size_t large = 3000;          // bytes of a large payload: up to twice as many
  bool reads_may_fail = false;  // a reader may meet an error
};

// One life of a broker. Not to be used again.
class Workload {
 public:
  Workload(broker::Broker* broker, Ledger* ledger, uint64_t seed, const WorkloadShape& shape);
  ~Workload();

  // Creates what is missing of the plans, works until every actor has done its steps or the store has failed, and
  // returns when nothing is in flight any more.
  void Run();
  // Whether an actor was told that the store writes no more.
  bool stopped() const { return over_; }

  // --- For the actors ---
  broker::Broker& broker() { return *broker_; }
  Ledger& ledger() { return *ledger_; }
  const WorkloadShape& shape() const { return shape_; }
  bool over() const { return over_; }
  // Ends it if the store has failed. `status`, as it is.
  const Status& Note(const Status& status);
  bool Create(size_t plan);
  std::vector<size_t> RandomSizes(Random* random) const;

  class Actor {
   public:
    Actor(Workload* work, uint64_t seed) : work(*work), random(seed) {}
    virtual ~Actor() = default;
    virtual void Step() = 0;
    // Nothing of it is in flight afterwards.
    virtual void End() {}

   protected:
    Workload& work;
    Random random;
  };

 private:
  broker::Broker* const broker_;
  Ledger* const ledger_;
  const WorkloadShape shape_;
  Random random_;
  std::atomic<bool> over_{false};
  std::vector<std::unique_ptr<Actor>> actors_;
};

}  // namespace strata::testing
