#include "broker/space_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "broker/config_values.h"
#include "retention/disk_budget.h"

namespace strata::broker {
namespace {

// What a small budget has made smaller, for the log: "; limits.writeBuffer scaled down from ...".
std::string ScaledDown(std::string_view key, uint64_t configured, uint64_t scaled) {
  if (scaled >= configured) return "";
  return fmt::format("; {} scaled down from {} to {}", key, FormatBytes(configured),
                     FormatBytes(scaled));
}

}  // namespace

void PlanSpace(const storage::DiskUsage& usage, BrokerOptions* broker,
               storage::StoreOptions* store) {
  const bool derived = store->max_file_store == 0;
  const uint64_t budget =
      derived ? std::max(retention::DefaultBudget(usage), kMinFileStore) : store->max_file_store;
  const retention::Sizes sizes =
      retention::ScaleToBudget(budget, store->page_size, store->write_buffer);
  const std::string scaled =
      ScaledDown("rocksmq.rocksmqPageSize", store->page_size, sizes.page) +
      ScaledDown("limits.writeBuffer", store->write_buffer, sizes.write_buffer);

  store->max_file_store = budget;
  store->page_size = sizes.page;
  store->write_buffer = sizes.write_buffer;
  store->ballast = sizes.ballast;
  broker->disk_budget = budget;
  broker->disk_reserve = 2 * sizes.write_buffer + sizes.stratum;
  broker->sweeper.page_size = sizes.page;
  broker->sweeper.max_stratum = sizes.stratum;
  broker->sweeper.reserve = broker->disk_reserve;
  broker->sweeper.ballast = sizes.ballast;

  const retention::Marks marks = retention::MarksFor(budget, broker->disk_reserve, usage);
  broker->log.Info(
      "disk budget {} MiB ({}), of which {} MiB are used and {} MiB are free on the file system: "
      "old messages go early above {} MiB, appends are refused above {} MiB; ballast {} MiB{}",
      budget >> 20, derived ? "from the free space" : "limits.maxFileStore", usage.used >> 20,
      usage.free >> 20, marks.soft >> 20, marks.hard >> 20, sizes.ballast >> 20, scaled);
}

}  // namespace strata::broker
