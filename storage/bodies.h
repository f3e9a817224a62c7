// Bodies: where large bodies of batches lie, written once.
//
//   stratum 42:  column family stratum-0000000042    rows: key -> header, and a small body or where a large one lies
//                db/stratum-0000000042.body           large bodies, one behind the other
//
// What goes through RocksDB is written twice, to its log and to a table file, and copied four times on the way. That is
// the price of one sync for many small batches. A body of StoreOptions::separate_bytes or more costs a sync's worth of
// time by itself, so it is appended to its stratum's file instead, and only the row that points to it goes the long
// way. As in WiscKey (Lu et al., FAST 2016), but without its garbage collection: a stratum goes as a whole.
//
// The order that makes it safe:
//   1. the body is appended before the row is written
//   2. a sync of the store syncs bodies first, then RocksDB's log: a durable row has a durable body
//   3. a flush syncs bodies first, too (RocksSetup::before_flush): table files do not run ahead of bodies
//   4. at open, bodies are synced before RocksDB replays its log, and replay ends at the first row beyond the
//      watermark whose body is not whole: nobody had been told of that group (replay.h)
//
// Internal to storage.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/mutex.h"
#include "base/status.h"
#include "storage/codec.h"

namespace strata::storage {

// "db/stratum-0000000042.body"
std::string BodyPath(const std::string& db_path, uint32_t stratum);
// Of a name without folder.
bool ParseBodyName(std::string_view name, uint32_t* stratum);

// Reads one stratum's bodies. Thread-safe. The file need not exist: many strata have none.
class BodyReader {
 public:
  BodyReader(std::shared_ptr<rocksdb::FileSystem> fs, std::string path)
      : fs_(std::move(fs)), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  // The body in a buffer of its own, one piece. CORRUPTION if it is not there as a whole or its hash is another;
  // IO_ERROR if the disk does not answer.
  Result<Buffer> Read(const BodyReference& where) const;
  // Of the file; 0 if there is none.
  uint64_t Size() const;
  // At the end of its stratum.
  void Delete() const;

 private:
  Result<rocksdb::FSRandomAccessFile*> File() const;

  const std::shared_ptr<rocksdb::FileSystem> fs_;
  const std::string path_;
  mutable Mutex mu_;
  // Opened by the first Read(), and open until the end.
  mutable std::unique_ptr<rocksdb::FSRandomAccessFile> file_ STRATA_GUARDED_BY(mu_);
};

// Writes the bodies of the stratum that is being filled.
class BodyWriter {
 public:
  BodyWriter(std::shared_ptr<rocksdb::FileSystem> fs, std::string db_path)
      : fs_(std::move(fs)), db_path_(std::move(db_path)) {}

  // Appends to the stratum's file, which is created or gone on with. One thread at a time. After an error nothing
  // more may be written: the file system's latch is set.
  Status Append(uint32_t stratum, const Buffer& body, uint64_t content, BodyReference* where);
  // No more is appended to this one's file, which the next Sync() closes. The thread that appends.
  void Seal(uint32_t stratum);
  // What was appended before this call is durable when it returns. Any thread, also beside Append().
  Status Sync();
  // Syncs every body file of the store, and their folder. Before RocksDB is opened.
  Status SyncAll();

 private:
  struct File {
    uint32_t stratum = 0;
    std::shared_ptr<rocksdb::FSWritableFile> file;
    bool dirty = false;  // has bytes that no sync has begun to cover
  };

  Status Open(uint32_t stratum);
  Status AppendPieces(const Buffer& body);

  const std::shared_ptr<rocksdb::FileSystem> fs_;
  const std::string db_path_;

  // Of the thread that appends.
  uint64_t size_ = 0;  // of the current file
  std::string gathered_;

  Mutex sync_mu_;  // held for a whole sync; before mu_
  Mutex mu_;
  File current_ STRATA_GUARDED_BY(mu_);
  std::vector<File> sealed_ STRATA_GUARDED_BY(mu_);  // no longer written, to be synced once more
  bool created_ STRATA_GUARDED_BY(mu_) = false;      // a file whose name is not durable yet
};

}  // namespace strata::storage
