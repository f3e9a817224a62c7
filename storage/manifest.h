// A MANIFEST whose last edit a power cut has torn. Internal to storage.
//
// RocksDB appends an edit to its MANIFEST and syncs it before it goes by it, so of an edit that was
// under way when the power went there may be nothing, all, or parts of it. A part that is cut off is
// passed over when the database is opened; one with a hole in the middle (blocks of an append reach
// the disk in any order) fails its checksum, and RocksDB refuses the database. Nothing was ever built
// on that edit: it is cut off here, and the MANIFEST as it was is kept as DIR/TORN-MANIFEST-NNNNNN.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "storage/rocks.h"

namespace strata::storage {

// CORRUPTION if CURRENT names no MANIFEST that is there: RocksDB would call that an error of the disk.
Status CheckCurrent(rocksdb::FileSystem& fs, const std::string& db_path);

// REQUIRES: RocksDB calls the MANIFEST of `db_path` corrupt. Makes it readable if that is because of
// its last edit, and says how many bytes were cut off; none, and nothing is changed, if it is not. `fs`
// is the latched file system. Should the edit have been a finished one after all, rotten since, then
// groups are missing now that were durable, and the watermark tells (watermark.h).
Result<std::optional<uint64_t>> CutTornManifest(const StoreOptions& options,
                                                const std::shared_ptr<rocksdb::FileSystem>& fs,
                                                const std::shared_ptr<FailLatch>& latch,
                                                const std::string& db_path);

}  // namespace strata::storage
