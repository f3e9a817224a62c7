#include "storage/page_index.h"

#include <algorithm>
#include <limits>

namespace strata::storage {

void PageIndex::Account(uint32_t stratum, int64_t pages, int64_t bytes) {
  pages_.fetch_add(static_cast<uint64_t>(pages), std::memory_order_relaxed);
  bytes_.fetch_add(static_cast<uint64_t>(bytes), std::memory_order_relaxed);
  MutexLock lock(live_mu_);
  Live& live = live_[stratum];
  live.pages += static_cast<uint64_t>(pages);
  live.bytes += static_cast<uint64_t>(bytes);
  if (live.pages == 0) live_.erase(stratum);
}

const PageIndex::Entry* PageIndex::EntryAt(const Entries& entries, MessageId first) {
  const auto entry =
      std::partition_point(entries.begin(), entries.end(),
                           [first](const Entry& each) { return each.page.first < first; });
  return entry != entries.end() && entry->page.first == first ? &*entry : nullptr;
}

void PageIndex::Apply(const std::vector<PageUpdate>& updates) {
  for (const PageUpdate& update : updates) {
    Shard& shard = ShardOf(update.channel);
    MutexLock lock(shard.mu);
    Entries& entries = shard.channels[update.channel];
    const Page& page = update.page;
    if (!entries.empty() && entries.back().page.first == page.first) {
      Account(page.stratum, 0, static_cast<int64_t>(page.bytes - entries.back().page.bytes));
      entries.back().page = page;
    } else {
      entries.push_back({page, false});
      Account(page.stratum, 1, static_cast<int64_t>(page.bytes));
    }
  }
}

void PageIndex::DropChannel(ChannelNumber channel) {
  Remove(channel, std::numeric_limits<MessageId>::max());
  Forget(channel, std::numeric_limits<MessageId>::max());
}

void PageIndex::Remove(ChannelNumber channel, MessageId through) {
  Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return;
  for (Entry& entry : found->second) {
    if (entry.page.next - 1 > through) break;
    entry.removed = true;
  }
}

void PageIndex::Forget(ChannelNumber channel, MessageId through) {
  Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return;
  Entries& entries = found->second;
  while (!entries.empty() && entries.front().removed && entries.front().page.next - 1 <= through) {
    const Page& page = entries.front().page;
    Account(page.stratum, -1, -static_cast<int64_t>(page.bytes));
    entries.pop_front();
  }
  if (entries.empty()) shard.channels.erase(found);
}

bool PageIndex::Move(ChannelNumber channel, MessageId first, uint32_t from, uint32_t to) {
  Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return false;
  auto* entry = const_cast<Entry*>(EntryAt(found->second, first));
  if (entry == nullptr || entry->removed || entry->page.stratum != from) return false;
  const auto bytes = static_cast<int64_t>(entry->page.bytes);
  Account(from, -1, -bytes);
  Account(to, 1, bytes);
  entry->page.stratum = to;
  return true;
}

bool PageIndex::IsIn(ChannelNumber channel, MessageId first, uint32_t stratum) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return false;
  const Entry* entry = EntryAt(found->second, first);
  return entry != nullptr && !entry->removed && entry->page.stratum == stratum;
}

std::optional<Page> PageIndex::Find(ChannelNumber channel, MessageId id) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return std::nullopt;
  const Entries& entries = found->second;
  const auto entry = std::partition_point(entries.begin(), entries.end(),
                                          [id](const Entry& each) { return each.page.next <= id; });
  if (entry == entries.end()) return std::nullopt;
  return entry->page;
}

std::optional<Page> PageIndex::FindTime(ChannelNumber channel, TimeMicros time,
                                        MessageId from) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return std::nullopt;
  const Entries& entries = found->second;
  const auto entry = std::partition_point(entries.begin(), entries.end(), [&](const Entry& each) {
    return each.page.next <= from || each.page.last_time < time;
  });
  if (entry == entries.end()) return std::nullopt;
  return entry->page;
}

std::optional<Page> PageIndex::Oldest(ChannelNumber channel) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end() || found->second.empty()) return std::nullopt;
  return found->second.front().page;
}

std::vector<Page> PageIndex::Pages(ChannelNumber channel) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  std::vector<Page> pages;
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return pages;
  pages.reserve(found->second.size());
  for (const Entry& entry : found->second) {
    if (!entry.removed) pages.push_back(entry.page);
  }
  return pages;
}

std::vector<PageUpdate> PageIndex::PagesIn(const std::vector<uint32_t>& strata) const {
  std::vector<PageUpdate> pages;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mu);
    for (const auto& [channel, entries] : shard.channels) {
      for (const Entry& entry : entries) {
        if (entry.removed) continue;
        if (std::find(strata.begin(), strata.end(), entry.page.stratum) == strata.end()) continue;
        pages.push_back({channel, entry.page});
      }
    }
  }
  std::sort(pages.begin(), pages.end(), [](const PageUpdate& a, const PageUpdate& b) {
    return std::pair(a.channel, a.page.first) < std::pair(b.channel, b.page.first);
  });
  return pages;
}

std::unordered_map<uint32_t, PageIndex::Live> PageIndex::LiveByStratum() const {
  MutexLock lock(live_mu_);
  return live_;
}

}  // namespace strata::storage
