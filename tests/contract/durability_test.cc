// Durability as clients see it, over a store that the test holds up or breaks: not over kInMemory, which
// has no way to reach its store. What it has, in_memory_test.cc shows.
#include <algorithm>
#include <cstdint>
#include <future>
#include <map>
#include <thread>

#include "base/mutex.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

struct Broken {
  explicit Broken(Transport transport, Strings settings = {})
      : Broken(transport, {std::make_unique<MemoryStore>(), std::move(settings)}) {}
  Broken(Transport transport, Place::InMemory memory)
      : store(memory.store.get()), place(transport, std::move(memory)) {}

  Client& client() { return place.client(); }
  std::future<Result<AppendResult>> AppendLater(const std::string& payload) {
    return std::async(std::launch::async, [this, payload] {
      return client().Append("c", std::vector<Message>{{payload, {}}});
    });
  }

  MemoryStore* store;  // the broker's
  Place place;
};

TEST_CASE("Nothing is acknowledged or readable before the sync that covers it") {
  Broken b(GENERATE(STORE_TRANSPORTS));
  Create(b.client(), "c");
  auto reader = Read(b.client(), "c");
  b.store->HoldSyncs();
  auto append = b.AppendLater("a");
  b.store->AwaitHeldSync();
  CHECK(append.wait_for(kNow) == std::future_status::timeout);
  CHECK(Fetched(Get(b.client().Fetch("c", {}))).empty());
  CHECK(Why(reader->Receive(kNow)) == "TIMEOUT");
  CHECK(Read(b.client(), "c", StartPosition::Latest())->position() == 1);
  b.store->ReleaseSyncs();
  CHECK(Get(append.get()).first_id == 1);
  CHECK(Take(*reader, 1) == Strings{"1:a"});
}

TEST_CASE("With sync none or interval an append does not wait for a sync") {
  const auto transport = GENERATE(STORE_TRANSPORTS);
  const std::string sync = GENERATE("none", "interval");
  Broken b(transport, {"durability.sync=" + sync});
  Create(b.client(), "c");
  CHECK(Get(b.client().GetServerInfo()).sync == sync);
  b.store->HoldSyncs();
  const auto append = b.client().Append("c", std::vector<Message>{{"a", {}}});
  const Strings fetched = Fetched(Get(b.client().Fetch("c", {})));
  b.store->ReleaseSyncs();
  CHECK(Get(append).first_id == 1);
  CHECK(fetched == Strings{"1:a"});
}

TEST_CASE("A failed sync or write ends appending for good, and reading goes on") {
  const auto transport = GENERATE(STORE_TRANSPORTS);
  const bool sync = GENERATE(true, false);
  Broken b(transport);
  Create(b.client(), "c");
  Append(b.client(), "c", {"kept"});
  auto reader = Read(b.client(), "c");
  if (sync) {
    b.store->FailNextSync();
  } else {
    b.store->FailNextWrite();
  }
  CHECK(Why(b.client().Append("c", std::vector<Message>{{"a", {}}})) == "STORE_FAILED maybe");
  CHECK(Why(b.client().Append("c", std::vector<Message>{{"b", {}}})) == "STORE_FAILED not");
  auto producer = b.client().OpenProducer("c");
  if (producer.ok()) {
    CHECK(Why((*producer)->Send(Message{"c", {}}).get()) == "STORE_FAILED not");
  }
  CHECK(Why(b.client().CreateChannel("d")) == "STORE_FAILED");
  CHECK(Why(b.client().TruncateChannel("c", 1)) == "STORE_FAILED");
  CHECK(Take(*reader, 1) == Strings{"1:kept"});
  CHECK(Why(reader->Receive(kNow)) == "TIMEOUT");
  CHECK(Fetched(Get(b.client().Fetch("c", {}))) == Strings{"1:kept"});
  const BrokerStatus status = Get(b.client().GetStatus());
  CHECK_FALSE(status.accepts_appends);
  CHECK(status.state == "failed");
  CHECK_FALSE(status.failure.empty());
  CHECK(b.store->breaches().empty());
}

TEST_CASE("A failing store tells a producer the fate of every message, and tells the truth") {
  Broken b(GENERATE(STORE_TRANSPORTS));
  Create(b.client(), "c");
  struct Sent {
    std::string payload;
    std::string answer = "none";
  };
  std::vector<Sent> sent(200);
  Mutex mu;
  auto producer = Produce(b.client(), "c", {.batch_bytes = 100});
  Ok(producer->Send("first", nullptr));
  Ok(producer->Flush());
  b.store->HoldSyncs();
  for (size_t i = 0; i < sent.size(); ++i) {
    sent[i].payload = "m" + std::to_string(i);
    Ok(producer->Send(sent[i].payload, [&, i](const Result<MessageId>& id) {
      MutexLock lock(mu);
      sent[i].answer = id.ok() ? "stored" : Why(id);
    }));
  }
  b.store->AwaitHeldSync();
  b.store->FailNextSync();
  b.store->ReleaseSyncs();
  CHECK(producer->Flush().reason() == Reason::STORE_FAILED);
  CHECK(Why(producer->Send("late", nullptr)) == "STORE_FAILED not");
  producer.reset();

  // With and without what no sync covered: "not" is in neither, "stored" would be in both.
  Strings durable;
  Strings written;
  for (Strings* found : {&durable, &written}) {
    Place later(Transport::kEmbedded, {b.store->Reopen(found == &durable ? 0 : SIZE_MAX)});
    *found = Fetched(Get(later.client().Fetch("c", {}, {.max_bytes = 1 << 20})));
  }
  const auto contains = [](const Strings& found, const std::string& payload) {
    return std::any_of(found.begin(), found.end(),
                       [&](const std::string& one) { return one.ends_with(":" + payload); });
  };
  MutexLock lock(mu);
  std::map<std::string, int> answers;
  for (const Sent& one : sent) {
    ++answers[one.answer];
    if (one.answer == "stored") CHECK(contains(durable, one.payload));
    if (one.answer == "STORE_FAILED not") CHECK_FALSE(contains(written, one.payload));
  }
  CHECK(answers["none"] == 0);
  CHECK(answers["STORE_FAILED maybe"] > 0);
  CHECK(answers["stored"] + answers["STORE_FAILED maybe"] + answers["STORE_FAILED not"] == 200);
  CHECK(sent.front().answer != "STORE_FAILED not");
}

TEST_CASE("Beyond the bound on pending bytes single appends are refused and producers wait") {
  Broken b(GENERATE(STORE_TRANSPORTS),
           {"limits.maxPending=100KiB", "limits.maxPendingTotal=100KiB"});
  Create(b.client(), "c");
  auto producer = Produce(b.client(), "c", {.batch_bytes = 10'000});
  b.store->HoldSyncs();
  for (int i = 0; i < 100; ++i) Ok(producer->Send(std::string(9'000, 'x'), nullptr));
  b.store->AwaitHeldSync();
  // The producer's messages fill the bound sooner or later; then there is no room for this one.
  std::string why;
  const auto give_up = std::chrono::steady_clock::now() + kSoon;
  std::vector<std::future<Result<AppendResult>>> held;
  while (why != "BACK_PRESSURE not" && std::chrono::steady_clock::now() < give_up) {
    held.push_back(b.AppendLater(std::string(50'000, 'y')));
    if (held.back().wait_for(std::chrono::milliseconds(200)) == std::future_status::ready) {
      why = Why(held.back().get());
      held.pop_back();
    }
  }
  CHECK(why == "BACK_PRESSURE not");
  b.store->ReleaseSyncs();
  Ok(producer->Flush());
  MessageId stored = 100;
  for (auto& append : held) stored += append.get().ok() ? 1 : 0;
  CHECK(Get(b.client().DescribeChannel("c")).next_id == stored + 1);
}

TEST_CASE("A damaged batch is announced as a gap and its neighbours stay readable") {
  Broken b(GENERATE(STORE_TRANSPORTS), {"limits.tailCache=0"});
  const ChannelInfo channel = Create(b.client(), "c");
  Append(b.client(), "c", {"a", "b"});
  Append(b.client(), "c", {"c", "d"});
  Append(b.client(), "c", {"e"});
  b.store->Damage(channel.number, 3);
  CHECK(Take(*Read(b.client(), "c"), 4) == Strings{"1:a", "2:b", "gap 3-4 CORRUPT", "5:e"});
  CHECK(Take(*Read(b.client(), "c", StartPosition::At(4)), 2) == Strings{"gap 4-4 CORRUPT", "5:e"});
  CHECK(Fetched(Get(b.client().Fetch("c", StartPosition::At(2)))) ==
        Strings{"2:b", "gap 3-4 CORRUPT", "5:e"});
}

TEST_CASE("Append times never go back, even if the wall clock does") {
  ManualClock clock;
  Broken b(GENERATE(STORE_TRANSPORTS), {.store = std::make_unique<MemoryStore>(), .clock = &clock});
  Create(b.client(), "c");
  const TimeMicros first = Append(b.client(), "c", {"a"}).append_time;
  CHECK(first == clock.WallMicros());
  clock.SetWall(first - 3'600'000'000);
  CHECK(Append(b.client(), "c", {"b"}).append_time == first);
  clock.SetWall(first + 5);
  CHECK(Append(b.client(), "c", {"c"}).append_time == first + 5);
  CHECK(Take(*Read(b.client(), "c", StartPosition::AtTime(first + 1)), 1) == Strings{"3:c"});
}

TEST_CASE("Ids that were skipped because data may have been lost are a gap of their own") {
  const auto transport = GENERATE(STORE_TRANSPORTS);
  constexpr MessageId kNext = 3 + kLostIdJump;
  Broken before(Transport::kEmbedded);
  Create(before.client(), "c");
  Append(before.client(), "c", {"a", "b"});
  Place place(transport, {.store = before.store->Reopen(), .amend = [](auto* recovered) {
                            storage::RecoveredChannel& channel = recovered->channels.at(0);
                            channel.record.lost = {{3, kNext - 1, GapReason::kLost}};
                            channel.next_id = kNext;
                          }});
  const std::string next = std::to_string(kNext);
  const std::string gap = "gap 3-" + std::to_string(kNext - 1) + " LOST";
  CHECK(Append(place.client(), "c", {"after"}).first_id == kNext);
  CHECK(Take(*Read(place.client(), "c"), 4) == Strings{"1:a", "2:b", gap, next + ":after"});
  CHECK(Take(*Read(place.client(), "c", StartPosition::After(2)), 2) ==
        Strings{gap, next + ":after"});
}

}  // namespace
}  // namespace strata::testing
