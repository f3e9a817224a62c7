#include "storage/store.h"

#include <rocksdb/cache.h>

#include "storage/files.h"
#include "storage/store_impl.h"

namespace strata::storage {

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::Open(StoreOptions options) {
  auto impl = std::make_unique<Impl>(options);
  Status opened = impl->Open();
  if (!opened.ok() && impl->MadeRoomForOpening()) {
    impl = std::make_unique<Impl>(std::move(options));
    opened = impl->Open();
  }
  STRATA_RETURN_IF_ERROR(opened);
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Recovered Store::TakeRecovered() { return impl_->TakeRecovered(); }

Status Store::Close() { return impl_->Close(); }

Status Store::Write(const WriteGroup& group) { return impl_->Write(group); }

Status Store::Sync() { return impl_->Sync(); }

Result<std::vector<ReadItem>> Store::Read(ChannelNumber channel, MessageId from, MessageId end,
                                          size_t max_bytes) {
  return impl_->Read(channel, from, end, max_bytes);
}

Result<MessageId> Store::FindTime(ChannelNumber channel, TimeMicros time, MessageId from,
                                  MessageId end) {
  return impl_->FindTime(channel, time, from, end);
}

std::optional<MessageId> Store::OldestId(ChannelNumber channel) {
  const std::optional<Page> page = impl_->pages().Oldest(channel);
  if (!page) return std::nullopt;
  return page->first;
}

std::vector<Page> Store::Pages(ChannelNumber channel) const {
  return impl_->pages().Pages(channel);
}

void Store::ForgetPages(ChannelNumber channel, MessageId through) {
  impl_->ForgetPages(channel, through);
}

std::vector<StratumInfo> Store::DescribeStrata() const { return impl_->DescribeStrata(); }

Result<size_t> Store::DropEmptyStrata() { return impl_->DropEmptyStrata(); }

Result<RewriteResult> Store::Rewrite(const RewriteRequest& request) {
  return impl_->Rewrite(request);
}

void Store::AbandonRewrite(const RewriteResult& result) { impl_->AbandonRewrite(result); }

void Store::SetDeletionRate(uint64_t bytes_per_second) { impl_->SetDeletionRate(bytes_per_second); }

DiskUsage Store::Usage() const { return impl_->Usage(); }

uint64_t Store::BallastBytes() const { return impl_->BallastBytes(); }

void Store::ReleaseBallast() { impl_->ReleaseBallast(); }

Status Store::RestoreBallast() { return impl_->RestoreBallast(); }

void Store::NoteAcknowledged(const std::vector<std::pair<ChannelNumber, MessageId>>& next_ids) {
  impl_->NoteAcknowledged(next_ids);
}

bool Store::failed() const { return impl_->latch().failed(); }

Status Store::failure() const { return impl_->latch().status(); }

StoreStats Store::Stats() const { return impl_->Stats(); }

ChannelSpace Store::Space(ChannelNumber channel) const { return impl_->Space(channel); }

StoreStats Store::Impl::Stats() {
  StoreStats stats;
  stats.pages = pages_.pages();
  stats.live_bytes = pages_.bytes();
  const DiskUsage usage = Usage();
  stats.disk_bytes = usage.used;
  stats.disk_free_bytes = usage.free;
  stats.ballast_bytes = BallastBytes();
  stats.block_cache_limit = options_.block_cache;
  stats.write_buffer_limit = options_.write_buffer;
  stats.groups = groups_.load(std::memory_order_relaxed);
  stats.syncs = syncs_.load(std::memory_order_relaxed);
  if (!open_) return stats;
  stats.strata = strata_->used();
  stats.spares = strata_->spares();
  stats.block_cache_bytes = rocks_.block_cache->GetUsage();
  for (const StratumInfo& stratum : DescribeStrata()) {
    if (!stratum.quarantined.empty()) {
      stats.quarantined.push_back({stratum.number, stratum.live_bytes, stratum.quarantined});
    }
    if (!stratum.rewritten) continue;
    ++stats.compressed_strata;
    stats.compressed_raw_bytes += stratum.raw_bytes;
    stats.compressed_file_bytes += stratum.file_bytes;
  }
  uint64_t memtables = 0;
  if (db_->GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &memtables)) {
    stats.memtable_bytes = memtables;
  }
  return stats;
}

ChannelSpace Store::Impl::Space(ChannelNumber channel) const {
  ChannelSpace space;
  for (const Page& page : pages_.Pages(channel)) {
    ++space.pages;
    space.bytes += page.bytes;
  }
  return space;
}

}  // namespace strata::storage
