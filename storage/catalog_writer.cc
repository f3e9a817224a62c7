// Rows into a WriteBatch.
#include <array>

#include "base/utf8.h"
#include "storage/catalog.h"
#include "storage/catalog.pb.h"
#include "storage/catalog_keys.h"
#include "storage/rocks.h"

namespace strata::storage {

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
  row.set_last_append_time(channel.last_append_time);
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
  row.set_exclusive_term(channel.exclusive_term);
  row.set_exclusive_holder(channel.exclusive_holder);
  // Without it the row of a channel that never had a producer is as it always was.
  if (channel.next_producer > 1) row.set_next_producer(channel.next_producer);
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
  row.set_seeks(subscription.seeks);
  row.SerializeToString(&value_);
  Put(batch, SubscriptionKey(subscription.channel, subscription.name), value_);
}

void CatalogWriter::DeleteSubscription(rocksdb::WriteBatch* batch, ChannelNumber channel,
                                       std::string_view name) {
  Delete(batch, SubscriptionKey(channel, name));
}

void CatalogWriter::PutProducer(rocksdb::WriteBatch* batch, const ProducerRecord& producer) {
  catalog::ProducerRow row;
  row.set_name(producer.name);
  row.set_term(producer.term);
  row.set_created_at(producer.created_at);
  row.set_opened_at(producer.opened_at);
  row.SerializeToString(&value_);
  Put(batch, AsView(ProducerKey(producer.channel, producer.number)), value_);
}

void CatalogWriter::DeleteProducer(rocksdb::WriteBatch* batch, ChannelNumber channel,
                                   uint64_t number) {
  Delete(batch, AsView(ProducerKey(channel, number)));
}

void CatalogWriter::PutResult(rocksdb::WriteBatch* batch, const BatchRecord& stored) {
  catalog::ProducerResultRow row;
  row.set_sequence(stored.sequence);
  row.set_first_id(stored.first_id);
  row.set_count(stored.count);
  row.set_append_time(stored.append_time);
  row.set_content(stored.content);
  row.SerializeToString(&value_);
  Put(batch, AsView(ResultKey(stored.channel, stored.producer, stored.sequence)), value_);
}

void CatalogWriter::DeleteResult(rocksdb::WriteBatch* batch, const BatchRecord& stored) {
  Delete(batch, AsView(ResultKey(stored.channel, stored.producer, stored.sequence)));
}

}  // namespace strata::storage
