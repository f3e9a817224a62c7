// Several lives of one store, each with a random workload, and what each one left compared with the ledger.
//
// The disk, its sizes and durability.sync are functions of the seed, as are the choices of every actor. What the
// threads of RocksDB and of the store do beside them is not: a seed repeats a history closely, not to the last call.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/faults/scene.h"
#include "tests/faults/workload.h"

namespace strata::testing {

class Lives {
 public:
  // `sync` instead of the one that the seed chooses: most often kAlways.
  explicit Lives(uint64_t seed, Scene::Wrap wrap = nullptr, std::optional<SyncPolicy> sync = {});

  FaultFileSystem& disk() { return *disk_; }
  Ledger& ledger() { return ledger_; }
  Random& random() { return random_; }
  SyncPolicy sync() const { return sync_; }
  WorkloadShape& shape() { return shape_; }
  void set_accept_loss(bool accept) { store_.accept_loss = accept; }
  // What all lives have logged, and how each ended.
  std::string log() const;

  // A broker on the disk.
  Result<std::unique_ptr<broker::Broker>> Open();
  // One life of it. REQUIRES: the power is on, or is going to go.
  void Live(broker::Broker* broker);
  // After an ending: opens again and compares. Violations as sentences; and whoever reads on does it with the broker.
  std::vector<std::string> Check(Ending ending, std::unique_ptr<broker::Broker>* broker);
  // Of a broker that was destroyed, or is to be: makes it so that nothing of it reaches the disk any more.
  void End(Ending ending);

 private:
  void Log(std::string_view line);

  const uint64_t seed_;
  Random random_;
  const SyncPolicy sync_;
  const Scene::Wrap wrap_;
  WorkloadShape shape_;
  storage::StoreOptions store_;
  std::shared_ptr<FaultFileSystem> disk_;
  Ledger ledger_;
  uint64_t boots_ = 1;
  uint64_t ends_ = 0;
  mutable Mutex log_mu_;
  std::string log_text_ STRATA_GUARDED_BY(log_mu_);
};

}  // namespace strata::testing
