// RocksDB's files, read without it: the same as it reads, and what it does not.
#include "storage/salvage.h"

#include <fmt/format.h>
#include <rocksdb/env.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <map>

#include "storage/salvage_bytes.h"
#include "storage/store.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::storage {
namespace {

using Rows = std::map<std::string, std::string>;

std::string KeyOf(int i) { return fmt::format("key-{:06}", i); }

// A table of 2,000 rows in blocks of 4 KiB.
std::string WriteTable(rocksdb::CompressionType compression,
                       rocksdb::BlockBasedTableOptions::IndexType index) {
  const testing::TempDir dir;
  rocksdb::Options options;
  options.compression = compression;
  rocksdb::BlockBasedTableOptions table;
  table.index_type = index;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options);
  const std::string path = dir / "table";
  REQUIRE(writer.Open(path).ok());
  for (int i = 0; i < 2000; ++i) {
    REQUIRE(writer.Put(KeyOf(i), PayloadOf(1, i, 100)).ok());
  }
  REQUIRE(writer.Finish().ok());
  std::string bytes;
  REQUIRE(rocksdb::ReadFileToString(rocksdb::Env::Default(), path, &bytes).ok());
  return bytes;
}

Rows ReadRows(const std::string& file, const TableLayout& layout) {
  Rows rows;
  for (const BlockHandle& block : layout.blocks) {
    ReadTableBlock(file, block, [&](const TableRow& row) { rows.emplace(row.key, row.value); });
  }
  return rows;
}

TEST_CASE("a table is read as RocksDB wrote it, with its index and without", "[salvage]") {
  using Index = rocksdb::BlockBasedTableOptions;
  for (const auto compression : {rocksdb::kNoCompression, rocksdb::kZSTD}) {
    for (const auto index : {Index::kBinarySearch, Index::kBinarySearchWithFirstKey}) {
      std::string file = WriteTable(compression, index);
      const TableLayout whole = ReadTableLayout(file);
      CHECK(whole.indexed);
      CHECK(whole.damage.empty());
      CHECK(whole.blocks.size() > 20);
      const Rows rows = ReadRows(file, whole);
      REQUIRE(rows.size() == 2000);
      for (int i = 0; i < 2000; ++i) REQUIRE(rows.at(KeyOf(i)) == PayloadOf(1, i, 100));

      file[whole.data_end + 20] ^= 1;  // the index, or what comes before it
      file[file.size() - 30] ^= 1;     // the footer
      file[file.size() - 2] ^= 1;
      const TableLayout broken = ReadTableLayout(file);
      CHECK_FALSE(broken.indexed);
      CHECK_FALSE(broken.damage.empty());
      CHECK(ReadRows(file, broken) == rows);

      const TableLayout cut = ReadTableLayout(file.substr(0, whole.data_end / 2));
      const size_t half = ReadRows(file, cut).size();
      CHECK(half > 900);
      CHECK(half <= 1000);
    }
  }
}

TEST_CASE("every flipped bit of a table is noticed", "[salvage]") {
  const std::string sound =
      WriteTable(rocksdb::kNoCompression, rocksdb::BlockBasedTableOptions::kBinarySearch);
  // All of the last part, where the index and the footer are, and some of the data.
  for (size_t at = 0; at < sound.size(); at += at + 3000 < sound.size() ? 997 : 1) {
    std::string file = sound;
    file[at] = static_cast<char>(file[at] ^ 0x10);
    const TableLayout layout = ReadTableLayout(file);
    bool noticed = !layout.damage.empty();
    for (const BlockHandle& block : layout.blocks) noticed |= !ReadTableBlock(file, block, nullptr);
    INFO("byte " << at << " of " << sound.size());
    REQUIRE(noticed);
  }
}

TEST_CASE("the records of a log behind a damaged one are read, and none that is not whole",
          "[salvage]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  options.write_buffer = 16u << 20;
  options.page_size = 1u << 20;  // one stratum: sealing begins a new log
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  for (int i = 0; i < 200; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  REQUIRE(store->Sync().ok());
  std::string file;
  for (const std::string& path : fs->Files()) {
    const std::string contents = *fs->Contents(path);
    if (path.ends_with(".log") && contents.size() > file.size()) file = contents;
  }
  std::vector<std::string> records;
  const LogInfo whole =
      ReadLog(file, [&](std::string_view record) { records.emplace_back(record); });
  CHECK(whole.damage.empty());
  REQUIRE(records.size() >= 201);
  file[file.size() / 2] ^= 1;
  std::vector<std::string> left;
  const LogInfo damaged =
      ReadLog(file, [&](std::string_view record) { left.emplace_back(record); });
  CHECK(damaged.damage.size() >= 1);
  CHECK(left.size() + 1 == records.size());
  for (const std::string& each : left) {
    CHECK(std::find(records.begin(), records.end(), each) != records.end());
  }
  CHECK(left.back() == records.back());
}

// A record of a log that is whole, from its checksum to its end.
std::string RecordOf(size_t size) {
  const std::string body = '\x01' + std::string(size - 7, 'e');  // with its type in front
  const uint32_t crc = MaskedCrc(rocksdb::crc32c::Extend(0, body.data(), body.size()));
  std::string record(reinterpret_cast<const char*>(&crc), sizeof(crc));
  record += {static_cast<char>((size - 7) & 0xff), static_cast<char>((size - 7) >> 8)};
  return record + body;
}

TEST_CASE("a sector that is missing is a tear, however little of it is the record's", "[salvage]") {
  // The bytes of the first sector's end that the second record has, then those of the last sector.
  for (const size_t in_front : {1, 4, 7, 100}) {
    for (const size_t behind : {8, 20, 63, 511}) {
      INFO(in_front << " in front, " << behind << " behind");
      std::string file = RecordOf(512 - in_front) + RecordOf(in_front + 512 + behind);
      CHECK(ReadLog(file, [](std::string_view) {}).damage.empty());
      for (const auto& [from, size] : {std::pair<size_t, size_t>(512 - in_front, in_front),
                                       std::pair<size_t, size_t>(1024, behind)}) {
        std::string torn = file;
        torn.replace(from, size, size, '\0');
        const LogInfo log = ReadLog(torn, [](std::string_view) {});
        REQUIRE(log.damage.size() == 1);
        CHECK(log.damage.front().torn);
      }
      file.back() ^= 1;
      const LogInfo rotten = ReadLog(file, [](std::string_view) {});
      REQUIRE(rotten.damage.size() == 1);
      CHECK_FALSE(rotten.damage.front().torn);
    }
  }
}

TEST_CASE("a MANIFEST lists the files that are there", "[salvage]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  for (int i = 0; i < 300; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  REQUIRE(store->Close().ok());
  store.reset();
  std::string current = *fs->Contents(std::string(kStorePath) + "/db/CURRENT");
  current.pop_back();
  const ManifestContents manifest =
      ReadManifest(*fs->Contents(std::string(kStorePath) + "/db/" + current));
  CHECK(manifest.damage.empty());
  std::map<uint64_t, uint64_t> listed;
  for (const auto& [number, file] : manifest.files) {
    listed[number] = file.size;
    CHECK(manifest.families.contains(file.family));
  }
  std::map<uint64_t, uint64_t> there;
  for (const std::string& path : fs->Files()) {
    if (!path.ends_with(".sst")) continue;
    there[std::strtoull(path.c_str() + path.rfind('/') + 1, nullptr, 10)] =
        fs->Contents(path)->size();
  }
  CHECK(listed == there);
  CHECK(listed.size() > 3);
}

}  // namespace
}  // namespace strata::storage
