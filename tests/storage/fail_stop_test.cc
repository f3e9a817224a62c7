// Fail-stop: whatever call fails first, nothing aborts, nothing more is written, reads go on, and after a restart
// everything that was synced is there.
#include <fmt/format.h>

#include <atomic>
#include <random>
#include <thread>

#include "storage/fail_latch.h"
#include "tests/storage/model.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

using testing::Fault;
using testing::FaultFileSystem;
using testing::Op;

rocksdb::IOStatus Retryable() {
  rocksdb::IOStatus status = rocksdb::IOStatus::IOError("disk unplugged");
  status.SetRetryable(true);
  return status;
}

// What happened until the store failed, or did not.
struct Run {
  Model written;  // with all that Write() was given
  std::vector<WriteGroup> groups;
  uint64_t synced = 0;
  Status write_status;
  Status sync_status;
};

// Appends on this thread and syncs on another until the store fails.
Run WriteUntilFailed(Store& store, std::mt19937_64& random, int max_groups) {
  Run run;
  for (ChannelNumber channel = 1; channel <= 3; ++channel) {
    WriteGroup group;
    group.commit = run.written.commit() + 1;
    group.changes.push_back(PutChannel{MakeChannel(channel, fmt::format("channel-{}", channel))});
    run.written.Apply(group);
    run.groups.push_back(group);
    if (!(run.write_status = store.Write(group)).ok()) return run;
  }
  std::atomic<uint64_t> written{run.written.commit()};
  std::atomic<uint64_t> synced{0};
  std::atomic<bool> stop{false};
  Status sync_status;
  std::thread syncer([&] {
    while (!stop) {
      const uint64_t commit = written;
      sync_status = store.Sync();
      if (!sync_status.ok()) break;
      synced = commit;
    }
  });
  for (int i = 0; i < max_groups && run.write_status.ok(); ++i) {
    WriteGroup group;
    group.commit = run.written.commit() + 1;
    group.batches.push_back(
        run.written.NextBatch(run.written.RandomChannel(random), 1 + random() % 3, random() % 900));
    run.written.Apply(group);
    run.groups.push_back(group);
    run.write_status = store.Write(group);
    written = group.commit;
    if (i % 8 == 0) store.NoteAcknowledged({{1, run.written.next_id(1)}});
  }
  stop = true;
  syncer.join();
  run.sync_status = sync_status;
  run.synced = synced;
  return run;
}

// Closes the failed store and says what that changed on disk. A thread that was just inside a call when another one
// failed may finish it; none may begin a second.
std::string CloseWatched(FaultFileSystem& fs, std::unique_ptr<Store> store) {
  Mutex mu;
  std::map<std::thread::id, int> begun;
  std::string changes;
  fs.SetEventCallback([&](const testing::Event& event) {
    if ((event.op & testing::kMutation) == 0 || event.done) return;
    MutexLock lock(mu);
    if (++begun[std::this_thread::get_id()] > 1) {
      changes = "the disk was changed after the failure: " + event.path;
    }
  });
  if (store->Close().ok()) changes = "closing after the failure reported success";
  store.reset();
  fs.SetEventCallback(nullptr);
  if (begun.contains(std::this_thread::get_id()))
    changes = "closing changed the disk after the failure";
  return changes;
}

// Everything that must hold once the store has failed and after it was opened again.
std::string Check(const std::shared_ptr<FaultFileSystem>& fs, const StoreOptions& options,
                  std::unique_ptr<Store> store, const Run& run, bool power_cut, uint64_t seed) {
  if (!store->failed()) return "the store has not failed";
  for (const Status& status : {store->failure(), store->Sync(), store->Write(run.groups.front())}) {
    if (status.reason() != Reason::STORE_FAILED) return "after the failure: " + status.ToString();
  }
  // What was written until then can be read.
  Model synced;
  for (const WriteGroup& group : run.groups) {
    if (group.commit <= run.synced) synced.Apply(group);
  }
  for (const auto& [channel, state] : synced.channels()) {
    const ReadBack back = ReadAll(*store, channel, 1, state.next_id);
    if (!back.wrong.empty() || back.ids != Ids(1, state.next_id)) {
      return fmt::format("channel {} cannot be read after the failure: {}", channel, back.wrong);
    }
  }
  const std::string changes = CloseWatched(*fs, std::move(store));
  if (!changes.empty()) return changes;

  fs->ClearFaults();
  fs->SetUnlimitedSpace();
  if (power_cut) {
    fs->PowerCut(seed);
  } else {
    fs->ProcessKill();
  }
  auto again = Store::Open(options);
  if (!again.ok()) return "does not open again: " + again.status().ToString();
  const Recovered recovered = (*again)->TakeRecovered();
  if (recovered.commit < run.synced) return "lost a synced group";
  Model expected;
  for (const WriteGroup& group : run.groups) {
    if (group.commit <= recovered.commit) expected.Apply(group);
  }
  return expected.Adopt(**again, recovered, false);
}

struct Case {
  const char* name;
  uint32_t ops;
  const char* path;
};

const Case kCases[] = {
    {"append to the log", Op::kAppend, ".log"},
    {"sync of the log", Op::kSync, ".log"},
    {"creation of a log", Op::kCreate, ".log"},
    {"append to a table", Op::kAppend, ".sst"},
    {"sync of a table", Op::kSync, ".sst"},
    {"creation of a table", Op::kCreate, ".sst"},
    {"append to the manifest", Op::kAppend, "MANIFEST"},
    {"sync of the manifest", Op::kSync, "MANIFEST"},
    {"rename", Op::kRename, ""},
    {"append to the options", Op::kAppend, "OPTIONS"},
    {"sync of a directory", Op::kDirSync, ""},
    {"deletion", Op::kDelete, ""},
    {"write of the watermark", Op::kOverwrite, "WATERMARK"},
    {"any change", testing::kMutation, ""},
};

TEST_CASE(
    "after the first failure nothing is written, reads go on, and a restart has what was synced",
    "[fail-stop]") {
  const rocksdb::IOStatus kinds[] = {rocksdb::IOStatus::IOError(""), rocksdb::IOStatus::NoSpace(),
                                     Retryable()};
  for (const Case& each : kCases) {
    int met = 0;
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      std::mt19937_64 random(seed);
      const auto fs = NewFaultFs();
      const StoreOptions options = TinyOptions(fs);
      auto store = MustOpen(options);
      Fault fault;
      fault.ops = each.ops;
      fault.name = each.path;
      fault.status = kinds[seed % 3];
      fault.skip = seed < 4 ? 0 : random() % 20;
      fault.count = seed % 2 == 0 ? 1 : Fault::kSticky;
      fault.partial_bytes = seed % 4 == 3 ? random() % 100 : 0;
      fs->FailNext(fault);
      const Run run = WriteUntilFailed(*store, random, 400);
      if (fs->InjectedErrors() == 0) continue;
      ++met;
      const std::string wrong = Check(fs, options, std::move(store), run, seed % 2 == 0, seed);
      INFO(each.name << ", seed " << seed << ": " << wrong);
      REQUIRE(wrong.empty());
    }
    INFO(each.name << " was never made to fail");
    REQUIRE(met > 0);
  }
}

// SyncWAL() is on the first of two logs when an append to the second one fails: RocksDB, if it heard of that, would
// abort the process as it comes to the second one.
TEST_CASE("a sync of two logs outlives an append that fails meanwhile", "[fail-stop]") {
  const auto fs = NewFaultFs();
  const StoreOptions options = TinyOptions(fs);
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());

  enum class Step { kWaitForFlush, kFlushIsHeld, kSecondLog, kSyncing, kFailed };
  std::atomic<Step> step = Step::kWaitForFlush;
  std::atomic<int> logs = 0;
  Status appended;
  fs->SetEventCallback([&](const testing::Event& event) {
    if (event.done) return;
    const bool is_log = event.path.ends_with(".log");
    if (event.op == Op::kCreate && event.path.ends_with(".sst") && step < Step::kFailed) {
      // The one thread that flushes would sync the older log, and leave one for SyncWAL().
      auto expected = Step::kWaitForFlush;
      step.compare_exchange_strong(expected, Step::kFlushIsHeld);
      while (step < Step::kFailed) std::this_thread::yield();
    } else if (event.op == Op::kCreate && is_log) {
      ++logs;
      auto expected = Step::kFlushIsHeld;
      step.compare_exchange_strong(expected, Step::kSecondLog);
    } else if (event.op == Op::kSync && is_log && step == Step::kSecondLog) {
      step = Step::kSyncing;
      fs->FailNext({.ops = Op::kAppend, .name = ".log"});
      appended = scribe.Append(*store, 1);
      step = Step::kFailed;
    }
  });
  for (int i = 0; i < 200 && logs == 0; ++i) REQUIRE(scribe.Append(*store, 1, 1, 900).ok());
  REQUIRE(Eventually([&] { return step >= Step::kFlushIsHeld; }));
  for (int i = 0; i < 200 && step == Step::kFlushIsHeld; ++i) {
    REQUIRE(scribe.Append(*store, 1, 1, 900).ok());
  }
  const bool ready = step == Step::kSecondLog;
  const Status synced = store->Sync();
  step = Step::kFailed;  // lets the flush go, whatever happened
  fs->SetEventCallback(nullptr);
  REQUIRE(ready);
  CHECK(appended.reason() == Reason::STORE_FAILED);
  CHECK(appended.fate() == DataFate::kMayHaveBeenAppended);
  CHECK(synced.reason() == Reason::STORE_FAILED);
  CHECK(fs->InjectedErrors() == 1);
}

TEST_CASE("a flush that cannot read what it wrote is fail-stop at once", "[fail-stop]") {
  for (const bool retryable : {false, true}) {
    CAPTURE(retryable);
    const auto fs = NewFaultFs();
    const StoreOptions options = TinyOptions(fs);
    auto store = MustOpen(options);
    Fault fault;
    fault.ops = Op::kOpen;
    fault.name = ".sst";
    fault.status = retryable ? Retryable() : rocksdb::IOStatus::IOError("");
    fs->FailNext(fault);
    std::mt19937_64 random(1);
    const Run run = WriteUntilFailed(*store, random, 2000);
    REQUIRE(fs->InjectedErrors() == 1);
    CHECK_THAT(store->failure().message(), Catch::Contains("in the background"));
    const std::string wrong = Check(fs, options, std::move(store), run, /*power_cut=*/true, 1);
    CHECK(wrong.empty());
  }
}

TEST_CASE("a full disk is fail-stop, and with space the store opens again", "[fail-stop]") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    const auto fs = NewFaultFs();
    const StoreOptions options = TinyOptions(fs);
    auto store = MustOpen(options);
    fs->SetFreeSpace(random() % 200'000);
    const Run run = WriteUntilFailed(*store, random, 2000);
    CHECK(store->failure().message().find("free space") != std::string::npos);
    const std::string wrong = Check(fs, options, std::move(store), run, seed % 2 == 0, seed);
    INFO("seed " << seed << ": " << wrong);
    REQUIRE(wrong.empty());
  }
}

TEST_CASE("the failure names the file, what was done and the system's reason", "[fail-stop]") {
  const auto fs = NewFaultFs();
  LogLines lines;
  StoreOptions options = TinyOptions(fs);
  options.log = lines.logger();
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  fs->FailNext({.ops = Op::kSync, .name = ".log", .status = rocksdb::IOStatus::IOError("")});
  REQUIRE(scribe.Append(*store, 1).ok());
  const Status status = store->Sync();
  CHECK(status.reason() == Reason::STORE_FAILED);
  CHECK(status.fate() == DataFate::kMayHaveBeenAppended);
  CHECK(status.message().find("syncing /data/store/db/") != std::string::npos);
  CHECK(status.message().find("injected") != std::string::npos);
  CHECK(lines.Contains("injected"));
  // Refused before it could reach the disk.
  CHECK(scribe.Append(*store, 1).fate() == DataFate::kNotAppended);
}

// RocksDB does not hear of it. Under interval and none the answer to this write is the acknowledgement.
TEST_CASE("a write that could not reach the log is not answered with OK, and nothing of it is seen",
          "[fail-stop]") {
  const auto fs = NewFaultFs();
  const StoreOptions options = TinyOptions(fs);
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  REQUIRE(scribe.Append(*store, 1).ok());
  fs->FailNext({.ops = Op::kAppend, .name = ".log"});
  const Status status = scribe.Append(*store, 1);
  CHECK(status.reason() == Reason::STORE_FAILED);
  CHECK(status.fate() == DataFate::kMayHaveBeenAppended);
  CHECK(store->Pages(1).back().next == 2);
}

TEST_CASE("after the first failure no call that changes a file reaches the disk", "[fail-stop]") {
  const auto fs = NewFaultFs();
  const auto latch = std::make_shared<FailLatch>(Logger());
  const auto latched = NewLatchedFileSystem(fs, latch, "");
  const rocksdb::IOOptions io;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  REQUIRE(latched->NewWritableFile("/data/a.sst", rocksdb::FileOptions(), &file, nullptr).ok());
  latch->Fail("the first failure");
  const uint64_t before = fs->Mutations();
  CHECK_FALSE(file->Append("bytes", io, nullptr).ok());
  CHECK_FALSE(file->Sync(io, nullptr).ok());
  CHECK_FALSE(latched->RenameFile("/data/a.sst", "/data/b.sst", io, nullptr).ok());
  CHECK_FALSE(latched->DeleteFile("/data/a.sst", io, nullptr).ok());
  CHECK_FALSE(latched->CreateDir("/data/more", io, nullptr).ok());
  CHECK(fs->Mutations() == before);
}

TEST_CASE("an error in reading is reported and does not stop the store", "[fail-stop]") {
  const auto fs = NewFaultFs();
  {
    auto store = MustOpen(TinyOptions(fs));
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    REQUIRE(scribe.Append(*store, 1, 10).ok());
  }
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  fs->FailNext({.ops = Op::kRead, .name = ".sst", .status = rocksdb::IOStatus::IOError("")});
  const auto items = store->Read(1, 1, 11, 1000);
  REQUIRE_FALSE(items.ok());
  CHECK(items.status().reason() == Reason::IO_ERROR);
  CHECK(fs->InjectedErrors() == 1);
  CHECK_FALSE(store->failed());
  CHECK(ReadAll(*store, 1, 1, 11).ids == Ids(1, 11));
  CHECK(scribe.Append(*store, 1).ok());
  CHECK(store->Sync().ok());
}

// Several seeks find the batch that an id lies in.
TEST_CASE("whichever read of the disk fails, a reader that begins inside a batch hears of it",
          "[fail-stop]") {
  const auto fs = NewFaultFs();
  constexpr uint32_t kBatch = 7;
  MessageId next = 1;
  for (int life = 0; life < 4; ++life) {  // each leaves a table file with a part of the page
    auto store = MustOpen(TinyOptions(fs));
    Scribe scribe(*store);
    if (life == 0) {
      REQUIRE(scribe.Create(*store, 1, "logs").ok());
      REQUIRE(scribe.Create(*store, 2, "others").ok());
    }
    for (int i = 0; i < 5; ++i) {
      REQUIRE(scribe.Append(*store, 1, kBatch, 1).ok());
      REQUIRE(scribe.Append(*store, 2, kBatch, 1).ok());
    }
    next = scribe.next_id(1);
  }
  auto store = MustOpen(TinyOptions(fs));
  uint64_t met = 0;
  for (MessageId id = 1; id < next; ++id) {
    for (uint64_t skip = 0;; ++skip) {
      INFO("from " << id << ", reads that succeed first: " << skip);
      fs->FailNext({.ops = Op::kRead, .name = ".sst", .skip = skip, .count = Fault::kSticky});
      const uint64_t before = fs->InjectedErrors();
      const auto items = store->Read(1, id, next, 1);
      const bool failed = fs->InjectedErrors() != before;
      fs->ClearFaults();
      if (!failed) {
        REQUIRE(items.ok());
        const auto& batch = std::get<StoredBatch>(items->front());
        REQUIRE(batch.first_id <= id);
        REQUIRE(id < batch.next_id());
        break;
      }
      ++met;
      if (!items.ok()) REQUIRE(items.status().reason() == Reason::IO_ERROR);
    }
  }
  CHECK(met > 0);
  CHECK(ReadAll(*store, 1, 1, next).ids == Ids(1, next));
}

}  // namespace
}  // namespace strata::storage
