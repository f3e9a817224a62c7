#include "storage/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "storage/catalog.pb.h"
#include "storage/catalog_keys.h"
#include "storage/codec.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

template <typename Row>
bool Parse(std::string_view value, Row* row) {
  return row->ParseFromArray(value.data(), static_cast<int>(value.size()));
}

// Each parser returns nullptr or what is wrong.
const char* ParseRetention(const catalog::ChannelRow& row, RetentionOverrides* retention) {
  if (row.has_retention_policy()) {
    if (row.retention_policy() < 1 || row.retention_policy() > 3) {
      return "a channel row with an unknown retention policy";
    }
    retention->policy = static_cast<RetentionPolicy>(row.retention_policy());
  }
  if (row.has_retention_time()) retention->retention_time = row.retention_time();
  if (row.has_retention_size()) retention->retention_size = row.retention_size();
  if (row.has_max_messages()) retention->max_messages = row.max_messages();
  for (const auto& limit :
       {retention->retention_time, retention->retention_size, retention->max_messages}) {
    if (limit && *limit < kNoLimit) return "a channel row with an impossible retention rule";
  }
  return nullptr;
}

const char* ParseRun(std::string_view key, std::string_view value, Catalog* catalog) {
  catalog::RunRow row;
  if (key.size() != 1 || !Parse(value, &row) || row.state() == catalog::RunRow::STATE_UNSET ||
      row.sync_policy() < 1 || row.sync_policy() > 3) {
    return "not a run row";
  }
  catalog->run = RunRecord{row.boot_id(), static_cast<SyncPolicy>(row.sync_policy()),
                           row.state() == catalog::RunRow::STATE_CLEAN, row.opened_at()};
  return nullptr;
}

const char* ParseChannel(std::string_view key, std::string_view value, Catalog* catalog) {
  catalog::ChannelRow row;
  if (key.size() != kChannelKeyBytes || !Parse(value, &row)) return "not a channel row";
  ChannelRecord channel;
  channel.number = GetBigEndian64(&key[1]);
  channel.name = row.name();
  channel.options.first_id = row.first_id();
  channel.created_at = row.created_at();
  channel.next_id = row.next_id();
  channel.last_append_time = row.last_append_time();
  channel.truncated_through = row.truncated_through();
  channel.truncated_at = row.truncated_at();
  for (const catalog::LostIds& lost : row.lost()) {
    if (lost.first() < 1 || lost.last() < lost.first())
      return "a channel row with an impossible gap";
    channel.lost.push_back({lost.first(), lost.last(), GapReason::kLost});
  }
  if (channel.number == 0 || !IsValidName(channel.name) || channel.options.first_id < 1 ||
      channel.next_id < channel.options.first_id) {
    return "a channel row with impossible values";
  }
  if (const char* wrong = ParseRetention(row, &channel.options.retention)) return wrong;
  channel.exclusive_term = row.exclusive_term();
  channel.exclusive_holder = row.exclusive_holder();
  channel.next_producer = std::max<uint64_t>(row.next_producer(), 1);
  const bool held = !channel.exclusive_holder.empty();
  if (channel.exclusive_term < 0 ||
      (held && (channel.exclusive_term == 0 || !IsValidName(channel.exclusive_holder)))) {
    return "a channel row with an impossible exclusive producer";
  }
  catalog->channels.push_back(std::move(channel));
  return nullptr;
}

const char* ParsePage(std::string_view key, std::string_view value, Catalog* catalog) {
  catalog::PageRow row;
  if (key.size() != kPageKeyBytes || !Parse(value, &row)) return "not a page row";
  PageUpdate update;
  update.channel = GetBigEndian64(&key[1]);
  Page& page = update.page;
  page.first = static_cast<MessageId>(GetBigEndian64(&key[9]));
  page.next = row.next_id();
  page.bytes = row.bytes();
  page.batches = row.batches();
  page.stratum = row.stratum();
  page.first_time = row.first_append_time();
  page.last_time = row.last_append_time();
  page.commit = row.commit();
  if (page.first < 1 || page.next <= page.first || page.batches == 0) {
    return "a page row with impossible values";
  }
  if (!catalog->pages.empty()) {
    const PageUpdate& previous = catalog->pages.back();
    if (previous.channel == update.channel && previous.page.next > page.first) {
      return "a page row that overlaps the page before it";
    }
  }
  catalog->pages.push_back(update);
  return nullptr;
}

const char* ParseStratum(std::string_view key, std::string_view value, Catalog* catalog) {
  catalog::StratumRow row;
  if (key.size() != kStratumKeyBytes || !Parse(value, &row)) return "not a stratum row";
  catalog->strata.push_back(
      {GetBigEndian32(&key[1]), row.created_at(), row.sealed_at(), row.quarantined()});
  return nullptr;
}

const char* ParseSubscription(std::string_view key, std::string_view value, Catalog* catalog) {
  catalog::SubscriptionRow row;
  if (key.size() <= kChannelKeyBytes || !Parse(value, &row)) return "not a subscription row";
  SubscriptionRecord subscription;
  subscription.channel = GetBigEndian64(&key[1]);
  subscription.name.assign(key.substr(kChannelKeyBytes));
  subscription.cursor = row.cursor();
  subscription.created_at = row.created_at();
  subscription.active_at = row.active_at();
  subscription.seeks = row.seeks();
  if (!IsValidName(subscription.name)) return "a subscription row with an impossible name";
  catalog->subscriptions.push_back(std::move(subscription));
  return nullptr;
}

const char* ParseProducer(std::string_view key, std::string_view value, Catalog* catalog) {
  catalog::ProducerRow row;
  if (!Parse(value, &row)) return "not a producer row";
  ProducerRecord producer;
  producer.channel = GetBigEndian64(&key[1]);
  producer.number = GetBigEndian64(&key[9]);
  producer.name = row.name();
  producer.term = row.term();
  producer.created_at = row.created_at();
  producer.opened_at = row.opened_at();
  if (producer.channel == 0 || producer.number == 0 || !IsValidName(producer.name) ||
      producer.term < 0) {
    return "a producer row with impossible values";
  }
  catalog->producers.push_back({std::move(producer), {}});
  return nullptr;
}

// Its producer's row comes before it, and that channel's row before both: 'C' sorts before 'D'.
const char* ParseResult(std::string_view key, std::string_view value, Catalog* catalog) {
  catalog::ProducerResultRow row;
  if (!Parse(value, &row)) return "not a producer's result row";
  const ProducerResult result{row.sequence(), row.first_id(), row.count(), row.append_time(),
                              row.content()};
  if (result.sequence == 0 || key.back() != SlotOf(result.sequence) || result.count == 0 ||
      result.count > kMaxBatchMessages || result.first_id < 1 ||
      result.first_id > std::numeric_limits<MessageId>::max() - result.count) {
    return "a producer's result row with impossible values";
  }
  const ChannelNumber channel = GetBigEndian64(&key[1]);
  const uint64_t number = GetBigEndian64(&key[9]);
  if (!catalog->producers.empty()) {
    RecoveredProducer& newest = catalog->producers.back();
    if (newest.record.channel == channel && newest.record.number == number) {
      newest.results.push_back(result);
      return nullptr;
    }
  }
  // Rows of one kind are in the order of their channels.
  const auto at = std::lower_bound(
      catalog->channels.begin(), catalog->channels.end(), channel,
      [](const ChannelRecord& each, ChannelNumber number) { return each.number < number; });
  if (at != catalog->channels.end() && at->number == channel)
    return "a result row of a producer without a row of its own";
  ++catalog->orphan_results;
  return nullptr;
}

// Adds the keys in the database that begin with `prefix`.
Status AddKeys(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family, std::string_view prefix,
               std::vector<std::string>* keys) {
  std::string behind(prefix);  // the first key behind them; a prefix begins with a letter
  while (behind.back() == '\xff') behind.pop_back();
  ++behind.back();
  const rocksdb::Slice lower = SliceOf(prefix);
  const rocksdb::Slice upper(behind);
  rocksdb::ReadOptions options;
  options.iterate_lower_bound = &lower;
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> row(db->NewIterator(options, family));
  for (row->SeekToFirst(); row->Valid(); row->Next()) keys->push_back(row->key().ToString());
  return FromRocks(row->status(), "reading the catalog");
}

}  // namespace

const char* ParseCatalogRow(std::string_view key, std::string_view value, Catalog* catalog) {
  switch (key.empty() ? '\0' : key.front()) {
    case kFormatRow: {
      catalog::FormatRow row;
      if (key.size() != 1 || !Parse(value, &row) || row.format() == 0) return "not a format row";
      catalog->format = row.format();
      return nullptr;
    }
    case kRunRow:
      return ParseRun(key, value, catalog);
    case kCommitRow:
      if (key.size() != 1 || value.size() != 8) return "not a commit number";
      catalog->commit_row = GetBigEndian64(value.data());
      return nullptr;
    case kMetaRow: {
      catalog::MetaRow row;
      if (key.size() != 1 || !Parse(value, &row) || row.next_channel() == 0)
        return "not a meta row";
      catalog->next_channel = row.next_channel();
      return nullptr;
    }
    case kChannelRow:
      return ParseChannel(key, value, catalog);
    case kPageRow:
      return ParsePage(key, value, catalog);
    case kStratumRow:
      return ParseStratum(key, value, catalog);
    case kSubscriptionRow:
      return ParseSubscription(key, value, catalog);
    case kProducerRow:
      if (key.size() == kProducerKeyBytes) return ParseProducer(key, value, catalog);
      if (key.size() == kResultKeyBytes) return ParseResult(key, value, catalog);
      return "not a producer row";
    default:
      ++catalog->unknown_rows;
      return nullptr;
  }
}

const Page* FindPage(const Catalog& catalog, ChannelNumber channel, MessageId id) {
  const auto behind =
      std::upper_bound(catalog.pages.begin(), catalog.pages.end(), std::pair(channel, id),
                       [](const auto& at, const PageUpdate& each) {
                         return at < std::pair(each.channel, each.page.first);
                       });
  if (behind == catalog.pages.begin()) return nullptr;
  const PageUpdate& found = *std::prev(behind);
  return found.channel == channel && id < found.page.next ? &found.page : nullptr;
}

uint64_t Catalog::RecoveredCommit() const {
  uint64_t commit = commit_row;
  for (const PageUpdate& each : pages) commit = std::max(commit, each.page.commit);
  return commit;
}

Result<Catalog> LoadCatalog(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family,
                            const BadRow& bad_row) {
  Catalog catalog;
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> row(db->NewIterator(options, family));
  for (row->SeekToFirst(); row->Valid(); row->Next()) {
    const char* wrong = ParseCatalogRow(View(row->key()), View(row->value()), &catalog);
    if (wrong != nullptr) bad_row("catalog row " + row->key().ToString(/*hex=*/true), wrong);
  }
  STRATA_RETURN_IF_ERROR(FromRocks(row->status(), "reading the catalog"));
  return catalog;
}

std::optional<uint64_t> CommitOfRow(std::string_view key, std::string_view value) {
  Catalog catalog;
  if (key.empty() || (key.front() != kCommitRow && key.front() != kPageRow)) return std::nullopt;
  if (ParseCatalogRow(key, value, &catalog) != nullptr) return std::nullopt;
  return catalog.RecoveredCommit();
}

std::vector<ProducerResult> NewestResults(std::vector<ProducerResult> results) {
  std::sort(results.begin(), results.end(),
            [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
  size_t first = results.empty() ? 0 : results.size() - 1;
  while (first > 0 && results[first - 1].sequence + 1 == results[first].sequence) --first;
  results.erase(results.begin(), results.begin() + static_cast<ptrdiff_t>(first));
  return results;
}

Result<std::vector<std::string>> KeysOfChannel(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family,
                                               ChannelNumber channel) {
  std::vector<std::string> keys;
  for (const RowKind kind : {kSubscriptionRow, kProducerRow}) {
    STRATA_RETURN_IF_ERROR(AddKeys(db, family, AsView(ChannelKey(kind, channel)), &keys));
  }
  return keys;
}

Result<std::vector<std::string>> KeysOfProducer(rocksdb::DB* db,
                                                rocksdb::ColumnFamilyHandle* family,
                                                ChannelNumber channel, uint64_t number) {
  std::vector<std::string> keys;
  STRATA_RETURN_IF_ERROR(AddKeys(db, family, AsView(ProducerKey(channel, number)), &keys));
  return keys;
}

}  // namespace strata::storage
