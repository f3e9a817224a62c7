// Holes: nothing is skipped silently, and each hole is called by its right name.
#include <memory>
#include <thread>
#include <vector>

#include "broker/reader.h"
#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::Reader;
using testing::Bell;
using testing::GatedStore;
using testing::Lines;
using testing::MemoryStore;
using testing::ReadToEnd;
using testing::TestBroker;
using testing::ToLines;

broker::BrokerOptions Uncached() {
  broker::BrokerOptions options;
  options.tail_cache = 0;
  return options;
}

// "logs" with ids 1 to 9, in batches of three.
void Fill(TestBroker* broker) {
  REQUIRE(broker->Create("logs"));
  for (int i = 0; i < 3; ++i) REQUIRE(broker->Append("logs", {"x", "y", "z"}).ok());
}

// A broker that starts from `recovered`, which need not be what the disk would say.
std::unique_ptr<TestBroker> StartFrom(std::shared_ptr<MemoryStore> disk,
                                      storage::Recovered recovered) {
  auto store = std::make_unique<GatedStore>(disk);
  return std::make_unique<TestBroker>(Uncached(), std::move(disk), std::move(store),
                                      std::move(recovered));
}

TEST_CASE("an id below the first available one starts there, after a gap") {
  TestBroker broker;
  Fill(&broker);
  REQUIRE(broker->TruncateChannel("logs", 4).ok());
  CHECK(broker.Read("logs", StartPosition::At(2)) ==
        Lines{"gap 2 to 4 TRIMMED", "5 y", "6 z", "7 x", "8 y", "9 z"});
  CHECK(broker.Read("logs", StartPosition::At(4))[0] == "gap 4 to 4 TRIMMED");
  CHECK(broker.Read("logs", StartPosition::At(5))[0] == "5 y");
  CHECK(broker.Read("logs", StartPosition::After(3))[0] == "gap 4 to 4 TRIMMED");
  CHECK(broker.Read("logs", StartPosition::Earliest())[0] == "5 y");
  CHECK(broker.Read("logs", StartPosition::AtTime(0))[0] == "5 y");
}

TEST_CASE("a truncation in front of a reader is announced, inside a batch that it holds already") {
  for (const uint64_t cache : {uint64_t{0}, uint64_t{1} << 20}) {
    broker::BrokerOptions options;
    options.tail_cache = cache;
    TestBroker broker(options);
    Fill(&broker);
    const auto reader = broker.Open("logs");
    CHECK(ToLines(reader->Next()) == Lines{"1 x", "2 y", "3 z"});
    REQUIRE(broker->TruncateChannel("logs", 7).ok());
    CHECK(ReadToEnd(reader.get()) == Lines{"gap 4 to 7 TRIMMED", "8 y", "9 z"});
    REQUIRE(broker->TruncateChannel("logs", 9).ok());
    CHECK(ReadToEnd(reader.get()) == Lines{});
    REQUIRE(broker.Append("logs", {"new"}).ok());
    CHECK(ReadToEnd(reader.get()) == Lines{"10 new"});
  }
}

TEST_CASE("a truncation behind a reader is nothing to it") {
  TestBroker broker(Uncached());
  Fill(&broker);
  const auto reader = broker.Open("logs", StartPosition::At(6));
  REQUIRE(broker->TruncateChannel("logs", 5).ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"6 z", "7 x", "8 y", "9 z"});
}

TEST_CASE("a damaged batch is a CORRUPT gap, and its neighbours stay readable") {
  TestBroker broker(Uncached());
  Fill(&broker);
  broker.disk().Damage(broker.Number("logs"), 4);
  CHECK(broker.Read("logs") ==
        Lines{"1 x", "2 y", "3 z", "gap 4 to 6 CORRUPT", "7 x", "8 y", "9 z"});
  // From inside of it, the gap begins where the reader stood.
  CHECK(broker.Read("logs", StartPosition::At(5)) ==
        Lines{"gap 5 to 6 CORRUPT", "7 x", "8 y", "9 z"});
  broker.disk().Damage(broker.Number("logs"), 7);
  CHECK(broker.Read("logs", StartPosition::At(6)) ==
        Lines{"gap 6 to 6 CORRUPT", "gap 7 to 9 CORRUPT"});
}

TEST_CASE("rows that are gone without a trace are announced, at the front and altogether") {
  TestBroker broker(Uncached());
  Fill(&broker);
  broker.disk().DropBefore(broker.Number("logs"), 7);
  CHECK(broker.Read("logs") == Lines{"gap 1 to 6 CORRUPT", "7 x", "8 y", "9 z"});
  broker.disk().DropBefore(broker.Number("logs"), 10);
  CHECK(broker.Read("logs", StartPosition::At(3)) == Lines{"gap 3 to 9 CORRUPT"});
  REQUIRE(broker.Append("logs", {"new"}).ok());
  CHECK(broker.Read("logs") == Lines{"gap 1 to 9 CORRUPT", "10 new"});
}

TEST_CASE(
    "rows that a truncation made room for are TRIMMED to a reader who was about to read them") {
  TestBroker broker(Uncached());
  Fill(&broker);
  const auto reader = broker.Open("logs");
  broker.store().reads.Close();
  Lines lines;
  std::thread thread([&] { lines = ReadToEnd(reader.get()); });
  broker.store().reads.AwaitWaiting(1);
  REQUIRE(broker->TruncateChannel("logs", 6).ok());
  broker.disk().DropBefore(broker.Number("logs"), 7);
  broker.store().reads.Open();
  thread.join();
  CHECK(lines == Lines{"gap 1 to 6 TRIMMED", "7 x", "8 y", "9 z"});
}

TEST_CASE("ids that were skipped because data may be lost are a LOST gap") {
  auto disk = std::make_shared<MemoryStore>();
  {
    TestBroker before(Uncached(), disk);
    Fill(&before);
  }
  disk = disk->Reopen();
  storage::Recovered recovered = disk->Recover();
  const MessageId next = 10 + kLostIdJump;
  recovered.channels[0].record.lost = {{10, next - 1, GapReason::kLost}};
  recovered.channels[0].next_id = next;
  const auto broker = StartFrom(disk, recovered);
  REQUIRE(broker->Append("logs", {"new"})->first_id == next);
  const std::string end = std::to_string(next - 1);
  const std::string fresh = std::to_string(next) + " new";
  CHECK(broker->Read("logs", StartPosition::At(9)) ==
        Lines{"9 z", "gap 10 to " + end + " LOST", fresh});
  CHECK(broker->Read("logs", StartPosition::At(1'000)) ==
        Lines{"gap 1000 to " + end + " LOST", fresh});
  CHECK(broker->Read("logs", StartPosition::At(next)) == Lines{fresh});
}

TEST_CASE("missing rows before, between and behind LOST holes are CORRUPT, each hole by itself") {
  auto disk = std::make_shared<MemoryStore>();
  {
    TestBroker before(Uncached(), disk);
    Fill(&before);
  }
  disk = disk->Reopen();
  storage::Recovered recovered = disk->Recover();
  storage::RecoveredChannel& channel = recovered.channels[0];
  channel.record.lost = {{20, 29, GapReason::kLost}, {40, 49, GapReason::kLost}};
  channel.next_id = 60;
  const auto broker = StartFrom(disk, recovered);
  CHECK(broker->Read("logs", StartPosition::At(9)) ==
        Lines{"9 z", "gap 10 to 19 CORRUPT", "gap 20 to 29 LOST", "gap 30 to 39 CORRUPT",
              "gap 40 to 49 LOST", "gap 50 to 59 CORRUPT"});
}

TEST_CASE("a LOST hole below the oldest page is LOST to whoever asks for it, the rest TRIMMED") {
  auto disk = std::make_shared<MemoryStore>();
  {
    TestBroker before(Uncached(), disk);
    Fill(&before);
  }
  disk = disk->Reopen();
  disk->DropBefore(1, 7);
  storage::Recovered recovered = disk->Recover();
  recovered.channels[0].record.lost = {{3, 4, GapReason::kLost}};
  const auto broker = StartFrom(disk, recovered);
  CHECK(broker->Read("logs", StartPosition::At(1)) ==
        Lines{"gap 1 to 2 TRIMMED", "gap 3 to 4 LOST", "gap 5 to 6 TRIMMED", "7 x", "8 y", "9 z"});
  CHECK(broker->Read("logs", StartPosition::Earliest()) == Lines{"7 x", "8 y", "9 z"});
}

TEST_CASE("a channel whose pages are all gone starts at its end, not in a gap") {
  auto disk = std::make_shared<MemoryStore>();
  {
    TestBroker before(Uncached(), disk);
    Fill(&before);
  }
  disk = disk->Reopen();
  disk->DropBefore(1, 10);
  const auto broker = StartFrom(disk, disk->Recover());
  CHECK(broker->NextId("logs") == 10);
  CHECK((*broker)->DescribeChannel("logs")->first_available == 10);
  CHECK(broker->Read("logs") == Lines{});
  CHECK(broker->Read("logs", StartPosition::At(4)) == Lines{"gap 4 to 9 TRIMMED"});
  REQUIRE(broker->Append("logs", {"new"}).ok());
  CHECK(broker->Read("logs") == Lines{"10 new"});
}

TEST_CASE("a channel that lost all it had announces the hole to its earliest reader") {
  auto disk = std::make_shared<MemoryStore>();
  {
    TestBroker before(Uncached(), disk);
    REQUIRE(before.Create("logs"));
  }
  disk = disk->Reopen();
  storage::Recovered recovered = disk->Recover();
  recovered.channels[0].record.lost = {{1, kLostIdJump, GapReason::kLost}};
  recovered.channels[0].next_id = kLostIdJump + 1;
  const auto broker = StartFrom(disk, recovered);
  CHECK(broker->Read("logs") == Lines{"gap 1 to 4294967296 LOST"});
}

TEST_CASE("a channel's deletion on its way to disk is no gap: readers wait for it") {
  TestBroker broker(Uncached());
  Fill(&broker);
  const auto reader = broker.Open("logs");
  broker.store().syncs.Close();
  std::thread deleter([&] { (void)broker->DeleteChannel("logs"); });
  broker.store().syncs.AwaitWaiting(1);
  // The store has no rows any more, and the deletion is not durable.
  CHECK(ReadToEnd(reader.get()) == Lines{});
  CHECK(broker->DescribeChannel("logs").ok());
  Bell bell;
  CHECK(reader->WakeWhenReady(bell.Ringer()));
  broker.store().syncs.Open();
  deleter.join();
  CHECK(bell.rings() == 1);
  CHECK(ReadToEnd(reader.get()) == Lines{"CHANNEL_DELETED"});
}

TEST_CASE("a deletion that fails ends the channel's readers, because nobody knows what is left") {
  TestBroker broker(Uncached());
  Fill(&broker);
  const auto reader = broker.Open("logs");
  broker.disk().FailNextSync();
  const Status status = broker->DeleteChannel("logs");
  CHECK(status.reason() == Reason::STORE_FAILED);
  CHECK(status.fate() == DataFate::kMayHaveBeenAppended);
  CHECK(ReadToEnd(reader.get()) == Lines{"STORE_FAILED"});
}

}  // namespace
}  // namespace strata
