#include "storage/page_index.h"

#include <algorithm>

namespace strata::storage {

void PageIndex::Apply(const std::vector<PageUpdate>& updates) {
  for (const PageUpdate& update : updates) {
    Shard& shard = ShardOf(update.channel);
    MutexLock lock(shard.mu);
    std::deque<Page>& pages = shard.channels[update.channel];
    if (!pages.empty() && pages.back().first == update.page.first) {
      bytes_.fetch_add(update.page.bytes - pages.back().bytes, std::memory_order_relaxed);
      pages.back() = update.page;
    } else {
      pages.push_back(update.page);
      bytes_.fetch_add(update.page.bytes, std::memory_order_relaxed);
      pages_.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

void PageIndex::DropChannel(ChannelNumber channel) {
  Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return;
  for (const Page& page : found->second) bytes_.fetch_sub(page.bytes, std::memory_order_relaxed);
  pages_.fetch_sub(found->second.size(), std::memory_order_relaxed);
  shard.channels.erase(found);
}

std::optional<Page> PageIndex::Find(ChannelNumber channel, MessageId id) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return std::nullopt;
  const std::deque<Page>& pages = found->second;
  const auto page = std::partition_point(pages.begin(), pages.end(),
                                         [id](const Page& each) { return each.next <= id; });
  if (page == pages.end()) return std::nullopt;
  return *page;
}

std::optional<Page> PageIndex::FindTime(ChannelNumber channel, TimeMicros time,
                                        MessageId from) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return std::nullopt;
  const std::deque<Page>& pages = found->second;
  const auto page = std::partition_point(pages.begin(), pages.end(), [&](const Page& each) {
    return each.next <= from || each.last_time < time;
  });
  if (page == pages.end()) return std::nullopt;
  return *page;
}

std::optional<Page> PageIndex::Oldest(ChannelNumber channel) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end() || found->second.empty()) return std::nullopt;
  return found->second.front();
}

std::vector<Page> PageIndex::Pages(ChannelNumber channel) const {
  const Shard& shard = ShardOf(channel);
  MutexLock lock(shard.mu);
  const auto found = shard.channels.find(channel);
  if (found == shard.channels.end()) return {};
  return {found->second.begin(), found->second.end()};
}

}  // namespace strata::storage
