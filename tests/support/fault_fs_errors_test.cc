// Errors by chance, and of calls that only look.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/fault_fs.h"

namespace strata::testing {
namespace {

const rocksdb::IOOptions kIo;

std::shared_ptr<FaultFileSystem> NewDisk() {
  auto fs = FaultFileSystem::Create();
  REQUIRE(fs->CreateDir("/d", kIo, nullptr).ok());
  REQUIRE(fs->Put("/d/file", "bytes"));
  return fs;
}

// Which of 1,000 looks at a file fail.
std::vector<bool> Failures(uint64_t seed) {
  const auto fs = NewDisk();
  fs->FailNext({.ops = kLook, .count = Fault::kSticky, .one_in = 10, .seed = seed});
  std::vector<bool> failures;
  for (int i = 0; i < 1000; ++i) failures.push_back(!fs->FileExists("/d/file", kIo, nullptr).ok());
  return failures;
}

TEST_CASE("errors by chance are as frequent as asked for, and the seed repeats them") {
  const std::vector<bool> failures = Failures(1);
  const auto count = std::count(failures.begin(), failures.end(), true);
  CHECK(count > 50);
  CHECK(count < 200);
  CHECK(Failures(1) == failures);
  CHECK(Failures(5000) != failures);
}

TEST_CASE("a look that fails is an error, not an answer") {
  const auto fs = NewDisk();
  const auto fail = [&] { fs->FailNext({.ops = kLook}); };
  fail();
  CHECK(fs->FileExists("/d/file", kIo, nullptr).IsIOError());
  fail();
  CHECK(fs->FileExists("/d/none", kIo, nullptr).IsIOError());
  fail();
  std::vector<std::string> names;
  CHECK(fs->GetChildren("/d", kIo, &names, nullptr).IsIOError());
  fail();
  uint64_t size = 0;
  CHECK(fs->GetFileSize("/d/file", kIo, &size, nullptr).IsIOError());
  fail();
  bool is_dir = false;
  CHECK(fs->IsDirectory("/d", kIo, &is_dir, nullptr).IsIOError());
  CHECK(fs->InjectedErrors() == 5);
  CHECK(fs->FileExists("/d/none", kIo, nullptr).IsNotFound());
  CHECK(fs->FileExists("/d/file", kIo, nullptr).ok());
}

}  // namespace
}  // namespace strata::testing
