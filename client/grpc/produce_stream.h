// ProduceStream: the BatchTransport over a Produce call. Batches are pipelined; results come in
// the order of the batches.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "client/batching_producer.h"
#include "client/grpc/raw_stream.h"
#include "strata/v1/log.pb.h"

namespace strata {

class ProduceStream final : public RawStream {
 public:
  explicit ProduceStream(std::shared_ptr<Connection> connection)
      : RawStream(std::move(connection)) {}

  // Opens the stream and waits until the daemon has accepted it.
  static Result<std::shared_ptr<ProduceStream>> Open(std::shared_ptr<Connection> connection,
                                                     const std::string& channel,
                                                     const ProducerOptions& options);

  ChannelNumber channel_number() const;
  // See BatchTransport.
  void Submit(Buffer batch, BatchTransport::Done done);

 private:
  Status WaitUntilOpened();
  void OnMessage(Buffer message) override;
  void OnEnd(const grpc::Status& status, uint64_t sent) override;

  mutable Mutex mu_;
  CondVar changed_;
  std::optional<v1::ProduceOpened> opened_ STRATA_GUARDED_BY(mu_);
  std::deque<BatchTransport::Done> unanswered_ STRATA_GUARDED_BY(mu_);
  uint64_t submitted_ STRATA_GUARDED_BY(mu_) = 0;
  Status end_ STRATA_GUARDED_BY(mu_);  // not OK once the stream has ended or must end
};

// What the producer owns of the stream.
class ProduceTransport final : public BatchTransport {
 public:
  explicit ProduceTransport(std::shared_ptr<ProduceStream> stream) : stream_(std::move(stream)) {}
  ~ProduceTransport() override { stream_->Cancel(); }

  void Submit(Buffer batch, uint32_t /*count*/, Done done) override {
    stream_->Submit(std::move(batch), std::move(done));
  }
  void Finish() override { stream_->End(); }
  void Abort() override;

 private:
  const std::shared_ptr<ProduceStream> stream_;
};

}  // namespace strata
