// KeptReads: a file system that remembers what was read of some files, so that reading the same again cannot fail.
//
//   kept->Keep(path);
//   ... read what will be read again; errors are told as always ...
//   db->IngestExternalFile(family, {path}, options);
//   kept->Forget(path);
//
// For IngestExternalFile() alone. It takes the range of keys of a file from its first and its last block and, in
// RocksDB 7.8, does not look whether it could read them (ExternalSstFileIngestionJob::GetIngestedFileInfo): where the
// first one cannot be read the file is taken for one without keys, and nothing in it is found any more; where the last
// one cannot, the process ends (`Valid()' failed, block_based_table_iterator.h:62). So both are read before, where an
// error is an error, and what RocksDB then reads comes from memory: two blocks and the index of each file.
#pragma once

#include <rocksdb/file_system.h>

#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"

namespace strata::storage {

// Thread-safe.
class KeptReads final : public rocksdb::FileSystemWrapper {
 public:
  explicit KeptReads(std::shared_ptr<rocksdb::FileSystem> base);
  ~KeptReads() override;

  const char* Name() const override { return "StrataKeptReads"; }

  // Files that are opened by this path from now on keep what is read of them, all of them together.
  void Keep(const std::string& path);
  // Not for files that are opened later. REQUIRES: nobody uses what was read of it.
  void Forget(const std::string& path);

  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* dbg) override;

 private:
  class Pieces;
  class File;

  Mutex mu_;
  std::map<std::string, std::shared_ptr<Pieces>> kept_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::storage
