// EmbeddedSource: the BatchSource over a broker's reader. Reads on the caller's thread; at the end
// of the channel, and while it waits for its turn with a subscription, the broker wakes it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "broker/broker.h"
#include "broker/standby.h"
#include "client/batch_reader.h"

namespace strata {

class EmbeddedSource final : public BatchSource {
 public:
  EmbeddedSource(std::shared_ptr<broker::Broker> broker, std::unique_ptr<broker::Reader> reader)
      : broker_(std::move(broker)), reader_(std::move(reader)), position_(reader_->position()) {}
  // With a subscription, and with `failover` perhaps not active yet. `open.news` is its own.
  static Result<std::shared_ptr<EmbeddedSource>> Subscribe(std::shared_ptr<broker::Broker> broker,
                                                           broker::SubscriptionOpen open,
                                                           bool failover);

  // Position 0 if it waits for its turn.
  OpenedAt opened_at() override;
  // The channel as of now, and where Next() goes on.
  Result<ChannelInfo> Describe(MessageId* position);

  Result<ReceivedBatch> Next(std::chrono::milliseconds timeout) override;
  Result<MessageId> Seek(const StartPosition& to) override;
  Status Acknowledge(MessageId through) override;
  // The broker takes note at once.
  Status AcknowledgeAsync(MessageId through) override { return Acknowledge(through); }
  // Next() finds out when its turn has come.
  bool active() const override { return position() != 0; }
  MessageId position() const override { return position_.load(std::memory_order_relaxed); }
  void Close() override;
  void End(const Status& why) override;

 private:
  // What ends a wait. Shared with the broker's wake-ups, which may come after this object.
  struct Signal {
    Mutex mu;
    CondVar changed;
    bool woken STRATA_GUARDED_BY(mu) = false;
    Status closed STRATA_GUARDED_BY(mu);

    void Wake() {
      MutexLock lock(mu);
      woken = true;
      changed.NotifyAll();
    }
  };

  explicit EmbeddedSource(std::shared_ptr<broker::Broker> broker) : broker_(std::move(broker)) {}

  // The reader is there, or its turn has come; false: not yet.
  Result<bool> HasReader() STRATA_REQUIRES(mu_);
  // OK if there is a reader to call.
  Status CheckActive() STRATA_REQUIRES(mu_);
  // True when there may be something new; false when the time is over.
  bool WaitUntilWoken(std::chrono::steady_clock::time_point deadline);
  Status Closed();

  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();

  // Held while receiving, but not during the wait. End() sets signal_->closed first.
  Mutex mu_;  // before signal_->mu
  std::shared_ptr<broker::Broker> broker_ STRATA_GUARDED_BY(mu_);
  // One of the two; null once closed.
  std::unique_ptr<broker::Reader> reader_ STRATA_GUARDED_BY(mu_);
  std::unique_ptr<broker::Standby> standby_ STRATA_GUARDED_BY(mu_);
  Status end_ STRATA_GUARDED_BY(mu_);   // what the reader ended with
  std::atomic<MessageId> position_{0};  // 0: it waits for its turn
};

}  // namespace strata
