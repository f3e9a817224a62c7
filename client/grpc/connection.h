// Connection: the way to one daemon. Owns the gRPC channel and its stubs, gives calls their
// deadlines and turns what gRPC says into Status.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/address.h"
#include "client/backoff.h"
#include "client/calls.h"
#include "client/connect.h"
#include "proto/callback_threads.h"
#include "strata/v1/admin.grpc.pb.h"
#include "strata/v1/log.grpc.pb.h"

namespace strata {

// Marks the present thread, for a scope, as one of gRPC's that runs a callback of ours.
class GrpcThread {
 public:
  GrpcThread();
  ~GrpcThread();
  GrpcThread(const GrpcThread&) = delete;
  GrpcThread& operator=(const GrpcThread&) = delete;

  static bool IsThis();
};

// Thread-safe. Shared by a client and everything opened from it.
//
// The last channel of a process that goes joins gRPC's callback threads. On one of those it would
// join itself, and gRPC 1.51 aborts the process; so a connection whose last share is let go of
// there is destroyed on a thread of its own.
class Connection {
 public:
  // Returns once the daemon has told about itself.
  static Result<std::shared_ptr<Connection>> Open(const std::string& address, const Address& parsed,
                                                  const ClientOptions& options);

  const ClientOptions& options() const { return options_; }
  const ServerInfo& server() const { return server_; }

  // A unary call of the administration.
  template <typename Request, typename Response>
  Result<Response> Call(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
                        const Request& request) {
    grpc::ClientContext context;
    SetDeadline(&context, options_.call_timeout);
    Response response;
    const grpc::Status status = (admin_.get()->*method)(&context, request, &response);
    if (!status.ok()) return ToStatus(status, DataFate::kNotApplicable);
    return response;
  }

  // A unary call of the data path, as bytes. `fate`: see ToStatus(). `wait` is how much longer than
  // usual the answer may take.
  Result<Buffer> CallRaw(const std::string& method, const grpc::ByteBuffer& request, DataFate fate,
                         std::chrono::milliseconds wait = {});

  // Calls `attempt`, which returns a Status or a Result, again while the connection is broken, with
  // pauses, for as long as a call may take: for what may be asked twice.
  template <typename Attempt>
  auto Persist(Attempt attempt) -> decltype(attempt()) {
    const auto deadline = PersistUntil();
    for (Backoff backoff;;) {
      auto answer = attempt();
      if (answer.ok() || !IsBrokenConnection(StatusOf(answer)) ||
          !PauseUntil(std::chrono::steady_clock::now() + backoff.Next(), deadline)) {
        return answer;
      }
    }
  }
  // Ends the pauses of Persist(), for good.
  void Interrupt();
  // How long one attempt to open a stream again may take.
  std::chrono::milliseconds OpenTimeout() const;

  // Binds a stream to a reactor; RawStream starts it.
  void PrepareStream(grpc::ClientContext* context, const std::string& method,
                     grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* reactor);

  // An error without an answer of the daemon becomes CONNECTION_LOST or TIMEOUT with the address.
  // `fate` is what is known of the data then; kNotApplicable: the call appends nothing at all.
  Status ToStatus(const grpc::Status& status, DataFate fate) const;

 private:
  Connection(std::string address, const ClientOptions& options,
             std::shared_ptr<grpc::Channel> channel);
  Status Greet();
  static void Destroy(Connection* connection);
  static void SetDeadline(grpc::ClientContext* context, std::chrono::milliseconds timeout);
  static const Status& StatusOf(const Status& status) { return status; }
  template <typename T>
  static Status StatusOf(const Result<T>& result) {
    return result.status();
  }
  std::chrono::steady_clock::time_point PersistUntil() const;
  // False if `until` is behind the deadline, or it was interrupted.
  bool PauseUntil(std::chrono::steady_clock::time_point until,
                  std::chrono::steady_clock::time_point deadline);

  // --- Constant after Open() ---
  const std::string address_;
  const ClientOptions options_;
  const Logger log_;
  const std::shared_ptr<CallbackThreadsKeeper> callback_threads_ = KeepCallbackThreadsLooking();
  const std::unique_ptr<v1::Admin::Stub> admin_;
  const std::unique_ptr<grpc::GenericStub> raw_;
  ServerInfo server_;

  Mutex mu_;
  CondVar interrupted_changed_;
  bool interrupted_ STRATA_GUARDED_BY(mu_) = false;
};

}  // namespace strata
