// Sweeper: gives space back. Decides by policy, schedule and budget; the broker commits, the store carries out.
//
//   sweep thread                                                rewrite thread
//   view of all channels -> PlanTrims -> SweptLog::Trim         NextRewrite -> LogStore::Rewrite
//   (pages gone for readers, durably) -> DropEmptyStrata        -> SweptLog::Commit(MovePages) -> DropEmptyStrata
//   measure the disk -> DiskBudget
//
// A sweep runs every `interval`, and at once (at most kMinPause after the last one) after a truncation, a deletion, a
// page's worth of appends, or pressure: so reclaiming starts within a second. Files of dropped strata go at
// `deletion_rate` and rewriting reads at `rewrite_rate`, or 1.5 x what is being appended where that is more, so that
// neither falls behind; as fast as they can under pressure.
//
// Order, by which a power cut at any moment loses nothing: rows of pages go in a group of the log, acknowledged like an
// append; only then are pages forgotten; a stratum is dropped after a sync that covers the removal of its last page.
// A rewritten stratum is complete and synced before the group that moves pages to it.
//
// Errors: a failed write is the store's fail-stop, after which the sweeper rests. Damage found by a rewrite
// quarantines the stratum. A full disk fails the rewrite alone; it is tried again after kRetryPause.
//
// Threads: everything may be called from any thread. Callers of Sweep() and Measure() do the work themselves.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "retention/disk_budget.h"
#include "retention/policy.h"
#include "retention/schedule.h"
#include "storage/log_store.h"

namespace strata::retention {

// What the sweeper acts on: the broker; tests have their own. Thread-safe.
class SweptLog {
 public:
  virtual ~SweptLog() = default;

  // Every channel with its pages, cursors and rules.
  virtual std::vector<ChannelView> View() = 0;
  // Removes pages, durably, and only then makes readers and the store forget them. What is no longer eligible when it
  // is written (a cursor was moved back, a subscription created) is left out.
  virtual Status Trim(const std::vector<Trim>& trims) = 0;
  // Writes the changes as one group and returns when it is acknowledged.
  virtual Status Commit(std::vector<storage::CatalogChange> changes) = 0;
  // Bytes of all batches appended since the start, and of those that were let in and are not yet answered.
  virtual uint64_t AppendedBytes() const = 0;
  virtual uint64_t PendingBytes() const = 0;
};

struct SweeperOptions {
  std::chrono::microseconds interval{5'000'000};
  std::chrono::microseconds compaction_interval{std::chrono::hours(24)};
  bool compresses = true;          // the last level's compression differs from the first one's
  uint64_t page_size = 64u << 20;  // after so many appended bytes a sweep is due
  uint64_t max_stratum = 0;        // bytes; 0: 64 pages
  uint64_t reserve = 0;            // of the disk budget
  uint64_t ballast = 0;            // bytes that the ballast is to have; 0: none
  // Bytes per second at which the files of dropped strata go, or 1.5 x what is being appended if that is more; at once
  // under pressure. 0: always at once.
  uint64_t deletion_rate = 128u << 20;
  uint64_t rewrite_rate = 32u << 20;  // bytes read per second; 0: as fast as it can
  // A stratum that retention has eaten from within this time is not rewritten for its garbage: under load the rest of
  // it goes next, for nothing. Not under pressure or on request.
  std::chrono::microseconds settle{10'000'000};
  bool threads = true;  // false, in tests: only Sweep() and RewriteNext() do anything

  Clock* clock = Clock::System();
  Logger log;
};

// Since the start.
struct SweeperCounters {
  uint64_t sweeps = 0;
  uint64_t trimmed_pages = 0;
  uint64_t trimmed_bytes = 0;
  uint64_t dropped_strata = 0;
  uint64_t rewritten_strata = 0;
  uint64_t rewrite_read_bytes = 0;
  uint64_t rewrite_written_bytes = 0;
};

class Sweeper {
 public:
  static constexpr std::chrono::milliseconds kMinPause{50};
  static constexpr std::chrono::seconds kRetryPause{60};

  // `store`, `log` and `budget` outlive the sweeper.
  Sweeper(SweeperOptions options, storage::LogStore* store, SweptLog* log, DiskBudget* budget);
  ~Sweeper();  // Stop()
  Sweeper(const Sweeper&) = delete;
  Sweeper& operator=(const Sweeper&) = delete;

  void Start();
  // Ends a rewrite that is under way, and joins the threads. Idempotent.
  void Stop();

  // Asks for a sweep at once.
  void Kick();
  // Cheap, after every append: kicks when a page's worth has been appended since the last sweep.
  void NoteAppended(uint64_t bytes);

  // A whole sweep on this thread. OK, or why the store failed.
  Status Sweep();
  // Measures the disk on this thread.
  void Measure();
  // The next rewrite that is due, on this thread. False if none is.
  Result<bool> RewriteNext();

  // Rewrites all that is not as small as it can be, in the background. One that is running goes on.
  CompactionInfo StartCompaction();
  CompactionInfo compaction() const;

  SweeperCounters counters() const;

 private:
  void SweepLoop();
  void RewriteLoop();

  // --- The steps of a sweep
  Status TrimPages(const std::vector<ChannelView>& channels, TimeMicros now)
      STRATA_REQUIRES(sweep_mu_);
  Status SealIfDue(const std::vector<ChannelView>& channels, TimeMicros now)
      STRATA_REQUIRES(sweep_mu_);
  Status DropEmpty();
  void WatchBallast() STRATA_REQUIRES(sweep_mu_);
  void NoteIngestRate() STRATA_REQUIRES(sweep_mu_);
  // `rate`, or 1.5 x what is being appended; 0, without a limit, under pressure.
  uint64_t Paced(uint64_t rate) const;

  // --- Rewriting
  ScheduleSettings Settings(bool requested, uint64_t live_bytes) const;
  // What is still being eaten from counts as if it had no garbage.
  void HideUnsettled(std::vector<storage::StratumInfo>* strata) STRATA_REQUIRES(rewrite_mu_);
  bool HasRoomFor(const Rewrite& rewrite) const;
  Status RunRewrite(const Rewrite& rewrite) STRATA_REQUIRES(rewrite_mu_);
  bool Pace(uint64_t bytes) STRATA_REQUIRES(rewrite_mu_);
  void FinishCompaction(const Status& status);

  const SweeperOptions options_;
  storage::LogStore* const store_;
  SweptLog* const log_;
  DiskBudget* const budget_;

  Mutex sweep_mu_;  // held for a whole sweep; before every other
  Clock::Duration rate_since_ STRATA_GUARDED_BY(sweep_mu_);
  uint64_t rate_bytes_ STRATA_GUARDED_BY(sweep_mu_) = 0;
  Clock::Duration ballast_failed_at_ STRATA_GUARDED_BY(sweep_mu_);

  Mutex rewrite_mu_;  // held for a whole rewrite; before mu_
  Clock::Duration paced_until_ STRATA_GUARDED_BY(rewrite_mu_){0};
  struct Settling {
    uint64_t live_bytes = 0;
    Clock::Duration since{0};
  };
  std::unordered_map<uint32_t, Settling> settling_ STRATA_GUARDED_BY(rewrite_mu_);

  mutable Mutex mu_;
  CondVar wake_sweep_;
  CondVar wake_rewrite_;
  bool stopping_ STRATA_GUARDED_BY(mu_) = false;
  bool kicked_ STRATA_GUARDED_BY(mu_) = false;
  bool look_for_rewrites_ STRATA_GUARDED_BY(mu_) = false;
  CompactionInfo compaction_ STRATA_GUARDED_BY(mu_);

  std::atomic<uint64_t> unswept_bytes_{0};
  std::atomic<uint64_t> ingest_rate_{0};  // bytes per second, between the last two sweeps
  std::atomic<uint64_t> sweeps_{0}, trimmed_pages_{0}, trimmed_bytes_{0}, dropped_strata_{0},
      rewritten_strata_{0}, rewrite_read_bytes_{0}, rewrite_written_bytes_{0};

  std::thread sweep_thread_;
  std::thread rewrite_thread_;
};

}  // namespace strata::retention
