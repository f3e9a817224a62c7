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
  }
  return Status::Ok();
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
  const BatchHeader header = EncodeBatchHeader(key, batch);
  pieces_.clear();
  pieces_.emplace_back(header.data(), header.size());
  for (const std::string_view piece : batch.bytes.pieces()) pieces_.push_back(SliceOf(piece));
  const rocksdb::Slice key_slice(key.data(), key.size());
  batch_
      .Put(current_->handle, rocksdb::SliceParts(&key_slice, 1),
           rocksdb::SliceParts(pieces_.data(), static_cast<int>(pieces_.size())))
      .PermitUncheckedError();

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
  // Pages and subscriptions of this very group are not in the index or the database yet.
  for (const PageUpdate& each : updates_) {
    if (each.channel == channel) rows_->DeletePage(&batch_, channel, each.page.first);
  }
  for (size_t i = 0; i < index; ++i) {
    const auto* put = std::get_if<PutSubscription>(&group.changes[i]);
    if (put != nullptr && put->subscription.channel == channel) {
      rows_->DeleteSubscription(&batch_, channel, put->subscription.name);
    }
  }
  STRATA_ASSIGN_OR_RETURN(const auto names, ListSubscriptions(db_.get(), catalog_family_, channel));
  for (const std::string& name : names) rows_->DeleteSubscription(&batch_, channel, name);
  open_pages_.erase(channel);
  dropped_.push_back(channel);
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
    return staged;
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
  auto flush = [this, sealed = std::move(sealed)]() mutable {
    // Waiting, because without it RocksDB answers TryAgain whenever writers happen to be stopped.
    rocksdb::FlushOptions options;
    options.allow_write_stall = true;
    for (rocksdb::ColumnFamilyHandle* family : {sealed->handle, catalog_family_}) {
      if (latch_->failed()) break;
      const rocksdb::Status status = db_->Flush(options, family);
      // Whoever sealed it may have dropped it already.
      if (status.ok() || status.IsColumnFamilyDropped()) continue;
      latch_->Fail("flushing " + family->GetName() + ": " + status.ToString());
    }
  };
  // Refused only while closing, which flushes everything itself.
  if (!maintenance_->Submit(std::move(flush))) options_.log.Debug("not sealing while closing");
}

Status Store::Impl::Sync() {
  MutexLock lock(sync_mu_);
  if (latch_->failed()) return Failed(DataFate::kMayHaveBeenAppended);
  const uint64_t commit = written_commit_.load(std::memory_order_acquire);
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
