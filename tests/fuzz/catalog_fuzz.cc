// Any bytes as rows of the catalog: what is read is written and read again, and is the same. The
// input is rows, each a length of one byte and a key, a length of two and a value.
#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>

#include <rocksdb/utilities/stackable_db.h>

#include "storage/catalog.h"
#include "storage/catalog_keys.h"
#include "storage/rocks.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/protobuf.h"

namespace strata::storage {
namespace {

using Rows = std::map<std::string, std::string>;

class RowIterator final : public rocksdb::Iterator {
 public:
  explicit RowIterator(const Rows& rows) : rows_(rows), at_(rows.end()) {}
  bool Valid() const override { return at_ != rows_.end(); }
  void SeekToFirst() override { at_ = rows_.begin(); }
  void SeekToLast() override { at_ = rows_.empty() ? rows_.end() : std::prev(rows_.end()); }
  void Seek(const rocksdb::Slice& key) override { at_ = rows_.lower_bound(key.ToString()); }
  void SeekForPrev(const rocksdb::Slice& key) override {
    at_ = rows_.upper_bound(key.ToString());
    at_ = at_ == rows_.begin() ? rows_.end() : std::prev(at_);
  }
  void Next() override { ++at_; }
  void Prev() override { at_ = at_ == rows_.begin() ? rows_.end() : std::prev(at_); }
  rocksdb::Slice key() const override { return at_->first; }
  rocksdb::Slice value() const override { return at_->second; }
  rocksdb::Status status() const override { return rocksdb::Status::OK(); }

 private:
  const Rows& rows_;
  Rows::const_iterator at_;
};

// As much of a database as reading the catalog needs.
class RowDatabase final : public rocksdb::StackableDB {
 public:
  explicit RowDatabase(const Rows& rows)
      : StackableDB(static_cast<rocksdb::DB*>(nullptr)), rows_(rows) {}
  using StackableDB::NewIterator;
  rocksdb::Iterator* NewIterator(const rocksdb::ReadOptions& /*options*/,
                                 rocksdb::ColumnFamilyHandle* /*family*/) override {
    return new RowIterator(rows_);
  }

 private:
  const Rows& rows_;
};

// Applies a WriteBatch to rows.
class Applier final : public rocksdb::WriteBatch::Handler {
 public:
  explicit Applier(Rows* rows) : rows_(rows) {}
  rocksdb::Status PutCF(uint32_t /*family*/, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    (*rows_)[key.ToString()] = value.ToString();
    return rocksdb::Status::OK();
  }

 private:
  Rows* const rows_;
};

Rows RowsOf(fuzz::Input* input) {
  Rows rows;
  while (!input->empty()) {
    const std::string key(input->Take(input->Byte()));
    rows[key] = input->Sized();
  }
  return rows;
}

struct Loaded {
  Catalog catalog;
  std::set<std::string> bad;  // keys in hex
};

Loaded Load(const Rows& rows) {
  RowDatabase database(rows);
  Loaded loaded;
  auto catalog =
      LoadCatalog(&database, nullptr, [&](const std::string& where, const std::string& what) {
        FUZZ_CHECK(!what.empty() && where.starts_with("catalog row "));
        loaded.bad.insert(where.substr(12));
      });
  FUZZ_CHECK(catalog.ok());
  loaded.catalog = *std::move(catalog);
  return loaded;
}

// Everything of it through the writer.
Rows Write(const Catalog& catalog) {
  rocksdb::WriteBatch batch;
  CatalogWriter writer(nullptr);
  if (catalog.format != 0) writer.PutFormat(&batch);
  if (catalog.run) writer.PutRun(&batch, *catalog.run);
  if (catalog.commit_row != 0) writer.PutCommit(&batch, catalog.commit_row);
  if (catalog.next_channel != 1) writer.PutNextChannel(&batch, catalog.next_channel);
  for (const ChannelRecord& each : catalog.channels) writer.PutChannel(&batch, each);
  for (const PageUpdate& each : catalog.pages) writer.PutPage(&batch, each.channel, each.page);
  for (const StratumRecord& each : catalog.strata) writer.PutStratum(&batch, each);
  for (const SubscriptionRecord& each : catalog.subscriptions) writer.PutSubscription(&batch, each);
  for (const RecoveredProducer& each : catalog.producers) {
    writer.PutProducer(&batch, each.record);
    for (const ProducerResult& result : each.results) {
      BatchRecord stored;
      stored.channel = each.record.channel;
      stored.producer = each.record.number;
      stored.sequence = result.sequence;
      stored.first_id = result.first_id;
      stored.count = result.count;
      stored.append_time = result.append_time;
      stored.content = result.content;
      writer.PutResult(&batch, stored);
    }
  }
  Rows rows;
  Applier applier(&rows);
  FUZZ_CHECK(batch.Iterate(&applier).ok());
  return rows;
}

bool Same(const StratumRecord& a, const StratumRecord& b) {
  return a.number == b.number && a.created_at == b.created_at && a.sealed_at == b.sealed_at &&
         a.quarantined == b.quarantined;
}

bool Same(const PageUpdate& a, const PageUpdate& b) {
  return a.channel == b.channel && a.page == b.page;
}

void CheckSame(const Catalog& a, const Catalog& b) {
  const auto same = [](const auto& x, const auto& y) { return Same(x, y); };
  FUZZ_CHECK((a.format == 0) == (b.format == 0));
  FUZZ_CHECK(a.run.has_value() == b.run.has_value());
  if (a.run) {
    FUZZ_CHECK(a.run->boot_id == b.run->boot_id && a.run->sync == b.run->sync);
    FUZZ_CHECK(a.run->clean == b.run->clean && a.run->opened_at == b.run->opened_at);
  }
  FUZZ_CHECK(a.commit_row == b.commit_row && a.next_channel == b.next_channel);
  FUZZ_CHECK(a.channels == b.channels);
  FUZZ_CHECK(std::equal(a.pages.begin(), a.pages.end(), b.pages.begin(), b.pages.end(), same));
  FUZZ_CHECK(std::equal(a.strata.begin(), a.strata.end(), b.strata.begin(), b.strata.end(), same));
  FUZZ_CHECK(a.subscriptions == b.subscriptions);
  FUZZ_CHECK(a.producers == b.producers);
  FUZZ_CHECK(a.RecoveredCommit() == b.RecoveredCommit());
}

// What the rest of the store relies on without looking again.
void CheckPromises(const Catalog& catalog) {
  for (const ChannelRecord& channel : catalog.channels) {
    FUZZ_CHECK(channel.number != 0 && IsValidName(channel.name));
    FUZZ_CHECK(channel.options.first_id >= 1 && channel.next_id >= channel.options.first_id);
    for (const Gap& gap : channel.lost) FUZZ_CHECK(1 <= gap.first && gap.first <= gap.last);
  }
  for (const PageUpdate& each : catalog.pages) {
    FUZZ_CHECK(each.page.first >= 1 && each.page.next > each.page.first);
  }
  for (const RecoveredProducer& each : catalog.producers) {
    FUZZ_CHECK(each.results.size() <= kProducerWindow);
    const auto newest = NewestResults(each.results);
    FUZZ_CHECK(newest.empty() == each.results.empty());
    for (size_t i = 1; i < newest.size(); ++i) {
      FUZZ_CHECK(newest[i].sequence == newest[i - 1].sequence + 1);
    }
  }
}

}  // namespace
}  // namespace strata::storage

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using namespace strata::storage;
  fuzz::Input input(data, size);
  const Rows rows = RowsOf(&input);
  const Loaded loaded = Load(rows);
  CheckPromises(loaded.catalog);

  const Rows written = Write(loaded.catalog);
  const Loaded again = Load(written);
  FUZZ_CHECK(again.bad.empty() && again.catalog.unknown_rows == 0);
  FUZZ_CHECK(again.catalog.orphan_results == 0);
  CheckSame(loaded.catalog, again.catalog);

  // Whatever was taken has the key that it would be written under, or a later change of it would leave
  // the old row behind.
  size_t taken = 0;
  for (const auto& [key, value] : rows) {
    if (loaded.bad.contains(rocksdb::Slice(key).ToString(/*hex=*/true))) continue;
    if (written.contains(key)) ++taken;
    const std::optional<uint64_t> commit = CommitOfRow(key, value);
    FUZZ_CHECK(!commit || *commit <= loaded.catalog.RecoveredCommit());
  }
  const size_t passed_over = loaded.catalog.unknown_rows + loaded.catalog.orphan_results;
  const bool plain_commit = rows.contains("G") && loaded.catalog.commit_row == 0;
  const bool plain_meta = rows.contains("M") && loaded.catalog.next_channel == 1;
  const bool unwritten_meta = plain_meta && !loaded.bad.contains("4D");
  const bool unwritten_commit = plain_commit && !loaded.bad.contains("47");
  FUZZ_CHECK(taken + loaded.bad.size() + passed_over + unwritten_meta + unwritten_commit ==
             rows.size());
  return 0;
}
