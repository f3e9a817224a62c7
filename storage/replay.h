// Replay: of RocksDB's logs, only what continues without a hole is recovered.
//
// RocksDB stops at a record that is damaged. It does not notice a log whose unsynced tail is cut off cleanly, or that
// is gone altogether, while the log after it survived, as a power cut between a switch of logs and the sync of the old
// one leaves it: it would go on with the later log, and groups from the middle would be missing. None of them was
// acknowledged, but what is left would be no prefix: pages without their channel, batches without their neighbours.
// So each group is checked to be the next one, and replay ends at the first that is not. It ends, too, at the first
// group that nobody was told of and that points to a body which is not there (bodies.h): the log may have reached the
// disk before the body did.
//
// Internal to storage.
#pragma once

#include <rocksdb/wal_filter.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "storage/catalog.h"
#include "storage/codec.h"
#include "storage/rocks.h"

namespace strata::storage {

// Handed to DB::Open. Used by one thread.
class ContiguousReplay final : public rocksdb::WalFilter {
 public:
  // Whether the body is there as a whole, or not needed, because its stratum is gone. Where the disk does not say,
  // opening must fail: what replay leaves out is gone for good, and it may have been acknowledged.
  using HasBody = std::function<bool(const BodyReference&)>;

  // `flushed`: the last group whose catalog rows are in table files. `durable`: the last one that a sync is known to
  // have covered: a body of one up to it that is not there is damage, which is no reason to end.
  ContiguousReplay(uint64_t flushed, uint64_t durable, HasBody has_body)
      : last_(flushed), durable_(durable), has_body_(std::move(has_body)) {}

  WalProcessingOption LogRecordFound(unsigned long long log_number,
                                     const std::string& log_file_name,
                                     const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* new_batch, bool* batch_changed) override;
  const char* Name() const override { return "StrataContiguousReplay"; }

  // The first group behind a hole, if there was one; last() is the one before the hole.
  std::optional<uint64_t> behind_hole() const { return behind_hole_; }
  uint64_t last() const { return last_; }
  // The file with the last record that was replayed, or ended it; empty: there was none.
  const std::string& last_log() const { return last_log_; }
  // The group at which replay ended because of a body, if it did.
  std::optional<uint64_t> without_body() const { return without_body_; }

 private:
  bool HasBodies(const rocksdb::WriteBatch& batch) const;

  uint64_t last_;
  const uint64_t durable_;
  const HasBody has_body_;
  std::optional<uint64_t> without_body_;
  std::optional<uint64_t> behind_hole_;
  std::string last_log_;
};

// The catalog as its table files have it, without the log. Changes nothing; rows that cannot be read are left out.
Result<Catalog> FlushedCatalog(const RocksSetup& rocks, const std::string& db_path);
// The catalog as opening the database with this filter would make it. Changes nothing: where RocksDB opens a database
// that has lost something, it deletes the files in which it could still be found.
Result<Catalog> RehearseReplay(const RocksSetup& rocks, const std::string& db_path,
                               rocksdb::WalFilter* filter);

}  // namespace strata::storage
