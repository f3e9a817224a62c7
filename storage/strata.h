// Strata: the column families that hold messages, by number; which is written; which are ready to be written next.
//
//   stratum 7 .. 9: sealed      stratum 10: current      11, 12, 13: spares, empty, created ahead of need
//
// Creating a family stalls concurrent writes (15 ms at 64 families), so spares are made four at a time on the
// maintenance thread before they are needed, and a group never waits for one: without a spare the current stratum
// overshoots.
//
// A rewrite takes a spare, too: it is filled by ingesting table files while nobody else knows of it, and joins the
// sealed ones when the pages have been moved. So numbers say nothing about age; created_at does.
//
// Writing to a dropped family would poison the whole database. Only the current stratum is ever written and only
// sealed ones are dropped, so that cannot happen. Flushing one is as bad: where it fills the family's buffers, RocksDB
// stops all writers until they are flushed, which for a dropped family never happens. So Flush() and Drop() of a
// stratum exclude each other.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "storage/bodies.h"
#include "storage/catalog.h"
#include "storage/fail_latch.h"
#include "storage/records.h"

namespace strata::storage {

// A column family in use. The family's files go with the last reference, which may cost an unlink per file, so that
// is handed to a thread of its own.
struct Stratum {
  uint32_t number = 0;
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  std::shared_ptr<const BodyReader> bodies;
  // Set by Drop(): what is released last is deleted, too.
  mutable std::atomic<bool> dropped = false;
};
using StratumRef = std::shared_ptr<const Stratum>;

// Thread-safe. All references must be gone before it is destroyed, and it before the database.
class Strata {
 public:
  // `fs`, `db_path`: where the body files are.
  Strata(rocksdb::DB* db, rocksdb::ColumnFamilyOptions options,
         std::shared_ptr<rocksdb::FileSystem> fs, std::string db_path, Executor* maintenance,
         Executor* releasing, std::shared_ptr<FailLatch> latch, Logger log);
  ~Strata();

  // Takes over families found at open: those with data, in ascending order, then spares.
  void AddUsed(const StratumRecord& record, rocksdb::ColumnFamilyHandle* handle);
  void AddSpare(uint32_t number, rocksdb::ColumnFamilyHandle* handle);

  // Creates spares until there are `count`, on the calling thread.
  Status FillSpares(size_t count);

  // Null if there is none of this number.
  StratumRef Find(uint32_t number) const;
  // The next spare, which is written from now on; null if none is ready. Orders more on the maintenance thread
  // when few are left.
  StratumRef TakeSpare(TimeMicros now);
  // A spare for a rewrite, created on the calling thread if need be. It is nowhere until AddRewritten().
  Result<StratumRef> TakeForRewrite();
  void AddRewritten(const StratumRecord& record, StratumRef stratum, uint64_t raw_bytes);

  void Seal(uint32_t number, TimeMicros now, uint64_t raw_bytes);
  // Writes what a sealed one has in memory to its files, on the calling thread, of which there is only one; nothing if
  // it was dropped.
  Status Flush(uint32_t number);
  void SetQuarantine(uint32_t number, const std::string& why);
  // Its row as of now; none if there is none of this number.
  std::optional<StratumRecord> Record(uint32_t number) const;
  // Those with data, in the order of created_at; live_pages and live_bytes are the caller's to fill in, as is raw_bytes
  // of the current one.
  std::vector<StratumInfo> Describe();
  // Drops sealed ones: their families at once, their files with the last reference. Waits for a Flush() of one of them.
  Status Drop(const std::vector<uint32_t>& numbers);
  // Drops a family that is nowhere.
  Status DropUnknown(const StratumRef& stratum);

  size_t used() const;
  size_t spares() const;

 private:
  struct Used {
    StratumRef stratum;
    StratumRecord record;
    std::optional<uint64_t> raw_bytes;  // keys and values of its batches, from sealing on
  };

  StratumRef Wrap(uint32_t number, rocksdb::ColumnFamilyHandle* handle);
  void OrderSpares();
  uint64_t RawBytes(rocksdb::ColumnFamilyHandle* handle) const;

  rocksdb::DB* const db_;
  const rocksdb::ColumnFamilyOptions options_;
  const std::shared_ptr<rocksdb::FileSystem> fs_;
  const std::string db_path_;
  Executor* const maintenance_;
  Executor* const releasing_;
  const std::shared_ptr<FailLatch> latch_;
  const Logger log_;

  Mutex create_mu_;  // held while families are created; taken before mu_
  mutable Mutex mu_;
  std::map<uint32_t, Used> used_ STRATA_GUARDED_BY(mu_);
  std::deque<StratumRef> spares_ STRATA_GUARDED_BY(mu_);
  uint32_t next_number_ STRATA_GUARDED_BY(mu_) = 1;
  bool ordered_ STRATA_GUARDED_BY(mu_) = false;  // a creation is queued or under way
  std::optional<uint32_t> flushing_ STRATA_GUARDED_BY(mu_);
  CondVar flushed_;
};

}  // namespace strata::storage
