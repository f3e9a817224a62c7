// Replay: of RocksDB's logs, only what continues without a hole is recovered.
//
// RocksDB stops at a record that is damaged. It does not notice a log whose unsynced tail is cut off cleanly, or that
// is gone altogether, while the log after it survived, as a power cut between a switch of logs and the sync of the old
// one leaves it: it would go on with the later log, and groups from the middle would be missing. None of them was
// acknowledged, but what is left would be no prefix: pages without their channel, batches without their neighbours.
// So each group is checked to be the next one, and replay ends at the first that is not.
//
// Internal to storage.
#pragma once

#include <rocksdb/wal_filter.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "storage/rocks.h"

namespace strata::storage {

// Handed to DB::Open. Used by one thread.
class ContiguousReplay final : public rocksdb::WalFilter {
 public:
  // `flushed`: the last group whose catalog rows are in table files.
  explicit ContiguousReplay(uint64_t flushed) : last_(flushed) {}

  WalProcessingOption LogRecordFound(unsigned long long log_number,
                                     const std::string& log_file_name,
                                     const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* new_batch, bool* batch_changed) override;
  const char* Name() const override { return "StrataContiguousReplay"; }

  // The first group behind a hole, if there was one; last() is the one before the hole.
  std::optional<uint64_t> behind_hole() const { return behind_hole_; }
  uint64_t last() const { return last_; }

 private:
  uint64_t last_;
  std::optional<uint64_t> behind_hole_;
};

// The last group whose catalog rows are in table files, without replaying the log. Changes nothing.
Result<uint64_t> FlushedCommit(const RocksSetup& rocks, const std::string& db_path);

}  // namespace strata::storage
