// A store from the outside: what is written is read back, and is there after opening again.
#include "storage/store.h"

#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

TEST_CASE("what is written is read back, also after closing and opening", "[store]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.commit() == 0);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  for (int i = 0; i < 100; ++i) REQUIRE(scribe.Append(*store, 1, 1 + i % 5).ok());
  REQUIRE(store->Sync().ok());
  const MessageId next = scribe.next_id(1);
  {
    const ReadBack back = ReadAll(*store, 1, 1, next);
    CHECK(back.wrong == "");
    CHECK(back.gaps.empty());
    CHECK(back.ids == Ids(1, next));
  }
  REQUIRE(store->Close().ok());
  store.reset();

  store = MustOpen(TinyOptions(fs));
  const Recovered recovered = store->TakeRecovered();
  CHECK(recovered.commit == scribe.commit());
  CHECK(recovered.next_channel == 2);
  REQUIRE(recovered.channels.size() == 1);
  CHECK(recovered.channels[0].record.name == "logs");
  CHECK(recovered.channels[0].next_id == next);
  CHECK(recovered.channels[0].last_append_time == scribe.now - 1000);
  const ReadBack back = ReadAll(*store, 1, 1, next);
  CHECK(back.wrong == "");
  CHECK(back.ids == Ids(1, next));
}

TEST_CASE("reading starts inside a batch with the batch that holds the id", "[store]") {
  auto store = MustOpen(TinyOptions(NewFaultFs()));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  REQUIRE(scribe.Append(*store, 1, 10).ok());
  REQUIRE(scribe.Append(*store, 1, 10).ok());
  const auto items = store->Read(1, 15, 21, 1);
  REQUIRE(items.ok());
  REQUIRE(items->size() == 1);
  CHECK(std::get<StoredBatch>(items->front()).first_id == 11);
}

TEST_CASE("a read stops at its byte limit, after at least one batch", "[store]") {
  auto store = MustOpen(TinyOptions(NewFaultFs()));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  for (int i = 0; i < 50; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  CHECK(store->Read(1, 1, 51, 1)->size() == 1);
  CHECK(store->Read(1, 1, 51, 2500)->size() == 3);
  CHECK(store->Read(1, 1, 51, 1u << 20)->size() == 50);
  CHECK(store->Read(1, 1, 4, 1u << 20)->size() == 3);
  CHECK(store->Read(1, 51, 60, 1000)->empty());
  CHECK(store->Read(2, 1, 60, 1000)->empty());
  CHECK(ReadAll(*store, 1, 1, 51, 1).ids == Ids(1, 51));
}

TEST_CASE("a group of many channels and many batches is one whole", "[store]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  scribe.Begin();
  for (ChannelNumber channel = 1; channel <= 50; ++channel) {
    scribe.Change(PutChannel{MakeChannel(channel, "c" + std::to_string(channel))});
  }
  REQUIRE(store->Write(scribe.group()).ok());
  // More than a page of channel 1 within one group.
  scribe.Begin();
  for (ChannelNumber channel = 1; channel <= 50; ++channel) scribe.Batch(channel, 2, 50);
  for (int i = 0; i < 20; ++i) scribe.Batch(1, 1, 1000);
  REQUIRE(store->Write(scribe.group()).ok());
  CHECK(store->Space(1).pages >= 5);
  CHECK(store->Space(2).pages == 1);
  for (int reopened = 0; reopened < 2; ++reopened) {
    CHECK(ReadAll(*store, 1, 1, 23).ids == Ids(1, 23));
    for (ChannelNumber channel = 2; channel <= 50; ++channel) {
      CHECK(ReadAll(*store, channel, 1, 3).ids == Ids(1, 3));
    }
    store.reset();
    store = MustOpen(TinyOptions(fs));
  }
}

TEST_CASE("subscriptions and channels come back as they were put", "[store]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  ChannelRecord channel = MakeChannel(5, "logs");
  channel.options.first_id = 100;
  channel.next_id = 100;
  channel.truncated_through = 120;
  channel.truncated_at = 77;
  channel.lost = {{200, 300, GapReason::kLost}};
  const SubscriptionRecord first{5, "first", 110, 1, 2};
  const SubscriptionRecord second{5, "second", 100, 3, 4};
  scribe.Begin()
      .Change(PutChannel{channel})
      .Change(PutSubscription{first})
      .Change(PutSubscription{second});
  REQUIRE(store->Write(scribe.group()).ok());
  SubscriptionRecord moved = second;
  moved.cursor = 105;
  scribe.Begin().Change(PutSubscription{moved}).Change(DropSubscription{5, "first"});
  REQUIRE(store->Write(scribe.group()).ok());
  store.reset();
  const Recovered recovered = MustOpen(TinyOptions(fs))->TakeRecovered();
  REQUIRE(recovered.channels.size() == 1);
  CHECK(recovered.channels[0].record == channel);
  CHECK(recovered.channels[0].next_id == 100);
  CHECK(recovered.subscriptions == std::vector<SubscriptionRecord>{moved});
  CHECK(recovered.next_channel == 6);
}

TEST_CASE("dropping a channel takes its pages and subscriptions, also those of the same group",
          "[store]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  REQUIRE(scribe.Create(*store, 2, "kept").ok());
  scribe.Begin()
      .Change(PutSubscription{{1, "old", 1, 0, 0}})
      .Change(PutSubscription{{2, "old", 1, 0, 0}});
  REQUIRE(store->Write(scribe.group()).ok());
  for (int i = 0; i < 30; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  REQUIRE(scribe.Append(*store, 2).ok());
  scribe.Begin().Batch(1, 1, 5000).Batch(1, 1, 5000).Change(PutSubscription{{1, "new", 1, 0, 0}});
  scribe.Change(DropChannel{1});
  REQUIRE(store->Write(scribe.group()).ok());
  CHECK(store->Read(1, 1, 100, 1000)->empty());
  CHECK(store->Space(1).pages == 0);
  CHECK_FALSE(store->OldestId(1).has_value());
  CHECK(store->OldestId(2) == 1);
  store.reset();
  LogLines lines;
  StoreOptions options = TinyOptions(fs);
  options.log = lines.logger();
  store = MustOpen(options);
  const Recovered recovered = store->TakeRecovered();
  REQUIRE(recovered.channels.size() == 1);
  CHECK(recovered.channels[0].record.name == "kept");
  REQUIRE(recovered.subscriptions.size() == 1);
  CHECK(recovered.subscriptions[0].channel == 2);
  CHECK(recovered.next_channel == 3);
  CHECK(recovered.commit == scribe.commit());
  CHECK(store->Stats().pages == 1);
  CHECK_FALSE(lines.Contains("belong to no channel"));
}

TEST_CASE("a time leads to the first message at or after it", "[store]") {
  auto store = MustOpen(TinyOptions(NewFaultFs()));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  scribe.now = 10'000;
  // Times 10,000, 11,000, ...; ids 1, 4, 7, ...
  for (int i = 0; i < 100; ++i) REQUIRE(scribe.Append(*store, 1, 3, 200).ok());
  const auto find = [&](TimeMicros time, MessageId from, MessageId end) {
    return *store->FindTime(1, time, from, end);
  };
  for (int i = 0; i < 100; ++i) {
    const MessageId id = 1 + 3 * i;
    REQUIRE(find(10'000 + 1000 * i, 1, 301) == id);
    REQUIRE(find(10'000 + 1000 * i - 999, 1, 301) == id);
  }
  CHECK(find(0, 1, 301) == 1);
  CHECK(find(0, 50, 301) == 50);
  CHECK(find(20'000, 31, 301) == 31);
  CHECK(find(20'000, 32, 301) == 32);   // inside the batch of that time
  CHECK(find(200'000, 1, 301) == 301);  // later than everything
  CHECK(find(100'000, 1, 200) == 200);  // only behind the end
  CHECK(*store->FindTime(9, 0, 1, 10) == 10);
}

TEST_CASE("a group out of order is refused and stores nothing", "[store]") {
  auto store = MustOpen(TinyOptions(NewFaultFs()));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  WriteGroup group = scribe.Begin().Batch(1).group();
  group.commit += 1;
  const Status status = store->Write(group);
  CHECK(status.reason() == Reason::INTERNAL);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK_FALSE(store->failed());
  group.commit -= 1;
  CHECK(store->Write(group).ok());
}

TEST_CASE("statistics count what is there", "[store]") {
  const TemporaryFolder folder;
  StoreOptions options = TinyOptions(nullptr);
  options.path = folder.path() + "/store";
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  for (int i = 0; i < 10; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  REQUIRE(store->Sync().ok());
  const StoreStats stats = store->Stats();
  CHECK(stats.groups == 11);
  CHECK(stats.syncs == 1);
  CHECK(stats.strata == 1);
  CHECK(stats.pages >= 2);
  CHECK(stats.live_bytes > 10'000);
  CHECK(stats.live_bytes == store->Space(1).bytes);
  CHECK(stats.disk_bytes > stats.live_bytes);
  CHECK(stats.memtable_bytes > 10'000);
}

}  // namespace
}  // namespace strata::storage
