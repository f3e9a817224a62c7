#include "client/grpc/connection.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>

#include <algorithm>
#include <thread>
#include <utility>

#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "client/calls.h"
#include "client/deadline.h"
#include "proto/convert.h"
#include "proto/freed_memory.h"
#include "proto/grpc_lifetime.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"

namespace strata {
namespace {

grpc::ChannelArguments Arguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // The daemon bounds what one connection may have pending, so each client has its own.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A ping after half of the time without any sign of life, and the other half to answer it.
  // The daemon takes pings half a second apart or more for an attack.
  const int half =
      static_cast<int>(std::clamp<int64_t>(options.keepalive.count() / 2, 600, 1 << 30));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, half);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, half);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A restarted daemon is to be found soon: gRPC's default backs off up to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // This is not a pause but what one attempt may take, the daemon's first frame included: a busy
  // machine needs more than the 100 ms that it was.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Neither a proxy from the environment nor the name server has a say in where the data goes.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  return arguments;
}

thread_local bool on_grpc_thread = false;

}  // namespace

GrpcThread::GrpcThread() { on_grpc_thread = true; }
GrpcThread::~GrpcThread() { on_grpc_thread = false; }
bool GrpcThread::IsThis() { return on_grpc_thread; }

Connection::Connection(std::string address, const ClientOptions& options,
                       std::shared_ptr<grpc::Channel> channel)
    : address_(std::move(address)),
      options_(options),
      log_(options.log, options.log_level),
      admin_(v1::Admin::NewStub(channel)),
      raw_(std::make_unique<grpc::GenericStub>(channel)) {}

Result<std::shared_ptr<Connection>> Connection::Open(const std::string& address,
                                                     const Address& parsed,
                                                     const ClientOptions& options) {
  KeepGrpcInitialized();
  KeepFreedMemory();
  std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
      parsed.target, grpc::InsecureChannelCredentials(), Arguments(options));
  std::shared_ptr<Connection> connection(new Connection(address, options, std::move(channel)),
                                         &Connection::Destroy);
  STRATA_RETURN_IF_ERROR(connection->Greet());
  return connection;
}

void Connection::Destroy(Connection* connection) {
  if (GrpcThread::IsThis()) {
    std::thread([connection] { delete connection; }).detach();
  } else {
    delete connection;
  }
}

Status Connection::Greet() {
  grpc::ClientContext context;
  SetDeadline(&context, options_.connect_timeout);
  v1::GetServerInfoResponse response;
  const grpc::Status status = admin_->GetServerInfo(&context, {}, &response);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return NothingAppended(Status(
        Reason::CONNECTION_LOST, address_ + ": no answer within " +
                                     std::to_string(options_.connect_timeout.count()) +
                                     " ms (connect_timeout); is it a stratad that listens there?"));
  }
  if (!status.ok()) return ToStatus(status, DataFate::kNotApplicable);
  server_ = FromProto(response);
  log_.Debug("connected to {}: stratad {}, store {}", address_, server_.version, server_.store_id);
  return Status::Ok();
}

void Connection::SetDeadline(grpc::ClientContext* context, std::chrono::milliseconds timeout) {
  context->set_deadline(std::chrono::system_clock::now() + BoundedTimeout(timeout));
}

std::chrono::steady_clock::time_point Connection::PersistUntil() const {
  return DeadlineAfter(std::min(options_.call_timeout, options_.reconnect_timeout));
}

bool Connection::PauseUntil(std::chrono::steady_clock::time_point until,
                            std::chrono::steady_clock::time_point deadline) {
  if (until > deadline) return false;
  MutexLock lock(mu_);
  while (!interrupted_ && std::chrono::steady_clock::now() < until) {
    interrupted_changed_.WaitUntil(mu_, until);
  }
  return !interrupted_;
}

void Connection::Interrupt() {
  MutexLock lock(mu_);
  interrupted_ = true;
  interrupted_changed_.NotifyAll();
}

std::chrono::milliseconds Connection::OpenTimeout() const {
  return BoundedTimeout(std::min(options_.call_timeout, options_.keepalive));
}

Result<Buffer> Connection::CallRaw(const std::string& method, const grpc::ByteBuffer& request,
                                   DataFate fate, std::chrono::milliseconds wait) {
  grpc::ClientContext context;
  SetDeadline(&context, options_.call_timeout + BoundedTimeout(wait));
  // A queue of its own, so that the answer comes on this thread without a hand-over.
  grpc::CompletionQueue queue;
  grpc::ByteBuffer response;
  grpc::Status status;
  const auto call = raw_->PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  if (!status.ok()) return ToStatus(status, fate);
  return ToBuffer(response);
}

void Connection::PrepareStream(
    grpc::ClientContext* context, const std::string& method,
    grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* reactor) {
  raw_->PrepareBidiStreamingCall(context, method, {}, reactor);
}

Status Connection::ToStatus(const grpc::Status& status, DataFate fate) const {
  if (fate == DataFate::kNotApplicable && !status.ok()) {
    return NothingAppended(ToStatus(status, DataFate::kMayHaveBeenAppended));
  }
  // Without details it is not the daemon that speaks: the call never reached it, or broke.
  if (!status.ok() && status.error_details().empty()) {
    switch (status.error_code()) {
      case grpc::StatusCode::UNAVAILABLE:
      case grpc::StatusCode::CANCELLED:
      // How gRPC reports a stream that a proxy, say, has cut in the middle of a frame.
      case grpc::StatusCode::INTERNAL:
      case grpc::StatusCode::UNKNOWN:
        return Status(Reason::CONNECTION_LOST, address_ + ": " + status.error_message())
            .WithFate(fate);
      case grpc::StatusCode::DEADLINE_EXCEEDED:
        return Status(Reason::TIMEOUT, address_ + ": no answer within " +
                                           std::to_string(options_.call_timeout.count()) +
                                           " ms (call_timeout)")
            .WithFate(fate);
      default:
        break;
    }
  }
  return FromGrpc(status, fate);
}

}  // namespace strata
