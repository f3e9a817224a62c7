// EmbeddedTransport: the BatchTransport over a broker in this process.
//
// The broker bounds what all its appends have pending (limits.maxPendingTotal) and refuses beyond;
// here a batch without room waits for it, with all that follow, so that producers which share a
// broker slow down instead of failing.
#pragma once

#include <memory>
#include <string>

#include "broker/broker.h"
#include "client/batching_producer.h"

namespace strata {

class EmbeddedTransport final : public BatchTransport {
 public:
  // `named`: the session's batches are numbered.
  EmbeddedTransport(std::shared_ptr<broker::Broker> broker, const broker::OpenedProducer& opened,
                    std::string channel, bool named);
  ~EmbeddedTransport() override;

  void Submit(Buffer batch, uint32_t count, Done done) override;
  Status Finish() override;
  // Lets go of the broker: appends under way hold this object, and must not be what closes the
  // broker that answers them.
  void Abort() override;

 private:
  class Queue;
  // Shared with the appends under way and with the broker's wake-up.
  const std::shared_ptr<Queue> queue_;
};

}  // namespace strata
