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
// Roles are not tied to threads. The two threads of the committer each take what is due: under load
// one writes and the other syncs; but one that has written and finds nothing else queued syncs and
// answers itself, so that a lone submitted append costs one hand-over between threads, not two. A
// caller of Run() who finds the queue empty and the role free takes the write role, then the sync
// role, itself: a lone synchronous append costs none (LevelDB's leader, without the queue of
// writers).
//
// Under SyncPolicy::kInterval and kNone groups are published and answered by the write role, in
// commit order, by one thread; with kInterval another one syncs what was written at most
// sync_interval ago. What Submit() brings there is written by its caller if it is small and the
// committer has had nothing to do for a while: a write of at most 16 KiB to the page cache costs less
// than waking a thread for it (measured over the Unix socket at 2,000 messages of 1 KB a second:
// delivery p50 145 us instead of 180 us, 7 context switches per message instead of 12).
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

  // Queues the operation and returns. Under kInterval and kNone it may be written at once, Done()
  // called: see above. Never waits for a sync.
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

  // Takes whichever role is free and due, until the end. Two threads under kAlways, else one.
  void WorkLoop();
  void IntervalLoop();  // kInterval

  bool MayWrite() const STRATA_REQUIRES(mu_) { return !queue_.empty() && !writing_; }
  bool MaySync() const STRATA_REQUIRES(mu_) { return !written_.empty() && !syncing_; }
  // Sees to it that a thread takes the write role, unless one is on its way.
  void CallWriter() STRATA_REQUIRES(mu_);

  void Enqueue(CommitOperation* operation, bool ahead);
  void RunOrEnqueue(CommitOperation* operation, bool ahead);
  // Whether the caller of Submit() is to do the work.
  bool CallerMayWrite(const CommitOperation& operation) STRATA_EXCLUDES(mu_);
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
  // completes groups. `spare`: how many wakes may do their work meanwhile (wakes.h).
  static void Complete(Group* group, int spare);
  // For a group that is about to be completed: some if it is one small operation with nothing
  // behind it, which a delivery could delay.
  int SpareWakes(const Group& group) const STRATA_REQUIRES(mu_);
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
  CondVar work_ready_;
  CondVar interval_due_;  // kInterval
  CondVar role_returned_;
  std::deque<CommitOperation*> queue_ STRATA_GUARDED_BY(mu_);
  std::vector<Group> written_
      STRATA_GUARDED_BY(mu_);  // kAlways: handed to the store, not yet completed
  bool unsynced_ STRATA_GUARDED_BY(mu_) =
      false;  // the store was written to since the last sync began
  bool writing_ STRATA_GUARDED_BY(mu_) = false;  // the write role is held
  bool syncing_ STRATA_GUARDED_BY(mu_) = false;  // the sync role is held
  bool called_ STRATA_GUARDED_BY(mu_) = false;   // for the write role, which nobody has taken since
  bool stopping_ STRATA_GUARDED_BY(mu_) = false;
  Status failure_ STRATA_GUARDED_BY(mu_);
  std::vector<Group> free_groups_ STRATA_GUARDED_BY(mu_);
  Clock::Duration idle_since_ STRATA_GUARDED_BY(mu_);  // the write role was given back; not kAlways

  std::thread worker_;
  std::thread second_;  // another worker, or the interval's
};

}  // namespace strata::broker
