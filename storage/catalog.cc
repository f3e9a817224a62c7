#include "storage/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/utf8.h"
#include "storage/catalog.pb.h"
#include "storage/codec.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

// On disk: never change, never reuse. 'D' (producers) and 'T' (schedules) are taken.
enum RowKind : char {
  kFormatRow = 'F',
  kRunRow = 'R',
  kCommitRow = 'G',
  kMetaRow = 'M',
  kChannelRow = 'C',
  kPageRow = 'P',
  kStratumRow = 'S',
  kSubscriptionRow = 'U',
};

constexpr size_t kChannelKeyBytes = 1 + 8;
constexpr size_t kPageKeyBytes = 1 + 8 + 8;
constexpr size_t kStratumKeyBytes = 1 + 4;

std::array<char, kChannelKeyBytes> ChannelKey(RowKind kind, ChannelNumber channel) {
  std::array<char, kChannelKeyBytes> key;
  key[0] = kind;
  PutBigEndian64(&key[1], channel);
  return key;
}

std::array<char, kPageKeyBytes> PageKey(ChannelNumber channel, MessageId first) {
  std::array<char, kPageKeyBytes> key;
  key[0] = kPageRow;
  PutBigEndian64(&key[1], channel);
  PutBigEndian64(&key[9], static_cast<uint64_t>(first));
  return key;
}

std::array<char, kStratumKeyBytes> StratumKey(uint32_t number) {
  std::array<char, kStratumKeyBytes> key;
  key[0] = kStratumRow;
  PutBigEndian32(&key[1], number);
  return key;
}

std::string SubscriptionKey(ChannelNumber channel, std::string_view name) {
  const auto prefix = ChannelKey(kSubscriptionRow, channel);
  return std::string(prefix.data(), prefix.size()).append(name);
}

template <size_t N>
std::string_view AsView(const std::array<char, N>& key) {
  return {key.data(), key.size()};
}

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

const char* ParseRun(std::string_view value, Catalog* catalog) {
  catalog::RunRow row;
  if (!Parse(value, &row) || row.state() == catalog::RunRow::STATE_UNSET || row.sync_policy() < 1 ||
      row.sync_policy() > 3) {
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
  if (!IsValidName(subscription.name)) return "a subscription row with an impossible name";
  catalog->subscriptions.push_back(std::move(subscription));
  return nullptr;
}

const char* ParseRow(std::string_view key, std::string_view value, Catalog* catalog) {
  switch (key.empty() ? '\0' : key.front()) {
    case kFormatRow: {
      catalog::FormatRow row;
      if (key.size() != 1 || !Parse(value, &row) || row.format() == 0) return "not a format row";
      catalog->format = row.format();
      return nullptr;
    }
    case kRunRow:
      return ParseRun(value, catalog);
    case kCommitRow:
      if (value.size() != 8) return "not a commit number";
      catalog->commit_row = GetBigEndian64(value.data());
      return nullptr;
    case kMetaRow: {
      catalog::MetaRow row;
      if (!Parse(value, &row) || row.next_channel() == 0) return "not a meta row";
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
    default:
      ++catalog->unknown_rows;
      return nullptr;
  }
}

}  // namespace

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
    const char* wrong = ParseRow(View(row->key()), View(row->value()), &catalog);
    if (wrong != nullptr) bad_row("catalog row " + row->key().ToString(/*hex=*/true), wrong);
  }
  STRATA_RETURN_IF_ERROR(FromRocks(row->status(), "reading the catalog"));
  return catalog;
}

std::optional<uint64_t> CommitOfRow(std::string_view key, std::string_view value) {
  Catalog catalog;
  if (key.empty() || (key.front() != kCommitRow && key.front() != kPageRow)) return std::nullopt;
  if (ParseRow(key, value, &catalog) != nullptr) return std::nullopt;
  return catalog.RecoveredCommit();
}

Result<std::vector<std::string>> ListSubscriptions(rocksdb::DB* db,
                                                   rocksdb::ColumnFamilyHandle* family,
                                                   ChannelNumber channel) {
  const auto first = ChannelKey(kSubscriptionRow, channel);
  const auto last = ChannelKey(kSubscriptionRow, channel + 1);
  const rocksdb::Slice lower(first.data(), first.size());
  const rocksdb::Slice upper(last.data(), last.size());
  rocksdb::ReadOptions options;
  options.iterate_lower_bound = &lower;
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> row(db->NewIterator(options, family));
  std::vector<std::string> names;
  for (row->SeekToFirst(); row->Valid(); row->Next()) {
    names.emplace_back(View(row->key()).substr(kChannelKeyBytes));
  }
  STRATA_RETURN_IF_ERROR(FromRocks(row->status(), "reading the catalog"));
  return names;
}

void CatalogWriter::Put(rocksdb::WriteBatch* batch, std::string_view key, std::string_view value) {
  // A WriteBatch fails only beyond its max_bytes, which Strata does not set.
  batch->Put(family_, SliceOf(key), SliceOf(value)).PermitUncheckedError();
}

void CatalogWriter::Delete(rocksdb::WriteBatch* batch, std::string_view key) {
  batch->Delete(family_, SliceOf(key)).PermitUncheckedError();
}

void CatalogWriter::PutFormat(rocksdb::WriteBatch* batch) {
  catalog::FormatRow row;
  row.set_format(kStoreFormat);
  row.SerializeToString(&value_);
  const char key = kFormatRow;
  Put(batch, {&key, 1}, value_);
}

void CatalogWriter::PutRun(rocksdb::WriteBatch* batch, const RunRecord& run) {
  catalog::RunRow row;
  row.set_boot_id(run.boot_id);
  row.set_sync_policy(static_cast<uint32_t>(run.sync));
  row.set_state(run.clean ? catalog::RunRow::STATE_CLEAN : catalog::RunRow::STATE_RUNNING);
  row.set_opened_at(run.opened_at);
  row.SerializeToString(&value_);
  const char key = kRunRow;
  Put(batch, {&key, 1}, value_);
}

void CatalogWriter::PutCommit(rocksdb::WriteBatch* batch, uint64_t commit) {
  std::array<char, 8> value;
  PutBigEndian64(value.data(), commit);
  const char key = kCommitRow;
  Put(batch, {&key, 1}, AsView(value));
}

void CatalogWriter::PutNextChannel(rocksdb::WriteBatch* batch, ChannelNumber next_channel) {
  catalog::MetaRow row;
  row.set_next_channel(next_channel);
  row.SerializeToString(&value_);
  const char key = kMetaRow;
  Put(batch, {&key, 1}, value_);
}

void CatalogWriter::PutChannel(rocksdb::WriteBatch* batch, const ChannelRecord& channel) {
  catalog::ChannelRow row;
  row.set_name(channel.name);
  row.set_first_id(channel.options.first_id);
  row.set_created_at(channel.created_at);
  row.set_next_id(channel.next_id);
  row.set_truncated_through(channel.truncated_through);
  row.set_truncated_at(channel.truncated_at);
  for (const Gap& gap : channel.lost) {
    catalog::LostIds* lost = row.add_lost();
    lost->set_first(gap.first);
    lost->set_last(gap.last);
  }
  const RetentionOverrides& retention = channel.options.retention;
  if (retention.policy) row.set_retention_policy(static_cast<uint32_t>(*retention.policy));
  if (retention.retention_time) row.set_retention_time(*retention.retention_time);
  if (retention.retention_size) row.set_retention_size(*retention.retention_size);
  if (retention.max_messages) row.set_max_messages(*retention.max_messages);
  row.SerializeToString(&value_);
  Put(batch, AsView(ChannelKey(kChannelRow, channel.number)), value_);
}

void CatalogWriter::DeleteChannel(rocksdb::WriteBatch* batch, ChannelNumber channel) {
  Delete(batch, AsView(ChannelKey(kChannelRow, channel)));
}

void CatalogWriter::PutPage(rocksdb::WriteBatch* batch, ChannelNumber channel, const Page& page) {
  catalog::PageRow row;
  row.set_next_id(page.next);
  row.set_bytes(page.bytes);
  row.set_batches(page.batches);
  row.set_first_append_time(page.first_time);
  row.set_last_append_time(page.last_time);
  row.set_stratum(page.stratum);
  row.set_commit(page.commit);
  row.SerializeToString(&value_);
  Put(batch, AsView(PageKey(channel, page.first)), value_);
}

void CatalogWriter::DeletePage(rocksdb::WriteBatch* batch, ChannelNumber channel, MessageId first) {
  Delete(batch, AsView(PageKey(channel, first)));
}

void CatalogWriter::PutStratum(rocksdb::WriteBatch* batch, const StratumRecord& stratum) {
  catalog::StratumRow row;
  row.set_created_at(stratum.created_at);
  row.set_sealed_at(stratum.sealed_at);
  // A row with other text could not be read back.
  row.set_quarantined(ToValidUtf8(stratum.quarantined));
  row.SerializeToString(&value_);
  Put(batch, AsView(StratumKey(stratum.number)), value_);
}

void CatalogWriter::DeleteStratum(rocksdb::WriteBatch* batch, uint32_t number) {
  Delete(batch, AsView(StratumKey(number)));
}

void CatalogWriter::PutSubscription(rocksdb::WriteBatch* batch,
                                    const SubscriptionRecord& subscription) {
  catalog::SubscriptionRow row;
  row.set_cursor(subscription.cursor);
  row.set_created_at(subscription.created_at);
  row.set_active_at(subscription.active_at);
  row.SerializeToString(&value_);
  Put(batch, SubscriptionKey(subscription.channel, subscription.name), value_);
}

void CatalogWriter::DeleteSubscription(rocksdb::WriteBatch* batch, ChannelNumber channel,
                                       std::string_view name) {
  Delete(batch, SubscriptionKey(channel, name));
}

}  // namespace strata::storage
