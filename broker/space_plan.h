// PlanSpace: from a disk budget to the sizes of a store, before it is opened.
//
// A pure function of the settings and of what the directory takes and what its file system has left,
// so that whoever opens a store decides once and everybody below is told the same numbers.
#pragma once

#include <cstdint>

#include "broker/options.h"
#include "storage/store.h"

namespace strata::broker {

// The smallest budget: what limits.maxFileStore takes, and what a nearly full disk is planned for, on
// which appends are refused anyway.
inline constexpr uint64_t kMinFileStore = 16u << 20;

// Resolves `store->max_file_store`: 0 becomes what `usage` allows for. Scales what has to fit into it
// (retention::ScaleToBudget) and tells store and broker alike:
//
//   store   max_file_store, page_size, write_buffer, ballast
//   broker  disk_budget, disk_reserve; sweeper: page_size, max_stratum, reserve, ballast
//
// Says in one line of the broker's log what came out. What was configured is read from `store`, so a
// second call changes nothing unless `usage` has changed and the budget was 0.
void PlanSpace(const storage::DiskUsage& usage, BrokerOptions* broker,
               storage::StoreOptions* store);

}  // namespace strata::broker
