#include "retention/disk_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace strata::retention {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kMinBallast = 256u << 20;
constexpr uint64_t kPagesPerStratum = 64;
constexpr uint64_t kChargeFactor = 2;  // the log, and the table file that follows

uint64_t Sum(uint64_t a, uint64_t b) { return a < kMax - b ? a + b : kMax; }
uint64_t Product(uint64_t a, uint64_t b) { return a == 0 || b <= kMax / a ? a * b : kMax; }
uint64_t Percent(uint64_t of, uint64_t percent) {
  return of / 100 * percent + of % 100 * percent / 100;
}

std::string Readable(uint64_t bytes) {
  if (bytes >= 1u << 30) return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1 << 30));
  if (bytes >= 1u << 20) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  if (bytes >= 1u << 10) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / (1 << 10));
  return fmt::format("{} bytes", bytes);
}

}  // namespace

std::string_view SpaceStateName(SpaceState state) {
  switch (state) {
    case SpaceState::kNormal:
      return "normal";
    case SpaceState::kPressure:
      return "pressure";
    case SpaceState::kFull:
      return "full";
  }
  return "unknown";
}

Marks MarksFor(uint64_t budget, uint64_t reserve, const storage::DiskUsage& usage) {
  Marks marks;
  marks.budget = std::min(budget, Sum(usage.used, usage.free));
  const uint64_t step = Percent(marks.budget, 5);
  marks.hard = marks.budget - std::min(reserve, marks.budget / 2);
  marks.resume = marks.hard - step;
  marks.soft = std::min(Percent(marks.budget, 85), marks.resume - step);
  return marks;
}

SpaceState Judge(SpaceState before, const Marks& marks, uint64_t used) {
  if (used >= marks.hard) return SpaceState::kFull;
  if (before == SpaceState::kFull && used >= marks.resume) return SpaceState::kFull;
  return used > marks.soft ? SpaceState::kPressure : SpaceState::kNormal;
}

Sizes ScaleToBudget(uint64_t budget, uint64_t page, uint64_t write_buffer) {
  const uint64_t most = budget == 0 ? kMax : budget / 16;
  Sizes sizes;
  sizes.page = std::min(page, most);
  sizes.write_buffer = std::min(write_buffer, most);
  sizes.stratum = std::min(Product(page, kPagesPerStratum), most);
  sizes.ballast = std::min(std::max(kMinBallast, Product(write_buffer, 2)), most);
  return sizes;
}

uint64_t DefaultBudget(const storage::DiskUsage& usage) {
  return Sum(usage.used, Percent(usage.free, 80));
}

DiskBudget::DiskBudget(uint64_t budget, uint64_t reserve, Clock* clock)
    : budget_(budget),
      reserve_(reserve),
      clock_(clock),
      limit_(budget == 0 ? kMax : 0),
      measured_at_(clock->Monotonic() - kMinMeasureInterval) {}

Status DiskBudget::Admit(uint64_t bytes, bool* measure) {
  *measure = false;
  if (TryCharge(bytes)) return Status::Ok();
  MutexLock lock(mu_);
  // Another thread may have measured meanwhile.
  if (TryCharge(bytes)) return Status::Ok();
  *measure = clock_->Monotonic() - measured_at_ >= kMinMeasureInterval;
  return Refusal(bytes);
}

bool DiskBudget::TryCharge(uint64_t bytes) {
  uint64_t charged = charged_.load(std::memory_order_relaxed);
  do {
    const uint64_t limit = limit_.load(std::memory_order_acquire);
    if (charged > limit || bytes > limit - charged) return false;
  } while (!charged_.compare_exchange_weak(charged, charged + bytes, std::memory_order_relaxed));
  return true;
}

void DiskBudget::Measured(const storage::DiskUsage& usage, uint64_t appended_before) {
  MutexLock lock(mu_);
  usage_ = usage;
  measured_at_ = clock_->Monotonic();
  charged_before_ = appended_before;
  if (budget_ == 0) return;
  marks_ = MarksFor(budget_, reserve_, usage);
  const SpaceState judged = Judge(state(), marks_, usage.used);
  // Rounded down: 2 x what is let in stays at or below the room there is.
  const uint64_t room =
      judged == SpaceState::kFull ? 0 : (marks_.hard - usage.used) / kChargeFactor;
  limit_.store(Sum(appended_before, room), std::memory_order_release);
  state_.store(judged, std::memory_order_release);
}

Marks DiskBudget::marks() const {
  MutexLock lock(mu_);
  return marks_;
}

uint64_t DiskBudget::Excess() const {
  MutexLock lock(mu_);
  if (budget_ == 0) return 0;
  return usage_.used - std::min(usage_.used, marks_.soft);
}

storage::DiskUsage DiskBudget::usage() const {
  MutexLock lock(mu_);
  return usage_;
}

Status DiskBudget::Refusal(uint64_t bytes) const {
  const bool short_of_disk = marks_.budget < budget_;
  std::string text;
  if (state() == SpaceState::kFull) {
    text = fmt::format("the store takes {}, appends stop at {} and resume below {}",
                       Readable(usage_.used), Readable(marks_.hard), Readable(marks_.resume));
  } else {
    const uint64_t charged = charged_.load(std::memory_order_relaxed) - charged_before_;
    text = fmt::format("an append of {} can take {} on disk, the store takes {}", Readable(bytes),
                       Readable(Product(bytes, kChargeFactor)), Readable(usage_.used));
    if (charged > 0) {
      text += fmt::format(" and up to {} for what was appended since that was measured",
                          Readable(Product(charged, kChargeFactor)));
    }
    text += fmt::format(", and appends stop at {}", Readable(marks_.hard));
  }
  text += short_of_disk
              ? fmt::format("; its file system has only {} left. Free space there, truncate",
                            Readable(usage_.free))
              : fmt::format("; its disk budget (limits.maxFileStore) is {}. Raise that, truncate",
                            Readable(budget_));
  text += " or delete channels, let consumers catch up, or tighten retention";
  return Status(Reason::DISK_FULL, std::move(text)).WithFate(DataFate::kNotAppended);
}

}  // namespace strata::retention
