// Any bytes at the end of a MANIFEST that RocksDB calls corrupt: CutTornManifest makes it readable and
// keeps what it was, or leaves everything as it is. The input is how much of a good MANIFEST is kept, and
// what follows it.
#include <rocksdb/db.h>

#include <memory>
#include <string>
#include <vector>

#include "storage/manifest.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fault_fs.h"

namespace strata::storage {
namespace {

using testing::FaultFileSystem;

constexpr char kPath[] = "/var/strata";
constexpr char kDatabase[] = "/var/strata/db";

StoreOptions OptionsOn(const std::shared_ptr<rocksdb::FileSystem>& fs) {
  StoreOptions options;
  options.path = kPath;
  options.write_buffer = 128u << 10;
  options.lock_timeout = std::chrono::milliseconds(0);
  options.file_system = fs;
  options.boot_id = "boot";
  return options;
}

struct Good {
  std::string name;  // MANIFEST-000005
  std::string contents;
};

// Of a store that was created and closed.
const Good& GoodManifest() {
  static const Good good = [] {
    const auto fs = FaultFileSystem::Create();
    FUZZ_CHECK(fs->CreateDirIfMissing("/var", rocksdb::IOOptions(), nullptr).ok());
    auto store = Store::Open(OptionsOn(fs));
    FUZZ_CHECK_SAY(store.ok(), store.status().ToString());
    FUZZ_CHECK((*store)->Close().ok());
    std::string name = *fs->Contents(std::string(kDatabase) + "/CURRENT");
    name.pop_back();
    return Good{name, *fs->Contents(std::string(kDatabase) + "/" + name)};
  }();
  return good;
}

rocksdb::Status ListFamilies(const StoreOptions& options, const std::shared_ptr<FailLatch>& latch,
                             std::vector<std::string>* families) {
  const RocksSetup setup = MakeRocksSetup(options, options.file_system, latch);
  return rocksdb::DB::ListColumnFamilies(setup.db, kDatabase, families);
}

void Check(const std::string& contents) {
  const auto fs = FaultFileSystem::Create();
  for (const char* folder : {"/var", kPath, kDatabase}) {
    FUZZ_CHECK(fs->CreateDirIfMissing(folder, rocksdb::IOOptions(), nullptr).ok());
  }
  const std::string& name = GoodManifest().name;
  const std::string path = std::string(kDatabase) + "/" + name;
  const std::string kept = std::string(kPath) + "/TORN-" + name;
  FUZZ_CHECK(fs->Put(std::string(kDatabase) + "/CURRENT", name + "\n"));
  FUZZ_CHECK(fs->Put(path, contents));
  const StoreOptions options = OptionsOn(fs);
  const auto latch = std::make_shared<FailLatch>(Logger());
  std::vector<std::string> before;
  if (!ListFamilies(options, latch, &before).IsCorruption()) return;

  const auto cut = CutTornManifest(options, fs, latch, kDatabase);
  FUZZ_CHECK_SAY(cut.ok(), cut.status().ToString());
  if (!*cut) {
    FUZZ_CHECK(fs->Contents(path) == contents && !fs->Contents(kept));
    return;
  }
  FUZZ_CHECK(**cut > 0 && **cut < contents.size());
  FUZZ_CHECK(fs->Contents(path) == contents.substr(0, contents.size() - **cut));
  FUZZ_CHECK(fs->Contents(kept) == contents);
  std::vector<std::string> after;
  FUZZ_CHECK(ListFamilies(options, latch, &after).ok());
  FUZZ_CHECK(!after.empty());
}

}  // namespace
}  // namespace strata::storage

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using namespace strata::storage;
  fuzz::Input input(data, size);
  const std::string& good = GoodManifest().contents;
  const size_t low = input.Byte();
  const size_t kept = low | size_t{input.Byte()} << 8;
  Check(good.substr(0, kept) + std::string(input.rest()));
  return 0;
}
