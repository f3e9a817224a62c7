#include "client/embedded/channel_waiting.h"

#include <memory>

#include "base/mutex.h"
#include "broker/channel_wait.h"
#include "client/calls.h"
#include "client/deadline.h"

namespace strata {
namespace {

class Waiting final : public Openable {
 public:
  void End(const Status& why) override {
    MutexLock lock(mu_);
    if (closed_.ok()) closed_ = NothingAppended(why);
    changed_.NotifyAll();
  }
  void Wake() {
    MutexLock lock(mu_);
    woken_ = true;
    changed_.NotifyAll();
  }
  // False when the time is over.
  Result<bool> Wait(std::chrono::steady_clock::time_point deadline) {
    MutexLock lock(mu_);
    while (!woken_ && closed_.ok()) {
      if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout) break;
    }
    STRATA_RETURN_IF_ERROR(closed_);
    return std::exchange(woken_, false);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool woken_ STRATA_GUARDED_BY(mu_) = false;
  Status closed_ STRATA_GUARDED_BY(mu_);
};

}  // namespace

Result<bool> AwaitChannel(broker::Broker& broker, const std::string& channel,
                          std::chrono::milliseconds time, OpenSet* open) {
  if (time.count() <= 0) return false;
  const auto deadline = DeadlineAfter(time);
  // Shared with wake-ups that come late.
  const auto waiting = std::make_shared<Waiting>();
  open->Add(waiting);
  for (bool waited = false;; waited = true) {
    STRATA_ASSIGN_OR_RETURN(const auto registered, NothingAppended(broker.WaitForChannel(
                                                       channel, [waiting] { waiting->Wake(); })));
    if (registered == nullptr) return waited;
    STRATA_ASSIGN_OR_RETURN(const bool woken, waiting->Wait(deadline));
    if (!woken) return true;
  }
}

}  // namespace strata
