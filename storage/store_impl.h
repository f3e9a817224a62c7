// The parts of an open store and who may touch them. Internal to storage; the story is in store.h.
//
//   store.cc          the public class, statistics
//   store_open.cc     claiming the directory, opening RocksDB, closing
//   store_check.cc    what is checked before RocksDB opens it
//   store_quarantine.cc  opening although a stratum cannot be
//   store_recover.cc  what an unclean end means: lost data, jumps of ids, the page index
//   store_write.cc    groups and syncs
//   store_read.cc     batches, gaps, times
//   store_space.cc    strata that go, the ballast, what the directory takes
//   store_rewrite.cc  live batches of old strata into a new one
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/executor.h"
#include "storage/catalog.h"
#include "storage/directory.h"
#include "storage/fail_latch.h"
#include "storage/kept_reads.h"
#include "storage/lock.h"
#include "storage/paced_delete.h"
#include "storage/page_index.h"
#include "storage/rehearsal.h"
#include "storage/replay.h"
#include "storage/rocks.h"
#include "storage/store.h"
#include "storage/strata.h"
#include "storage/watermark.h"

namespace strata::storage {

class Store::Impl {
 public:
  explicit Impl(StoreOptions options);
  ~Impl();

  Status Open();
  Status Close();
  Recovered TakeRecovered() { return std::move(recovered_); }

  Status Write(const WriteGroup& group);
  Status Sync();
  Result<std::vector<ReadItem>> Read(ChannelNumber channel, MessageId from, MessageId end,
                                     size_t max_bytes);
  Result<MessageId> FindTime(ChannelNumber channel, TimeMicros time, MessageId from, MessageId end);
  void NoteAcknowledged(const NextIds& next_ids);

  void ForgetPages(ChannelNumber channel, MessageId through);
  std::vector<StratumInfo> DescribeStrata();
  Result<size_t> DropEmptyStrata();
  Result<RewriteResult> Rewrite(const RewriteRequest& request);
  void AbandonRewrite(const RewriteResult& result);
  void SetDeletionRate(uint64_t bytes_per_second) { deleter_.SetRate(bytes_per_second); }
  DiskUsage Usage() const;
  uint64_t BallastBytes() const;
  void ReleaseBallast();
  Status RestoreBallast();
  // After Open() has failed: true if there was ballast, which is gone now, and the disk was full.
  bool MadeRoomForOpening();

  const FailLatch& latch() const { return *latch_; }
  const PageIndex& pages() const { return pages_; }
  StoreStats Stats();
  ChannelSpace Space(ChannelNumber channel) const;

 private:
  // What the writing thread knows of a channel's newest page. It runs ahead of the page index by the group that is
  // being written; should that fail, the store is done writing, so it never has to go back.
  struct OpenPage {
    Page page;
    uint64_t staged_in = 0;  // the group in which it was last added to touched_
  };

  // --- store_open.cc
  Status TryToOpen();
  Status ClaimDirectory();
  Status OpenDatabase();
  Status ListFamilies(std::vector<rocksdb::ColumnFamilyDescriptor>* families) const;
  void DeleteStrayBodies();
  Status OpenFamilies(const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                      std::vector<rocksdb::ColumnFamilyHandle*>* handles);
  Status FinishCreation();
  Status MarkClean();
  void ReleaseDatabase();

  // --- store_check.cc
  // Between which groups the log is replayed: the last one in the catalog's table files, and the last one that a sync
  // is known to have covered.
  struct ReplayLimits {
    uint64_t flushed = 0;
    uint64_t durable = 0;
  };
  enum class OnBody { kRead, kWriteAgain };
  // *unanswered becomes the first error of a disk that did not say whether a body is there: the caller must not go on.
  std::unique_ptr<ContiguousReplay> NewReplay(
      const std::vector<rocksdb::ColumnFamilyDescriptor>& families, const ReplayLimits& limits,
      OnBody on_body, Status* unanswered);
  // Refuses what must not be opened, before RocksDB deletes the files that it would no longer need. With accept_loss,
  // missing_ says what MendPages() has to announce.
  Status Rehearse(const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                  ReplayLimits* limits);
  // ACKNOWLEDGED_DATA_LOST if groups are missing up to the watermark, unless that is accepted.
  Status CheckGroups(const Catalog& catalog, const WatermarkContents& watermark,
                     const ContiguousReplay& replay) const;
  // CORRUPTION if a table file that the MANIFEST does not list holds batches that are nowhere else.
  Status CheckUnlisted(const Rehearsal& rehearsal) const;
  std::string DescribeMissingRows(const Catalog& catalog) const;

  // --- store_quarantine.cc
  struct BrokenStratum;
  // Strata of which a table file is missing or cannot be opened. CORRUPTION if that is the catalog.
  Result<std::vector<BrokenStratum>> FindBrokenStrata(
      const std::vector<rocksdb::ColumnFamilyDescriptor>& families);
  // `why` if nothing broken explains it, or if that is not wanted (options_.quarantine).
  Status SetBrokenStrataAside(const Status& why,
                              const std::vector<rocksdb::ColumnFamilyDescriptor>& families);

  // --- store_recover.cc
  Status Recover();
  Status AdoptStrata(const Catalog& catalog);
  void DropMissingPages(Catalog* catalog, rocksdb::WriteBatch* batch);
  // Pages of strata that miss rows, which was accepted, become what is there, and the rest LOST.
  Status MendPages(Catalog* catalog, rocksdb::WriteBatch* batch);
  // What it tells; nothing if it is missing or damaged. CORRUPTION if it is another store's.
  Result<WatermarkContents> ReadWatermark() const;
  std::string DescribeMissing(const Catalog& catalog, const WatermarkContents& watermark,
                              const std::string& last_log) const;
  // True if acknowledged data is missing and that was accepted.
  Result<bool> CheckWatermark(const Catalog& catalog, WatermarkContents* contents);
  Status MarkRunning(Catalog* catalog, const WatermarkContents& watermark, bool lost);
  void JumpIds(Catalog* catalog, const WatermarkContents& watermark, rocksdb::WriteBatch* batch);
  void AdoptCatalog(Catalog catalog);

  // --- store_write.cc
  Status CheckGroup(const WriteGroup& group) const;
  Status CheckProducer(const WriteGroup& group, const BatchRecord& batch) const;
  void ChooseStratum(TimeMicros now, bool seal);
  Status StageGroup(const WriteGroup& group);
  Status StageBatch(const BatchRecord& batch, uint64_t commit);
  void StagePages();
  Status StageChange(const WriteGroup& group, size_t index);
  Status StageDropChannel(const WriteGroup& group, size_t index);
  Status StageDropProducer(const WriteGroup& group, size_t index);
  void StageTrimPages(const TrimPages& trim);
  Status StageMovePages(const MovePages& move);
  void StageQuarantine(const QuarantineStratum& quarantine);
  void DeleteRowsOfDropped();
  // What is written becomes what is read.
  void ApplyGroup(const WriteGroup& group);
  void SealInBackground(StratumRef sealed);
  Status Failed(DataFate fate) const { return latch_->status().WithFate(fate); }

  // --- store_rewrite.cc
  Status DeleteScratchFiles();  // that an interrupted rewrite left
  struct Copy;
  void AdoptRewritten(const MovePages& move);
  Status CopyPages(const RewriteRequest& request, Copy* copy);
  Status CopyPage(const RewriteRequest& request, const PageUpdate& page, Copy* copy);
  Status CopyBatch(const BatchView& batch, const Buffer& body, Copy* copy);
  Status AppendToCopy(Copy* copy, const rocksdb::Slice& key, const rocksdb::Slice& value);
  Status FinishCopyFile(Copy* copy);
  Status ReadEnds(const std::string& path, const std::string& first_key,
                  const std::string& last_key);
  Status IngestCopy(Copy* copy);

  // --- store_read.cc
  Status ReadPage(ChannelNumber channel, const Page& page, MessageId* from, MessageId end,
                  size_t max_bytes, std::vector<ReadItem>* items, size_t* bytes);
  void LogDamage(ChannelNumber channel, MessageId id, const std::string& what);

  // --- Constant once open
  const StoreOptions options_;
  const std::shared_ptr<FailLatch> latch_;
  std::shared_ptr<rocksdb::FileSystem> base_fs_;
  std::shared_ptr<rocksdb::FileSystem> fs_;  // base_fs_ behind the latch
  std::shared_ptr<KeptReads> kept_reads_;    // the outermost part of fs_
  std::shared_ptr<rocksdb::FileSystem>
      scratch_fs_;  // the same for files whose failure is not the store's
  std::string db_path_;
  PacedDeleter deleter_;
  Identity identity_;
  std::string boot_id_;
  // Destroyed in reverse order: database, setup with its Env, lock.
  std::unique_ptr<StoreLock> lock_;
  RocksSetup rocks_;
  std::unique_ptr<ContiguousReplay> replay_;  // of this open; null for a new store
  std::vector<MissingRows> missing_;          // that the rehearsal of this open found
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* catalog_family_ = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> other_families_;  // of names this version does not know
  std::map<uint32_t, rocksdb::ColumnFamilyHandle*>
      found_strata_;  // between OpenDatabase and AdoptStrata
  std::unique_ptr<Watermark> watermark_;
  Recovered recovered_;
  bool open_ = false;

  // --- Thread-safe by themselves
  PageIndex pages_;
  std::unique_ptr<Executor> maintenance_;  // one thread: spares, sealing
  std::unique_ptr<Executor> releasing_;    // one thread: files of dropped strata
  std::unique_ptr<BodyWriter> bodies_;
  std::unique_ptr<Strata> strata_;
  std::atomic<uint64_t> written_commit_{0};  // the last group that Write() returned
  std::atomic<uint64_t> groups_{0};
  std::atomic<uint64_t> syncs_{0};
  std::atomic<uint64_t> damage_seen_{0};

  Mutex sync_mu_;                           // held for a whole sync
  std::atomic<uint64_t> synced_commit_{0};  // the last group that a sync covers

  // Held while a rewritten stratum joins and gets its pages: in between it looks like one that nobody needs. Before
  // space_mu_ and the mutexes of strata_ and pages_.
  Mutex adopt_mu_;

  Mutex space_mu_;  // leaf
  // A rewritten stratum between Rewrite() and the group that moves pages to it.
  StratumRef rewritten_ STRATA_GUARDED_BY(space_mu_);
  uint64_t rewritten_raw_bytes_ STRATA_GUARDED_BY(space_mu_) = 0;
  // Strata whose family is gone and whose row goes with the next stratum that begins.
  std::vector<uint32_t> rowless_ STRATA_GUARDED_BY(space_mu_);

  // --- Of the one thread that is in Write()
  rocksdb::WriteOptions write_options_;
  rocksdb::WriteBatch batch_;
  std::unique_ptr<CatalogWriter> rows_;
  StratumRef current_;
  StratumRef sealed_;  // by the group being written
  TimeMicros current_created_at_ = 0;
  std::atomic<uint64_t> current_bytes_{0};  // read by others
  ChannelNumber next_channel_ = 1;
  std::unordered_map<ChannelNumber, OpenPage> open_pages_;
  std::set<std::pair<ChannelNumber, uint64_t>> producers_;    // that have a row
  std::vector<std::pair<ChannelNumber, OpenPage*>> touched_;  // of the group being written
  std::vector<PageUpdate> updates_;                           // what it changes in the index
  std::vector<ChannelNumber> dropped_;                        // channels it drops
  std::vector<TrimPages> trimmed_;                            // pages it takes
  std::vector<rocksdb::Slice> pieces_;
};

}  // namespace strata::storage
