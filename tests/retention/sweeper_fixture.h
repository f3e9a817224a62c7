// A sweeper over a log and a store that only note what they are asked for.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "client/testing/memory_store.h"
#include "retention/sweeper.h"
#include "tests/support/forwarding_store.h"

namespace strata::testing {

// Strata as the test says. Thread-safe; on_rewrite is set before threads start.
class SweptStore final : public ForwardingStore {
 public:
  SweptStore() : ForwardingStore(std::make_shared<MemoryStore>()) {}

  std::function<Result<storage::RewriteResult>(const storage::RewriteRequest&)> on_rewrite;
  Status restore_status;

  // Runs with the next DescribeStrata().
  void OnDescribe(std::function<void()> hook) {
    MutexLock lock(mu_);
    on_describe_ = std::move(hook);
  }
  void Set(std::vector<storage::StratumInfo> strata, storage::DiskUsage usage = {0, 1u << 30}) {
    MutexLock lock(mu_);
    strata_ = std::move(strata);
    usage_ = usage;
  }
  void SetUsage(storage::DiskUsage usage) {
    MutexLock lock(mu_);
    usage_ = usage;
  }
  void SetBallast(uint64_t bytes) {
    MutexLock lock(mu_);
    ballast_ = bytes;
  }
  void Fail(const Status& failure) {
    MutexLock lock(mu_);
    failure_ = failure;
  }
  // What it was asked for: "drop", "rewrite 3 4", "abandon", "ballast released", "ballast restored".
  std::vector<std::string> Calls() const {
    MutexLock lock(mu_);
    return calls_;
  }
  void MarkRewritten(uint32_t number) {
    MutexLock lock(mu_);
    for (storage::StratumInfo& each : strata_) {
      if (each.number == number) each.rewritten = true;
    }
  }

  std::vector<storage::StratumInfo> DescribeStrata() const override {
    MutexLock lock(mu_);
    if (const auto hook = std::exchange(on_describe_, nullptr)) {
      lock.Unlock();
      hook();
      lock.Lock();
    }
    return strata_;
  }
  Result<size_t> DropEmptyStrata() override {
    Called("drop");
    return size_t{0};
  }
  Result<storage::RewriteResult> Rewrite(const storage::RewriteRequest& request) override {
    std::string call = "rewrite";
    for (const uint32_t number : request.strata) call += " " + std::to_string(number);
    Called(call);
    return on_rewrite(request);
  }
  void AbandonRewrite(const storage::RewriteResult&) override { Called("abandon"); }
  storage::DiskUsage Usage() const override {
    MutexLock lock(mu_);
    ++measured_;
    return usage_;
  }
  int measured() const {
    MutexLock lock(mu_);
    return measured_;
  }
  uint64_t BallastBytes() const override {
    MutexLock lock(mu_);
    return ballast_;
  }
  void ReleaseBallast() override {
    Called("ballast released");
    SetBallast(0);
  }
  Status RestoreBallast() override {
    Called("ballast restored");
    return restore_status;
  }
  bool failed() const override { return !failure().ok(); }
  Status failure() const override {
    MutexLock lock(mu_);
    return failure_;
  }

 private:
  void Called(std::string what) {
    MutexLock lock(mu_);
    calls_.push_back(std::move(what));
  }

  mutable Mutex mu_;
  std::vector<storage::StratumInfo> strata_ STRATA_GUARDED_BY(mu_);
  storage::DiskUsage usage_ STRATA_GUARDED_BY(mu_){0, 1u << 30};
  uint64_t ballast_ STRATA_GUARDED_BY(mu_) = 0;
  Status failure_ STRATA_GUARDED_BY(mu_);
  std::vector<std::string> calls_ STRATA_GUARDED_BY(mu_);
  mutable int measured_ STRATA_GUARDED_BY(mu_) = 0;
  mutable std::function<void()> on_describe_ STRATA_GUARDED_BY(mu_);
};

// Notes when it was looked at, what was trimmed and what was committed. Thread-safe.
class NotingLog final : public retention::SweptLog {
 public:
  explicit NotingLog(Clock* clock) : clock_(clock) {}

  std::vector<retention::ChannelView> channels;
  Status trim_status;
  Status commit_status;
  uint64_t appended = 0;
  uint64_t pending = 0;

  std::vector<retention::ChannelView> View() override {
    MutexLock lock(mu_);
    looked_at_.push_back(
        std::chrono::duration_cast<std::chrono::milliseconds>(clock_->Monotonic()));
    return channels;
  }
  Status Trim(const std::vector<retention::Trim>& trims) override {
    MutexLock lock(mu_);
    trims_.insert(trims_.end(), trims.begin(), trims.end());
    return trim_status;
  }
  Status Commit(std::vector<storage::CatalogChange> changes) override {
    MutexLock lock(mu_);
    for (const storage::CatalogChange& change : changes) committed_.push_back(Name(change));
    return commit_status;
  }
  uint64_t AppendedBytes() const override { return appended; }
  uint64_t PendingBytes() const override { return pending; }

  // Of every sweep, in milliseconds.
  std::vector<int64_t> times() const {
    MutexLock lock(mu_);
    std::vector<int64_t> times;
    for (const std::chrono::milliseconds each : looked_at_) times.push_back(each.count());
    return times;
  }
  std::vector<retention::Trim> trims() const {
    MutexLock lock(mu_);
    return trims_;
  }
  // "seal", "move to 9", "quarantine 3: why".
  std::vector<std::string> committed() const {
    MutexLock lock(mu_);
    return committed_;
  }

 private:
  static std::string Name(const storage::CatalogChange& change) {
    if (const auto* move = std::get_if<storage::MovePages>(&change))
      return "move to " + std::to_string(move->to);
    if (const auto* quarantine = std::get_if<storage::QuarantineStratum>(&change))
      return "quarantine " + std::to_string(quarantine->number) + ": " + quarantine->why;
    return std::holds_alternative<storage::SealStratum>(change) ? "seal" : "something else";
  }

  Clock* const clock_;
  mutable Mutex mu_;
  std::vector<std::chrono::milliseconds> looked_at_ STRATA_GUARDED_BY(mu_);
  std::vector<retention::Trim> trims_ STRATA_GUARDED_BY(mu_);
  std::vector<std::string> committed_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::testing
