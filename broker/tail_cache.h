// TailCache: the newest batches of all channels, under one byte budget, for readers that keep up.
//
// It holds the very slices that were received, by reference, so a message that was just appended
// reaches its readers without a copy and without storage. Batches enter in commit order when they
// are published and leave in the same order, whatever their channel: a busy channel pushes out an
// idle one's, whose readers then fall back to storage. A reader that is behind the cache never
// blocks a writer: it just misses.
//
// Thread-safe. Each call but Drop holds the lock for a handful of pointer operations; what is
// evicted is freed outside it.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"
#include "base/types.h"
#include "storage/records.h"

namespace strata::broker {

class TailCache {
 public:
  // `budget` in bytes; 0 keeps nothing.
  explicit TailCache(uint64_t budget) : budget_(budget) {}
  TailCache(const TailCache&) = delete;
  TailCache& operator=(const TailCache&) = delete;

  // The channel's next batch. A batch larger than the budget is not kept (nor is what came before
  // it).
  void Put(ChannelNumber channel, const storage::StoredBatch& batch);
  // The batch with `id` inside, if it is here.
  std::optional<storage::StoredBatch> Get(ChannelNumber channel, MessageId id) const;
  // True if Get() would find it.
  bool Has(ChannelNumber channel, MessageId id) const;
  // Forgets a deleted channel.
  void Drop(ChannelNumber channel);

  uint64_t bytes() const;

  // What a batch counts besides its payload: the entries, the slices and their allocations.
  static constexpr uint64_t kOverhead = 256;

 private:
  using Batches = std::deque<storage::StoredBatch>;  // ascending ids, no overlap

  static uint64_t Cost(const storage::StoredBatch& batch) { return batch.bytes.size() + kOverhead; }
  const storage::StoredBatch* Find(ChannelNumber channel, MessageId id) const STRATA_REQUIRES(mu_);

  const uint64_t budget_;
  mutable Mutex mu_;  // leaf
  uint64_t bytes_ STRATA_GUARDED_BY(mu_) = 0;
  std::unordered_map<ChannelNumber, Batches> channels_ STRATA_GUARDED_BY(mu_);
  // The channel of each batch, oldest first.
  std::deque<ChannelNumber> order_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::broker
