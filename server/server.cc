#include "server/server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include <grpcpp/ext/proto_server_reflection_plugin.h>

#include "proto/callback_threads.h"
#include "proto/freed_memory.h"
#include "proto/grpc_lifetime.h"
#include "server/acceptor.h"
#include "server/admin_service.h"
#include "server/call_context.h"
#include "server/health.h"
#include "server/http.h"
#include "server/inbound_guard.h"
#include "server/listen.h"
#include "server/log_service.h"
#include "server/metrics.h"

namespace strata::server {
namespace {

using Clock = std::chrono::steady_clock;

// What a request may have beyond the largest batch before gRPC itself refuses it, without our
// reasons: enough that a batch that is a little too large is told so by the broker.
constexpr uint64_t kRequestSlack = 1u << 20;

// Calls beyond limits.maxStreamsPerConnection that are open for as long as their refusal takes, and
// those that are not counted because they are short.
constexpr uint64_t kStreamSlack = 256;

// What cancelled calls get to come to their end.
constexpr std::chrono::milliseconds kCancelGrace{1000};

void ConfigureChannel(const broker::Config& config, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(
      static_cast<int>(config.broker.limits.max_batch() + kRequestSlack));
  builder->SetMaxSendMessageSize(-1);
  // Half of the time for being silent, half for answering.
  const auto half = static_cast<int>(config.server.keepalive.count() / 2);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, half);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, half);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Clients do the same, perhaps with less patience.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
  // No client of ours compresses, and a few KB may come to any size: what is unpacked counts against no
  // limit.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // Beyond it gRPC's clients wait, without a word, and it cuts off others. So it is above the limit
  // at which a call is refused with a reason.
  builder->AddChannelArgument(
      GRPC_ARG_MAX_CONCURRENT_STREAMS,
      static_cast<int>(config.server.max_streams_per_connection + kStreamSlack));
}

// Descriptors that are left to the store, half of all (storage/rocks.cc), and to everything else.
AcceptorOptions OptionsOfAcceptor(const broker::ServerSettings& settings, const Logger& log) {
  constexpr uint64_t kOthers = 128;
  AcceptorOptions options;
  options.greeting_timeout = settings.greeting_timeout;
  options.max_connections = settings.max_connections;
  const uint64_t files = OpenFileLimit();
  const uint64_t listeners = settings.address.empty() || settings.unix_socket.empty() ? 1 : 2;
  options.max_newcomers = std::clamp<uint64_t>(files / 16, 16, options.max_newcomers);
  const uint64_t most =
      (files / 2 - std::min(files / 2, kOthers + options.max_newcomers)) / listeners;
  if (options.max_connections > most) {
    log.Warning(
        "limits.maxConnections is {} instead of {}: {} open files are allowed, and half of "
        "them are the store's; raise that limit (ulimit -n) for more",
        most, options.max_connections, files);
    options.max_connections = most;
  }
  return options;
}

}  // namespace

// Members in the order of their lives: the server is destroyed first, the context last.
struct Server::Grpc {
  const std::shared_ptr<CallbackThreadsKeeper> callback_threads = KeepCallbackThreadsLooking();
  std::shared_ptr<CallContext> context;
  std::unique_ptr<LogService> log;
  std::unique_ptr<AdminService> admin;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Acceptor> acceptor;
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
  std::vector<Listening> sockets;
  // Closes what listens unless an acceptor has taken it over.
  const auto close_sockets = [](std::vector<Listening>* opened) {
    for (const Listening& socket : *opened) close(socket.fd);
  };
  const std::unique_ptr<std::vector<Listening>, decltype(close_sockets)> closer(&sockets,
                                                                                close_sockets);
  if (tcp) {
    STRATA_ASSIGN_OR_RETURN(const Listening socket,
                            ListenTcp(settings.address, std::max(settings.port, 0), "server.port"));
    sockets.push_back(socket);
    addresses_.push_back(FormatAddress(settings.address, socket.port));
  }
  if (!settings.unix_socket.empty()) {
    STRATA_RETURN_IF_ERROR(PrepareUnixSocket(settings.unix_socket));
    STRATA_ASSIGN_OR_RETURN(const Listening socket, ListenUnix(settings.unix_socket));
    sockets.push_back(socket);
    addresses_.push_back("unix:" + settings.unix_socket);
  }

  KeepGrpcInitialized();
  KeepFreedMemory();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto started = std::make_unique<Grpc>();
  started->context = std::make_shared<CallContext>(config_, broker, health_);
  started->log = std::make_unique<LogService>(started->context);
  started->admin = std::make_unique<AdminService>(started->context);

  grpc::ServerBuilder builder;
  ConfigureChannel(config_, &builder);
  builder.RegisterService(started->log.get());
  builder.RegisterService(started->admin.get());
  started->server = builder.BuildAndStart();
  if (!started->server) {
    started->context->Retire();
    return Status(Reason::IO_ERROR, "gRPC could not start; its reason is in the log");
  }
  started->acceptor = std::make_unique<Acceptor>(
      std::exchange(sockets, {}), OptionsOfAcceptor(settings, log_),
      [server = started->server.get(), log = log_,
       budget = std::make_shared<UnfinishedBudget>(settings.max_unfinished)](int fd) {
        GuardConnection(fd, budget, log);
        grpc::AddInsecureChannelFromFd(server, fd);
      },
      log_);
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

void Server::SetStreamLimit(uint64_t most) { grpc_->context->streams.SetMost(most); }

void Server::HurryUp() {
  if (!grpc_) return;
  grpc_->context->producers.StopWaiting();
  grpc_->context->consumers.StopWaiting();
}

void Server::Stop() {
  Drain(std::chrono::milliseconds(0));
  if (grpc_) {
    grpc_->acceptor.reset();
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
