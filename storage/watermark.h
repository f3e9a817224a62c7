// The watermark: outside RocksDB, how much of it is durable. docs/formats/store-directory.md has the bytes.
//
// Point-in-time recovery forgets everything behind the first damage in the log, silently, and a deleted log opens as
// an empty one. The watermark is what notices: after each completed sync the store writes the number of the last
// group that the sync covered, without a sync of its own, and an open that recovers less refuses to start. It can
// only lag behind, never run ahead, because it is written after the sync.
//
// Once a second the broker adds a table of each channel's next acknowledged id, so that the refusal can name ids.
//
// Everything is overwritten in place: the header in two slots in turn, each inside one 512-byte sector, and the table
// in two regions in turn, so that a torn write leaves the one before it.
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/types.h"

namespace strata::storage {

using NextIds = std::vector<std::pair<ChannelNumber, MessageId>>;

// What a watermark file says.
struct WatermarkContents {
  uint64_t commit = 0;
  NextIds next_ids;  // as of up to a second before the last sync; empty if there is no whole table

  // Where writing goes on.
  uint64_t header_sequence = 0;
  uint64_t table_sequence = 0;
};

class Watermark {
 public:
  // Creates or replaces the file, for commit 0, durably but for its name: the caller syncs the directory.
  static Status Create(rocksdb::FileSystem& fs, const std::string& path,
                       const std::string& store_id);

  // Nothing, and why in *absent, if there is no file, or none of this store, or no whole header in it.
  static Result<std::optional<WatermarkContents>> Read(rocksdb::FileSystem& fs,
                                                       const std::string& path,
                                                       const std::string& store_id,
                                                       std::string* absent);

  // The store that a readable header names; nothing if there is none.
  static std::optional<std::string> OwnerOf(rocksdb::FileSystem& fs, const std::string& path);

  // What is not as it was written: slots and tables, of each of which there are two, and the zeros between them.
  static std::vector<std::string> Damage(rocksdb::FileSystem& fs, const std::string& path);

  // Opens an existing file for writing; goes on from `contents`.
  static Result<std::unique_ptr<Watermark>> Open(rocksdb::FileSystem& fs, const std::string& path,
                                                 const std::string& store_id,
                                                 const WatermarkContents& contents);

  // The groups up to `commit` are durable. REQUIRES: one thread at a time.
  Status NoteDurable(uint64_t commit);
  // Replaces the table. Any thread, beside NoteDurable too.
  Status NoteAcknowledged(const NextIds& next_ids);
  Status Sync();

 private:
  Watermark(std::unique_ptr<rocksdb::FSRandomRWFile> file, std::string store_id,
            const WatermarkContents& contents);

  const std::unique_ptr<rocksdb::FSRandomRWFile> file_;
  const std::string store_id_;  // 16 bytes, binary
  uint64_t header_sequence_;    // of the thread that calls NoteDurable

  Mutex table_mu_;
  uint64_t table_sequence_ STRATA_GUARDED_BY(table_mu_);
  std::string block_ STRATA_GUARDED_BY(table_mu_);
};

}  // namespace strata::storage
