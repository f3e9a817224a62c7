#include "server/health.h"

#include <chrono>
#include <utility>

#include "broker/broker.h"

namespace strata::server {

Health::~Health() { Stop(); }

void Health::Serve(std::shared_ptr<broker::Broker> broker,
                   grpc::HealthCheckServiceInterface* service) {
  MutexLock lock(mu_);
  broker_ = std::move(broker);
  service_ = service;
  SetLocked(State::kServing);
  watcher_ = std::thread([this] { Watch(); });
}

void Health::Drain() {
  MutexLock lock(mu_);
  SetLocked(State::kDraining);
}

void Health::Stop() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
    service_ = nullptr;
    stop_.NotifyAll();
  }
  if (watcher_.joinable()) watcher_.join();
  MutexLock lock(mu_);
  broker_.reset();
}

void Health::NoteError(const Status& status) {
  if (status.reason() != Reason::STORE_FAILED) return;
  MutexLock lock(mu_);
  if (state_ != State::kServing) return;
  failure_ = status.message();
  log_.Error("fail-stop: appends are refused until a restart; reads go on. {}", failure_);
  SetLocked(State::kFailed);
}

Health::State Health::state() {
  MutexLock lock(mu_);
  return state_;
}

Health::Readiness Health::readiness() {
  MutexLock lock(mu_);
  switch (state_) {
    case State::kOpening:
      return {false, "opening the store"};
    case State::kServing:
      return {true, "serving"};
    case State::kFailed:
      return {false, "the store failed and takes no appends until a restart: " + failure_};
    case State::kDraining:
      return {false, "draining"};
  }
  return {false, "unknown"};
}

void Health::SetLocked(State state) {
  state_ = state;
  if (service_ == nullptr) return;
  service_->SetServingStatus("", state == State::kServing || state == State::kFailed);
  service_->SetServingStatus(kAppendHealthService, state == State::kServing);
}

void Health::Watch() {
  std::shared_ptr<broker::Broker> broker;
  {
    MutexLock lock(mu_);
    broker = broker_;
  }
  MutexLock lock(mu_);
  while (!stopped_ && state_ == State::kServing) {
    stop_.WaitUntil(mu_, std::chrono::steady_clock::now() + std::chrono::seconds(1));
    if (stopped_) return;
    lock.Unlock();
    NoteError(broker->failure());
    lock.Lock();
  }
}

}  // namespace strata::server
