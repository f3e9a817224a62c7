// ProduceStream: one call of strata.v1.Log/Produce.
//
//   OnReadDone -> waiting_ -> (window, the broker's room) -> Broker::AppendAsync
//                                                                  |
//   client <- response_ <- next_ <- slots_, in order of requests <-+ OnAppended
//
// It reads one request ahead, submits batches in order and writes whatever results have gathered
// each time the write before is done. Reading stops while limits.maxPending bytes, or 4,096
// batches, have no result (the window), and while the broker as a whole is at
// limits.maxPendingTotal; gRPC's flow control then stops the client. The first error ends the
// stream once every result before it is written.
//
// Every stream has a session of the broker (Broker::OpenProducer), which goes along with each of its
// batches. Half-closing ends it in peace: once all results are written, and an empty response to see
// that the client is there, the session is closed, which releases what it holds exclusively, and only
// then the status goes out. A stream that breaks, is
// cancelled or drained, or has an error just lets go of it: whoever produced may come back.
//
// Threads: gRPC's, the committer's (OnAppended) and the executors'. Everything below mu_ is under
// it, and every Start...() and Finish() is called under it, so none comes after Finish().
// Ownership: the object holds itself until OnDone; appends in flight hold it beyond that.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "server/call_context.h"
#include "strata/v1/log.pb.h"

namespace strata::server {

class ProduceStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public DrainableStream,
                            public std::enable_shared_from_this<ProduceStream> {
 public:
  // Begins the call; what a handler returns.
  static ProduceStream* Start(std::shared_ptr<CallContext> context, const std::string& peer);

  explicit ProduceStream(std::shared_ptr<CallContext> context) : context_(std::move(context)) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void Drain() override;

 private:
  // One submitted batch: no result yet, or its result.
  using Slot = std::optional<Result<AppendResult>>;
  // A batch that was read, and not yet with the broker.
  struct Waiting {
    Buffer batch;
    uint64_t sequence = 0;
    MessageId expected_next_id = 0;
  };

  // --- The opening request, and the end in peace; on the admin executor ---
  void BeginOpen(const v1::ProduceRequest& request, bool has_batch);
  void Open(const v1::ProduceOpen& open);
  void EndInPeaceLocked() STRATA_REQUIRES(mu_);
  void Close(const std::shared_ptr<broker::ProducerSession>& session);

  // --- Requests on their way in ---
  // Makes it the waiting batch; false, and the stream is to end, if the request is wrong.
  bool TakeBatchLocked(const v1::ProduceRequest& request, std::optional<Buffer> batch)
      STRATA_REQUIRES(mu_);
  // Submits the waiting batch as soon as window and room allow: now, or when called again.
  void Advance();
  // The same on an executor.
  void AdvanceLater();
  // True if the waiting batch may be submitted now; its slot is made. Otherwise somebody will call
  // Advance() again.
  bool BeginSubmitLocked() STRATA_REQUIRES(mu_);
  void OnAppended(uint64_t index, uint64_t bytes, const Result<AppendResult>& result);
  bool WindowOpenLocked() const STRATA_REQUIRES(mu_);

  // --- Results on their way out ---
  void CollectLocked() STRATA_REQUIRES(mu_);
  void EndLocked(Status status) STRATA_REQUIRES(mu_);
  // Starts whatever is due: a read, a write, the end.
  void ContinueLocked() STRATA_REQUIRES(mu_);
  void FinishLocked(const Status& status) STRATA_REQUIRES(mu_);

  const std::shared_ptr<CallContext> context_;
  StreamLimit::Place place_;             // from Start until the end
  std::shared_ptr<ProduceStream> self_;  // set by Start, reset by OnDone

  // Written by gRPC while a read is under way, and read only by OnReadDone.
  grpc::ByteBuffer request_;
  // Read by gRPC while a write is under way.
  grpc::ByteBuffer response_;

  Mutex mu_;
  bool opening_ STRATA_GUARDED_BY(mu_) = false;
  bool opened_ STRATA_GUARDED_BY(mu_) = false;
  std::string channel_ STRATA_GUARDED_BY(mu_);
  ChannelNumber channel_number_ STRATA_GUARDED_BY(mu_) = 0;
  // Let go of in OnDone, without the lock: what its end sets off is the broker's.
  std::shared_ptr<broker::ProducerSession> session_ STRATA_GUARDED_BY(mu_);

  bool reading_ STRATA_GUARDED_BY(mu_) = false;
  bool reads_done_ STRATA_GUARDED_BY(mu_) =
      false;  // half-closed by the client, or the client is gone
  bool half_closed_ STRATA_GUARDED_BY(mu_) = false;  // it is the former, once no write is under way
  bool closing_ STRATA_GUARDED_BY(mu_) = false;      // the session is being closed
  bool draining_ STRATA_GUARDED_BY(mu_) = false;
  bool refusing_ STRATA_GUARDED_BY(mu_) = false;  // something failed: submits nothing more

  std::optional<Waiting> waiting_ STRATA_GUARDED_BY(mu_);
  bool wants_room_ STRATA_GUARDED_BY(mu_) = false;  // the broker will wake us
  bool submitting_ STRATA_GUARDED_BY(mu_) = false;  // AppendAsync has not returned
  bool no_room_ STRATA_GUARDED_BY(mu_) = false;     // what it says in the end
  uint64_t in_flight_bytes_ STRATA_GUARDED_BY(mu_) = 0;
  uint64_t first_slot_ STRATA_GUARDED_BY(mu_) = 0;  // index of slots_.front()
  std::deque<Slot> slots_ STRATA_GUARDED_BY(mu_);

  bool writing_ STRATA_GUARDED_BY(mu_) = false;
  bool has_next_ STRATA_GUARDED_BY(mu_) = false;
  v1::ProduceResponse next_ STRATA_GUARDED_BY(mu_);  // goes out when the write under way is done
  std::optional<Status> ending_ STRATA_GUARDED_BY(mu_);
  bool finished_ STRATA_GUARDED_BY(mu_) = false;
};

}  // namespace strata::server
