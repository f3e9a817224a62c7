// FetchCall: one call of strata.v1.Log/Fetch.
//
// Collects on the `reads` executor until there is something to answer; otherwise waits for the
// reader's wake-up or an alarm at max_wait, whichever comes first, without a thread.
//
// Ownership: the object holds itself until OnDone; tasks in executors hold it beyond that.
#pragma once

#include <grpcpp/alarm.h>

#include <memory>
#include <optional>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "base/mutex.h"
#include "broker/reader.h"
#include "server/call_context.h"
#include "strata/v1/log.pb.h"

namespace strata::server {

class FetchCall final : public grpc::ServerUnaryReactor,
                        public DrainableStream,
                        public std::enable_shared_from_this<FetchCall> {
 public:
  // Begins the call; what a handler returns. `response` lives until OnDone.
  static FetchCall* Start(std::shared_ptr<CallContext> context, const std::string& peer,
                          const grpc::ByteBuffer& request, grpc::ByteBuffer* response);

  FetchCall(std::shared_ptr<CallContext> context, grpc::ByteBuffer* response)
      : context_(std::move(context)), response_(response) {}

  void OnCancel() override;
  void OnDone() override;
  void Drain() override;

 private:
  // Lets one thread of the `reads` executor at a time run Collect().
  void Advance();
  void Run();
  // An answer, or nothing yet.
  std::optional<Status> Collect();
  Status Open();
  // Once, after the first look found nothing.
  void ArmAlarm();
  void EndLocked(Status status) STRATA_REQUIRES(mu_);

  const std::shared_ptr<CallContext> context_;
  grpc::ByteBuffer* const response_;
  StreamLimit::Place place_;         // from Start until the end
  v1::FetchRequest request_;         // constant after Start
  std::shared_ptr<FetchCall> self_;  // set by Start, reset by OnDone

  // Of the thread that runs.
  std::unique_ptr<broker::Reader> reader_;
  bool armed_ = false;
  grpc::Alarm alarm_;

  Mutex mu_;
  bool running_ STRATA_GUARDED_BY(mu_) = false;
  bool again_ STRATA_GUARDED_BY(mu_) = false;
  bool time_over_ STRATA_GUARDED_BY(mu_) = false;
  std::optional<Status> ending_ STRATA_GUARDED_BY(mu_);  // ended from outside
};

}  // namespace strata::server
