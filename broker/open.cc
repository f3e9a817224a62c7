#include "broker/open.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/mutex.h"

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

}  // namespace

Result<std::shared_ptr<Broker>> OpenBroker(const BrokerOptions& options,
                                           const storage::StoreOptions& store) {
  const std::string directory = Canonical(store.path);
  OpenBrokers& brokers = Brokers();
  // Held while opening: a second caller for the same directory waits for the first one's broker.
  MutexLock lock(brokers.mu);
  std::weak_ptr<Broker>& known = brokers.by_directory[directory];
  if (std::shared_ptr<Broker> broker = known.lock()) return broker;
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<storage::Store> opened, storage::Store::Open(store));
  storage::Recovered recovered = opened->TakeRecovered();
  auto broker = std::make_shared<Broker>(options, std::move(opened), std::move(recovered));
  known = broker;
  return broker;
}

BrokerStatus DescribeStatus(const Broker& broker) {
  const BrokerStats stats = broker.Stats();
  const storage::StoreStats store = broker.StoreStats();
  const Status failure = broker.failure();
  BrokerStatus status;
  status.accepts_appends = failure.ok();
  status.state = failure.ok() ? "serving" : "failed";
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
  return status;
}

}  // namespace strata::broker
