// Any bytes as the small files beside the database: the watermark and the identity. The first byte
// chooses the file, and whether the watermark's checksums are made to match first.
#include <algorithm>
#include <memory>
#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/codec.h"
#include "storage/directory.h"
#include "storage/watermark.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fault_fs.h"

namespace strata::storage {
namespace {

constexpr char kStoreId[] = "000102030405060708090a0b0c0d0e0f";
constexpr char kFolder[] = "/s";

class Disk {
 public:
  Disk() { FUZZ_CHECK(fs_->CreateDirIfMissing(kFolder, rocksdb::IOOptions(), nullptr).ok()); }
  rocksdb::FileSystem& fs() { return *fs_; }
  void Put(const std::string& path, std::string_view contents) {
    FUZZ_CHECK(fs_->Put(path, contents));
  }

 private:
  const std::shared_ptr<testing::FaultFileSystem> fs_ = testing::FaultFileSystem::Create();
};

void PutHash(std::string* file, size_t at, size_t from, size_t bytes) {
  PutBigEndian64(&(*file)[at], XXH3_64bits(&(*file)[from], bytes));
}

// As docs/formats/store-directory.md describes them: two slots, then blocks.
void MakeChecksumsMatch(std::string* file) {
  for (const size_t slot : {0, 512}) {
    if (file->size() >= slot + 64) PutHash(file, slot + 56, slot, 56);
  }
  for (size_t block = 4096; block + 32 <= file->size(); block += 4096) {
    const size_t entries = GetBigEndian32(&(*file)[block + 4]);
    if (entries > 254 || block + 32 + 16 * entries > file->size()) continue;
    PutBigEndian64(&(*file)[block + 24], 0);
    PutHash(file, block + 24, block, 32 + 16 * entries);
  }
}

void CheckWatermark(Disk* disk, const std::string& file) {
  const std::string path = std::string(kFolder) + "/" + kWatermarkFile;
  disk->Put(path, file);
  std::string absent;
  const auto found = Watermark::Read(disk->fs(), path, kStoreId, &absent);
  FUZZ_CHECK(found.ok());
  FUZZ_CHECK(found->has_value() == absent.empty());
  if (!*found) return;

  // Writing goes on from there, and wins over what was in the file. (A number of 2^63 takes 300,000 years at a
  // million syncs per second.)
  const WatermarkContents contents = **found;
  constexpr uint64_t kMost = uint64_t{1} << 63;
  if (contents.header_sequence >= kMost || contents.table_sequence >= kMost) return;
  auto watermark = Watermark::Open(disk->fs(), path, kStoreId, contents);
  FUZZ_CHECK(watermark.ok());
  const uint64_t commit = contents.commit + 1;
  NextIds next_ids = contents.next_ids;
  next_ids.emplace_back(7, 77);
  FUZZ_CHECK((*watermark)->NoteDurable(commit).ok());
  FUZZ_CHECK((*watermark)->NoteAcknowledged(next_ids).ok());
  watermark->reset();
  const auto again = Watermark::Read(disk->fs(), path, kStoreId, &absent);
  FUZZ_CHECK(again.ok() && again->has_value());
  FUZZ_CHECK((*again)->commit == commit);
  FUZZ_CHECK((*again)->next_ids == next_ids);
}

void CheckIdentity(Disk* disk, std::string_view file) {
  disk->Put(std::string(kFolder) + "/" + kIdentityFile, file);
  Identity identity;
  const auto state = InspectDirectory(disk->fs(), kFolder, &identity);
  if (!state.ok()) {
    FUZZ_CHECK(state.status().reason() == Reason::CORRUPTION ||
               state.status().reason() == Reason::FORMAT_TOO_NEW);
    return;
  }
  FUZZ_CHECK(*state == DirectoryState::kStore);
  FUZZ_CHECK(identity.format >= 1 && identity.id.size() == 32);
  FUZZ_CHECK(WriteIdentity(disk->fs(), kFolder, identity).ok());
  Identity again;
  const auto written = InspectDirectory(disk->fs(), kFolder, &again);
  FUZZ_CHECK(written.ok() && *written == DirectoryState::kStore);
  FUZZ_CHECK(again.format == identity.format && again.id == identity.id &&
             again.ready == identity.ready);
}

}  // namespace
}  // namespace strata::storage

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using namespace strata::storage;
  fuzz::Input input(data, size);
  const uint8_t kind = input.Byte() % 3;
  Disk disk;
  if (kind == 2) {
    CheckIdentity(&disk, input.rest());
    return 0;
  }
  std::string file(input.rest());
  if (kind == 1) MakeChecksumsMatch(&file);
  CheckWatermark(&disk, file);
  return 0;
}
