// limits.maxPendingTotal: what is let in, and who is woken when there is room again.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/broker/fixture.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using testing::Answers;
using testing::BatchOf;
using testing::Bell;
using testing::Lines;
using testing::Random;
using testing::TestBroker;
using testing::TestSeed;

broker::BrokerOptions Pending(uint64_t bytes) {
  broker::BrokerOptions options;
  options.max_pending_total = bytes;
  return options;
}

// A batch of exactly so many bytes, at least 5 and not around 128.
std::string Payload(size_t batch_bytes) {
  const size_t overhead = BatchOf({std::string(batch_bytes, 'x')}).size() - batch_bytes;
  return std::string(batch_bytes - overhead, 'x');
}

TEST_CASE("appends are let in up to the bound to the byte, and refused beyond it") {
  TestBroker broker(Pending(1'000));
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {Payload(600)}, &answers);
  broker.AppendAsync("logs", {Payload(400)}, &answers);
  CHECK(broker->Stats().pending_bytes == 1'000);
  broker.AppendAsync("logs", {"x"}, &answers);
  REQUIRE(answers.count() == 1);
  const Status refused = answers.Await(1)[0].status();
  CHECK(refused.reason() == Reason::BACK_PRESSURE);
  CHECK(refused.fate() == DataFate::kNotAppended);
  CHECK(refused.retryable());
  CHECK(refused.message() ==
        "1000 bytes wait for their acknowledgement, at most 1000 may (limits.maxPendingTotal)");
  CHECK(broker.Append("logs", {"x"}).status().reason() == Reason::BACK_PRESSURE);
  CHECK(broker->Stats().pending_bytes == 1'000);
  broker.store().syncs.Open();
  for (size_t i = 1; i < 3; ++i) CHECK(answers.Await(3)[i].ok());
  CHECK(broker->Stats().pending_bytes == 0);
  CHECK(broker.Append("logs", {"x"})->first_id == 3);
}

TEST_CASE("an append larger than the bound is let in alone, when nothing else is pending") {
  TestBroker broker(Pending(1'000));
  REQUIRE(broker.Create("logs"));
  CHECK(broker.Append("logs", {Payload(5'000)}).ok());
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {Payload(5'000)}, &answers);
  CHECK(broker->Stats().pending_bytes == 5'000);
  CHECK(broker.Append("logs", {"x"}).status().reason() == Reason::BACK_PRESSURE);
  broker.store().syncs.Open();
  REQUIRE(answers.Await(1)[0].ok());
  broker.store().syncs.Close();
  broker.AppendAsync("logs", {"x"}, &answers);
  CHECK(broker.Append("logs", {Payload(5'000)}).status().reason() == Reason::BACK_PRESSURE);
}

TEST_CASE("whoever asks while there is room does not wait") {
  TestBroker broker(Pending(1'000));
  Bell bell;
  CHECK_FALSE(broker->WakeWhenRoom(1'000, bell.Ringer()));
  CHECK_FALSE(broker->WakeWhenRoom(100'000, bell.Ringer()));
  CHECK(bell.rings() == 0);
}

TEST_CASE("whoever waits is woken once when there is room") {
  TestBroker broker(Pending(1'000));
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {Payload(900)}, &answers);
  Bell bell;
  CHECK_FALSE(broker->WakeWhenRoom(100, bell.Ringer()));
  REQUIRE(broker->WakeWhenRoom(101, bell.Ringer()));
  REQUIRE(broker->WakeWhenRoom(5'000, bell.Ringer()));
  CHECK(bell.rings() == 0);
  broker.store().syncs.Open();
  REQUIRE(bell.Await(2));
  REQUIRE(answers.Await(1)[0].ok());
  REQUIRE(broker.Append("logs", {Payload(900)}).ok());
  CHECK(bell.rings() == 2);
}

TEST_CASE("whoever waits is not woken while there is no room for them") {
  TestBroker broker(Pending(1'000));
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {Payload(200)}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  broker.AppendAsync("logs", {Payload(700)}, &answers);
  Bell small;
  Bell large;
  REQUIRE(broker->WakeWhenRoom(300, small.Ringer()));
  REQUIRE(broker->WakeWhenRoom(301, large.Ringer()));
  broker.store().syncs.LetPass(1);
  REQUIRE(small.Await(1));
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(large.rings() == 0);
  broker.store().syncs.Open();
  REQUIRE(large.Await(1));
}

TEST_CASE(
    "those who wait are woken in their order, and only as many as there is room for together") {
  TestBroker broker(Pending(1'000));
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {Payload(400)}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  broker.AppendAsync("logs", {Payload(600)}, &answers);
  Bell first;
  Bell second;
  Bell third;
  REQUIRE(broker->WakeWhenRoom(200, first.Ringer()));
  REQUIRE(broker->WakeWhenRoom(300, second.Ringer()));
  REQUIRE(broker->WakeWhenRoom(200, third.Ringer()));
  broker.store().syncs.LetPass(1);
  REQUIRE(first.Await(1));
  REQUIRE(answers.Await(1)[0].ok());
  // Alone each would fit into the 400 bytes. The third one would even with the first, but not before the second.
  CHECK(second.rings() == 0);
  CHECK(third.rings() == 0);
  // The first one has gone and appends nothing: what is pending still brings the others their turn.
  broker.store().syncs.Open();
  REQUIRE(second.Await(1));
  REQUIRE(third.Await(1));
  CHECK(first.rings() == 1);
}

TEST_CASE("of thousands who wait nobody is forgotten, though none of those who are woken appends") {
  TestBroker broker(Pending(1'000));
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {Payload(1'000)}, &answers);
  Bell bell;
  for (int i = 0; i < 5'000; ++i) REQUIRE(broker->WakeWhenRoom(700, bell.Ringer()));
  broker.store().syncs.Open();
  REQUIRE(bell.Await(5'000));
  REQUIRE(answers.Await(1)[0].ok());
}

TEST_CASE("closing wakes whoever waits for room") {
  TestBroker broker(Pending(1'000));
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {Payload(1'000)}, &answers);
  Bell bell;
  REQUIRE(broker->WakeWhenRoom(1, bell.Ringer()));
  std::thread closing([&] { broker->Close(); });
  broker.store().syncs.Open();
  REQUIRE(bell.Await(1));
  closing.join();
  CHECK_FALSE(broker->WakeWhenRoom(1, bell.Ringer()));
}

TEST_CASE("no wake-up is lost: producers that wait for room all finish, within the bound") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  constexpr uint64_t kBound = 2'000;
  TestBroker broker(Pending(kBound));
  REQUIRE(broker.Create("logs"));
  std::vector<Lines> wrong(4);
  std::atomic<size_t> sent{0};
  Answers answers;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed + t);
      Bell bell;
      int rings = 0;
      for (int i = 0; i < 400 && wrong[t].empty();) {
        const Buffer batch =
            BatchOf({std::string(random.OneIn(20) ? 3'000 : random.Below(800), 'x')});
        std::atomic<bool> refused{false};
        // Each second one blocks, so that room is given back on several threads.
        if (random.OneIn(2)) {
          const Status status = broker->Append({"logs", batch, 0}).status();
          refused = status.reason() == Reason::BACK_PRESSURE;
          if (!status.ok() && !refused) wrong[t].push_back(status.ToString());
        } else {
          // Admission is decided before the call returns.
          const std::thread::id here = std::this_thread::get_id();
          broker->AppendAsync({"logs", batch, 0}, [&, here](const Result<AppendResult>& answer) {
            if (std::this_thread::get_id() == here && !answer.ok()) {
              refused = true;
            } else {
              answers.Callback()(answer);
            }
          });
          if (!refused) sent.fetch_add(1);
        }
        if (broker->Stats().pending_bytes > kBound + 3'010) wrong[t].push_back("over the bound");
        if (!refused) {
          ++i;
        } else if (broker->WakeWhenRoom(batch.size(), bell.Ringer()) && !bell.Await(++rings)) {
          wrong[t].push_back("was not woken");
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Lines& lines : wrong) CHECK(lines == Lines{});
  for (const auto& answer : answers.Await(sent.load())) CHECK(answer.ok());
  CHECK(broker.NextId("logs") == 4 * 400 + 1);
  CHECK(broker->Stats().pending_bytes == 0);
}

}  // namespace
}  // namespace strata
