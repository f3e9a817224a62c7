// How Strata sets RocksDB up: options with their reasons, its log lines into ours, its errors into Status.
// Internal to storage.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/file_system.h>
#include <rocksdb/options.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "storage/fail_latch.h"
#include "storage/store.h"

namespace strata::storage {

inline std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }
inline rocksdb::Slice SliceOf(std::string_view view) { return {view.data(), view.size()}; }

// OK, CORRUPTION, or IO_ERROR for everything else; `what` says what was tried and on which path.
Status FromRocks(const rocksdb::Status& status, std::string_view what);

// RocksDB's own number of `default`, the catalog's family, in logs and MANIFEST.
inline constexpr uint32_t kCatalogFamilyId = 0;

// "stratum-0000000042" and back; false for names that are not a stratum's.
std::string StratumName(uint32_t number);
bool ParseStratumName(std::string_view name, uint32_t* number);
// The numbers of the strata among these.
std::set<uint32_t> StrataOf(const std::vector<rocksdb::ColumnFamilyDescriptor>& families);

// Everything of RocksDB that is set up from StoreOptions, once per open store.
struct RocksSetup {
  std::unique_ptr<rocksdb::Env> env;  // outlives the database
  rocksdb::DBOptions db;
  rocksdb::ColumnFamilyOptions catalog;
  rocksdb::ColumnFamilyOptions stratum;
  std::shared_ptr<rocksdb::Cache> block_cache;
};
// `file_system` is the latched one; an error of RocksDB's own threads sets `latch`, too.
// `before_flush` runs before the rows of a memtable go to a table file, on the thread that flushes; what it fails to
// do has to set the latch.
RocksSetup MakeRocksSetup(const StoreOptions& options,
                          std::shared_ptr<rocksdb::FileSystem> file_system,
                          std::shared_ptr<FailLatch> latch,
                          std::function<void()> before_flush = nullptr);

}  // namespace strata::storage
