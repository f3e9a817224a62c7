#include "tests/faults/lives.h"

#include <fmt/format.h>
#include <rocksdb/file_system.h>

#include <utility>

#include "tests/support/forwarding_store.h"

namespace strata::testing {
namespace {

SyncPolicy SyncOf(uint64_t seed) {
  switch (seed % 8) {
    case 3:
      return SyncPolicy::kInterval;
    case 6:
      return SyncPolicy::kNone;
    default:
      return SyncPolicy::kAlways;
  }
}

// Tells the ledger what each sync has covered.
class WitnessedStore final : public ForwardingStore {
 public:
  WitnessedStore(std::shared_ptr<storage::LogStore> to, Ledger* ledger)
      : ForwardingStore(std::move(to)), ledger_(ledger) {}

  Status Sync() override {
    const uint64_t began = ledger_->SyncBegins();
    Status status = ForwardingStore::Sync();
    if (status.ok()) ledger_->SyncEnded(began);
    return status;
  }

 private:
  Ledger* const ledger_;
};

std::shared_ptr<FaultFileSystem> NewDisk(uint64_t seed) {
  FaultFileSystem::Options options;
  options.file_sync_keeps_name = seed % 3 == 0;
  auto disk = FaultFileSystem::Create(options);
  // The folder in which the store is made, as an administrator left it.
  (void)disk->CreateDirIfMissing("/var", rocksdb::IOOptions(), nullptr);
  disk->SyncAll();
  return disk;
}

}  // namespace

Lives::Lives(uint64_t seed, Scene::Wrap wrap, std::optional<SyncPolicy> sync)
    : seed_(seed),
      random_(seed),
      sync_(sync.value_or(SyncOf(seed))),
      wrap_(std::move(wrap)),
      disk_(NewDisk(seed)),
      ledger_(WorkloadPlans(), sync_) {
  store_.path = "/var/strata";
  store_.sync = sync_;
  store_.page_size = 4u << 10 << random_.Below(3);
  store_.write_buffer = 64u << 10 << random_.Below(3);
  store_.block_cache = 1u << 20;
  store_.lock_timeout = std::chrono::milliseconds(0);
  store_.file_system = disk_;
  // Every fourth disk has bodies of the size that is the default, the others many small ones.
  const bool large = random_.OneIn(4);
  store_.separate_bytes = large ? 32u << 10 : 1500;
  shape_.large = large ? 33u << 10 : 3000;
  shape_.threads = !random_.OneIn(3);
}

Result<std::unique_ptr<broker::Broker>> Lives::Open() {
  storage::StoreOptions store = store_;
  store.boot_id = fmt::format("boot-{}", boots_);
  store.log = Logger([this](LogLevel level, std::string_view line) {
    if (level >= LogLevel::kInfo) Log(line);
  });
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<storage::Store> opened, storage::Store::Open(store));
  storage::Recovered recovered = opened->TakeRecovered();
  std::unique_ptr<storage::LogStore> log = std::move(opened);
  if (sync_ != SyncPolicy::kAlways)
    log = std::make_unique<WitnessedStore>(std::move(log), &ledger_);
  if (wrap_) log = wrap_(std::move(log));
  broker::BrokerOptions options;
  options.sync = sync_;
  options.log = store.log;
  options.sync_interval = std::chrono::milliseconds(1);
  // Smaller than the histories, so that readers also read from storage.
  options.tail_cache = 16u << 10;
  options.group_bytes = 8u << 10;
  options.sweeper.threads = false;  // the administrator of the workload sweeps and rewrites
  // Every sealed stratum is due at once.
  options.sweeper.compaction_interval = std::chrono::seconds(0);
  options.sweeper.settle = std::chrono::seconds(0);
  options.sweeper.rewrite_rate = 0;
  options.sweeper.page_size = store_.page_size;
  return std::make_unique<broker::Broker>(options, std::move(log), std::move(recovered));
}

std::string Lives::log() const {
  MutexLock lock(log_mu_);
  return log_text_;
}

void Lives::Log(std::string_view line) {
  MutexLock lock(log_mu_);
  log_text_.append("    ").append(line).append("\n");
}

void Lives::Live(broker::Broker* broker) {
  Workload work(broker, &ledger_, random_.Below(UINT64_MAX), shape_);
  work.Run();
}

void Lives::End(Ending ending) {
  static const char* const kNames[] = {"clean", "killed", "power cut", "damaged", "loss accepted"};
  Log(fmt::format("--- {}", kNames[static_cast<int>(ending)]));
  switch (ending) {
    case Ending::kClean:
      ledger_.SyncEnded(ledger_.SyncBegins());  // closing syncs
      break;
    case Ending::kKilled:
    case Ending::kDamaged:
    case Ending::kLossAccepted:
      disk_->ProcessKill();
      break;
    case Ending::kPowerCut:
      disk_->PowerCut(seed_ * 64 + ends_++);
      ++boots_;
      break;
  }
}

std::vector<std::string> Lives::Check(Ending ending, std::unique_ptr<broker::Broker>* broker) {
  Result<std::unique_ptr<broker::Broker>> opened = Open();
  if (!opened.ok()) return {"does not open: " + opened.status().ToString()};
  *broker = *std::move(opened);
  return ledger_.Check(**broker, ending);
}

}  // namespace strata::testing
