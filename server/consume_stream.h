// ConsumeStream: one call of strata.v1.Log/Consume.
//
// Whatever happens (a request, a write that is done, the reader's wake-up, cancellation, draining)
// notes itself under mu_ and calls Advance(). Advance() lets one thread at a time take steps, each
// decided under mu_ and done without it, until nothing is due: open, acknowledge, seek, announce,
// deliver, end. That thread leaves under the lock that showed it nothing to do, so nothing is
// missed; and the reader, which wants one thread at a time, is touched by it alone.
//
// Opening may take long (consume_opening.h): until there is a reader the stream takes credit, and
// may end at any moment.
//
// A step that would wait for storage moves to the `reads` executor and goes on there. At the end of
// the channel the reader wakes the stream when more is durable: there is no timer. After a lone small
// append the thread that completed it goes on with the stream itself (broker::SpareTime), else the
// `wakes` executor does. One batch at a time is written, and the next only after gRPC has taken it.
// From storage one more is read meanwhile, within a budget of all readers (broker/reader.h), so that
// reading and writing overlap and a stream that is behind mostly stays on one thread. So a consumer
// that stops reading costs one batch of memory, or two of those that the budget lets, and nothing
// else.
//
// Ownership: the object holds itself until OnDone; tasks in executors hold it beyond that.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "broker/reader.h"
#include "server/call_context.h"
#include "server/consume_opening.h"
#include "strata/v1/log.pb.h"

namespace strata::server {

class ConsumeStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public DrainableStream,
                            public std::enable_shared_from_this<ConsumeStream> {
 public:
  // Begins the call; what a handler returns. `peer` is the holder's name if the client gives none.
  static ConsumeStream* Start(std::shared_ptr<CallContext> context, std::string peer);

  ConsumeStream(std::shared_ptr<CallContext> context, std::string peer)
      : context_(std::move(context)), peer_(std::move(peer)) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void Drain() override;

 private:
  enum class Phase { kNew, kOpening, kOpen };
  enum class Step { kNothing, kRequest, kOpen, kAnnounce, kNews, kDeliver, kReadAhead, kEnd };
  // Where a step went on.
  enum class Outcome { kDone, kNeedsToWait };

  void Advance();
  // Takes steps until nothing is due. REQUIRES: running_ was set by the caller.
  void Run(bool may_wait);
  // Does what `step` says.
  Outcome Take(Step step, bool may_wait);
  void StartDueWrite();
  // Goes on with Run on the executor of calls that wait.
  void RunWhereWaitingIsAllowed();
  Step NextStepLocked() STRATA_REQUIRES(mu_);

  // --- The steps; without the lock, by the thread that runs ---
  Outcome HandleRequest(bool may_wait);
  Status HandleFirst(v1::ConsumeRequest* request);
  Status Control(v1::ConsumeRequest* request, bool may_wait, bool* needs_to_wait);
  Outcome Open(bool may_wait);
  void TellNews();
  Outcome Deliver(bool may_wait);
  Outcome ReadAhead(bool may_wait);
  void WaitForMore();
  void End();

  // Submits `what` to the executor of wake-ups, or does it at once where there is time for it; holds
  // this stream weakly.
  std::function<void()> Waker(void (ConsumeStream::*what)());
  void NoteNews();
  void NoteMore();

  void EndLocked(Status status) STRATA_REQUIRES(mu_);
  void WriteItemLocked(const broker::Reader::Item& item) STRATA_REQUIRES(mu_);
  void WriteLocked(grpc::ByteBuffer response) STRATA_REQUIRES(mu_);
  void ReadLocked() STRATA_REQUIRES(mu_);

  const std::shared_ptr<CallContext> context_;
  const std::string peer_;
  StreamLimit::Place place_;             // from Start until the end
  std::shared_ptr<ConsumeStream> self_;  // set by Start, reset by OnDone

  // --- Of the thread that runs ---
  std::unique_ptr<ConsumeOpening> opening_;
  bool looked_ = false;  // how far opening goes at once
  std::unique_ptr<broker::Reader> reader_;
  bool may_read_ahead_ = false;  // what is being written came from storage; once for each
  bool write_is_due_ = false;    // outgoing_ is to be given to gRPC, once mu_ is let go of

  // Written by gRPC while a read is under way, read by OnReadDone.
  grpc::ByteBuffer incoming_;
  // Read by gRPC while a write is under way.
  grpc::ByteBuffer outgoing_;

  Mutex mu_;
  bool running_ STRATA_GUARDED_BY(mu_) = false;
  std::optional<v1::ConsumeRequest> request_ STRATA_GUARDED_BY(mu_);  // not handled yet
  // `standby`, `opened` or `sought`, to be written before the next delivery.
  std::optional<v1::ConsumeResponse> announcement_ STRATA_GUARDED_BY(mu_);
  Phase phase_ STRATA_GUARDED_BY(mu_) = Phase::kNew;
  // Opening may get further, or the reader has news, perhaps.
  bool news_ STRATA_GUARDED_BY(mu_) = false;
  bool at_end_ STRATA_GUARDED_BY(mu_) = false;  // nothing to deliver until the reader wakes us
  int64_t credit_ STRATA_GUARDED_BY(mu_) = 0;
  bool writing_ STRATA_GUARDED_BY(mu_) = false;
  bool broken_ STRATA_GUARDED_BY(mu_) = false;  // cancelled or disconnected: writes are pointless
  std::optional<Status> ending_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::server
