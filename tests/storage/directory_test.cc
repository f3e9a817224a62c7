// Directories that are not ours are recognised and left exactly as they are.
#include "storage/directory.h"

#include <rocksdb/db.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/storage/raw_database.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

namespace stdfs = std::filesystem;

void Write(const stdfs::path& path, const std::string& text) {
  stdfs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// Every file below `path` with its contents; directories with an empty one.
std::map<std::string, std::string> Snapshot(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& each : stdfs::recursive_directory_iterator(path)) {
    std::string& contents = files[each.path()];
    if (!each.is_regular_file()) continue;
    std::ifstream in(each.path());
    contents = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

StoreOptions RealOptions(const std::string& path) {
  StoreOptions options = TinyOptions(nullptr);
  options.path = path;
  return options;
}

// Opening must fail with `reason`, say `part`, and change nothing.
void CheckRefused(const std::string& path, Reason reason, const std::string& part) {
  const auto before = Snapshot(path);
  const auto store = Store::Open(RealOptions(path));
  REQUIRE_FALSE(store.ok());
  INFO(store.status().ToString());
  CHECK(store.status().reason() == reason);
  CHECK(store.status().message().find(part) != std::string::npos);
  CHECK(store.status().message().find(path) != std::string::npos);
  CHECK(Snapshot(path) == before);
}

void CreateRocksDb(const std::string& path, const std::vector<std::string>& families) {
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  REQUIRE(rocksdb::DB::Open(options, path, &db).ok());
  for (const std::string& family : families) {
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    REQUIRE(db->CreateColumnFamily(options, family, &handle).ok());
    REQUIRE(db->DestroyColumnFamilyHandle(handle).ok());
  }
  delete db;
}

TEST_CASE("a RocksDB database is refused as one", "[directory]") {
  const TemporaryFolder folder;
  CreateRocksDb(folder.path() + "/other", {});
  CheckRefused(folder.path() + "/other", Reason::FOREIGN_DIRECTORY,
               "looks like a RocksDB database");
}

TEST_CASE("a RocksMQ database is recognised by its family, its name or its neighbour",
          "[directory]") {
  const TemporaryFolder folder;
  CreateRocksDb(folder.path() + "/messages", {"properties"});
  CheckRefused(folder.path() + "/messages", Reason::FOREIGN_DIRECTORY, "RocksMQ");
  CreateRocksDb(folder.path() + "/rdb_data", {});
  CheckRefused(folder.path() + "/rdb_data", Reason::FOREIGN_DIRECTORY, "RocksMQ");
  CreateRocksDb(folder.path() + "/mq", {});
  CreateRocksDb(folder.path() + "/mq_meta_kv", {});
  CheckRefused(folder.path() + "/mq", Reason::FOREIGN_DIRECTORY, "RocksMQ");
}

TEST_CASE("the stores of NATS and Kafka are recognised", "[directory]") {
  const TemporaryFolder folder;
  Write(folder.path() + "/nats/jetstream/$G/x", "1");
  CheckRefused(folder.path() + "/nats", Reason::FOREIGN_DIRECTORY, "JetStream");
  Write(folder.path() + "/kafka/meta.properties", "1");
  CheckRefused(folder.path() + "/kafka", Reason::FOREIGN_DIRECTORY, "Kafka");
  Write(folder.path() + "/segment/00000000.log", "1");
  Write(folder.path() + "/segment/00000000.index", "1");
  CheckRefused(folder.path() + "/segment", Reason::FOREIGN_DIRECTORY, "Kafka");
}

TEST_CASE("anything else is refused by naming what is there", "[directory]") {
  const TemporaryFolder folder;
  for (const char* name : {"a.txt", "b.txt", "c.txt", "d.txt"})
    Write(folder.path() + "/docs/" + name, "1");
  CheckRefused(folder.path() + "/docs", Reason::FOREIGN_DIRECTORY,
               "'a.txt', 'b.txt', 'c.txt' and 1 more");
  // A folder `db` of somebody else's is not an interrupted creation.
  Write(folder.path() + "/app/db/data.mdb", "1");
  CheckRefused(folder.path() + "/app", Reason::FOREIGN_DIRECTORY, "'db'");
}

TEST_CASE("an empty directory, lost+found and an interrupted creation are taken", "[directory]") {
  const TemporaryFolder folder;
  stdfs::create_directories(folder.path() + "/empty");
  stdfs::create_directories(folder.path() + "/mount/lost+found");
  Write(folder.path() + "/cut/db/LOCK", "");
  Write(folder.path() + "/cut/STRATA.tmp", "strata sto");
  Write(folder.path() + "/half/STRATA",
        "strata store\nformat 1\nid 0123456789abcdef0123456789abcdef\nstate creating\n");
  Write(folder.path() + "/half/db/MANIFEST-000001", "half");
  for (const char* name : {"/empty", "/mount", "/cut", "/half", "/missing"}) {
    INFO(name);
    auto store = MustOpen(RealOptions(folder.path() + name));
    CHECK(store->Close().ok());
    store.reset();
    CHECK(MustOpen(RealOptions(folder.path() + name)) != nullptr);
  }
}

TEST_CASE("a store of a newer format is refused untouched", "[directory]") {
  const TemporaryFolder folder;
  // What follows the format line may be of a kind that this version has never seen.
  Write(folder.path() + "/STRATA", "strata store\nformat 3\nshards 16\n");
  Write(folder.path() + "/db/CURRENT", "x");
  CheckRefused(folder.path(), Reason::FORMAT_TOO_NEW, "format 3");
}

TEST_CASE("a store of an older format is read, and is of this one from then on", "[directory]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  const std::string path = std::string(kStorePath) + "/STRATA";
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  REQUIRE(scribe.Append(*store, 1, 3).ok());
  REQUIRE(store->Close().ok());
  store.reset();
  std::string identity = *fs->Contents(path);
  const size_t at = identity.find("format 2");
  REQUIRE(at != std::string::npos);
  identity[at + 7] = '1';
  REQUIRE(fs->Put(path, identity));
  store = MustOpen(TinyOptions(fs));
  CHECK(ReadAll(*store, 1, 1, 4).ids == Ids(1, 4));
  CHECK(fs->Contents(path)->find("format 2") == at);
}

TEST_CASE("a newer format in the catalog alone is refused too", "[directory]") {
  const auto fs = NewFaultFs();
  MustOpen(TinyOptions(fs)).reset();
  RawDatabase(fs).PutCatalogRow("F", "\x08\x09");  // FormatRow{format: 9}
  CHECK(Store::Open(TinyOptions(fs)).status().reason() == Reason::FORMAT_TOO_NEW);
}

TEST_CASE("a damaged identity file is reported with file and line", "[directory]") {
  const TemporaryFolder folder;
  Write(folder.path() + "/STRATA", "strata store\nformat 1\nid xyz\nstate ready\n");
  CheckRefused(folder.path(), Reason::CORRUPTION, "STRATA:1: the line 'id'");
  Write(folder.path() + "/STRATA", "strata store\nformat one\n");
  CheckRefused(folder.path(), Reason::CORRUPTION, "STRATA:2: a format");
  Write(folder.path() + "/STRATA", "gibberish");
  CheckRefused(folder.path(), Reason::CORRUPTION, "STRATA:1: not a Strata");
}

TEST_CASE("nothing is created unless asked for, and never a missing parent", "[directory]") {
  const TemporaryFolder folder;
  StoreOptions options = RealOptions(folder.path() + "/store");
  options.create_if_missing = false;
  CHECK(Store::Open(options).status().reason() == Reason::IO_ERROR);
  CHECK(Snapshot(folder.path()).empty());
  options.create_if_missing = true;
  options.path = folder.path() + "/no/such/parent";
  CHECK(Store::Open(options).status().message().find("create it first") != std::string::npos);
  CHECK(Snapshot(folder.path()).empty());
}

}  // namespace
}  // namespace strata::storage
