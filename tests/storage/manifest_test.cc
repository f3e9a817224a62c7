// A MANIFEST whose last edit is torn opens without it; one that is damaged elsewhere is refused.
#include <string>
#include <utility>
#include <vector>

#include "storage/store.h"
#include "tests/support/catch.h"
#include "tests/support/fault_fs.h"

namespace strata::storage {
namespace {

using testing::FaultFileSystem;

constexpr ChannelNumber kChannel = 1;

class Scene {
 public:
  Scene() {
    REQUIRE(disk_->CreateDirIfMissing("/var", rocksdb::IOOptions(), nullptr).ok());
    disk_->SyncAll();
    auto store = Open();
    REQUIRE(store.ok());
    const Recovered recovered = (*store)->TakeRecovered();
    WriteGroup group;
    group.commit = recovered.commit + 1;
    ChannelRecord channel;
    channel.number = kChannel;
    channel.name = "log";
    group.changes.emplace_back(PutChannel{channel});
    REQUIRE((*store)->Write(group).ok());
    REQUIRE((*store)->Sync().ok());
    REQUIRE((*store)->Close().ok());
  }

  Result<std::unique_ptr<Store>> Open() {
    StoreOptions options;
    options.path = "/var/strata";
    options.write_buffer = 128u << 10;
    options.lock_timeout = std::chrono::milliseconds(0);
    options.file_system = disk_;
    options.boot_id = "boot";
    return Store::Open(options);
  }
  // The MANIFEST that CURRENT names.
  std::string ManifestPath() const {
    std::string name = *disk_->Contents("/var/strata/db/CURRENT");
    name.pop_back();
    return "/var/strata/db/" + name;
  }
  std::string Contents(const std::string& path) const { return disk_->Contents(path).value_or(""); }
  std::string Manifest() const { return *disk_->Contents(ManifestPath()); }
  void SetManifest(const std::string& contents) { REQUIRE(disk_->Put(ManifestPath(), contents)); }

  FaultFileSystem& disk() { return *disk_; }
  void SetDisk(std::shared_ptr<FaultFileSystem> disk) { disk_ = std::move(disk); }

 private:
  std::shared_ptr<FaultFileSystem> disk_ = FaultFileSystem::Create();
};

// An edit of so many bytes: checksum, length, type "whole", and a body. It is not one that RocksDB would take.
std::string EditOf(size_t size) {
  std::string edit(size, 'e');
  edit.replace(0, 7,
               {'\x12', '\x34', '\x56', '\x78', static_cast<char>((size - 7) & 0xff),
                static_cast<char>((size - 7) >> 8), '\x01'});
  return edit;
}

}  // namespace

TEST_CASE("A store whose last MANIFEST edit has a hole opens without that edit") {
  Scene scene;
  std::string manifest = scene.Manifest();
  // Of whose body the second sector never reached the disk.
  std::string edit = EditOf(1507);
  edit.replace(600, 512, 512, '\0');
  scene.SetManifest(manifest + edit);
  const std::string name = scene.ManifestPath().substr(std::string("/var/strata/db/").size());

  auto store = scene.Open();
  REQUIRE(store.ok());
  const Recovered recovered = (*store)->TakeRecovered();
  REQUIRE(recovered.channels.size() == 1);
  CHECK(recovered.channels[0].record.name == "log");
  CHECK((*store)->Close().ok());
  CHECK(scene.Contents("/var/strata/TORN-" + name) == manifest + edit);
}

TEST_CASE(
    "An edit of which only the few bytes in the last sector are missing is one that a power cut "
    "tore") {
  for (const size_t missing : {8, 20, 63}) {
    INFO(missing << " bytes are missing");
    Scene scene;
    const std::string manifest = scene.Manifest();
    // Long enough to begin in the sector before its last one, and to end `missing` bytes into that.
    const size_t size =
        512 - manifest.size() % 512 + missing + (manifest.size() % 512 > 400 ? 512 : 0);
    std::string edit = EditOf(size);
    edit.replace(size - missing, missing, missing, '\0');
    scene.SetManifest(manifest + edit);
    auto store = scene.Open();
    REQUIRE(store.ok());
    CHECK((*store)->TakeRecovered().channels.size() == 1);
    CHECK((*store)->Close().ok());
  }
}

// RocksDB names a new MANIFEST in CURRENT at each opening. Where names reach the disk in any order, a power cut right
// behind that must not keep the one and lose the other.
TEST_CASE("A power cut while CURRENT is replaced leaves a MANIFEST under the name that it gives") {
  Scene scene;
  std::vector<std::shared_ptr<FaultFileSystem>> disks;
  scene.disk().SetEventCallback([&](const testing::Event& event) {
    if (event.op == testing::kRename && event.done && event.path.ends_with("/CURRENT")) {
      disks.push_back(scene.disk().Clone());
    }
  });
  REQUIRE(scene.Open().ok());
  scene.disk().SetEventCallback(nullptr);
  REQUIRE_FALSE(disks.empty());
  for (const auto& disk : disks) {
    for (uint64_t seed = 1; seed <= 24; ++seed) {
      const auto after = disk->Clone();
      after->PowerCut(seed);
      scene.SetDisk(after);
      const auto store = scene.Open();
      INFO("power cut " << seed << ": " << store.status().ToString());
      REQUIRE(store.ok());
    }
  }
}

TEST_CASE("A MANIFEST that is damaged at its beginning is refused, and stays as it is") {
  Scene scene;
  std::string manifest = scene.Manifest();
  manifest[20] = static_cast<char>(manifest[20] ^ 0x55);
  scene.SetManifest(manifest);

  const auto store = scene.Open();
  REQUIRE_FALSE(store.ok());
  CHECK(store.status().reason() == Reason::CORRUPTION);
  CHECK(scene.Manifest() == manifest);
}

}  // namespace strata::storage
