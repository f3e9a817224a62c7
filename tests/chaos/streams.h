// Streams of every kind against one server, each opened, used for a moment and then left in one way or
// another: finished, cancelled wherever it happens to be, or destroyed.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "client/client.h"
#include "strata/v1/log.grpc.pb.h"
#include "tests/support/random.h"

namespace strata::testing {

// Cancels calls when their time has come. Thread-safe.
class Canceller {
 public:
  Canceller() : thread_(&Canceller::Run, this) {}
  ~Canceller();

  // REQUIRES: Forget(context) before it is destroyed.
  void CancelAt(grpc::ClientContext* context, std::chrono::steady_clock::time_point when);
  void Forget(grpc::ClientContext* context);
  uint64_t cancelled() { return cancelled_; }

 private:
  void Run();

  Mutex mu_;
  CondVar changed_;
  std::map<grpc::ClientContext*, std::chrono::steady_clock::time_point> due_ STRATA_GUARDED_BY(mu_);
  bool end_ STRATA_GUARDED_BY(mu_) = false;
  std::atomic<uint64_t> cancelled_{0};
  std::thread thread_;
};

struct StreamCounts {
  std::atomic<uint64_t> produced{0};  // streams of each kind
  std::atomic<uint64_t> consumed{0};
  std::atomic<uint64_t> from_sdk{0};
  std::atomic<uint64_t> messages{0};  // received
};

// One thread that has one stream after the other open until `end`.
class StreamUser {
 public:
  // `channel` is for raw calls; the SDK's clients have connections of their own, which come and go.
  StreamUser(std::string address, const std::shared_ptr<grpc::Channel>& channel, uint64_t seed,
             std::chrono::steady_clock::time_point end, Canceller* canceller, StreamCounts* counts);
  ~StreamUser() { Join(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  // A call's context: with a deadline, and every other one cancelled before.
  class Context;

  void Run();
  void Connect();
  std::string AnyChannel();
  void RawProduce();
  void RawConsume();
  void SdkProduce();
  void SdkConsume();

  const std::string address_;
  const std::unique_ptr<v1::Log::Stub> stub_;
  Random random_;
  const std::chrono::steady_clock::time_point end_;
  Canceller* const canceller_;
  StreamCounts* const counts_;
  std::unique_ptr<Client> client_;
  std::thread thread_;
};

// The channels that they use.
const std::vector<std::string>& SoakChannels();

}  // namespace strata::testing
