#include "server/server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <utility>

#include <grpcpp/ext/proto_server_reflection_plugin.h>

#include "proto/callback_threads.h"
#include "proto/grpc_lifetime.h"
#include "server/admin_service.h"
#include "server/call_context.h"
#include "server/health.h"
#include "server/http.h"
#include "server/listen.h"
#include "server/log_service.h"
#include "server/metrics.h"

namespace strata::server {
namespace {

using Clock = std::chrono::steady_clock;

// What a request may have beyond the largest batch before gRPC itself refuses it, without our
// reasons: enough that a batch that is a little too large is told so by the broker.
constexpr uint64_t kRequestSlack = 1u << 20;

// What cancelled calls get to come to their end.
constexpr std::chrono::milliseconds kCancelGrace{1000};

void ConfigureChannel(const broker::Config& config, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(
      static_cast<int>(config.broker.limits.max_batch() + kRequestSlack));
  builder->SetMaxSendMessageSize(-1);
  // A port in use must be an error, not a port shared with another server.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Half of the time for being silent, half for answering.
  const auto half = static_cast<int>(config.server.keepalive.count() / 2);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, half);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, half);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Clients do the same, perhaps with less patience.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
}

}  // namespace

// Members in the order of their lives: the server is destroyed first, the context last.
struct Server::Grpc {
  const std::shared_ptr<CallbackThreadsKeeper> callback_threads = KeepCallbackThreadsLooking();
  std::shared_ptr<CallContext> context;
  std::unique_ptr<LogService> log;
  std::unique_ptr<AdminService> admin;
  std::unique_ptr<grpc::Server> server;
};

Server::Server(broker::Config config, Logger log)
    : config_(std::move(config)),
      log_(log),
      health_(std::make_shared<Health>(log)),
      metrics_(std::make_shared<Metrics>()) {}

Server::~Server() { Stop(); }

Status Server::StartHttp() {
  if (config_.http.address.empty() || http_) return Status();
  STRATA_ASSIGN_OR_RETURN(http_, HttpServer::Start(config_.http, health_, metrics_));
  return Status();
}

std::string Server::http_address() const { return http_ ? http_->address() : ""; }

Status Server::Start(std::shared_ptr<broker::Broker> broker) {
  STRATA_RETURN_IF_ERROR(StartHttp());
  const broker::ServerSettings& settings = config_.server;
  const bool tcp = !settings.address.empty();
  const int wanted_port = std::max(settings.port, 0);
  if (tcp) STRATA_RETURN_IF_ERROR(ProbeTcp(settings.address, wanted_port, "server.port"));
  if (!settings.unix_socket.empty()) {
    STRATA_RETURN_IF_ERROR(PrepareUnixSocket(settings.unix_socket));
  }

  KeepGrpcInitialized();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto started = std::make_unique<Grpc>();
  started->context = std::make_shared<CallContext>(config_, broker, health_);
  started->log = std::make_unique<LogService>(started->context);
  started->admin = std::make_unique<AdminService>(started->context);

  grpc::ServerBuilder builder;
  ConfigureChannel(config_, &builder);
  int port = 0;
  const auto credentials = grpc::InsecureServerCredentials();
  if (tcp) {
    builder.AddListeningPort(FormatAddress(settings.address, wanted_port), credentials, &port);
  }
  if (!settings.unix_socket.empty()) {
    builder.AddListeningPort("unix:" + settings.unix_socket, credentials);
  }
  builder.RegisterService(started->log.get());
  builder.RegisterService(started->admin.get());
  started->server = builder.BuildAndStart();
  if (!started->server) {
    started->context->Retire();
    return Status(Reason::IO_ERROR,
                  "gRPC could not listen on the addresses of server.*; its reason is in the log");
  }
  if (tcp) addresses_.push_back(FormatAddress(settings.address, port));
  if (!settings.unix_socket.empty()) addresses_.push_back("unix:" + settings.unix_socket);
  metrics_->Serve(broker);
  health_->Serve(std::move(broker), started->server->GetHealthCheckService());
  grpc_ = std::move(started);
  return Status();
}

bool Server::Drain(std::chrono::milliseconds timeout) {
  health_->Drain();
  if (!grpc_) return true;
  CallContext& context = *grpc_->context;
  const auto deadline = Clock::now() + timeout;
  context.producers.Drain();
  const bool drained = context.producers.WaitUntilEmpty(deadline);
  context.consumers.Drain();
  return context.consumers.WaitUntilEmpty(deadline) && drained;
}

void Server::HurryUp() {
  if (!grpc_) return;
  grpc_->context->producers.StopWaiting();
  grpc_->context->consumers.StopWaiting();
}

void Server::Stop() {
  Drain(std::chrono::milliseconds(0));
  if (grpc_) {
    grpc_->server->Shutdown(std::chrono::system_clock::now() + kCancelGrace);
    grpc_->server->Wait();
    // Every call has ended; its last words may still be on their way through an executor.
    const auto deadline = Clock::now() + kCancelGrace;
    grpc_->context->producers.WaitUntilEmpty(deadline);
    grpc_->context->consumers.WaitUntilEmpty(deadline);
  }
  health_->Stop();
  metrics_->Stop();
  if (grpc_) {
    grpc_->server.reset();
    grpc_->context->Retire();
    grpc_.reset();
    if (!config_.server.unix_socket.empty()) RemoveUnixSocket(config_.server.unix_socket);
  }
  http_.reset();
}

}  // namespace strata::server
