// Opening although a stratum cannot be: one table file with a damaged footer or index, or one that is missing, makes
// RocksDB refuse the whole database.
//
// Only with StoreOptions::quarantine. The files of such a stratum are linked into DIR/quarantine/, then its family is
// dropped; its pages become LOST gaps (DropMissingPages). That needs RocksDB opened without its paranoid checks, which
// also makes it pass over damage in its log. Two things stand against that: replay stops at the first group that does
// not continue (replay.h), and what is then missing of the acknowledged groups is found by the watermark, as in any
// other open. It is closed again at once and opened as usual.
#include <fmt/format.h>
#include <rocksdb/sst_file_reader.h>

#include <map>

#include "storage/files.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

constexpr const char* kQuarantineFolder = "quarantine";

// What keeps a table file from being opened; empty: nothing.
std::string WhyNotOpened(rocksdb::FileSystem& fs, const RocksSetup& rocks, const std::string& path,
                         uint64_t size) {
  uint64_t found = 0;
  const rocksdb::IOStatus there = fs.GetFileSize(path, rocksdb::IOOptions(), &found, nullptr);
  if (!there.ok()) return there.ToString();
  if (found != size) return fmt::format("it has {} bytes, not {}", found, size);
  rocksdb::SstFileReader reader(rocksdb::Options(rocks.db, rocks.stratum));
  const rocksdb::Status opened = reader.Open(path);
  return opened.ok() ? "" : opened.ToString();
}

}  // namespace

struct Store::Impl::BrokenStratum {
  std::string name;
  std::vector<std::string> files;  // all of it, broken or not; as "000123.sst"
  std::string what;                // the first broken one, and why
};

Result<std::vector<Store::Impl::BrokenStratum>> Store::Impl::FindBrokenStrata(
    const std::vector<rocksdb::ColumnFamilyDescriptor>& families) {
  rocksdb::DBOptions lenient = rocks_.db;
  lenient.paranoid_checks = false;
  lenient.wal_filter = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  STRATA_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::OpenForReadOnly(lenient, db_path_, families, &handles, &raw),
                "looking for broken strata in " + db_path_));
  const std::unique_ptr<rocksdb::DB> db(raw);
  std::vector<rocksdb::LiveFileMetaData> files;
  db->GetLiveFilesMetaData(&files);
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  std::map<std::string, BrokenStratum> by_name;
  for (const rocksdb::LiveFileMetaData& file : files) {
    BrokenStratum& stratum = by_name[file.column_family_name];
    stratum.name = file.column_family_name;
    const std::string base = file.name.substr(file.name.rfind('/') + 1);
    stratum.files.push_back(base);
    if (!stratum.what.empty()) continue;
    const std::string why = WhyNotOpened(*base_fs_, rocks_, db_path_ + "/" + base, file.size);
    if (!why.empty()) stratum.what = base + ": " + why;
  }
  std::vector<BrokenStratum> broken;
  for (auto& [name, stratum] : by_name) {
    if (stratum.what.empty()) continue;
    uint32_t number = 0;
    if (!ParseStratumName(name, &number)) {
      return Status(Reason::CORRUPTION,
                    fmt::format("{}: the catalog cannot be opened: {}; restore a backup", db_path_,
                                stratum.what));
    }
    broken.push_back(std::move(stratum));
  }
  return broken;
}

Status Store::Impl::SetBrokenStrataAside(
    const Status& why, const std::vector<rocksdb::ColumnFamilyDescriptor>& families) {
  if (latch_->failed()) return why;
  STRATA_ASSIGN_OR_RETURN(std::vector<BrokenStratum> broken, FindBrokenStrata(families));
  if (broken.empty()) return why;
  if (!options_.quarantine) {
    return Status(Reason::CORRUPTION,
                  fmt::format("{}: {} of {} strata cannot be opened, the first is {} ({}). Restore "
                              "the file or a backup, or start once with --quarantine: the files of "
                              "such strata are then kept in {}/{}, and readers get a LOST gap for "
                              "what they held",
                              db_path_, broken.size(), families.size() - 1, broken[0].name,
                              broken[0].what, options_.path, kQuarantineFolder));
  }
  const std::string folder = options_.path + "/" + kQuarantineFolder;
  STRATA_RETURN_IF_ERROR(CreateDirectory(*fs_, folder));
  for (BrokenStratum& stratum : broken) {
    uint32_t number = 0;
    ParseStratumName(stratum.name, &number);
    stratum.files.push_back(BodyPath("", number).substr(1));
    for (const std::string& file : stratum.files) {
      const std::string from = db_path_ + "/" + file;
      STRATA_ASSIGN_OR_RETURN(const bool found, FileExists(*base_fs_, from));
      if (!found) continue;
      const std::string to = fmt::format("{}/{}-{}", folder, stratum.name, file);
      STRATA_ASSIGN_OR_RETURN(const bool kept, FileExists(*base_fs_, to));
      if (kept) continue;
      STRATA_RETURN_IF_ERROR(FromRocks(fs_->LinkFile(from, to, rocksdb::IOOptions(), nullptr),
                                       "keeping " + from + " in " + folder));
    }
  }
  STRATA_RETURN_IF_ERROR(SyncDirectory(*fs_, folder));
  STRATA_RETURN_IF_ERROR(SyncDirectory(*fs_, options_.path));

  rocks_.db.paranoid_checks = false;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  Status status = OpenFamilies(families, &handles);
  rocks_.db.paranoid_checks = true;
  STRATA_RETURN_IF_ERROR(status);
  std::vector<rocksdb::ColumnFamilyHandle*> dropped;
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    for (const BrokenStratum& stratum : broken) {
      if (handle->GetName() != stratum.name) continue;
      dropped.push_back(handle);
      options_.log.Error("{}: {} is set aside in {}: {}", db_path_, stratum.name, folder,
                         stratum.what);
    }
  }
  status = FromRocks(db_->DropColumnFamilies(dropped), "dropping broken strata");
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  db_.reset();
  return latch_->failed() ? latch_->status() : status;
}

}  // namespace strata::storage
