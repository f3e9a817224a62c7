#include "tests/support/fault_fs.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace strata::testing {
namespace {

using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

constexpr uint64_t kSeeds = 200;  // enough for every kind of outcome to be seen
const IOOptions kIo;
const rocksdb::FileOptions kFile;

struct Disk {
  explicit Disk(FaultFileSystem::Options options = {}) : fs(FaultFileSystem::Create(options)) {
    REQUIRE(fs->CreateDir("/d", kIo, nullptr).ok());
    fs->SyncAll();
  }

  std::unique_ptr<rocksdb::FSWritableFile> Create(const std::string& path) const {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    REQUIRE(fs->NewWritableFile(path, kFile, &file, nullptr).ok());
    return file;
  }
  std::unique_ptr<rocksdb::FSRandomRWFile> OpenInPlace(const std::string& path) const {
    std::unique_ptr<rocksdb::FSRandomRWFile> file;
    REQUIRE(fs->NewRandomRWFile(path, kFile, &file, nullptr).ok());
    return file;
  }
  IOStatus SyncDir(const std::string& path) const {
    std::unique_ptr<rocksdb::FSDirectory> dir;
    REQUIRE(fs->NewDirectory(path, kIo, &dir, nullptr).ok());
    return dir->Fsync(kIo, nullptr);
  }
  // What `path` holds after each of kSeeds power cuts of this history; nothing = it is gone.
  std::vector<std::optional<std::string>> Outcomes(const std::string& path) const {
    std::vector<std::optional<std::string>> outcomes;
    for (uint64_t seed = 0; seed < kSeeds; ++seed) outcomes.push_back(Cut(seed)->Contents(path));
    return outcomes;
  }
  std::shared_ptr<FaultFileSystem> Cut(uint64_t seed) const {
    auto copy = fs->Clone();
    copy->PowerCut(seed);
    return copy;
  }

  std::shared_ptr<FaultFileSystem> fs;
};

IOStatus Append(rocksdb::FSWritableFile& file, const std::string& bytes) {
  return file.Append(bytes, kIo, nullptr);
}

template <typename File>
IOStatus Sync(File& file) {
  return file.Sync(kIo, nullptr);
}

std::set<std::optional<std::string>> Distinct(const std::vector<std::optional<std::string>>& all) {
  return {all.begin(), all.end()};
}

TEST_CASE("what was synced, name and bytes, survives every power cut") {
  Disk disk;
  auto file = disk.Create("/d/a");
  REQUIRE(Append(*file, "hello").ok());
  REQUIRE(Sync(*file).ok());
  REQUIRE(disk.SyncDir("/d").ok());
  CHECK(Distinct(disk.Outcomes("/d/a")) == std::set<std::optional<std::string>>{"hello"});
}

TEST_CASE("an unsynced tail is lost, kept, cut or full of holes") {
  Disk disk;
  auto file = disk.Create("/d/a");
  const std::string head(700, 'h');
  const std::string tail(20'000, 't');
  REQUIRE(Append(*file, head).ok());
  REQUIRE(Sync(*file).ok());
  REQUIRE(disk.SyncDir("/d").ok());
  REQUIRE(Append(*file, tail).ok());
  REQUIRE(file->RangeSync(0, 20'700, kIo, nullptr).ok());
  REQUIRE(file->Close(kIo, nullptr).ok());

  bool lost = false, kept = false, cut = false, hole_before_data = false;
  for (const auto& outcome : disk.Outcomes("/d/a")) {
    REQUIRE(outcome.has_value());
    REQUIRE(outcome->substr(0, 700) == head);
    const std::string rest = outcome->substr(700);
    REQUIRE(rest.size() <= tail.size());
    REQUIRE(rest.find_first_not_of(std::string("t\0", 2)) == std::string::npos);
    const size_t hole = rest.find('\0');
    lost |= rest.empty();
    kept |= rest == tail;
    cut |= !rest.empty() && rest.size() < tail.size() && hole == std::string::npos;
    hole_before_data |= hole != std::string::npos && rest.find('t', hole) != std::string::npos;
  }
  CHECK(lost);
  CHECK(kept);
  CHECK(cut);
  CHECK(hole_before_data);
}

TEST_CASE("a sync covers what was written before it began, not what is written beside it") {
  Disk disk;
  auto file = disk.Create("/d/log");
  REQUIRE(disk.SyncDir("/d").ok());
  REQUIRE(Append(*file, "before").ok());
  IOStatus beside;
  disk.fs->SetEventCallback([&](const Event& event) {
    if (event.op == kSync && !event.done) beside = Append(*file, "beside");
  });
  REQUIRE(Sync(*file).ok());
  REQUIRE(beside.ok());
  bool lost = false;
  for (const auto& outcome : disk.Outcomes("/d/log")) {
    REQUIRE(outcome.value().substr(0, 6) == "before");
    lost |= outcome->size() < 12;
  }
  CHECK(lost);
}

TEST_CASE("appends and syncs on two threads lose nothing that was appended before a sync") {
  Disk disk;
  auto file = disk.Create("/d/log");
  REQUIRE(disk.SyncDir("/d").ok());
  disk.fs->CutAfterNextWrites(2000);
  std::atomic<uint64_t> appended = 0;
  std::thread writer([&] {
    while (Append(*file, "0123456789").ok()) appended += 10;
  });
  uint64_t promised = 0;
  for (uint64_t before = appended; Sync(*file).ok(); before = appended) promised = before;
  writer.join();
  for (const auto& outcome : disk.Outcomes("/d/log")) {
    REQUIRE(outcome.value().size() >= promised);
    REQUIRE(outcome->find('\0') >= promised);
  }
}

TEST_CASE(
    "an overwrite beside a sync leaves what the sync covers or the new bytes, never older ones") {
  Disk disk;
  REQUIRE(disk.fs->Put("/d/WATERMARK", "old"));
  auto file = disk.OpenInPlace("/d/WATERMARK");
  REQUIRE(file->Write(0, "mid", kIo, nullptr).ok());
  IOStatus beside;
  disk.fs->SetEventCallback([&](const Event& event) {
    if (event.op == kSync && !event.done) beside = file->Write(0, "new", kIo, nullptr);
  });
  REQUIRE(Sync(*file).ok());
  REQUIRE(beside.ok());
  CHECK(Distinct(disk.Outcomes("/d/WATERMARK")) ==
        std::set<std::optional<std::string>>{"mid", "new"});
}

TEST_CASE("unsynced overwrites survive or not by sector, in any of their versions") {
  Disk disk;
  const auto record = [](char c) { return std::string(1024, c); };
  REQUIRE(disk.fs->Put("/d/WATERMARK", record('a')));
  auto file = disk.OpenInPlace("/d/WATERMARK");
  REQUIRE(file->Write(0, record('b'), kIo, nullptr).ok());
  REQUIRE(file->Write(0, record('c'), kIo, nullptr).ok());
  std::set<std::optional<std::string>> expected;
  for (const char first : {'a', 'b', 'c'}) {
    for (const char second : {'a', 'b', 'c'}) {
      expected.insert(std::string(512, first) + std::string(512, second));
    }
  }
  CHECK(Distinct(disk.Outcomes("/d/WATERMARK")) == expected);
  REQUIRE(Sync(*file).ok());
  CHECK(Distinct(disk.Outcomes("/d/WATERMARK")) ==
        std::set<std::optional<std::string>>{record('c')});
}

TEST_CASE("a truncation is lost with what followed it, or survives") {
  Disk disk;
  REQUIRE(disk.fs->Put("/d/a", "old content"));
  auto file = disk.Create("/d/a");  // truncates
  REQUIRE(Append(*file, "new").ok());
  const auto outcomes = Distinct(disk.Outcomes("/d/a"));
  for (const std::string outcome : {"old content", "", "new"}) CHECK(outcomes.contains(outcome));
  for (const auto& outcome : outcomes) {
    if (outcome == "old content") continue;
    CHECK(outcome.value().size() <= 3);
  }
}

TEST_CASE("a name is lost without a sync of its directory, unless file syncs keep names") {
  for (const bool keeps : {false, true}) {
    Disk disk({.file_sync_keeps_name = keeps});
    auto file = disk.Create("/d/a");
    REQUIRE(Append(*file, "x").ok());
    REQUIRE(Sync(*file).ok());
    const auto outcomes = Distinct(disk.Outcomes("/d/a"));
    CHECK(outcomes.contains("x"));
    CHECK(outcomes.contains(std::nullopt) == !keeps);
    REQUIRE(disk.SyncDir("/d").ok());
    CHECK(disk.Outcomes("/d/a") == std::vector<std::optional<std::string>>(kSeeds, "x"));
  }
}

TEST_CASE("a directory nobody synced into its parent takes its synced files with it") {
  Disk disk;
  REQUIRE(disk.fs->CreateDir("/d/sub", kIo, nullptr).ok());
  auto file = disk.Create("/d/sub/a");
  REQUIRE(Sync(*file).ok());
  REQUIRE(disk.SyncDir("/d/sub").ok());
  CHECK(Distinct(disk.Outcomes("/d/sub/a")).contains(std::nullopt));
  REQUIRE(disk.SyncDir("/d").ok());
  CHECK_FALSE(Distinct(disk.Outcomes("/d/sub/a")).contains(std::nullopt));
}

TEST_CASE("a rename changes both names or neither, a deletion may be undone") {
  Disk disk;
  REQUIRE(disk.fs->Put("/d/CURRENT", "1"));
  REQUIRE(disk.fs->Put("/d/tmp", "2"));
  REQUIRE(disk.fs->Put("/d/gone", "3"));
  REQUIRE(disk.fs->RenameFile("/d/tmp", "/d/CURRENT", kIo, nullptr).ok());
  REQUIRE(disk.fs->DeleteFile("/d/gone", kIo, nullptr).ok());
  std::set<std::string> renames, deletions;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    auto after = disk.Cut(seed);
    renames.insert(after->Contents("/d/CURRENT").value() + after->Contents("/d/tmp").value_or("-"));
    deletions.insert(after->Contents("/d/gone").value_or("-"));
  }
  CHECK(renames == std::set<std::string>{"12", "2-"});
  CHECK(deletions == std::set<std::string>{"-", "3"});
}

TEST_CASE("unsynced names survive as a prefix in some cuts and in any choice in others") {
  Disk disk;
  for (const char* path : {"/d/1", "/d/2", "/d/3"}) disk.Create(path);
  std::set<std::string> survivors;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::string names;
    for (const std::string& path : disk.Cut(seed)->Files()) names += path.back();
    survivors.insert(names);
  }
  CHECK(survivors == std::set<std::string>{"", "1", "2", "3", "12", "13", "23", "123"});
}

TEST_CASE("syncing one directory of a rename across two makes both sides durable") {
  Disk disk;
  REQUIRE(disk.fs->CreateDir("/e", kIo, nullptr).ok());
  disk.fs->SyncAll();
  REQUIRE(disk.fs->Put("/d/a", "x"));
  disk.Create("/e/b");  // replaced by the rename below, and must not come back
  REQUIRE(disk.fs->RenameFile("/d/a", "/e/b", kIo, nullptr).ok());
  REQUIRE(disk.SyncDir("/d").ok());
  CHECK(disk.Outcomes("/e/b") == std::vector<std::optional<std::string>>(kSeeds, "x"));
  CHECK(disk.Outcomes("/d/a") == std::vector<std::optional<std::string>>(kSeeds));
}

TEST_CASE("what a failed sync should have covered stays in doubt until it is written again") {
  Disk disk;
  REQUIRE(disk.fs->Put("/d/a", std::string(512, 'a')));
  auto file = disk.OpenInPlace("/d/a");
  const std::string bytes(1024, 'b');  // one sector overwritten, one appended
  REQUIRE(file->Write(0, bytes, kIo, nullptr).ok());
  disk.fs->FailNext({.ops = kSync});
  CHECK(FaultFileSystem::IsInjected(Sync(*file)));
  REQUIRE(Sync(*file).ok());
  bool overwrite_lost = false, append_lost = false;
  for (const auto& outcome : disk.Outcomes("/d/a")) {
    REQUIRE(outcome.value().size() == 1024);
    overwrite_lost |= outcome->front() == 'a';
    append_lost |= outcome->back() == '\0';
  }
  CHECK(overwrite_lost);
  CHECK(append_lost);
  REQUIRE(file->Write(0, bytes, kIo, nullptr).ok());
  REQUIRE(Sync(*file).ok());
  CHECK(disk.Outcomes("/d/a") == std::vector<std::optional<std::string>>(kSeeds, bytes));
}

TEST_CASE("a fault meets the calls it names, after those it skips, as often as it says") {
  Disk disk;
  auto log = disk.Create("/d/1.log");
  auto other = disk.Create("/d/1.sst");
  IOStatus asked = IOStatus::NoSpace("full");
  asked.SetRetryable(true);
  disk.fs->FailNext(
      {.ops = kAppend | kSync, .name = ".log", .status = asked, .skip = 1, .count = 2});
  CHECK(Append(*other, "x").ok());
  CHECK(Append(*log, "x").ok());
  const IOStatus met = Append(*log, "x");
  CHECK(met.IsNoSpace());
  CHECK(met.GetRetryable());
  CHECK(FaultFileSystem::IsInjected(met));
  CHECK(FaultFileSystem::IsInjected(Sync(*log)));
  CHECK(Sync(*log).ok());
  CHECK(disk.fs->InjectedErrors() == 2);
  CHECK(disk.fs->SyncCount(".log") == 1);
  CHECK(disk.fs->Contents("/d/1.log") == "x");
}

TEST_CASE("every kind of call can be made to fail, without effect") {
  Disk disk;
  auto& fs = *disk.fs;
  REQUIRE(fs.Put("/d/a", "x"));
  auto file = disk.OpenInPlace("/d/a");
  char scratch[1];
  Slice result;
  std::unique_ptr<rocksdb::FSWritableFile> created;
  std::unique_ptr<rocksdb::FSSequentialFile> opened;
  const std::vector<std::pair<Op, std::function<IOStatus()>>> calls = {
      {kOverwrite, [&] { return file->Write(0, "y", kIo, nullptr); }},
      {kTruncate, [&] { return fs.Truncate("/d/a", 0, kIo, nullptr); }},
      {kSync, [&] { return Sync(*file); }},
      {kDirSync, [&] { return disk.SyncDir("/d"); }},
      {kCreate, [&] { return fs.NewWritableFile("/d/b", kFile, &created, nullptr); }},
      {kCreate, [&] { return fs.LinkFile("/d/a", "/d/c", kIo, nullptr); }},
      {kCreate, [&] { return fs.CreateDir("/d/d", kIo, nullptr); }},
      {kRename, [&] { return fs.RenameFile("/d/a", "/d/b", kIo, nullptr); }},
      {kDelete, [&] { return fs.DeleteFile("/d/a", kIo, nullptr); }},
      {kOpen, [&] { return fs.NewSequentialFile("/d/a", kFile, &opened, nullptr); }},
      {kRead, [&] { return file->Read(0, 1, kIo, &result, scratch, nullptr); }},
  };
  for (const auto& [op, call] : calls) {
    fs.FailNext({.ops = op, .count = Fault::kSticky});
    CHECK(FaultFileSystem::IsInjected(call()));
    CHECK(FaultFileSystem::IsInjected(call()));
    fs.ClearFaults();
  }
  CHECK(fs.Files() == std::vector<std::string>{"/d/a"});
  CHECK(fs.Contents("/d/a") == "x");
  for (const auto& [op, call] : calls) {
    if (op == kRename) break;
    CHECK(call().ok());
  }
}

TEST_CASE("a failing write can leave a part of itself, and the next one goes on behind it") {
  Disk disk;
  auto file = disk.Create("/d/a");
  disk.fs->FailNext({.ops = kAppend, .partial_bytes = 2});
  CHECK_FALSE(Append(*file, "abc").ok());
  CHECK(Append(*file, "d").ok());
  CHECK(disk.fs->Contents("/d/a") == "abd");
}

TEST_CASE("without power every call fails and nothing becomes durable") {
  Disk disk;
  auto& fs = *disk.fs;
  auto file = disk.Create("/d/a");
  REQUIRE(disk.SyncDir("/d").ok());
  rocksdb::FileLock* lock = nullptr;
  REQUIRE(fs.LockFile("/d/LOCK", kIo, &lock, nullptr).ok());
  const uint64_t before = fs.Mutations();
  fs.CutAfterNextWrites(3);
  CHECK(Append(*file, "x").ok());
  CHECK(fs.FileExists("/d/a", kIo, nullptr).ok());  // a look does not count
  CHECK(Append(*file, "y").ok());
  CHECK_FALSE(fs.PowerIsOff());
  CHECK(Sync(*file).IsIOError());
  CHECK(fs.PowerIsOff());
  CHECK(fs.Mutations() == before + 2);
  CHECK(Append(*file, "z").IsIOError());
  CHECK(fs.FileExists("/d/a", kIo, nullptr).IsIOError());
  CHECK(fs.SyncCount("/d/a") == 0);
  CHECK(Distinct(disk.Outcomes("/d/a")).contains(""));

  fs.PowerCut(1);
  CHECK_FALSE(fs.PowerIsOff());
  CHECK(Append(*file, "dead").IsIOError());
  CHECK(Sync(*file).IsIOError());
  rocksdb::FileLock* second = nullptr;
  REQUIRE(fs.LockFile("/d/LOCK", kIo, &second, nullptr).ok());
  REQUIRE(fs.UnlockFile(lock, kIo, nullptr).ok());  // of the earlier life: frees nothing
  rocksdb::FileLock* third = nullptr;
  CHECK(fs.LockFile("/d/LOCK", kIo, &third, nullptr).IsIOError());
  REQUIRE(fs.UnlockFile(second, kIo, nullptr).ok());
}

TEST_CASE("a killed process loses its open files and locks, and none of its bytes") {
  Disk disk;
  auto file = disk.Create("/d/a");
  REQUIRE(Append(*file, "unsynced").ok());
  disk.fs->ProcessKill();
  CHECK(Append(*file, "x").IsIOError());
  CHECK(disk.fs->Contents("/d/a") == "unsynced");
  CHECK(Distinct(disk.Outcomes("/d/a")).contains(std::nullopt));
}

TEST_CASE("the same history and seed leave the same disk, and a clone goes its own way") {
  Disk disk;
  auto file = disk.Create("/d/a");
  REQUIRE(Append(*file, std::string(5000, 'x')).ok());
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    REQUIRE(disk.Cut(seed)->Contents("/d/a") == disk.Cut(seed)->Contents("/d/a"));
  }
  auto clone = disk.fs->Clone();
  REQUIRE(clone->DeleteFile("/d/a", kIo, nullptr).ok());
  CHECK(disk.fs->Contents("/d/a").value().size() == 5000);
}

TEST_CASE("a full disk takes what fits, says NoSpace, and recovers when something is deleted") {
  Disk disk;
  REQUIRE(disk.fs->Put("/d/old", std::string(100, 'o')));
  auto file = disk.Create("/d/a");
  disk.fs->SetFreeSpace(10);
  CHECK(Append(*file, "123456").ok());
  const IOStatus full = Append(*file, "789abc");
  CHECK(full.IsNoSpace());
  CHECK_FALSE(FaultFileSystem::IsInjected(full));
  CHECK(disk.fs->Contents("/d/a") == "123456789a");
  uint64_t free = 1;
  REQUIRE(disk.fs->GetFreeSpace("/d", kIo, &free, nullptr).ok());
  CHECK(free == 0);
  CHECK(disk.OpenInPlace("/d/old")->Write(0, "in place", kIo, nullptr).ok());
  REQUIRE(disk.fs->DeleteFile("/d/old", kIo, nullptr).ok());
  CHECK(Append(*file, std::string(100, 'b')).ok());
  CHECK(Append(*file, "b").IsNoSpace());
  disk.fs->SetUnlimitedSpace();
  CHECK(Append(*file, "b").ok());
}

TEST_CASE("rot, removal and planted files are there at once and for good") {
  Disk disk;
  REQUIRE(disk.fs->Put("/d/a", "abc"));
  CHECK(disk.fs->Corrupt("/d/a", 1, 0x01));
  CHECK_FALSE(disk.fs->Corrupt("/d/a", 3, 0x01));
  CHECK(disk.fs->Put("/d/b", "b"));
  CHECK(disk.fs->Remove("/d/b"));
  CHECK_FALSE(disk.fs->Remove("/d/b"));
  CHECK_FALSE(disk.fs->Put("/nowhere/b", "b"));
  CHECK(disk.Outcomes("/d/a") == std::vector<std::optional<std::string>>(kSeeds, "acc"));
  CHECK(disk.Outcomes("/d/b") == std::vector<std::optional<std::string>>(kSeeds));
}

TEST_CASE("an open file stays readable after its name is gone, and its memory goes with it") {
  Disk disk;
  REQUIRE(disk.fs->Put("/d/a", "abc"));
  std::unique_ptr<rocksdb::FSRandomAccessFile> file;
  REQUIRE(disk.fs->NewRandomAccessFile("/d/a", kFile, &file, nullptr).ok());
  REQUIRE(disk.fs->DeleteFile("/d/a", kIo, nullptr).ok());
  REQUIRE(disk.SyncDir("/d").ok());
  char scratch[8];
  Slice result;
  REQUIRE(file->Read(1, 8, kIo, &result, scratch, nullptr).ok());
  CHECK(result == "bc");
  disk.fs->SetFreeSpace(0);
  file.reset();
  uint64_t free = 0;
  REQUIRE(disk.fs->GetFreeSpace("/d", kIo, &free, nullptr).ok());
  CHECK(free == 3);
}

TEST_CASE("the rest of the file system behaves as Posix does") {
  Disk disk;
  auto& fs = *disk.fs;
  REQUIRE(fs.Put("/d/a", "a"));
  REQUIRE(fs.LinkFile("d//a", "/d/./b", kIo, nullptr).ok());
  uint64_t number = 0;
  CHECK(fs.NumFileLinks("/d/b", kIo, &number, nullptr).ok());
  CHECK(number == 2);
  bool yes = false;
  CHECK(fs.AreFilesSame("/d/a", "/d/b", kIo, &yes, nullptr).ok());
  CHECK(yes);
  CHECK(fs.IsDirectory("/d", kIo, &yes, nullptr).ok());
  CHECK(yes);
  std::vector<std::string> names;
  CHECK(fs.GetChildren("/d", kIo, &names, nullptr).ok());
  CHECK(names == std::vector<std::string>{"a", "b"});
  CHECK(fs.GetFileSize("/d/a", kIo, &number, nullptr).ok());
  CHECK(number == 1);
  CHECK(fs.GetFileSize("/d/none", kIo, &number, nullptr).IsPathNotFound());
  CHECK(fs.FileExists("/d/none", kIo, nullptr).IsNotFound());
  CHECK(fs.CreateDir("/d", kIo, nullptr).IsIOError());
  CHECK(fs.CreateDirIfMissing("/d", kIo, nullptr).ok());
  CHECK(fs.DeleteDir("/d", kIo, nullptr).IsIOError());
  std::unique_ptr<rocksdb::FSRandomRWFile> in_place;
  CHECK(fs.NewRandomRWFile("/d/none", kFile, &in_place, nullptr).IsPathNotFound());
  std::unique_ptr<rocksdb::FSWritableFile> file;
  REQUIRE(fs.ReopenWritableFile("/d/a", kFile, &file, nullptr).ok());
  REQUIRE(Append(*file, "pp").ok());
  CHECK(fs.Contents("/d/b") == "app");
  REQUIRE(fs.ReuseWritableFile("/d/c", "/d/b", kFile, &file, nullptr).ok());
  REQUIRE(Append(*file, "A").ok());
  CHECK(fs.Contents("/d/c") == "App");
  CHECK(fs.FileExists("/d/b", kIo, nullptr).IsNotFound());
}

}  // namespace
}  // namespace strata::testing
