#include "broker/committer.h"

#include <pthread.h>

#include <utility>

#include "broker/wakes.h"

namespace strata::broker {
namespace {

// Whether an answer claims that something is stored: an OK, or the refusal of what was stored before.
// It rests on groups that are not synced yet, or not even written, and falls with them.
bool ClaimsStored(const Status& status) {
  return status.ok() || status.fate() == DataFate::kAppended;
}

// What is small, and how long the committer has been without work when the caller of Submit() writes
// it. Appends that come faster than this find a thread awake, and go together in groups.
constexpr size_t kSmall = 16u << 10;
constexpr std::chrono::microseconds kIdle{100};

// A delivery that a wake makes at once takes some 15 us. Two, so that a channel with many readers
// does not hold up what is appended next.
constexpr int kSpareWakes = 2;

Status Stopped() { return Status(Reason::SHUTTING_DOWN, "the broker is closed"); }

}  // namespace

Committer::Committer(const BrokerOptions& options, storage::LogStore* store, uint64_t last_commit,
                     Rider rider)
    : sync_(options.sync),
      sync_interval_(options.sync_interval),
      group_bytes_(options.group_bytes),
      clock_(options.clock),
      log_(options.log),
      store_(store),
      rider_(std::move(rider)),
      last_commit_(last_commit),
      idle_since_(options.clock->Monotonic() - kIdle) {
  worker_ = std::thread([this] { WorkLoop(); });
  pthread_setname_np(worker_.native_handle(), "strata-commit-0");
  if (sync_ == SyncPolicy::kNone) return;
  second_ = std::thread([this] { sync_ == SyncPolicy::kAlways ? WorkLoop() : IntervalLoop(); });
  pthread_setname_np(second_.native_handle(),
                     sync_ == SyncPolicy::kAlways ? "strata-commit-1" : "strata-sync");
}

Committer::~Committer() { Stop(); }

void Committer::Submit(CommitOperation* operation) {
  if (CallerMayWrite(*operation)) {
    RunOrEnqueue(operation, /*ahead=*/false);
  } else {
    Enqueue(operation, /*ahead=*/false);
  }
}

bool Committer::CallerMayWrite(const CommitOperation& operation) {
  if (sync_ == SyncPolicy::kAlways || operation.bytes() > kSmall) return false;
  MutexLock lock(mu_);
  return clock_->Monotonic() - idle_since_ >= kIdle;
}

void Committer::Enqueue(CommitOperation* operation, bool ahead) {
  {
    MutexLock lock(mu_);
    if (!stopping_) {
      queue_.insert(ahead ? queue_.begin() : queue_.end(), operation);
      if (!writing_) CallWriter();
      return;
    }
  }
  operation->Done(Stopped());
}

void Committer::Run(CommitOperation* operation) { RunOrEnqueue(operation, /*ahead=*/false); }

void Committer::RunAhead(CommitOperation* operation) { RunOrEnqueue(operation, /*ahead=*/true); }

void Committer::RunOrEnqueue(CommitOperation* operation, bool ahead) {
  MutexLock lock(mu_);
  if (stopping_ || writing_ || !queue_.empty()) {
    lock.Unlock();
    Enqueue(operation, ahead);
    return;
  }
  writing_ = true;
  called_ = false;
  Group group = NewGroup();
  group.push_back({operation, Status()});
  WriteGroup(std::move(group));
  if (MayWrite()) CallWriter();
  if (!MaySync()) return;
  SyncWritten();
  if (MaySync()) work_ready_.NotifyOne();
}

void Committer::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    work_ready_.NotifyAll();
    interval_due_.NotifyAll();
    while (writing_ || syncing_ || !queue_.empty() || !written_.empty()) role_returned_.Wait(mu_);
  }
  if (worker_.joinable()) worker_.join();
  if (second_.joinable()) second_.join();
}

Status Committer::failure() const {
  MutexLock lock(mu_);
  return failure_;
}

void Committer::CallWriter() {
  if (std::exchange(called_, true)) return;
  work_ready_.NotifyOne();
}

void Committer::WorkLoop() {
  MutexLock lock(mu_);
  for (;;) {
    if (MayWrite()) {
      writing_ = true;
      called_ = false;
      Group group = NewGroup();
      TakeGroup(&group);
      WriteGroup(std::move(group));
      // With more to write the sync is the other thread's, else this one does it without a
      // hand-over.
      if (MayWrite() && MaySync()) work_ready_.NotifyOne();
    } else if (MaySync()) {
      SyncWritten();
    } else if (stopping_ && queue_.empty() && written_.empty() && !writing_ && !syncing_) {
      return;
    } else {
      work_ready_.Wait(mu_);
    }
  }
}

void Committer::IntervalLoop() {
  MutexLock lock(mu_);
  for (;;) {
    while (!unsynced_ && !stopping_) interval_due_.Wait(mu_);
    const Clock::Duration deadline = clock_->Monotonic() + sync_interval_;
    while (!stopping_ && clock_->Monotonic() < deadline)
      clock_->WaitUntil(mu_, interval_due_, deadline);
    // What a stopping broker leaves unsynced is synced by the store's clean close.
    if (stopping_) return;
    unsynced_ = false;
    if (!failure_.ok()) continue;
    syncing_ = true;
    mu_.Unlock();
    const Status status = store_->Sync();
    if (!status.ok()) LatchFailure(status);
    mu_.Lock();
    syncing_ = false;
    role_returned_.NotifyAll();
    // The worker ends only when nobody syncs any more.
    if (stopping_) work_ready_.NotifyAll();
  }
}

void Committer::TakeGroup(Group* group) {
  uint64_t bytes = 0;
  while (!queue_.empty() && (group->empty() || bytes + queue_.front()->bytes() <= group_bytes_)) {
    bytes += queue_.front()->bytes();
    group->push_back({queue_.front(), Status()});
    queue_.pop_front();
  }
}

void Committer::WriteGroup(Group group) {
  const Status failure = failure_;
  mu_.Unlock();
  Status status;
  bool wrote = false;
  if (failure.ok()) {
    status = PrepareAndWrite(&group, &wrote);
  } else {
    for (Pending& pending : group) pending.status = failure.WithFate(DataFate::kNotAppended);
  }
  if (!status.ok()) LatchFailure(status);
  mu_.Lock();
  if (sync_ != SyncPolicy::kAlways) {
    const int spare = SpareWakes(group);
    mu_.Unlock();
    Complete(&group, spare);
    mu_.Lock();
    idle_since_ = clock_->Monotonic();
  }
  writing_ = false;
  if (wrote) {
    unsynced_ = true;
    if (sync_ == SyncPolicy::kInterval) interval_due_.NotifyOne();
  }
  if (sync_ == SyncPolicy::kAlways) {
    // Failed groups too: the sync role answers in commit order, so that nobody hears of a failure
    // before the success of an earlier append.
    written_.push_back(std::move(group));
  } else {
    Recycle(std::move(group));
  }
  if (stopping_) {
    role_returned_.NotifyAll();
    work_ready_.NotifyAll();
  }
}

Status Committer::PrepareAndWrite(Group* group, bool* wrote) {
  for (Pending& pending : *group) pending.status = pending.operation->Prepare(&write_group_);
  rider_(&write_group_);
  if (write_group_.empty()) return Status::Ok();
  write_group_.commit = last_commit_ + 1;
  const Status status = store_->Write(write_group_);
  // Let go of the payloads now: the tail cache alone decides how long they stay in memory.
  write_group_.Clear();
  *wrote = true;
  if (status.ok()) {
    ++last_commit_;
    return status;
  }
  for (Pending& pending : *group) {
    if (ClaimsStored(pending.status))
      pending.status = status.WithFate(DataFate::kMayHaveBeenAppended);
  }
  return status;
}

void Committer::SyncWritten() {
  syncing_ = true;
  syncing_groups_.swap(written_);
  const bool must_sync = std::exchange(unsynced_, false);
  const Status failure = failure_;
  mu_.Unlock();
  Status status = failure;
  if (failure.ok() && must_sync) status = store_->Sync();
  if (!status.ok()) LatchFailure(status);
  mu_.Lock();
  const bool last = !writing_ && written_.empty() && syncing_groups_.size() == 1;
  const int spare = last ? SpareWakes(syncing_groups_.front()) : 0;
  mu_.Unlock();
  for (Group& group : syncing_groups_) {
    if (!status.ok()) {
      for (Pending& pending : group) {
        if (ClaimsStored(pending.status))
          pending.status = status.WithFate(DataFate::kMayHaveBeenAppended);
      }
    }
    Complete(&group, spare);
  }
  mu_.Lock();
  for (Group& group : syncing_groups_) Recycle(std::move(group));
  syncing_groups_.clear();
  syncing_ = false;
  if (stopping_) {
    role_returned_.NotifyAll();
    work_ready_.NotifyAll();
  }
}

int Committer::SpareWakes(const Group& group) const {
  const bool alone =
      queue_.empty() && group.size() == 1 && group.front().operation->bytes() <= kSmall;
  return alone ? kSpareWakes : 0;
}

void Committer::Complete(Group* group, int spare) {
  const SpareTime spare_time(spare);
  for (Pending& pending : *group) {
    if (pending.status.ok()) pending.operation->Publish();
    pending.operation->Done(pending.status);
  }
}

void Committer::LatchFailure(const Status& status) {
  {
    MutexLock lock(mu_);
    if (!failure_.ok()) return;
    failure_ = status;
  }
  log_.Error(
      "the store stopped writing for good; reading goes on; restart after mending the cause: {}",
      status.message());
}

Committer::Group Committer::NewGroup() {
  if (free_groups_.empty()) return Group();
  Group group = std::move(free_groups_.back());
  free_groups_.pop_back();
  return group;
}

void Committer::Recycle(Group group) {
  // Eight are more than the groups that are ever under way at once; the rest came from a burst.
  if (free_groups_.size() >= 8) return;
  group.clear();
  free_groups_.push_back(std::move(group));
}

}  // namespace strata::broker
