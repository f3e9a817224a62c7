// strata verify DIR: the offline check of a store.
#pragma once

#include <string>

#include "base/status.h"
#include "storage/verify.h"
#include "tools/io.h"

namespace strata::tools {

// Reads everything in the store at `directory` and prints what it found; changes nothing. Returns
// the exit code: 0, 1 if there are problems, 2 (after telling why on io.err) if it could not be
// read.
int Verify(const Io& io, const std::string& directory);

// What Verify() prints of `report`.
std::string FormatReport(const std::string& directory, const storage::VerifyReport& report,
                         bool json);

}  // namespace strata::tools
