// Rehearsal: the store as opening it would make it, for reading only. Nothing on disk changes.
//
// The watermark tells whether the newest acknowledged group is there (store_check.cc). That is not all that a damaged
// log can take. The catalog and each stratum go to table files when each of them is full, so the catalog's rows of a
// group may be safe in a table file while its messages are in the log alone; and RocksDB does not miss a log that is
// gone. So after the replay each stratum is asked for the newest of what its pages say that the log did not bring. A
// flush takes all of a stratum up to some group, so if its table files have that, they have what is older; and where
// the log begins, or goes on behind a hole, in the middle of a page, the row in front has to be there, too.
//
// Of the log only the catalog's rows are kept, and which messages it has, not the messages: there may be
// 2 x write_buffer of them. One row of each stratum is read, and one for each page that the log goes on with.
//
// Internal to storage.
#pragma once

#include <rocksdb/db.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/catalog.h"
#include "storage/replay.h"
#include "storage/rocks.h"

namespace strata::storage {

// Messages [first, next) of a page in `stratum` that nothing holds.
struct MissingRows {
  uint32_t stratum = 0;
  ChannelNumber channel = 0;
  MessageId first = 0;
  MessageId next = 0;
};

// Used by one thread.
class Rehearsal {
 public:
  // `replay` decides where the log ends, as it will in the open itself. An error is RocksDB's: a table file that is
  // missing or cannot be opened, for example.
  static Result<std::unique_ptr<Rehearsal>> Open(
      const RocksSetup& rocks, const std::string& db_path,
      const std::vector<rocksdb::ColumnFamilyDescriptor>& families, ContiguousReplay* replay);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  // Rows that cannot be read are left out.
  const Catalog& catalog() const { return catalog_; }
  // Whether a batch is in the table files of that stratum, or in the log. True if there is no such stratum.
  bool Has(uint32_t stratum, std::string_view message_key) const;
  // In the order of the strata. What is in a damaged block counts as there: reading it tells.
  std::vector<MissingRows> FindMissing() const;

 private:
  class LoggedRows;

  Rehearsal(std::unique_ptr<LoggedRows> logged, std::unique_ptr<rocksdb::DB> db,
            std::vector<rocksdb::ColumnFamilyHandle*> handles);

  // The end of the last row of [from, end) in the table files of that stratum; `from` if there is none, `end` if that
  // cannot be told.
  MessageId EndOfRowsBefore(rocksdb::ColumnFamilyHandle* handle, ChannelNumber channel,
                            MessageId from, MessageId end) const;
  void FindMissingEnds(std::vector<MissingRows>* missing) const;
  void FindMissingFronts(std::vector<MissingRows>* missing) const;

  const std::unique_ptr<LoggedRows> logged_;
  const std::unique_ptr<rocksdb::DB> db_;
  const std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::map<uint32_t, rocksdb::ColumnFamilyHandle*> strata_;
  Catalog catalog_;
};

}  // namespace strata::storage
