// What the broker's tests speak in: a broker over a store in memory whose calls can be stopped and
// counted, and readers whose findings read as text.
//
//   TestBroker broker;
//   REQUIRE(broker.Create("logs"));
//   broker.store().syncs.Close();                       // the next sync waits
//   Answers answers;
//   broker.AppendAsync("logs", {"a", "b"}, &answers);
//   broker.store().syncs.AwaitWaiting(1);
//   CHECK(broker.Read("logs") == Lines{});              // written, not durable
//   broker.store().syncs.Open();
//   CHECK(answers.Await(1)[0].ok());
//   CHECK(broker.Read("logs") == Lines{"1 a", "2 b"});
#pragma once

#include <atomic>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "broker/broker.h"
#include "broker/options.h"
#include "client/testing/memory_store.h"
#include "storage/log_store.h"
#include "tests/support/forwarding_store.h"

namespace strata::testing {

// What a reader found, a line for each: "7 payload", "gap 3 to 5 TRIMMED", "CHANNEL_DELETED".
using Lines = std::vector<std::string>;

// Where calls wait while it is closed. Thread-safe.
class Gate {
 public:
  void Close();
  void Open();
  // Lets this many of the calls that wait, or the next ones, pass, and waits until they have.
  void LetPass(int calls);
  void AwaitWaiting(int calls);
  void Pass();
  int passed() const;

 private:
  mutable Mutex mu_;
  CondVar changed_;
  bool closed_ STRATA_GUARDED_BY(mu_) = false;
  int allowed_ STRATA_GUARDED_BY(mu_) = 0;
  int waiting_ STRATA_GUARDED_BY(mu_) = 0;
  int passed_ STRATA_GUARDED_BY(mu_) = 0;
};

// A MemoryStore behind gates. The MemoryStore is the disk: it outlives the broker that owns this.
class GatedStore : public ForwardingStore {
 public:
  explicit GatedStore(std::shared_ptr<MemoryStore> disk) : ForwardingStore(std::move(disk)) {}

  Gate writes;
  Gate syncs;
  Gate reads;
  // The threads of the last call.
  std::thread::id write_thread() const { return write_thread_.load(); }
  std::thread::id sync_thread() const { return sync_thread_.load(); }

  Status Write(const storage::WriteGroup& group) override;
  Status Sync() override;
  Result<std::vector<storage::ReadItem>> Read(ChannelNumber channel, MessageId from, MessageId end,
                                              size_t max_bytes) override;

 private:
  std::atomic<std::thread::id> write_thread_{};
  std::atomic<std::thread::id> sync_thread_{};
};

// The answers of asynchronous appends, in the order in which they came. Thread-safe; late ones may
// come after its end.
class Answers {
 public:
  broker::AppendCallback Callback();
  // Waits for at least so many.
  std::vector<Result<AppendResult>> Await(size_t count);
  size_t count() const;

 private:
  struct State {
    Mutex mu;
    CondVar changed;
    std::vector<Result<AppendResult>> answers STRATA_GUARDED_BY(mu);
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Counts calls of the functions that it hands out. Thread-safe; late ones may come after its end.
class Bell {
 public:
  std::function<void()> Ringer();
  // Waits for at least so many; false after 30 s.
  [[nodiscard]] bool Await(int rings);
  int rings() const;

 private:
  struct State {
    Mutex mu;
    CondVar changed;
    int rings STRATA_GUARDED_BY(mu) = 0;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

// An encoded batch of these payloads.
Buffer BatchOf(const std::vector<std::string>& payloads);
// Waits, without a clock, for what another thread is about to do; false after 30 s.
bool Eventually(const std::function<bool()>& condition);
// One line for one item; empty for AtEnd.
Lines ToLines(const broker::Reader::Item& item);
// Reads until AtEnd, or to the status that ends it.
Lines ReadToEnd(broker::Reader* reader);

// A broker whose clock stands still, over a new store or the given one.
class TestBroker {
 public:
  explicit TestBroker(broker::BrokerOptions options = {},
                      std::shared_ptr<MemoryStore> disk = std::make_shared<MemoryStore>());
  // The same over a store of the test's own, which may lie, and a start of its own.
  TestBroker(broker::BrokerOptions options, std::shared_ptr<MemoryStore> disk,
             std::unique_ptr<GatedStore> store, storage::Recovered recovered);
  // Opens all gates: a test that fails half-way must not wait for them.
  ~TestBroker();

  broker::Broker* operator->() { return broker_.get(); }
  broker::Broker& operator*() { return *broker_; }
  ManualClock& clock() { return *clock_; }
  MemoryStore& disk() { return *disk_; }  // also after the broker's end
  GatedStore& store() { return *store_; }
  // Ends the broker.
  void Destroy();
  // A broker on what a power cut now would leave, and the first `unsynced` groups of the rest.
  TestBroker AfterPowerCut(size_t unsynced = 0, broker::BrokerOptions options = {}) const;

  // --- Shorter than the broker's own, for the usual case ---
  bool Create(const std::string& channel) { return broker_->CreateChannel(channel, {}).ok(); }
  Result<AppendResult> Append(const std::string& channel,
                              const std::vector<std::string>& payloads) {
    return broker_->Append({channel, BatchOf(payloads), 0});
  }
  void AppendAsync(const std::string& channel, const std::vector<std::string>& payloads,
                   Answers* answers) {
    broker_->AppendAsync({channel, BatchOf(payloads), 0}, answers->Callback());
  }
  // As a named producer, without a session.
  Result<AppendResult> AppendAs(const std::string& producer, int64_t term, uint64_t sequence,
                                const std::string& payload, const std::string& channel = "logs");
  // Through a session; sequence 0 for a plain one.
  Result<AppendResult> AppendBy(const broker::OpenedProducer& producer, uint64_t sequence,
                                const std::string& payload);
  void AppendByAsync(const broker::OpenedProducer& producer, uint64_t sequence,
                     const std::string& payload, Answers* answers);
  std::unique_ptr<broker::Reader> Open(const std::string& channel, const StartPosition& start = {});
  // Takes hold of a subscription of it, exclusively.
  Result<std::unique_ptr<broker::Reader>> Hold(const std::string& channel,
                                               const std::string& subscription,
                                               const StartPosition& start,
                                               const std::string& holder) {
    return broker_->OpenSubscription({channel, subscription, start, holder});
  }
  // All that a reader finds from `start` on.
  Lines Read(const std::string& channel, const StartPosition& start = {}) {
    return ReadToEnd(Open(channel, start).get());
  }
  MessageId NextId(const std::string& channel) {
    return broker_->DescribeChannel(channel)->next_id;
  }
  ChannelNumber Number(const std::string& channel) {
    return broker_->DescribeChannel(channel)->number;
  }

 private:
  std::unique_ptr<ManualClock> clock_ = std::make_unique<ManualClock>();
  std::shared_ptr<MemoryStore> disk_;
  GatedStore* store_ = nullptr;
  std::unique_ptr<broker::Broker> broker_;
};

}  // namespace strata::testing
