// Space: pages that go, strata that are dropped, merged and rewritten, and what a restart makes of each step.
#include <fmt/format.h>

#include <atomic>
#include <thread>

#include "storage/rocks.h"
#include "tests/storage/raw_database.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

RewriteRequest RequestFor(std::vector<uint32_t> strata) {
  return {std::move(strata), [](uint64_t) { return true; }};
}

// Seals what is being written, so that it can be dropped or rewritten. Without a spare it stays, and spares come from
// the maintenance thread: again, then.
void Seal(Store& store, Scribe& scribe) {
  for (int attempt = 0; attempt < 100'000; ++attempt) {
    REQUIRE(store.Write(scribe.Begin().Change(SealStratum{}).group()).ok());
    const std::vector<StratumInfo> strata = store.DescribeStrata();
    REQUIRE(!strata.empty());
    if (strata.back().raw_bytes == 0) return;
    std::this_thread::yield();
  }
  FAIL("no spare came");
}

// Rows and index, as the broker does it once the group is acknowledged.
void Trim(Store& store, Scribe& scribe, ChannelNumber channel, MessageId through) {
  REQUIRE(store.Write(scribe.Begin().Change(TrimPages{channel, through}).group()).ok());
  REQUIRE(store.Sync().ok());
  store.ForgetPages(channel, through);
}

std::vector<uint32_t> SealedStrata(const Store& store) {
  std::vector<uint32_t> numbers;
  for (const StratumInfo& stratum : store.DescribeStrata()) {
    if (stratum.sealed_at > 0) numbers.push_back(stratum.number);
  }
  return numbers;
}

// A stratum for each of `rounds`, each with five batches of both channels.
void FillRounds(Store& store, Scribe& scribe, int rounds, uint32_t size = 1000) {
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < 5; ++i) {
      REQUIRE(scribe.Append(store, 1, 1, size).ok());
      REQUIRE(scribe.Append(store, 2, 1, size).ok());
    }
    Seal(store, scribe);
  }
}

struct SpaceScene {
  SpaceScene() {
    options.page_size = 1u << 20;
    store = MustOpen(options);
    scribe = Scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "busy").ok());
    REQUIRE(scribe.Create(*store, 2, "slow").ok());
  }
  void Reopen() {
    REQUIRE(store->Close().ok());
    store.reset();
    Restart();
  }
  void CutPower(uint64_t seed) {
    store.reset();
    fs->PowerCut(seed);
    Restart();
  }
  void Restart() {
    store = MustOpen(options);
    scribe = Scribe(*store);
  }
  void CheckReadable(ChannelNumber channel, MessageId first, MessageId next) {
    const ReadBack read = ReadAll(*store, channel, first, next);
    CHECK(read.wrong.empty());
    CHECK(read.gaps.empty());
    CHECK(read.ids == Ids(first, next));
  }

  std::shared_ptr<testing::FaultFileSystem> fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  std::unique_ptr<Store> store;
  Scribe scribe;
};

TEST_CASE("trimmed pages stay readable until they are forgotten, and nobody's meanwhile",
          "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 3);
  CHECK(scene.store->Pages(1).size() == 3);
  REQUIRE(scene.store->Write(scene.scribe.Begin().Change(TrimPages{1, 7}).group()).ok());
  // A page goes as a whole or not at all: 1..5 does, 6..10 does not.
  CHECK(scene.store->Pages(1).size() == 2);
  scene.CheckReadable(1, 1, 16);
  scene.store->ForgetPages(1, 7);
  CHECK(ReadAll(*scene.store, 1, 1, 16).ids == Ids(6, 16));
  scene.CheckReadable(2, 1, 16);
  scene.Reopen();
  CHECK(scene.store->OldestId(1) == 6);
  CHECK(ReadAll(*scene.store, 1, 1, 16).ids == Ids(6, 16));
}

TEST_CASE("a trim does not take a page that grows in the same group", "[space]") {
  SpaceScene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 5).ok());
  REQUIRE(
      scene.store->Write(scene.scribe.Begin().Batch(1, 2).Change(TrimPages{1, 5}).group()).ok());
  scene.store->ForgetPages(1, 5);
  scene.CheckReadable(1, 1, 8);
  scene.Reopen();
  scene.CheckReadable(1, 1, 8);
}

TEST_CASE("after the newest page went the next batch begins a new one", "[space]") {
  SpaceScene scene;
  REQUIRE(scene.scribe.Append(*scene.store, 1, 5).ok());
  Trim(*scene.store, scene.scribe, 1, 5);
  CHECK(scene.store->Pages(1).empty());
  REQUIRE(scene.scribe.Append(*scene.store, 1, 2).ok());
  REQUIRE(scene.store->Pages(1).size() == 1);
  CHECK(scene.store->Pages(1)[0].first == 6);
  scene.Reopen();
  scene.CheckReadable(1, 6, 8);
}

TEST_CASE("a stratum goes once it is sealed and its last page is gone", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 2, 10'000);
  const uint64_t full = scene.store->Usage().used;
  CHECK(*scene.store->DropEmptyStrata() == 0);
  Trim(*scene.store, scene.scribe, 1, 10);
  CHECK(*scene.store->DropEmptyStrata() == 0);
  Trim(*scene.store, scene.scribe, 2, 5);
  CHECK(*scene.store->DropEmptyStrata() == 1);
  CHECK(SealedStrata(*scene.store).size() == 1);
  scene.CheckReadable(2, 6, 11);
  Trim(*scene.store, scene.scribe, 2, 10);
  CHECK(*scene.store->DropEmptyStrata() == 1);
  // What is being written stays, however empty.
  CHECK(scene.store->Stats().strata == 1);
  REQUIRE(scene.scribe.Append(*scene.store, 1, 3).ok());
  scene.Reopen();
  CHECK(scene.store->Stats().strata == 1);
  CHECK(scene.store->Usage().used + 150'000 < full);
  scene.CheckReadable(1, 11, 14);
}

TEST_CASE("a deleted channel's strata go", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 2);
  REQUIRE(scene.store->Write(scene.scribe.Begin().Change(DropChannel{1}).group()).ok());
  REQUIRE(scene.store->Write(scene.scribe.Begin().Change(DropChannel{2}).group()).ok());
  CHECK(*scene.store->DropEmptyStrata() == 2);
  scene.Reopen();
  CHECK(scene.scribe.recovered.channels.empty());
}

TEST_CASE("a stratum is not dropped before a sync covers what emptied it", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 1);
  REQUIRE(scene.store->Sync().ok());
  for (const ChannelNumber channel : {1, 2}) {
    REQUIRE(scene.store->Write(scene.scribe.Begin().Change(TrimPages{channel, 5}).group()).ok());
    scene.store->ForgetPages(channel, 5);
  }
  const uint64_t before = scene.store->Stats().syncs;
  CHECK(*scene.store->DropEmptyStrata() == 1);
  CHECK(scene.store->Stats().syncs == before + 1);

  SECTION("and not at all if that sync fails") {
    FillRounds(*scene.store, scene.scribe, 1);
    REQUIRE(scene.store->Sync().ok());
    for (const ChannelNumber channel : {1, 2}) {
      REQUIRE(scene.store->Write(scene.scribe.Begin().Change(TrimPages{channel, 10}).group()).ok());
      scene.store->ForgetPages(channel, 10);
    }
    scene.fs->FailNext({.ops = testing::kSync, .name = ".log"});
    CHECK_FALSE(scene.store->DropEmptyStrata().ok());
    CHECK(scene.store->failed());
    scene.fs->ClearFaults();
    scene.CutPower(7);
    // The trims may have been lost with the sync; then the messages must be there.
    for (const ChannelNumber channel : {1, 2}) {
      if (scene.store->Pages(channel).empty()) continue;
      scene.CheckReadable(channel, 6, 11);
    }
  }
}

TEST_CASE("rewriting keeps what lives, drops what does not, and compresses", "[space]") {
  SpaceScene scene;
  // Letters compress; what PayloadOf makes does not, so the saving here is the garbage.
  FillRounds(*scene.store, scene.scribe, 3, 20'000);
  Trim(*scene.store, scene.scribe, 1, 10);
  const std::vector<uint32_t> strata = SealedStrata(*scene.store);
  REQUIRE(strata.size() == 3);
  Result<RewriteResult> result = scene.store->Rewrite(RequestFor(strata));
  REQUIRE(result.ok());
  REQUIRE(result->changes.size() == 1);
  CHECK(result->damaged == 0);
  // Nothing has changed yet.
  scene.CheckReadable(2, 1, 16);
  CHECK(SealedStrata(*scene.store) == strata);
  REQUIRE(scene.store->Write(scene.scribe.Begin().Change(result->changes[0]).group()).ok());
  CHECK(*scene.store->DropEmptyStrata() == 3);
  const std::vector<StratumInfo> now = scene.store->DescribeStrata();
  REQUIRE(now.size() == 2);
  CHECK(now[0].rewritten);
  CHECK(now[0].live_pages == 4);
  CHECK(now[0].raw_bytes == now[0].live_bytes);
  scene.CheckReadable(1, 11, 16);
  scene.CheckReadable(2, 1, 16);
  // What comes next goes on as if nothing had been.
  REQUIRE(scene.scribe.Append(*scene.store, 1, 3).ok());

  SECTION("over a restart") {
    scene.Reopen();
    const std::vector<StratumInfo> again = scene.store->DescribeStrata();
    REQUIRE(again.size() == 2);
    CHECK(again[0].rewritten);
    CHECK(again[0].raw_bytes == now[0].raw_bytes);
    CHECK(again[1].sealed_at == 0);
  }
  SECTION("over a power cut") {
    REQUIRE(scene.store->Sync().ok());
    scene.CutPower(3);
  }
  scene.CheckReadable(1, 11, 19);
  scene.CheckReadable(2, 1, 16);
}

TEST_CASE("pages that are trimmed while they are copied are not moved", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 2);
  Result<RewriteResult> result = scene.store->Rewrite(RequestFor(SealedStrata(*scene.store)));
  REQUIRE(result.ok());
  SECTION("before the group") { Trim(*scene.store, scene.scribe, 1, 5); }
  SECTION("before the group, and not forgotten yet") {
    REQUIRE(scene.store->Write(scene.scribe.Begin().Change(TrimPages{1, 5}).group()).ok());
  }
  scene.scribe.Begin();
  SECTION("in the same group") { scene.scribe.Change(TrimPages{1, 5}); }
  SECTION("with the whole channel") { scene.scribe.Change(DropChannel{1}); }
  REQUIRE(scene.store->Write(scene.scribe.Change(result->changes[0]).group()).ok());
  scene.store->ForgetPages(1, 5);
  CHECK(*scene.store->DropEmptyStrata() == 2);
  const std::vector<Page> left = scene.store->Pages(1);
  CHECK(left.size() <= 1);
  scene.Reopen();
  CHECK(scene.store->Pages(1) == left);
  if (!left.empty()) scene.CheckReadable(1, 6, 11);
  scene.CheckReadable(2, 1, 11);
}

TEST_CASE("a rewrite that is not committed leaves nothing behind", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 2);
  const std::vector<uint32_t> strata = SealedStrata(*scene.store);
  Result<RewriteResult> result = scene.store->Rewrite(RequestFor(strata));
  REQUIRE(result.ok());
  SECTION("because it was abandoned") { scene.store->AbandonRewrite(*result); }
  SECTION("because the power went") {
    REQUIRE(scene.store->Sync().ok());
    scene.CutPower(11);
  }
  CHECK(scene.store->DropEmptyStrata().ok());
  CHECK(SealedStrata(*scene.store) == strata);
  scene.CheckReadable(1, 1, 11);
  scene.CheckReadable(2, 1, 11);
  // And the next one works.
  result = scene.store->Rewrite(RequestFor(strata));
  REQUIRE(result.ok());
  REQUIRE(scene.store->Write(scene.scribe.Begin().Change(result->changes[0]).group()).ok());
  CHECK(*scene.store->DropEmptyStrata() == 2);
  scene.CheckReadable(1, 1, 11);
  scene.Reopen();
  scene.CheckReadable(2, 1, 11);
  for (const std::string& file : scene.fs->Files()) CHECK(file.find(".tmp") == std::string::npos);
}

TEST_CASE("a rewrite stops when it is told to", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 2, 300'000);
  int asked = 0;
  const RewriteRequest request{SealedStrata(*scene.store), [&](uint64_t) { return ++asked < 2; }};
  const Result<RewriteResult> result = scene.store->Rewrite(request);
  REQUIRE(result.ok());
  CHECK(asked == 2);
  CHECK(result->changes.empty());
  CHECK(result->damaged == 0);
  for (const std::string& file : scene.fs->Files()) CHECK(file.find(".tmp") == std::string::npos);
}

TEST_CASE("damage found by a rewrite is told, and nothing is moved", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 1, 20'000);
  scene.Reopen();
  const std::vector<uint32_t> strata = SealedStrata(*scene.store);
  REQUIRE(strata.size() == 1);
  std::string table;
  for (const std::string& file : scene.fs->Files()) {
    if (file.ends_with(".sst") && scene.fs->Contents(file)->size() > 50'000) table = file;
  }
  REQUIRE(!table.empty());
  REQUIRE(scene.fs->Corrupt(table, 30'000, 0xff));
  const Result<RewriteResult> result = scene.store->Rewrite(RequestFor(strata));
  REQUIRE(result.ok());
  CHECK(result->damaged == strata[0]);
  CHECK(result->changes.empty());
  CHECK(!result->damage.empty());
  REQUIRE(scene.store
              ->Write(scene.scribe.Begin()
                          .Change(QuarantineStratum{result->damaged, result->damage})
                          .group())
              .ok());
  CHECK(scene.store->DescribeStrata()[0].quarantined == result->damage);
  REQUIRE(scene.store->Stats().quarantined.size() == 1);
  // Appending and reading around the damage go on, and the name of the damage outlives a restart.
  REQUIRE(scene.scribe.Append(*scene.store, 1, 3).ok());
  CHECK(ReadAll(*scene.store, 1, 1, 9).gaps.size() + ReadAll(*scene.store, 2, 1, 6).gaps.size() >=
        1);
  scene.Reopen();
  CHECK(scene.store->DescribeStrata()[0].quarantined == result->damage);
  CHECK(scene.store->DescribeStrata()[0].number == strata[0]);
}

TEST_CASE("a rewrite finds a batch that is missing", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 1);
  REQUIRE(scene.store->Close().ok());
  scene.store.reset();
  RawDatabase(scene.fs).Delete(1, GENERATE(1, 3, 5));
  scene.Restart();
  const std::vector<uint32_t> strata = SealedStrata(*scene.store);
  REQUIRE(strata.size() == 1);
  const Result<RewriteResult> result = scene.store->Rewrite(RequestFor(strata));
  REQUIRE(result.ok());
  CHECK(result->damaged == strata[0]);
  CHECK(result->changes.empty());
}

TEST_CASE("a full disk fails a rewrite and nothing else", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 2, 50'000);
  scene.Reopen();
  // Full for what the rewrite writes alone: a compaction of the catalog, which an open may set off, would need room
  // too, and its failure is the store's.
  scene.fs->FailNext({.ops = testing::kAppend,
                      .name = "rewrite-",
                      .status = rocksdb::IOStatus::NoSpace(),
                      .count = testing::Fault::kSticky,
                      .partial_bytes = 1000});
  CHECK_FALSE(scene.store->Rewrite(RequestFor(SealedStrata(*scene.store))).ok());
  CHECK(scene.fs->InjectedErrors() > 0);
  INFO(scene.store->failure().message());
  CHECK_FALSE(scene.store->failed());
  for (const std::string& file : scene.fs->Files()) CHECK(file.find(".tmp") == std::string::npos);
  REQUIRE(scene.scribe.Append(*scene.store, 1, 3).ok());
  scene.CheckReadable(1, 1, 14);
}

TEST_CASE("readers never see a hole while strata are rewritten and dropped under them", "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 4);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::thread reader([&] {
    while (!done) {
      const auto items = scene.store->Read(2, 1, 21, 1u << 20);
      MessageId next = 1;
      if (!items.ok()) ++wrong;
      for (const ReadItem& item : *items) {
        const auto* batch = std::get_if<StoredBatch>(&item);
        if (batch == nullptr || batch->first_id != next) {
          ++wrong;
          break;
        }
        next = batch->next_id();
      }
    }
  });
  for (int round = 0; round < 20; ++round) {
    Result<RewriteResult> result = scene.store->Rewrite(RequestFor(SealedStrata(*scene.store)));
    REQUIRE(result.ok());
    REQUIRE(scene.store->Write(scene.scribe.Begin().Change(result->changes[0]).group()).ok());
    CHECK(*scene.store->DropEmptyStrata() >= 1);
  }
  done = true;
  reader.join();
  CHECK(wrong == 0);
}

TEST_CASE("pages whose stratum is missing are refused, and become LOST gaps when told so",
          "[space]") {
  SpaceScene scene;
  FillRounds(*scene.store, scene.scribe, 3);
  const std::vector<uint32_t> strata = SealedStrata(*scene.store);
  REQUIRE(scene.store->Close().ok());
  scene.store.reset();
  {
    RawDatabase database(scene.fs);
    database.DropFamily(StratumName(strata[1]));
  }
  const Status refused = Store::Open(scene.options).status();
  CHECK(refused.reason() == Reason::CORRUPTION);
  CHECK(refused.message().find("--quarantine") != std::string::npos);
  LogLines lines;
  scene.options.log = lines.logger();
  scene.options.quarantine = true;
  scene.Restart();
  scene.options.quarantine = false;
  CHECK(lines.Contains("the messages 6..10 of channel 'slow' are lost"));
  scene.CheckReadable(1, 1, 6);
  scene.CheckReadable(1, 11, 16);
  REQUIRE(scene.scribe.recovered.channels.size() == 2);
  for (const RecoveredChannel& channel : scene.scribe.recovered.channels) {
    CHECK(channel.record.lost == std::vector<Gap>{{6, 10, GapReason::kLost}});
    CHECK(channel.next_id == 16);
  }
  // Said once: afterwards the gap is part of the channel.
  scene.Reopen();
  CHECK(scene.scribe.recovered.channels[0].record.lost ==
        std::vector<Gap>{{6, 10, GapReason::kLost}});
}

TEST_CASE("the ballast takes its space, gives it back, and opens a full disk", "[space]") {
  SpaceScene scene;
  scene.options.ballast = 400'000;
  scene.Reopen();
  CHECK(scene.store->BallastBytes() == 0);
  REQUIRE(scene.store->RestoreBallast().ok());
  CHECK(scene.store->BallastBytes() >= 400'000);
  const uint64_t used = scene.store->Usage().used;
  scene.store->ReleaseBallast();
  CHECK(scene.store->BallastBytes() == 0);
  CHECK(scene.store->Usage().used + 400'000 <= used);

  SECTION("a ballast that does not fit is not there in part") {
    scene.fs->SetFreeSpace(100'000);
    CHECK_FALSE(scene.store->RestoreBallast().ok());
    CHECK(scene.store->BallastBytes() == 0);
    CHECK_FALSE(scene.store->failed());
  }
  SECTION("a full disk") {
    REQUIRE(scene.store->RestoreBallast().ok());
    for (int i = 0; i < 10; ++i) REQUIRE(scene.scribe.Append(*scene.store, 1, 1, 10'000).ok());
    REQUIRE(scene.store->Sync().ok());
    scene.fs->SetFreeSpace(1'000);
    // Recovery has to flush the log into a table file, for which there is no room.
    scene.fs->ProcessKill();
    scene.store.reset();
    scene.Restart();
    CHECK(scene.store->BallastBytes() == 0);
    scene.CheckReadable(1, 1, 11);
  }
}

}  // namespace
}  // namespace strata::storage
