// Appends: what is answered when, what nobody sees before it is durable, and what fail-stop leaves.
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/batch.h"
#include "broker/reader.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::Reader;
using testing::Answers;
using testing::BatchOf;
using testing::Bell;
using testing::Eventually;
using testing::Lines;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::ToLines;

TEST_CASE("appends get dense ids, their count and their time") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const Result<AppendResult> first = broker.Append("logs", {"a", "b", "c"});
  REQUIRE(first.ok());
  CHECK(first->first_id == 1);
  CHECK(first->count == 3);
  CHECK(first->append_time == broker.clock().WallMicros());
  CHECK(broker.Append("logs", {""})->first_id == 4);
  CHECK(broker.Append("logs", {"d"})->first_id == 5);
  REQUIRE(broker.Create("other"));
  CHECK(broker.Append("other", {"x"})->first_id == 1);
  CHECK(broker.Read("logs") == Lines{"1 a", "2 b", "3 c", "4 ", "5 d"});
}

TEST_CASE("a lone append does its own write and sync, without another thread") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  for (int i = 0; i < 10; ++i) {
    REQUIRE(broker.Append("logs", {"a"}).ok());
    REQUIRE(broker.store().write_thread() == std::this_thread::get_id());
    REQUIRE(broker.store().sync_thread() == std::this_thread::get_id());
  }
}

TEST_CASE("an asynchronous append is answered once, on another thread, without waiting for it") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  broker.store().writes.Close();
  Answers answers;
  broker.AppendAsync("logs", {"a"}, &answers);
  CHECK(answers.count() == 0);
  broker.store().writes.Open();
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(broker.store().write_thread() != std::this_thread::get_id());
}

TEST_CASE("what is not a batch is refused with nothing stored and nothing left pending") {
  broker::BrokerOptions options;
  options.limits.max_payload = 1'000;
  TestBroker broker(options);
  REQUIRE(broker.Create("logs"));
  const size_t groups = broker.disk().groups();
  const auto refused = [&](const Buffer& batch) {
    Answers answers;
    broker->AppendAsync({"logs", batch, 0}, answers.Callback());
    const Status async = answers.Await(1)[0].status();
    const Status blocking = broker->Append({"logs", batch, 0}).status();
    CHECK(async.reason() == blocking.reason());
    CHECK(async.fate() == DataFate::kNotAppended);
    return async.reason();
  };
  CHECK(refused(Buffer()) == Reason::INVALID_BATCH);
  CHECK(refused(Buffer(std::string("garbage"))) == Reason::INVALID_BATCH);
  CHECK(refused(BatchOf({std::string(1'001, 'x')})) == Reason::MESSAGE_TOO_LARGE);
  CHECK(refused(Buffer(std::string(1'001 + (64u << 10), 'x'))) == Reason::BATCH_TOO_LARGE);
  CHECK(broker.disk().groups() == groups);
  CHECK(broker->Stats().pending_bytes == 0);
  CHECK(broker.NextId("logs") == 1);
  CHECK(broker.Append("logs", {std::string(1'000, 'x')}).ok());
}

TEST_CASE("nothing shows what is written before its sync, everything does afterwards") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  const auto reader = broker.Open("logs", StartPosition::Latest());
  Bell bell;
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {"b", "c"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  REQUIRE(broker.disk().Recover().channels[0].next_id == 4);

  CHECK(answers.count() == 0);
  CHECK(bell.rings() == 0);
  CHECK(ReadToEnd(reader.get()) == Lines{});
  CHECK(broker.Read("logs") == Lines{"1 a"});
  CHECK(broker.Read("logs", StartPosition::At(2)) == Lines{});
  CHECK(broker.Read("logs", StartPosition::AtTime(0)) == Lines{"1 a"});
  CHECK(broker.NextId("logs") == 2);
  CHECK(broker->ListChannels()->at(0).next_id == 2);
  CHECK(broker->Stats().messages_appended == 1);
  CHECK(broker->Stats().pending_bytes == BatchOf({"b", "c"}).size());

  broker.store().syncs.Open();
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(bell.rings() == 1);
  CHECK(ReadToEnd(reader.get()) == Lines{"2 b", "3 c"});
  CHECK(broker.NextId("logs") == 4);
  CHECK(broker->Stats().messages_appended == 3);
  CHECK(broker->Stats().batches_appended == 2);
  CHECK(broker->Stats().pending_bytes == 0);
}

TEST_CASE("whoever is answered can read what was appended, and describe it") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  std::vector<std::string> seen;
  Bell bell;
  for (int i = 1; i <= 50; ++i) {
    broker->AppendAsync({"logs", BatchOf({"x"}), 0}, [&](const Result<AppendResult>& answer) {
      const auto reader = broker->OpenReader("logs", StartPosition::At(answer->first_id));
      seen.push_back(ToLines((*reader)->Next())[0]);
      bell.Ringer()();
    });
    REQUIRE(bell.Await(i));
    REQUIRE(seen.back() == std::to_string(i) + " x");
  }
}

TEST_CASE("a callback may append again") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  Answers answers;
  broker->AppendAsync({"logs", BatchOf({"a"}), 0}, [&](const Result<AppendResult>&) {
    broker.AppendAsync("logs", {"b"}, &answers);
  });
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(broker.Read("logs") == Lines{"1 a", "2 b"});
}

TEST_CASE("after fail-stop every change is refused, in-flight appends are in doubt, reads go on") {
  for (const bool fail_sync : {false, true}) {
    TestBroker broker;
    REQUIRE(broker.Create("logs"));
    REQUIRE(broker.Append("logs", {"a", "b"}).ok());
    REQUIRE(broker->CreateSubscription("logs", "sub", StartPosition::Earliest()).ok());
    const auto reader = broker.Open("logs");
    fail_sync ? broker.disk().FailNextSync() : broker.disk().FailNextWrite();
    Answers answers;
    broker.AppendAsync("logs", {"doubtful"}, &answers);
    const Status failed = answers.Await(1)[0].status();
    CHECK(failed.reason() == Reason::STORE_FAILED);
    CHECK(failed.fate() == DataFate::kMayHaveBeenAppended);
    CHECK(broker->failure().reason() == Reason::STORE_FAILED);

    const Status later = broker.Append("logs", {"later"}).status();
    CHECK(later.reason() == Reason::STORE_FAILED);
    CHECK(later.fate() == DataFate::kNotAppended);
    CHECK(broker->CreateChannel("new", {}).status().reason() == Reason::STORE_FAILED);
    CHECK(broker->TruncateChannel("logs", 1).status().reason() == Reason::STORE_FAILED);
    CHECK(broker->CreateSubscription("logs", "new", {}).status().reason() == Reason::STORE_FAILED);
    CHECK(broker->SeekSubscription("logs", "sub", {}).status().reason() == Reason::STORE_FAILED);
    CHECK(broker->DeleteSubscription("logs", "sub").reason() == Reason::STORE_FAILED);
    CHECK(broker->DeleteChannel("logs").reason() == Reason::STORE_FAILED);

    CHECK(ReadToEnd(reader.get()) == Lines{"1 a", "2 b"});
    CHECK(broker.Read("logs") == Lines{"1 a", "2 b"});
    CHECK(broker.NextId("logs") == 3);
    CHECK(broker->Stats().pending_bytes == 0);
    broker->Close();
    CHECK(broker.disk().closed());
    CHECK(broker.disk().breaches() == Lines{});
    TestBroker after = broker.AfterPowerCut(fail_sync ? 1 : 0);
    CHECK(after.Read("logs").size() == (fail_sync ? 3 : 2));
    CHECK(after.Append("logs", {"again"}).ok());
  }
}

TEST_CASE("under interval and none an append is readable after its write") {
  for (const SyncPolicy policy : {SyncPolicy::kInterval, SyncPolicy::kNone}) {
    broker::BrokerOptions options;
    options.sync = policy;
    TestBroker broker(options);
    REQUIRE(broker.Create("logs"));
    broker.store().syncs.Close();
    REQUIRE(broker.Append("logs", {"a"}).ok());
    CHECK(broker.Read("logs") == Lines{"1 a"});
    CHECK(broker.store().syncs.passed() == 0);
    // A power cut takes it, and what is found afterwards is a prefix.
    broker.store().syncs.Open();
    CHECK_FALSE(broker.AfterPowerCut(0)->DescribeChannel("logs").ok());
    CHECK(broker.AfterPowerCut(1).Read("logs") == Lines{});
    CHECK(broker.AfterPowerCut(2).Read("logs") == Lines{"1 a"});
  }
}

TEST_CASE("closing completes what is in flight, and refuses everything after") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker->CreateSubscription("logs", "sub", {}).ok());
  broker.store().writes.Close();
  Answers answers;
  for (int i = 0; i < 20; ++i) broker.AppendAsync("logs", {"a"}, &answers);
  broker.store().writes.AwaitWaiting(1);
  std::thread closing([&] { broker->Close(); });
  broker.store().writes.Open();
  closing.join();
  REQUIRE(answers.count() == 20);
  for (const auto& answer : answers.Await(20)) CHECK(answer.ok());
  CHECK(broker.disk().closed());

  const auto refused = [](const Status& status) { return status.reason(); };
  broker.AppendAsync("logs", {"late"}, &answers);
  CHECK(refused(answers.Await(21)[20].status()) == Reason::SHUTTING_DOWN);
  CHECK(answers.Await(21)[20].status().fate() == DataFate::kNotAppended);
  CHECK(refused(broker.Append("logs", {"late"}).status()) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker->CreateChannel("new", {}).status()) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker->DeleteChannel("logs")) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker->TruncateChannel("logs", 1).status()) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker->OpenReader("logs", {}).status()) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker.Hold("logs", "sub", {}, "me").status()) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker->SeekSubscription("logs", "sub", {}).status()) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker->DeleteSubscription("logs", "sub")) == Reason::SHUTTING_DOWN);
  CHECK(refused(broker->Acknowledge("logs", "sub", 1)) == Reason::SHUTTING_DOWN);
  CHECK(broker->StoreStats().groups == 0);
  CHECK(broker->Stats().pending_bytes == 0);
  broker->Close();
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("whoever closes a second time waits for the first, too") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {"a"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  std::atomic<int> early{0};
  std::vector<std::thread> closing;
  for (int i = 0; i < 3; ++i) {
    closing.emplace_back([&] {
      broker->Close();
      if (!broker.disk().closed()) early.fetch_add(1);
    });
  }
  REQUIRE(Eventually([&] { return !broker->OpenReader("logs", {}).ok(); }));
  broker.store().syncs.Open();
  for (std::thread& thread : closing) thread.join();
  CHECK(early.load() == 0);
  CHECK(answers.Await(1)[0].ok());
}

TEST_CASE("appends that race with closing are each answered once, and stored if and only if OK") {
  for (int round = 0; round < 15; ++round) {
    TestBroker broker;
    REQUIRE(broker.Create("logs"));
    Answers answers;
    std::vector<std::vector<Result<AppendResult>>> blocking(2);
    std::vector<std::thread> threads;
    for (auto& mine : blocking) {
      threads.emplace_back([&broker, &mine] {
        do mine.push_back(broker.Append("logs", {"x"}));
        while (mine.back().ok());
      });
    }
    size_t sent = 0;
    threads.emplace_back([&] {
      for (; sent < 200; ++sent) broker.AppendAsync("logs", {"x"}, &answers);
    });
    REQUIRE(Eventually([&] { return broker.disk().groups() > 5; }));
    broker->Close();
    for (std::thread& thread : threads) thread.join();

    std::set<MessageId> stored;
    auto results = answers.Await(sent);
    CHECK(results.size() == sent);
    for (const auto& mine : blocking) results.insert(results.end(), mine.begin(), mine.end());
    for (const auto& result : results) {
      if (result.ok()) {
        REQUIRE(stored.insert(result->first_id).second);
      } else {
        REQUIRE(result.status().reason() == Reason::SHUTTING_DOWN);
        REQUIRE(result.status().fate() == DataFate::kNotAppended);
      }
    }
    TestBroker after = broker.AfterPowerCut();
    REQUIRE(after.NextId("logs") == static_cast<MessageId>(stored.size()) + 1);
    REQUIRE(broker.disk().breaches() == Lines{});
  }
}

TEST_CASE("a store that fails where no append meets it has failed the broker") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  CHECK(broker->failure().ok());
  broker.disk().FailNextSync();
  REQUIRE_FALSE(broker.disk().Sync().ok());  // as of a thread of the store's own
  CHECK(broker->failure().reason() == Reason::STORE_FAILED);
  CHECK(broker.Append("logs", {"late"}).status().reason() == Reason::STORE_FAILED);
}

TEST_CASE("the store is told once a second what is acknowledged, if anything is new") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a", "b"}).ok());
  REQUIRE(Eventually([&] { return broker.clock().waiters() == 1; }));
  CHECK(broker.disk().noted().empty());
  broker.clock().Advance(std::chrono::seconds(1));
  using Noted = std::vector<std::pair<ChannelNumber, MessageId>>;
  REQUIRE(Eventually([&] { return broker.disk().noted() == Noted{{1, 3}}; }));
  REQUIRE(broker.Append("logs", {"c"}).ok());
  broker->Close();
  CHECK(broker.disk().noted() == Noted{{1, 4}});
}

}  // namespace
}  // namespace strata
