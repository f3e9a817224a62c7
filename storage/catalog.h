// The catalog: every row that is not a message, in the column family `default`. docs/formats/catalog.md.
//
// Keys: one byte for the kind of row, then big-endian fields. Values: the messages of catalog.proto, but for the commit
// number, which is a plain u64 because it is written so often.
//
//   'F'                        format version
//   'R'                        run: boot id, sync policy, running or clean
//   'G'                        commit number of the last group that wrote this row (see RecoveredCommit)
//   'M'                        next channel number
//   'C' channel                a channel
//   'P' channel first_id       a page
//   'S' stratum                a stratum
//   'U' channel name           a subscription
//   'D' channel number         a producer
//   'D' channel number slot    the result of one of its batches; slot is one byte: sequence % kProducerWindow
//   'T'                        kept for schedules
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "storage/page_index.h"
#include "storage/records.h"

namespace strata::storage {

// Of the bytes on disk as a whole: raised when older code could no longer read them.
inline constexpr uint32_t kStoreFormat = 2;

struct StratumRecord {
  uint32_t number = 0;
  TimeMicros created_at = 0;
  TimeMicros sealed_at = 0;      // 0: the one being written
  std::string quarantined = {};  // why it is; empty: it is not
};

struct RunRecord {
  std::string boot_id;
  SyncPolicy sync = SyncPolicy::kAlways;
  bool clean = false;
  TimeMicros opened_at = 0;
};

// All rows, as values, in the order of their keys.
struct Catalog {
  uint32_t format = 0;  // 0: no format row
  std::optional<RunRecord> run;
  uint64_t commit_row = 0;
  ChannelNumber next_channel = 1;
  std::vector<ChannelRecord> channels;
  std::vector<PageUpdate> pages;
  std::vector<StratumRecord> strata;
  std::vector<SubscriptionRecord> subscriptions;
  std::vector<RecoveredProducer> producers;  // the results in the order of their slots
  uint64_t unknown_rows = 0;
  uint64_t orphan_results =
      0;  // of producers that are not there, in channels that are not there either

  // The number of the last group in the database. A group with batches leaves it in its page rows, one with catalog
  // changes in 'G': whatever removes a page row writes 'G', so the largest is always there.
  uint64_t RecoveredCommit() const;
};

// The page with this id inside; null if there is none. REQUIRES: pages in the order of their keys.
const Page* FindPage(const Catalog& catalog, ChannelNumber channel, MessageId id);

// Adds a row to *catalog; nullptr, or what is wrong with it, and it is left out. REQUIRES: in the order of their keys.
const char* ParseCatalogRow(std::string_view key, std::string_view value, Catalog* catalog);

// Called for each row that cannot be read: where ("catalog row 43000000..."), what.
using BadRow = std::function<void(std::string where, std::string what)>;

// Reads all rows. An error is one of reading the database; damaged rows go to `bad_row` and are left out.
Result<Catalog> LoadCatalog(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family,
                            const BadRow& bad_row);

// The group that wrote this row, if rows of its kind say so.
std::optional<uint64_t> CommitOfRow(std::string_view key, std::string_view value);

// The newest results of a producer, ascending and without holes, of those that its rows hold.
std::vector<ProducerResult> NewestResults(std::vector<ProducerResult> results);

// Keys in the database: those of the subscriptions and producers of `channel`, and of one producer and its results.
Result<std::vector<std::string>> KeysOfChannel(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* family,
                                               ChannelNumber channel);
Result<std::vector<std::string>> KeysOfProducer(rocksdb::DB* db,
                                                rocksdb::ColumnFamilyHandle* family,
                                                ChannelNumber channel, uint64_t number);

// Puts rows into a WriteBatch. Keeps its buffers: one per writing thread.
class CatalogWriter {
 public:
  explicit CatalogWriter(rocksdb::ColumnFamilyHandle* family) : family_(family) {}

  void PutFormat(rocksdb::WriteBatch* batch);
  void PutRun(rocksdb::WriteBatch* batch, const RunRecord& run);
  void PutCommit(rocksdb::WriteBatch* batch, uint64_t commit);
  void PutNextChannel(rocksdb::WriteBatch* batch, ChannelNumber next_channel);
  void PutChannel(rocksdb::WriteBatch* batch, const ChannelRecord& channel);
  void DeleteChannel(rocksdb::WriteBatch* batch, ChannelNumber channel);
  void PutPage(rocksdb::WriteBatch* batch, ChannelNumber channel, const Page& page);
  void DeletePage(rocksdb::WriteBatch* batch, ChannelNumber channel, MessageId first);
  void PutStratum(rocksdb::WriteBatch* batch, const StratumRecord& stratum);
  void DeleteStratum(rocksdb::WriteBatch* batch, uint32_t number);
  void PutSubscription(rocksdb::WriteBatch* batch, const SubscriptionRecord& subscription);
  void DeleteSubscription(rocksdb::WriteBatch* batch, ChannelNumber channel, std::string_view name);
  void PutProducer(rocksdb::WriteBatch* batch, const ProducerRecord& producer);
  void DeleteProducer(rocksdb::WriteBatch* batch, ChannelNumber channel, uint64_t number);
  // Of a batch of a named producer.
  void PutResult(rocksdb::WriteBatch* batch, const BatchRecord& stored);
  void DeleteResult(rocksdb::WriteBatch* batch, const BatchRecord& stored);
  void Delete(rocksdb::WriteBatch* batch, std::string_view key);

 private:
  void Put(rocksdb::WriteBatch* batch, std::string_view key, std::string_view value);

  rocksdb::ColumnFamilyHandle* const family_;
  std::string value_;
};

}  // namespace strata::storage
