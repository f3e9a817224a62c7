// RocksDB on the fault file system: a committed write survives, and the test would notice if it did
// not.

#include <rocksdb/db.h>

#include <algorithm>
#include <future>
#include <memory>
#include <set>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fault_fs_disk.h"

namespace strata::testing {
namespace {

constexpr int kWrites = 300;
constexpr int kGroup = 3;  // writes per sync
constexpr uint64_t kSeeds = 30;

class Database {
 public:
  explicit Database(const std::shared_ptr<FaultFileSystem>& fs) : env_(NewImpatientEnv(fs)) {
    rocksdb::Options options;
    options.env = env_.get();
    options.create_if_missing = true;
    options.write_buffer_size = 64 << 10;  // about five flushes and log switches per run
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    rocksdb::DB* db = nullptr;
    status_ = rocksdb::DB::Open(options, "/db", &db);
    db_.reset(db);
  }

  const rocksdb::Status& status() const { return status_; }
  bool Put(int i) {
    return db_->Put({}, Key(i), std::string(1000, static_cast<char>('a' + i % 26))).ok();
  }
  // Begins a flush, which goes on in another thread, and switches to a new log.
  bool BeginFlush() {
    rocksdb::FlushOptions options;
    options.wait = false;
    return db_->Flush(options).ok();
  }
  bool Sync() { return db_->SyncWAL().ok(); }
  bool Has(int i) {
    std::string value;
    return db_->Get({}, Key(i), &value).ok() &&
           value == std::string(1000, static_cast<char>('a' + i % 26));
  }

 private:
  static std::string Key(int i) { return "key" + std::to_string(i); }

  std::unique_ptr<rocksdb::Env> env_;  // outlives db_
  rocksdb::Status status_;
  std::unique_ptr<rocksdb::DB> db_;
};

std::shared_ptr<FaultFileSystem> FileSystemWithDatabaseDir() {
  auto fs = FaultFileSystem::Create();
  CHECK(fs->CreateDir("/db", {}, nullptr).ok());
  fs->SyncAll();
  return fs;
}

// Writes until the power goes. How many writes were promised to be durable.
int WriteUntilCut(Database& db, bool sync) {
  int promised = 0;
  for (int i = 0; i < kWrites; ++i) {
    if (!db.Put(i)) break;
    if (i % kGroup != kGroup - 1) continue;
    if (sync && !db.Sync()) break;
    promised = i + 1;
  }
  return promised;
}

// How many promised writes are gone after a power cut at a point the seed chooses.
int LostWrites(uint64_t seed, bool sync, uint64_t calls_per_run) {
  auto fs = FileSystemWithDatabaseDir();
  int promised = 0;
  {
    Database db(fs);
    REQUIRE(db.status().ok());
    CutRandom random(seed);
    fs->CutAfterNextWrites(1 + random.Below(calls_per_run));
    promised = WriteUntilCut(db, sync);
    fs->CutAfterNextWrites(0);
  }
  fs->PowerCut(seed);
  Database db(fs);
  INFO("seed " << seed << ": " << db.status().ToString());
  // A hole inside the last, unsynced edit of its MANIFEST is more than RocksDB gets over by itself
  // (about one history in 4,000; storage/manifest.h does it). Nothing is said to be lost by that.
  if (db.status().IsCorruption() && db.status().ToString().find("MANIFEST") != std::string::npos) {
    return 0;
  }
  REQUIRE(db.status().ok());
  int have = 0;
  while (have < kWrites && db.Has(have)) ++have;
  return std::max(0, promised - have);
}

uint64_t CallsPerRun(bool sync) {
  auto fs = FileSystemWithDatabaseDir();
  Database db(fs);
  REQUIRE(db.status().ok());
  const uint64_t before = fs->Mutations();
  REQUIRE(WriteUntilCut(db, sync) == kWrites);
  return fs->Mutations() - before;
}

TEST_CASE(
    "RocksDB keeps every synced write through power cuts, and some seed shows a missing sync") {
  const uint64_t synced_calls = CallsPerRun(true);
  const uint64_t unsynced_calls = CallsPerRun(false);
  int lost_without_sync = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    CHECK(LostWrites(seed, true, synced_calls) == 0);
    lost_without_sync += LostWrites(seed, false, unsynced_calls);
  }
  CHECK(lost_without_sync > 0);
}

// What the store must not rely on. The synced length of the old log is the end of a record, so
// recovery cannot see that something behind it is missing, and goes on with the next log.
TEST_CASE("RocksDB can lose an unsynced write and keep a later one from the next log") {
  auto fs = FileSystemWithDatabaseDir();
  std::shared_ptr<FaultFileSystem> history;
  {
    Database db(fs);
    REQUIRE(db.status().ok());
    REQUIRE(db.Put(0));
    REQUIRE(db.Sync());
    REQUIRE(db.Put(1));
    std::promise<void> hold;
    std::shared_future<void> held = hold.get_future().share();
    fs->SetEventCallback([held](const Event& event) {
      if (!event.done && event.op == kCreate && event.path.ends_with(".sst")) held.wait();
    });
    const bool written = db.BeginFlush() && db.Put(2);
    history = fs->Clone();
    hold.set_value();
    REQUIRE(written);
  }
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    auto after = history->Clone();
    after->PowerCut(seed);
    Database db(after);
    REQUIRE(db.status().ok());
    std::string outcome;
    for (int i = 0; i < 3; ++i) outcome += db.Has(i) ? std::to_string(i) : "-";
    outcomes.insert(outcome);
  }
  CHECK(outcomes == std::set<std::string>{"0--", "01-", "012", "0-2"});
}

TEST_CASE("RocksDB reports an injected log error as it was injected") {
  auto fs = FileSystemWithDatabaseDir();
  Database db(fs);
  REQUIRE(db.status().ok());
  fs->FailNext({.ops = kAppend, .name = ".log"});
  CHECK_FALSE(db.Put(0));
  CHECK(fs->InjectedErrors() == 1);
}

}  // namespace
}  // namespace strata::testing
