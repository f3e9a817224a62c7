#include "storage/replay.h"

#include <rocksdb/write_batch.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "storage/catalog.h"

namespace strata::storage {
namespace {

// Finds the commit number of a group in the first catalog row that has one.
class CommitFinder final : public rocksdb::WriteBatch::Handler {
 public:
  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    if (family == kCatalogFamilyId) commit_ = CommitOfRow(View(key), View(value));
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t, const rocksdb::Slice&) override {
    return rocksdb::Status::OK();
  }
  bool Continue() override { return !commit_.has_value(); }

  std::optional<uint64_t> commit() const { return commit_; }

 private:
  std::optional<uint64_t> commit_;
};

// Collects where the bodies of a group are.
class BodyFinder final : public rocksdb::WriteBatch::Handler {
 public:
  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    BatchView batch;
    if (family != kCatalogFamilyId && DecodeBatch(View(key), View(value), &batch) == nullptr &&
        batch.elsewhere) {
      bodies_.push_back(*batch.elsewhere);
    }
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t, const rocksdb::Slice&) override {
    return rocksdb::Status::OK();
  }

  const std::vector<BodyReference>& bodies() const { return bodies_; }

 private:
  std::vector<BodyReference> bodies_;
};

class ReplayNothing final : public rocksdb::WalFilter {
 public:
  WalProcessingOption LogRecordFound(unsigned long long, const std::string&,
                                     const rocksdb::WriteBatch&, rocksdb::WriteBatch*,
                                     bool*) override {
    return WalProcessingOption::kStopReplay;
  }
  const char* Name() const override { return "StrataReplayNothing"; }
};

}  // namespace

rocksdb::WalFilter::WalProcessingOption ContiguousReplay::LogRecordFound(
    unsigned long long, const std::string& log_file_name, const rocksdb::WriteBatch& batch,
    rocksdb::WriteBatch*, bool*) {
  last_log_ = log_file_name;
  CommitFinder finder;
  const rocksdb::Status status = batch.Iterate(&finder);
  if (!status.ok() || !finder.commit()) return WalProcessingOption::kContinueProcessing;
  // Opening and closing write the last number again.
  if (*finder.commit() > last_ + 1) {
    behind_hole_ = finder.commit();
    return WalProcessingOption::kStopReplay;
  }
  if (*finder.commit() > durable_ && !HasBodies(batch)) {
    without_body_ = finder.commit();
    return WalProcessingOption::kStopReplay;
  }
  last_ = std::max(last_, *finder.commit());
  return WalProcessingOption::kContinueProcessing;
}

bool ContiguousReplay::HasBodies(const rocksdb::WriteBatch& batch) const {
  BodyFinder finder;
  batch.Iterate(&finder).PermitUncheckedError();
  return std::all_of(finder.bodies().begin(), finder.bodies().end(), has_body_);
}

Result<Catalog> FlushedCatalog(const RocksSetup& rocks, const std::string& db_path) {
  ReplayNothing nothing;
  return RehearseReplay(rocks, db_path, &nothing);
}

Result<Catalog> RehearseReplay(const RocksSetup& rocks, const std::string& db_path,
                               rocksdb::WalFilter* filter) {
  rocksdb::DBOptions options = rocks.db;
  options.wal_filter = filter;
  // Of the log, too, only the catalog's rows are kept.
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, rocks.catalog}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  STRATA_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::OpenForReadOnly(options, db_path, families, &handles, &opened),
                "opening the database " + db_path));
  const std::unique_ptr<rocksdb::DB> db(opened);
  auto catalog = LoadCatalog(db.get(), db->DefaultColumnFamily(),
                             [](const std::string&, const std::string&) {});
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  return catalog;
}

}  // namespace strata::storage
