// DiskBudget: how full the store is, and whether an append may make it fuller.
//
//   0 ........................ soft (85 %) ........... resume ... hard .......... budget
//        normal                |  pressure: eligible pages go    |  full: DISK_FULL | reserve
//
// The reserve, 2 x write buffer + one stratum, is what truncation, flushing and rewriting need to make room again.
// Appends stop at the hard mark and resume 5 % of the budget below it. Where the reserve is more than 5 % of the
// budget, as with small ones, the soft mark is 5 % of the budget below resume, so that what goes by pressure lets
// appends in again.
//
// The budget counts everything in the directory. The file system itself running low is treated the same: what counts
// as the budget is never more than what is used plus what is free.
//
// Between two measurements (a walk over the directory) appends are charged twice their size, once for the log and
// once for the table file that follows, so that the hard mark holds without a walk per append. A charge that would
// pass the mark asks for a new measurement instead of being refused on an estimate, but at most every
// kMinMeasureInterval: before that is over, it is refused on the last measurement and what was charged since.
//
// Marks, Judge and ScaleToBudget are pure. DiskBudget is thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "storage/records.h"

namespace strata::retention {

enum class SpaceState : uint8_t { kNormal, kPressure, kFull };
std::string_view SpaceStateName(SpaceState state);  // "normal", "pressure", "full"

struct Marks {
  uint64_t budget = 0;
  uint64_t soft = 0;    // 85 % of the budget, at most 5 % of it below resume
  uint64_t hard = 0;    // at least budget / 2, however small the budget
  uint64_t resume = 0;  // below this a full store takes appends again

  friend bool operator==(const Marks&, const Marks&) = default;
};
// For `budget`, never more than usage.used + usage.free, and `reserve` bytes kept back.
Marks MarksFor(uint64_t budget, uint64_t reserve, const storage::DiskUsage& usage);

// The state at `used`, coming from `before`: full from the hard mark on, and until it is below resume; pressure above
// the soft mark.
SpaceState Judge(SpaceState before, const Marks& marks, uint64_t used);

// Sizes for a store with a budget: none above a sixteenth of it. A stratum is 64 pages, or that sixteenth; the ballast
// the larger of 256 MiB and 2 x write buffer, or that sixteenth. Budget 0: unlimited.
struct Sizes {
  uint64_t page = 0;
  uint64_t write_buffer = 0;
  uint64_t stratum = 0;  // the largest that a stratum can be
  uint64_t ballast = 0;

  friend bool operator==(const Sizes&, const Sizes&) = default;
};
Sizes ScaleToBudget(uint64_t budget, uint64_t page, uint64_t write_buffer);

// What limits.maxFileStore: 0 means: what the store uses already and 80 % of what is free at the start.
uint64_t DefaultBudget(const storage::DiskUsage& usage);

class DiskBudget {
 public:
  static constexpr std::chrono::milliseconds kMinMeasureInterval{100};

  // budget 0: unlimited, everything is let in.
  DiskBudget(uint64_t budget, uint64_t reserve, Clock* clock);

  // Lets an append of `bytes` in and charges it, or DISK_FULL (not appended), which names the numbers and what to
  // do. *measure: the refusal rests on a measurement that is kMinMeasureInterval old; call Measured() with fresh
  // numbers and ask again. Threads that are told so at the same time take turns, and ask once more before they measure.
  Status Admit(uint64_t bytes, bool* measure);

  // What a measurement found. `appended_before` is charged() from before the walk: what was let in since stays charged.
  void Measured(const storage::DiskUsage& usage, uint64_t appended_before);
  uint64_t charged() const { return charged_.load(std::memory_order_relaxed); }

  // As last measured.
  SpaceState state() const { return state_.load(std::memory_order_acquire); }
  Marks marks() const;  // zero: unlimited, or not measured yet
  // Bytes above the soft mark, as last measured: so many have to go to end the pressure.
  uint64_t Excess() const;
  storage::DiskUsage usage() const;  // as last measured

 private:
  bool TryCharge(uint64_t bytes);
  Status Refusal(uint64_t bytes) const STRATA_REQUIRES(mu_);

  const uint64_t budget_;
  const uint64_t reserve_;
  Clock* const clock_;

  std::atomic<SpaceState> state_{SpaceState::kNormal};
  std::atomic<uint64_t> charged_{0};  // bytes let in since the start
  std::atomic<uint64_t> limit_{0};    // charged_ may rise to this without another measurement

  mutable Mutex mu_;
  Marks marks_ STRATA_GUARDED_BY(mu_);
  storage::DiskUsage usage_ STRATA_GUARDED_BY(mu_);
  Clock::Duration measured_at_ STRATA_GUARDED_BY(mu_);
  uint64_t charged_before_ STRATA_GUARDED_BY(mu_) = 0;  // charged_ when the last walk began
};

}  // namespace strata::retention
