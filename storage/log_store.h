// LogStore: all that the broker's data path needs of storage.
//
// This is the seam on which the committer, the channels, the readers and the subscriptions sit. The
// real one is storage::Store (RocksDB); tests have one in memory, so that those parts run under
// ThreadSanitizer without RocksDB and can be given errors, slow syncs and power cuts at will.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/status.h"
#include "storage/records.h"

namespace strata::storage {

class LogStore {
 public:
  virtual ~LogStore() = default;

  // Writes the group atomically, unsynced: afterwards Read() sees it, a power cut may still take it
  // back. An error is final for the store (fail-stop): the group may or may not come back after a
  // restart, and every later Write and Sync fails with STORE_FAILED without touching the disk.
  // REQUIRES: one thread at a time; group.commit is the last one + 1; ids continue each channel's.
  virtual Status Write(const WriteGroup& group) = 0;

  // Makes every group whose Write() returned before this call survive a power cut.
  // An error is final: nothing not yet acknowledged may be acknowledged any more, and a failed sync
  // is never repeated, because the kernel may have dropped the dirty pages (Rebello et al., ATC
  // 2020). REQUIRES: one thread at a time; it may run beside Write().
  virtual Status Sync() = 0;

  // Batches of `channel` that hold ids in [from, end), in order: first the batch with `from` inside
  // (or the first one after it), then more until their bytes reach `max_bytes` (always at least one
  // item unless there is none). Damaged batches come as CORRUPT gaps. Holes without a trace in
  // storage (LOST, TRIMMED) are not reported: the caller sees ids jump. Blocking; any thread, any
  // number at a time; keeps nothing between calls.
  virtual Result<std::vector<ReadItem>> Read(ChannelNumber channel, MessageId from, MessageId end,
                                             size_t max_bytes) = 0;

  // The id of the first message in [from, end) appended at or after `time`; `end` if there is none.
  // Blocking.
  virtual Result<MessageId> FindTime(ChannelNumber channel, TimeMicros time, MessageId from,
                                     MessageId end) = 0;

  // The first id of the channel's oldest page; none if it has no page.
  virtual std::optional<MessageId> OldestId(ChannelNumber channel) = 0;

  // --- Space. All of it may be called from any thread, beside everything else. ---

  // The channel's pages, oldest first.
  virtual std::vector<Page> Pages(ChannelNumber channel) const = 0;

  // Takes pages whose rows a TrimPages has removed out of what can be read, and so gives up their
  // share of their strata. REQUIRES: that group is acknowledged, and readers know that the ids are
  // gone.
  virtual void ForgetPages(ChannelNumber channel, MessageId through) = 0;

  // All strata with data, in the order of created_at; the one being written is the last.
  virtual std::vector<StratumInfo> DescribeStrata() const = 0;

  // Drops every sealed stratum that has no page left, after a sync that covers the removal of its
  // last one. Returns how many. An error is final for the store, as in Write().
  virtual Result<size_t> DropEmptyStrata() = 0;

  // Copies the live batches of sealed strata into a new one, compressed as the last level, checking
  // every checksum on the way. Nothing changes until `changes` of the result are written; the old
  // strata are empty then, and go with the next DropEmptyStrata(). A full disk is an error of this
  // call alone. REQUIRES: one at a time.
  virtual Result<RewriteResult> Rewrite(const RewriteRequest& request) = 0;
  // The new stratum of a result whose changes were not written goes. REQUIRES: they never will be.
  virtual void AbandonRewrite(const RewriteResult& result) = 0;

  // How fast the files of dropped strata go, in bytes per second, so that syncs beside it are not
  // held up; 0, as at first: at once.
  virtual void SetDeletionRate(uint64_t bytes_per_second) = 0;

  virtual DiskUsage Usage() const = 0;

  // The ballast: a file that only takes space, so that there is some to give back on a full disk.
  // Its size is StoreOptions::ballast; 0 if it is not there.
  virtual uint64_t BallastBytes() const = 0;
  virtual void ReleaseBallast() = 0;
  // A failure leaves the store without ballast and changes nothing else.
  virtual Status RestoreBallast() = 0;

  // Once a second at most: the next id of each channel as acknowledged, for the watermark file's
  // table, by which a later open can name the channels and ids that are missing. Best effort,
  // without a sync.
  virtual void NoteAcknowledged(
      const std::vector<std::pair<ChannelNumber, MessageId>>& next_ids) = 0;

  // Flushes and syncs everything and marks the end as clean; after fail-stop it only lets go of the
  // directory. Idempotent. REQUIRES: no other call is under way or follows.
  virtual Status Close() = 0;

  // True once a write or a sync has failed (fail-stop), with the first failure.
  virtual bool failed() const = 0;
  virtual Status failure() const = 0;

  virtual StoreStats Stats() const = 0;
  virtual ChannelSpace Space(ChannelNumber channel) const = 0;
};

}  // namespace strata::storage
