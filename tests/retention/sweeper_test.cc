// When the sweeper works, in which order, and what it makes of what goes wrong.
#include "retention/sweeper.h"

#include <chrono>
#include <thread>

#include "tests/retention/pages.h"
#include "tests/retention/sweeper_fixture.h"
#include "tests/support/catch.h"

namespace strata::retention {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using storage::RewriteRequest;
using storage::RewriteResult;
using storage::StratumInfo;
using testing::Pages;
using Names = std::vector<std::string>;
using Times = std::vector<int64_t>;

bool Eventually(const std::function<bool()>& condition) {
  const auto give_up = std::chrono::steady_clock::now() + seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

struct Scene {
  explicit Scene(SweeperOptions options_in = {}, uint64_t budget_bytes = 0, bool threads = false)
      : options(std::move(options_in)), budget(budget_bytes, 0, &clock) {
    options.clock = &clock;
    options.threads = threads;
    sweeper = std::make_unique<Sweeper>(options, &store, &log, &budget);
    sweeper->Start();
  }
  // Until the sweep thread waits for the clock.
  void Settle() {
    REQUIRE(Eventually([this] { return clock.waiters() == 1; }));
  }
  void Advance(milliseconds by) {
    Settle();
    clock.Advance(by);
  }
  // So many sweeps, at these times.
  void CheckTimes(const Times& expected) {
    CHECK(Eventually([&] { return log.times().size() >= expected.size(); }));
    Settle();
    CHECK(log.times() == expected);
  }
  // Sealed a moment ago: only a request rewrites it.
  StratumInfo Sealed(uint32_t number, uint64_t raw = 1'000, uint64_t live = 1'000) {
    StratumInfo info;
    info.number = number;
    info.created_at = info.sealed_at = clock.WallMicros();
    info.live_pages = live > 0 ? 1 : 0;
    info.raw_bytes = raw;
    info.live_bytes = live;
    info.file_bytes = raw;
    return info;
  }
  // Due for compression.
  StratumInfo Cold(uint32_t number) {
    StratumInfo info = Sealed(number);
    info.created_at = info.sealed_at = 1;
    return info;
  }
  // Rewrites as they should be: half as large afterwards.
  void RewriteWell() {
    store.on_rewrite = [this](const RewriteRequest& request) -> Result<RewriteResult> {
      RewriteResult result;
      result.changes.emplace_back(storage::MovePages{9, 1, 1, {}});
      result.read_bytes = 1'000;
      result.written_bytes = 500;
      for (const uint32_t number : request.strata) store.MarkRewritten(number);
      return result;
    };
  }

  SweeperOptions options;
  ManualClock clock;
  testing::SweptStore store;
  testing::NotingLog log{&clock};
  DiskBudget budget;
  std::unique_ptr<Sweeper> sweeper;
};

TEST_CASE("a sweep runs every interval") {
  Scene scene({}, 0, /*threads=*/true);
  scene.Advance(milliseconds(4'999));
  scene.Advance(milliseconds(1));
  scene.CheckTimes({5'000});
  scene.Advance(milliseconds(5'000));
  scene.CheckTimes({5'000, 10'000});
}

TEST_CASE("a kick brings a sweep at once, but not sooner than a pause after the last one") {
  Scene scene({}, 0, /*threads=*/true);
  scene.Advance(milliseconds(1'000));
  scene.Settle();
  scene.sweeper->Kick();
  scene.CheckTimes({1'000});
  scene.sweeper->Kick();
  scene.sweeper->Kick();
  scene.Advance(milliseconds(49));
  scene.Advance(milliseconds(1));
  scene.CheckTimes({1'000, 1'050});
  // Both were answered by one.
  scene.Advance(milliseconds(1'000));
  scene.CheckTimes({1'000, 1'050});
}

TEST_CASE("a sweep is due once a page's worth was appended since the last one") {
  SweeperOptions options;
  options.page_size = 1'000;
  Scene scene(options, 0, /*threads=*/true);
  scene.Advance(milliseconds(100));
  scene.Settle();
  scene.sweeper->NoteAppended(999);
  scene.Advance(milliseconds(100));
  scene.CheckTimes({});
  scene.sweeper->NoteAppended(1);
  scene.CheckTimes({200});
  scene.Advance(milliseconds(100));
  scene.sweeper->NoteAppended(999);
  scene.Advance(milliseconds(100));
  scene.CheckTimes({200});
  // However much more it is.
  scene.sweeper->NoteAppended(5'000);
  scene.CheckTimes({200, 400});
}

TEST_CASE("under pressure sweeps come every second") {
  Scene scene({}, 100'000, /*threads=*/true);
  scene.store.SetUsage({90'000, 1u << 30});
  scene.Advance(milliseconds(5'000));
  scene.CheckTimes({5'000});
  scene.Advance(milliseconds(1'000));
  scene.CheckTimes({5'000, 6'000});
  scene.store.SetUsage({0, 1u << 30});
  scene.Advance(milliseconds(1'000));
  scene.CheckTimes({5'000, 6'000, 7'000});
  scene.Advance(milliseconds(4'999));
  scene.CheckTimes({5'000, 6'000, 7'000});
}

TEST_CASE("a sweep trims, then drops, and reports what went") {
  Scene scene;
  scene.log.channels = {Pages(3, {.retention_size = 1'500})};
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.log.trims() == testing::Gone(1, Rule::kSize));
  CHECK(scene.store.Calls() == Names{"drop"});
  CHECK(scene.sweeper->counters().sweeps == 1);
  CHECK(scene.sweeper->counters().trimmed_pages == 1);
  CHECK(scene.sweeper->counters().trimmed_bytes == 1'000);
}

TEST_CASE("a sweep ends where the log fails, before anything is dropped") {
  Scene scene;
  scene.log.channels = {Pages(3, {.retention_size = 1'500})};
  scene.log.trim_status = Status(Reason::STORE_FAILED, "broken");
  CHECK(scene.sweeper->Sweep().reason() == Reason::STORE_FAILED);
  CHECK(scene.store.Calls().empty());
  CHECK(scene.sweeper->counters().trimmed_pages == 0);
  CHECK(scene.sweeper->counters().sweeps == 0);
}

TEST_CASE("a store that has failed is left alone") {
  Scene scene;
  scene.RewriteWell();
  scene.log.channels = {Pages(3, {.retention_size = 0})};
  scene.store.Set({scene.Cold(1)});
  scene.store.Fail(Status(Reason::STORE_FAILED, "broken"));
  CHECK(scene.sweeper->Sweep().message() == "broken");
  CHECK(scene.sweeper->RewriteNext().status().message() == "broken");
  CHECK(scene.log.times().empty());
  CHECK(scene.store.Calls().empty());
  CHECK(scene.store.measured() == 0);
}

TEST_CASE("pressure takes no pages for what rewriting gives back already") {
  Scene scene({}, 100'000);
  scene.log.channels = {Pages(3)};
  SECTION("without garbage it takes what is missing") {
    scene.store.Set({scene.Sealed(1)}, {86'500, 1u << 30});
    REQUIRE(scene.sweeper->Sweep().ok());
    CHECK(scene.log.trims() == testing::Gone(2, Rule::kPressure));
  }
  SECTION("garbage counts") {
    scene.store.Set({scene.Sealed(1, 2'000, 1'000)}, {86'500, 1u << 30});
    REQUIRE(scene.sweeper->Sweep().ok());
    CHECK(scene.log.trims() == testing::Gone(1, Rule::kPressure));
  }
}

TEST_CASE("what is being written is sealed when time rules ask for it, or when it is hollow") {
  SweeperOptions options;
  options.page_size = 1'000;
  Scene scene(options);
  StratumInfo current = scene.Sealed(1, 3'000, 3'000);
  current.sealed_at = 0;
  scene.log.channels = {Pages(0, {.retention_time = 24 * 3'600 * testing::kSecond})};
  SECTION("not before its hour") {
    scene.store.Set({current});
    scene.clock.Advance(seconds(3'599));
    REQUIRE(scene.sweeper->Sweep().ok());
    CHECK(scene.log.committed().empty());
    scene.clock.Advance(seconds(1));
    REQUIRE(scene.sweeper->Sweep().ok());
    CHECK(scene.log.committed() == Names{"seal"});
  }
  SECTION("when more than half of it is garbage, and a page's worth") {
    current.live_bytes = 1'500;
    scene.store.Set({current});
    REQUIRE(scene.sweeper->Sweep().ok());
    CHECK(scene.log.committed().empty());
    current.live_bytes = 1'499;
    scene.store.Set({current});
    REQUIRE(scene.sweeper->Sweep().ok());
    CHECK(scene.log.committed() == Names{"seal"});
  }
  SECTION("never when it is empty") {
    current.raw_bytes = current.live_bytes = 0;
    scene.store.Set({current});
    scene.clock.Advance(seconds(100'000));
    REQUIRE(scene.sweeper->Sweep().ok());
    CHECK(scene.log.committed().empty());
  }
}

TEST_CASE("a rewritten stratum is committed, and the old one dropped") {
  Scene scene;
  scene.RewriteWell();
  scene.store.Set({scene.Cold(3)});
  CHECK(*scene.sweeper->RewriteNext());
  CHECK(scene.store.Calls() == Names{"rewrite 3", "drop"});
  CHECK(scene.log.committed() == Names{"move to 9"});
  CHECK(scene.sweeper->counters().rewritten_strata == 1);
  CHECK(scene.sweeper->counters().rewrite_read_bytes == 1'000);
  CHECK(scene.sweeper->counters().rewrite_written_bytes == 500);
  CHECK_FALSE(*scene.sweeper->RewriteNext());
}

TEST_CASE("damage that a rewrite meets sets the stratum aside") {
  Scene scene;
  scene.store.on_rewrite = [](const RewriteRequest&) -> Result<RewriteResult> {
    RewriteResult result;
    result.damaged = 3;
    result.damage = "rotten";
    return result;
  };
  scene.store.Set({scene.Cold(3)});
  CHECK(scene.sweeper->RewriteNext().ok());
  CHECK(scene.log.committed() == Names{"quarantine 3: rotten"});
  CHECK(scene.sweeper->counters().rewritten_strata == 0);
}

TEST_CASE("a rewrite that cannot be committed is abandoned, and what it replaces stays") {
  Scene scene;
  scene.RewriteWell();
  scene.log.commit_status = Status(Reason::SHUTTING_DOWN, "too late");
  scene.store.Set({scene.Cold(3)});
  CHECK(scene.sweeper->RewriteNext().status().message() == "too late");
  CHECK(scene.store.Calls() == Names{"rewrite 3", "abandon"});
  CHECK(scene.sweeper->counters().rewritten_strata == 0);
}

// A rewrite on a thread of its own that asks for its pace, 500 bytes at a time, until it is told to stop.
struct PacedScene : Scene {
  explicit PacedScene(uint64_t rate, uint64_t budget_bytes = 0)
      : Scene(AtRate(rate), budget_bytes) {
    store.on_rewrite = [this](const RewriteRequest& request) -> Result<RewriteResult> {
      while (pieces < 5 && request.pace(500)) ++pieces;
      return RewriteResult();
    };
  }
  static SweeperOptions AtRate(uint64_t rate) {
    SweeperOptions options;
    options.rewrite_rate = rate;
    return options;
  }
  void Begin() {
    store.Set({Cold(3)}, store.Usage());
    thread = std::thread([this] { (void)sweeper->RewriteNext(); });
  }
  ~PacedScene() {
    sweeper->Stop();
    if (thread.joinable()) thread.join();
  }
  std::atomic<int> pieces{0};
  std::thread thread;
};

TEST_CASE("rewriting waits for its pace, and stopping ends it") {
  PacedScene scene(/*rate=*/1'000);
  scene.Begin();
  scene.Advance(milliseconds(499));
  scene.Settle();
  CHECK(scene.pieces == 0);
  scene.Advance(milliseconds(1));
  CHECK(Eventually([&] { return scene.pieces == 1; }));
  scene.Advance(milliseconds(500));
  CHECK(Eventually([&] { return scene.pieces == 2; }));
  scene.Settle();
  scene.sweeper->Stop();
  scene.thread.join();
  CHECK(scene.pieces == 2);
}

TEST_CASE("rewriting keeps ahead of what is appended") {
  PacedScene scene(/*rate=*/1'000);
  scene.log.appended = 10'000;
  scene.clock.Advance(seconds(1));
  REQUIRE(scene.sweeper->Sweep().ok());
  scene.Begin();
  scene.Advance(milliseconds(33));
  scene.Settle();
  CHECK(scene.pieces == 0);
  scene.Advance(milliseconds(1));
  CHECK(Eventually([&] { return scene.pieces == 1; }));
}

TEST_CASE("rewriting does not wait under pressure") {
  PacedScene scene(/*rate=*/1, /*budget_bytes=*/100'000);
  scene.store.SetUsage({90'000, 1u << 30});
  scene.sweeper->Measure();
  scene.Begin();
  CHECK(Eventually([&] { return scene.pieces == 5; }));
}

TEST_CASE("a compaction rewrites every stratum once, counts, and ends") {
  Scene scene;
  scene.RewriteWell();
  StratumInfo current = scene.Sealed(4);
  current.sealed_at = 0;
  scene.store.Set({scene.Sealed(1), scene.Sealed(2), scene.Sealed(3), current}, {10'000, 1u << 30});
  CHECK_FALSE(*scene.sweeper->RewriteNext());
  const CompactionInfo begun = scene.sweeper->StartCompaction();
  CHECK(begun.running);
  CHECK(begun.strata_total == 3);
  CHECK(scene.log.committed() == Names{"seal"});
  CHECK(*scene.sweeper->RewriteNext());
  // One that is running goes on.
  CHECK(scene.sweeper->StartCompaction().strata_done == 1);
  CHECK(*scene.sweeper->RewriteNext());
  CHECK(*scene.sweeper->RewriteNext());
  CHECK_FALSE(*scene.sweeper->RewriteNext());
  const CompactionInfo done = scene.sweeper->compaction();
  CHECK_FALSE(done.running);
  CHECK(done.strata_done == 3);
  CHECK(done.bytes_before == 3'000);
  CHECK(done.bytes_after == 1'500);
  CHECK(done.error.empty());
}

TEST_CASE("a compaction that is asked for while nothing was found to do is not over for that") {
  Scene scene;
  scene.RewriteWell();
  scene.store.Set({scene.Sealed(1)}, {10'000, 1u << 30});
  scene.store.OnDescribe([&] { scene.sweeper->StartCompaction(); });
  CHECK_FALSE(*scene.sweeper->RewriteNext());
  CHECK(scene.sweeper->compaction().running);
  CHECK(*scene.sweeper->RewriteNext());
  CHECK_FALSE(*scene.sweeper->RewriteNext());
  CHECK(scene.sweeper->compaction().strata_done == 1);
}

TEST_CASE("a compaction that fails or has no room says so, and ends") {
  Scene scene;
  scene.store.Set({scene.Sealed(1)}, {10'000, 1u << 30});
  std::string expected = "bad luck";
  SECTION("the rewrite fails") {
    scene.store.on_rewrite = [](const RewriteRequest&) -> Result<RewriteResult> {
      return Status(Reason::IO_ERROR, "bad luck");
    };
    scene.sweeper->StartCompaction();
    CHECK_FALSE(scene.sweeper->RewriteNext().ok());
  }
  SECTION("a copy does not fit") {
    expected = "no room for a copy of 1000 bytes";
    scene.store.SetUsage({10'000, 1'061});
    scene.sweeper->StartCompaction();
    CHECK_FALSE(*scene.sweeper->RewriteNext());
    CHECK(scene.store.Calls().empty());
  }
  CHECK_FALSE(scene.sweeper->compaction().running);
  CHECK(scene.sweeper->compaction().error == expected);
}

TEST_CASE(
    "the ballast is given back when the file system runs out, and made again when there is room") {
  SweeperOptions options;
  options.ballast = 1'000;
  options.reserve = 4'000;
  Scene scene(options);
  scene.store.SetBallast(1'000);
  scene.store.SetUsage({0, 1'000});
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls() == Names{"drop"});
  scene.store.SetUsage({0, 999});
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls() == Names{"drop", "drop", "ballast released"});
  // What it frees is not for appends.
  CHECK(scene.store.BallastBytes() == 0);
  scene.store.SetUsage({0, 4'999});
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.budget.usage().used == 1'000);
  CHECK(scene.budget.usage().free == 3'999);
  CHECK(scene.store.Calls().back() == "drop");
  scene.store.SetUsage({0, 5'000});
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls().back() == "ballast restored");
}

TEST_CASE("a ballast that cannot be made is tried again after a minute") {
  SweeperOptions options;
  options.ballast = 1'000;
  Scene scene(options);
  scene.store.restore_status = Status(Reason::IO_ERROR, "no");
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls().back() == "ballast restored");
  scene.clock.Advance(milliseconds(59'999));
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls().back() == "drop");
  scene.clock.Advance(milliseconds(1));
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls().back() == "ballast restored");
}

TEST_CASE("a ballast is not made where it would be pressure") {
  SweeperOptions options;
  options.ballast = 1'000;
  Scene scene(options, /*budget_bytes=*/100'000);
  scene.store.SetUsage({84'001, 1u << 30});
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls() == Names{"drop"});
  scene.store.SetUsage({84'000, 1u << 30});
  REQUIRE(scene.sweeper->Sweep().ok());
  CHECK(scene.store.Calls().back() == "ballast restored");
}

TEST_CASE("what is on its way to the disk stays charged when the disk is measured") {
  Scene scene({}, /*budget_bytes=*/100'000);
  scene.store.SetUsage({50'000, 1u << 30});
  scene.sweeper->Measure();
  bool measure = false;
  REQUIRE(scene.budget.Admit(10'000, &measure).ok());
  SECTION("pending: not in what was measured") {
    scene.log.pending = 10'000;
    scene.sweeper->Measure();
    CHECK_FALSE(scene.budget.Admit(15'001, &measure).ok());
    CHECK(scene.budget.Admit(15'000, &measure).ok());
  }
  SECTION("answered: measured") {
    scene.sweeper->Measure();
    CHECK_FALSE(scene.budget.Admit(25'001, &measure).ok());
    CHECK(scene.budget.Admit(25'000, &measure).ok());
  }
}

}  // namespace
}  // namespace strata::retention
