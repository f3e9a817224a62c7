// Large files go in steps, at the rate asked for.
#include "storage/paced_delete.h"

#include <atomic>
#include <thread>

#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

constexpr char kFile[] = "/data/000007.sst";

struct DeleteScene {
  explicit DeleteScene(uint64_t size) { REQUIRE(fs->Put(kFile, std::string(size, 'x'))); }
  ~DeleteScene() {
    deleter.Stop();
    if (thread.joinable()) thread.join();
  }
  uint64_t size() const {
    const auto contents = fs->Contents(kFile);
    return contents ? contents->size() : 0;
  }
  bool exists() const { return fs->Contents(kFile).has_value(); }
  // On a thread of its own, as strata are let go.
  void Delete() {
    thread = std::thread([this] {
      const PacedDeleter::Scope scope;
      paced->DeleteFile(kFile, rocksdb::IOOptions(), nullptr).PermitUncheckedError();
      done = true;
    });
  }
  // Until the deletion waits for the clock, or is done.
  void AwaitPause() {
    while (!done && clock.waiters() == 0) std::this_thread::yield();
  }

  std::shared_ptr<testing::FaultFileSystem> fs = NewFaultFs();
  ManualClock clock;
  PacedDeleter deleter{&clock};
  std::shared_ptr<rocksdb::FileSystem> paced = NewPacedFileSystem(fs, fs, &deleter);
  std::atomic<bool> done{false};
  std::thread thread;
};

TEST_CASE("a large file goes in steps at the rate asked for", "[paced]") {
  DeleteScene scene(3 * PacedDeleter::kStep + 1);
  scene.deleter.SetRate(PacedDeleter::kStep);  // a step a second
  scene.Delete();
  for (uint64_t left = 3; left >= 1; --left) {
    scene.AwaitPause();
    CHECK(scene.size() == left * PacedDeleter::kStep + 1);
    scene.clock.Advance(std::chrono::milliseconds(999));
    CHECK_FALSE(scene.done);
    CHECK(scene.size() == left * PacedDeleter::kStep + 1);
    scene.AwaitPause();
    scene.clock.Advance(std::chrono::milliseconds(1));
    while (!scene.done && scene.size() > (left - 1) * PacedDeleter::kStep + 1) {
      std::this_thread::yield();
    }
  }
  scene.thread.join();
  CHECK_FALSE(scene.exists());
}

TEST_CASE("a deletion under way follows the rate, and stops waiting when told", "[paced]") {
  DeleteScene scene(100 * PacedDeleter::kStep);
  scene.deleter.SetRate(1);
  scene.Delete();
  scene.AwaitPause();
  SECTION("without a limit") { scene.deleter.SetRate(0); }
  SECTION("at the end") { scene.deleter.Stop(); }
  scene.thread.join();
  CHECK_FALSE(scene.exists());
}

TEST_CASE("without a rate, or on another thread, a file goes at once", "[paced]") {
  DeleteScene scene(100 * PacedDeleter::kStep);
  SECTION("no rate") { scene.Delete(); }
  SECTION("another thread") {
    scene.deleter.SetRate(1);
    REQUIRE(scene.paced->DeleteFile(kFile, rocksdb::IOOptions(), nullptr).ok());
    scene.done = true;
  }
  if (scene.thread.joinable()) scene.thread.join();
  CHECK_FALSE(scene.exists());
  CHECK(scene.fs->Count(testing::kTruncate, kFile) == 0);
}

TEST_CASE("a file that somebody else has a link to is not cut", "[paced]") {
  DeleteScene scene(100 * PacedDeleter::kStep);
  REQUIRE(scene.fs->LinkFile(kFile, "/data/backup", rocksdb::IOOptions(), nullptr).ok());
  scene.deleter.SetRate(1);
  scene.Delete();
  scene.thread.join();
  CHECK_FALSE(scene.exists());
  CHECK(scene.fs->Contents("/data/backup")->size() == 100 * PacedDeleter::kStep);
}

}  // namespace
}  // namespace strata::storage
