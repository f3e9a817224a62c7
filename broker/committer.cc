#include "broker/committer.h"

#include <pthread.h>

#include <utility>

namespace strata::broker {
namespace {

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
      last_commit_(last_commit) {
  writer_ = std::thread([this] { WriterLoop(); });
  pthread_setname_np(writer_.native_handle(), "strata-write");
  if (sync_ == SyncPolicy::kNone) return;
  syncer_ = std::thread([this] { sync_ == SyncPolicy::kAlways ? SyncLoop() : IntervalLoop(); });
  pthread_setname_np(syncer_.native_handle(), "strata-sync");
}

Committer::~Committer() { Stop(); }

void Committer::Submit(CommitOperation* operation) { Enqueue(operation, /*ahead=*/false); }

void Committer::Enqueue(CommitOperation* operation, bool ahead) {
  {
    MutexLock lock(mu_);
    if (!stopping_) {
      queue_.insert(ahead ? queue_.begin() : queue_.end(), operation);
      if (!writing_) writer_ready_.NotifyOne();
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
  Group group = NewGroup();
  group.push_back({operation, Status()});
  WriteGroup(std::move(group));
  if (!queue_.empty()) writer_ready_.NotifyOne();
  if (sync_ != SyncPolicy::kAlways || syncing_ || written_.empty()) return;
  SyncWritten();
  if (!written_.empty()) syncer_ready_.NotifyOne();
}

void Committer::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    writer_ready_.NotifyAll();
    syncer_ready_.NotifyAll();
    while (writing_ || syncing_ || !queue_.empty() || !written_.empty()) role_returned_.Wait(mu_);
  }
  if (writer_.joinable()) writer_.join();
  if (syncer_.joinable()) syncer_.join();
}

Status Committer::failure() const {
  MutexLock lock(mu_);
  return failure_;
}

void Committer::WriterLoop() {
  MutexLock lock(mu_);
  for (;;) {
    while (queue_.empty() || writing_) {
      if (stopping_ && queue_.empty()) return;
      writer_ready_.Wait(mu_);
    }
    writing_ = true;
    Group group = NewGroup();
    TakeGroup(&group);
    WriteGroup(std::move(group));
    if (sync_ == SyncPolicy::kAlways && !syncing_) syncer_ready_.NotifyOne();
  }
}

void Committer::SyncLoop() {
  MutexLock lock(mu_);
  for (;;) {
    while (written_.empty() || syncing_) {
      if (stopping_ && queue_.empty() && !writing_ && written_.empty()) return;
      syncer_ready_.Wait(mu_);
    }
    SyncWritten();
  }
}

void Committer::IntervalLoop() {
  MutexLock lock(mu_);
  for (;;) {
    while (!unsynced_ && !stopping_) syncer_ready_.Wait(mu_);
    const Clock::Duration deadline = clock_->Monotonic() + sync_interval_;
    while (!stopping_ && clock_->Monotonic() < deadline)
      clock_->WaitUntil(mu_, syncer_ready_, deadline);
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
  if (sync_ != SyncPolicy::kAlways) Complete(&group);
  mu_.Lock();
  writing_ = false;
  if (wrote) {
    unsynced_ = true;
    if (sync_ == SyncPolicy::kInterval) syncer_ready_.NotifyOne();
  }
  if (sync_ == SyncPolicy::kAlways) {
    // Failed groups too: the sync role answers in commit order, so that nobody hears of a failure
    // before the success of an earlier append.
    written_.push_back(std::move(group));
  } else {
    Recycle(std::move(group));
  }
  if (stopping_) role_returned_.NotifyAll();
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
    if (pending.status.ok()) pending.status = status.WithFate(DataFate::kMayHaveBeenAppended);
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
  for (Group& group : syncing_groups_) {
    if (!status.ok()) {
      for (Pending& pending : group) {
        if (pending.status.ok()) pending.status = status.WithFate(DataFate::kMayHaveBeenAppended);
      }
    }
    Complete(&group);
  }
  mu_.Lock();
  for (Group& group : syncing_groups_) Recycle(std::move(group));
  syncing_groups_.clear();
  syncing_ = false;
  if (stopping_) {
    role_returned_.NotifyAll();
    syncer_ready_.NotifyAll();
  }
}

void Committer::Complete(Group* group) {
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
