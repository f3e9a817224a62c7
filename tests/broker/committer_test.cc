// The committer at work: who does it, what goes together, in which order it is answered.
#include "broker/committer.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/wakes.h"
#include "tests/broker/committer_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using broker::Committer;
using testing::Eventually;
using testing::Lines;
using testing::Random;
using testing::TestCommitter;
using testing::TestOperation;
using testing::TestSeed;
using Kind = TestOperation::Kind;

TEST_CASE(
    "a lone operation is written, synced, published and answered by the thread that runs it") {
  TestCommitter test;
  const std::thread::id here = std::this_thread::get_id();
  for (int i = 0; i < 20; ++i) {
    const TestOperation* const op = test.Run("a");
    REQUIRE(op->answers.load() == 1);
    REQUIRE(op->answer.ok());
    REQUIRE(op->prepared_on == here);
    REQUIRE(test.store.write_thread() == here);
    REQUIRE(test.store.sync_thread() == here);
    REQUIRE(op->published_on == here);
    REQUIRE(op->done_on == here);
  }
  CHECK(test.disk->syncs() == 21);
  CHECK(test.disk->durable_groups() == 21);
}

TEST_CASE(
    "a lone submitted operation is handed over once: one thread writes, syncs and answers it") {
  TestCommitter test;
  for (int i = 0; i < 20; ++i) {
    const TestOperation* const op = test.Submit("a");
    REQUIRE(TestCommitter::Answered(op));
    REQUIRE(op->answer.ok());
    REQUIRE(op->prepared_on != std::this_thread::get_id());
    REQUIRE(test.store.write_thread() == op->prepared_on);
    REQUIRE(test.store.sync_thread() == op->prepared_on);
    REQUIRE(op->published_on == op->prepared_on);
    REQUIRE(op->done_on == op->prepared_on);
  }
  CHECK(test.disk->syncs() == 21);
  CHECK(test.disk->durable_groups() == 21);
}

TEST_CASE("with more to write the thread that has written leaves the sync to the other one") {
  TestCommitter test;
  test.store.writes.Close();
  const TestOperation* const first = test.Submit("first");
  test.store.writes.AwaitWaiting(1);
  (void)test.Submit("second");
  test.store.syncs.Close();
  test.store.writes.Open();
  test.store.syncs.AwaitWaiting(1);
  // The sync is held; the next group is written all the same, and waits for a sync of its own.
  REQUIRE(Eventually([&] { return test.Groups().size() == 2 && test.disk->groups() == 3; }));
  CHECK(first->answers.load() == 0);
  CHECK(test.disk->durable_groups() == 1);
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(test.operations.back().get()));
  CHECK(test.journal.Of("done") == Lines{"done first OK", "done second OK"});
}

TEST_CASE("only a lone small operation leaves time for a wake to do its work") {
  for (const SyncPolicy policy : {SyncPolicy::kAlways, SyncPolicy::kNone}) {
    TestCommitter test(policy, 1u << 20);
    test.store.writes.Close();
    const TestOperation* const first = test.Submit("first", 17u << 10);
    test.store.writes.AwaitWaiting(1);
    const TestOperation* const second = test.Submit("second");
    const TestOperation* const third = test.Submit("third");
    test.store.writes.Open();
    REQUIRE(TestCommitter::Answered(third));
    const TestOperation* const lone = test.Run("lone");
    REQUIRE(TestCommitter::Answered(lone));
    const TestOperation* const large = test.Run("large", 17u << 10);
    REQUIRE(TestCommitter::Answered(large));
    CHECK(first->spare_wakes == 0);
    CHECK(second->spare_wakes == 0);
    CHECK(third->spare_wakes == 0);
    CHECK(lone->spare_wakes == 2);
    CHECK(large->spare_wakes == 0);
    CHECK_FALSE(broker::SpareTime::Take());
  }
}

TEST_CASE("an operation is prepared, published and answered, in this order") {
  TestCommitter test;
  (void)test.Run("a");
  CHECK(test.journal.lines() == Lines{"prepare a", "publish a", "done a OK"});
}

TEST_CASE("what queues up while a group is being written makes up the next group") {
  TestCommitter test;
  test.store.writes.Close();
  (void)test.Submit("first");
  test.store.writes.AwaitWaiting(1);
  for (int i = 0; i < 10; ++i) (void)test.Submit("later");
  test.store.writes.Open();
  REQUIRE(TestCommitter::Answered(test.operations.back().get()));
  CHECK(test.Groups() == std::vector<size_t>{1, 10});
}

TEST_CASE("a caller who finds the write role taken leaves its operation to the next group") {
  TestCommitter test;
  test.store.writes.Close();
  (void)test.Submit("first");
  test.store.writes.AwaitWaiting(1);
  (void)test.Submit("second");
  const TestOperation* const run = test.Run("third");
  CHECK(run->answers.load() == 0);
  test.store.writes.Open();
  REQUIRE(TestCommitter::Answered(run));
  CHECK(run->prepared_on != std::this_thread::get_id());
  CHECK(test.Groups() == std::vector<size_t>{1, 2});
}

TEST_CASE("a group holds at most group_bytes, or one larger operation alone") {
  TestCommitter test(SyncPolicy::kAlways, 1'000);
  test.store.writes.Close();
  (void)test.Submit("first", 1);
  test.store.writes.AwaitWaiting(1);
  for (const size_t bytes : {600, 400, 1, 999, 500, 501, 5'000, 3, 1'000, 1'001, 2, 2}) {
    (void)test.Submit("op", bytes);
  }
  test.store.writes.Open();
  REQUIRE(TestCommitter::Answered(test.operations.back().get()));
  CHECK(test.Groups() == std::vector<size_t>{1, 2, 2, 1, 1, 1, 1, 1, 1, 2});
}

TEST_CASE("the next group is written while a sync runs, and waits for a sync of its own") {
  TestCommitter test;
  test.store.syncs.Close();
  const TestOperation* const a = test.Submit("a");
  test.store.syncs.AwaitWaiting(1);
  const TestOperation* const b = test.Submit("b");
  const TestOperation* const c = test.Submit("c");
  REQUIRE(Eventually([&] { return test.Groups().size() >= 2 && test.disk->Stats().groups >= 2; }));
  CHECK(a->answers.load() == 0);
  CHECK(test.journal.Of("publish").empty());

  test.store.syncs.LetPass(1);
  REQUIRE(TestCommitter::Answered(a));
  test.store.syncs.AwaitWaiting(1);
  CHECK(test.journal.Of("publish") == Lines{"publish a"});
  CHECK(b->answers.load() == 0);
  // By now c is written too: one sync covers both groups, or their only one.
  REQUIRE(Eventually([&] { return test.journal.Of("prepare").size() == 3; }));
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(c));
  CHECK(test.journal.Of("done") == Lines{"done a OK", "done b OK", "done c OK"});
  CHECK(test.disk->durable_groups() == test.disk->groups());
}

TEST_CASE("one sync covers all groups that were written before it began") {
  TestCommitter test(SyncPolicy::kAlways, 10);
  test.store.syncs.Close();
  (void)test.Submit("first");
  test.store.syncs.AwaitWaiting(1);
  for (int i = 0; i < 9; ++i) (void)test.Submit("later");
  REQUIRE(Eventually([&] { return test.Groups().size() == 10; }));
  const size_t before = test.disk->syncs();
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(test.operations.back().get()));
  CHECK(test.disk->syncs() == before + 2);
}

TEST_CASE("a caller who finds the sync role taken leaves the rest to its holder") {
  TestCommitter test;
  test.store.syncs.Close();
  (void)test.Submit("first");
  test.store.syncs.AwaitWaiting(1);
  const TestOperation* const run = test.Run("second");
  CHECK(run->prepared_on == std::this_thread::get_id());
  CHECK(run->answers.load() == 0);
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(run));
  CHECK(run->done_on != std::this_thread::get_id());
}

TEST_CASE("a caller who syncs answers for those who queued behind it only once they are covered") {
  TestCommitter test;
  test.store.syncs.Close();
  std::thread caller([&] { test.committer->Run(test.Add("run")); });
  test.store.syncs.AwaitWaiting(1);
  TestOperation late(&test, "late");
  test.committer->Submit(&late);
  REQUIRE(Eventually([&] { return test.Groups().size() == 2; }));
  test.store.syncs.LetPass(1);
  caller.join();
  CHECK(test.operations[0]->answer.ok());
  CHECK(late.answers.load() == 0);
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(&late));
}

TEST_CASE("an operation that is refused leaves the others of its group alone") {
  TestCommitter test;
  test.store.writes.Close();
  (void)test.Submit("first");
  test.store.writes.AwaitWaiting(1);
  const TestOperation* const good = test.Submit("good");
  const TestOperation* const bad = test.Submit("bad", 10, Kind::kRefused);
  const TestOperation* const next = test.Submit("next");
  test.store.writes.Open();
  REQUIRE(TestCommitter::Answered(next));
  CHECK(good->answer.ok());
  CHECK(bad->answer.reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(next->answer.ok());
  CHECK(next->id == good->id + 1);
  CHECK(test.journal.Of("publish") == Lines{"publish first", "publish good", "publish next"});
}

TEST_CASE("a refusal waits for the sync of what it may rest on") {
  TestCommitter test;
  test.store.syncs.Close();
  (void)test.Submit("first");
  test.store.syncs.AwaitWaiting(1);
  const TestOperation* const written = test.Submit("written");
  REQUIRE(Eventually([&] { return test.Groups().size() == 2; }));
  const TestOperation* const bad = test.Run("bad", 10, Kind::kRefused);
  test.store.syncs.LetPass(1);
  test.store.syncs.AwaitWaiting(1);
  CHECK(written->answers.load() == 0);
  CHECK(bad->answers.load() == 0);
  test.store.syncs.Open();
  REQUIRE(TestCommitter::Answered(bad));
  CHECK(test.journal.Of("done") ==
        Lines{"done first OK", "done written OK", "done bad CHANNEL_NOT_FOUND"});
}

TEST_CASE("an operation without rows costs neither a write nor a sync") {
  TestCommitter test;
  const TestOperation* const empty = test.Run("empty", 0, Kind::kEmpty);
  const TestOperation* const refused = test.Run("refused", 10, Kind::kRefused);
  CHECK(empty->answer.ok());
  CHECK_FALSE(refused->answer.ok());
  CHECK(test.Groups().empty());
  CHECK(test.disk->syncs() == 1);
}

TEST_CASE("the rider's rows go with the group that is about to be written, or by themselves") {
  TestCommitter test;
  storage::SubscriptionRecord row;
  row.channel = 1;
  row.name = "cursor";
  bool changed = false;
  test.rider = [&](storage::WriteGroup* group) {
    if (changed) group->changes.emplace_back(storage::PutSubscription{row});
    changed = false;
  };
  (void)test.Run("without");
  CHECK(test.disk->Recover().subscriptions.empty());
  changed = true;
  row.cursor = 2;
  (void)test.Run("with");
  REQUIRE(test.disk->Recover().subscriptions.size() == 1);
  CHECK(test.disk->Recover().subscriptions[0].cursor == 2);
  CHECK(test.Groups() == std::vector<size_t>{1, 1});
  changed = true;
  row.cursor = 3;
  (void)test.Run("alone", 0, Kind::kEmpty);
  CHECK(test.disk->Recover().subscriptions[0].cursor == 3);
  CHECK(test.Groups() == std::vector<size_t>{1, 1, 0});
  CHECK(test.disk->durable_groups() == test.disk->groups());
}

TEST_CASE("stopping completes what is queued, and refuses what comes after") {
  TestCommitter test;
  test.store.writes.Close();
  for (int i = 0; i < 50; ++i) (void)test.Submit("op");
  test.store.writes.AwaitWaiting(1);
  std::thread stopper([&] { test.committer->Stop(); });
  test.store.writes.Open();
  stopper.join();
  for (const auto& op : test.operations) {
    // What came before Stop() is answered by the time it returns; the rest was refused.
    REQUIRE(op->answers.load() == 1);
    REQUIRE(op->answer.ok());
  }
  const size_t calls = test.disk->groups() + test.disk->syncs();
  for (const TestOperation* const late : {test.Submit("late"), test.Run("late")}) {
    REQUIRE(late->answers.load() == 1);
    CHECK(late->answer.reason() == Reason::SHUTTING_DOWN);
    CHECK(late->answer.fate() == DataFate::kNotAppended);
  }
  test.committer->Stop();
  CHECK(test.disk->groups() + test.disk->syncs() == calls);
}

TEST_CASE("stopping waits for a caller who holds a role") {
  for (const bool in_sync : {false, true}) {
    TestCommitter test;
    testing::Gate& gate = in_sync ? test.store.syncs : test.store.writes;
    gate.Close();
    TestOperation* const op = test.Add("run");
    std::thread caller([&] { test.committer->Run(op); });
    gate.AwaitWaiting(1);
    std::atomic<bool> stopped{false};
    std::thread stopper([&] {
      test.committer->Stop();
      stopped.store(op->answers.load() == 1);
    });
    gate.Open();
    stopper.join();
    caller.join();
    CHECK(stopped.load());
    CHECK(op->answer.ok());
  }
}

TEST_CASE("whatever interleaves, every operation is answered once, in the order of ids") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  for (const SyncPolicy policy : {SyncPolicy::kAlways, SyncPolicy::kInterval, SyncPolicy::kNone}) {
    TestCommitter test(policy, 100);
    constexpr int kThreads = 4;
    constexpr int kEach = 300;
    std::vector<std::vector<std::unique_ptr<TestOperation>>> operations(kThreads);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      for (int i = 0; i < kEach; ++i) {
        operations[t].push_back(std::make_unique<TestOperation>(
            &test, std::to_string(t), 10, i % 7 == 3 ? Kind::kRefused : Kind::kAppend));
      }
      threads.emplace_back([&, t] {
        Random random(seed + t);
        for (int i = 0; i < kEach; ++i) {
          TestOperation* const op = operations[t][i].get();
          random.OneIn(2) ? test.committer->Run(op) : test.committer->Submit(op);
          if (random.OneIn(3)) (void)TestCommitter::Answered(op);
        }
      });
    }
    // Stopped in the middle of it, every third time.
    if (policy == SyncPolicy::kAlways) {
      REQUIRE(Eventually([&] { return test.Groups().size() > 50; }));
      test.committer->Stop();
    }
    for (std::thread& thread : threads) thread.join();
    test.committer->Stop();
    MessageId stored = 0;
    for (const auto& mine : operations) {
      MessageId last = 0;
      for (const auto& op : mine) {
        REQUIRE(op->answers.load() == 1);
        if (!op->answer.ok()) continue;
        // What one thread sent earlier has the smaller id.
        REQUIRE(op->id > last);
        last = op->id;
        ++stored;
      }
    }
    CHECK(test.next_id == stored + 1);
    // Published in the order of ids: the journal has both, by one thread at a time.
    CHECK(test.journal.Of("publish").size() == static_cast<size_t>(stored));
    CHECK(test.disk->breaches() == Lines{});
  }
}

}  // namespace
}  // namespace strata
