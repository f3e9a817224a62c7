// storage.mmapReads, on the real file system: the fault file system has no mappings.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "storage/verify.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

constexpr size_t kPayload = 1000;
constexpr MessageId kEnd = 2001;

// A store with 400 batches of 5 messages of 1,000 bytes in channel 1, in table files of several blocks each.
struct Scene {
  TemporaryFolder folder;
  StoreOptions options = TinyOptions(nullptr);

  explicit Scene(bool mmap_reads) {
    options.path = folder.path() + "/store";
    options.page_size = 512u << 10;
    options.write_buffer = 1u << 20;
    options.mmap_reads = mmap_reads;
    auto store = MustOpen(options);
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    for (MessageId id = 1; id < kEnd; id += 5) {
      REQUIRE(scribe.Append(*store, 1, 5, kPayload).ok());
    }
    REQUIRE(store->Close().ok());
  }

  std::vector<std::string> TableFiles() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(options.path + "/db")) {
      if (entry.path().extension() == ".sst") files.push_back(entry.path());
    }
    return files;
  }

  // Flips a bit in the stored payload of a message.
  void Rot(MessageId id) const {
    for (const std::string& name : TableFiles()) {
      std::ostringstream text;
      text << std::ifstream(name, std::ios::binary).rdbuf();
      const size_t at = text.str().find(PayloadOf(1, id, kPayload));
      if (at == std::string::npos) continue;
      std::fstream file(name, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(at + kPayload / 2));
      file.put(static_cast<char>(text.str()[at + kPayload / 2] ^ 0x40));
      return;
    }
    FAIL("message " << id << " is in no table file");
  }
};

// What this process has mapped, by name.
bool HasMapped(const std::string& folder) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    if (line.find(folder) != std::string::npos && line.ends_with(".sst")) return true;
  }
  return false;
}

TEST_CASE("with mmapReads everything is read back, through mappings", "[mmap]") {
  for (const bool mmap_reads : {false, true}) {
    INFO("mmap_reads " << mmap_reads);
    Scene scene(mmap_reads);
    auto store = MustOpen(scene.options);
    const ReadBack back = ReadAll(*store, 1, 1, kEnd);
    CHECK(back.wrong == "");
    CHECK(back.ids == Ids(1, kEnd));
    CHECK(back.gaps.empty());
    CHECK(HasMapped(scene.options.path) == mmap_reads);
  }
}

TEST_CASE("what was read through a mapping outlives the store and its files", "[mmap]") {
  Scene scene(/*mmap_reads=*/true);
  auto store = MustOpen(scene.options);
  auto items = store->Read(1, 1, kEnd, 100u << 20);
  REQUIRE(items.ok());
  REQUIRE(store->Close().ok());
  store.reset();
  for (const std::string& file : scene.TableFiles()) std::filesystem::resize_file(file, 0);
  MessageId id = 1;
  for (const ReadItem& item : *items) {
    const auto& batch = std::get<StoredBatch>(item);
    BatchIterator it(batch.bytes.view(), batch.first_id, batch.append_time);
    for (MessageView message; it.Next(&message); ++id) {
      REQUIRE(message.payload == PayloadOf(1, id, kPayload));
    }
  }
  CHECK(id == kEnd);
}

TEST_CASE("with mmapReads a rotten block is a CORRUPT gap, and its neighbours are readable",
          "[mmap]") {
  Scene scene(/*mmap_reads=*/true);
  scene.Rot(1003);
  auto store = MustOpen(scene.options);
  const ReadBack back = ReadAll(*store, 1, 1, kEnd);
  CHECK(back.wrong == "");
  REQUIRE(back.gaps.size() == 1);
  const Gap gap = back.gaps[0];
  CHECK(gap.reason == GapReason::kCorrupt);
  CHECK(gap.first <= 1003);
  CHECK(gap.last >= 1003);
  CHECK(gap.last - gap.first < 100);  // a block of 64 KiB has 60 to 70 such messages
  CHECK(back.ids.size() == static_cast<size_t>(kEnd - 1 - (gap.last - gap.first + 1)));
  CHECK_FALSE(store->failed());
}

TEST_CASE("with mmapReads a table file that was short before it was opened is damage, not a crash",
          "[mmap]") {
  Scene scene(/*mmap_reads=*/true);
  const std::vector<std::string> files = scene.TableFiles();
  REQUIRE_FALSE(files.empty());
  for (const std::string& file : files) {
    std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  }
  const auto store = Store::Open(scene.options);
  CHECK_FALSE(store.ok());
  const auto report = Verify(scene.options);
  REQUIRE(report.ok());
  CHECK_FALSE(report->ok());
}

}  // namespace
}  // namespace strata::storage
