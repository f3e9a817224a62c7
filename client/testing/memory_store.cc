#include "client/testing/memory_store.h"

#include <algorithm>
#include <utility>

namespace strata::testing {

using storage::ReadItem;
using storage::StoredBatch;
using storage::WriteGroup;

void MemoryStore::Erase(ChannelState* channel, MessageId through) {
  auto& batches = channel->batches;
  while (!batches.empty() && batches.begin()->second.next_id() - 1 <= through)
    batches.erase(batches.begin());
}

std::unique_ptr<MemoryStore> MemoryStore::Reopen(size_t unsynced) const {
  auto store = std::make_unique<MemoryStore>();
  MutexLock lock(mu_);
  MutexLock other(store->mu_);
  const size_t survive = std::min(groups_.size(), durable_ + unsynced);
  for (size_t i = 0; i < survive; ++i) store->Apply(groups_[i]);
  for (auto& [number, channel] : store->channels_) Erase(&channel, channel.trimmed_through);
  store->durable_ = store->written_ = survive;
  return store;
}

std::unique_ptr<MemoryStore> MemoryStore::TakeOver() {
  auto store = std::make_unique<MemoryStore>(history_);
  MutexLock lock(mu_);
  MutexLock other(store->mu_);
  store->channels_.swap(channels_);
  store->damaged_.swap(damaged_);
  store->next_channel_ = next_channel_;
  store->commit_ = commit_;
  store->usage_ = usage_;
  for (auto& [number, channel] : store->channels_) Erase(&channel, channel.trimmed_through);
  return store;
}

std::vector<storage::ProducerResult> MemoryStore::Results(const ProducerRows& rows) {
  std::map<uint64_t, storage::ProducerResult> by_sequence;
  for (const auto& [slot, result] : rows.slots) by_sequence[result.sequence] = result;
  std::vector<storage::ProducerResult> newest;
  for (auto it = by_sequence.rbegin(); it != by_sequence.rend(); ++it) {
    if (!newest.empty() && it->first + 1 != newest.back().sequence) break;
    newest.push_back(it->second);
  }
  std::reverse(newest.begin(), newest.end());
  return newest;
}

storage::Recovered MemoryStore::Recover() const {
  MutexLock lock(mu_);
  storage::Recovered recovered;
  recovered.store_id = "00000000000000000000000000000000";
  recovered.commit = commit_;
  recovered.next_channel = next_channel_;
  for (const auto& [number, channel] : channels_) {
    recovered.channels.push_back({channel.record, channel.next_id, channel.last_append_time});
    for (const auto& [name, subscription] : channel.subscriptions)
      recovered.subscriptions.push_back(subscription);
    for (const auto& [producer, rows] : channel.producers)
      recovered.producers.push_back({rows.record, Results(rows)});
  }
  return recovered;
}

void MemoryStore::HoldSyncs() {
  MutexLock lock(mu_);
  hold_syncs_ = true;
}

void MemoryStore::ReleaseSyncs() {
  MutexLock lock(mu_);
  hold_syncs_ = false;
  changed_.NotifyAll();
}

void MemoryStore::AwaitHeldSync() {
  MutexLock lock(mu_);
  while (!sync_held_) changed_.Wait(mu_);
}

void MemoryStore::HoldWrites() {
  MutexLock lock(mu_);
  hold_writes_ = true;
}

void MemoryStore::ReleaseWrites() {
  MutexLock lock(mu_);
  hold_writes_ = false;
  changed_.NotifyAll();
}

void MemoryStore::AwaitHeldWrite() {
  MutexLock lock(mu_);
  while (!write_held_) changed_.Wait(mu_);
}

void MemoryStore::FailNextWrite() {
  MutexLock lock(mu_);
  fail_write_ = true;
}

void MemoryStore::FailNextSync() {
  MutexLock lock(mu_);
  fail_sync_ = true;
}

void MemoryStore::Damage(ChannelNumber channel, MessageId first_id) {
  MutexLock lock(mu_);
  damaged_[channel].push_back(first_id);
}

void MemoryStore::DropBefore(ChannelNumber channel, MessageId id) {
  MutexLock lock(mu_);
  Erase(&channels_[channel], id - 1);
}

void MemoryStore::SetUsage(storage::DiskUsage usage) {
  MutexLock lock(mu_);
  usage_ = usage;
}

size_t MemoryStore::groups() const {
  MutexLock lock(mu_);
  return written_;
}

size_t MemoryStore::durable_groups() const {
  MutexLock lock(mu_);
  return durable_;
}

size_t MemoryStore::syncs() const {
  MutexLock lock(mu_);
  return syncs_;
}

size_t MemoryStore::reads() const {
  MutexLock lock(mu_);
  return reads_;
}

bool MemoryStore::closed() const {
  MutexLock lock(mu_);
  return closed_;
}

std::vector<size_t> MemoryStore::batches_per_group() const {
  MutexLock lock(mu_);
  std::vector<size_t> counts;
  for (const WriteGroup& group : groups_) counts.push_back(group.batches.size());
  return counts;
}

std::vector<std::string> MemoryStore::breaches() const {
  MutexLock lock(mu_);
  return breaches_;
}

std::vector<std::pair<ChannelNumber, MessageId>> MemoryStore::noted() const {
  MutexLock lock(mu_);
  return noted_;
}

Status MemoryStore::FailLocked(const char* what) {
  failure_ = Status(Reason::STORE_FAILED, what);
  return failure_;
}

Status MemoryStore::Write(const WriteGroup& group) {
  MutexLock lock(mu_);
  if (writing_) Breach("two writes at once");
  if (closed_) Breach("a write after Close");
  if (!failure_.ok()) {
    Breach("a write after a failure");
    return failure_;
  }
  writing_ = true;
  write_held_ = true;
  changed_.NotifyAll();
  while (hold_writes_) changed_.Wait(mu_);
  write_held_ = false;
  writing_ = false;
  if (std::exchange(fail_write_, false)) return FailLocked("injected write error");
  Apply(group);
  ++written_;
  if (history_ == History::kNone) groups_.clear();
  return Status::Ok();
}

Status MemoryStore::Sync() {
  MutexLock lock(mu_);
  if (syncing_) Breach("two syncs at once");
  if (closed_) Breach("a sync after Close");
  if (!failure_.ok()) {
    Breach("a sync after a failure");
    return failure_;
  }
  syncing_ = true;
  const size_t covered = written_;
  sync_held_ = true;
  changed_.NotifyAll();
  while (hold_syncs_) changed_.Wait(mu_);
  sync_held_ = false;
  syncing_ = false;
  if (std::exchange(fail_sync_, false)) return FailLocked("injected sync error");
  if (!failure_.ok()) return failure_;
  durable_ = covered;
  ++syncs_;
  return Status::Ok();
}

void MemoryStore::Apply(const WriteGroup& group) {
  if (group.commit != commit_ + 1)
    Breach("commit " + std::to_string(group.commit) + " after " + std::to_string(commit_));
  commit_ = group.commit;
  groups_.push_back(group);
  for (const storage::BatchRecord& batch : group.batches) ApplyBatch(batch);
  for (const storage::CatalogChange& change : group.changes) ApplyChange(change);
  for (const auto& [number, channel] : channels_) {
    for (const auto& [producer, rows] : channel.producers) {
      if (rows.record.number != producer)
        Breach("a batch of a producer without a row in channel " + channel.record.name);
    }
  }
}

void MemoryStore::ApplyBatch(const storage::BatchRecord& batch) {
  const auto it = channels_.find(batch.channel);
  if (it == channels_.end()) return Breach("a batch for an unknown channel");
  ChannelState& channel = it->second;
  if (batch.first_id != channel.next_id)
    Breach("ids do not continue in channel " + channel.record.name);
  if (batch.append_time < channel.last_append_time)
    Breach("append_time goes back in channel " + channel.record.name);
  channel.next_id = batch.first_id + batch.count;
  channel.last_append_time = batch.append_time;
  channel.batches[batch.first_id] = {batch.first_id, batch.count, batch.append_time,
                                     batch.bytes.Contiguous()};
  if (batch.producer != 0) ApplyResult(batch, &channel);
}

void MemoryStore::ApplyResult(const storage::BatchRecord& batch, ChannelState* channel) {
  ProducerRows& rows = channel->producers[batch.producer];
  const std::vector<storage::ProducerResult> known = Results(rows);
  if (batch.sequence != (known.empty() ? 1 : known.back().sequence + 1))
    Breach("a producer's sequences do not continue in channel " + channel->record.name);
  if (batch.content != ContentHash(batch.bytes))
    Breach("the content of a producer's batch is another's in channel " + channel->record.name);
  rows.slots[batch.sequence % kProducerWindow] = {batch.sequence, batch.first_id, batch.count,
                                                  batch.append_time, batch.content};
}

void MemoryStore::ApplyChange(const storage::CatalogChange& change) {
  if (const auto* put = std::get_if<storage::PutChannel>(&change)) {
    const auto [it, fresh] = channels_.try_emplace(put->channel.number);
    it->second.record = put->channel;
    if (fresh) it->second.next_id = put->channel.next_id;
    next_channel_ = std::max(next_channel_, put->channel.number + 1);
  } else if (const auto* drop = std::get_if<storage::DropChannel>(&change)) {
    channels_.erase(drop->channel);
  } else if (const auto* subscription = std::get_if<storage::PutSubscription>(&change)) {
    const auto it = channels_.find(subscription->subscription.channel);
    if (it == channels_.end()) return Breach("a subscription of an unknown channel");
    it->second.subscriptions[subscription->subscription.name] = subscription->subscription;
  } else if (const auto* gone = std::get_if<storage::DropSubscription>(&change)) {
    const auto it = channels_.find(gone->channel);
    if (it != channels_.end()) it->second.subscriptions.erase(gone->name);
  } else if (const auto* producer = std::get_if<storage::PutProducer>(&change)) {
    const auto it = channels_.find(producer->producer.channel);
    if (it == channels_.end()) return Breach("a producer of an unknown channel");
    if (producer->producer.number >= it->second.record.next_producer)
      Breach("a producer's number is not taken in channel " + it->second.record.name);
    it->second.producers[producer->producer.number].record = producer->producer;
  } else if (const auto* forgotten = std::get_if<storage::DropProducer>(&change)) {
    const auto it = channels_.find(forgotten->channel);
    if (it != channels_.end()) it->second.producers.erase(forgotten->number);
  } else if (const auto* trim = std::get_if<storage::TrimPages>(&change)) {
    const auto it = channels_.find(trim->channel);
    if (it == channels_.end()) return;
    it->second.trimmed_through = std::max(it->second.trimmed_through, trim->through);
  }
}

Result<std::vector<ReadItem>> MemoryStore::Read(ChannelNumber channel, MessageId from,
                                                MessageId end, size_t max_bytes) {
  MutexLock lock(mu_);
  if (closed_) Breach("a read after Close");
  ++reads_;
  std::vector<ReadItem> items;
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return items;
  const std::vector<MessageId>& damaged = damaged_[channel];
  size_t bytes = 0;
  const auto& batches = it->second.batches;
  auto next = batches.upper_bound(from);
  if (next != batches.begin()) --next;
  for (; next != batches.end(); ++next) {
    const auto& [first_id, batch] = *next;
    if (batch.next_id() <= from) continue;
    if (first_id >= end || (!items.empty() && bytes >= max_bytes)) break;
    bytes += batch.bytes.size();
    if (std::find(damaged.begin(), damaged.end(), first_id) != damaged.end()) {
      items.emplace_back(Gap{first_id, batch.next_id() - 1, GapReason::kCorrupt});
    } else {
      items.emplace_back(batch);
    }
  }
  return items;
}

Result<MessageId> MemoryStore::FindTime(ChannelNumber channel, TimeMicros time, MessageId from,
                                        MessageId end) {
  MutexLock lock(mu_);
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return end;
  for (const auto& [first_id, batch] : it->second.batches) {
    if (batch.next_id() > from && first_id < end && batch.append_time >= time)
      return std::max(first_id, from);
  }
  return end;
}

std::optional<MessageId> MemoryStore::OldestId(ChannelNumber channel) {
  MutexLock lock(mu_);
  const auto it = channels_.find(channel);
  if (it == channels_.end() || it->second.batches.empty()) return std::nullopt;
  return it->second.batches.begin()->first;
}

std::vector<storage::Page> MemoryStore::Pages(ChannelNumber channel) const {
  MutexLock lock(mu_);
  std::vector<storage::Page> pages;
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return pages;
  for (const auto& [first_id, batch] : it->second.batches) {
    if (batch.next_id() - 1 <= it->second.trimmed_through) continue;
    storage::Page& page = pages.emplace_back();
    page.first = first_id;
    page.next = batch.next_id();
    page.bytes = batch.bytes.size();
    page.batches = 1;
    page.first_time = page.last_time = batch.append_time;
  }
  return pages;
}

void MemoryStore::ForgetPages(ChannelNumber channel, MessageId through) {
  MutexLock lock(mu_);
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return;
  if (through > it->second.trimmed_through) Breach("pages forgotten whose rows are there");
  Erase(&it->second, through);
}

std::vector<storage::StratumInfo> MemoryStore::DescribeStrata() const { return {}; }

Result<size_t> MemoryStore::DropEmptyStrata() { return size_t{0}; }

Result<storage::RewriteResult> MemoryStore::Rewrite(const storage::RewriteRequest& /*request*/) {
  return Status(Reason::INTERNAL, "a store in memory has no strata");
}

void MemoryStore::AbandonRewrite(const storage::RewriteResult& /*result*/) {}

storage::DiskUsage MemoryStore::Usage() const {
  MutexLock lock(mu_);
  return usage_;
}

uint64_t MemoryStore::BallastBytes() const { return 0; }

void MemoryStore::ReleaseBallast() {}

Status MemoryStore::RestoreBallast() { return Status::Ok(); }

void MemoryStore::NoteAcknowledged(
    const std::vector<std::pair<ChannelNumber, MessageId>>& next_ids) {
  MutexLock lock(mu_);
  noted_ = next_ids;
}

Status MemoryStore::Close() {
  MutexLock lock(mu_);
  if (writing_ || syncing_) Breach("Close beside a write or a sync");
  closed_ = true;
  if (failure_.ok()) durable_ = written_;
  return Status::Ok();
}

bool MemoryStore::failed() const { return !failure().ok(); }

Status MemoryStore::failure() const {
  MutexLock lock(mu_);
  return failure_;
}

storage::StoreStats MemoryStore::Stats() const {
  MutexLock lock(mu_);
  storage::StoreStats stats;
  stats.groups = written_;
  stats.syncs = syncs_;
  return stats;
}

storage::ChannelSpace MemoryStore::Space(ChannelNumber channel) const {
  MutexLock lock(mu_);
  storage::ChannelSpace space;
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return space;
  for (const auto& [first_id, batch] : it->second.batches) space.bytes += batch.bytes.size();
  return space;
}

}  // namespace strata::testing
