// StoreLock: one process has a store open.
//
// It is RocksDB's own lock file (db/LOCK), so that RocksDB's tools respect it too, taken before RocksDB is opened and
// given back after its last file is closed. The operating system frees it when the process ends, however it ends.
#pragma once

#include <rocksdb/file_system.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"

namespace strata::storage {

class StoreLock {
 public:
  // Waits up to `timeout` for another holder to let go. STORE_LOCKED naming the holder, as far as it can be known, or
  // IO_ERROR. The folder of `path` must exist; the file is created if missing.
  static Result<std::unique_ptr<StoreLock>> Acquire(std::shared_ptr<rocksdb::FileSystem> fs,
                                                    const std::string& path,
                                                    std::chrono::milliseconds timeout,
                                                    Clock* clock);
  ~StoreLock();
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

  const std::string& path() const { return path_; }

 private:
  StoreLock(std::shared_ptr<rocksdb::FileSystem> fs, std::string path, rocksdb::FileLock* lock)
      : fs_(std::move(fs)), path_(std::move(path)), lock_(lock) {}

  const std::shared_ptr<rocksdb::FileSystem> fs_;
  const std::string path_;
  rocksdb::FileLock* const lock_;
};

}  // namespace strata::storage
