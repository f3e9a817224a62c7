// BrokerOptions: everything a broker can be told, with its defaults. conf/strata.yaml documents the
// same keys.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/batch.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/types.h"
#include "retention/policy.h"
#include "retention/sweeper.h"

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

  // --- Producers ---
  // Named producers that are neither open nor used for this long are forgotten (producers.expiry); 0:
  // never.
  std::chrono::microseconds producer_expiry = std::chrono::hours(7 * 24);

  // --- Retention and space ---
  // What channels without overrides follow; all rules are off here, conf/strata.yaml has defaults.
  retention::Rules retention;
  // When and how fast the sweeper works. Its clock and log are the broker's.
  retention::SweeperOptions sweeper;
  // Bytes that everything in the store's directory may take (limits.maxFileStore, resolved), and how
  // many of them appends leave free: 2 x write buffer + one stratum. 0: unlimited.
  uint64_t disk_budget = 0;
  uint64_t disk_reserve = 0;

  // --- Injected; outlive the broker ---
  Clock* clock = Clock::System();
  Logger log;
};

}  // namespace strata::broker
