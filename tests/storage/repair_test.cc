// Repair: what is intact comes into the new store as it was, what is missing is announced, the old one stays.
#include "storage/repair.h"

#include "storage/verify.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

constexpr const char* kInto = "/data/repaired";

// A closed store of three strata with ten messages of channel 1 each, a subscription and a producer.
struct RepairScene {
  std::shared_ptr<testing::FaultFileSystem> fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);

  RepairScene() {
    options.page_size = 1u << 20;
    auto store = MustOpen(options);
    Scribe scribe(*store);
    ChannelRecord channel = MakeChannel(1, "logs");
    channel.exclusive_term = 9;
    channel.next_producer = 2;
    REQUIRE(store->Write(scribe.Begin().Change(PutChannel{channel}).group()).ok());
    REQUIRE(store->Write(scribe.Begin().Change(PutProducer{MakeProducer(1, 1, "writer")}).group())
                .ok());
    SubscriptionRecord subscription;
    subscription.channel = 1;
    subscription.name = "reader";
    subscription.cursor = 7;
    REQUIRE(store->Write(scribe.Begin().Change(PutSubscription{subscription}).group()).ok());
    for (uint64_t sequence = 1; sequence <= 30; ++sequence) {
      REQUIRE(store->Write(scribe.Begin().Produce(1, 1, sequence, 1, 2'000).group()).ok());
      if (sequence % 10 == 0) {
        REQUIRE(store->Write(scribe.Begin().Change(SealStratum{}).group()).ok());
      }
    }
    REQUIRE(store->Sync().ok());
    REQUIRE(store->Close().ok());
  }

  std::string FileWith(MessageId id) const {
    for (const std::string& file : fs->Files()) {
      if (file.ends_with(".sst") &&
          fs->Contents(file)->find(PayloadOf(1, id, 2'000)) != std::string::npos) {
        return file;
      }
    }
    return "";
  }
  RepairReport MustRepair() const {
    auto report = Repair(options, kInto);
    INFO(report.status().ToString());
    REQUIRE(report.ok());
    return std::move(report).value();
  }
  std::unique_ptr<Store> OpenRepaired() const {
    StoreOptions repaired = options;
    repaired.path = kInto;
    repaired.create_if_missing = false;
    const auto verified = Verify(repaired);
    REQUIRE(verified.ok());
    CHECK(verified->ok());
    return MustOpen(repaired);
  }
};

TEST_CASE("repairing a sound store makes an equal one", "[repair]") {
  RepairScene scene;
  const RepairReport report = scene.MustRepair();
  CHECK(report.catalog_whole);
  CHECK_FALSE(report.ids_jump);
  CHECK(report.damage_count == 0);
  CHECK(report.lost.empty());
  CHECK(report.messages == 30);
  const auto before = MustOpen(scene.options)->TakeRecovered();
  auto store = scene.OpenRepaired();
  const Recovered after = store->TakeRecovered();
  CHECK(after.store_id == before.store_id);
  REQUIRE(after.channels.size() == 1);
  // Its row says where ids go on, whichever pages there are; before, the last page alone did.
  ChannelRecord expected = before.channels[0].record;
  expected.next_id = before.channels[0].next_id;
  CHECK(after.channels[0].record == expected);
  CHECK(after.channels[0].next_id == 31);
  CHECK(after.subscriptions == before.subscriptions);
  CHECK(after.producers == before.producers);
  CHECK(ReadAll(*store, 1, 1, 31).ids == Ids(1, 31));
}

TEST_CASE("a lost block is a LOST gap, and ids go on where they were", "[repair]") {
  RepairScene scene;
  const std::string file = scene.FileWith(15);
  REQUIRE(scene.fs->Corrupt(file, scene.fs->Contents(file)->find(PayloadOf(1, 15, 2'000)) + 9, 1));
  const RepairReport report = scene.MustRepair();
  CHECK(report.catalog_whole);
  CHECK_FALSE(report.ids_jump);
  REQUIRE(report.lost.size() == 1);
  CHECK(report.lost[0].first == 11);  // its block
  CHECK(report.lost[0].last == 20);
  CHECK(report.lost[0].name == "logs");
  auto store = scene.OpenRepaired();
  const Recovered recovered = store->TakeRecovered();
  CHECK(recovered.channels[0].next_id == 31);
  CHECK(recovered.channels[0].record.lost == std::vector<Gap>{{11, 20, GapReason::kLost}});
  CHECK(ReadAll(*store, 1, 1, 11).ids == Ids(1, 11));
  CHECK(ReadAll(*store, 1, 21, 31).ids == Ids(21, 31));
}

TEST_CASE("a table file without its index, the MANIFEST and CURRENT lose nothing", "[repair]") {
  RepairScene scene;
  SECTION("a footer") {
    const std::string file = scene.FileWith(15);
    REQUIRE(scene.fs->Corrupt(file, scene.fs->Contents(file)->size() - 3, 0x5a));
  }
  SECTION("CURRENT") { REQUIRE(scene.fs->Put(std::string(kStorePath) + "/db/CURRENT", "MANI")); }
  SECTION("every MANIFEST") {
    for (const std::string& file : scene.fs->Files()) {
      if (file.find("/MANIFEST-") != std::string::npos) REQUIRE(scene.fs->Remove(file));
    }
  }
  CHECK_FALSE(Store::Open(scene.options).ok());
  const RepairReport report = scene.MustRepair();
  CHECK(report.damage_count > 0);
  CHECK(report.lost.empty());
  auto store = scene.OpenRepaired();
  CHECK(ReadAll(*store, 1, 1, 31).ids == Ids(1, 31));
  CHECK(store->TakeRecovered().channels[0].record.exclusive_term == 9);
}

TEST_CASE("without the catalog messages are kept under a made-up name, and ids jump", "[repair]") {
  RepairScene scene;
  for (const std::string& file : scene.fs->Files()) {
    const std::string contents = *scene.fs->Contents(file);
    if (file.ends_with(".log")) REQUIRE(scene.fs->Remove(file));
    if (file.ends_with(".sst") && contents.find("default") != std::string::npos) {
      REQUIRE(scene.fs->Remove(file));
    }
  }
  const RepairReport report = scene.MustRepair();
  CHECK_FALSE(report.catalog_whole);
  CHECK(report.ids_jump);
  auto store = scene.OpenRepaired();
  const Recovered recovered = store->TakeRecovered();
  REQUIRE(recovered.channels.size() == 1);
  CHECK(recovered.channels[0].record.name == "salvaged-1");
  CHECK(recovered.channels[0].next_id == 31 + kLostIdJump);
  CHECK(recovered.next_channel > ChannelNumber{1} << 20);
  CHECK(ReadAll(*store, 1, 1, 31).ids == Ids(1, 31));
}

TEST_CASE("a repair leaves the damaged store as it is, and overwrites nothing", "[repair]") {
  RepairScene scene;
  const auto files = [&] {
    std::map<std::string, std::string> found;
    for (const std::string& file : scene.fs->Files()) {
      if (file.starts_with(std::string(kStorePath) + "/")) found[file] = *scene.fs->Contents(file);
    }
    return found;
  };
  const auto before = files();
  scene.MustRepair();
  CHECK(files() == before);
  const auto again = Repair(scene.options, kInto);
  CHECK(again.status().message().find("--into") != std::string::npos);
  const auto open = MustOpen(scene.options);
  CHECK(Repair(scene.options, "/data/other").status().reason() == Reason::STORE_LOCKED);
}

TEST_CASE("what is no store is not repaired", "[repair]") {
  const auto fs = NewFaultFs();
  CHECK(Repair(TinyOptions(fs), kInto).status().reason() == Reason::IO_ERROR);
  CHECK_FALSE(fs->FileExists(kInto, rocksdb::IOOptions(), nullptr).ok());
}

}  // namespace
}  // namespace strata::storage
