// What a broker shares with its readers, which may outlive it: the store behind a gate, the tail
// cache, the counters.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "broker/channel.h"
#include "broker/channel_wait.h"
#include "broker/tail_cache.h"
#include "storage/log_store.h"

namespace strata::broker {

// Lets reads into the store until it is closed, and closing wait for those inside. Thread-safe.
class StoreGate {
 public:
  explicit StoreGate(storage::LogStore* store) : store_(store) {}

  // Holds the store open while it lives; null once the gate is closed.
  class Pass {
   public:
    explicit Pass(StoreGate& gate) : gate_(gate), store_(gate.Enter()) {}
    ~Pass() {
      if (store_ != nullptr) gate_.Leave();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    storage::LogStore* store() const { return store_; }

   private:
    StoreGate& gate_;
    storage::LogStore* const store_;
  };

  // Waits for every Pass; no store for later ones.
  void Close() {
    MutexLock lock(mu_);
    closed_ = true;
    while (inside_ > 0) left_.Wait(mu_);
  }

 private:
  storage::LogStore* Enter() {
    MutexLock lock(mu_);
    if (closed_) return nullptr;
    ++inside_;
    return store_;
  }
  void Leave() {
    MutexLock lock(mu_);
    if (--inside_ == 0) left_.NotifyAll();
  }

  storage::LogStore* const store_;
  Mutex mu_;  // leaf
  CondVar left_;
  int inside_ STRATA_GUARDED_BY(mu_) = 0;
  bool closed_ STRATA_GUARDED_BY(mu_) = false;
};

// Subscriptions whose cursor has moved since their row was written. Thread-safe; its lock is a
// leaf.
class ChangedCursors {
 public:
  using List = std::vector<std::pair<std::shared_ptr<Channel>, std::shared_ptr<Subscription>>>;

  void Add(std::shared_ptr<Channel> channel, std::shared_ptr<Subscription> subscription) {
    MutexLock lock(mu_);
    list_.emplace_back(std::move(channel), std::move(subscription));
    any_.store(true, std::memory_order_release);
  }
  // Without a lock: the committer asks before every group.
  bool any() const { return any_.load(std::memory_order_acquire); }
  List Take() {
    MutexLock lock(mu_);
    any_.store(false, std::memory_order_release);
    return std::exchange(list_, {});
  }

 private:
  Mutex mu_;
  List list_ STRATA_GUARDED_BY(mu_);
  std::atomic<bool> any_{false};
};

struct SharedState {
  SharedState(storage::LogStore* store, uint64_t tail_cache, Clock* clock_in)
      : gate(store), cache(tail_cache), clock(clock_in) {}

  StoreGate gate;
  TailCache cache;
  ChangedCursors changed_cursors;
  ChannelWaits channel_waits;
  Clock* const clock;

  // Bytes that readers hold because of ReadAhead().
  std::atomic<uint64_t> read_ahead{0};

  std::atomic<uint64_t> readers{0};
  std::atomic<uint64_t> cache_hits{0};
  std::atomic<uint64_t> storage_reads{0};
};

// The id that `start` means on `channel` now. For a time it reads from storage (blocking).
// SHUTTING_DOWN, the channel's end, or a storage error.
Result<MessageId> ResolveStart(SharedState& shared, const Channel& channel,
                               const StartPosition& start);

}  // namespace strata::broker
