// Offline check of a store: strata verify DIR.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/store.h"

namespace strata::storage {

struct VerifyProblem {
  std::string where;  // "channel 'logs' (3), ids 17..80", "stratum 4, file 000123.sst", "catalog"
  std::string what;   // one sentence
};

struct VerifyReport {
  uint64_t channels = 0;
  uint64_t strata = 0;
  uint64_t pages = 0;
  uint64_t batches = 0;
  uint64_t messages = 0;
  uint64_t bytes = 0;
  // Out of order, but nothing depends on it, or a power cut leaves it so in a sound store: a torn last record of a
  // log, one damaged slot of the watermark. At most 1,000.
  std::vector<VerifyProblem> remarks;
  // Files of which no byte says anything, so that damage in them is neither found nor of consequence: OPTIONS-NNNNNN.
  std::vector<std::string> unchecked;
  std::vector<VerifyProblem> problems;  // at most 1,000 are listed
  uint64_t problem_count = 0;           // all of them

  bool ok() const { return problem_count == 0; }
};

// Reads everything in the store at options.path: table files against their checksums, every batch against its own,
// page rows against the batches below them, ids for density, cursors and results of producers against their channels,
// the recovered commit number against the watermark. Changes nothing and holds the store's lock meanwhile
// (STORE_LOCKED if it is in use).
// `progress`, if given, is told the bytes read so far, at most a few times a second.
// A damaged store is a report with problems, not an error; an error means that it could not be read at all.
Result<VerifyReport> Verify(const StoreOptions& options,
                            const std::function<void(uint64_t bytes)>& progress = nullptr);

}  // namespace strata::storage
