// Store: channels' messages and the catalog in one RocksDB, laid out in strata.
//
//   DIR/STRATA      who owns the directory: format version and store id, text
//   DIR/WATERMARK   durable commit number and acknowledged ids, rewritten in place, never synced (watermark.h)
//   DIR/db/         RocksDB: column family `default` is the catalog, `stratum-NNNNNNNNNN` are the strata
//
// A batch is written once per group: the message row into the newest stratum, its page row and the commit number
// into the catalog, all in one WriteBatch. Pages of all channels share a stratum; when the stratum has reached its
// target size the next group goes to a spare that was created ahead of need, and the old one is sealed. Sealed
// strata are never written again, so a stratum can be dropped or rewritten without touching the write path.
//
// Opening: lock (waited for up to lock_timeout), identity check, rehearsal (is anything missing?), replay of the log
// up to the first missing group, decision on lost ids, page index from the catalog, one synced write that says
// "running". Only then does anything become readable.
//
// Errors: the first failed write, sync, create or rename latches the store (fail_latch.h): reads go on, writes and
// syncs answer STORE_FAILED, and only opening it again clears that.
//
// Threads: Write() by one thread at a time, Sync() by one at a time, both at once allowed; everything else by any.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "storage/log_store.h"

namespace rocksdb {
class FileSystem;
}

namespace strata::storage {

struct StoreOptions {
  // --- Behaviour ---
  std::string path;  // the store's directory; created if missing (its parent must exist)
  bool create_if_missing = true;  // false: an empty or missing directory is NOT opened (IO_ERROR)
  SyncPolicy sync = SyncPolicy::kAlways;  // recorded: tells what an unclean end may have lost
  std::chrono::milliseconds lock_timeout{4000};  // server.initializeTimeout
  // Open although a stratum cannot be: what it held is gone, its files are kept aside. --quarantine
  bool quarantine = false;
  bool accept_loss = false;  // open although acknowledged data is missing: ids go on 2^32 higher

  // --- Size and speed ---
  uint64_t page_size = 64u << 20;     // rocksmq.rocksmqPageSize: a page closes at this many bytes
  uint64_t write_buffer = 64u << 20;  // limits.writeBuffer: memory for data not yet in a table file
  // Bodies of this size or more are not written through RocksDB: storage/bodies.h. At 32 KiB the second sync of a lone
  // append costs what writing it twice would.
  uint64_t separate_bytes = 32u << 10;
  uint64_t block_cache = 64u << 20;                      // from rocksmq.lrucacheratio
  std::vector<int> compression_types = {0, 0, 7, 7, 7};  // per level: 0 none, 7 zstd
  bool mmap_reads = false;      // storage.mmapReads: table files through a mapping
  uint64_t max_file_store = 0;  // limits.maxFileStore, bounds the size of a stratum; 0 is no bound
  uint64_t ballast = 0;         // size of the file that is given back on a full disk; 0 is none

  // --- Injected; all may be left out, and outlive the store ---
  Clock* clock = Clock::System();
  Logger log;
  std::shared_ptr<rocksdb::FileSystem> file_system;  // tests: one that loses unsynced data
  std::string boot_id;                               // tests: instead of the kernel's boot id
};

// What `path` takes and what is free there, before a store is opened on it; it need not exist.
DiskUsage MeasureDirectory(const std::string& path,
                           const std::shared_ptr<rocksdb::FileSystem>& file_system = nullptr);

class Store final : public LogStore {
 public:
  // FOREIGN_DIRECTORY, FORMAT_TOO_NEW, STORE_LOCKED, ACKNOWLEDGED_DATA_LOST, CORRUPTION or IO_ERROR; the directory is
  // untouched by the first three.
  static Result<std::unique_ptr<Store>> Open(StoreOptions options);
  // Like Close(), whose error it can only log.
  ~Store() override;

  // What Open() found. Taken over by the broker, once.
  Recovered TakeRecovered();

  Status Write(const WriteGroup& group) override;
  Status Sync() override;
  Result<std::vector<ReadItem>> Read(ChannelNumber channel, MessageId from, MessageId end,
                                     size_t max_bytes) override;
  Result<MessageId> FindTime(ChannelNumber channel, TimeMicros time, MessageId from,
                             MessageId end) override;
  std::optional<MessageId> OldestId(ChannelNumber channel) override;
  std::vector<Page> Pages(ChannelNumber channel) const override;
  void ForgetPages(ChannelNumber channel, MessageId through) override;
  std::vector<StratumInfo> DescribeStrata() const override;
  Result<size_t> DropEmptyStrata() override;
  Result<RewriteResult> Rewrite(const RewriteRequest& request) override;
  void AbandonRewrite(const RewriteResult& result) override;
  void SetDeletionRate(uint64_t bytes_per_second) override;
  DiskUsage Usage() const override;
  uint64_t BallastBytes() const override;
  void ReleaseBallast() override;
  Status RestoreBallast() override;
  void NoteAcknowledged(const std::vector<std::pair<ChannelNumber, MessageId>>& next_ids) override;
  Status Close() override;
  bool failed() const override;
  Status failure() const override;

  StoreStats Stats() const override;
  ChannelSpace Space(ChannelNumber channel) const override;

 private:
  class Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace strata::storage
