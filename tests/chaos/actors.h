// Who produces and consumes while everything breaks: plain programs without a line of retrying. Each
// opens what it needs once and has a thread of its own; what it must not see is its problem().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "client/client.h"
#include "tests/chaos/calls.h"
#include "tests/crash/load.h"

namespace strata::testing {

// What calls answer later than they are asked to for at most: a daemon that is killed and restarted,
// silence that only the keepalive ends, pauses between attempts.
inline constexpr std::chrono::seconds kChaosSlack{40};
// How long one call of the chaos may take by its own options (ClientOptions::call_timeout).
inline constexpr std::chrono::seconds kCallTimeout{5};

// The first thing that went wrong.
class Problem {
 public:
  void Set(std::string what) {
    MutexLock lock(mu_);
    if (what_.empty()) what_ = std::move(what);
  }
  std::string get() {
    MutexLock lock(mu_);
    return what_;
  }

 private:
  Mutex mu_;
  std::string what_ STRATA_GUARDED_BY(mu_);
};

// Sends stamped messages in bursts until told to stop; then flushes and closes. Every message must be
// answered with OK, once, in the order of sending, with a growing id.
class ChaosProducer {
 public:
  // `number` is the stamp's.
  ChaosProducer(std::unique_ptr<Producer> producer, std::string channel, uint32_t number,
                uint64_t seed, Calls* calls);
  ~ChaosProducer();

  const std::string& channel() const { return channel_; }
  uint32_t number() const { return number_; }

  void Stop();  // and waits for Flush() and Close()
  std::string problem();
  uint64_t acknowledged();
  // By counter, all of them. REQUIRES: stopped.
  const std::vector<MessageId>& ids() const { return ids_; }

 private:
  void Run(uint64_t seed);
  bool SendOne(uint32_t counter);
  void Answered(uint32_t counter, const Result<MessageId>& id);

  const std::unique_ptr<Producer> producer_;
  const std::string channel_;
  const uint32_t number_;
  Calls* const calls_;
  Problem problem_;
  Mutex mu_;
  CondVar stopped_;
  bool stop_ STRATA_GUARDED_BY(mu_) = false;
  std::vector<MessageId> ids_;  // the callbacks', which come one after the other, then the owner's
  std::atomic<uint64_t> acknowledged_{0};
  std::thread thread_;
};

// Reads one channel until it has reached an end that it is told later. A reader, or a consumer with a
// subscription that acknowledges what it receives.
class ChaosReader {
 public:
  enum class Order {
    kDense,   // it receives every id, from the first one, once
    kRising,  // somebody else receives some of them: ids only rise
  };
  ChaosReader(std::unique_ptr<Reader> reader, std::string name, Order order, Calls* calls)
      : ChaosReader(std::move(reader), nullptr, std::move(name), order, calls) {}
  ChaosReader(std::unique_ptr<Consumer> consumer, std::string name, Order order, Calls* calls);
  ~ChaosReader();

  const std::string& name() const { return name_; }
  // Everything below `end` is to be received, if kDense.
  void ReadUntil(MessageId end) { end_ = end; }
  MessageId position() const { return next_; }
  bool done() const { return done_; }
  // Gives up, closes.
  void Stop();
  std::string problem();

  // What was received: (producer, counter) is by the index of the id, counted from 1. REQUIRES: done
  // or stopped.
  const std::vector<crash::Stamp>& received() const { return received_; }
  // Ids that were received, by index. REQUIRES: as above.
  bool Has(MessageId id) const {
    return id < static_cast<MessageId>(has_.size()) && has_[static_cast<size_t>(id)];
  }
  MessageId acknowledged() const { return acknowledged_; }

 private:
  ChaosReader(std::pair<std::unique_ptr<Reader>, Consumer*> both, std::string name, Order order,
              Calls* calls);
  ChaosReader(std::unique_ptr<Reader> reader, Consumer* consumer, std::string name, Order order,
              Calls* calls);
  void Run();
  bool Note(const ReceivedBatch& batch);
  bool Acknowledge(MessageId through);

  const std::unique_ptr<Reader> reader_;
  Consumer* const consumer_;  // the same, or null
  const std::string name_;
  const Order order_;
  Calls* const calls_;
  Problem problem_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> done_{false};
  std::atomic<MessageId> end_{0};  // 0: not known yet
  std::atomic<MessageId> next_{1};
  MessageId acknowledged_ = 0;
  std::vector<crash::Stamp> received_;
  std::vector<bool> has_;
  std::thread thread_;
};

// Asks and fetches all the time. Refusals for want of a connection are fine; each must come in time.
class ChaosAsker {
 public:
  ChaosAsker(std::unique_ptr<Client> client, std::string channel, Calls* calls);
  ~ChaosAsker() { Stop(); }
  void Stop();
  std::string problem() { return problem_.get(); }

 private:
  void Run();
  void Note(const char* what, const Status& status);

  const std::unique_ptr<Client> client_;
  const std::string channel_;
  Calls* const calls_;
  Problem problem_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// What is wrong with a whole channel as one reader received it, in a sentence, or "": every message of
// every producer once, in the order of sending, under the id that its producer was told.
std::string CheckChannel(const std::vector<crash::Stamp>& received,
                         const std::vector<const ChaosProducer*>& producers);

}  // namespace strata::testing
