// gRPC by itself: the callback API on both sides, raw bytes, a generic service. A payload is never
// copied by this code: the sender writes slices it has made before, and an echo is what came.
// gRPC's own flow control bounds how many messages are on their way at a time.
//
// The server is in this process. As a child it is not faster: measured in turns, the two differ by
// less than two runs of one of them.
#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <deque>
#include <future>
#include <memory>
#include <vector>

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>

#include "base/mutex.h"
#include "bench/ceiling.h"
#include "proto/freed_memory.h"

namespace strata::bench {
namespace {

// What may wait in the server for its way back. Beyond it the server stops reading, and HTTP/2's
// flow control stops the client.
constexpr size_t kMostWaiting = 32u << 20;
constexpr const char* kEcho = "/ceiling/Echo";

// What is sent, made before the clock runs: 64 MiB in turns, because one message that is sent again
// and again stays in the processor's cache, where a broker's messages are not.
class Pool {
 public:
  explicit Pool(size_t size) : size_(size) {
    Payloads payloads(size);
    messages_.resize(std::max<size_t>((64u << 20) / size, 1));
    for (size_t i = 0; i < messages_.size(); ++i) {
      const std::string_view payload = payloads.Make(i);
      const grpc::Slice slice(payload.data(), payload.size());
      messages_[i] = grpc::ByteBuffer(&slice, 1);
    }
  }
  size_t size() const { return size_; }
  const grpc::ByteBuffer& Message(uint64_t number) const {
    return messages_[number % messages_.size()];
  }

 private:
  const size_t size_;
  std::vector<grpc::ByteBuffer> messages_;
};

// Sends back what comes.
class Echo final : public grpc::ServerGenericBidiReactor {
 public:
  Echo() { StartRead(&incoming_); }

  void OnReadDone(bool ok) override {
    MutexLock lock(mu_);
    reading_ = ok;
    if (!ok) {
      ended_ = true;
      if (to_write_.empty()) Finish(grpc::Status::OK);
      return;
    }
    waiting_ += incoming_.Length();
    to_write_.emplace_back();
    to_write_.back().Swap(&incoming_);
    if (to_write_.size() == 1) StartWrite(&to_write_.front());
    reading_ = waiting_ < kMostWaiting;
    if (reading_) StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mu_);
    waiting_ -= to_write_.front().Length();
    to_write_.pop_front();
    if (!ok) to_write_.clear();
    if (!to_write_.empty()) StartWrite(&to_write_.front());
    if (ended_) {
      if (to_write_.empty()) Finish(grpc::Status::OK);
    } else if (!reading_) {
      reading_ = true;
      StartRead(&incoming_);
    }
  }

  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer incoming_;  // of the read under way

  Mutex mu_;
  std::deque<grpc::ByteBuffer> to_write_ STRATA_GUARDED_BY(mu_);  // the first is under way
  size_t waiting_ STRATA_GUARDED_BY(mu_) = 0;                     // bytes of to_write_
  bool reading_ STRATA_GUARDED_BY(mu_) = true;
  bool ended_ STRATA_GUARDED_BY(mu_) = false;
};

// Sends `count` messages of the pool.
class Stream final : public grpc::ServerGenericBidiReactor {
 public:
  Stream(std::shared_ptr<const Pool> pool, uint64_t count) : pool_(std::move(pool)), left_(count) {
    Next();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) left_ = 0;
    Next();
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (left_ == 0) return Finish(grpc::Status::OK);
    outgoing_ = pool_->Message(left_--);
    StartWrite(&outgoing_);
  }

  const std::shared_ptr<const Pool> pool_;
  grpc::ByteBuffer outgoing_;  // of the write under way
  uint64_t left_;
};

// The method's name says what is wanted: kEcho or /SIZE/COUNT.
class Service final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    const std::string& method = context->method();
    if (method == kEcho) return new Echo;
    const size_t size = std::stoul(method.substr(1));
    const uint64_t count = std::stoull(method.substr(method.find('/', 1) + 1));
    MutexLock lock(mu_);
    if (pool_ == nullptr || pool_->size() != size) pool_ = std::make_shared<Pool>(size);
    return new Stream(pool_, count);
  }

  Mutex mu_;
  std::shared_ptr<const Pool> pool_ STRATA_GUARDED_BY(mu_);  // of the last size
};

// The client of both: receives until the server ends the call, and writes as fast as gRPC takes it.
class Client final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // `pool` may be nullptr with nothing to send.
  Client(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const Pool* pool,
         uint64_t to_send)
      : stub_(channel), pool_(pool), left_(to_send) {
    stub_.PrepareBidiStreamingCall(&context_, method, {}, this);
  }

  // Bytes received.
  uint64_t Run() {
    StartRead(&incoming_);
    Next();
    StartCall();
    const grpc::Status status = done_.get_future().get();
    if (!status.ok()) Die("gRPC: " + status.error_message());
    return received_;
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    received_ += incoming_.Length();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) Next();
  }
  void OnDone(const grpc::Status& status) override { done_.set_value(status); }

 private:
  void Next() {
    if (left_ == 0) return StartWritesDone();
    outgoing_ = pool_->Message(left_--);
    StartWrite(&outgoing_);
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  const Pool* const pool_;
  grpc::ByteBuffer incoming_;  // of the read under way
  grpc::ByteBuffer outgoing_;  // of the write under way
  uint64_t left_;              // to be written
  uint64_t received_ = 0;
  std::promise<grpc::Status> done_;
};

// A server on a port or socket of its own, and a channel to it.
class Pair {
 public:
  Pair(const std::string& mode, const std::string& directory) : folder_(directory) {
    KeepFreedMemory();  // as Strata does: the ceiling must not depend on whether it ran before
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterCallbackGenericService(&service_);
    const bool tcp = mode == "tcp";
    std::string address = tcp ? "127.0.0.1:0" : "unix:" + folder_.path() + "/socket";
    int port = 0;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) Die("gRPC does not listen on " + address);
    if (tcp) address = fmt::format("127.0.0.1:{}", port);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetMaxSendMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
  ~Pair() { server_->Shutdown(std::chrono::system_clock::now()); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  // MB/s of the call, once connected and with the server's pool made.
  double Run(const std::string& method, const Pool* pool, size_t size, uint64_t count) {
    Client(channel_, fmt::format("/{}/1", size), nullptr, 0).Run();
    Client client(channel_, method, pool, pool == nullptr ? 0 : count);
    const auto start = SteadyClock::now();
    const uint64_t received = client.Run();
    const double seconds = SecondsSince(start);
    if (received != size * count) Die(fmt::format("gRPC: {} bytes came", received));
    return static_cast<double>(received) / 1e6 / seconds;
  }

 private:
  const TemporaryDirectory folder_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace

double RawGrpcEcho(const std::string& mode, const std::string& directory, size_t size,
                   uint64_t bytes) {
  const Pool pool(size);
  return Pair(mode, directory).Run(kEcho, &pool, size, std::max<uint64_t>(bytes / size, 1));
}

double RawGrpcStream(const std::string& mode, const std::string& directory, size_t size,
                     uint64_t bytes) {
  const uint64_t count = std::max<uint64_t>(bytes / size, 1);
  return Pair(mode, directory).Run(fmt::format("/{}/{}", size, count), nullptr, size, count);
}

}  // namespace strata::bench
