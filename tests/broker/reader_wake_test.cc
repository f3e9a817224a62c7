// Waiting: a reader that has seen all is woken by whatever it would see next, once, and never
// forgotten.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/reader.h"
#include "broker/wakes.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using broker::Delivery;
using broker::Reader;
using testing::Answers;
using testing::Bell;
using testing::Lines;
using testing::Random;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::TestSeed;
using testing::ToLines;

TEST_CASE("a waiting reader is woken by the next message, once, when it can read it") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto reader = broker.Open("logs");
  Bell bell;
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {"a"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  CHECK(bell.rings() == 0);
  broker.store().syncs.Open();
  REQUIRE(bell.Await(1));
  CHECK(ReadToEnd(reader.get()) == Lines{"1 a"});
  REQUIRE(broker.Append("logs", {"b"}).ok());
  CHECK(bell.rings() == 1);
}

TEST_CASE("two of the readers that a lone append wakes may go on at once, the others schedule") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  std::vector<std::unique_ptr<Reader>> readers;
  Bell bell;
  std::atomic<int> at_once{0};
  Lines read;
  for (int i = 0; i < 5; ++i) {
    readers.push_back(broker.Open("logs"));
    Reader* const reader = readers.back().get();
    REQUIRE(reader->WakeWhenReady([&, reader, ring = bell.Ringer()] {
      if (broker::SpareTime::Take()) {
        ++at_once;
        read = ReadToEnd(reader);
        // Waiting again from inside is allowed, and does not ring for what was read.
        if (!reader->WakeWhenReady([] {})) std::abort();
      }
      ring();
    }));
  }
  Answers answers;
  broker.AppendAsync("logs", {"a"}, &answers);
  REQUIRE(bell.Await(5));
  CHECK(at_once.load() == 2);
  CHECK(read == Lines{"1 a"});
}

TEST_CASE("a reader with something to read is not made to wait") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto reader = broker.Open("logs");
  REQUIRE(broker.Append("logs", {"a"}).ok());
  Bell bell;
  CHECK_FALSE(reader->WakeWhenReady(bell.Ringer()));
  CHECK(ReadToEnd(reader.get()) == Lines{"1 a"});
  CHECK(bell.rings() == 0);
}

TEST_CASE("waiting again replaces the bell that has not rung") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto reader = broker.Open("logs");
  Bell first;
  Bell second;
  REQUIRE(reader->WakeWhenReady(first.Ringer()));
  REQUIRE(reader->WakeWhenReady(second.Ringer()));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  CHECK(first.rings() == 0);
  CHECK(second.rings() == 1);
}

TEST_CASE("a reader that is destroyed while it waits is not woken, and lets go of its wake-up") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  auto reader = broker.Open("logs");
  auto owned = std::make_shared<std::atomic<int>>(0);
  const std::weak_ptr<std::atomic<int>> watch = owned;
  REQUIRE(reader->WakeWhenReady([owned = std::move(owned)] { owned->fetch_add(1); }));
  CHECK_FALSE(watch.expired());
  reader.reset();
  CHECK(watch.expired());
  REQUIRE(broker.Append("logs", {"a"}).ok());
}

TEST_CASE("each waiting reader of a channel is woken, and none of another channel") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Create("other"));
  std::vector<std::unique_ptr<Reader>> readers;
  Bell bell;
  for (int i = 0; i < 20; ++i) {
    readers.push_back(broker.Open("logs"));
    REQUIRE(readers.back()->WakeWhenReady(bell.Ringer()));
  }
  REQUIRE(broker.Append("other", {"x"}).ok());
  CHECK(bell.rings() == 0);
  CHECK(broker->Stats().readers == 20);
  REQUIRE(broker.Append("logs", {"a"}).ok());
  CHECK(bell.rings() == 20);
}

TEST_CASE("deleting its channel wakes a reader, who is told so and nothing else afterwards") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  const auto behind = broker.Open("logs");
  const auto reader = broker.Open("logs", StartPosition::Latest());
  Bell bell;
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  REQUIRE(broker->DeleteChannel("logs").ok());
  CHECK(bell.rings() == 1);
  CHECK(ReadToEnd(reader.get()) == Lines{"CHANNEL_DELETED"});
  CHECK(ReadToEnd(reader.get()) == Lines{"CHANNEL_DELETED"});
  CHECK(ReadToEnd(behind.get()) == Lines{"CHANNEL_DELETED"});
  CHECK_FALSE(reader->WakeWhenReady(bell.Ringer()));
  CHECK_FALSE(reader->NeedsStorage());
  CHECK(reader->Seek(StartPosition::Earliest()).reason() == Reason::CHANNEL_DELETED);
  // The name's new channel is nothing to them.
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"new"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"CHANNEL_DELETED"});
  CHECK(broker.Read("logs") == Lines{"1 new"});
}

TEST_CASE("truncating up to the end wakes a reader that waits, with nothing to tell it") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  const auto reader = broker.Open("logs", StartPosition::Latest());
  Bell bell;
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  REQUIRE(broker->TruncateChannel("logs", 1).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{});
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  REQUIRE(broker.Append("logs", {"b"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"2 b"});
}

TEST_CASE("a reader outlives its broker, is woken by its end and told of it") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  const auto waiting = broker.Open("logs", StartPosition::Latest());
  const auto behind = broker.Open("logs");
  Bell bell;
  REQUIRE(waiting->WakeWhenReady(bell.Ringer()));
  broker.Destroy();
  CHECK(bell.rings() == 1);
  for (Reader* const reader : {waiting.get(), behind.get()}) {
    CHECK(ReadToEnd(reader) == Lines{"SHUTTING_DOWN"});
    CHECK_FALSE(reader->NeedsStorage());
    CHECK_FALSE(reader->WakeWhenReady(bell.Ringer()));
    CHECK(reader->Seek(StartPosition::AtTime(0)).reason() == Reason::SHUTTING_DOWN);
    CHECK(reader->channel().next_id == 2);
  }
  CHECK(bell.rings() == 1);
}

TEST_CASE("closing waits for a reader inside the store, and nobody enters it afterwards") {
  broker::BrokerOptions options;
  options.tail_cache = 0;
  TestBroker broker(options);
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  const auto reader = broker.Open("logs");
  broker.store().reads.Close();
  Reader::Item item;
  std::thread reading([&] { item = reader->Next(); });
  broker.store().reads.AwaitWaiting(1);
  std::thread closing([&] { broker->Close(); });
  Bell bell;
  const auto other = broker->OpenReader("logs", StartPosition::Latest());
  // Readers are ended before the store is closed.
  if (other.ok() && (*other)->WakeWhenReady(bell.Ringer())) REQUIRE(bell.Await(1));
  CHECK_FALSE(broker.disk().closed());
  broker.store().reads.Open();
  reading.join();
  closing.join();
  CHECK(ToLines(item) == Lines{"1 a"});
  CHECK(broker.disk().closed());
  CHECK(ReadToEnd(reader.get()) == Lines{"SHUTTING_DOWN"});
  CHECK(broker.disk().breaches() == Lines{});
}

// Reads `count` messages on its own thread, waiting for each; what it found wrong.
class Follower {
 public:
  Follower(std::unique_ptr<Reader> reader, MessageId count)
      : reader_(std::move(reader)), thread_([this, count] { Follow(count); }) {}
  const std::string& Join() {
    thread_.join();
    return wrong_;
  }

 private:
  void Follow(MessageId count) {
    int rings = 0;
    MessageId expected = 1;
    while (expected <= count && wrong_.empty()) {
      const Reader::Item item = reader_->Next();
      if (const auto* delivery = std::get_if<Delivery>(&item)) {
        if (delivery->first_id() != expected) {
          wrong_ = "got " + std::to_string(delivery->first_id()) + " instead of " +
                   std::to_string(expected);
        }
        expected += delivery->count();
      } else if (!std::holds_alternative<Reader::AtEnd>(item)) {
        wrong_ = ToLines(item)[0];
      } else if (reader_->WakeWhenReady(bell_.Ringer()) && !bell_.Await(++rings)) {
        wrong_ = "was not woken at " + std::to_string(expected);
      }
    }
  }

  Bell bell_;
  std::unique_ptr<Reader> reader_;
  std::string wrong_;
  std::thread thread_;
};

TEST_CASE("no wake-up is lost: readers that wait for each message get them all, in order") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (const uint64_t cache : {uint64_t{1} << 20, uint64_t{1'000}}) {
    broker::BrokerOptions options;
    options.tail_cache = cache;
    TestBroker broker(options);
    REQUIRE(broker.Create("logs"));
    constexpr MessageId kMessages = 2'000;
    std::vector<std::unique_ptr<Follower>> followers;
    for (int i = 0; i < 6; ++i) {
      followers.push_back(std::make_unique<Follower>(broker.Open("logs"), kMessages));
    }
    Answers answers;
    size_t sent = 0;
    for (MessageId next = 1; next <= kMessages;) {
      const auto count = std::min<MessageId>(kMessages - next + 1, 1 + random.Below(3));
      const std::vector<std::string> payloads(static_cast<size_t>(count), "x");
      if (random.OneIn(2)) {
        REQUIRE(broker.Append("logs", payloads).ok());
      } else {
        broker.AppendAsync("logs", payloads, &answers);
        ++sent;
      }
      next += count;
    }
    for (const auto& answer : answers.Await(sent)) REQUIRE(answer.ok());
    for (const auto& follower : followers) CHECK(follower->Join() == "");
    CHECK(broker->Stats().messages_appended == kMessages);
  }
}

}  // namespace
}  // namespace strata
