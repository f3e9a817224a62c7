// MemoryStore: a LogStore in memory, for tests of everything above the seam, without RocksDB. Users'
// tests have it inside an InMemoryBroker (in_memory.h).
//
// It keeps what a disk would: groups that were written, and how many of them a sync covers. A test
// can
//  - hold a sync (HoldSyncs / ReleaseSyncs) to look at the world while groups are written and not
//  durable,
//  - fail the next write or sync, after which the store is failed for good, as the real one,
//  - cut the power: Reopen() gives a new store with the durable groups, or a prefix of the others
//  too,
//  - break one batch (Damage), or hide ids as retention would (DropBefore).
// Every batch is a page of its own, so that retention can take any of them; there are no strata.
// It checks its callers as it goes: ids, commit numbers and producers' sequences must continue, a
// batch's producer must have a row by the end of its group, and no call may follow a failure.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "storage/log_store.h"

namespace strata::testing {

class MemoryStore final : public storage::LogStore {
 public:
  // What it remembers of what was written: every group, which is what a power cut is made of and grows
  // for ever, or nothing but the channels as they are.
  enum class History { kAll, kNone };
  explicit MemoryStore(History history = History::kAll) : history_(history) {}

  // The state after a power cut: the groups that a sync covered, and the first `unsynced` of the
  // others.
  // REQUIRES: History::kAll.
  std::unique_ptr<MemoryStore> Reopen(size_t unsynced = 0) const;
  // A new store with everything that was written, after a kill rather than a power cut; this one is
  // empty then. For History::kNone.
  std::unique_ptr<MemoryStore> TakeOver();
  // What a broker starts from.
  storage::Recovered Recover() const;

  // --- What goes wrong ---
  void HoldSyncs();
  void ReleaseSyncs();
  void AwaitHeldSync();  // until a Sync() is being held
  void HoldWrites();
  void ReleaseWrites();
  void AwaitHeldWrite();
  void FailNextWrite();
  void FailNextSync();
  void Damage(ChannelNumber channel, MessageId first_id);
  void DropBefore(ChannelNumber channel, MessageId id);
  void SetUsage(storage::DiskUsage usage);

  // --- What happened ---
  size_t groups() const;  // written
  size_t durable_groups() const;
  size_t syncs() const;  // completed
  size_t reads() const;
  bool closed() const;
  // The batches of each group, for tests of grouping.
  std::vector<size_t> batches_per_group() const;
  // Breaches of the seam's rules by the code under test, empty if none.
  std::vector<std::string> breaches() const;
  std::vector<std::pair<ChannelNumber, MessageId>> noted() const;

  // --- LogStore ---
  Status Write(const storage::WriteGroup& group) override;
  Status Sync() override;
  Result<std::vector<storage::ReadItem>> Read(ChannelNumber channel, MessageId from, MessageId end,
                                              size_t max_bytes) override;
  Result<MessageId> FindTime(ChannelNumber channel, TimeMicros time, MessageId from,
                             MessageId end) override;
  std::optional<MessageId> OldestId(ChannelNumber channel) override;
  std::vector<storage::Page> Pages(ChannelNumber channel) const override;
  void ForgetPages(ChannelNumber channel, MessageId through) override;
  std::vector<storage::StratumInfo> DescribeStrata() const override;
  Result<size_t> DropEmptyStrata() override;
  Result<storage::RewriteResult> Rewrite(const storage::RewriteRequest& request) override;
  void AbandonRewrite(const storage::RewriteResult& result) override;
  void SetDeletionRate(uint64_t /*bytes_per_second*/) override {}
  storage::DiskUsage Usage() const override;
  uint64_t BallastBytes() const override;
  void ReleaseBallast() override;
  Status RestoreBallast() override;
  void NoteAcknowledged(const std::vector<std::pair<ChannelNumber, MessageId>>& next_ids) override;
  Status Close() override;
  bool failed() const override;
  Status failure() const override;
  storage::StoreStats Stats() const override;
  storage::ChannelSpace Space(ChannelNumber channel) const override;

 private:
  // What is kept of a producer: its row, and the slots of its results.
  struct ProducerRows {
    storage::ProducerRecord record;  // number 0: no row
    std::map<uint64_t, storage::ProducerResult> slots;
  };
  struct ChannelState {
    storage::ChannelRecord record;
    std::map<MessageId, storage::StoredBatch> batches;
    std::map<std::string, storage::SubscriptionRecord> subscriptions;
    std::map<uint64_t, ProducerRows> producers;  // by number
    MessageId next_id = kFirstMessageId;
    TimeMicros last_append_time = 0;
    MessageId trimmed_through = 0;  // rows gone, perhaps not yet forgotten
  };

  static std::vector<storage::ProducerResult> Results(const ProducerRows& rows);
  static void Erase(ChannelState* channel, MessageId through);
  void Apply(const storage::WriteGroup& group) STRATA_REQUIRES(mu_);
  void ApplyBatch(const storage::BatchRecord& batch) STRATA_REQUIRES(mu_);
  void ApplyResult(const storage::BatchRecord& batch, ChannelState* channel) STRATA_REQUIRES(mu_);
  void ApplyChange(const storage::CatalogChange& change) STRATA_REQUIRES(mu_);
  void Breach(std::string what) STRATA_REQUIRES(mu_) { breaches_.push_back(std::move(what)); }
  Status FailLocked(const char* what) STRATA_REQUIRES(mu_);

  const History history_;
  mutable Mutex mu_;
  CondVar changed_;
  size_t written_ STRATA_GUARDED_BY(mu_) = 0;  // groups
  std::vector<storage::WriteGroup> groups_ STRATA_GUARDED_BY(mu_);
  size_t durable_ STRATA_GUARDED_BY(mu_) = 0;
  size_t syncs_ STRATA_GUARDED_BY(mu_) = 0;
  size_t reads_ STRATA_GUARDED_BY(mu_) = 0;
  std::map<ChannelNumber, ChannelState> channels_ STRATA_GUARDED_BY(mu_);
  std::map<ChannelNumber, std::vector<MessageId>> damaged_ STRATA_GUARDED_BY(mu_);
  ChannelNumber next_channel_ STRATA_GUARDED_BY(mu_) = 1;
  uint64_t commit_ STRATA_GUARDED_BY(mu_) = 0;
  bool hold_syncs_ STRATA_GUARDED_BY(mu_) = false;
  bool sync_held_ STRATA_GUARDED_BY(mu_) = false;
  bool hold_writes_ STRATA_GUARDED_BY(mu_) = false;
  bool write_held_ STRATA_GUARDED_BY(mu_) = false;
  bool fail_write_ STRATA_GUARDED_BY(mu_) = false;
  bool fail_sync_ STRATA_GUARDED_BY(mu_) = false;
  bool writing_ STRATA_GUARDED_BY(mu_) = false;
  bool syncing_ STRATA_GUARDED_BY(mu_) = false;
  bool closed_ STRATA_GUARDED_BY(mu_) = false;
  Status failure_ STRATA_GUARDED_BY(mu_);
  std::vector<std::string> breaches_ STRATA_GUARDED_BY(mu_);
  std::vector<std::pair<ChannelNumber, MessageId>> noted_ STRATA_GUARDED_BY(mu_);
  storage::DiskUsage usage_ STRATA_GUARDED_BY(mu_){0, uint64_t{1} << 40};
};

}  // namespace strata::testing
