// Health: one state of the daemon, told in three ways: gRPC health, /healthz and /readyz.
//
//   state      gRPC ''       gRPC strata.append   /healthz   /readyz
//   opening    (no server)   (no server)          200        503
//   serving    SERVING       SERVING              200        200
//   full       SERVING       NOT_SERVING          200        200    DISK_FULL: all but appends go on
//   failed     SERVING       NOT_SERVING          200        503    fail-stop: reads go on
//   draining   NOT_SERVING   NOT_SERVING          200        503
//
// Fail-stop and a full disk are noticed by the append that meets them, and within a second on an
// idle store, which one thread asks once a second; so is the end of the latter. /readyz stays at 200
// on a full disk, because whoever could free space must still be sent here.
#pragma once

#include <grpcpp/health_check_service_interface.h>

#include <memory>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"

namespace strata::broker {
class Broker;
}

namespace strata::server {

// The name under which gRPC health says whether appends are accepted.
inline constexpr char kAppendHealthService[] = "strata.append";

// Thread-safe.
class Health {
 public:
  enum class State { kOpening, kServing, kFull, kFailed, kDraining };

  explicit Health(Logger log) : log_(std::move(log)) {}
  ~Health();

  // From opening to serving. `service` outlives Stop().
  void Serve(std::shared_ptr<broker::Broker> broker, grpc::HealthCheckServiceInterface* service);
  // For good.
  void Drain();
  // Ends the thread and lets go of the broker. Idempotent.
  void Stop();

  // To be told of every append's error: STORE_FAILED and DISK_FULL change the state.
  void NoteError(const Status& status);

  State state();
  // What /readyz says: 200 or 503, and why in one line.
  struct Readiness {
    bool ready;
    std::string reason;
  };
  Readiness readiness();

 private:
  void Watch();
  void NoteSpace(const broker::Broker& broker);
  void SetLocked(State state) STRATA_REQUIRES(mu_);

  const Logger log_;
  std::thread watcher_;

  Mutex mu_;
  CondVar stop_;
  State state_ STRATA_GUARDED_BY(mu_) = State::kOpening;
  bool stopped_ STRATA_GUARDED_BY(mu_) = false;
  std::string failure_ STRATA_GUARDED_BY(mu_);  // of kFailed and kFull
  std::shared_ptr<broker::Broker> broker_ STRATA_GUARDED_BY(mu_);
  grpc::HealthCheckServiceInterface* service_ STRATA_GUARDED_BY(mu_) = nullptr;
};

}  // namespace strata::server
