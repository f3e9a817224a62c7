// Schedule: which strata to rewrite next. Pure.
//
// Rewriting copies the live batches of one or more sealed strata into a new one, with the last level's compression;
// the old ones are dropped. It pays when
//   merge    strata that hold little lie side by side: slow channels keep one page alive in each stratum of busy ones.
//            Adjacent strata (by created_at) that are at most half live go into one of at most target_bytes.
//            Also, whatever they hold, when there are more than 3/4 of max_strata: the adjacent run of at most
//            target_bytes that costs least to copy for each stratum saved. At first only rewritten strata and runs
//            in which none holds more than the others together, so that a page is not copied again and again;
//            above 13/16 also strata that are not rewritten yet, above 7/8 any.
//   garbage  more than half of a stratum is dead (a quarter under pressure)
//   cold     a stratum has been sealed for compaction_interval and is not rewritten yet, if that compresses
//   request  somebody asked (strata compact): every stratum that has any garbage, or is not rewritten, if that
//            compresses
// in this order, because the first ones give back the most for the least copying. A quarantined stratum is never
// rewritten, nor is the one being written; neither is merged across. Empty strata are: they are about to go.
//
// Due times are derived from sealed_at, which is in the catalog: restarts do not postpone them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "storage/records.h"

namespace strata::retention {

enum class RewriteReason : uint8_t { kMerge = 1, kGarbage, kCold, kRequest };
std::string_view RewriteReasonName(RewriteReason reason);  // "merge", ...

struct Rewrite {
  std::vector<uint32_t> strata;  // in the order of created_at
  RewriteReason reason = RewriteReason::kMerge;
  uint64_t live_bytes = 0;  // to copy
  uint64_t file_bytes = 0;  // that the old files take

  friend bool operator==(const Rewrite&, const Rewrite&) = default;
};

struct ScheduleSettings {
  int64_t compaction_interval = 0;  // microseconds
  bool compresses = true;           // the last level's compression differs from the first one's
  uint64_t target_bytes = 0;        // of a stratum
  // At least 3 x live bytes / target_bytes. Neighbours above half of the target cannot be merged, so that there may be
  // 2 x as many strata as full ones; a limit close to that is never kept, and trying copies without end.
  uint64_t max_strata = 128;
  // Bytes; less is worth no rewrite for garbage, nor a merge of what is half live, unless under pressure.
  uint64_t min_garbage = 4u << 20;
  bool pressure = false;
  bool requested = false;
};

// `strata` in the order of created_at, as LogStore::DescribeStrata() gives them. Strata without live pages are not
// rewritten: they are dropped.
std::optional<Rewrite> NextRewrite(const std::vector<storage::StratumInfo>& strata, TimeMicros now,
                                   const ScheduleSettings& settings);

// When the stratum being written is to be sealed although it is not full: max(1 h, shortest time rule / 24) after its
// first batch, so that time rules free space in steps of that; kNoLimit without a time rule.
int64_t SealAfter(int64_t shortest_retention_time);

}  // namespace strata::retention
