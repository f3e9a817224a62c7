// A server in this process over a store in memory, and the generated stubs as its client: what the
// server does on the wire, without an SDK that would hide it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/generic/generic_stub.h>

#include "base/status.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "client/testing/memory_store.h"
#include "proto/status_mapping.h"
#include "server/server.h"
#include "strata/v1/admin.grpc.pb.h"
#include "strata/v1/log.grpc.pb.h"
#include "tests/support/temp_dir.h"

namespace strata::testing {

class ServerFixture {
 public:
  // Over a Unix socket and a free TCP port. `settings` are "key=value"; `amend` changes what they
  // come to.
  explicit ServerFixture(const std::vector<std::string>& settings = {},
                         const std::function<void(broker::Config*)>& amend = nullptr);
  ~ServerFixture();

  // A connection of its own.
  std::shared_ptr<grpc::Channel> Connect() const;

  v1::Log::Stub& log() { return *log_; }
  v1::Admin::Stub& admin() { return *admin_; }
  broker::Broker& broker() { return *broker_; }
  server::Server& server() { return *server_; }
  MemoryStore& store() { return *store_; }
  const std::string& socket_path() const { return socket_path_; }

  ChannelNumber CreateChannel(const std::string& name);
  MessageId NextId(const std::string& channel);
  // Through the broker, past the server.
  MessageId Append(const std::string& channel, const std::string& payload);

 private:
  TempDir dir_;
  std::string socket_path_;
  MemoryStore* store_ = nullptr;  // the broker's
  std::shared_ptr<broker::Broker> broker_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<v1::Log::Stub> log_;
  std::unique_ptr<v1::Admin::Stub> admin_;
};

v1::MessageBatch BatchOf(const std::vector<std::string>& payloads);

// The client's end of a Produce call.
class Producing {
 public:
  explicit Producing(v1::Log::Stub& stub) : stream_(stub.Produce(&context_)) {}

  bool Open(const std::string& channel, ChannelNumber number = 0);
  bool Send(const std::vector<std::string>& payloads);
  bool Send(const v1::ProduceRequest& request) { return stream_->Write(request); }
  // Waits for the next response; empty at the end of the stream.
  std::vector<v1::AppendResult> Results();
  bool Read(v1::ProduceResponse* response) { return stream_->Read(response); }
  void HalfClose() { stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }
  // Reads what is left, and the status.
  Status Finish();

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ProduceRequest, v1::ProduceResponse>> stream_;
};

// The client's end of a Consume call.
class Consuming {
 public:
  explicit Consuming(v1::Log::Stub& stub) : stream_(stub.Consume(&context_)) {}

  // Opens and reads the answer; its position, or -1 if the stream ended.
  MessageId Open(const v1::ConsumeOpen& open);
  bool Send(const v1::ConsumeRequest& request) { return stream_->Write(request); }
  bool AddCredit(int64_t bytes);
  bool Acknowledge(MessageId through);
  bool Seek(const StartPosition& to);
  // The next response; `event_case` is EVENT_NOT_SET at the end of the stream.
  v1::ConsumeResponse Next();
  void HalfClose() { stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }
  // Reads what is left, and the status.
  Status Finish();

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ConsumeRequest, v1::ConsumeResponse>> stream_;
};

// Opens a reader on `channel` from the start, with so much credit.
v1::ConsumeOpen OpenFrom(const std::string& channel, const StartPosition& start, int64_t credit);

// Sends requests of any bytes to a method and returns the status that comes back.
Status SendRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
               const std::vector<std::string>& requests);

// Repeats `check` until it is true; false after ten seconds. For what another thread brings about.
template <typename Check>
bool Eventually(Check check) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!check()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace strata::testing
