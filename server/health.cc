#include "server/health.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "broker/broker.h"

namespace strata::server {
namespace {

std::string DescribeFull(const broker::Broker& broker) {
  const retention::Marks marks = broker.Stats().space_marks;
  return fmt::format("the store has reached {} bytes, the hard mark of its disk budget of {}",
                     marks.hard, marks.budget);
}

}  // namespace

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
  const bool full = status.reason() == Reason::DISK_FULL;
  if (!full && status.reason() != Reason::STORE_FAILED) return;
  MutexLock lock(mu_);
  if (full) {
    if (state_ != State::kServing) return;
    failure_ = status.message();
    log_.Warning("the disk is full: appends are refused until there is room; all else goes on. {}",
                 failure_);
    SetLocked(State::kFull);
    return;
  }
  if (state_ != State::kServing && state_ != State::kFull) return;
  failure_ = status.message();
  log_.Error("fail-stop: appends are refused until a restart; reads go on. {}", failure_);
  SetLocked(State::kFailed);
}

void Health::NoteSpace(const broker::Broker& broker) {
  if (broker.space_state() == retention::SpaceState::kFull) {
    if (state() == State::kServing) NoteError(Status(Reason::DISK_FULL, DescribeFull(broker)));
    return;
  }
  MutexLock lock(mu_);
  if (state_ != State::kFull) return;
  log_.Info("there is room on the disk again: appends are accepted");
  SetLocked(State::kServing);
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
    case State::kFull:
      return {true, "serving, but the disk is full and appends are refused: " + failure_};
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
  service_->SetServingStatus("", state != State::kOpening && state != State::kDraining);
  service_->SetServingStatus(kAppendHealthService, state == State::kServing);
}

void Health::Watch() {
  std::shared_ptr<broker::Broker> broker;
  {
    MutexLock lock(mu_);
    broker = broker_;
  }
  MutexLock lock(mu_);
  while (!stopped_ && (state_ == State::kServing || state_ == State::kFull)) {
    stop_.WaitUntil(mu_, std::chrono::steady_clock::now() + std::chrono::seconds(1));
    if (stopped_) return;
    lock.Unlock();
    NoteError(broker->failure());
    NoteSpace(*broker);
    lock.Lock();
  }
}

}  // namespace strata::server
