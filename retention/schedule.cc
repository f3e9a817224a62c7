#include "retention/schedule.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "base/api.h"

namespace strata::retention {
namespace {

using storage::StratumInfo;

using Run = std::span<const StratumInfo* const>;  // side by side, in the order of created_at

uint64_t Dead(const StratumInfo& stratum) {
  return stratum.raw_bytes - std::min(stratum.live_bytes, stratum.raw_bytes);
}

bool IsSparse(const StratumInfo& stratum) { return Dead(stratum) >= stratum.live_bytes; }
bool IsAnything(const StratumInfo&) { return true; }

bool MayTouch(const StratumInfo& stratum) {
  return stratum.sealed_at != 0 && stratum.quarantined.empty();
}

Rewrite Make(Run run, RewriteReason reason) {
  Rewrite rewrite;
  rewrite.reason = reason;
  for (const StratumInfo* const stratum : run) {
    rewrite.strata.push_back(stratum->number);
    rewrite.live_bytes += stratum->live_bytes;
    rewrite.file_bytes += stratum->file_bytes;
  }
  return rewrite;
}

// The stretches of neighbours that may be merged and are as `wanted`. An empty stratum is about to
// go, so that its neighbours are each other's.
std::vector<std::vector<const StratumInfo*>> Stretches(const std::vector<StratumInfo>& strata,
                                                       bool (*wanted)(const StratumInfo&)) {
  std::vector<std::vector<const StratumInfo*>> stretches(1);
  for (const StratumInfo& stratum : strata) {
    if (MayTouch(stratum) && stratum.live_pages == 0) continue;
    if (MayTouch(stratum) && wanted(stratum)) {
      stretches.back().push_back(&stratum);
    } else if (!stretches.back().empty()) {
      stretches.emplace_back();
    }
  }
  return stretches;
}

// Two or more neighbours.
struct Candidate {
  Run run;
  uint64_t live = 0;
  uint64_t dead = 0;
  uint64_t largest = 0;  // live bytes of the one that holds most
  bool settled = true;   // all are rewritten

  // To copy for each stratum saved.
  double cost() const { return static_cast<double>(live) / static_cast<double>(run.size() - 1); }
};

// The best, by `better(candidate, best so far)`, of all runs of at most `target` live bytes; none
// has an empty run.
template <typename Better>
Candidate BestRun(const std::vector<std::vector<const StratumInfo*>>& stretches, uint64_t target,
                  Better better) {
  Candidate best;
  for (const auto& stretch : stretches) {
    for (size_t first = 0; first < stretch.size(); ++first) {
      Candidate candidate;
      for (size_t next = first; next < stretch.size(); ++next) {
        const uint64_t live = stretch[next]->live_bytes;
        if (live > target - candidate.live) break;
        candidate.live += live;
        candidate.dead += Dead(*stretch[next]);
        candidate.largest = std::max(candidate.largest, live);
        candidate.settled = candidate.settled && stretch[next]->rewritten;
        candidate.run = Run(stretch).subspan(first, next - first + 1);
        if (next > first && better(candidate, best)) best = candidate;
      }
    }
  }
  return best;
}

// Each of these is worth a rewrite for its garbage alone, so the run that saves most strata is best.
std::optional<Rewrite> MergeSparse(const std::vector<StratumInfo>& strata,
                                   const ScheduleSettings& settings) {
  const uint64_t min_garbage = settings.pressure ? 0 : settings.min_garbage;
  const auto stretches = Stretches(strata, IsSparse);
  const Candidate best = BestRun(stretches, settings.target_bytes,
                                 [min_garbage](const Candidate& a, const Candidate& b) {
                                   if (a.dead < min_garbage) return false;
                                   if (a.run.size() != b.run.size())
                                     return a.run.size() > b.run.size();
                                   return a.live < b.live;
                                 });
  if (best.run.empty()) return std::nullopt;
  return Make(best.run, RewriteReason::kMerge);
}

uint64_t Part(uint64_t of, uint64_t numerator, uint64_t denominator) {
  return of / denominator * numerator + of % denominator * numerator / denominator;
}

// Runs that may be merged as the count comes closer to its limit; each line includes those before it.
//   3/4    settled and balanced: all of it is rewritten already, and no stratum holds more than the others together.
//          Each copy of a page then at least doubles the stratum that it is in: log2(target / page) copies at most.
//   13/16  balanced: also young strata, much of which would soon be dropped without a copy
//   7/8    any: also a small stratum into a large neighbour, which is cheap each time, but copies that again and again
int RequiredRank(uint64_t count, uint64_t limit) {
  if (count > Part(limit, 7, 8)) return 0;
  return count > Part(limit, 13, 16) ? 1 : 2;
}

int Rank(const Candidate& candidate) {
  if (candidate.largest > candidate.live - candidate.largest) return 0;
  return candidate.settled ? 2 : 1;
}

std::optional<Rewrite> MergeCheapest(const std::vector<StratumInfo>& strata,
                                     const ScheduleSettings& settings) {
  const auto kept = std::count_if(strata.begin(), strata.end(), [](const StratumInfo& stratum) {
    return stratum.live_pages > 0 || !MayTouch(stratum);
  });
  const auto count = static_cast<uint64_t>(kept);
  if (count <= Part(settings.max_strata, 3, 4)) return std::nullopt;
  const int required = RequiredRank(count, settings.max_strata);
  const auto stretches = Stretches(strata, IsAnything);
  const Candidate best =
      BestRun(stretches, settings.target_bytes, [required](const Candidate& a, const Candidate& b) {
        if (Rank(a) < required) return false;
        if (b.run.empty()) return true;
        if (Rank(a) != Rank(b)) return Rank(a) > Rank(b);
        if (a.cost() != b.cost()) return a.cost() < b.cost();
        return a.run.size() > b.run.size();
      });
  if (best.run.empty()) return std::nullopt;
  return Make(best.run, RewriteReason::kMerge);
}

// The first of the smallest by `rank` among those that are `due`.
template <typename Due, typename Rank>
std::optional<Rewrite> PickOne(const std::vector<StratumInfo>& strata, RewriteReason reason,
                               Due due, Rank rank) {
  const StratumInfo* best = nullptr;
  for (const StratumInfo& stratum : strata) {
    if (!MayTouch(stratum) || stratum.live_pages == 0 || !due(stratum)) continue;
    if (best == nullptr || rank(stratum) < rank(*best)) best = &stratum;
  }
  if (best == nullptr) return std::nullopt;
  return Make(Run(&best, 1), reason);
}

// The one with the largest share of garbage first: it gives back the most for each byte copied.
std::optional<Rewrite> CollectGarbage(const std::vector<StratumInfo>& strata,
                                      const ScheduleSettings& settings) {
  const uint64_t part = settings.pressure ? 4 : 2;
  const auto due = [&](const StratumInfo& stratum) {
    const uint64_t dead = Dead(stratum);
    if (!settings.pressure && dead < settings.min_garbage) return false;
    return dead > stratum.raw_bytes / part;
  };
  const auto live_share = [](const StratumInfo& stratum) {
    return static_cast<double>(stratum.live_bytes) / static_cast<double>(stratum.raw_bytes);
  };
  return PickOne(strata, RewriteReason::kGarbage, due, live_share);
}

// The one that has waited longest first.
std::optional<Rewrite> CompressCold(const std::vector<StratumInfo>& strata, TimeMicros now,
                                    const ScheduleSettings& settings) {
  if (!settings.compresses) return std::nullopt;
  const auto due = [&](const StratumInfo& stratum) {
    return !stratum.rewritten && now - stratum.sealed_at >= settings.compaction_interval;
  };
  const auto sealed_at = [](const StratumInfo& stratum) { return stratum.sealed_at; };
  return PickOne(strata, RewriteReason::kCold, due, sealed_at);
}

std::optional<Rewrite> AnswerRequest(const std::vector<StratumInfo>& strata,
                                     const ScheduleSettings& settings) {
  if (!settings.requested) return std::nullopt;
  const auto due = [&](const StratumInfo& stratum) {
    return (settings.compresses && !stratum.rewritten) || Dead(stratum) > 0;
  };
  return PickOne(strata, RewriteReason::kRequest, due, [](const StratumInfo&) { return 0; });
}

}  // namespace

std::string_view RewriteReasonName(RewriteReason reason) {
  switch (reason) {
    case RewriteReason::kMerge:
      return "merge";
    case RewriteReason::kGarbage:
      return "garbage";
    case RewriteReason::kCold:
      return "cold";
    case RewriteReason::kRequest:
      return "request";
  }
  return "unknown";
}

std::optional<Rewrite> NextRewrite(const std::vector<StratumInfo>& strata, TimeMicros now,
                                   const ScheduleSettings& settings) {
  std::optional<Rewrite> next = MergeSparse(strata, settings);
  if (!next) next = MergeCheapest(strata, settings);
  if (!next) next = CollectGarbage(strata, settings);
  if (!next) next = CompressCold(strata, now, settings);
  if (!next) next = AnswerRequest(strata, settings);
  return next;
}

int64_t SealAfter(int64_t shortest_retention_time) {
  if (shortest_retention_time < 0) return kNoLimit;
  constexpr int64_t kHour = std::chrono::microseconds(std::chrono::hours(1)).count();
  return std::max(kHour, shortest_retention_time / 24);
}

}  // namespace strata::retention
