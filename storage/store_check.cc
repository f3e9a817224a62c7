// Before RocksDB opens a store: is anything missing that can still be found?
//
// RocksDB takes what the MANIFEST and the logs say for the truth. When it opens a database it replays a damaged log up
// to the damage and deletes it; and it deletes table files that the MANIFEST does not list. So a store of which
// something is missing has to be refused before, or the refusal itself would destroy what a repair needs.
//
// What costs time is done only where there is reason: the log is rehearsed if the catalog's table files are behind the
// watermark, which they are not after an end in order; and table files that the MANIFEST does not list, which only a
// crash or damage leaves, are looked at if there are any.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "storage/codec.h"
#include "storage/files.h"
#include "storage/salvage.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

// The messages of a table file that is not listed, of which every block has at least one that is looked for elsewhere.
struct Elsewhere {
  rocksdb::DB* db;
  const Catalog& catalog;
  const std::map<std::string, rocksdb::ColumnFamilyHandle*>& handles;

  // False if the page that should hold this batch does not.
  bool Has(std::string_view key) const {
    ChannelNumber channel = 0;
    MessageId id = 0;
    if (!DecodeMessageKey(key, &channel, &id)) return true;
    const Page* const page = FindPage(catalog, channel, id);
    if (page == nullptr) return true;  // trimmed
    const auto handle = handles.find(StratumName(page->stratum));
    if (handle == handles.end()) return true;  // said elsewhere
    rocksdb::PinnableSlice value;
    return !db->Get(rocksdb::ReadOptions(), handle->second, SliceOf(key), &value).IsNotFound();
  }
};

// The first key of a batch that is in `file` and, by the catalog, should be in a stratum that does not have it.
std::string FirstMissing(std::string_view file, const Elsewhere& elsewhere) {
  std::string missing;
  for (const BlockHandle& block : ReadTableLayout(file).blocks) {
    bool looked = false;
    ReadTableBlock(file, block, [&](const TableRow& row) {
      BatchView batch;
      // Blocks come and go as wholes, so one batch of each tells.
      if (looked || DecodeBatch(row.key, row.value, &batch) != nullptr) return;
      looked = true;
      if (missing.empty() && !elsewhere.Has(row.key)) missing = row.key;
    });
    if (!missing.empty()) break;
  }
  return missing;
}

Result<std::vector<std::string>> UnlistedTables(rocksdb::FileSystem& fs,
                                                const std::string& db_path) {
  STRATA_ASSIGN_OR_RETURN(const std::string current, ReadFile(fs, db_path + "/CURRENT"));
  STRATA_ASSIGN_OR_RETURN(const std::string file,
                          ReadFile(fs, db_path + "/" + current.substr(0, current.find('\n'))));
  const ManifestContents manifest = ReadManifest(file);
  bool exists = false;
  STRATA_ASSIGN_OR_RETURN(auto names, ListDirectory(fs, db_path, &exists));
  std::erase_if(names, [&](const std::string& name) {
    return !name.ends_with(".sst") ||
           manifest.files.contains(std::strtoull(name.c_str(), nullptr, 10));
  });
  return names;
}

// The first page whose stratum is not among `strata`; null: there is none.
const PageUpdate* FirstWithoutStratum(const Catalog& catalog, const std::set<uint32_t>& strata) {
  const auto found =
      std::find_if(catalog.pages.begin(), catalog.pages.end(),
                   [&](const PageUpdate& each) { return !strata.contains(each.page.stratum); });
  return found == catalog.pages.end() ? nullptr : &*found;
}

}  // namespace

std::unique_ptr<ContiguousReplay> Store::Impl::NewReplay(
    const std::vector<rocksdb::ColumnFamilyDescriptor>& families, uint64_t flushed,
    uint64_t durable) const {
  return std::make_unique<ContiguousReplay>(
      flushed, durable,
      [fs = base_fs_, path = db_path_, strata = StrataOf(families)](const BodyReference& where) {
        // Its stratum was dropped, when nobody needed the row any more, and the log still has it: no
        // reason to end.
        if (!strata.contains(where.stratum)) return true;
        return BodyReader(fs, BodyPath(path, where.stratum)).Read(where).ok();
      });
}

Result<uint64_t> Store::Impl::Rehearse(
    const std::vector<rocksdb::ColumnFamilyDescriptor>& families) const {
  STRATA_ASSIGN_OR_RETURN(Catalog catalog, FlushedCatalog(rocks_, db_path_));
  const uint64_t flushed = catalog.RecoveredCommit();
  // Whoever accepts losses is told of them by gaps.
  if (options_.accept_loss) return flushed;
  STRATA_ASSIGN_OR_RETURN(const WatermarkContents watermark, ReadWatermark());
  const std::set<uint32_t> strata = StrataOf(families);
  // A stratum goes behind a sync of the log that takes its last page, and the watermark may not know of that sync after
  // a power cut: then the log tells.
  if (flushed < watermark.commit || FirstWithoutStratum(catalog, strata) != nullptr) {
    const auto replay = NewReplay(families, flushed, watermark.commit);
    STRATA_ASSIGN_OR_RETURN(catalog, RehearseReplay(rocks_, db_path_, replay.get()));
    if (catalog.RecoveredCommit() < watermark.commit) {
      return Status(Reason::ACKNOWLEDGED_DATA_LOST,
                    DescribeMissing(catalog, watermark, replay->last_log()));
    }
  }
  if (options_.quarantine) return flushed;
  if (const PageUpdate* const lost = FirstWithoutStratum(catalog, strata)) {
    return Status(Reason::CORRUPTION,
                  fmt::format("{}: {} is missing from the MANIFEST, but the messages {}..{} of "
                              "channel {} are in it. Restore a backup, or start once with "
                              "--quarantine: readers then get a LOST gap for what it held",
                              db_path_, StratumName(lost->page.stratum), lost->page.first,
                              lost->page.next - 1, lost->channel));
  }
  STRATA_RETURN_IF_ERROR(CheckUnlisted(families, flushed, watermark.commit));
  return flushed;
}

Status Store::Impl::CheckUnlisted(const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                                  uint64_t flushed, uint64_t durable) const {
  STRATA_ASSIGN_OR_RETURN(const auto names, UnlistedTables(*base_fs_, db_path_));
  if (names.empty()) return Status::Ok();
  const auto replay = NewReplay(families, flushed, durable);
  rocksdb::DBOptions options = rocks_.db;
  options.wal_filter = replay.get();
  std::vector<rocksdb::ColumnFamilyHandle*> opened;
  rocksdb::DB* raw = nullptr;
  // What keeps it from being opened is found by the open that follows.
  if (!rocksdb::DB::OpenForReadOnly(options, db_path_, families, &opened, &raw).ok()) {
    return Status::Ok();
  }
  const std::unique_ptr<rocksdb::DB> db(raw);
  std::map<std::string, rocksdb::ColumnFamilyHandle*> handles;
  for (rocksdb::ColumnFamilyHandle* handle : opened) handles[handle->GetName()] = handle;
  const auto catalog = LoadCatalog(db.get(), db->DefaultColumnFamily(),
                                   [](const std::string&, const std::string&) {});
  Status status = catalog.status();
  for (size_t i = 0; status.ok() && i < names.size(); ++i) {
    const auto file = ReadFile(*base_fs_, db_path_ + "/" + names[i]);
    if (!file.ok()) continue;  // it is not needed, as far as is known
    const std::string missing = FirstMissing(*file, {db.get(), *catalog, handles});
    if (missing.empty()) continue;
    ChannelNumber channel = 0;
    MessageId id = 0;
    DecodeMessageKey(missing, &channel, &id);
    status = Status(Reason::CORRUPTION,
                    fmt::format("{}/{} is not listed in the MANIFEST, but message {} of channel {} "
                                "is nowhere else: the MANIFEST is cut off, or an old one",
                                db_path_, names[i], id, channel));
  }
  for (rocksdb::ColumnFamilyHandle* handle : opened) {
    db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  return status;
}

}  // namespace strata::storage
