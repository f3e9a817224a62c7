// Small helpers over rocksdb::FileSystem, so that every file of a store goes through the injected one.
// Internal to storage.
#pragma once

#include <rocksdb/file_system.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace strata::storage {

// Names in a directory, sorted, without "." and "..". A missing directory has none: *exists says so.
Result<std::vector<std::string>> ListDirectory(rocksdb::FileSystem& fs, const std::string& path,
                                               bool* exists);

// An error if the disk does not say. Who took that for "no" would write a new file over the one that is there.
Result<bool> FileExists(rocksdb::FileSystem& fs, const std::string& path);
bool IsDirectory(rocksdb::FileSystem& fs, const std::string& path);

Result<std::string> ReadFile(rocksdb::FileSystem& fs, const std::string& path);

// Writes `contents` so that after a power cut there is either the old file or the whole new one: temporary file,
// sync, rename, sync of the directory.
Status ReplaceFile(rocksdb::FileSystem& fs, const std::string& directory, const std::string& name,
                   std::string_view contents);

Status CreateDirectory(rocksdb::FileSystem& fs, const std::string& path);
Status SyncDirectory(rocksdb::FileSystem& fs, const std::string& path);

// Bytes of all files below `path`; what vanishes meanwhile does not count.
uint64_t DirectoryBytes(rocksdb::FileSystem& fs, const std::string& path);

// The directory that holds `path`: "/var/lib" for "/var/lib/strata", "." for "strata".
std::string ParentOf(const std::string& path);

}  // namespace strata::storage
