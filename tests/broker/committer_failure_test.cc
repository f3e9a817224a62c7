// Fail-stop: the first write or sync that fails is the last one, and everybody hears what became of
// their data.
#include <string>
#include <vector>

#include "tests/broker/committer_fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using testing::Eventually;
using testing::Lines;
using testing::TestCommitter;
using testing::TestOperation;

void CheckFailed(const TestOperation* op, DataFate fate) {
  REQUIRE(op->answers.load() == 1);
  CHECK(op->answer.reason() == Reason::STORE_FAILED);
  CHECK(op->answer.fate() == fate);
}

TEST_CASE("after a failed write nothing is written or synced any more") {
  for (const SyncPolicy policy : {SyncPolicy::kAlways, SyncPolicy::kInterval, SyncPolicy::kNone}) {
    TestCommitter test(policy);
    REQUIRE(test.Run("good")->answer.ok());
    test.disk->FailNextWrite();
    CheckFailed(test.Run("failed"), DataFate::kMayHaveBeenAppended);
    CHECK(test.committer->failure().reason() == Reason::STORE_FAILED);
    const int writes = test.store.writes.passed();
    CheckFailed(test.Run("run"), DataFate::kNotAppended);
    const TestOperation* const submitted = test.Submit("submitted");
    REQUIRE(TestCommitter::Answered(submitted));
    CheckFailed(submitted, DataFate::kNotAppended);
    test.committer->Stop();
    CHECK(test.store.writes.passed() == writes);
    // Nobody even looks at what cannot be written.
    CHECK(test.journal.Of("prepare") == Lines{"prepare good", "prepare failed"});
    CHECK(test.journal.Of("publish") == Lines{"publish good"});
    CHECK(test.disk->breaches() == Lines{});
  }
}

TEST_CASE("a failed sync is never repeated") {
  TestCommitter test;
  test.disk->FailNextSync();
  CheckFailed(test.Run("failed"), DataFate::kMayHaveBeenAppended);
  const int syncs = test.store.syncs.passed();
  CheckFailed(test.Run("later"), DataFate::kNotAppended);
  test.committer->Stop();
  CHECK(test.store.syncs.passed() == syncs);
  CHECK(test.store.writes.passed() == 1);
  CHECK(test.disk->breaches() == Lines{});
}

TEST_CASE("a failed sync fails the groups that were written while it ran, too") {
  TestCommitter test;
  test.store.syncs.Close();
  const TestOperation* const covered = test.Submit("covered");
  test.store.syncs.AwaitWaiting(1);
  const TestOperation* const written = test.Submit("written");
  REQUIRE(Eventually([&] { return test.Groups().size() == 2; }));
  test.disk->FailNextSync();
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(written));
  CheckFailed(covered, DataFate::kMayHaveBeenAppended);
  CheckFailed(written, DataFate::kMayHaveBeenAppended);
  CHECK(test.journal.Of("publish").empty());
  CHECK(test.store.syncs.passed() == 1);
  CHECK(test.disk->breaches() == Lines{});
}

TEST_CASE("what was queued behind a failed write was not appended") {
  TestCommitter test(SyncPolicy::kAlways, 20);
  test.store.writes.Close();
  const TestOperation* const writing = test.Submit("writing");
  test.store.writes.AwaitWaiting(1);
  std::vector<const TestOperation*> queued;
  for (int i = 0; i < 7; ++i) queued.push_back(test.Submit("queued"));
  test.disk->FailNextWrite();
  test.store.writes.Open();
  REQUIRE(TestCommitter::Answered(queued.back()));
  CheckFailed(writing, DataFate::kMayHaveBeenAppended);
  for (const TestOperation* const op : queued) CheckFailed(op, DataFate::kNotAppended);
  CHECK(test.store.writes.passed() == 1);
}

TEST_CASE("a refusal in a group that fails stays a refusal") {
  TestCommitter test;
  test.store.writes.Close();
  (void)test.Submit("first");
  test.store.writes.AwaitWaiting(1);
  const TestOperation* const good = test.Submit("good");
  const TestOperation* const bad = test.Submit("bad", 10, TestOperation::Kind::kRefused);
  test.store.writes.LetPass(1);
  test.store.writes.AwaitWaiting(1);
  test.disk->FailNextWrite();
  test.store.writes.Open();
  REQUIRE(TestCommitter::Answered(bad));
  CheckFailed(good, DataFate::kMayHaveBeenAppended);
  CHECK(bad->answer.reason() == Reason::CHANNEL_NOT_FOUND);
}

TEST_CASE("a write that fails while a sync runs is heard of after that sync's success") {
  TestCommitter test;
  test.store.writes.Close();
  const TestOperation* const first = test.Submit("first");
  test.store.writes.AwaitWaiting(1);
  test.store.writes.LetPass(1);
  REQUIRE(TestCommitter::Answered(first));

  test.store.syncs.Close();
  const TestOperation* const syncing = test.Submit("syncing");
  test.store.writes.AwaitWaiting(1);
  test.store.writes.LetPass(1);
  test.store.syncs.AwaitWaiting(1);
  const TestOperation* const failing = test.Submit("failing");
  test.store.writes.AwaitWaiting(1);
  // The sync succeeds, then the write fails; its answer comes later although it may be known
  // earlier.
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(syncing));
  test.disk->FailNextWrite();
  test.store.writes.Open();
  REQUIRE(TestCommitter::Answered(failing));
  CHECK(test.journal.Of("done") ==
        Lines{"done first OK", "done syncing OK", "done failing STORE_FAILED"});
}

TEST_CASE("no sync is begun after a failed write, and answers stay in commit order") {
  TestCommitter test;
  test.disk->HoldSyncs();
  const TestOperation* const syncing = test.Submit("syncing");
  test.disk->AwaitHeldSync();
  const TestOperation* const written = test.Submit("written");
  REQUIRE(Eventually([&] { return test.Groups().size() == 2; }));
  test.disk->FailNextWrite();
  const TestOperation* const failing = test.Submit("failing");
  REQUIRE(Eventually([&] { return !test.committer->failure().ok(); }));
  const TestOperation* const late = test.Submit("late");
  CHECK(late->answers.load() == 0);
  test.disk->ReleaseSyncs();
  REQUIRE(TestCommitter::Answered(late));
  // The sync under way ended after the store had failed, so it says so.
  CheckFailed(syncing, DataFate::kMayHaveBeenAppended);
  CheckFailed(written, DataFate::kMayHaveBeenAppended);
  CheckFailed(failing, DataFate::kMayHaveBeenAppended);
  CheckFailed(late, DataFate::kNotAppended);
  CHECK(test.journal.Of("done") == Lines{"done syncing STORE_FAILED", "done written STORE_FAILED",
                                         "done failing STORE_FAILED", "done late STORE_FAILED"});
  CHECK(test.store.syncs.passed() == 1);
  CHECK(test.disk->breaches() == Lines{});
}

TEST_CASE("whoever is told of a failure finds the committer failed") {
  for (const SyncPolicy policy : {SyncPolicy::kAlways, SyncPolicy::kInterval, SyncPolicy::kNone}) {
    TestCommitter test(policy);
    test.disk->FailNextWrite();
    const TestOperation* const failed = test.Submit("failed");
    REQUIRE(TestCommitter::Answered(failed));
    CHECK(failed->failure_at_done.reason() == Reason::STORE_FAILED);
  }
  TestCommitter test;
  test.disk->FailNextSync();
  const TestOperation* const failed = test.Submit("failed");
  REQUIRE(TestCommitter::Answered(failed));
  CHECK(failed->failure_at_done.reason() == Reason::STORE_FAILED);
}

TEST_CASE("a failure is logged once, with its cause") {
  TestCommitter test;
  test.disk->FailNextSync();
  (void)test.Run("failed");
  (void)test.Run("later");
  test.committer->Stop();
  REQUIRE(test.log.lines().size() == 1);
  CHECK(test.log.lines()[0].find("injected sync error") != std::string::npos);
}

}  // namespace
}  // namespace strata
