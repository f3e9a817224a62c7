// Repair: what is readable of a damaged store, in a new store: strata repair DIR.
//
//   damaged DIR --salvage.h, read only--> catalog rows, batches --as appends--> a new store
//
// The damaged directory is only read, and held by its lock meanwhile: whatever goes wrong, another attempt begins from
// the same bytes. Nothing in it is trusted that does not prove itself: each block of a table file and each record of a
// log by RocksDB's checksum, each batch by its own over key, header and body. RocksDB never opens it, so damage that
// makes it refuse, abort or delete files does not matter. (Its own RepairDB was tried: it drops a table file as a
// whole for one rotten block, forgets column families that have none left, and works in place.)
//
// What becomes of what
//   batches        kept under their ids, with append time, producer and sequence. If the catalog is whole: those that
//                  it says are there. Otherwise all that are not truncated, trimmed ones possibly among them.
//   missing ids    a LOST gap in the channel, and a line of the report. Where it is not certain that the catalog knows
//                  how far a channel had come, its ids go on 2^32 higher, so that none is given out twice.
//   channels       with rules, marks and fencing terms, as far as their rows are readable. One whose row is not, but
//                  whose batches are, is called salvaged-NUMBER.
//   subscriptions, producers with the results of their last batches: as far as their rows are readable.
//   strata         new ones: what was compressed is written anew and compressed again in time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/store.h"
#include "storage/verify.h"

namespace strata::storage {

// Ids of a channel that could not be kept.
struct RepairLoss {
  ChannelNumber channel = 0;
  std::string name;
  MessageId first = 0;
  MessageId last = 0;
};

struct RepairReport {
  std::string into;  // the new store
  uint64_t channels = 0;
  uint64_t subscriptions = 0;
  uint64_t producers = 0;
  uint64_t batches = 0;
  uint64_t messages = 0;
  uint64_t bytes = 0;  // of the batches kept
  // False: rows of the catalog are missing, so there may have been channels, subscriptions and producers that nobody
  // knows of any more, and trimmed messages may have come back.
  bool catalog_whole = false;
  bool ids_jump = false;              // the ids of all channels go on 2^32 higher
  std::vector<VerifyProblem> damage;  // what could not be read, at most 1,000
  uint64_t damage_count = 0;          // all of it
  std::vector<RepairLoss> lost;       // ascending within each channel; without the jump of ids
  uint64_t lost_ids = 0;
};

// Makes a new store at `into`, which must not exist, from what is readable at options.path. Until it is complete it is
// called `into`.partial, and left there by an error. Blocks, and needs as much space as the messages take uncompressed.
// STORE_LOCKED if the store is in use; FOREIGN_DIRECTORY or IO_ERROR if there is no store, or `into` is not free.
Result<RepairReport> Repair(const StoreOptions& options, const std::string& into,
                            const std::function<void(uint64_t bytes)>& progress = nullptr);

}  // namespace strata::storage
