#include "storage/rocks.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/system_clock.h>
#include <rocksdb/table.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include "storage/crc32c.h"

namespace strata::storage {
namespace {

constexpr std::string_view kStratumPrefix = "stratum-";

// RocksDB's own LOG file would abort the process on a full disk (its writer asserts), and nobody reads it.
class LogAdapter final : public rocksdb::Logger {
 public:
  explicit LogAdapter(strata::Logger log)
      : rocksdb::Logger(log.Enabled(LogLevel::kDebug) ? rocksdb::INFO_LEVEL : rocksdb::WARN_LEVEL),
        log_(std::move(log)) {}

  void Logv(const char* format, va_list arguments) override {
    Write(LogLevel::kDebug, format, arguments);
  }
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel()) return;
    // Its warnings are about itself, writes that wait for a flush for example: nothing for an operator to act upon.
    const LogLevel ours = level > rocksdb::WARN_LEVEL    ? LogLevel::kWarning
                          : level == rocksdb::WARN_LEVEL ? LogLevel::kInfo
                                                         : LogLevel::kDebug;
    Write(ours, format, arguments);
  }

 private:
  void Write(LogLevel level, const char* format, va_list arguments) {
    if (!log_.Enabled(level)) return;
    char line[1024];
    std::vsnprintf(line, sizeof(line), format, arguments);
    log_.Log(level, "rocksdb: {}", line);
  }

  const strata::Logger log_;
};

// RocksDB tries to resume after errors by itself, even after a full disk and even when told to try zero times.
// A write that "succeeds" after a failed sync is what fail-stop exists to prevent.
//
// An error of its own threads is fail-stop at once, also one of reading: a flush opens the table file that it has
// written, one that is given up is never tried again, and RocksDB takes no more writes. Everything acknowledged is in
// the log.
class Listener final : public rocksdb::EventListener {
 public:
  Listener(std::shared_ptr<FailLatch> latch, std::function<void()> before_flush)
      : latch_(std::move(latch)), before_flush_(std::move(before_flush)) {}

  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    if (before_flush_) before_flush_();
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* error) override {
    latch_->Fail("flushing or compacting in the background: " + error->ToString());
  }

 private:
  const std::shared_ptr<FailLatch> latch_;
  const std::function<void()> before_flush_;
};

// RocksDB waits a second after a failed flush before it looks again, and closing waits with it. After fail-stop there
// is nothing to look at again.
class ImpatientClock final : public rocksdb::SystemClockWrapper {
 public:
  explicit ImpatientClock(std::shared_ptr<const FailLatch> latch)
      : SystemClockWrapper(rocksdb::SystemClock::Default()), latch_(std::move(latch)) {}
  const char* Name() const override { return "StrataClock"; }
  void SleepForMicroseconds(int micros) override {
    if (!latch_->failed()) SystemClockWrapper::SleepForMicroseconds(micros);
  }

 private:
  const std::shared_ptr<const FailLatch> latch_;
};

class StoreEnv final : public rocksdb::EnvWrapper {
 public:
  StoreEnv(std::shared_ptr<rocksdb::FileSystem> file_system, std::shared_ptr<const FailLatch> latch)
      : EnvWrapper(rocksdb::NewCompositeEnv(file_system)) {
    file_system_ = std::move(file_system);
    system_clock_ = std::make_shared<ImpatientClock>(std::move(latch));
  }
};

// Half of what the process may open is left to connections. EMFILE on a log file would be fail-stop, so the soft
// limit goes up first.
int MaxOpenFiles() {
  constexpr rlim_t kWanted = 65'536;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  const rlim_t wanted =
      limit.rlim_max == RLIM_INFINITY ? kWanted : std::min(kWanted, limit.rlim_max);
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
    const rlimit raised{wanted, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit.rlim_cur = wanted;
  }
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, kWanted) / 2);
}

rocksdb::CompressionType Compression(int type) {
  return type == 7 ? rocksdb::kZSTD : rocksdb::kNoCompression;
}

rocksdb::DBOptions MakeDbOptions(const StoreOptions& options, rocksdb::Env* env,
                                 std::shared_ptr<FailLatch> latch,
                                 std::function<void()> before_flush) {
  rocksdb::DBOptions db;
  db.env = env;
  db.info_log = std::make_shared<LogAdapter>(options.log);
  db.listeners = {std::make_shared<Listener>(std::move(latch), std::move(before_flush))};
  // Otherwise a thread tries again after an error that is marked as retryable, and until 8.7 closing waits for ever if
  // it overtakes that thread (RocksDB issue 11440).
  db.max_bgerror_resume_count = 0;
  db.create_if_missing = false;
  db.paranoid_checks = true;
  // Where the log ends is decided by ContiguousReplay: at the first group that is not the next one, so damage that is
  // passed over ends it, too, unless all behind it is in table files. What is missing then of the synced part is found
  // before (store_check.cc). Point-in-time recovery would end at damage to what nobody needs any more, delete the logs
  // behind it, and refuse a loss that was accepted ("SST file is ahead of WALs").
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  // true would leave recovered data in an old log that is never synced.
  db.avoid_flush_during_recovery = false;
  // Has a false alarm with SyncWAL until 7.10 and caught neither rot nor a deleted log.
  db.track_and_verify_wals_in_manifest = false;
  // Bounds the replay at open; the default is four times the write buffers of all families, sealed strata included.
  db.max_total_wal_size = std::max<uint64_t>(2 * options.write_buffer, 64u << 10);
  db.max_open_files = MaxOpenFiles();
  // One thread writes, so the cheaper insertion applies.
  db.allow_concurrent_memtable_write = false;
  db.enable_write_thread_adaptive_yield = false;
  // One flush of the stratum and one of the catalog at a time, and a compaction of the catalog. Not 8 or more: a
  // retry bug of parallel flushes is fixed only in 7.9.
  db.max_background_jobs = 3;
  // Starts write-back early, so that a sync finds little left: large flushes otherwise hold up the log's fdatasync.
  db.bytes_per_sync = 1u << 20;
  // Reads are scans of pages: the kernel's own readahead is what makes them fast from a cold disk.
  db.advise_random_on_open = false;
  // Blocks are then views into the mapping, which lives as long as the iterator that reads them: PageReader's users
  // copy what they keep (Read) before it goes. No file is shortened while an iterator is on it (paced_delete.h): it
  // is obsolete only once the last one has gone.
  db.allow_mmap_reads = options.mmap_reads;
  db.max_manifest_file_size = 16u << 20;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.skip_stats_update_on_db_open = true;
  db.dump_malloc_stats = false;
  return db;
}

// What both kinds of families have in common: writers are never slowed down or stopped because of the number of
// files (triggers are per database, and strata keep all theirs in level 0).
rocksdb::ColumnFamilyOptions MakeFamilyOptions() {
  rocksdb::ColumnFamilyOptions family;
  family.level0_slowdown_writes_trigger = 1 << 30;
  family.level0_stop_writes_trigger = 1 << 30;
  family.soft_pending_compaction_bytes_limit = 0;
  family.hard_pending_compaction_bytes_limit = 0;
  family.report_bg_io_stats = false;
  return family;
}

rocksdb::ColumnFamilyOptions MakeStratumOptions(const StoreOptions& options,
                                                std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::ColumnFamilyOptions family = MakeFamilyOptions();
  family.disable_auto_compactions = true;
  // One being filled and one being flushed make `write_buffer`; a third keeps a slow flush from stopping appends.
  family.write_buffer_size = std::max<uint64_t>(options.write_buffer / 3, 64u << 10);
  family.max_write_buffer_number = 3;
  family.num_levels = static_cast<int>(std::max<size_t>(options.compression_types.size(), 2));
  family.compression_per_level.clear();
  for (const int type : options.compression_types) {
    family.compression_per_level.push_back(Compression(type));
  }
  // What a flush uses; per level only says what a later rewrite makes of it.
  family.compression =
      Compression(options.compression_types.empty() ? 0 : options.compression_types[0]);
  // Each channel's batches come in ascending order: remembering where its last one went makes inserting O(1).
  family.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(8));
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.block_size = 64u << 10;
  table.format_version = 5;
  // With a family's files all in level 0, a seek visits each of them; the first key in the index tells without
  // reading a block that a file has nothing in the range.
  table.index_type = rocksdb::BlockBasedTableOptions::kBinarySearchWithFirstKey;
  table.cache_index_and_filter_blocks = false;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

rocksdb::ColumnFamilyOptions MakeCatalogOptions(const StoreOptions& options,
                                                std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::ColumnFamilyOptions family = MakeFamilyOptions();
  // Rows are overwritten once per group and all but the newest version vanish at a flush: the buffer is what bounds
  // how often that happens (about once a second at 150,000 groups per second), not how much is stored.
  family.write_buffer_size = std::clamp<uint64_t>(options.write_buffer / 8, 64u << 10, 16u << 20);
  family.max_write_buffer_number = 3;
  family.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewCappedPrefixTransform(17));
  family.target_file_size_base = 8u << 20;
  family.max_bytes_for_level_base = 32u << 20;
  family.compression = rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.format_version = 5;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

}  // namespace

Status FromRocks(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return Status::Ok();
  const Reason reason = status.IsCorruption() ? Reason::CORRUPTION : Reason::IO_ERROR;
  return Status(reason, std::string(what) + ": " + status.ToString());
}

std::string StratumName(uint32_t number) {
  char name[32];
  std::snprintf(name, sizeof(name), "stratum-%010u", number);
  return name;
}

bool ParseStratumName(std::string_view name, uint32_t* number) {
  if (!name.starts_with(kStratumPrefix)) return false;
  name.remove_prefix(kStratumPrefix.size());
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), *number);
  return name.size() == 10 && error == std::errc() && end == name.data() + name.size();
}

std::set<uint32_t> StrataOf(const std::vector<rocksdb::ColumnFamilyDescriptor>& families) {
  std::set<uint32_t> strata;
  for (const rocksdb::ColumnFamilyDescriptor& family : families) {
    uint32_t number = 0;
    if (ParseStratumName(family.name, &number)) strata.insert(number);
  }
  return strata;
}

RocksSetup MakeRocksSetup(const StoreOptions& options,
                          std::shared_ptr<rocksdb::FileSystem> file_system,
                          std::shared_ptr<FailLatch> latch, std::function<void()> before_flush) {
  if (!HasFastCrc32c()) {
    options.log.Info("RocksDB checks its log by its own CRC-32C, which may be slow: {}",
                     "storage/crc32c.h says when");
  }
  RocksSetup setup;
  setup.env = std::make_unique<StoreEnv>(std::move(file_system), latch);
  setup.block_cache = rocksdb::NewLRUCache(options.block_cache);
  setup.db = MakeDbOptions(options, setup.env.get(), std::move(latch), std::move(before_flush));
  setup.catalog = MakeCatalogOptions(options, setup.block_cache);
  setup.stratum = MakeStratumOptions(options, setup.block_cache);
  return setup;
}

}  // namespace strata::storage
