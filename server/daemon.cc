#include "server/daemon.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "broker/config.h"
#include "broker/open.h"
#include "server/listen.h"
#include "server/logging.h"
#include "server/server.h"
#include "server/service_manager.h"

namespace strata::server {
namespace {

constexpr std::chrono::seconds kDrainTime{10};

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

// One thread that takes all signals: SIGHUP runs a function, the first of the others releases
// WaitForEnd(), later ones run another function.
class Signals {
 public:
  Signals(std::function<void()> reload, std::function<void()> again)
      : reload_(std::move(reload)), again_(std::move(again)), thread_([this] { Run(); }) {}
  ~Signals() {
    {
      MutexLock lock(mu_);
      stop_ = true;
    }
    pthread_kill(thread_.native_handle(), SIGHUP);
    thread_.join();
  }

  // The name of the signal that asked for the end.
  std::string WaitForEnd() {
    MutexLock lock(mu_);
    while (first_ == 0) asked_.Wait(mu_);
    return first_ == SIGINT ? "SIGINT" : "SIGTERM";
  }

 private:
  void Run() {
    const sigset_t set = HandledSignals();
    for (;;) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0) continue;
      bool first = false;
      {
        MutexLock lock(mu_);
        if (stop_) return;
        if (signal != SIGHUP && first_ == 0) {
          first_ = signal;
          first = true;
          asked_.NotifyAll();
        }
      }
      if (signal == SIGHUP) reload_();
      if (signal != SIGHUP && !first) again_();
    }
  }

  const std::function<void()> reload_;
  const std::function<void()> again_;
  Mutex mu_;
  CondVar asked_;
  int first_ STRATA_GUARDED_BY(mu_) = 0;
  bool stop_ STRATA_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses all of the above
};

Result<broker::Config> Load(const DaemonOptions& options) {
  return broker::LoadConfig(options.config, options.set, broker::ProcessEnvironment());
}

void Complain(const Status& status) {
  fmt::print(stderr, "stratad: {}\n", status.message());
  std::fflush(stderr);
}

// Takes over from the configuration what a running daemon can, and says what it took and what has to wait.
void Reload(const DaemonOptions& options, broker::Config* running, broker::Broker* broker,
            Server* server, const Logger& log) {
  Result<broker::Config> loaded = Load(options);
  if (!loaded.ok()) {
    log.Warning("SIGHUP: nothing changed, the configuration is wrong: {}",
                loaded.status().message());
    return;
  }
  const broker::ConfigChanges changes = broker::Compare(*running, *loaded);
  log.SetMinimum(LevelOf(loaded->monitor));
  broker->SetRetention(loaded->broker.retention);
  server->SetStreamLimit(loaded->server.max_streams);
  *running = *std::move(loaded);
  if (changes.reloaded.empty() && changes.later.empty()) log.Info("SIGHUP: nothing is different");
  if (!changes.reloaded.empty())
    log.Info("SIGHUP: took over {}", fmt::join(changes.reloaded, ", "));
  if (!changes.later.empty()) {
    log.Warning("SIGHUP: from the next start on count {}", fmt::join(changes.later, ", "));
  }
}

void Announce(const Server& server) {
  for (const std::string& address : server.addresses()) fmt::print("listening on {}\n", address);
  if (!server.http_address().empty()) fmt::print("http on {}\n", server.http_address());
  std::fflush(stdout);
}

// Serves until told to end.
ExitCode Serve(const DaemonOptions& options, broker::Config config, Server* server,
               std::shared_ptr<broker::Broker> broker, ServiceManager* manager, const Logger& log) {
  if (const Status status = server->Start(broker); !status.ok()) {
    log.Error("{}", status.message());
    Complain(status);
    return kExitListen;
  }
  std::string ended_by;
  {
    const auto reload = [&] {
      manager->Reloading();
      Reload(options, &config, broker.get(), server, log);
      manager->Reloaded();
    };
    Signals signals(reload, [&] { server->HurryUp(); });
    Announce(*server);
    // Whoever can list the channels has found the broker's locks free.
    manager->Ready(fmt::format("serving on {}", fmt::join(server->addresses(), ", ")),
                   [broker] { (void)broker->ListChannels(); });
    ended_by = signals.WaitForEnd();
    log.Info("{}: draining", ended_by);
    manager->Stopping("draining after " + ended_by);
    if (!server->Drain(kDrainTime)) {
      log.Warning("some calls did not end in time and are cut off");
    }
  }
  server->Stop();
  return kExitOk;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A consumer that goes away must not end the process that writes to it.
  signal(SIGPIPE, SIG_IGN);
}

ExitCode CheckConfig(const DaemonOptions& options) {
  const auto config = Load(options);
  if (!config.ok()) {
    Complain(config.status());
    return kExitUsage;
  }
  fmt::print("the configuration is correct\n");
  return kExitOk;
}

ExitCode RunDaemon(const DaemonOptions& options) {
  auto config = Load(options);
  if (!config.ok()) {
    Complain(config.status());
    return kExitUsage;
  }
  const auto opened = OpenLog(config->monitor);
  if (!opened.ok()) {
    Complain(opened.status());
    return kExitListen;
  }
  const Logger log = *opened;
  log.Info("stratad {} starts; store {}, {} open files allowed", STRATA_VERSION, config->store.path,
           RaiseOpenFileLimit());
  config->broker.log = log;
  config->store.log = log;
  config->store.accept_loss = options.accept_loss;
  config->store.quarantine = options.quarantine;

  ServiceManager manager;
  manager.Opening(config->store.path);
  Server server(*config, log);
  if (const Status status = server.StartHttp(); !status.ok()) {
    log.Error("{}", status.message());
    Complain(status);
    return kExitListen;
  }
  auto broker = broker::OpenBroker(config->broker, config->store);
  if (!broker.ok()) {
    log.Error("the store was not opened: {}", broker.status().ToString());
    Complain(broker.status().WithContext("cannot open the store"));
    return kExitStore;
  }
  ExitCode code = Serve(options, *std::move(config), &server, *broker, &manager, log);
  (*broker)->Close();
  if (const Status failure = (*broker)->failure(); !failure.ok()) {
    log.Error("ended after a fail-stop: {}", failure.message());
    if (code == kExitOk) code = kExitFailed;
  } else {
    log.Info("ended");
  }
  return code;
}

}  // namespace strata::server
