// strata repair DIR: what is readable of a damaged store, into a new one.
#pragma once

#include <string>

#include "storage/repair.h"
#include "tools/io.h"

namespace strata::tools {

// Saves what is readable in the store at `directory`, which it leaves as it is, to a new store at `into` (empty:
// `directory`.repaired) and prints what was kept and what was not. Returns the exit code: 0 if nothing is missing, 1 if
// something is, 2 (after telling why on io.err) if there is no new store.
int Repair(const Io& io, const std::string& directory, const std::string& into);

// What Repair() prints of `report`.
std::string FormatRepair(const std::string& directory, const storage::RepairReport& report,
                         bool json);

}  // namespace strata::tools
