// Committer: one commit pipeline for all channels. Two roles, each held by one thread at a time:
//
//     queue --> write role --------------> written --> sync role -----------------> answered
//               Prepare, one Write()                   one Sync(), Publish, Done
//               group n+2                  group n+1   groups ..n
//
// While one sync runs the next group is written, so that syncing before acknowledging costs no
// throughput (measured: 556 to 638 MB/s against 410 to 440 with the sync inside the write and 615
// to 640 without any). A sync covers every group whose Write() had returned when it began; they are
// published and answered in commit order, so what a reader sees is always a durable prefix.
//
// Roles are not tied to threads. Two threads of the committer hold them under load; but a caller of
// Run() who finds the queue empty and the role free takes the write role, then the sync role,
// itself: a lone synchronous append costs no hand-over between threads (LevelDB's leader, without
// the queue of writers).
//
// Under SyncPolicy::kInterval and kNone groups are published and answered by the write role, in
// commit order; with kInterval the sync thread syncs what was written at most sync_interval ago.
//
// Fail-stop: the first error of Write() or Sync() is final. Operations whose group was handed to
// the store get it as "may have been appended", those still queued and all later ones as "not
// appended". A failed sync is never repeated.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "broker/options.h"
#include "storage/log_store.h"

namespace strata::broker {

// An append or a change of the catalog on its way through the committer, which calls the three
// functions in this order, on whichever thread holds the role, never two for one operation at a
// time.
class CommitOperation {
 public:
  virtual ~CommitOperation() = default;

  // Bytes it adds to its group. Constant.
  virtual size_t bytes() const = 0;
  // Write role: adds its rows to the group, ids assigned. An error rejects this operation alone
  // (nothing of it was added); its answer still waits for the groups before it, since it may rest
  // on what they changed.
  virtual Status Prepare(storage::WriteGroup* group) = 0;
  // In commit order, once its group counts as acknowledged: makes it visible. Not called after an
  // error.
  virtual void Publish() = 0;
  // Last, exactly once: OK after Publish, else the error with the fate of the data. The committer
  // forgets the operation before the call, which may destroy it.
  virtual void Done(const Status& status) = 0;
};

class Committer {
 public:
  // Adds rows to a group that is about to be written (cursors of subscriptions ride along). Write
  // role.
  using Rider = std::function<void(storage::WriteGroup*)>;

  // `store` outlives the committer. `last_commit` is the number of the last group in it.
  Committer(const BrokerOptions& options, storage::LogStore* store, uint64_t last_commit,
            Rider rider);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // Queues the operation; returns at once.
  void Submit(CommitOperation* operation);
  // The same, but the calling thread may do the work: Done() may or may not have been called on
  // return.
  void Run(CommitOperation* operation);
  // The same, before all that is queued: for what gives space back. Behind the appends that clients may have pending
  // (64 MiB) it would come a quarter of a second late, and the disk would hold what was appended meanwhile.
  void RunAhead(CommitOperation* operation);

  // Completes what is queued and joins the threads; what kInterval and kNone leave unsynced is for
  // the store's clean close. Operations afterwards get SHUTTING_DOWN. Idempotent.
  void Stop();

  // Fail-stop.
  Status failure() const;

 private:
  struct Pending {
    CommitOperation* operation;
    Status status;  // of Prepare, later of the group
  };
  // Operations that were written together. Reused, so that a group costs no allocation once warmed
  // up.
  using Group = std::vector<Pending>;

  void WriterLoop();
  void SyncLoop();      // kAlways
  void IntervalLoop();  // kInterval

  void Enqueue(CommitOperation* operation, bool ahead);
  void RunOrEnqueue(CommitOperation* operation, bool ahead);
  // Moves operations of about group_bytes from the queue into `group`.
  void TakeGroup(Group* group) STRATA_REQUIRES(mu_);
  // REQUIRES: the caller holds the write role, which is given back. mu_ is released meanwhile.
  void WriteGroup(Group group) STRATA_REQUIRES(mu_);
  // The part of it without mu_. `*wrote` tells whether the store was written to.
  Status PrepareAndWrite(Group* group, bool* wrote);
  // REQUIRES: nobody holds the sync role; takes it, syncs and completes what is written, gives it
  // back. mu_ is released meanwhile.
  void SyncWritten() STRATA_REQUIRES(mu_);
  // Publishes and answers the operations of a group, in order. Called by the one role that
  // completes groups.
  static void Complete(Group* group);
  // Before anybody is answered with it, so that whoever hears of a failure finds the committer
  // failed and what is sent then is not written.
  void LatchFailure(const Status& status) STRATA_EXCLUDES(mu_);
  Group NewGroup() STRATA_REQUIRES(mu_);
  void Recycle(Group group) STRATA_REQUIRES(mu_);

  const SyncPolicy sync_;
  const std::chrono::microseconds sync_interval_;
  const uint64_t group_bytes_;
  Clock* const clock_;
  const Logger log_;
  storage::LogStore* const store_;
  const Rider rider_;

  // Owned by the holder of the write role.
  storage::WriteGroup write_group_;
  uint64_t last_commit_;

  // Owned by the holder of the sync role.
  std::vector<Group> syncing_groups_;

  mutable Mutex mu_;
  CondVar writer_ready_;
  CondVar syncer_ready_;
  CondVar role_returned_;
  std::deque<CommitOperation*> queue_ STRATA_GUARDED_BY(mu_);
  std::vector<Group> written_
      STRATA_GUARDED_BY(mu_);  // kAlways: handed to the store, not yet completed
  bool unsynced_ STRATA_GUARDED_BY(mu_) =
      false;  // the store was written to since the last sync began
  bool writing_ STRATA_GUARDED_BY(mu_) = false;  // the write role is held
  bool syncing_ STRATA_GUARDED_BY(mu_) = false;  // the sync role is held
  bool stopping_ STRATA_GUARDED_BY(mu_) = false;
  Status failure_ STRATA_GUARDED_BY(mu_);
  std::vector<Group> free_groups_ STRATA_GUARDED_BY(mu_);

  std::thread writer_;
  std::thread syncer_;
};

}  // namespace strata::broker
