// ServiceManager: what systemd (Type=notify) is told of this process, and a sign of life while its watchdog waits.
//
//   READY=1                 it serves
//   RELOADING=1, READY=1    around SIGHUP
//   STOPPING=1              asked to end, draining
//   WATCHDOG=1              twice in each WatchdogSec, as long as `alive` returns
//   STATUS=...              one line for `systemctl status`
//
// The protocol is sd_notify(3), spoken by libsystemd. Where nobody listens (NOTIFY_SOCKET is not set) all of it does
// nothing. A fail-stop is no reason to stop the signs of life: reads go on, and a restart by the watchdog would end
// them.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/mutex.h"

namespace strata::server {

class ServiceManager {
 public:
  ServiceManager() = default;
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  void Opening(const std::string& what);
  // Also begins the signs of life, if the service manager asked for them (WATCHDOG_USEC): `alive` is called before
  // each and blocks as long as the process cannot do its work. Its thread ends with Stopping().
  void Ready(const std::string& status, std::function<void()> alive);
  void Reloading();
  void Reloaded();
  void Stopping(const std::string& why);

 private:
  void Watch(std::chrono::microseconds interval);
  void EndWatch();

  std::function<void()> alive_;
  std::thread watch_;

  Mutex mu_;
  CondVar ending_;
  bool ended_ STRATA_GUARDED_BY(mu_) = false;
};

}  // namespace strata::server
