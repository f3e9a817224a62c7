// EmbeddedSource: the BatchSource over a broker's reader. Reads on the caller's thread; at the end
// of the channel the broker wakes it.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "broker/broker.h"
#include "client/batch_reader.h"

namespace strata {

class EmbeddedSource final : public BatchSource {
 public:
  EmbeddedSource(std::shared_ptr<broker::Broker> broker, std::unique_ptr<broker::Reader> reader,
                 std::string channel, std::string subscription)
      : channel_(std::move(channel)),
        subscription_(std::move(subscription)),
        broker_(std::move(broker)),
        reader_(std::move(reader)) {}

  OpenedAt opened_at();
  // The channel as of now, and where Next() goes on.
  Result<ChannelInfo> Describe(MessageId* position);

  Result<ReceivedBatch> Next(std::chrono::milliseconds timeout) override;
  Result<MessageId> Seek(const StartPosition& to) override;
  Status Acknowledge(MessageId through) override;
  void Close() override;
  void End(const Status& why) override;

 private:
  // What ends a wait. Shared with the broker's wake-ups, which may come after this object.
  struct Signal {
    Mutex mu;
    CondVar changed;
    bool woken STRATA_GUARDED_BY(mu) = false;
    Status closed STRATA_GUARDED_BY(mu);
  };

  // True when there may be something new; false when the time is over.
  bool WaitUntilWoken(std::chrono::steady_clock::time_point deadline);
  Status Closed();

  const std::string channel_;
  const std::string subscription_;  // empty: a reader
  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();

  // Held while receiving, the wait included: End() sets signal_->closed first, which ends the wait.
  Mutex mu_;  // before signal_->mu
  std::shared_ptr<broker::Broker> broker_ STRATA_GUARDED_BY(mu_);
  std::unique_ptr<broker::Reader> reader_ STRATA_GUARDED_BY(mu_);  // null once closed
  Status end_ STRATA_GUARDED_BY(mu_);                              // what the reader ended with
};

}  // namespace strata
