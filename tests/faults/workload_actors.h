// The actors of a Workload. Each is used by one thread.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "tests/faults/workload.h"

namespace strata::testing {

// Indexes of WorkloadPlans().
enum : size_t { kPlain, kNamed, kHeld, kLimits, kPhoenix, kPlans };

// Counts what is in flight. Thread-safe.
class InFlight {
 public:
  // Waits until fewer than `limit` are.
  void Begin(int limit);
  void End();
  void WaitForAll();

 private:
  Mutex mu_;
  CondVar landed_;
  int count_ STRATA_GUARDED_BY(mu_) = 0;
};

// Plain appends, waited for or pipelined.
class PlainAppender final : public Workload::Actor {
 public:
  using Actor::Actor;
  void Step() override;
  void End() override { in_flight_.WaitForAll(); }

 private:
  InFlight in_flight_;
};

// A named producer whose appends carry its name and term. Sends some batches again, as who got no answer would.
class NamedAppender final : public Workload::Actor {
 public:
  NamedAppender(Workload* work, uint64_t seed, std::string name)
      : Actor(work, seed), name_(std::move(name)) {}
  void Step() override;

 private:
  bool Open();

  const std::string name_;
  bool open_ = false;
  int64_t term_ = 0;
  uint64_t last_ = 0;  // sequence
};

// The same with a session and several batches on their way; after the first refusal it opens anew.
class SessionAppender final : public Workload::Actor {
 public:
  SessionAppender(Workload* work, uint64_t seed, std::string name)
      : Actor(work, seed), name_(std::move(name)) {}
  void Step() override;
  void End() override { in_flight_.WaitForAll(); }

 private:
  bool Open();

  const std::string name_;
  std::shared_ptr<broker::ProducerSession> session_;
  int64_t term_ = 0;
  uint64_t last_ = 0;
  std::atomic<bool> refused_{false};
  InFlight in_flight_;
};

// AppendMulti, plain or under a name.
class MultiAppender final : public Workload::Actor {
 public:
  using Actor::Actor;
  void Step() override;

 private:
  struct Part {
    size_t plan;
    ChannelNumber number;
    SentBatch sent;
  };
  void Send(std::vector<Part> parts, const std::string& name);
  // The next sequence of this producer's in a channel; nothing until it is known.
  std::optional<uint64_t> NextSequence(size_t plan, ChannelNumber number);

  std::map<ChannelNumber, uint64_t> last_;
};

// The only writer of its channel, with a higher term each time.
class ExclusiveAppender final : public Workload::Actor {
 public:
  using Actor::Actor;
  void Step() override;

 private:
  void Open();
  void Append();
  void BeFenced();

  std::shared_ptr<broker::ProducerSession> session_;
  ChannelNumber number_ = 0;
  int64_t term_ = 0;
  uint64_t last_ = 0;
};

// Truncates, deletes and creates again, sweeps, seals, rewrites, lists.
class Administrator final : public Workload::Actor {
 public:
  using Actor::Actor;
  void Step() override;

 private:
  void Truncate(size_t plan);
  void Recreate(size_t plan);
};

// Acknowledges, and seeks now and then.
class Consumer final : public Workload::Actor {
 public:
  using Actor::Actor;
  void Step() override;
};

// Reads a channel along, and notes all that it is shown.
class Follower final : public Workload::Actor {
 public:
  using Actor::Actor;
  void Step() override;

 private:
  void Note(const broker::Reader::Item& item);

  size_t plan_ = 0;
  std::unique_ptr<broker::Reader> reader_;
  MessageId next_ = 0;
};

}  // namespace strata::testing
