// Rewrites and the log: what a replay after a power cut makes of moved pages, and what has to be synced before.
#include <thread>

#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

// Without a spare the stratum stays, and spares come from the maintenance thread: again, then.
void Seal(Store& store, Scribe& scribe) {
  for (int attempt = 0; attempt < 100'000; ++attempt) {
    REQUIRE(store.Write(scribe.Begin().Change(SealStratum{}).group()).ok());
    if (store.DescribeStrata().back().raw_bytes == 0) return;
    std::this_thread::yield();
  }
  FAIL("no spare came");
}

RewriteRequest All(const Store& store) {
  RewriteRequest request;
  request.pace = [](uint64_t) { return true; };
  for (const StratumInfo& stratum : store.DescribeStrata()) {
    if (stratum.sealed_at > 0) request.strata.push_back(stratum.number);
  }
  return request;
}

void CheckReadable(Store& store, MessageId next) {
  const ReadBack read = ReadAll(store, 1, 1, next);
  CHECK(read.wrong.empty());
  CHECK(read.gaps.empty());
  CHECK(read.ids == Ids(1, next));
}

TEST_CASE("groups that were synced after pages moved are there after a power cut") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "c").ok());
  for (int i = 0; i < 3; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1'000).ok());
  Seal(*store, scribe);
  // No flush of the background may come behind the group that moves them: it would not be replayed then.
  REQUIRE(store->Close().ok());
  store.reset();
  store = MustOpen(TinyOptions(fs));
  scribe = Scribe(*store);
  const Result<RewriteResult> result = store->Rewrite(All(*store));
  REQUIRE(result.ok());
  REQUIRE(result->changes.size() == 1);
  REQUIRE(store->Write(scribe.Begin().Change(result->changes[0]).group()).ok());
  // A replay takes the number of the group that moved them for an older one: then this one is behind a hole.
  for (int i = 0; i < 3; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1'000).ok());
  REQUIRE(store->Sync().ok());
  // Or the end of the store would flush everything, and nothing would be replayed.
  fs->CutAfterNextWrites(0);
  store.reset();
  fs->PowerCut(1);
  store = MustOpen(TinyOptions(fs));
  CheckReadable(*store, 7);
}

// To RocksDB a new family is newer than every log file before it. With table files in it, and one of those torn by a
// power cut, the database does not open: "SST file is ahead of WALs".
TEST_CASE("rewritten files join a stratum only when the log is synced up to its creation") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "c").ok());
  REQUIRE(scribe.Append(*store, 1, 1, 1'000).ok());
  Seal(*store, scribe);
  // Nothing is left to do in the background.
  REQUIRE(store->Close().ok());
  store.reset();
  store = MustOpen(TinyOptions(fs));
  scribe = Scribe(*store);
  REQUIRE(scribe.Append(*store, 1, 1, 1'000).ok());  // not synced
  const uint64_t before = fs->SyncCount(".log");
  uint64_t at_ingestion = 0;
  fs->SetEventCallback([&](const testing::Event& event) {
    const bool links = (event.op == testing::kCreate || event.op == testing::kRename) &&
                       event.path.find("rewrite-") != std::string::npos &&
                       event.path.find(" -> ") != std::string::npos;
    if (links && at_ingestion == 0) at_ingestion = fs->SyncCount(".log");
  });
  const Result<RewriteResult> result = store->Rewrite(All(*store));
  fs->SetEventCallback(nullptr);
  REQUIRE(result.ok());
  CHECK(at_ingestion == before + 1);
}

// RocksDB does not look whether it could read the first and the last block of a file that it adds: without the last one
// it ended the process, without the first one it took the file for empty.
TEST_CASE("whichever read of a rewritten file fails, nothing is lost, and nothing half added") {
  uint64_t skip = 0;
  for (bool failed = true; failed; ++skip) {
    INFO("reads that succeed first: " << skip);
    const auto fs = NewFaultFs();
    auto store = MustOpen(TinyOptions(fs));
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "c").ok());
    // Three blocks of 64 KiB in the new file.
    for (int i = 0; i < 8; ++i) REQUIRE(scribe.Append(*store, 1, 1, 20'000).ok());
    Seal(*store, scribe);
    REQUIRE(store->Sync().ok());
    fs->FailNext({.ops = testing::kRead,
                  .name = "rewrite-",
                  .skip = skip,
                  .count = testing::Fault::kSticky});
    const Result<RewriteResult> result = store->Rewrite(All(*store));
    failed = fs->InjectedErrors() > 0;
    fs->ClearFaults();
    if (!failed) REQUIRE(result.ok());
    if (result.ok()) {
      REQUIRE(result->changes.size() == 1);
      REQUIRE(store->Write(scribe.Begin().Change(result->changes[0]).group()).ok());
      REQUIRE(store->Sync().ok());
    }
    CheckReadable(*store, 9);
    store.reset();
    store = MustOpen(TinyOptions(fs));
    CheckReadable(*store, 9);
  }
  CHECK(skip > 4);
}

}  // namespace
}  // namespace strata::storage
