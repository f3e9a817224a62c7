// Producers in the store: their rows, and the results that are written with their batches.
//
// The last test is the one about atomicity. STRATA_POWER_CUT_SEEDS sets how many histories it plays (default 200),
// STRATA_POWER_CUT_FIRST the first.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "storage/catalog.h"
#include "storage/verify.h"
#include "tests/storage/raw_database.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata::storage {
namespace {

using testing::FaultFileSystem;

std::string BigEndian(uint64_t value) {
  std::string bytes(8, '\0');
  PutBigEndian64(bytes.data(), value);
  return bytes;
}
std::string ProducerKey(ChannelNumber channel, uint64_t number) {
  return "D" + BigEndian(channel) + BigEndian(number);
}
std::string ResultKey(ChannelNumber channel, uint64_t number, int slot) {
  return ProducerKey(channel, number) + static_cast<char>(slot);
}

size_t ProducerRows(const std::shared_ptr<FaultFileSystem>& fs) {
  size_t rows = 0;
  for (const auto& [key, value] : RawDatabase(fs).CatalogRows()) rows += key.front() == 'D';
  return rows;
}

// A store with channel 1 and its producer 1, "writer".
struct Scene {
  Scene() { Begin(); }

  void Begin() {
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    ChannelRecord channel = MakeChannel(1, "logs");
    channel.next_producer = 3;
    scribe.Begin().Change(PutChannel{channel}).Change(PutProducer{MakeProducer(1, 1, "writer")});
    REQUIRE(store->Write(scribe.group()).ok());
  }
  // Batch `sequence` of producer 1, in a group of its own.
  void Produce(uint64_t sequence, uint32_t count = 1) {
    REQUIRE(store->Write(scribe.Begin().Produce(1, 1, sequence, count).group()).ok());
    results.push_back(ResultOf(scribe.group().batches.back()));
  }
  Recovered Reopen() {
    store.reset();
    store = MustOpen(options);
    return store->TakeRecovered();
  }
  std::vector<ProducerResult> LastResults(size_t count = kProducerWindow) const {
    return {results.end() - static_cast<ptrdiff_t>(std::min(count, results.size())), results.end()};
  }
  std::string Problems() {
    store.reset();
    const auto report = Verify(options);
    REQUIRE(report.ok());
    std::string text;
    for (const VerifyProblem& each : report->problems) text += each.where + ": " + each.what + "\n";
    return text;
  }

  std::shared_ptr<FaultFileSystem> fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  std::unique_ptr<Store> store = MustOpen(options);
  Scribe scribe{*store};
  std::vector<ProducerResult> results;
};

TEST_CASE("a producer and its results come back as they were put", "[producer]") {
  Scene scene;
  ProducerRecord producer = MakeProducer(1, 1, "writer");
  producer.term = 12;
  producer.created_at = 5;
  producer.opened_at = 77;
  scene.scribe.Begin().Change(PutProducer{producer});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  scene.Produce(1, 3);
  scene.Produce(2);
  const Recovered recovered = scene.Reopen();
  REQUIRE(recovered.producers.size() == 1);
  CHECK(recovered.producers[0].record == producer);
  CHECK(recovered.producers[0].results == scene.results);
  CHECK(recovered.producers[0].results[0].count == 3);
  CHECK(recovered.commit == scene.scribe.commit());
  CHECK(scene.Problems().empty());
}

TEST_CASE("a channel keeps its exclusive writer, and a subscription the number of its seeks",
          "[producer]") {
  Scene scene;
  ChannelRecord channel = MakeChannel(1, "logs");
  channel.exclusive_term = 9;
  channel.exclusive_holder = "writer";
  channel.next_producer = 5;
  const SubscriptionRecord subscription{1, "s", 1, 2, 3, 4};
  scene.scribe.Begin().Change(PutChannel{channel}).Change(PutSubscription{subscription});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  const Recovered recovered = scene.Reopen();
  CHECK(recovered.channels[0].record == channel);
  CHECK(recovered.subscriptions == std::vector<SubscriptionRecord>{subscription});
}

TEST_CASE("the last 64 results of a producer are kept, whatever the sequence", "[producer]") {
  const uint64_t count = GENERATE(1, 63, 64, 65, 200);
  Scene scene;
  for (uint64_t i = 1; i <= count; ++i) scene.Produce(i);
  const Recovered recovered = scene.Reopen();
  REQUIRE(recovered.producers.size() == 1);
  CHECK(recovered.producers[0].results == scene.LastResults());
  scene.store.reset();
  CHECK(ProducerRows(scene.fs) == 1 + std::min<uint64_t>(count, 64));
}

TEST_CASE("a group may bring a producer together with many of its batches", "[producer]") {
  Scene scene;
  scene.scribe.Begin();
  for (uint64_t i = 1; i <= 100; ++i) {
    scene.scribe.Produce(1, 7, i);
    scene.results.push_back(ResultOf(scene.scribe.group().batches.back()));
  }
  scene.scribe.Change(PutProducer{MakeProducer(1, 7, "late")});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  const Recovered recovered = scene.Reopen();
  REQUIRE(recovered.producers.size() == 2);
  CHECK(recovered.producers[1].record.name == "late");
  CHECK(recovered.producers[1].results == scene.LastResults());
  // Its number is above the counter in the channel's row, which must not give it out again.
  CHECK(recovered.channels[0].record.next_producer == 8);
}

TEST_CASE("a killed process loses no producer and no result", "[producer]") {
  Scene scene;
  scene.options.sync = SyncPolicy::kInterval;
  for (uint64_t i = 1; i <= 70; ++i) scene.Produce(i);
  scene.fs->CutAfterNextWrites(0);
  scene.store.reset();
  scene.fs->ProcessKill();
  const Recovered recovered = scene.Reopen();
  REQUIRE(recovered.producers.size() == 1);
  CHECK(recovered.producers[0].results == scene.LastResults());
}

TEST_CASE("a dropped producer leaves no row, also of the group that drops it", "[producer]") {
  Scene scene;
  for (uint64_t i = 1; i <= 10; ++i) scene.Produce(i);
  scene.scribe.Begin().Change(PutProducer{MakeProducer(1, 2, "other")});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  scene.scribe.Begin().Produce(1, 1, 11).Produce(1, 2, 1);
  scene.scribe.Change(PutProducer{MakeProducer(1, 1, "writer")}).Change(DropProducer{1, 1});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  const ProducerResult kept = ResultOf(scene.scribe.group().batches.back());
  const Recovered recovered = scene.Reopen();
  REQUIRE(recovered.producers.size() == 1);
  CHECK(recovered.producers[0].record.name == "other");
  CHECK(recovered.producers[0].results == std::vector<ProducerResult>{kept});
  scene.store.reset();
  CHECK(ProducerRows(scene.fs) == 2);
  CHECK(scene.Problems().empty());
}

TEST_CASE("a dropped channel takes its producers along, also those of the same group",
          "[producer]") {
  Scene scene;
  for (uint64_t i = 1; i <= 3; ++i) scene.Produce(i);
  REQUIRE(scene.scribe.Create(*scene.store, 2, "kept").ok());
  scene.scribe.Begin().Produce(2, 1, 1).Change(PutProducer{MakeProducer(2, 1, "writer")});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  scene.scribe.Begin().Produce(1, 1, 4).Produce(1, 2, 1);
  scene.scribe.Change(PutProducer{MakeProducer(1, 2, "new")}).Change(DropChannel{1});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  const Recovered recovered = scene.Reopen();
  REQUIRE(recovered.producers.size() == 1);
  CHECK(recovered.producers[0].record.channel == 2);
  CHECK(recovered.producers[0].results.size() == 1);
  scene.store.reset();
  CHECK(ProducerRows(scene.fs) == 2);
}

TEST_CASE("a batch of a producer that is not there is refused and stores nothing", "[producer]") {
  Scene scene;
  WriteGroup group = scene.scribe.Begin().Produce(1, 3, 1).group();
  const auto refused = [&](const WriteGroup& wrong, const std::string& why) {
    const Status status = scene.store->Write(wrong);
    CHECK(status.reason() == Reason::INTERNAL);
    CHECK(status.fate() == DataFate::kNotAppended);
    CHECK(status.message().find(why) != std::string::npos);
  };
  refused(group, "producer 3, which is not there");
  group.batches[0].producer = 1;
  group.batches[0].sequence = 0;
  refused(group, "without a sequence");
  group.batches[0].sequence = 1;
  group.changes.push_back(PutProducer{MakeProducer(1, 4, "no such name")});
  refused(group, "producer 4 'no such name'");
  CHECK_FALSE(scene.store->failed());
  group.changes.clear();
  CHECK(scene.store->Write(group).ok());
}

TEST_CASE("results before a hole are forgotten", "[producer]") {
  Scene scene;
  for (uint64_t i = 1; i <= 70; ++i) scene.Produce(i);
  scene.store.reset();
  RawDatabase(scene.fs).DeleteCatalogRow(ResultKey(1, 1, 60));
  CHECK(scene.Problems() ==
        "producer 'writer' (1) of channel 1: its results have a hole before sequence 61\n");
  CHECK(scene.Reopen().producers.at(0).results == scene.LastResults(10));
}

TEST_CASE("rows of producers that cannot be are damage", "[producer]") {
  // ProducerRow{name: "p"} and ProducerResultRow{sequence: 65, first_id: 1, count: 1}.
  const std::string producer("\x0a\x01p");
  const std::string result("\x08\x41\x10\x01\x18\x01");
  struct Case {
    std::string key, value, what;
  };
  const Case cases[] = {
      {"D" + BigEndian(1), producer, "not a producer row"},
      {ProducerKey(1, 2) + "12", producer, "not a producer row"},
      {ProducerKey(1, 2), "garbage", "not a producer row"},
      {ProducerKey(1, 0), producer, "producer row with impossible values"},
      {ProducerKey(0, 2), producer, "producer row with impossible values"},
      {ProducerKey(1, 2), "\x0a\x01/", "producer row with impossible values"},
      {ProducerKey(1, 2), "", "producer row with impossible values"},
      {ProducerKey(1, 2), producer + "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
       "producer row with impossible values"},
      {ResultKey(1, 1, 1), "garbage", "not a producer's result row"},
      {ResultKey(1, 1, 2), result, "result row with impossible values"},
      {ResultKey(1, 1, 65), result, "result row with impossible values"},
      {ResultKey(1, 1, 0), "\x10\x01\x18\x01", "result row with impossible values"},
      {ResultKey(1, 1, 1), "\x08\x41\x10\x01", "result row with impossible values"},
      {ResultKey(1, 1, 1), "\x08\x41\x18\x01", "result row with impossible values"},
      {ResultKey(1, 1, 1), "\x08\x41\x10\x01\x18\x81\x80\x04", "result row with impossible values"},
      {ResultKey(1, 1, 1), "\x08\x41\x10\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x18\x01",
       "result row with impossible values"},
      {ResultKey(1, 2, 1), result, "result row of a producer without a row of its own"},
  };
  for (const Case& each : cases) {
    Scene scene;
    scene.store.reset();
    RawDatabase(scene.fs).PutCatalogRow(each.key, each.value);
    INFO(each.what);
    const auto store = Store::Open(scene.options);
    REQUIRE_FALSE(store.ok());
    CHECK(store.status().reason() == Reason::CORRUPTION);
    CHECK(store.status().message().find(each.what) != std::string::npos);
    CHECK(scene.Problems().find(each.what) != std::string::npos);
  }
}

TEST_CASE("a channel row with an exclusive producer that cannot be is damage", "[producer]") {
  // ChannelRow{name: "c", first_id: 1, next_id: 1} and more.
  const std::string row(
      "\x0a\x01"
      "c\x10\x01\x20\x01");
  const std::string holder("\x6a\x01w");
  const std::string term("\x60\x01");
  const auto opens = [&](const std::string& fields) {
    const auto fs = NewFaultFs();
    MustOpen(TinyOptions(fs)).reset();
    RawDatabase(fs).PutCatalogRow("C" + BigEndian(1), row + fields);
    return Store::Open(TinyOptions(fs)).ok();
  };
  CHECK(opens(""));
  CHECK(opens(term));
  CHECK(opens(term + holder));
  CHECK_FALSE(opens(holder));
  CHECK_FALSE(opens(term + "\x6a\x01/"));
  CHECK_FALSE(opens("\x60\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
}

TEST_CASE("producers of channels that are not there are left alone, and verify finds them",
          "[producer]") {
  Scene scene;
  scene.Produce(1);
  scene.store.reset();
  {
    RawDatabase raw(scene.fs);
    raw.PutCatalogRow(ProducerKey(9, 1), "\x0a\x01p");
    raw.PutCatalogRow(ResultKey(9, 1, 1), "\x08\x01\x10\x01\x18\x01");
    raw.PutCatalogRow(ResultKey(9, 2, 1), "\x08\x01\x10\x01\x18\x01");
  }
  CHECK(scene.Reopen().producers.size() == 1);
  const std::string problems = scene.Problems();
  CHECK(problems.find("producer 'p' (1) of channel 9: belongs to no channel") != std::string::npos);
  CHECK(problems.find("1 results of producers belong to no channel") != std::string::npos);
}

TEST_CASE("verify finds results that do not fit their channel", "[producer]") {
  Scene scene;
  for (uint64_t i = 1; i <= 3; ++i) scene.Produce(i);
  scene.store.reset();
  {
    RawDatabase raw(scene.fs);
    raw.PutCatalogRow(ResultKey(1, 1, 2), "\x08\x02\x10\x01\x18\x01");
    raw.PutCatalogRow(ResultKey(1, 1, 4), "\x08\x04\x10\x04\x18\x01");
    raw.PutCatalogRow(ProducerKey(1, 8), "\x0a\x06writer");
  }
  const std::string problems = scene.Problems();
  CHECK(problems.find("'writer' (1) of channel 1: the result of sequence 2 has ids of the one "
                      "before it") != std::string::npos);
  CHECK(problems.find("'writer' (1) of channel 1: the result of sequence 4 has the ids 4..4, the "
                      "channel ends at 4") != std::string::npos);
  CHECK(problems.find("'writer' (8) of channel 1: its number would be given out again") !=
        std::string::npos);
  CHECK(problems.find("another producer of the channel has the same name") != std::string::npos);
}

TEST_CASE("results outlive the messages that retention has taken", "[producer]") {
  Scene scene;
  for (uint64_t i = 1; i <= 80; ++i) scene.Produce(i, 10);
  // As the sweeper does it: the row keeps the ids that no page tells any more.
  ChannelRecord channel = MakeChannel(1, "logs");
  channel.next_id = 801;
  channel.next_producer = 3;
  scene.scribe.Begin().Change(PutChannel{channel}).Change(TrimPages{1, 800});
  REQUIRE(scene.store->Write(scene.scribe.group()).ok());
  CHECK(scene.Problems().empty());
  CHECK(scene.Reopen().producers.at(0).results == scene.LastResults());
}

TEST_CASE("rows of producers tell no group's number", "[producer]") {
  CHECK_FALSE(CommitOfRow(ProducerKey(1, 1), "\x0a\x01p").has_value());
  CHECK_FALSE(CommitOfRow(ResultKey(1, 1, 1), "\x08\x01\x10\x01\x18\x01").has_value());
}

// One life: numbered batches until the power goes at a random call that changes the disk.
class CutHistory {
 public:
  explicit CutHistory(uint64_t seed) : seed_(seed), random_(seed) {}

  // What was violated, or nothing.
  std::string Run() {
    {
      const auto store = MustOpen(options_);
      Scribe scribe(*store);
      if (!scribe.Create(*store, 1, "logs").ok() || !store->Sync().ok()) return "no channel";
      fs_->CutAfterNextWrites(1 + random_.Below(400));
      Live(*store, &scribe);
      fs_->CutAfterNextWrites(0);
    }
    fs_->PowerCut(seed_);
    options_.boot_id = "boot-2";
    const auto store = MustOpen(options_);
    return Check(*store, store->TakeRecovered());
  }

 private:
  void Live(Store& store, Scribe* scribe) {
    for (uint64_t sequence = 1; sequence < 400;) {
      scribe->Begin();
      for (uint64_t n = random_.Between(1, 3); n > 0; --n) {
        scribe->Produce(1, 1, sequence++, static_cast<uint32_t>(random_.Between(1, 3)),
                        random_.Between(0, 300));
      }
      if (!created_ || random_.OneIn(20)) {
        scribe->Change(PutProducer{MakeProducer(1, 1, "writer")});
        created_ = true;
      }
      // One that fails may have been written all the same.
      for (const BatchRecord& batch : scribe->group().batches) written_.push_back(ResultOf(batch));
      if (!store.Write(scribe->group()).ok()) return;
      if (random_.OneIn(4) && !store.Sync().ok()) return;
    }
  }

  // The batches that are there, oldest first, and the results that are there, have to agree.
  std::string Check(Store& store, const Recovered& recovered) {
    const MessageId end = recovered.channels.at(0).next_id;
    std::vector<ProducerResult> stored;
    for (const ProducerResult& each : written_) {
      if (each.first_id < end) stored.push_back(each);
    }
    if (ReadAll(store, 1, 1, end).ids != Ids(1, end)) return Wrong("messages are missing");
    if (stored.empty() != recovered.producers.empty()) return Wrong("a batch without its producer");
    if (stored.empty()) return "";
    const std::vector<ProducerResult>& results = recovered.producers[0].results;
    if (results.back().sequence < stored.back().sequence) return Wrong("a batch without a result");
    if (results.back().sequence > stored.back().sequence) return Wrong("a result without a batch");
    const size_t kept = std::min<size_t>(stored.size(), kProducerWindow);
    stored.erase(stored.begin(), stored.end() - static_cast<ptrdiff_t>(kept));
    return results == stored ? "" : Wrong("results that are not those of the batches");
  }

  std::string Wrong(const std::string& what) const {
    return fmt::format("seed {}: {}", seed_, what);
  }

  // Of every other seed bodies lie in files of their own.
  static StoreOptions OptionsFor(uint64_t seed, std::shared_ptr<FaultFileSystem> fs) {
    StoreOptions options = TinyOptions(std::move(fs));
    if (seed % 2 == 0) options.separate_bytes = 50;
    return options;
  }

  const uint64_t seed_;
  testing::Random random_;
  std::shared_ptr<FaultFileSystem> fs_ = NewFaultFs();
  StoreOptions options_ = OptionsFor(seed_, fs_);
  bool created_ = false;
  std::vector<ProducerResult> written_;
};

TEST_CASE("no power cut leaves a batch without its result or a result without its batch",
          "[producer]") {
  const auto from_environment = [](const char* name, uint64_t otherwise) {
    const char* value = std::getenv(name);
    return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
  };
  const uint64_t first = from_environment("STRATA_POWER_CUT_FIRST", 1);
  const uint64_t seeds = from_environment("STRATA_POWER_CUT_SEEDS", 200);
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const std::string wrong = CutHistory(seed).Run();
    INFO(wrong);
    REQUIRE(wrong.empty());
  }
}

}  // namespace
}  // namespace strata::storage
