// ConsumeStream: the BatchSource over a Consume call. What the daemon pushes within the credit
// waits here for Next(), which gives the credit back as batches are taken: when half of it is used
// up, so that the daemon always has credit while the queue is short and requests stay few.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "client/batch_reader.h"
#include "client/grpc/raw_stream.h"
#include "strata/v1/log.pb.h"

namespace strata {

class ConsumeStream final : public RawStream, public BatchSource {
 public:
  struct Options {
    std::string channel;
    std::string subscription;  // empty: a reader
    StartPosition start;
    uint64_t read_ahead = 0;
    std::string holder;
  };

  ConsumeStream(std::shared_ptr<Connection> connection, Options options);

  // Opens the stream and waits until the daemon has accepted it.
  static Result<std::shared_ptr<ConsumeStream>> Open(std::shared_ptr<Connection> connection,
                                                     Options options);
  OpenedAt opened_at() const;

  // --- BatchSource ---
  Result<ReceivedBatch> Next(std::chrono::milliseconds timeout) override;
  Result<MessageId> Seek(const StartPosition& to) override;
  Status Acknowledge(MessageId through) override;
  void Close() override;
  void End(const Status& why) override;

 private:
  Status WaitUntilOpened();
  void OnMessage(Buffer message) override;
  void OnEnd(const grpc::Status& status, uint64_t sent) override;
  void Deliver(ReceivedBatch batch) STRATA_REQUIRES(mu_);
  // Bytes of a batch that is out of the way, for the next request that gives credit.
  void Owe(const ReceivedBatch& batch) STRATA_REQUIRES(mu_);
  // What to give back now: 0, or at least half of the credit.
  int64_t TakeCredit() STRATA_REQUIRES(mu_);
  void GiveCredit(int64_t bytes);

  const Options options_;

  mutable Mutex mu_;
  CondVar changed_;
  std::optional<v1::ConsumeOpened> opened_ STRATA_GUARDED_BY(mu_);
  std::deque<ReceivedBatch> ready_ STRATA_GUARDED_BY(mu_);
  int64_t owed_ STRATA_GUARDED_BY(mu_) = 0;
  int seeks_ STRATA_GUARDED_BY(mu_) = 0;  // not yet answered: what comes belongs to the old place
  MessageId sought_ STRATA_GUARDED_BY(mu_) = 0;  // the last answer
  Status end_ STRATA_GUARDED_BY(mu_);     // of the stream; what was received before comes first
  Status closed_ STRATA_GUARDED_BY(mu_);  // by this side; nothing comes after it
};

}  // namespace strata
