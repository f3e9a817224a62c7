// Whose directory is it? The identity file DIR/STRATA, and what a directory without one looks like.
//
//   strata store
//   format 1
//   id 3f0c...                  32 hex digits, given at creation
//   state ready                 `creating` until everything else exists; the next open starts over from it
//
// Nothing here changes a directory, but for WriteIdentity. docs/formats/store-directory.md.
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <string>

#include "base/status.h"

namespace strata::storage {

inline constexpr char kIdentityFile[] = "STRATA";
inline constexpr char kDatabaseFolder[] = "db";
inline constexpr char kWatermarkFile[] = "WATERMARK";
inline constexpr char kLockFile[] = "LOCK";  // inside the database's folder

struct Identity {
  uint32_t format = 0;
  std::string id;
  bool ready = false;
};

enum class DirectoryState {
  kMissing,
  kUnclaimed,  // empty, or no more than an interrupted creation leaves before its identity file
  kStore,      // *identity is filled
};

// FOREIGN_DIRECTORY, saying what the directory looks like; FORMAT_TOO_NEW; CORRUPTION if the identity file cannot be
// understood; IO_ERROR. The directory is left exactly as it is.
Result<DirectoryState> InspectDirectory(rocksdb::FileSystem& fs, const std::string& path,
                                        Identity* identity);

// What WriteIdentity() writes.
std::string IdentityText(const Identity& identity);

// Replaces the identity file, durably.
Status WriteIdentity(rocksdb::FileSystem& fs, const std::string& path, const Identity& identity);

// 32 random hex digits.
std::string NewStoreId();

}  // namespace strata::storage
