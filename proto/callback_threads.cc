#include "proto/callback_threads.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include <chrono>
#include <thread>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "base/mutex.h"

namespace strata {
namespace {

constexpr std::chrono::milliseconds kInterval{500};

}  // namespace

class CallbackThreadsKeeper {
 public:
  // Without credentials there is only a channel on which every call fails.
  CallbackThreadsKeeper()
      : stub_(grpc::CreateChannel("nowhere", nullptr)), thread_([this] { Run(); }) {}
  ~CallbackThreadsKeeper() {
    {
      MutexLock lock(mu_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }
  CallbackThreadsKeeper(const CallbackThreadsKeeper&) = delete;
  CallbackThreadsKeeper& operator=(const CallbackThreadsKeeper&) = delete;

 private:
  void Run() {
    MutexLock lock(mu_);
    while (!stopping_) {
      const auto next = std::chrono::steady_clock::now() + kInterval;
      lock.Unlock();
      Poke();
      lock.Lock();
      while (!stopping_ && std::chrono::steady_clock::now() < next) {
        changed_.WaitUntil(mu_, next);
      }
    }
  }

  // Returns once the event was handled, so that the call's context, which holds the channel, ends on
  // this thread.
  void Poke() {
    grpc::ClientContext context;
    const grpc::Slice empty;
    const grpc::ByteBuffer request(&empty, 1);
    grpc::ByteBuffer response;
    stub_.UnaryCall(&context, "/nowhere/Poke", {}, &request, &response, [this](grpc::Status) {
      MutexLock lock(mu_);
      poked_ = true;
      changed_.NotifyAll();
    });
    MutexLock lock(mu_);
    while (!poked_) changed_.Wait(mu_);
    poked_ = false;
  }

  grpc::GenericStub stub_;
  Mutex mu_;
  CondVar changed_;
  bool stopping_ STRATA_GUARDED_BY(mu_) = false;
  bool poked_ STRATA_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

std::shared_ptr<CallbackThreadsKeeper> KeepCallbackThreadsLooking() {
  static Mutex* const kMutex = new Mutex;
  static std::weak_ptr<CallbackThreadsKeeper>* const kKeeper =
      new std::weak_ptr<CallbackThreadsKeeper>;
  MutexLock lock(*kMutex);
  std::shared_ptr<CallbackThreadsKeeper> keeper = kKeeper->lock();
  if (keeper == nullptr) {
    keeper = std::make_shared<CallbackThreadsKeeper>();
    *kKeeper = keeper;
  }
  return keeper;
}

}  // namespace strata
