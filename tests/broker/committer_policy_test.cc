// durability.sync: interval and none.
#include <chrono>
#include <thread>

#include "tests/broker/committer_fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::Eventually;
using testing::Lines;
using testing::TestCommitter;
using testing::TestOperation;

// Until the sync thread waits for the end of an interval.
bool IntervalBegun(TestCommitter& test) {
  return Eventually([&] { return test.clock.waiters() == 1; });
}

TEST_CASE("with an interval an operation is answered before any sync") {
  TestCommitter test(SyncPolicy::kInterval);
  const TestOperation* const op = test.Run("a");
  CHECK(op->answer.ok());
  CHECK(op->done_on == std::this_thread::get_id());
  CHECK(test.disk->syncs() == 1);
  CHECK(test.disk->durable_groups() == 1);
}

TEST_CASE("with an interval all that was written in it is synced once at its end") {
  TestCommitter test(SyncPolicy::kInterval);
  for (int i = 0; i < 5; ++i) (void)test.Run("a");
  REQUIRE(IntervalBegun(test));
  (void)test.Run("b");
  test.clock.Advance(milliseconds(10) - microseconds(1));
  REQUIRE(IntervalBegun(test));
  CHECK(test.disk->syncs() == 1);
  test.clock.Advance(microseconds(1));
  REQUIRE(Eventually([&] { return test.disk->syncs() == 2; }));
  CHECK(test.disk->durable_groups() == 7);
}

TEST_CASE("with an interval an idle store is not synced") {
  TestCommitter test(SyncPolicy::kInterval);
  test.clock.Advance(hours(1));
  (void)test.Run("a");
  REQUIRE(IntervalBegun(test));
  test.clock.Advance(milliseconds(10));
  REQUIRE(Eventually([&] { return test.disk->syncs() == 2; }));
  REQUIRE(Eventually([&] { return test.clock.waiters() == 0; }));
  for (int i = 0; i < 10; ++i) test.clock.Advance(hours(1));
  (void)test.Run("b");
  REQUIRE(IntervalBegun(test));
  CHECK(test.disk->syncs() == 2);
  test.clock.Advance(milliseconds(10));
  REQUIRE(Eventually([&] { return test.disk->syncs() == 3; }));
}

TEST_CASE("with an interval writes go on while a sync runs, and the next interval covers them") {
  TestCommitter test(SyncPolicy::kInterval);
  (void)test.Run("a");
  REQUIRE(IntervalBegun(test));
  test.disk->HoldSyncs();
  test.clock.Advance(milliseconds(10));
  test.disk->AwaitHeldSync();
  CHECK(test.Run("b")->answer.ok());
  test.disk->ReleaseSyncs();
  REQUIRE(IntervalBegun(test));
  CHECK(test.disk->durable_groups() == 2);
  test.clock.Advance(milliseconds(10));
  REQUIRE(Eventually([&] { return test.disk->durable_groups() == 3; }));
}

TEST_CASE("with an interval a stop that begins while a sync runs comes to its end") {
  TestCommitter test(SyncPolicy::kInterval);
  (void)test.Run("a");
  REQUIRE(IntervalBegun(test));
  test.disk->HoldSyncs();
  test.clock.Advance(milliseconds(10));
  test.disk->AwaitHeldSync();
  std::thread stopper([&] { test.committer->Stop(); });
  const bool begun = Eventually([&] { return !test.Run("late")->answer.ok(); });
  test.disk->ReleaseSyncs();
  stopper.join();
  CHECK(begun);
}

TEST_CASE("with an interval a failed sync stops the store, and what it covered stays answered") {
  TestCommitter test(SyncPolicy::kInterval);
  const TestOperation* const early = test.Run("early");
  REQUIRE(IntervalBegun(test));
  test.disk->FailNextSync();
  test.clock.Advance(milliseconds(10));
  REQUIRE(Eventually([&] { return !test.committer->failure().ok(); }));
  CHECK(early->answer.ok());
  const TestOperation* const late = test.Run("late");
  CHECK(late->answer.reason() == Reason::STORE_FAILED);
  CHECK(late->answer.fate() == DataFate::kNotAppended);
  for (int i = 0; i < 5; ++i) test.clock.Advance(milliseconds(10));
  test.committer->Stop();
  CHECK(test.store.syncs.passed() == 1);
  CHECK(test.disk->breaches() == Lines{});
}

TEST_CASE("with an interval stopping does not wait for its end") {
  TestCommitter test(SyncPolicy::kInterval);
  (void)test.Run("a");
  REQUIRE(IntervalBegun(test));
  test.committer->Stop();
  CHECK(test.clock.waiters() == 0);
}

TEST_CASE("without waiting for a sync a small submitted operation is written by its idle caller") {
  for (const SyncPolicy policy : {SyncPolicy::kInterval, SyncPolicy::kNone}) {
    TestCommitter test(policy, 1u << 20);
    const std::thread::id here = std::this_thread::get_id();
    const TestOperation* const small = test.Submit("small", 16u << 10);
    CHECK(small->answers.load() == 1);
    CHECK(small->answer.ok());
    CHECK(small->done_on == here);
    // What comes right behind it is for a thread that is awake, and so is what is large.
    const TestOperation* const next = test.Submit("next");
    REQUIRE(TestCommitter::Answered(next));
    CHECK(next->done_on != here);
    test.clock.Advance(hours(1));
    const TestOperation* const large = test.Submit("large", (16u << 10) + 1);
    REQUIRE(TestCommitter::Answered(large));
    CHECK(large->done_on != here);
    CHECK(test.disk->groups() == 4);
  }
}

TEST_CASE("an operation that is submitted while its caller's last one is written goes behind it") {
  TestCommitter test(SyncPolicy::kNone);
  test.store.writes.Close();
  std::thread caller([&] { (void)test.Submit("first"); });
  test.store.writes.AwaitWaiting(1);
  TestOperation second(&test, "second");
  test.clock.Advance(hours(1));
  test.committer->Submit(&second);
  CHECK(second.answers.load() == 0);
  test.store.writes.Open();
  caller.join();
  REQUIRE(TestCommitter::Answered(&second));
  CHECK(second.done_on != std::this_thread::get_id());
  CHECK(test.journal.Of("done") == Lines{"done first OK", "done second OK"});
}

TEST_CASE("without syncs an operation is answered after its write, and nothing is ever synced") {
  TestCommitter test(SyncPolicy::kNone);
  for (int i = 0; i < 5; ++i) {
    const TestOperation* const op = test.Run("a");
    CHECK(op->answer.ok());
    CHECK(op->done_on == std::this_thread::get_id());
  }
  const TestOperation* const submitted = test.Submit("b");
  REQUIRE(TestCommitter::Answered(submitted));
  test.clock.Advance(hours(1));
  test.committer->Stop();
  CHECK(test.store.syncs.passed() == 0);
  CHECK(test.disk->durable_groups() == 1);
  CHECK(test.disk->groups() == 7);
}

}  // namespace
}  // namespace strata
