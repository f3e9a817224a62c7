// ProduceStream: one Produce call. Batches are pipelined; results come in the order of the batches.
// What outlives the call, numbering and sending again, is ReconnectingProducer's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "client/grpc/raw_stream.h"
#include "client/types.h"
#include "strata/v1/log.pb.h"

namespace strata {

class ProduceStream final : public RawStream {
 public:
  // Called on threads of gRPC, one after the other, without a lock of the stream.
  struct Events {
    // Of the next batches without a result, in order.
    std::function<void(std::vector<AppendResult>)> results;
    // Nothing comes any more. `why` is OK if the stream was half-closed and everything answered;
    // otherwise it speaks of the first batch without a result.
    std::function<void(const Status& why)> end;
  };

  ProduceStream(std::shared_ptr<Connection> connection, Events events)
      : RawStream(std::move(connection)), events_(std::move(events)) {}

  // Begins the call; AwaitOpened() tells how it goes.
  static std::shared_ptr<ProduceStream> Open(std::shared_ptr<Connection> connection,
                                             const v1::ProduceOpen& open, Events events);
  // REQUIRES: AwaitOpened() was OK.
  v1::ProduceOpened opened() const;
  // After all that was submitted before.
  void Submit(uint64_t sequence, const Buffer& batch);

 private:
  void OnMessage(Buffer message) override;
  void OnEnd(const grpc::Status& status, uint64_t sent) override;

  const Events events_;
  mutable Mutex mu_;
  v1::ProduceOpened opened_ STRATA_GUARDED_BY(mu_);
  Status broken_ STRATA_GUARDED_BY(mu_);  // the daemon's answer made no sense
};

}  // namespace strata
