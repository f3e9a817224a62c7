#include "server/service_manager.h"

#include <fmt/format.h>
#include <time.h>

#include <chrono>
#include <cstdint>
#include <utility>

#include <systemd/sd-daemon.h>

namespace strata::server {
namespace {

// What goes wrong here is the service manager's to notice: it waits for a message, and says so.
void Tell(const std::string& state) { (void)sd_notify(/*unset_environment=*/0, state.c_str()); }

}  // namespace

ServiceManager::~ServiceManager() { EndWatch(); }

void ServiceManager::Opening(const std::string& what) { Tell("STATUS=opening " + what); }

void ServiceManager::Ready(const std::string& status, std::function<void()> alive) {
  Tell("READY=1\nSTATUS=" + status);
  uint64_t limit = 0;  // microseconds
  if (sd_watchdog_enabled(/*unset_environment=*/0, &limit) <= 0) return;
  alive_ = std::move(alive);
  // Half of the limit is what sd_watchdog_enabled(3) recommends.
  watch_ = std::thread([this, limit] { Watch(std::chrono::microseconds(limit / 2)); });
}

void ServiceManager::Reloading() {
  // systemd 253 and later want the time, to tell this reload from an earlier one (Type=notify-reload).
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  Tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                   uint64_t{1'000'000} * static_cast<uint64_t>(now.tv_sec) +
                       static_cast<uint64_t>(now.tv_nsec) / 1000));
}

void ServiceManager::Reloaded() { Tell("READY=1"); }

void ServiceManager::Stopping(const std::string& why) {
  Tell("STOPPING=1\nSTATUS=" + why);
  EndWatch();
}

void ServiceManager::Watch(std::chrono::microseconds interval) {
  for (;;) {
    alive_();
    Tell("WATCHDOG=1");
    MutexLock lock(mu_);
    const auto next = std::chrono::steady_clock::now() + interval;
    while (!ended_ && std::chrono::steady_clock::now() < next) ending_.WaitUntil(mu_, next);
    if (ended_) return;
  }
}

void ServiceManager::EndWatch() {
  {
    MutexLock lock(mu_);
    ended_ = true;
    ending_.NotifyAll();
  }
  if (watch_.joinable()) watch_.join();
}

}  // namespace strata::server
