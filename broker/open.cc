#include "broker/open.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/mutex.h"
#include "broker/space_plan.h"

namespace strata::broker {
namespace {

// The brokers of this process by directory, so that two clients on one directory share one.
struct OpenBrokers {
  Mutex mu;
  std::map<std::string, std::weak_ptr<Broker>> by_directory STRATA_GUARDED_BY(mu);
};

OpenBrokers& Brokers() {
  static OpenBrokers* const kBrokers = new OpenBrokers;
  return *kBrokers;
}

// One spelling per directory, existing or not.
std::string Canonical(const std::string& path) {
  std::error_code error;
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(path, error);
  return error ? path : canonical.string();
}

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// Limits, retention and compression.
void DescribeSpace(const Broker& broker, const BrokerStats& stats, const storage::StoreStats& store,
                   BrokerStatus* status) {
  status->space_state = retention::SpaceStateName(stats.space_state);
  status->disk_budget_bytes = stats.space_marks.budget;
  status->soft_mark_bytes = stats.space_marks.soft;
  status->hard_mark_bytes = stats.space_marks.hard;
  status->ballast_bytes = store.ballast_bytes;
  status->write_buffer_limit = store.write_buffer_limit;
  status->tail_cache_limit = broker.options().tail_cache;
  status->block_cache_limit = store.block_cache_limit;
  status->pending_limit = broker.options().max_pending_total;
  status->sweeps = stats.swept.sweeps;
  status->trimmed_pages = stats.swept.trimmed_pages;
  status->trimmed_bytes = stats.swept.trimmed_bytes;
  status->dropped_strata = stats.swept.dropped_strata;
  status->rewritten_strata = stats.swept.rewritten_strata;
  status->rewrite_read_bytes = stats.swept.rewrite_read_bytes;
  status->rewrite_written_bytes = stats.swept.rewrite_written_bytes;
  status->compressed_strata = store.compressed_strata;
  status->compressed_raw_bytes = store.compressed_raw_bytes;
  status->compressed_file_bytes = store.compressed_file_bytes;
  status->quarantined = store.quarantined;
}

}  // namespace

Result<std::shared_ptr<Broker>> OpenBroker(BrokerOptions options, storage::StoreOptions store) {
  const std::string directory = Canonical(store.path);
  OpenBrokers& brokers = Brokers();
  // Held while opening: a second caller for the same directory waits for the first one's broker.
  MutexLock lock(brokers.mu);
  std::weak_ptr<Broker>& known = brokers.by_directory[directory];
  if (std::shared_ptr<Broker> broker = known.lock()) return broker;
  PlanSpace(storage::MeasureDirectory(store.path, store.file_system), &options, &store);
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<storage::Store> opened,
                          storage::Store::Open(std::move(store)));
  storage::Recovered recovered = opened->TakeRecovered();
  auto broker =
      std::make_shared<Broker>(std::move(options), std::move(opened), std::move(recovered));
  known = broker;
  return broker;
}

BrokerStatus DescribeStatus(const Broker& broker) {
  const BrokerStats stats = broker.Stats();
  const storage::StoreStats store = broker.StoreStats();
  const Status failure = broker.failure();
  BrokerStatus status;
  const bool full = stats.space_state == retention::SpaceState::kFull;
  status.accepts_appends = failure.ok() && !full;
  status.state = !failure.ok() ? "failed" : full ? "full" : "serving";
  status.failure = failure.message();
  status.uptime =
      std::chrono::microseconds(broker.options().clock->WallMicros() - broker.started_at());
  status.channels = stats.channels;
  status.subscriptions = stats.subscriptions;
  status.readers = stats.readers;
  status.messages_appended = stats.messages_appended;
  status.bytes_appended = stats.bytes_appended;
  status.batches_appended = stats.batches_appended;
  status.groups = store.groups;
  status.syncs = store.syncs;
  status.cache_hits = stats.cache_hits;
  status.storage_reads = stats.storage_reads;
  status.pending_bytes = stats.pending_bytes;
  status.tail_cache_bytes = stats.tail_cache_bytes;
  status.memtable_bytes = store.memtable_bytes;
  status.block_cache_bytes = store.block_cache_bytes;
  status.resident_bytes = ResidentBytes();
  status.strata = store.strata;
  status.pages = store.pages;
  status.live_bytes = store.live_bytes;
  status.disk_bytes = store.disk_bytes;
  status.disk_free_bytes = store.disk_free_bytes;
  DescribeSpace(broker, stats, store, &status);
  return status;
}

}  // namespace strata::broker
