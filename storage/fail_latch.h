// Fail-stop: the first failure to change the disk is the last thing that the store does to it.
//
// After a failed write or sync nobody knows what is on disk: the kernel may have dropped the dirty pages and report
// the next sync as fine (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020). So the first
// failing call that was to change something (append, sync, create, rename, ...) sets the latch, and from then on every
// such call on the store's files is refused without reaching the disk. Reading goes on. Only a restart clears it.
//
// RocksDB never hears of a failure of its log (*.log): such a call answers OK without having done anything. Two
// reasons. Debian's RocksDB is built with assertions and aborts the process in SyncWAL() after a failed append. And
// nothing is lost by it: once the latch is set no table file, MANIFEST or log can change, so what RocksDB believes
// about its log never becomes the state of the disk, and Store looks at the latch after each call before it
// reports success. The order that makes this sound: the latch is set before the failing call returns.
//
// The other half, RocksDB resuming by itself after an error, is vetoed by the listener in rocks.cc, which also sets the
// latch where RocksDB gives up a flush or a compaction because it could not read.
#pragma once

#include <rocksdb/file_system.h>

#include <atomic>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"

namespace strata::storage {

// Thread-safe.
class FailLatch {
 public:
  explicit FailLatch(Logger log) : log_(std::move(log)) {}

  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // STORE_FAILED with the first failure; OK before it.
  Status status() const;
  // Sets the latch and logs it; only the first call counts.
  void Fail(const std::string& what);

 private:
  const Logger log_;
  std::atomic<bool> failed_{false};
  mutable Mutex mu_;
  Status status_ STRATA_GUARDED_BY(mu_);
};

// What a failure of a file operation means.
enum class OnFailure {
  kLatch,   // the store is done writing
  kReport,  // the caller's business: scratch files that nothing depends on
};

// `base` with the latch in front of everything that changes files.
//
// `held_lock` is the path of a lock file that the store holds already, from before it looked at the directory until
// after its last write: RocksDB gets a token for it instead of a second lock.
std::shared_ptr<rocksdb::FileSystem> NewLatchedFileSystem(std::shared_ptr<rocksdb::FileSystem> base,
                                                          std::shared_ptr<FailLatch> latch,
                                                          std::string held_lock,
                                                          OnFailure on_failure = OnFailure::kLatch);

}  // namespace strata::storage
