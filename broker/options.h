// BrokerOptions: everything a broker can be told, with its defaults. conf/strata.yaml documents the
// same keys.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/batch.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/types.h"

namespace strata::broker {

struct BrokerOptions {
  // --- Behaviour ---
  // When an append counts as acknowledged (durability.sync), and how often kInterval syncs.
  SyncPolicy sync = SyncPolicy::kAlways;
  std::chrono::microseconds sync_interval{10'000};
  BatchLimits limits;  // limits.maxPayload

  // --- Bounds and speed ---
  // Bytes appended but not yet acknowledged, all channels together (limits.maxPendingTotal). An
  // append beyond it gets BACK_PRESSURE; one append is always let in when nothing else is pending.
  uint64_t max_pending_total = 64u << 20;
  uint64_t tail_cache =
      32u << 20;  // limits.tailCache: the newest batches, kept for readers that keep up
  uint64_t group_bytes = 1u << 20;  // of the batches of a group, unless it is a single larger one

  // --- Injected; outlive the broker ---
  Clock* clock = Clock::System();
  Logger log;
};

}  // namespace strata::broker
