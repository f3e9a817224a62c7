// Bodies in files of their own: read back, found damaged, moved, given back, and never ahead of what is durable.
#include "storage/bodies.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "storage/verify.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

constexpr size_t kLarge = 1000;  // separate here; kSmall is not
constexpr size_t kSmall = 100;

// One channel, and everything from 500 bytes on in a file of its own.
struct Scene {
  Scene() {
    options.separate_bytes = 500;
    Open();
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
  }

  void Open() {
    store = MustOpen(options);
    scribe = Scribe(*store);
  }
  void Reopen() {
    REQUIRE(store->Close().ok());
    Open();
  }
  std::vector<std::string> BodyFiles() const {
    std::vector<std::string> found;
    for (const std::string& file : fs->Files()) {
      if (file.ends_with(".body")) found.push_back(file);
    }
    return found;
  }
  MessageId End() { return scribe.next_id(1); }
  Status Seal() { return store->Write(scribe.Begin().Change(SealStratum{}).group()); }

  std::shared_ptr<testing::FaultFileSystem> fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  std::unique_ptr<Store> store;
  Scribe scribe;
};

void CheckAllThere(Scene& scene) {
  const ReadBack read = ReadAll(*scene.store, 1, 1, scene.End());
  CHECK(read.wrong == "");
  CHECK(read.gaps.empty());
  CHECK(read.ids == Ids(1, scene.End()));
}

TEST_CASE("large bodies lie in their stratum's file, small ones do not", "[bodies]") {
  Scene scene;
  for (int i = 0; i < 8; ++i) {
    REQUIRE(scene.scribe.Append(*scene.store, 1, 1, i % 2 == 0 ? kLarge : kSmall).ok());
  }
  REQUIRE(scene.BodyFiles().size() == 1);
  const uint64_t size = scene.fs->Contents(scene.BodyFiles()[0])->size();
  CHECK(size > 4 * kLarge);
  CHECK(size < 4 * (kLarge + 20));
  CheckAllThere(scene);
  SECTION("also after a clean restart, when the file is gone on with") {
    scene.Reopen();
    CheckAllThere(scene);
    REQUIRE(scene.scribe.Append(*scene.store, 1, 3, kLarge).ok());
    CHECK(scene.BodyFiles().size() == 1);
    CheckAllThere(scene);
  }
  SECTION("also after a killed process, and then the power goes") {
    // Nothing was ever synced: opening again is what makes it durable, and then it is told to readers.
    scene.fs->CutAfterNextWrites(0);
    scene.store.reset();
    scene.fs->ProcessKill();
    scene.Open();
    CheckAllThere(scene);
    const MessageId end = scene.End();
    scene.fs->CutAfterNextWrites(0);
    scene.store.reset();
    scene.fs->PowerCut(GENERATE(range(1, 20)));
    scene.Open();
    CHECK(scene.End() == end);
    CheckAllThere(scene);
  }
}

// RocksDB makes rows durable when their memtable is full, whether the store was synced or not.
TEST_CASE("rows that a full memtable made durable have their bodies", "[bodies]") {
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 12)));
  Scene scene;
  scene.options.sync = SyncPolicy::kNone;
  scene.options.write_buffer = 1;  // at least 64 KiB for the catalog and as much for the messages
  scene.options.page_size = 64u << 20;
  scene.Reopen();
  const uint64_t installed = scene.fs->SyncCount("MANIFEST");
  for (int i = 0; i < 1500; ++i) REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kLarge).ok());
  // The catalog's rows and the messages'.
  REQUIRE(Eventually([&] { return scene.fs->SyncCount("MANIFEST") >= installed + 2; }));
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->PowerCut(seed);
  scene.options.boot_id = "boot-2";
  scene.Open();
  const Recovered& recovered = scene.scribe.recovered;
  REQUIRE(recovered.channels.size() == 1);
  const std::vector<Gap>& lost = recovered.channels[0].record.lost;
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].first > 100);  // something was flushed, or this says nothing
  const ReadBack read = ReadAll(*scene.store, 1, 1, lost[0].first);
  CHECK(read.wrong == "");
  CHECK(read.gaps.empty());
  CHECK(read.ids == Ids(1, lost[0].first));
}

TEST_CASE("a rotten body is a CORRUPT gap, and its neighbours stay readable", "[bodies]") {
  Scene scene;
  for (int i = 0; i < 5; ++i) REQUIRE(scene.scribe.Append(*scene.store, 1, 2, kLarge).ok());
  scene.Reopen();
  REQUIRE(scene.fs->Corrupt(scene.BodyFiles().at(0), 5 * kLarge, 0x40));
  const ReadBack read = ReadAll(*scene.store, 1, 1, scene.End());
  CHECK(read.wrong == "");
  REQUIRE(read.gaps.size() == 1);
  CHECK(read.gaps[0] == Gap{5, 6, GapReason::kCorrupt});
  CHECK(read.ids == std::vector<MessageId>{1, 2, 3, 4, 7, 8, 9, 10});
  REQUIRE(scene.store->Close().ok());
  scene.store.reset();
  const auto report = Verify(scene.options);
  REQUIRE(report.ok());
  REQUIRE(report->problem_count == 1);
  CHECK(report->problems[0].where == "channel 'logs' (1), ids 5..6");
  CHECK(report->problems[0].what.find("does not match its hash") != std::string::npos);
}

TEST_CASE("a body file that is cut off or missing is gaps for what it held", "[bodies]") {
  Scene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kSmall).ok());
  for (int i = 0; i < 3; ++i) REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kLarge).ok());
  scene.Reopen();
  const std::string file = scene.BodyFiles().at(0);
  const std::string contents = *scene.fs->Contents(file);
  MessageId first_gone = 2;
  SECTION("cut off") {
    REQUIRE(scene.fs->Put(file, contents.substr(0, contents.size() - 10)));
    first_gone = 4;
  }
  SECTION("missing") { REQUIRE(scene.fs->Remove(file)); }
  const ReadBack read = ReadAll(*scene.store, 1, 1, scene.End());
  REQUIRE(read.gaps.size() == 1);
  CHECK(read.gaps[0] == Gap{first_gone, 4, GapReason::kCorrupt});
  CHECK(read.ids == Ids(1, first_gone));
  // Nobody wrote what was not synced: it is not the end of a log that a power cut tore.
  scene.Reopen();
  CHECK(ReadAll(*scene.store, 1, 1, scene.End()).gaps == read.gaps);
}

TEST_CASE("a body that cannot be read during replay fails the open, which drops nothing",
          "[bodies]") {
  Scene scene;
  const std::string watermark = std::string(kStorePath) + "/WATERMARK";
  // As a power cut may leave it: acknowledged groups are beyond it.
  const std::string behind = *scene.fs->Contents(watermark);
  for (int i = 0; i < 3; ++i) REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kLarge).ok());
  REQUIRE(scene.store->Sync().ok());
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->ProcessKill();
  REQUIRE(scene.fs->Put(watermark, behind));
  scene.fs->FailNext({.ops = testing::kRead, .name = ".body", .skip = 1});
  const Status failed = Store::Open(scene.options).status();
  INFO(failed.ToString());
  CHECK(failed.reason() == Reason::IO_ERROR);
  CHECK(failed.message().find(".body") != std::string::npos);
  CHECK(scene.fs->InjectedErrors() == 1);
  const MessageId end = scene.End();
  scene.Open();
  CHECK(scene.End() == end);
  CheckAllThere(scene);
}

TEST_CASE("what was recovered after a body's failed sync stays recovered when the power goes",
          "[bodies]") {
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 12)));
  Scene scene;
  REQUIRE(scene.store->Sync().ok());
  for (int i = 0; i < 3; ++i) REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kLarge).ok());
  scene.fs->FailNext({.ops = testing::kSync, .name = ".body"});
  REQUIRE(scene.store->Sync().reason() == Reason::STORE_FAILED);
  scene.store.reset();
  scene.fs->ProcessKill();
  // The page cache has them, and readers are told.
  scene.Open();
  CHECK(scene.End() == 4);
  CheckAllThere(scene);
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->PowerCut(seed);
  scene.Open();
  CHECK(scene.End() == 4);
  CheckAllThere(scene);
}

TEST_CASE("a body file that cannot be looked for is not begun anew", "[bodies]") {
  Scene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 3, kLarge).ok());
  scene.Reopen();
  const std::string contents = *scene.fs->Contents(scene.BodyFiles().at(0));
  const MessageId end = scene.End();
  scene.fs->FailNext({.ops = testing::kLook, .name = ".body"});
  CHECK(scene.scribe.Append(*scene.store, 1, 1, kLarge).reason() == Reason::STORE_FAILED);
  CHECK(scene.fs->InjectedErrors() == 1);
  CHECK(*scene.fs->Contents(scene.BodyFiles().at(0)) == contents);
  scene.store.reset();
  scene.Open();
  CHECK(scene.End() == end);
  CheckAllThere(scene);
}

// Unlike a body that never reached the disk it does not end the replay: what follows was acknowledged, too.
TEST_CASE("a synced body that is damaged in a log that is replayed takes nothing else along",
          "[bodies]") {
  Scene scene;
  for (int i = 0; i < 4; ++i) REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kLarge).ok());
  REQUIRE(scene.store->Sync().ok());
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->ProcessKill();
  REQUIRE(scene.fs->Corrupt(scene.BodyFiles().at(0), kLarge + kLarge / 2, 0x40));
  scene.Open();
  CHECK(scene.End() == 5);
  const ReadBack read = ReadAll(*scene.store, 1, 1, 5);
  CHECK(read.gaps == std::vector<Gap>{{2, 2, GapReason::kCorrupt}});
  CHECK(read.ids == std::vector<MessageId>{1, 3, 4});
}

TEST_CASE("a body file goes with its stratum", "[bodies]") {
  Scene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 4, kLarge).ok());
  const std::string file = scene.BodyFiles().at(0);
  REQUIRE(scene.Seal().ok());
  REQUIRE(scene.store->Write(scene.scribe.Begin().Change(DropChannel{1}).group()).ok());
  SECTION("when it is dropped") {
    CHECK(scene.store->DropEmptyStrata().value() == 1);
    scene.Reopen();  // the files of dropped strata are deleted in the background
    CHECK(scene.BodyFiles().empty());
  }
  SECTION("when it was dropped just before the end") {
    const std::string contents = *scene.fs->Contents(file);
    CHECK(scene.store->DropEmptyStrata().value() == 1);
    REQUIRE(scene.store->Close().ok());
    REQUIRE(scene.fs->Put(file, contents));
    scene.Open();
    CHECK(scene.BodyFiles().empty());
  }
}

TEST_CASE("a rewrite takes bodies into the new stratum's rows", "[bodies]") {
  Scene scene;
  for (int i = 0; i < 6; ++i) {
    REQUIRE(scene.scribe.Append(*scene.store, 1, 1, i % 2 == 0 ? kLarge : kSmall).ok());
  }
  REQUIRE(scene.Seal().ok());
  const uint32_t sealed = scene.store->DescribeStrata().at(0).number;
  const RewriteRequest request{{sealed}, [](uint64_t) { return true; }};
  SECTION("whole") {
    auto rewritten = scene.store->Rewrite(request);
    REQUIRE(rewritten.ok());
    scene.scribe.Begin();
    for (CatalogChange& change : rewritten->changes) scene.scribe.Change(std::move(change));
    REQUIRE(scene.store->Write(scene.scribe.group()).ok());
    CHECK(scene.store->DropEmptyStrata().value() == 1);
    CheckAllThere(scene);
    scene.Reopen();
    CHECK(scene.BodyFiles().empty());
    CheckAllThere(scene);
  }
  SECTION("but not a damaged one") {
    REQUIRE(scene.fs->Corrupt(scene.BodyFiles().at(0), kLarge + kLarge / 2, 0x01));
    const auto rewritten = scene.store->Rewrite(request);
    REQUIRE(rewritten.ok());
    CHECK(rewritten->damaged == sealed);
    CHECK(rewritten->changes.empty());
  }
}

TEST_CASE("a stratum counts its bodies as its own", "[bodies]") {
  Scene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 4, kLarge).ok());
  REQUIRE(scene.Seal().ok());
  const auto check = [&] {
    const StratumInfo info = scene.store->DescribeStrata().at(0);
    CHECK(info.raw_bytes >= 4 * kLarge);
    CHECK(info.raw_bytes < 4 * kLarge + 300);
    CHECK(info.file_bytes >= 4 * kLarge);
    CHECK_FALSE(info.rewritten);
  };
  check();
  scene.Reopen();
  check();
}

TEST_CASE("a body that cannot be written stops the store, and nothing of its group is seen",
          "[bodies]") {
  Scene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kLarge).ok());
  scene.fs->FailNext({.ops = testing::kAppend, .name = ".body"});
  const Status failed = scene.scribe.Append(*scene.store, 1, 1, kLarge);
  CHECK(failed.reason() == Reason::STORE_FAILED);
  CHECK(failed.fate() == DataFate::kNotAppended);
  CHECK(ReadAll(*scene.store, 1, 1, 2).ids == Ids(1, 2));
  scene.store.reset();
  scene.Open();
  CHECK(scene.End() == 2);
  CheckAllThere(scene);
}

// Also for a flush: whoever comes second finds nothing left to sync, and must not take that for done.
TEST_CASE("a sync waits for the sync of a body that is under way", "[bodies]") {
  const auto fs = NewFaultFs();
  BodyWriter bodies(fs, "/data");
  BodyReference where;
  REQUIRE(bodies.Append(1, Buffer(std::string("the body")), 1, &where).ok());
  std::atomic<bool> second_began{false};
  std::atomic<bool> second_done{false};
  std::atomic<bool> durable{false};
  std::atomic<bool> first{true};
  bool early = false;
  std::thread second;
  fs->SetEventCallback([&](const testing::Event& event) {
    if (event.op != testing::kSync || event.done || !first.exchange(false)) return;
    second = std::thread([&] {
      second_began = true;
      const bool ok = bodies.Sync().ok();
      early = !ok || !durable;
      second_done = true;
    });
    // There is nothing to see of a thread that waits: it gets time to be wrong in.
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    while (!second_done && (!second_began || std::chrono::steady_clock::now() < until)) {
      std::this_thread::yield();
    }
    durable = true;
  });
  REQUIRE(bodies.Sync().ok());
  second.join();
  fs->SetEventCallback(nullptr);
  CHECK_FALSE(early);
}

TEST_CASE("a body that cannot be synced stops the store", "[bodies]") {
  Scene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 1, kLarge).ok());
  scene.fs->FailNext({.ops = testing::kSync, .name = ".body"});
  const Status failed = scene.store->Sync();
  CHECK(failed.reason() == Reason::STORE_FAILED);
  CHECK(failed.fate() == DataFate::kMayHaveBeenAppended);
  CHECK(scene.scribe.Append(*scene.store, 1, 1, kSmall).reason() == Reason::STORE_FAILED);
}

}  // namespace
}  // namespace strata::storage
