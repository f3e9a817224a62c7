// Groups and syncs: from a WriteGroup to one WriteBatch, and only after RocksDB has taken it to the page index.
#include <fmt/format.h>

#include <algorithm>

#include "storage/codec.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

// The WriteBatch keeps its memory for the next group, up to this.
constexpr size_t kMaxIdleBatch = 8u << 20;

constexpr uint64_t kStrataWanted = 32;  // a stratum's share of the live bytes
constexpr uint64_t kMinStratumPages = 4;
constexpr uint64_t kMaxStratumPages = 64;
constexpr uint64_t kMinStrataLimit = 128;

// When a stratum is full: few strata, because creating and dropping families stalls writers, but each small against
// the whole, because space is given back by the stratum.
uint64_t StratumTarget(const StoreOptions& options, uint64_t live_bytes) {
  uint64_t target = std::clamp(live_bytes / kStrataWanted, kMinStratumPages * options.page_size,
                               kMaxStratumPages * options.page_size);
  if (options.max_file_store > 0) target = std::min(target, options.max_file_store / 16);
  return target;
}

// Merging keeps the number below this (retention/schedule.h); beyond it strata overshoot.
uint64_t StrataLimit(const StoreOptions& options, uint64_t live_bytes) {
  return std::max(kMinStrataLimit, 3 * live_bytes / StratumTarget(options, live_bytes));
}

Status Misuse(std::string what) {
  return Status(Reason::INTERNAL, std::move(what)).WithFate(DataFate::kNotAppended);
}

}  // namespace

Status Store::Impl::CheckGroup(const WriteGroup& group) const {
  const uint64_t last = written_commit_.load(std::memory_order_relaxed);
  if (group.commit != last + 1) {
    return Misuse(fmt::format("group {} was written after group {}", group.commit, last));
  }
  for (const BatchRecord& batch : group.batches) {
    if (batch.count == 0 || batch.first_id < 1) {
      return Misuse(fmt::format("channel {}: a batch of {} messages from id {}", batch.channel,
                                batch.count, batch.first_id));
    }
    if (batch.producer != 0) STRATA_RETURN_IF_ERROR(CheckProducer(group, batch));
  }
  for (const CatalogChange& change : group.changes) {
    const auto* put = std::get_if<PutProducer>(&change);
    if (put == nullptr) continue;
    const ProducerRecord& producer = put->producer;
    if (producer.channel == 0 || producer.number == 0 || producer.term < 0 ||
        !IsValidName(producer.name)) {
      return Misuse(fmt::format("channel {}: producer {} '{}' with term {}", producer.channel,
                                producer.number, producer.name, producer.term));
    }
  }
  return Status::Ok();
}

// A result without its producer's row would be damage when the store is opened.
Status Store::Impl::CheckProducer(const WriteGroup& group, const BatchRecord& batch) const {
  if (batch.sequence == 0) {
    return Misuse(fmt::format("channel {}: a batch of producer {} without a sequence",
                              batch.channel, batch.producer));
  }
  if (producers_.contains({batch.channel, batch.producer})) return Status::Ok();
  for (const CatalogChange& change : group.changes) {
    const auto* put = std::get_if<PutProducer>(&change);
    if (put != nullptr && put->producer.channel == batch.channel &&
        put->producer.number == batch.producer) {
      return Status::Ok();
    }
  }
  return Misuse(fmt::format("channel {}: a batch of producer {}, which is not there", batch.channel,
                            batch.producer));
}

void Store::Impl::ChooseStratum(TimeMicros now, bool seal) {
  const uint64_t live_bytes = pages_.bytes();
  const uint64_t bytes = current_bytes_.load(std::memory_order_relaxed);
  const bool full = bytes >= StratumTarget(options_, live_bytes);
  // Beyond the limit the current one overshoots, and merging makes room.
  if (current_ &&
      (!(full || (seal && bytes > 0)) || strata_->used() >= StrataLimit(options_, live_bytes))) {
    return;
  }
  StratumRef next = strata_->TakeSpare(now);
  if (!next) return;  // none is ready: the current one overshoots
  if (current_) {
    rows_->PutStratum(&batch_, {current_->number, current_created_at_, now, ""});
    strata_->Seal(current_->number, now, bytes);
    bodies_->Seal(current_->number);
    sealed_ = std::move(current_);
  }
  rows_->PutStratum(&batch_, {next->number, now, 0, ""});
  DeleteRowsOfDropped();
  current_ = std::move(next);
  current_created_at_ = now;
  current_bytes_ = 0;
}

Status Store::Impl::StageBatch(const BatchRecord& batch, uint64_t commit) {
  OpenPage& open = open_pages_[batch.channel];
  Page& page = open.page;
  if (batch.first_id < page.next) {
    return Misuse(fmt::format("channel {}: a batch from id {} after id {}", batch.channel,
                              batch.first_id, page.next - 1));
  }
  if (page.next != batch.first_id || page.bytes >= options_.page_size ||
      page.stratum != current_->number) {
    // A page that this very group has filled goes out as it is.
    if (open.staged_in == commit) updates_.push_back({batch.channel, page});
    page = Page{.first = batch.first_id,
                .next = batch.first_id,
                .stratum = current_->number,
                .first_time = batch.append_time};
  }
  if (open.staged_in != commit) {
    open.staged_in = commit;
    touched_.emplace_back(batch.channel, &open);
  }
  const MessageKey key = EncodeMessageKey(batch.channel, batch.first_id);
  BatchHeader header;
  EncodedReference reference;
  pieces_.assign(1, rocksdb::Slice(header.data(), header.size()));
  if (batch.bytes.size() < options_.separate_bytes) {
    header = EncodeBatchHeader(key, batch);
    for (const std::string_view piece : batch.bytes.pieces()) pieces_.push_back(SliceOf(piece));
  } else {
    BodyReference where;
    STRATA_RETURN_IF_ERROR(
        bodies_->Append(current_->number, batch.bytes, ContentOf(batch), &where));
    reference = EncodeReference(where);
    header = EncodeBatchHeader(key, batch, reference);
    pieces_.emplace_back(reference.data(), reference.size());
  }
  const rocksdb::Slice key_slice(key.data(), key.size());
  batch_
      .Put(current_->handle, rocksdb::SliceParts(&key_slice, 1),
           rocksdb::SliceParts(pieces_.data(), static_cast<int>(pieces_.size())))
      .PermitUncheckedError();

  // In this WriteBatch and no other: a batch without its result would be stored again when its producer sends it again,
  // and a result without its batch would be an acknowledgement of what is not there.
  if (batch.producer != 0) rows_->PutResult(&batch_, batch);

  const uint64_t bytes = key.size() + header.size() + batch.bytes.size();
  page.next += batch.count;
  page.bytes += bytes;
  ++page.batches;
  page.last_time = batch.append_time;
  page.commit = commit;
  current_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return Status::Ok();
}

void Store::Impl::StagePages() {
  for (const auto& [channel, open] : touched_) updates_.push_back({channel, open->page});
  for (const PageUpdate& each : updates_) rows_->PutPage(&batch_, each.channel, each.page);
}

Status Store::Impl::StageChange(const WriteGroup& group, size_t index) {
  const CatalogChange& change = group.changes[index];
  if (const auto* put = std::get_if<PutChannel>(&change)) {
    rows_->PutChannel(&batch_, put->channel);
    if (put->channel.number >= next_channel_) {
      next_channel_ = put->channel.number + 1;
      rows_->PutNextChannel(&batch_, next_channel_);
    }
  } else if (const auto* put_subscription = std::get_if<PutSubscription>(&change)) {
    rows_->PutSubscription(&batch_, put_subscription->subscription);
  } else if (const auto* drop_subscription = std::get_if<DropSubscription>(&change)) {
    rows_->DeleteSubscription(&batch_, drop_subscription->channel, drop_subscription->name);
  } else if (const auto* put_producer = std::get_if<PutProducer>(&change)) {
    rows_->PutProducer(&batch_, put_producer->producer);
    producers_.insert({put_producer->producer.channel, put_producer->producer.number});
  } else if (std::holds_alternative<DropProducer>(change)) {
    return StageDropProducer(group, index);
  } else if (const auto* trim = std::get_if<TrimPages>(&change)) {
    StageTrimPages(*trim);
  } else if (const auto* move = std::get_if<MovePages>(&change)) {
    return StageMovePages(*move);
  } else if (const auto* quarantine = std::get_if<QuarantineStratum>(&change)) {
    StageQuarantine(*quarantine);
  } else if (std::holds_alternative<DropChannel>(change)) {
    return StageDropChannel(group, index);
  }
  return Status::Ok();
}

void Store::Impl::StageTrimPages(const TrimPages& trim) {
  for (const Page& page : pages_.Pages(trim.channel)) {
    if (page.next - 1 > trim.through) break;
    // The newest one may have grown by this very group.
    const bool grown = std::any_of(updates_.begin(), updates_.end(), [&](const PageUpdate& each) {
      return each.channel == trim.channel && each.page.first == page.first;
    });
    if (grown) break;
    rows_->DeletePage(&batch_, trim.channel, page.first);
    // The next batch begins a new page.
    const auto open = open_pages_.find(trim.channel);
    if (open != open_pages_.end() && open->second.page.first == page.first) open_pages_.erase(open);
  }
  trimmed_.push_back(trim);
}

Status Store::Impl::StageMovePages(const MovePages& move) {
  rows_->PutStratum(&batch_, {move.to, move.created_at, move.sealed_at, ""});
  for (const MovePages::Moved& moved : move.pages) {
    if (!pages_.IsIn(moved.channel, moved.first, moved.from)) continue;
    std::optional<Page> page = pages_.Find(moved.channel, moved.first);
    const bool gone = std::any_of(dropped_.begin(), dropped_.end(),
                                  [&](ChannelNumber each) { return each == moved.channel; }) ||
                      std::any_of(trimmed_.begin(), trimmed_.end(), [&](const TrimPages& each) {
                        return each.channel == moved.channel && page->next - 1 <= each.through;
                      });
    if (gone) continue;
    page->stratum = move.to;
    rows_->PutPage(&batch_, moved.channel, *page);
    const auto open = open_pages_.find(moved.channel);
    if (open != open_pages_.end() && open->second.page.first == moved.first) {
      open->second.page.stratum = move.to;
    }
  }
  return Status::Ok();
}

void Store::Impl::StageQuarantine(const QuarantineStratum& quarantine) {
  std::optional<StratumRecord> record = strata_->Record(quarantine.number);
  if (!record) return;  // dropped meanwhile
  record->quarantined = quarantine.why;
  rows_->PutStratum(&batch_, *record);
}

// Their families are gone for good, so it does not matter when: with a row that is written anyway.
void Store::Impl::DeleteRowsOfDropped() {
  std::vector<uint32_t> numbers;
  {
    MutexLock lock(space_mu_);
    numbers.swap(rowless_);
  }
  for (const uint32_t number : numbers) rows_->DeleteStratum(&batch_, number);
}

Status Store::Impl::StageDropChannel(const WriteGroup& group, size_t index) {
  const ChannelNumber channel = std::get<DropChannel>(group.changes[index]).channel;
  rows_->DeleteChannel(&batch_, channel);
  for (const Page& page : pages_.Pages(channel)) rows_->DeletePage(&batch_, channel, page.first);
  // What this very group brings is not in the index or the database yet.
  for (const PageUpdate& each : updates_) {
    if (each.channel == channel) rows_->DeletePage(&batch_, channel, each.page.first);
  }
  for (const BatchRecord& each : group.batches) {
    if (each.channel == channel && each.producer != 0) rows_->DeleteResult(&batch_, each);
  }
  for (size_t i = 0; i < index; ++i) {
    if (const auto* put = std::get_if<PutSubscription>(&group.changes[i])) {
      if (put->subscription.channel != channel) continue;
      rows_->DeleteSubscription(&batch_, channel, put->subscription.name);
    } else if (const auto* producer = std::get_if<PutProducer>(&group.changes[i])) {
      if (producer->producer.channel != channel) continue;
      rows_->DeleteProducer(&batch_, channel, producer->producer.number);
    }
  }
  STRATA_ASSIGN_OR_RETURN(const auto keys, KeysOfChannel(db_.get(), catalog_family_, channel));
  for (const std::string& key : keys) rows_->Delete(&batch_, key);
  producers_.erase(producers_.lower_bound({channel, 0}), producers_.lower_bound({channel + 1, 0}));
  open_pages_.erase(channel);
  dropped_.push_back(channel);
  return Status::Ok();
}

Status Store::Impl::StageDropProducer(const WriteGroup& group, size_t index) {
  const auto& [channel, number] = std::get<DropProducer>(group.changes[index]);
  rows_->DeleteProducer(&batch_, channel, number);
  for (const BatchRecord& each : group.batches) {
    if (each.channel == channel && each.producer == number) rows_->DeleteResult(&batch_, each);
  }
  STRATA_ASSIGN_OR_RETURN(const auto keys,
                          KeysOfProducer(db_.get(), catalog_family_, channel, number));
  for (const std::string& key : keys) rows_->Delete(&batch_, key);
  producers_.erase({channel, number});
  return Status::Ok();
}

Status Store::Impl::StageGroup(const WriteGroup& group) {
  batch_.Clear();
  touched_.clear();
  updates_.clear();
  dropped_.clear();
  trimmed_.clear();
  const bool seal = std::any_of(group.changes.begin(), group.changes.end(), [](const auto& change) {
    return std::holds_alternative<SealStratum>(change);
  });
  if (!group.batches.empty() || seal) {
    ChooseStratum(
        group.batches.empty() ? options_.clock->WallMicros() : group.batches.front().append_time,
        seal);
  }
  if (!group.batches.empty()) {
    if (!current_) return Status(Reason::INTERNAL, "no stratum to write to");
    for (const BatchRecord& batch : group.batches) {
      STRATA_RETURN_IF_ERROR(StageBatch(batch, group.commit));
    }
    StagePages();
  }
  // Page rows carry the number too; but a group may have none, or may remove those with the last one. Before the rows
  // of the changes: a page that is moved keeps its older number, and a replay goes by the first one that it meets.
  if (group.batches.empty() || !group.changes.empty()) rows_->PutCommit(&batch_, group.commit);
  for (size_t i = 0; i < group.changes.size(); ++i) STRATA_RETURN_IF_ERROR(StageChange(group, i));
  return Status::Ok();
}

Status Store::Impl::Write(const WriteGroup& group) {
  if (latch_->failed()) return Failed(DataFate::kNotAppended);
  STRATA_RETURN_IF_ERROR(CheckGroup(group));
  if (const Status staged = StageGroup(group); !staged.ok()) {
    // What was staged cannot be taken back from open_pages_: the next group would build on it.
    latch_->Fail("preparing group " + std::to_string(group.commit) + ": " + staged.ToString());
    return Failed(DataFate::kNotAppended);
  }
  const rocksdb::Status written = db_->Write(write_options_, &batch_);
  if (!written.ok())
    latch_->Fail("writing group " + std::to_string(group.commit) + ": " + written.ToString());
  // The latch, not RocksDB's answer, tells about its log: see fail_latch.h.
  if (latch_->failed()) return Failed(DataFate::kMayHaveBeenAppended);

  // In this order: who sees that a stratum is empty has to see, too, which group a sync must cover before it goes.
  written_commit_.store(group.commit, std::memory_order_release);
  ApplyGroup(group);
  groups_.fetch_add(1, std::memory_order_relaxed);
  if (sealed_) SealInBackground(std::move(sealed_));
  if (batch_.GetDataSize() > kMaxIdleBatch) batch_ = rocksdb::WriteBatch();
  return Status::Ok();
}

void Store::Impl::ApplyGroup(const WriteGroup& group) {
  pages_.Apply(updates_);
  for (const ChannelNumber channel : dropped_) pages_.DropChannel(channel);
  for (const TrimPages& trim : trimmed_) pages_.Remove(trim.channel, trim.through);
  for (const CatalogChange& change : group.changes) {
    if (const auto* quarantine = std::get_if<QuarantineStratum>(&change)) {
      strata_->SetQuarantine(quarantine->number, quarantine->why);
    } else if (const auto* move = std::get_if<MovePages>(&change)) {
      AdoptRewritten(*move);
    }
  }
}

// Without this an idle sealed stratum, and a catalog that is seldom full, would pin the log.
void Store::Impl::SealInBackground(StratumRef sealed) {
  // Not the reference: the files of a stratum that is dropped meanwhile should go.
  auto flush = [this, number = sealed->number] {
    if (latch_->failed()) return;
    Status status = bodies_->Sync();  // also closes its body file
    if (status.ok()) status = strata_->Flush(number);
    if (status.ok() && !latch_->failed()) {
      rocksdb::FlushOptions options;
      options.allow_write_stall = true;
      status = FromRocks(db_->Flush(options, catalog_family_), "flushing the catalog");
    }
    if (!status.ok()) latch_->Fail(status.message());
  };
  // Refused only while closing, which flushes everything itself.
  if (!maintenance_->Submit(std::move(flush))) options_.log.Debug("not sealing while closing");
}

Status Store::Impl::Sync() {
  MutexLock lock(sync_mu_);
  if (latch_->failed()) return Failed(DataFate::kMayHaveBeenAppended);
  const uint64_t commit = written_commit_.load(std::memory_order_acquire);
  // Bodies first: no row may be durable whose body is not.
  if (const Status bodies = bodies_->Sync(); !bodies.ok()) latch_->Fail(bodies.message());
  if (latch_->failed()) return Failed(DataFate::kMayHaveBeenAppended);
  const rocksdb::Status synced = db_->SyncWAL();
  if (!synced.ok()) latch_->Fail("syncing the log: " + synced.ToString());
  if (latch_->failed()) return Failed(DataFate::kMayHaveBeenAppended);
  if (const Status noted = watermark_->NoteDurable(commit); !noted.ok()) {
    latch_->Fail(noted.message());
    return Failed(DataFate::kMayHaveBeenAppended);
  }
  synced_commit_.store(commit, std::memory_order_release);
  syncs_.fetch_add(1, std::memory_order_relaxed);
  return Status::Ok();
}

void Store::Impl::NoteAcknowledged(const NextIds& next_ids) {
  if (latch_->failed()) return;
  const Status noted = watermark_->NoteAcknowledged(next_ids);
  if (!noted.ok()) latch_->Fail(noted.message());
}

}  // namespace strata::storage
