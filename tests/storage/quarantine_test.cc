// Opening although a stratum cannot be.
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

// Three strata of five messages each, closed; the files of the second one by name.
struct QuarantineScene {
  QuarantineScene() {
    auto store = MustOpen(options);
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 5; ++i) REQUIRE(scribe.Append(*store, 1, 1, 2'000).ok());
      REQUIRE(store->Write(scribe.Begin().Change(SealStratum{}).group()).ok());
    }
    REQUIRE(store->Sync().ok());
    REQUIRE(store->DescribeStrata().size() == 4);
    REQUIRE(store->Close().ok());
    for (const std::string& file : fs->Files()) {
      const std::string contents = *fs->Contents(file);
      if (file.ends_with(".sst") && contents.find(PayloadOf(1, 7, 2'000)) != std::string::npos) {
        second = file;
      }
    }
    REQUIRE(!second.empty());
  }
  // What the store says when it is opened as usual.
  std::string Refusal() {
    auto store = Store::Open(options);
    REQUIRE(!store.ok());
    return store.status().message();
  }
  bool HasFile(const std::string& part) const {
    for (const std::string& file : fs->Files()) {
      if (file.find(part) != std::string::npos) return true;
    }
    return false;
  }

  std::shared_ptr<testing::FaultFileSystem> fs = NewFaultFs();
  StoreOptions options = [this] {
    StoreOptions tiny = TinyOptions(fs);
    tiny.page_size = 1u << 20;
    return tiny;
  }();
  std::string second;
};

TEST_CASE("a stratum that cannot be opened is named, and set aside when told so", "[quarantine]") {
  QuarantineScene scene;
  SECTION("its file is missing") { REQUIRE(scene.fs->Remove(scene.second)); }
  SECTION("its footer is damaged") {
    const uint64_t size = scene.fs->Contents(scene.second)->size();
    for (uint64_t i = 1; i <= 48; ++i) REQUIRE(scene.fs->Corrupt(scene.second, size - i, 0x5a));
  }
  SECTION("it is cut short") {
    const std::string contents = *scene.fs->Contents(scene.second);
    REQUIRE(scene.fs->Put(scene.second, contents.substr(0, contents.size() / 2)));
  }
  const std::string refusal = scene.Refusal();
  CHECK(refusal.find("stratum-0000000002") != std::string::npos);
  CHECK(refusal.find("--quarantine") != std::string::npos);
  // Refusing again changes nothing.
  CHECK(scene.Refusal() == refusal);

  scene.options.quarantine = true;
  auto store = MustOpen(scene.options);
  CHECK(ReadAll(*store, 1, 1, 6).ids == Ids(1, 6));
  CHECK(ReadAll(*store, 1, 11, 16).ids == Ids(11, 16));
  Scribe scribe(*store);
  REQUIRE(scribe.recovered.channels.size() == 1);
  CHECK(scribe.recovered.channels[0].record.lost == std::vector<Gap>{{6, 10, GapReason::kLost}});
  REQUIRE(scribe.Append(*store, 1, 2).ok());
  REQUIRE(store->Close().ok());
  store.reset();

  // From then on it opens as usual.
  scene.options.quarantine = false;
  store = MustOpen(scene.options);
  CHECK(ReadAll(*store, 1, 16, 18).ids == Ids(16, 18));
}

TEST_CASE("files that are set aside can still be looked at", "[quarantine]") {
  QuarantineScene scene;
  const std::string name = scene.second.substr(scene.second.rfind('/') + 1);
  const uint64_t size = scene.fs->Contents(scene.second)->size();
  REQUIRE(scene.fs->Corrupt(scene.second, size - 3, 0x5a));
  scene.options.quarantine = true;
  MustOpen(scene.options);
  CHECK(scene.HasFile("/quarantine/stratum-0000000002-" + name));
}

// The stratum is dropped for good, so what is kept of it has to be on disk before.
TEST_CASE("files that are set aside survive a power cut", "[quarantine]") {
  QuarantineScene scene;
  const std::string name = scene.second.substr(scene.second.rfind('/') + 1);
  const std::string contents = *scene.fs->Contents(scene.second);
  REQUIRE(scene.fs->Corrupt(scene.second, contents.size() - 3, 0x5a));
  scene.options.quarantine = true;
  auto store = MustOpen(scene.options);
  scene.fs->CutAfterNextWrites(0);
  store.reset();
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    INFO("power cut " << seed);
    const auto disk = scene.fs->Clone();
    disk->PowerCut(seed);
    const auto kept =
        disk->Contents(std::string(kStorePath) + "/quarantine/stratum-0000000002-" + name);
    REQUIRE(kept.has_value());
    CHECK(kept->size() == contents.size());
  }
}

TEST_CASE("a broken catalog is not a stratum", "[quarantine]") {
  QuarantineScene scene;
  for (const std::string& file : scene.fs->Files()) {
    const std::string contents = *scene.fs->Contents(file);
    if (!file.ends_with(".sst") || contents.find("default") == std::string::npos) continue;
    REQUIRE(scene.fs->Corrupt(file, contents.size() - 3, 0x5a));
  }
  scene.options.quarantine = true;
  CHECK(scene.Refusal().find("the catalog cannot be opened") != std::string::npos);
}

TEST_CASE("setting aside leaves a sound store alone", "[quarantine]") {
  QuarantineScene scene;
  scene.options.quarantine = true;
  auto store = MustOpen(scene.options);
  CHECK(ReadAll(*store, 1, 1, 16).ids == Ids(1, 16));
  CHECK_FALSE(scene.HasFile("/quarantine/"));
}

}  // namespace
}  // namespace strata::storage
