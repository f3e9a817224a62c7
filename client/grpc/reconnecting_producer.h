// ReconnectingProducer: the BatchTransport over gRPC. Numbers batches, keeps each until it has its
// result, and when the stream breaks opens another and sends again what has none.
//
//   Submit -> unanswered_ -> ProduceStream ... result -> done
//                 ^              | breaks
//                 +-- recovery thread: pause, open again, compare, send again
//
// Why nothing is stored twice or lost: each batch goes out under the same number of the same producer
// name, and the daemon answers a number that it has stored with the first result. Opening again takes
// the name over from the streams before (ProduceOpen.instance), so that what still lies in their
// sockets cannot come between; from the answer on, `last_sequence` says for certain what is stored.
//
// What is final: whatever the daemon itself says, except that it is shutting down; a channel or store
// that is another one now (CHANNEL_RECREATED); fewer batches stored than were acknowledged
// (OUT_OF_SEQUENCE); and not being back within ClientOptions::reconnect_timeout.
//
// Threads: any. The recovery thread exists while the stream is broken.
#pragma once

#include <memory>
#include <string>

#include "client/batching_producer.h"
#include "client/grpc/connection.h"

namespace strata {

class ReconnectingProducer final : public BatchTransport {
 public:
  // Opens the producer; comes back like a call that may be made again (Connection::Persist).
  static Result<std::unique_ptr<ReconnectingProducer>> Open(
      const std::shared_ptr<Connection>& connection, const std::string& channel,
      const ProducerOptions& options);
  ~ReconnectingProducer() override;

  const BatchingProducer::Opened& opened() const { return opened_; }

  void Submit(Buffer batch, uint32_t count, Done done) override;
  Status Finish() override;
  void Abort() override;

 private:
  class Core;
  ReconnectingProducer(std::shared_ptr<Core> core, BatchingProducer::Opened opened)
      : core_(std::move(core)), opened_(std::move(opened)) {}

  // Shared with streams and with the recovery thread.
  const std::shared_ptr<Core> core_;
  const BatchingProducer::Opened opened_;
};

}  // namespace strata
