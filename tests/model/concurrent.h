// Concurrent: many clients at once, each with a thread and a connection of its own, and what they did and
// were told as a LogHistory.
//
//   ConcurrentRun run = RunConcurrently(Transport::kUnix, seed);
//   CHECK(CheckHistory(run.history) == Strings{});
//
// On channel "log" plain appends, some together with "side" and some that demand their id; two threads that
// send the batches of one named producer at the same time, with terms that rise; a producer of the SDK;
// readers from the beginning, from the end and anywhere, by stream and by fetch; and two consumers that take
// turns with a subscription. On "owned" exclusive producers with rising terms race, and somebody appends who
// ought to be kept out. In the middle the broker is restarted: over a socket that stays the same and in
// memory under the clients, otherwise between two rounds.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "tests/contract/place.h"
#include "tests/support/log_history.h"
#include "tests/support/random.h"

namespace strata::testing {

// What was recorded, and what went wrong besides, such as a refusal that has no reason here.
struct ConcurrentRun {
  LogHistory history;
  Strings problems;
};
ConcurrentRun RunConcurrently(Transport transport, uint64_t seed);

// One thread's client, its choices and what it writes down.
class Actor {
 public:
  using Connecting = std::function<Result<std::unique_ptr<Client>>()>;
  // `in_process`: a client ends with its broker. Otherwise it comes back with the daemon.
  Actor(uint64_t seed, std::string name, Ticks* ticks, Connecting connect, bool in_process)
      : random(seed),
        name(std::move(name)),
        ticks(ticks),
        connect_(std::move(connect)),
        in_process_(in_process) {
    Reconnect();
  }

  Client& client() { return *client_; }
  void Reconnect();
  // After a call that failed: waits for the broker to be back, with a new client if need be. False, and a
  // problem, unless it is an end of a connection or of a broker.
  bool ComeBack(const Status& status, const char* what);
  void Problem(const std::string& what) { run.problems.push_back(name + ": " + what); }
  std::string NewPayload() { return name + "." + std::to_string(++payloads_); }

  // Sends it, writes it down, and says how it ended.
  Status Append(LogHistory::Attempt attempt);
  Status AppendTogether(LogHistory::Attempt one, LogHistory::Attempt other);
  void AskForEnd(const std::string& channel);

  Random random;
  const std::string name;
  Ticks* const ticks;
  ConcurrentRun run;

 private:
  const Connecting connect_;
  const bool in_process_;
  std::unique_ptr<Client> client_;
  int payloads_ = 0;
};

// What the actors of a run share. They return when they have done their part.
class Crowd {
 public:
  // --- Writers ---
  void WritePlain(Actor& actor);
  void WriteNamed(Actor& actor);    // the next batch, until it is acknowledged
  void RepeatNamed(Actor& actor);   // one of the last, at the same time
  void WriteWithSdk(Actor& actor);  // many in flight
  void Own(Actor& actor);
  void Intrude(Actor& actor);
  // --- Readers: until they have seen everything ---
  void ReadAll(Actor& actor);
  void ReadHereAndThere(Actor& actor);
  void FetchAll(Actor& actor);
  void ConsumeInTurns(Actor& actor);

  // All writers are done, and "log" ends there.
  void SetEnd(MessageId end) { end_.store(end); }
  void ForgetEnd() { end_.store(0); }

 private:
  static constexpr int kAppends = 12;  // of a writer in a round

  bool Done(MessageId next) const { return end_.load() != 0 && next >= end_.load(); }
  bool GiveUp(Actor& actor, const char* what) const;
  // Of a consumer: what it received belongs to a later turn than what it received before.
  bool HadAnotherTurn(const LogHistory::Reading& reading, const Received& received) const;
  Status SendOwned(Actor& actor, Producer& producer, LogHistory::Attempt attempt);

  struct Named {
    std::vector<std::vector<std::string>> batches;  // sequence 1 is the first
    int64_t term = 1;
  };

  const std::chrono::steady_clock::time_point give_up_ =
      std::chrono::steady_clock::now() + std::chrono::minutes(2);
  std::atomic<MessageId> end_{0};
  std::atomic<int> together_{0};
  std::atomic<int64_t> owner_term_{0};
  std::atomic<int> sdk_producers_{0};
  std::atomic<MessageId> acknowledged_{0};  // of the subscription
  mutable Mutex mu_;
  Named named_ STRATA_GUARDED_BY(mu_);
  // Of the subscription, whether or not they arrived.
  std::set<MessageId> sent_acknowledgements_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::testing
