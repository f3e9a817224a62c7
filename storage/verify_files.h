// The part of verify that looks at files one by one, before RocksDB is asked. Internal to storage.
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "storage/directory.h"

namespace strata::storage {

struct FileFindings {
  // Told of each: where, what. A remark is of something that is out of order and that nothing depends on, or that a
  // power cut leaves in a sound store.
  std::function<void(std::string where, std::string what)> problem;
  std::function<void(std::string where, std::string what)> remark;
  std::function<void(uint64_t bytes)> progress;  // read since the last time
};

// Every byte of table files, logs, the MANIFEST and the watermark of the store at `path`. Returns the files that say
// nothing, so that no damage in them could be found, nor would it matter.
std::vector<std::string> CheckFiles(rocksdb::FileSystem& fs, const std::string& path,
                                    const Identity& identity, const FileFindings& findings);

}  // namespace strata::storage
