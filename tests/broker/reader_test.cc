// Where a reader starts, what it delivers, and when it needs storage.
#include "broker/reader.h"

#include <chrono>
#include <limits>
#include <memory>
#include <thread>

#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::Delivery;
using broker::Reader;
using testing::Answers;
using testing::Eventually;
using testing::Lines;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::ToLines;

// "logs" with a and b as one batch, c, and d, e, f as one batch: ids 1 to 6.
void Fill(TestBroker* broker) {
  REQUIRE(broker->Create("logs"));
  REQUIRE(broker->Append("logs", {"a", "b"}).ok());
  REQUIRE(broker->Append("logs", {"c"}).ok());
  REQUIRE(broker->Append("logs", {"d", "e", "f"}).ok());
}

const Lines kAll = {"1 a", "2 b", "3 c", "4 d", "5 e", "6 f"};

Lines From(size_t id) { return {kAll.begin() + static_cast<std::ptrdiff_t>(id) - 1, kAll.end()}; }

broker::BrokerOptions Uncached() {
  broker::BrokerOptions options;
  options.tail_cache = 0;
  return options;
}

TEST_CASE("a reader starts at the earliest message, at an id, or after one, inside batches too") {
  for (const uint64_t cache : {uint64_t{0}, uint64_t{1} << 20}) {
    broker::BrokerOptions options;
    options.tail_cache = cache;
    TestBroker broker(options);
    Fill(&broker);
    CHECK(broker.Read("logs", StartPosition::Earliest()) == kAll);
    for (MessageId id = 1; id <= 6; ++id) {
      CHECK(broker.Read("logs", StartPosition::At(id)) == From(static_cast<size_t>(id)));
      CHECK(broker.Read("logs", StartPosition::After(id - 1)) == From(static_cast<size_t>(id)));
    }
    CHECK(broker.Read("logs", StartPosition::At(7)) == Lines{});
    CHECK(broker.Read("logs", StartPosition::After(6)) == Lines{});
  }
}

TEST_CASE("ids at or below 0 mean the earliest message, without a gap") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker->TruncateChannel("logs", 3).ok());
  const MessageId lowest = std::numeric_limits<MessageId>::min();
  for (const MessageId id : {MessageId{0}, MessageId{-1}, lowest}) {
    CHECK(broker.Read("logs", StartPosition::At(id)) == From(4));
  }
  for (const MessageId id : {MessageId{-1}, MessageId{-2}, lowest}) {
    CHECK(broker.Read("logs", StartPosition::After(id)) == From(4));
  }
  CHECK(broker.Read("logs", StartPosition::Earliest()) == From(4));
}

TEST_CASE("LATEST is strictly after what is durable when the reader is opened") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = broker.Open("logs", StartPosition::Latest());
  CHECK(reader->position() == 7);
  CHECK(ReadToEnd(reader.get()) == Lines{});
  REQUIRE(broker.Append("logs", {"g"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"7 g"});
}

TEST_CASE("LATEST does not skip what was written but not durable when the reader was opened") {
  TestBroker broker;
  Fill(&broker);
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {"g"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  const auto reader = broker.Open("logs", StartPosition::Latest());
  CHECK(reader->position() == 7);
  broker.store().syncs.Open();
  REQUIRE(answers.Await(1)[0].ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"7 g"});
}

TEST_CASE("an id beyond the end waits for that id, and skips nothing of what is below silently") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = broker.Open("logs", StartPosition::At(9));
  REQUIRE(broker.Append("logs", {"g"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{});
  CHECK(reader->position() == 9);
  REQUIRE(broker.Append("logs", {"h", "i", "j"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"9 i", "10 j"});
  const auto never = broker.Open("logs", StartPosition::At(std::numeric_limits<MessageId>::max()));
  CHECK(ReadToEnd(never.get()) == Lines{});
  const auto nor = broker.Open("logs", StartPosition::After(std::numeric_limits<MessageId>::max()));
  CHECK(ReadToEnd(nor.get()) == Lines{});
}

TEST_CASE("a time means the first message that was appended at or after it") {
  for (const uint64_t cache : {uint64_t{0}, uint64_t{1} << 20}) {
    broker::BrokerOptions options;
    options.tail_cache = cache;
    TestBroker broker(options);
    REQUIRE(broker.Create("logs"));
    const TimeMicros start = broker.clock().WallMicros();
    for (const char* payload : {"a", "b", "c"}) {
      REQUIRE(broker.Append("logs", {payload, payload}).ok());
      broker.clock().Advance(std::chrono::microseconds(10));
    }
    const auto read = [&](TimeMicros after_start) {
      return broker.Read("logs", StartPosition::AtTime(start + after_start));
    };
    const Lines all = {"1 a", "2 a", "3 b", "4 b", "5 c", "6 c"};
    CHECK(read(-1'000'000) == all);
    CHECK(read(0) == all);
    CHECK(read(1) == Lines{"3 b", "4 b", "5 c", "6 c"});
    CHECK(read(10) == Lines{"3 b", "4 b", "5 c", "6 c"});
    CHECK(read(20) == Lines{"5 c", "6 c"});
    CHECK(read(21) == Lines{});
    CHECK(broker.Read("logs", StartPosition::AtTime(0)) == all);
  }
}

TEST_CASE("a time in the future passes over what is appended before it") {
  TestBroker broker;
  Fill(&broker);
  const TimeMicros later = broker.clock().WallMicros() + 100;
  const auto reader = broker.Open("logs", StartPosition::AtTime(later));
  REQUIRE(broker.Append("logs", {"too early"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{});
  broker.clock().Advance(std::chrono::microseconds(99));
  REQUIRE(broker.Append("logs", {"too early"}).ok());
  REQUIRE(broker.Append("logs", {"too early"}).ok());
  broker.clock().Advance(std::chrono::microseconds(1));
  REQUIRE(broker.Append("logs", {"in time"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"10 in time"});
  // The wall clock going back does not hide later messages: their time does not go back.
  broker.clock().SetWall(later - 1'000'000);
  REQUIRE(broker.Append("logs", {"later"}).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"11 later"});
}

TEST_CASE("append_time never decreases along a channel, whatever the wall clock does") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const TimeMicros first = broker.Append("logs", {"a"})->append_time;
  CHECK(first == broker.clock().WallMicros());
  broker.clock().SetWall(first - 1'000'000);
  CHECK(broker.Append("logs", {"b"})->append_time == first);
  broker.clock().SetWall(first + 5);
  CHECK(broker.Append("logs", {"c"})->append_time == first + 5);
  CHECK(broker->DescribeChannel("logs")->last_append_time == first + 5);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("a delivery is the stored batch and how many of its messages to pass over") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = broker.Open("logs", StartPosition::At(5));
  const Reader::Item item = reader->Next();
  const auto* delivery = std::get_if<Delivery>(&item);
  REQUIRE(delivery != nullptr);
  CHECK(delivery->batch.first_id == 4);
  CHECK(delivery->batch.count == 3);
  CHECK(delivery->batch.append_time == broker.clock().WallMicros());
  CHECK(delivery->skip == 1);
  CHECK(delivery->first_id() == 5);
  CHECK(delivery->count() == 2);
  CHECK(delivery->batch.bytes.ToString() == testing::BatchOf({"d", "e", "f"}).ToString());
  CHECK(reader->position() == 7);
}

TEST_CASE("a reader without a subscription seeks anywhere at any time") {
  for (const uint64_t cache : {uint64_t{0}, uint64_t{1} << 20}) {
    broker::BrokerOptions options;
    options.tail_cache = cache;
    TestBroker broker(options);
    Fill(&broker);
    const auto reader = broker.Open("logs");
    CHECK(ToLines(reader->Next()) == Lines{"1 a", "2 b"});
    REQUIRE(reader->Seek(StartPosition::At(6)).ok());
    CHECK(ReadToEnd(reader.get()) == Lines{"6 f"});
    REQUIRE(reader->Seek(StartPosition::Earliest()).ok());
    CHECK(ReadToEnd(reader.get()) == kAll);
    REQUIRE(reader->Seek(StartPosition::At(2)).ok());
    CHECK(ReadToEnd(reader.get()) == From(2));
    REQUIRE(reader->Seek(StartPosition::Latest()).ok());
    CHECK(ReadToEnd(reader.get()) == Lines{});
    // A time in the future is forgotten by the next seek.
    REQUIRE(reader->Seek(StartPosition::AtTime(broker.clock().WallMicros() + 1'000)).ok());
    REQUIRE(reader->Seek(StartPosition::At(3)).ok());
    CHECK(ReadToEnd(reader.get()) == From(3));
  }
}

TEST_CASE("a reader of a missing channel is told so, and an acknowledgement needs a subscription") {
  TestBroker broker;
  Fill(&broker);
  CHECK(broker->OpenReader("nothing", {}).status().reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker.Open("logs")->Acknowledge(1).reason() == Reason::INVALID_ARGUMENT);
  CHECK(broker.Open("logs")->channel().next_id == 7);
}

TEST_CASE("a reader needs storage exactly when what is next is neither cached nor read already") {
  TestBroker broker(Uncached());
  Fill(&broker);
  const auto reader = broker.Open("logs");
  CHECK(reader->NeedsStorage());
  CHECK(ToLines(reader->Next()) == Lines{"1 a", "2 b"});
  CHECK(broker.disk().reads() == 1);
  // One read brought all three batches.
  while (ToLines(reader->Next()) != Lines{}) CHECK_FALSE(reader->NeedsStorage());
  CHECK_FALSE(reader->NeedsStorage());
  CHECK(broker.disk().reads() == 1);
  REQUIRE(broker.Append("logs", {"g"}).ok());
  CHECK(reader->NeedsStorage());
  CHECK(ToLines(reader->Next()) == Lines{"7 g"});
  CHECK(broker.disk().reads() == 2);
}

TEST_CASE("a reader that keeps up never asks storage") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = broker.Open("logs");
  for (int i = 0; i < 100; ++i) {
    while (!std::holds_alternative<Reader::AtEnd>(reader->Next())) {
      REQUIRE_FALSE(reader->NeedsStorage());
    }
    REQUIRE(broker.Append("logs", {"more"}).ok());
    REQUIRE_FALSE(reader->NeedsStorage());
  }
  CHECK(broker.disk().reads() == 0);
  CHECK(broker->Stats().cache_hits == 3 + 99);
  CHECK(broker->Stats().storage_reads == 0);
}

TEST_CASE("a gap that is due does not need storage, and what lies behind it does") {
  TestBroker broker(Uncached());
  Fill(&broker);
  const auto reader = broker.Open("logs");
  CHECK(ToLines(reader->Next()) == Lines{"1 a", "2 b"});  // and c to f were read ahead
  REQUIRE(broker.Append("logs", {"g"}).ok());
  REQUIRE(broker->TruncateChannel("logs", 6).ok());
  CHECK_FALSE(reader->NeedsStorage());
  CHECK(ToLines(reader->Next()) == Lines{"gap 3 to 6 TRIMMED"});
  CHECK(broker.disk().reads() == 1);
  CHECK(reader->NeedsStorage());
  CHECK(ToLines(reader->Next()) == Lines{"7 g"});
  CHECK(broker.disk().reads() == 2);
}

TEST_CASE("a reader that is behind takes large reads in steps and misses nothing") {
  TestBroker broker(Uncached());
  REQUIRE(broker.Create("logs"));
  Lines expected;
  for (int i = 1; i <= 40; ++i) {
    const std::string payload(40'000, static_cast<char>('a' + i % 26));
    REQUIRE(broker.Append("logs", {payload}).ok());
    expected.push_back(std::to_string(i) + " " + payload);
  }
  CHECK(broker.Read("logs") == expected);
  // 1.6 MB in steps of 256 KiB and the batch that fills each.
  CHECK(broker.disk().reads() == 6);
}

TEST_CASE(
    "what was read ahead is delivered without storage, unless a seek or a truncation passes over "
    "it") {
  TestBroker broker(Uncached());
  Fill(&broker);
  const auto reader = broker.Open("logs");
  CHECK_FALSE(reader->is_behind());
  reader->ReadAhead();
  CHECK(broker.disk().reads() == 1);
  CHECK_FALSE(reader->NeedsStorage());
  reader->ReadAhead();
  CHECK(broker.disk().reads() == 1);
  CHECK(ToLines(reader->Next()) == Lines{"1 a", "2 b"});
  CHECK(reader->is_behind());

  REQUIRE(broker->TruncateChannel("logs", 4).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"gap 3 to 4 TRIMMED", "5 e", "6 f"});
  CHECK(broker.disk().reads() == 1);
  reader->ReadAhead();  // there is nothing
  CHECK(broker.disk().reads() == 1);

  REQUIRE(reader->Seek(StartPosition::At(5)).ok());
  reader->ReadAhead();
  REQUIRE(reader->Seek(StartPosition::At(6)).ok());
  CHECK(reader->NeedsStorage());
  CHECK(ToLines(reader->Next()) == Lines{"6 f"});
  CHECK(broker.disk().reads() == 3);
}

TEST_CASE("a reader in the tail cache has nothing to read ahead") {
  TestBroker broker;
  Fill(&broker);
  const auto reader = broker.Open("logs");
  reader->ReadAhead();
  CHECK(ReadToEnd(reader.get()) == kAll);
  CHECK_FALSE(reader->is_behind());
  CHECK(broker.disk().reads() == 0);
}

TEST_CASE("all readers together read ahead 16 MiB, and what one lets go of is another's") {
  TestBroker broker(Uncached());
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {std::string(4u << 20, 'x')}).ok());
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 6; ++i) readers.push_back(broker.Open("logs"));
  for (const auto& reader : readers) reader->ReadAhead();
  CHECK(broker.disk().reads() == 4);

  // Delivered, passed over, destroyed: each makes room for one.
  CHECK(std::holds_alternative<Delivery>(readers[0]->Next()));
  readers[4]->ReadAhead();
  CHECK(broker.disk().reads() == 5);
  REQUIRE(readers[1]->Seek(StartPosition::Latest()).ok());
  readers[5]->ReadAhead();
  CHECK(broker.disk().reads() == 6);
  const auto late = broker.Open("logs");
  late->ReadAhead();
  CHECK(broker.disk().reads() == 6);
  readers[2].reset();
  late->ReadAhead();
  CHECK(broker.disk().reads() == 7);
}

TEST_CASE("a reader whose storage read is stuck holds up neither the writer nor another reader") {
  broker::BrokerOptions options;
  options.tail_cache = 4'000;
  TestBroker broker(options);
  Fill(&broker);
  REQUIRE(broker.Append("logs", {std::string(10'000, 'x')}).ok());  // pushes all out of the cache
  broker.store().reads.Close();
  const auto slow = broker.Open("logs");
  Lines slow_lines;
  std::thread slow_thread([&] { slow_lines = ReadToEnd(slow.get()); });
  broker.store().reads.AwaitWaiting(1);

  const auto fast = broker.Open("logs", StartPosition::Latest());
  for (int i = 0; i < 500; ++i) {
    REQUIRE(broker.Append("logs", {"more"}).ok());
    REQUIRE(ReadToEnd(fast.get()) == Lines{std::to_string(8 + i) + " more"});
  }
  broker.store().reads.Open();
  slow_thread.join();
  CHECK(slow_lines.size() == 6 + 1 + 500);
}

}  // namespace
}  // namespace strata
