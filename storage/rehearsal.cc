#include "storage/rehearsal.h"

#include <rocksdb/write_batch.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "storage/codec.h"

namespace strata::storage {
namespace {

struct LoggedRow {
  uint32_t family = 0;
  ChannelNumber channel = 0;
  MessageId first = 0;
  MessageId next = 0;
};

// Takes a group apart: the catalog's rows into another batch, of the messages only which.
class Splitter final : public rocksdb::WriteBatch::Handler {
 public:
  explicit Splitter(rocksdb::WriteBatch* catalog_rows) : catalog_rows_(catalog_rows) {}

  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    if (family == kCatalogFamilyId) return catalog_rows_->Put(key, value);
    BatchView batch;
    if (DecodeBatch(View(key), View(value), &batch) == nullptr) {
      rows_.push_back({family, batch.channel, batch.first_id, batch.next_id()});
    }
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t family, const rocksdb::Slice& key) override {
    return family == kCatalogFamilyId ? catalog_rows_->Delete(key) : rocksdb::Status::OK();
  }

  const std::vector<LoggedRow>& rows() const { return rows_; }

 private:
  rocksdb::WriteBatch* const catalog_rows_;
  std::vector<LoggedRow> rows_;
};

}  // namespace

// Which messages the log brings to each stratum.
class Rehearsal::LoggedRows final : public rocksdb::WalFilter {
 public:
  using Place = std::pair<uint32_t, ChannelNumber>;  // stratum, channel
  using Run = std::pair<MessageId, MessageId>;       // [first, next) without a hole

  explicit LoggedRows(ContiguousReplay* replay) : replay_(replay) {}

  void ColumnFamilyLogNumberMap(const std::map<uint32_t, uint64_t>& first_logs,
                                const std::map<std::string, uint32_t>& ids) override {
    for (const auto& [name, id] : ids) {
      uint32_t stratum = 0;
      const auto first_log = first_logs.find(id);
      if (!ParseStratumName(name, &stratum) || first_log == first_logs.end()) continue;
      strata_[id] = {stratum, first_log->second};
    }
  }

  WalProcessingOption LogRecordFound(unsigned long long log_number,
                                     const std::string& log_file_name,
                                     const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* new_batch, bool* batch_changed) override {
    const WalProcessingOption option =
        replay_->LogRecordFound(log_number, log_file_name, batch, new_batch, batch_changed);
    if (option != WalProcessingOption::kContinueProcessing) return option;
    Splitter split(new_batch);
    // What it does not know no version has written; then all of it is kept.
    if (!batch.Iterate(&split).ok()) return option;
    *batch_changed = true;
    for (const LoggedRow& row : split.rows()) Note(row, log_number);
    return new_batch->Count() > 0 ? option : WalProcessingOption::kIgnoreCurrentRecord;
  }
  const char* Name() const override { return "StrataRehearsal"; }

  const std::map<Place, std::vector<Run>>& runs() const { return runs_; }
  bool Has(uint32_t stratum, ChannelNumber channel, MessageId id) const {
    const auto found = runs_.find({stratum, channel});
    return found != runs_.end() &&
           std::any_of(found->second.begin(), found->second.end(),
                       [&](const Run& run) { return run.first <= id && id < run.second; });
  }

 private:
  struct Family {
    uint32_t stratum = 0;
    uint64_t first_log = 0;  // older ones have nothing that its table files do not have
  };

  void Note(const LoggedRow& row, uint64_t log_number) {
    const auto family = strata_.find(row.family);
    if (family == strata_.end() || log_number < family->second.first_log) return;
    std::vector<Run>& runs = runs_[{family->second.stratum, row.channel}];
    if (!runs.empty() && runs.back().second == row.first) {
      runs.back().second = row.next;
    } else {
      runs.emplace_back(row.first, row.next);
    }
  }

  ContiguousReplay* const replay_;
  std::map<uint32_t, Family> strata_;  // by RocksDB's number of the family
  std::map<Place, std::vector<Run>> runs_;
};

Result<std::unique_ptr<Rehearsal>> Rehearsal::Open(
    const RocksSetup& rocks, const std::string& db_path,
    const std::vector<rocksdb::ColumnFamilyDescriptor>& families, ContiguousReplay* replay) {
  auto logged = std::make_unique<LoggedRows>(replay);
  rocksdb::DBOptions options = rocks.db;
  options.wal_filter = logged.get();
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  STRATA_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::OpenForReadOnly(options, db_path, families, &handles, &opened),
                "opening the database " + db_path));
  std::unique_ptr<Rehearsal> rehearsal(
      new Rehearsal(std::move(logged), std::unique_ptr<rocksdb::DB>(opened), std::move(handles)));
  STRATA_ASSIGN_OR_RETURN(rehearsal->catalog_,
                          LoadCatalog(opened, opened->DefaultColumnFamily(),
                                      [](const std::string&, const std::string&) {}));
  return rehearsal;
}

Rehearsal::Rehearsal(std::unique_ptr<LoggedRows> logged, std::unique_ptr<rocksdb::DB> db,
                     std::vector<rocksdb::ColumnFamilyHandle*> handles)
    : logged_(std::move(logged)), db_(std::move(db)), handles_(std::move(handles)) {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    uint32_t number = 0;
    if (ParseStratumName(handle->GetName(), &number)) strata_[number] = handle;
  }
}

Rehearsal::~Rehearsal() {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
}

bool Rehearsal::Has(uint32_t stratum, std::string_view message_key) const {
  const auto handle = strata_.find(stratum);
  ChannelNumber channel = 0;
  MessageId id = 0;
  if (handle == strata_.end() || !DecodeMessageKey(message_key, &channel, &id)) return true;
  if (logged_->Has(stratum, channel, id)) return true;
  rocksdb::PinnableSlice value;
  return !db_->Get(rocksdb::ReadOptions(), handle->second, SliceOf(message_key), &value)
              .IsNotFound();
}

MessageId Rehearsal::EndOfRowsBefore(rocksdb::ColumnFamilyHandle* handle, ChannelNumber channel,
                                     MessageId from, MessageId end) const {
  const MessageKey lower = EncodeMessageKey(channel, from);
  const MessageKey upper = EncodeMessageKey(channel, end);
  const rocksdb::Slice lower_bound(lower.data(), lower.size());
  const rocksdb::Slice upper_bound(upper.data(), upper.size());
  rocksdb::ReadOptions options;
  options.iterate_lower_bound = &lower_bound;
  options.iterate_upper_bound = &upper_bound;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> row(db_->NewIterator(options, handle));
  // Only forwards: backwards, RocksDB's assertions do not survive every error of a disk. From nearer and nearer to the
  // page's start, as nobody knows where its last row begins.
  for (MessageId back = 1;; back *= 2) {
    const MessageId start = std::max(from, end - back);
    const MessageKey key = EncodeMessageKey(channel, start);
    MessageId found = from;
    for (row->Seek(rocksdb::Slice(key.data(), key.size())); row->Valid(); row->Next()) {
      BatchView batch;
      if (DecodeBatch(View(row->key()), View(row->value()), &batch) != nullptr) return end;
      found = batch.next_id();
    }
    if (!row->status().ok()) return end;
    if (found > from || start == from) return found;
  }
}

std::vector<MissingRows> Rehearsal::FindMissing() const {
  std::vector<MissingRows> missing;
  FindMissingEnds(&missing);
  FindMissingFronts(&missing);
  std::sort(missing.begin(), missing.end(), [](const MissingRows& a, const MissingRows& b) {
    return std::tie(a.stratum, a.channel, a.first) < std::tie(b.stratum, b.channel, b.first);
  });
  return missing;
}

// Pages whose last row the log does not bring.
void Rehearsal::FindMissingEnds(std::vector<MissingRows>* missing) const {
  std::map<uint32_t, std::vector<const PageUpdate*>> by_stratum;
  for (const PageUpdate& each : catalog_.pages) {
    if (strata_.contains(each.page.stratum) &&
        !logged_->Has(each.page.stratum, each.channel, each.page.next - 1)) {
      by_stratum[each.page.stratum].push_back(&each);
    }
  }
  for (auto& [stratum, pages] : by_stratum) {
    // The newest first: if it is there, so are the others.
    std::sort(pages.begin(), pages.end(), [](const PageUpdate* a, const PageUpdate* b) {
      return a->page.commit > b->page.commit;
    });
    for (const PageUpdate* each : pages) {
      const Page& page = each->page;
      const MessageId end =
          EndOfRowsBefore(strata_.at(stratum), each->channel, page.first, page.next);
      if (end >= page.next) break;
      missing->push_back({stratum, each->channel, end, page.next});
    }
  }
}

// Where the log begins, or goes on behind a hole, in the middle of a page.
void Rehearsal::FindMissingFronts(std::vector<MissingRows>* missing) const {
  for (const auto& [place, runs] : logged_->runs()) {
    const auto [stratum, channel] = place;
    MessageId before = 0;  // the end of the run before
    for (const LoggedRows::Run& run : runs) {
      const Page* const page = FindPage(catalog_, channel, run.first);
      const MessageId from = page == nullptr ? 0 : std::max(page->first, before);
      before = run.second;
      // Trimmed, or moved to another stratum, or the page begins here.
      if (page == nullptr || page->stratum != stratum || from >= run.first) continue;
      const MessageId end = EndOfRowsBefore(strata_.at(stratum), channel, from, run.first);
      if (end < run.first) missing->push_back({stratum, channel, end, run.first});
    }
  }
}

}  // namespace strata::storage
