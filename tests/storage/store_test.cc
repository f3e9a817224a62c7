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

}  // namespace
}  // namespace strata::storage
