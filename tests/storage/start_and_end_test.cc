// What opening and closing leave on the disk. Each test cuts the power right behind them, in many ways: a copy of the
// disk for each seed.
#include "storage/files.h"
#include "storage/watermark.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

using testing::FaultFileSystem;

constexpr uint64_t kCuts = 24;
const std::string kWatermarkPath = std::string(kStorePath) + "/WATERMARK";

// The process is gone, and what it asks for while it is taken apart does not reach the disk any more.
void Kill(FaultFileSystem& fs, std::unique_ptr<Store>* store) {
  fs.CutAfterNextWrites(0);
  store->reset();
}

std::shared_ptr<FaultFileSystem> AfterCut(const FaultFileSystem& fs, uint64_t seed) {
  auto disk = fs.Clone();
  disk->PowerCut(seed);
  return disk;
}

// The group that the watermark of the only store on `fs` names.
std::optional<uint64_t> WatermarkCommit(FaultFileSystem& fs) {
  const auto identity = fs.Contents(std::string(kStorePath) + "/STRATA");
  if (!identity) return std::nullopt;
  const size_t at = identity->find("id ") + 3;
  std::string absent;
  const auto found = Watermark::Read(fs, kWatermarkPath, identity->substr(at, 32), &absent);
  if (!found.ok() || !*found) return std::nullopt;
  return (*found)->commit;
}

TEST_CASE("whatever a power cut leaves of a creation, what was synced is in it", "[start]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  options.separate_bytes = 500;
  auto store = MustOpen(options);
  // A store that is open is there, with its identity and its watermark, before the first group.
  for (uint64_t seed = 1; seed <= kCuts; ++seed) {
    INFO("power cut " << seed << " behind the opening");
    const auto disk = AfterCut(*fs, seed);
    CHECK(disk->Contents(std::string(kStorePath) + "/STRATA").has_value());
    CHECK(WatermarkCommit(*disk) == 0u);
  }
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  REQUIRE(scribe.Append(*store, 1, 3, 1000).ok());
  REQUIRE(store->Sync().ok());
  Kill(*fs, &store);
  for (uint64_t seed = 1; seed <= kCuts; ++seed) {
    INFO("power cut " << seed << " behind the first sync");
    options.file_system = AfterCut(*fs, seed);
    store = MustOpen(options);
    CHECK(store->TakeRecovered().commit == 2);
    CHECK(ReadAll(*store, 1, 1, 4).ids == Ids(1, 4));
    store.reset();
  }
}

TEST_CASE("a new store is known as one even if its log is lost", "[start]") {
  const auto fs = NewFaultFs();
  const StoreOptions options = TinyOptions(fs);
  auto store = MustOpen(options);
  Kill(*fs, &store);
  fs->ProcessKill();
  for (const std::string& file : fs->Files()) {
    if (file.ends_with(".log")) REQUIRE(fs->Remove(file));
  }
  store = MustOpen(options);
  CHECK(store->TakeRecovered().channels.empty());
}

// The kernel still has what was written and not synced, so the next open finds it and shows it: from then on it has
// to be there.
TEST_CASE("what a killed process left unsynced is on disk before it is shown", "[start]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  options.separate_bytes = 500;
  auto store = MustOpen(options);
  {
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    for (int i = 0; i < 4; ++i) {
      REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());  // in the body file
      REQUIRE(scribe.Append(*store, 1, 1, 100).ok());   // in the log
    }
  }
  Kill(*fs, &store);
  fs->ProcessKill();
  store = MustOpen(options);
  REQUIRE(ReadAll(*store, 1, 1, 9).ids == Ids(1, 9));
  Kill(*fs, &store);
  for (uint64_t seed = 1; seed <= kCuts; ++seed) {
    INFO("power cut " << seed);
    options.file_system = AfterCut(*fs, seed);
    store = MustOpen(options);
    const ReadBack read = ReadAll(*store, 1, 1, 9);
    CHECK(read.wrong == "");
    CHECK(read.gaps.empty());
    CHECK(read.ids == Ids(1, 9));
    store.reset();
  }
}

TEST_CASE("a clean end is on disk, and so is the watermark", "[end]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  // After an end that is not clean, a restart of the machine makes ids jump.
  options.sync = SyncPolicy::kNone;
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  for (int i = 0; i < 5; ++i) REQUIRE(scribe.Append(*store, 1, 2).ok());
  REQUIRE(store->Close().ok());
  Kill(*fs, &store);
  options.boot_id = "boot-2";
  for (uint64_t seed = 1; seed <= kCuts; ++seed) {
    INFO("power cut " << seed);
    const auto disk = AfterCut(*fs, seed);
    CHECK(WatermarkCommit(*disk) == scribe.commit());
    options.file_system = disk;
    store = MustOpen(options);
    const Recovered recovered = store->TakeRecovered();
    REQUIRE(recovered.channels.size() == 1);
    CHECK(recovered.channels[0].next_id == 11);
    CHECK(recovered.channels[0].record.lost.empty());
    store.reset();
  }
}

TEST_CASE("a watermark that was made again is there after a power cut", "[start]") {
  const auto fs = NewFaultFs();
  const StoreOptions options = TinyOptions(fs);
  auto store = MustOpen(options);
  REQUIRE(store->Close().ok());
  store.reset();
  REQUIRE(fs->Remove(kWatermarkPath));
  store = MustOpen(options);
  Kill(*fs, &store);
  for (uint64_t seed = 1; seed <= kCuts; ++seed) {
    INFO("power cut " << seed);
    CHECK(WatermarkCommit(*AfterCut(*fs, seed)).has_value());
  }
}

}  // namespace
}  // namespace strata::storage
