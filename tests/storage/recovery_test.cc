// What an unclean end, a restart of the machine or missing files mean for ids and for opening.
#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "tests/storage/model.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

using testing::FaultFileSystem;

enum class End { kClean, kKilled };

// Writes 10 messages into one channel under `policy`, ends as told, and gives back what the next open recovers.
struct Scene {
  std::shared_ptr<FaultFileSystem> fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);

  void Play(SyncPolicy policy, End end) {
    options.sync = policy;
    auto store = MustOpen(options);
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    REQUIRE(scribe.Append(*store, 1, 10).ok());
    REQUIRE(store->Sync().ok());
    if (end == End::kClean) REQUIRE(store->Close().ok());
    // A killed process does nothing any more: refuse its calls before the store is taken apart.
    fs->CutAfterNextWrites(0);
    store.reset();
    fs->ProcessKill();
  }

  RecoveredChannel Reopen(const std::string& boot_id) {
    options.boot_id = boot_id;
    store = MustOpen(options);
    const Recovered recovered = store->TakeRecovered();
    REQUIRE(recovered.channels.size() == 1);
    next_channel = recovered.next_channel;
    return recovered.channels[0];
  }

  std::unique_ptr<Store> store;
  ChannelNumber next_channel = 0;
};

TEST_CASE("ids jump only where acknowledged messages may be lost", "[recovery]") {
  const bool rebooted = GENERATE(false, true);
  const auto policy = GENERATE(SyncPolicy::kAlways, SyncPolicy::kInterval, SyncPolicy::kNone);
  const auto end = GENERATE(End::kClean, End::kKilled);
  Scene scene;
  scene.Play(policy, end);
  const RecoveredChannel channel = scene.Reopen(rebooted ? "boot-2" : "boot-1");
  const bool jump = rebooted && end == End::kKilled && policy != SyncPolicy::kAlways;
  INFO("rebooted " << rebooted << ", policy " << static_cast<int>(policy) << ", killed "
                   << (end == End::kKilled));
  CHECK(ReadAll(*scene.store, 1, 1, 11).ids == Ids(1, 11));
  if (!jump) {
    CHECK(channel.next_id == 11);
    CHECK(channel.record.lost.empty());
    CHECK(scene.next_channel == 2);
    return;
  }
  CHECK(channel.next_id == 11 + kLostIdJump);
  REQUIRE(channel.record.lost.size() == 1);
  CHECK(channel.record.lost[0] == Gap{11, 10 + kLostIdJump, GapReason::kLost});
  CHECK(scene.next_channel > 2);
}

TEST_CASE("after a jump ids go on, and a second jump without messages extends the gap",
          "[recovery]") {
  Scene scene;
  scene.Play(SyncPolicy::kNone, End::kKilled);
  scene.Reopen("boot-2");
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->ProcessKill();
  const RecoveredChannel channel = scene.Reopen("boot-3");
  CHECK(channel.next_id == 11 + 2 * kLostIdJump);
  REQUIRE(channel.record.lost.size() == 1);
  CHECK(channel.record.lost[0].first == 11);
  CHECK(channel.record.lost[0].last == channel.next_id - 1);
  // The jump is kept, and new messages lie behind it in a page of their own.
  {
    WriteGroup group;
    group.commit = 3;
    BatchRecord batch{1, channel.next_id, 1, 5'000'000, 0, 0, {}};
    BatchBuilder builder;
    builder.Add(PayloadOf(1, channel.next_id, 10));
    batch.bytes = builder.Take();
    group.batches.push_back(batch);
    REQUIRE(scene.store->Write(group).ok());
  }
  REQUIRE(scene.store->Close().ok());
  CHECK(scene.Reopen("boot-3").next_id == channel.next_id + 1);
  const ReadBack back = ReadAll(*scene.store, 1, 1, channel.next_id + 1);
  CHECK(back.gaps.empty());
  CHECK(back.ids.size() == 11);
  CHECK(back.ids.back() == channel.next_id);
}

// Deletes RocksDB's logs, or cuts them short, behind the store's back.
void LoseLogs(FaultFileSystem& fs) {
  for (const std::string& file : fs.Files()) {
    if (file.ends_with(".log")) REQUIRE(fs.Remove(file));
  }
}

TEST_CASE("a lost log is noticed by the watermark, which names channels and ids", "[recovery]") {
  Scene scene;
  scene.options.sync = SyncPolicy::kAlways;
  {
    auto store = MustOpen(scene.options);
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    REQUIRE(scribe.Append(*store, 1, 10).ok());
    REQUIRE(store->Sync().ok());
    REQUIRE(store->Close().ok());
  }
  {
    auto store = MustOpen(scene.options);
    Scribe scribe(*store);
    REQUIRE(scribe.Append(*store, 1, 5).ok());
    REQUIRE(scribe.Create(*store, 2, "audit").ok());
    REQUIRE(scribe.Append(*store, 2, 3).ok());
    REQUIRE(store->Sync().ok());
    store->NoteAcknowledged({{1, 16}, {2, 4}});
    scene.fs->CutAfterNextWrites(0);
  }
  scene.fs->ProcessKill();
  LoseLogs(*scene.fs);

  const auto refused = Store::Open(scene.options);
  REQUIRE_FALSE(refused.ok());
  const std::string text = refused.status().message();
  INFO(text);
  CHECK(refused.status().reason() == Reason::ACKNOWLEDGED_DATA_LOST);
  CHECK(text.find("channel 'logs' (1): ids 11..15 acknowledged, missing") != std::string::npos);
  CHECK(text.find("channel 2, which is missing itself: ids up to 3") != std::string::npos);
  // Refused again: a refusal changes nothing that the next open would look at.
  CHECK(Store::Open(scene.options).status().reason() == Reason::ACKNOWLEDGED_DATA_LOST);

  scene.options.accept_loss = true;
  RecoveredChannel channel = scene.Reopen("boot-1");
  CHECK(channel.next_id == 16 + kLostIdJump);
  REQUIRE(channel.record.lost.size() == 1);
  CHECK(channel.record.lost[0] == Gap{11, 15 + kLostIdJump, GapReason::kLost});
  CHECK(scene.next_channel > 3);
  CHECK(ReadAll(*scene.store, 1, 1, 11).ids == Ids(1, 11));
  REQUIRE(scene.store->Close().ok());

  // Accepted once is enough, also for what is killed right after.
  scene.options.accept_loss = false;
  channel = scene.Reopen("boot-1");
  CHECK(channel.next_id == 16 + kLostIdJump);
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->ProcessKill();
  CHECK(scene.Reopen("boot-1").next_id == 16 + kLostIdJump);
}

TEST_CASE("an accepted loss stays accepted when the process is killed at once", "[recovery]") {
  Scene scene;
  scene.Play(SyncPolicy::kAlways, End::kKilled);
  LoseLogs(*scene.fs);
  scene.options.accept_loss = true;
  // Everything was in the log, the channel too.
  scene.store = MustOpen(scene.options);
  const Recovered recovered = scene.store->TakeRecovered();
  CHECK(recovered.channels.empty());
  CHECK(recovered.next_channel > 1);
  CHECK(recovered.commit == 2);
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->ProcessKill();
  scene.options.accept_loss = false;
  CHECK(MustOpen(scene.options)->TakeRecovered().commit == 2);
}

TEST_CASE("rot in the synced part of the log is a loss and not forgotten silently", "[recovery]") {
  Scene scene;
  scene.Play(SyncPolicy::kAlways, End::kKilled);
  int rotten = 0;
  for (const std::string& file : scene.fs->Files()) {
    if (!file.ends_with(".log")) continue;
    const auto contents = scene.fs->Contents(file);
    const size_t at = contents->find(PayloadOf(1, 3, 20));
    if (at == std::string::npos) continue;
    REQUIRE(scene.fs->Corrupt(file, at, 0x10));
    ++rotten;
  }
  REQUIRE(rotten == 1);
  CHECK(Store::Open(scene.options).status().reason() == Reason::ACKNOWLEDGED_DATA_LOST);
}

TEST_CASE("a missing or damaged watermark is a warning and replaced", "[recovery]") {
  Scene scene;
  scene.Play(SyncPolicy::kAlways, End::kKilled);
  const std::string path = std::string(kStorePath) + "/WATERMARK";
  SECTION("missing") { REQUIRE(scene.fs->Remove(path)); }
  SECTION("damaged") { REQUIRE(scene.fs->Put(path, std::string(5000, 'x'))); }
  LogLines lines;
  scene.options.log = lines.logger();
  CHECK(scene.Reopen("boot-1").next_id == 11);
  CHECK(lines.Contains("WATERMARK"));
  CHECK(scene.store->Sync().ok());
  REQUIRE(scene.store->Close().ok());
  LogLines quiet;
  scene.options.log = quiet.logger();
  scene.Reopen("boot-1");
  CHECK_FALSE(quiet.Contains("WATERMARK"));
}

TEST_CASE("the watermark names no group before its sync is done", "[recovery]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  std::shared_ptr<FaultFileSystem> at_sync;
  fs->SetEventCallback([&](const testing::Event& event) {
    if (event.op == testing::kSync && !event.done && event.path.ends_with(".log")) {
      at_sync = fs->Clone();
    }
  });
  REQUIRE(store->Sync().ok());
  fs->SetEventCallback(nullptr);
  REQUIRE(at_sync != nullptr);
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    const auto disk = at_sync->Clone();
    disk->PowerCut(seed);
    options.file_system = disk;
    const auto opened = Store::Open(options);
    INFO("power cut " << seed << ": " << opened.status().ToString());
    REQUIRE(opened.ok());
  }
}

// A group that is written beside a sync is not covered by it. If the watermark named it, a power cut that takes it, as
// it may, would look like a loss.
TEST_CASE("the watermark names no group that was written while its sync ran", "[recovery]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  REQUIRE(scribe.Append(*store, 1, 1).ok());
  bool written = false;
  fs->SetEventCallback([&](const testing::Event& event) {
    // What it covers is settled by now.
    if (event.op != testing::kSync || event.done || !event.path.ends_with(".log")) return;
    if (std::exchange(written, true)) return;
    std::thread([&] { written = scribe.Append(*store, 1, 1).ok(); }).join();
  });
  REQUIRE(store->Sync().ok());
  fs->SetEventCallback(nullptr);
  REQUIRE(written);
  fs->CutAfterNextWrites(0);
  store.reset();
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    INFO("power cut " << seed);
    const auto disk = fs->Clone();
    disk->PowerCut(seed);
    options.file_system = disk;
    store = MustOpen(options);
    const Recovered recovered = store->TakeRecovered();
    REQUIRE(recovered.channels.size() == 1);
    CHECK(recovered.channels[0].next_id >= 2);
    store.reset();
  }
}

// Blocks the creation of table files, so that no flush syncs or deletes a log behind the test's back.
class FlushGate {
 public:
  // Lets `pass` table files through first.
  explicit FlushGate(FaultFileSystem& fs, uint64_t pass = 0) : fs_(fs) {
    fs_.SetEventCallback([this, pass](const testing::Event& event) {
      if (event.op != testing::kCreate || event.done || !event.path.ends_with(".sst")) return;
      MutexLock lock(mu_);
      if (++tables_ <= pass) return;
      while (!open_) opened_.Wait(mu_);
    });
  }
  // The store that is held up must be gone, or go on, before this object is.
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    opened_.NotifyAll();
  }
  uint64_t tables() {  // whose creation was begun, those held up included
    MutexLock lock(mu_);
    return tables_;
  }

 private:
  FaultFileSystem& fs_;
  Mutex mu_;
  CondVar opened_;
  uint64_t tables_ STRATA_GUARDED_BY(mu_) = 0;
  bool open_ STRATA_GUARDED_BY(mu_) = false;
};

std::vector<std::string> Logs(const FaultFileSystem& fs) {
  std::vector<std::string> logs = fs.Files();
  std::erase_if(logs, [](const std::string& file) { return !file.ends_with(".log"); });
  return logs;
}

TEST_CASE("a log that survived while the one before it lost its end is not replayed",
          "[recovery]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  REQUIRE(scribe.Append(*store, 1, 3).ok());
  REQUIRE(store->Sync().ok());
  // What a power cut may leave of the log from here on is this, with clean edges.
  const std::vector<std::string> first_log = Logs(*fs);
  REQUIRE(first_log.size() == 1);
  const std::string synced = *fs->Contents(first_log[0]);
  FlushGate gate(*fs);
  bool written = true;
  for (int i = 0; i < 200 && Logs(*fs).size() < 2; ++i)
    written &= scribe.Append(*store, 1, 1, 900).ok();
  written &= Logs(*fs).size() >= 2 && scribe.Append(*store, 1, 1, 900).ok();
  const auto image = fs->Clone();
  gate.Open();
  store.reset();
  REQUIRE(written);

  REQUIRE(image->Put(first_log[0], synced));
  image->ProcessKill();
  LogLines lines;
  options.file_system = image;
  options.log = lines.logger();
  store = MustOpen(options);
  const Recovered recovered = store->TakeRecovered();
  CHECK(recovered.commit == 2);
  REQUIRE(recovered.channels.size() == 1);
  CHECK(recovered.channels[0].next_id == 4);
  CHECK(lines.Contains("after group 2"));
  const ReadBack back = ReadAll(*store, 1, 1, 4);
  CHECK(back.wrong == "");
  CHECK(back.ids == Ids(1, 4));
}

TEST_CASE("replay goes on behind a large message whose stratum was dropped", "[recovery]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  options.separate_bytes = 500;
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "dropped").ok());
  REQUIRE(scribe.Create(*store, 2, "kept").ok());
  // As a power cut may leave it: what follows is beyond it.
  const std::string watermark = std::string(kStorePath) + "/WATERMARK";
  const std::string behind = *fs->Contents(watermark);
  REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  // Sealing flushes the stratum, which a drop waits for, and then the catalog: as long as that does not end, the log
  // still has the message when its file is gone.
  FlushGate gate(*fs, /*pass=*/1);
  const bool dropped =
      store->Write(scribe.Begin().Change(SealStratum{}).group()).ok() &&
      Eventually([&] { return gate.tables() == 2; }) &&
      store->Write(scribe.Begin().Change(DropChannel{1}).group()).ok() && store->Sync().ok() &&
      store->DropEmptyStrata().ok() && Eventually([&] {
        const auto files = fs->Files();
        return std::none_of(files.begin(), files.end(),
                            [](const std::string& file) { return file.ends_with(".body"); });
      });
  const bool kept = scribe.Append(*store, 2, 3).ok() && store->Sync().ok();
  const auto image = fs->Clone();
  gate.Open();
  store.reset();
  REQUIRE(dropped);
  REQUIRE(kept);

  REQUIRE(image->Put(watermark, behind));
  image->ProcessKill();
  options.file_system = image;
  store = MustOpen(options);
  CHECK(store->TakeRecovered().commit == scribe.commit());
  CHECK(ReadAll(*store, 2, 1, 4).ids == Ids(1, 4));
}

}  // namespace
}  // namespace strata::storage
