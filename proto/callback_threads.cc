#include "proto/callback_threads.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "base/mutex.h"

namespace strata {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kInterval{250};
// A callback that has kept an event waiting for so long blocks.
constexpr std::chrono::milliseconds kBlocked{50};
// Until one of the threads is held back again.
constexpr std::chrono::seconds kReleased{10};

// gRPC has half as many as there are processors, but at least two and at most sixteen.
bool ThereAreTwo() { return sysconf(_SC_NPROCESSORS_CONF) < 6; }

// A call that fails at once.
struct FailingCall {
  FailingCall() {
    const grpc::Slice empty;
    request = grpc::ByteBuffer(&empty, 1);
  }
  grpc::ClientContext context;
  grpc::ByteBuffer request;
  grpc::ByteBuffer response;
};

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
    auto hold_at = SteadyClock::now();
    while (!stopping_) {
      const auto next = SteadyClock::now() + kInterval;
      if (ThereAreTwo() && !held_.has_value() && SteadyClock::now() >= hold_at) Hold();
      if (!Poke()) hold_at = SteadyClock::now() + kReleased;
      while (!stopping_ && SteadyClock::now() < next) changed_.WaitUntil(mu_, next);
    }
    Release();
  }

  // Keeps the thread that gets to it until Release().
  void Hold() STRATA_REQUIRES(mu_) {
    held_.emplace();
    holding_ = true;
    FailingCall* const call = &*held_;
    mu_.Unlock();
    Fail(call, [this] {
      MutexLock lock(mu_);
      while (!released_) changed_.Wait(mu_);
      holding_ = false;
      changed_.NotifyAll();
    });
    mu_.Lock();
  }

  void Release() STRATA_REQUIRES(mu_) {
    if (!held_.has_value()) return;
    released_ = true;
    changed_.NotifyAll();
    while (holding_) changed_.Wait(mu_);
    released_ = false;
    held_.reset();
  }

  // Returns once the event was handled, so that the call's context, which holds the channel, ends on
  // this thread. False if that took the thread that is held back.
  bool Poke() STRATA_REQUIRES(mu_) {
    FailingCall call;
    poked_ = false;
    mu_.Unlock();
    Fail(&call, [this] {
      MutexLock lock(mu_);
      poked_ = true;
      changed_.NotifyAll();
    });
    mu_.Lock();
    const auto blocked = SteadyClock::now() + kBlocked;
    while (!poked_ && (!held_.has_value() || SteadyClock::now() < blocked)) {
      if (held_.has_value()) {
        changed_.WaitUntil(mu_, blocked);
      } else {
        changed_.Wait(mu_);
      }
    }
    if (poked_) return true;
    Release();
    while (!poked_) changed_.Wait(mu_);
    return false;
  }

  template <typename Callback>
  void Fail(FailingCall* call, Callback callback) STRATA_EXCLUDES(mu_) {
    stub_.UnaryCall(&call->context, "/nowhere/Poke", {}, &call->request, &call->response,
                    [callback](const grpc::Status&) { callback(); });
  }

  grpc::GenericStub stub_;
  Mutex mu_;
  CondVar changed_;
  bool stopping_ STRATA_GUARDED_BY(mu_) = false;
  bool poked_ STRATA_GUARDED_BY(mu_) = false;
  std::optional<FailingCall> held_ STRATA_GUARDED_BY(mu_);  // only the keeper's thread changes it
  bool holding_ STRATA_GUARDED_BY(mu_) = false;             // its callback has not run to its end
  bool released_ STRATA_GUARDED_BY(mu_) = false;
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
