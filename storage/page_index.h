// PageIndex: which pages each channel has, in memory, and how much of each stratum they are.
//
// A page is a run of one channel's batches inside one stratum; the catalog has a row per page, and this is its copy,
// rebuilt at open. It changes only after the group that changes it has been written, so readers never look for
// batches that are not there. About 100 bytes per page: a terabyte in 64 MiB pages is 2 MB.
//
// Pages go in two steps: their rows with a group (Remove), they themselves when that is durable and readers have been
// told (Forget). In between they can be read, but are nobody's to trim, move or copy.
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
#include "storage/records.h"

namespace strata::storage {

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
  // The rows of all pages at or below `through` are gone.
  void Remove(ChannelNumber channel, MessageId through);
  // Those that Remove() marked, at or below `through`, go.
  void Forget(ChannelNumber channel, MessageId through);
  // The page that starts at `first` is in stratum `to` now. False if it is removed, or not in `from`.
  bool Move(ChannelNumber channel, MessageId first, uint32_t from, uint32_t to);

  // The page with `id` inside, or the first one after it.
  std::optional<Page> Find(ChannelNumber channel, MessageId id) const;
  // The first page whose last batch was appended at or after `time` and that ends above `from`.
  std::optional<Page> FindTime(ChannelNumber channel, TimeMicros time, MessageId from) const;
  std::optional<Page> Oldest(ChannelNumber channel) const;
  // Without those that are removed.
  std::vector<Page> Pages(ChannelNumber channel) const;
  // Whether Move() would.
  bool IsIn(ChannelNumber channel, MessageId first, uint32_t stratum) const;
  // Pages of all channels in these strata, in the order of their keys, without those that are removed.
  std::vector<PageUpdate> PagesIn(const std::vector<uint32_t>& strata) const;

  struct Live {
    uint64_t pages = 0;
    uint64_t bytes = 0;
  };
  // By stratum; those without pages are not in it.
  std::unordered_map<uint32_t, Live> LiveByStratum() const;

  uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kShards = 16;
  struct Entry {
    Page page;
    bool removed = false;
  };
  using Entries = std::deque<Entry>;
  struct Shard {
    mutable Mutex mu;
    std::unordered_map<ChannelNumber, Entries> channels STRATA_GUARDED_BY(mu);
  };
  // By how much a stratum's share changes. Counts may be negative.
  void Account(uint32_t stratum, int64_t pages, int64_t bytes);
  static const Entry* EntryAt(const Entries& entries, MessageId first);
  Shard& ShardOf(ChannelNumber channel) { return shards_[channel % kShards]; }
  const Shard& ShardOf(ChannelNumber channel) const { return shards_[channel % kShards]; }

  std::array<Shard, kShards> shards_;
  // Sums over all channels, for statistics and the size of a stratum.
  std::atomic<uint64_t> pages_{0};
  std::atomic<uint64_t> bytes_{0};

  mutable Mutex live_mu_;  // after a shard's mu
  std::unordered_map<uint32_t, Live> live_ STRATA_GUARDED_BY(live_mu_);
};

}  // namespace strata::storage
