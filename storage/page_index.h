// PageIndex: which pages each channel has, in memory.
//
// A page is a run of one channel's batches inside one stratum; the catalog has a row per page, and this is its copy,
// rebuilt at open. It changes only after the group that changes it has been written, so readers never look for
// batches that are not there. About 100 bytes per page: a terabyte in 64 MiB pages is 2 MB.
//
// Thread-safe. Sharded by channel, so that readers of other channels never wait for the writer, and the writer waits
// for a reader no longer than a binary search takes.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/types.h"

namespace strata::storage {

struct Page {
  MessageId first = 0;  // [first, next)
  MessageId next = 0;
  uint64_t bytes = 0;  // keys and values of its batches
  uint32_t batches = 0;
  uint32_t stratum = 0;
  TimeMicros first_time = 0;  // append times of its first and last batch
  TimeMicros last_time = 0;
  uint64_t commit = 0;  // of the last group that changed it

  friend bool operator==(const Page&, const Page&) = default;
};

struct PageUpdate {
  ChannelNumber channel = 0;
  Page page;
};

class PageIndex {
 public:
  // Puts pages in place: one that starts where its channel's last page starts replaces it, others are added at the
  // end. REQUIRES: per channel in ascending order.
  void Apply(const std::vector<PageUpdate>& updates);
  void DropChannel(ChannelNumber channel);

  // The page with `id` inside, or the first one after it.
  std::optional<Page> Find(ChannelNumber channel, MessageId id) const;
  // The first page whose last batch was appended at or after `time` and that ends above `from`.
  std::optional<Page> FindTime(ChannelNumber channel, TimeMicros time, MessageId from) const;
  std::optional<Page> Oldest(ChannelNumber channel) const;
  std::vector<Page> Pages(ChannelNumber channel) const;

  uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kShards = 16;
  struct Shard {
    mutable Mutex mu;
    std::unordered_map<ChannelNumber, std::deque<Page>> channels STRATA_GUARDED_BY(mu);
  };
  Shard& ShardOf(ChannelNumber channel) { return shards_[channel % kShards]; }
  const Shard& ShardOf(ChannelNumber channel) const { return shards_[channel % kShards]; }

  std::array<Shard, kShards> shards_;
  // Sums over all channels, for statistics and the size of a stratum.
  std::atomic<uint64_t> pages_{0};
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace strata::storage
