#include "broker/tail_cache.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace strata::broker {

using storage::StoredBatch;

void TailCache::Put(ChannelNumber channel, const StoredBatch& batch) {
  std::vector<StoredBatch> evicted;  // destroyed after the lock: freeing megabytes takes time
  MutexLock lock(mu_);
  channels_[channel].push_back(batch);
  order_.push_back(channel);
  bytes_ += Cost(batch);
  while (bytes_ > budget_) {
    const auto oldest = channels_.find(order_.front());
    order_.pop_front();
    bytes_ -= Cost(oldest->second.front());
    evicted.push_back(std::move(oldest->second.front()));
    oldest->second.pop_front();
    if (oldest->second.empty()) channels_.erase(oldest);
  }
}

const StoredBatch* TailCache::Find(ChannelNumber channel, MessageId id) const {
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return nullptr;
  const Batches& batches = it->second;
  const auto after = std::upper_bound(
      batches.begin(), batches.end(), id,
      [](MessageId wanted, const StoredBatch& batch) { return wanted < batch.first_id; });
  if (after == batches.begin()) return nullptr;
  const StoredBatch& batch = *std::prev(after);
  return id < batch.next_id() ? &batch : nullptr;
}

std::optional<StoredBatch> TailCache::Get(ChannelNumber channel, MessageId id) const {
  MutexLock lock(mu_);
  const StoredBatch* batch = Find(channel, id);
  if (batch == nullptr) return std::nullopt;
  return *batch;
}

bool TailCache::Has(ChannelNumber channel, MessageId id) const {
  MutexLock lock(mu_);
  return Find(channel, id) != nullptr;
}

void TailCache::Drop(ChannelNumber channel) {
  Batches dropped;  // destroyed after the lock
  MutexLock lock(mu_);
  const auto it = channels_.find(channel);
  if (it == channels_.end()) return;
  for (const StoredBatch& batch : it->second) bytes_ -= Cost(batch);
  dropped = std::move(it->second);
  channels_.erase(it);
  // A walk over all batches, 130,000 at most with the default budget and the smallest messages.
  // Left to wait for their turn, they would pile up in a broker whose channels come and go before
  // the cache is ever full.
  std::erase(order_, channel);
}

uint64_t TailCache::bytes() const {
  MutexLock lock(mu_);
  return bytes_;
}

}  // namespace strata::broker
