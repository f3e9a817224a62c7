// Before RocksDB opens a store: is anything missing that can still be found?
//
// RocksDB takes what the MANIFEST and the logs say for the truth. When it opens a database it replays a damaged log up
// to the damage and deletes it; and it deletes table files that the MANIFEST does not list. So a store of which
// something is missing has to be refused before, or the refusal itself would destroy what a repair needs.
//
// Three things are asked of a rehearsal of the open (rehearsal.h): are all groups there that had been acknowledged, by
// the watermark; are the messages there that the catalog's pages speak of; and do table files that the MANIFEST does
// not list, which only a crash or damage leaves, hold anything that is nowhere else.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "storage/codec.h"
#include "storage/files.h"
#include "storage/rehearsal.h"
#include "storage/salvage.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

constexpr size_t kMaxNamed = 20;

// The first key of a batch that is in `file` and, by the catalog, should be in a stratum that does not have it.
std::string FirstMissing(std::string_view file, const Rehearsal& rehearsal) {
  std::string missing;
  for (const BlockHandle& block : ReadTableLayout(file).blocks) {
    bool looked = false;
    ReadTableBlock(file, block, [&](const TableRow& row) {
      BatchView batch;
      // Blocks come and go as wholes, so one batch of each tells.
      if (looked || DecodeBatch(row.key, row.value, &batch) != nullptr) return;
      looked = true;
      const Page* const page = FindPage(rehearsal.catalog(), batch.channel, batch.first_id);
      // Without a page it was trimmed.
      if (page != nullptr && !rehearsal.Has(page->stratum, row.key)) missing = row.key;
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

// Writes a body that was read once more where it is, and syncs it: after a sync that failed the page cache may have
// what the disk has not, and the next sync says OK all the same.
Status WriteAgain(rocksdb::FileSystem& fs, const std::string& path, uint64_t offset,
                  const Buffer& body) {
  const rocksdb::IOOptions io;
  std::unique_ptr<rocksdb::FSRandomRWFile> file;
  rocksdb::IOStatus status = fs.NewRandomRWFile(path, rocksdb::FileOptions(), &file, nullptr);
  const Buffer bytes = body.Contiguous();
  if (status.ok()) status = file->Write(offset, SliceOf(bytes.view()), io, nullptr);
  if (status.ok()) status = file->Sync(io, nullptr);
  if (status.ok()) status = file->Close(io, nullptr);
  return FromRocks(status, "writing a body to " + path);
}

}  // namespace

std::unique_ptr<ContiguousReplay> Store::Impl::NewReplay(
    const std::vector<rocksdb::ColumnFamilyDescriptor>& families, const ReplayLimits& limits,
    OnBody on_body, Status* unanswered) {
  return std::make_unique<ContiguousReplay>(
      limits.flushed, limits.durable,
      [this, on_body, unanswered, strata = StrataOf(families)](const BodyReference& where) {
        // Its stratum was dropped, when nobody needed the row any more, and the log still has it: no
        // reason to end.
        if (!strata.contains(where.stratum)) return true;
        const std::string path = BodyPath(db_path_, where.stratum);
        const Result<Buffer> body = BodyReader(base_fs_, path).Read(where);
        Status status = body.status();
        if (status.ok() && on_body == OnBody::kWriteAgain) {
          status = WriteAgain(*fs_, path, where.offset, *body);
        }
        if (!status.ok() && status.reason() != Reason::CORRUPTION && unanswered->ok()) {
          *unanswered = status;
          // With the latch set nothing changes on disk, so the next open has the whole log again.
          if (on_body == OnBody::kWriteAgain) latch_->Fail(status.message());
        }
        return status.ok();
      });
}

Status Store::Impl::Rehearse(const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                             ReplayLimits* limits) {
  missing_.clear();
  STRATA_ASSIGN_OR_RETURN(const Catalog in_tables, FlushedCatalog(rocks_, db_path_));
  STRATA_ASSIGN_OR_RETURN(const WatermarkContents watermark, ReadWatermark());
  *limits = {in_tables.RecoveredCommit(), watermark.commit};
  Status unanswered;
  const auto replay = NewReplay(families, *limits, OnBody::kRead, &unanswered);
  const auto rehearsal = Rehearsal::Open(rocks_, db_path_, families, replay.get());
  STRATA_RETURN_IF_ERROR(unanswered);
  if (!rehearsal.ok()) {
    // The open that follows says what keeps it from being opened, unless that is not all.
    const auto again = NewReplay(families, *limits, OnBody::kRead, &unanswered);
    STRATA_ASSIGN_OR_RETURN(const Catalog catalog, RehearseReplay(rocks_, db_path_, again.get()));
    STRATA_RETURN_IF_ERROR(unanswered);
    return CheckGroups(catalog, watermark, *again);
  }
  const Catalog& catalog = (*rehearsal)->catalog();
  STRATA_RETURN_IF_ERROR(CheckGroups(catalog, watermark, *replay));
  missing_ = (*rehearsal)->FindMissing();
  if (!missing_.empty() && !options_.accept_loss) {
    return Status(Reason::ACKNOWLEDGED_DATA_LOST, DescribeMissingRows(catalog));
  }
  if (options_.quarantine || options_.accept_loss) return Status::Ok();
  if (const PageUpdate* const lost = FirstWithoutStratum(catalog, StrataOf(families))) {
    return Status(Reason::CORRUPTION,
                  fmt::format("{}: {} is missing from the MANIFEST, but the messages {}..{} of "
                              "channel {} are in it. Restore a backup, or start once with "
                              "--quarantine: readers then get a LOST gap for what it held",
                              db_path_, StratumName(lost->page.stratum), lost->page.first,
                              lost->page.next - 1, lost->channel));
  }
  return CheckUnlisted(**rehearsal);
}

Status Store::Impl::CheckGroups(const Catalog& catalog, const WatermarkContents& watermark,
                                const ContiguousReplay& replay) const {
  // Whoever accepts losses is told of them by gaps.
  if (options_.accept_loss || catalog.RecoveredCommit() >= watermark.commit) return Status::Ok();
  return Status(Reason::ACKNOWLEDGED_DATA_LOST,
                DescribeMissing(catalog, watermark, replay.last_log()));
}

std::string Store::Impl::DescribeMissingRows(const Catalog& catalog) const {
  std::map<ChannelNumber, std::string> names;
  for (const ChannelRecord& channel : catalog.channels) names[channel.number] = channel.name;
  std::string text;
  for (size_t i = 0; i < std::min(missing_.size(), kMaxNamed); ++i) {
    const MissingRows& each = missing_[i];
    text += fmt::format("{}channel '{}' ({}): ids {}..{} of {}", i == 0 ? "" : "; ",
                        names[each.channel], each.channel, each.first, each.next - 1,
                        StratumName(each.stratum));
  }
  if (missing_.size() > kMaxNamed) {
    text += fmt::format("; and {} more ranges", missing_.size() - kMaxNamed);
  }
  return fmt::format(
      "{}: messages that had been stored are in no table file, and the log that held them is "
      "damaged, cut off or gone: {}",
      db_path_, text);
}

Status Store::Impl::CheckUnlisted(const Rehearsal& rehearsal) const {
  STRATA_ASSIGN_OR_RETURN(const auto names, UnlistedTables(*base_fs_, db_path_));
  for (const std::string& name : names) {
    const auto file = ReadFile(*base_fs_, db_path_ + "/" + name);
    if (!file.ok()) continue;  // it is not needed, as far as is known
    const std::string missing = FirstMissing(*file, rehearsal);
    if (missing.empty()) continue;
    ChannelNumber channel = 0;
    MessageId id = 0;
    DecodeMessageKey(missing, &channel, &id);
    return Status(Reason::CORRUPTION,
                  fmt::format("{}/{} is not listed in the MANIFEST, but message {} of channel {} "
                              "is nowhere else: the MANIFEST is cut off, or an old one",
                              db_path_, name, id, channel));
  }
  return Status::Ok();
}

}  // namespace strata::storage
