#include "storage/repair_source.h"

#include <fmt/format.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <charconv>
#include <queue>
#include <utility>

#include "storage/files.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

// 123 of "000123.sst".
std::optional<uint64_t> NumberOf(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

bool IsBatch(std::string_view key, std::string_view value) {
  BatchView batch;
  return DecodeBatch(key, value, &batch) == nullptr;
}

// Rows of a record of a log, with their sequence numbers.
class RecordRows final : public rocksdb::WriteBatch::Handler {
 public:
  using Put = std::function<void(uint32_t family, std::string_view key, uint64_t sequence,
                                 bool deleted, std::string_view value)>;
  RecordRows(uint64_t sequence, const Put& put) : sequence_(sequence), put_(put) {}

  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    put_(family, View(key), sequence_++, false, View(value));
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t family, const rocksdb::Slice& key) override {
    put_(family, View(key), sequence_++, true, {});
    return rocksdb::Status::OK();
  }

 private:
  uint64_t sequence_;
  const Put& put_;
};

}  // namespace

Status RepairSource::Open() {
  ReadIdentity();
  ReadWatermark();
  bool exists = false;
  STRATA_ASSIGN_OR_RETURN(const auto names, ListDirectory(*fs_, db_path_, &exists));
  if (!exists)
    return Status(Reason::CORRUPTION, db_path_ + " is missing: there is nothing to read");
  ReadManifestFile(names);
  ReadTables(names);
  Rows log_rows;
  ReadLogs(names, &log_rows);
  CheckListedFiles();
  const auto with_log = [&log_rows, this](Rows rows) {
    for (const auto& [key, each] : log_rows) {
      AddVersion(&rows, key, each.sequence, each.deleted, each.value);
    }
    return rows;
  };
  // Files that the MANIFEST does not list are left from a compaction, as a rule, and may hold rows that were deleted
  // since. But if what it lists is less than was acknowledged, it is itself an old one.
  BuildCatalog(with_log(manifest_ ? listed_rows_ : all_rows_));
  if (manifest_ && watermark_ && catalog_.RecoveredCommit() < watermark_->commit) {
    BuildCatalog(with_log(all_rows_));
  }
  const bool behind = watermark_ && catalog_.RecoveredCommit() < watermark_->commit;
  if (behind) {
    problem_("catalog", fmt::format("it has groups up to {}, but groups up to {} were acknowledged",
                                    catalog_.RecoveredCommit(), watermark_->commit));
  }
  catalog_whole_ =
      !catalog_damaged_ && !behind && catalog_.format != 0 && (manifest_ || watermark_);
  return Status::Ok();
}

void RepairSource::ReadIdentity() {
  Identity identity;
  const auto state = InspectDirectory(*fs_, path_, &identity);
  if (!state.ok()) return problem_(kIdentityFile, state.status().message());
  if (*state == DirectoryState::kStore) {
    identity_ = identity;
  } else {
    problem_(kIdentityFile, "it is missing");
  }
}

void RepairSource::ReadWatermark() {
  const std::string file = path_ + "/" + kWatermarkFile;
  if (!identity_) {
    // It knows whose it is.
    const auto owner = Watermark::OwnerOf(*fs_, file);
    if (!owner) return problem_(kWatermarkFile, "it has no readable header");
    identity_ = Identity{kStoreFormat, *owner, true};
  }
  if (const auto owner = Watermark::OwnerOf(*fs_, file); owner && *owner != identity_->id) {
    // The identity file has no checksum, the watermark has.
    problem_(kIdentityFile,
             fmt::format("it names the store {}, the watermark {}", identity_->id, *owner));
    identity_->id = *owner;
  }
  std::string absent;
  const auto found = Watermark::Read(*fs_, file, identity_->id, &absent);
  if (!found.ok()) return problem_(kWatermarkFile, found.status().message());
  if (!*found) return problem_(kWatermarkFile, absent);
  watermark_ = **found;
}

void RepairSource::ReadManifestFile(const std::vector<std::string>& names) {
  std::string name;
  if (const auto current = ReadFile(*fs_, db_path_ + "/CURRENT"); current.ok()) {
    name = current->substr(0, current->find('\n'));
  }
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    problem_("CURRENT", "it names no MANIFEST that is there");
    name.clear();
    for (const std::string& each : names) {
      if (each.starts_with("MANIFEST-")) name = std::max(name, each);
    }
  }
  if (name.empty()) return problem_("MANIFEST", "it is missing");
  const auto file = ReadFile(*fs_, db_path_ + "/" + name);
  if (!file.ok()) return problem_(name, file.status().message());
  ManifestContents contents = ReadManifest(*file);
  for (const FileDamage& each : contents.damage) {
    problem_(name, fmt::format("at byte {}: {}", each.offset, each.what));
  }
  if (contents.damage.empty()) manifest_ = std::move(contents);
}

void RepairSource::ReadTables(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto number = NumberOf(name, ".sst");
    if (!number) continue;
    Table table;
    table.number = *number;
    table.name = name;
    const auto file = ReadFile(*fs_, db_path_ + "/" + name);
    if (!file.ok()) {
      problem_("file " + name, file.status().message());
      catalog_damaged_ = true;
      continue;
    }
    table.layout = ReadTableLayout(*file);
    for (const FileDamage& each : table.layout.damage) {
      problem_("file " + name, fmt::format("at byte {}: {}", each.offset, each.what));
    }
    if (!table.layout.family.empty()) {
      table.catalog = table.layout.family == rocksdb::kDefaultColumnFamilyName;
      ParseStratumName(table.layout.family, &table.stratum);
    } else if (manifest_ && manifest_->files.contains(*number)) {
      const std::string& family = manifest_->families[manifest_->files[*number].family];
      table.catalog = family == rocksdb::kDefaultColumnFamilyName;
      ParseStratumName(family, &table.stratum);
    }
    // Of an unknown one it is decided row by row.
    if (table.catalog || table.stratum == 0) {
      ReadCatalogRows(table, *file, IsListed(table) ? &listed_rows_ : nullptr);
    }
    tables_.push_back(std::move(table));
  }
}

void RepairSource::ReadCatalogRows(const Table& table, std::string_view file, Rows* rows) {
  // How much of it is missing behind the last block that was found cannot be known.
  if (!table.layout.indexed) catalog_damaged_ = true;
  for (const BlockHandle& block : table.layout.blocks) {
    const bool whole = ReadTableBlock(file, block, [&](const TableRow& row) {
      if (!table.catalog && IsBatch(row.key, row.value)) return;
      AddVersion(&all_rows_, row.key, row.sequence, row.deleted, row.value);
      if (rows != nullptr) AddVersion(rows, row.key, row.sequence, row.deleted, row.value);
    });
    if (whole) continue;
    catalog_damaged_ = true;
    if (table.catalog) {
      problem_("catalog, file " + table.name,
               fmt::format("the block at byte {} is damaged", block.offset));
    }
  }
}

void RepairSource::AddVersion(Rows* rows, std::string_view key, uint64_t sequence, bool deleted,
                              std::string_view value) const {
  const auto [at, added] = rows->try_emplace(std::string(key));
  if (!added && at->second.sequence > sequence) return;
  at->second = {sequence, deleted, std::string(value)};
}

bool RepairSource::IsListed(const Table& table) const {
  return manifest_ && manifest_->files.contains(table.number);
}

void RepairSource::ReadLogs(const std::vector<std::string>& names, Rows* rows) {
  std::vector<std::string> logs;
  for (const std::string& name : names) {
    if (NumberOf(name, ".log")) logs.push_back(name);
  }
  const RecordRows::Put put = [&](uint32_t family, std::string_view key, uint64_t sequence,
                                  bool deleted, std::string_view value) {
    if (family == kCatalogFamilyId) return AddVersion(rows, key, sequence, deleted, value);
    if (!deleted && IsBatch(key, value)) log_batches_[std::string(key)] = value;
  };
  for (const std::string& name : logs) {
    const auto file = ReadFile(*fs_, db_path_ + "/" + name);
    if (!file.ok()) {
      problem_("log " + name, file.status().message());
      catalog_damaged_ = true;
      continue;
    }
    const LogInfo info = ReadLog(*file, [&](std::string_view record) {
      const rocksdb::WriteBatch batch{std::string(record)};
      if (record.size() < 12) return;  // sequence number and count
      uint64_t sequence = 0;
      std::memcpy(&sequence, record.data(), sizeof(sequence));
      RecordRows handler(sequence, put);
      batch.Iterate(&handler).PermitUncheckedError();
    });
    for (const FileDamage& each : info.damage) {
      problem_("log " + name, fmt::format("at byte {}: {}", each.offset, each.what));
    }
    // A record that was cut off at the very end may be one that nobody was told of: the watermark tells.
    const bool torn = info.damage.size() == 1 && info.damage[0].torn && name == logs.back() &&
                      watermark_.has_value();
    if (!info.damage.empty() && !torn) catalog_damaged_ = true;
  }
}

void RepairSource::CheckListedFiles() {
  if (!manifest_) return;
  for (const auto& [number, file] : manifest_->files) {
    const bool there =
        std::any_of(tables_.begin(), tables_.end(),
                    [&, number = number](const Table& table) { return table.number == number; });
    if (there) continue;
    problem_(fmt::format("{}, file {:06}.sst", manifest_->families[file.family], number),
             "it is missing");
    if (file.family == kCatalogFamilyId) catalog_damaged_ = true;
  }
}

void RepairSource::BuildCatalog(Rows rows) {
  catalog_ = Catalog();
  for (const auto& [key, version] : rows) {
    if (version.deleted) continue;
    const char* wrong = ParseCatalogRow(key, version.value, &catalog_);
    if (wrong == nullptr) continue;
    problem_("catalog row " + SliceOf(key).ToString(/*hex=*/true), wrong);
    catalog_damaged_ = true;
  }
}

// The rows of one table file, block by block.
class RepairSource::Cursor {
 public:
  Cursor(RepairSource* source, const Table& table) : source_(source), table_(table) {}

  Status Open() {
    const std::string file = source_->db_path_ + "/" + table_.name;
    return FromRocks(
        source_->fs_->NewRandomAccessFile(file, rocksdb::FileOptions(), &file_, nullptr),
        "opening " + file);
  }
  bool valid() const { return at_ < rows_.size(); }
  const std::string& key() const { return rows_[at_].first; }
  std::string& value() { return rows_[at_].second; }
  uint32_t stratum() const { return table_.stratum; }

  Status Next() {
    if (++at_ < rows_.size()) return Status::Ok();
    rows_.clear();
    at_ = 0;
    while (rows_.empty() && block_ < table_.layout.blocks.size()) {
      STRATA_RETURN_IF_ERROR(ReadBlock(table_.layout.blocks[block_++]));
    }
    return Status::Ok();
  }

 private:
  Status ReadBlock(const BlockHandle& block) {
    std::string bytes(block.size + 5, '\0');
    rocksdb::Slice read;
    STRATA_RETURN_IF_ERROR(FromRocks(
        file_->Read(block.offset, bytes.size(), rocksdb::IOOptions(), &read, bytes.data(), nullptr),
        "reading " + table_.name));
    const bool whole = ReadTableBlock(View(read), {0, block.size}, [this](const TableRow& row) {
      if (row.deleted || row.key.size() != kMessageKeyBytes) return;
      rows_.emplace_back(row.key, row.value);
    });
    if (!whole) {
      source_->problem_("file " + table_.name,
                        fmt::format("the block at byte {} is damaged", block.offset));
    }
    return Status::Ok();
  }

  RepairSource* const source_;
  const Table& table_;
  std::unique_ptr<rocksdb::FSRandomAccessFile> file_;
  size_t block_ = 0;
  size_t at_ = 0;
  std::vector<std::pair<std::string, std::string>> rows_;
};

Status RepairSource::ForEachBatch(const std::function<Status(const SalvagedBatch&)>& take) {
  std::vector<std::unique_ptr<Cursor>> cursors;
  const auto behind = [](const Cursor* a, const Cursor* b) { return a->key() > b->key(); };
  std::priority_queue<Cursor*, std::vector<Cursor*>, decltype(behind)> queue(behind);
  for (const Table& table : tables_) {
    if (table.catalog) continue;
    cursors.push_back(std::make_unique<Cursor>(this, table));
    STRATA_RETURN_IF_ERROR(cursors.back()->Open());
    STRATA_RETURN_IF_ERROR(cursors.back()->Next());
    if (cursors.back()->valid()) queue.push(cursors.back().get());
  }
  auto logged = log_batches_.begin();
  while (!queue.empty() || logged != log_batches_.end()) {
    std::string key;
    if (!queue.empty()) key = queue.top()->key();
    const bool from_log = logged != log_batches_.end() && (queue.empty() || logged->first <= key);
    if (from_log) key = logged->first;
    std::vector<std::pair<uint32_t, std::string>> values;
    while (!queue.empty() && queue.top()->key() == key) {
      Cursor* const cursor = queue.top();
      queue.pop();
      values.emplace_back(cursor->stratum(), std::move(cursor->value()));
      STRATA_RETURN_IF_ERROR(cursor->Next());
      if (cursor->valid()) queue.push(cursor);
    }
    if (from_log) values.emplace_back(0, (logged++)->second);
    STRATA_RETURN_IF_ERROR(TakeBest(key, std::move(values), take).status());
  }
  return Status::Ok();
}

Result<bool> RepairSource::TakeBest(std::string_view key,
                                    std::vector<std::pair<uint32_t, std::string>> values,
                                    const std::function<Status(const SalvagedBatch&)>& take) {
  ChannelNumber channel = 0;
  MessageId id = 0;
  DecodeMessageKey(key, &channel, &id);
  const Page* const page = FindPage(catalog_, channel, id);
  const uint32_t wanted = page != nullptr ? page->stratum : 0;
  std::stable_partition(values.begin(), values.end(),
                        [wanted](const auto& each) { return each.first == wanted; });
  std::string wrong;
  for (const auto& [stratum, value] : values) {
    SalvagedBatch batch;
    if (const char* what = DecodeBatch(key, value, &batch.row)) {
      wrong = what;
      continue;
    }
    if (!batch.row.elsewhere) {
      batch.body = Buffer(std::string(batch.row.body));
    } else {
      auto& reader = bodies_[batch.row.elsewhere->stratum];
      if (!reader) {
        reader =
            std::make_unique<BodyReader>(fs_, BodyPath(db_path_, batch.row.elsewhere->stratum));
      }
      auto body = reader->Read(*batch.row.elsewhere);
      if (!body.ok()) {
        wrong = body.status().message();
        continue;
      }
      batch.body = *std::move(body);
    }
    STRATA_RETURN_IF_ERROR(take(batch));
    return true;
  }
  problem_(fmt::format("channel {}, the batch at id {}", channel, id), wrong);
  return false;
}

}  // namespace strata::storage
