// PageReader: the good batches of one page, in order; damaged ones are passed over.
//
// A batch is damaged when its own checksum or header is wrong, or when RocksDB finds the block with it damaged. A
// RocksDB iterator ends at a damaged block: to go on, the first id behind the block is searched by seeking.
// What was passed over shows in the ids: a page is dense, so any jump inside it is damage.
//
// Internal to storage. Not thread-safe; holds the stratum and a RocksDB iterator as long as it lives.
#pragma once

#include <rocksdb/db.h>

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/status.h"
#include "storage/codec.h"
#include "storage/page_index.h"
#include "storage/strata.h"

namespace strata::storage {

class PageReader {
 public:
  // Told of each damaged row or block: the id at or after which it lies, and what is wrong.
  using OnDamage = std::function<void(MessageId id, const std::string& what)>;

  // `stratum` may be null, when it is missing: then there is no good batch.
  PageReader(rocksdb::DB* db, StratumRef stratum, ChannelNumber channel, const Page& page,
             OnDamage on_damage);

  // The batch with `id` inside, or else the first good one after it. False if there is none. The view is valid until
  // the next call. An error is one of reading, not of the data.
  Result<bool> Seek(MessageId id, BatchView* batch);
  // The next good batch; the page's first one if there was no Seek().
  Result<bool> Next(BatchView* batch);
  // Its body, as a copy. CORRUPTION if it lies elsewhere and is damaged; otherwise an error is one of reading.
  Result<Buffer> Body(const BatchView& batch) const;
  // The stored row of the batch that was returned last, valid until the next call.
  rocksdb::Slice key() const { return row_->key(); }
  rocksdb::Slice value() const { return row_->value(); }

 private:
  void Renew();
  // Goes on without the table files in passed_, up to the id from which all of them can be read again.
  Status GoOnWithoutDamaged(MessageId until);
  void GoOnWithAll();
  // Takes the row under the iterator, or passes over damage until there is one to take.
  Result<bool> Take(BatchView* batch);
  // Puts the iterator on the first row behind a damaged block, or ends.
  Status PassDamagedBlock();
  // Puts the iterator on the first row at or above `id`; false if that cannot be read. Of several calls `failed`
  // keeps the first error that is one of reading, which the next call would forget.
  bool SeekWorks(MessageId id, Status* failed = nullptr);
  Status SeekRowBefore(MessageId id);
  // On the row of the batch with `id` inside, or else the first one at or above it.
  Status SeekRowAround(MessageId id);
  // OK unless the iterator failed for another reason than damaged data.
  Status ReadError() const;

  rocksdb::DB* const db_;
  const StratumRef stratum_;
  const Page page_;
  const ChannelNumber channel_;
  const OnDamage on_damage_;
  const MessageKey lower_key_;
  const MessageKey upper_key_;
  const rocksdb::Slice lower_;
  const rocksdb::Slice upper_;
  std::unique_ptr<rocksdb::Iterator> row_;
  MessageId next_ = 0;  // everything below is taken or passed over
  bool positioned_ = false;
  bool ended_ = false;
  // A damaged block hides what other files of the stratum hold of the same channel: they are read without its file.
  std::set<uint64_t> passed_;  // numbers of table files that row_ leaves out
  MessageId until_ = 0;        // up to here; 0: row_ leaves nothing out
};

}  // namespace strata::storage
