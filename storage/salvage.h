// Salvage: RocksDB's files, read without RocksDB.
//
// RocksDB refuses a table file with one rotten index byte as a whole, a database with one damaged MANIFEST, and a log
// from its first damage on; and Debian's build of it aborts on some damage, because its assertions are on. What is
// readable in such files is read here: every block and every record carries a checksum of its own, so what is handed
// out is what was written. Used by repair and verify, and before RocksDB opens a store.
//
//   table file   data block* | meta blocks | index | footer     each block: bytes, compression, checksum
//                The index says where the blocks are. Is it damaged, or cut off, they are found one behind the other
//                from the start of the file: a block's end is recognized by its shape and proven by its checksum.
//   log          blocks of 32 KiB of records, each with a checksum; a record is a WriteBatch. Behind a damaged one
//                reading goes on where the next one proves itself.
//   MANIFEST     a log whose records are edits of the list of files.
//
// What these formats look like is part of RocksDB's own compatibility promise; tests compare with what it writes.
// Pure functions over bytes; thread-safe. Internal to storage.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace strata::storage {

// A row of a table file: of one key there may be several, the one with the highest sequence counts.
struct TableRow {
  std::string_view key;
  std::string_view value;  // valid during the call
  uint64_t sequence = 0;
  bool deleted = false;
};

struct FileDamage {
  uint64_t offset = 0;
  std::string what;
  bool torn = false;  // looks like the end of what a power cut interrupted, rather than rot
};

struct BlockHandle {
  uint64_t offset = 0;
  uint64_t size = 0;  // without the 5 bytes behind it
};

// Where everything in a table file is.
struct TableLayout {
  bool indexed = false;  // the index is readable: `blocks` are all there are
  std::vector<BlockHandle> blocks;
  uint64_t data_end = 0;  // of the last of them
  std::string family;  // of which column family it is; empty: unknown, its properties are damaged
  std::vector<FileDamage>
      damage;  // outside of data blocks: footer, index, meta blocks, and bytes that are in none
};
TableLayout ReadTableLayout(std::string_view file);

// Calls `row` for each row of the block, in order. False: it is damaged, and `row` was not called.
bool ReadTableBlock(std::string_view file, const BlockHandle& block,
                    const std::function<void(const TableRow&)>& row);

// Of a log, or a MANIFEST.
struct LogInfo {
  uint64_t records = 0;
  std::vector<FileDamage> damage;  // a cut-off last record among it
};
// Calls `record` for each whole one, in order.
LogInfo ReadLog(std::string_view file, const std::function<void(std::string_view)>& record);

struct ManifestFile {
  uint32_t family = 0;
  uint64_t size = 0;
};
// What a MANIFEST lists.
struct ManifestContents {
  std::map<uint64_t, ManifestFile> files;    // by number: 123 is 000123.sst
  std::map<uint32_t, std::string> families;  // by RocksDB's own number of each
  std::map<uint32_t, uint64_t> log_numbers;  // of each family: older logs hold nothing of it
  uint64_t min_log = 0;                      // 0: not said
  std::vector<FileDamage> damage;            // with any, the rest is only a part
};
ManifestContents ReadManifest(std::string_view file);

}  // namespace strata::storage
