// gRPC's callback threads, as the process keeps them.
#include "proto/callback_threads.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include <chrono>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "base/mutex.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

constexpr std::chrono::seconds kBound{30};

// A latch with a bound.
class Flag {
 public:
  void Set() {
    MutexLock lock(mu_);
    set_ = true;
    changed_.NotifyAll();
  }
  bool Await() {
    const auto give_up = std::chrono::steady_clock::now() + kBound;
    MutexLock lock(mu_);
    while (!set_) {
      if (changed_.WaitUntil(mu_, give_up) == std::cv_status::timeout) break;
    }
    return set_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool set_ STRATA_GUARDED_BY(mu_) = false;
};

// A call on a channel that leads nowhere; its callback comes at once.
class Call {
 public:
  template <typename Callback>
  Call(grpc::GenericStub* stub, Callback callback) {
    const grpc::Slice empty;
    request_ = grpc::ByteBuffer(&empty, 1);
    stub->UnaryCall(&context_, "/nowhere/Call", {}, &request_, &response_,
                    [callback](const grpc::Status&) { callback(); });
  }

 private:
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

TEST_CASE("a callback that waits for what another one brings gets it") {
  const auto keeper = KeepCallbackThreadsLooking();
  grpc::GenericStub stub(grpc::CreateChannel("nowhere", nullptr));
  Flag waiting;
  Flag brought;
  Flag got;
  const Call first(&stub, [&] {
    waiting.Set();
    if (brought.Await()) got.Set();
  });
  REQUIRE(waiting.Await());
  Flag ran;
  const Call second(&stub, [&] {
    brought.Set();
    ran.Set();
  });
  CHECK(got.Await());
  CHECK(ran.Await());
}

TEST_CASE("the callback threads can be kept and let go of again and again") {
  for (int i = 0; i < 5; ++i) {
    const auto keeper = KeepCallbackThreadsLooking();
    CHECK(keeper == KeepCallbackThreadsLooking());
    grpc::GenericStub stub(grpc::CreateChannel("nowhere", nullptr));
    Flag ran;
    const Call call(&stub, [&] { ran.Set(); });
    CHECK(ran.Await());
  }
}

}  // namespace
}  // namespace strata
