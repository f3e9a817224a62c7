// Strata: rolled at their target size, sealed for good, with spares made ahead of need.
#include "storage/strata.h"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/storage/raw_database.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

TEST_CASE("a new store has four spares and no stratum in use", "[strata]") {
  auto store = MustOpen(TinyOptions(NewFaultFs()));
  CHECK(store->Stats().strata == 0);
  CHECK(store->Stats().spares == 4);
}

TEST_CASE("strata roll at their target size, and spares are made ahead of need", "[strata]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  // A stratum takes four pages of 4 KiB: sixteen batches of 1 KiB, give or take the last one.
  for (int i = 0; i < 320; ++i) {
    REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
    // At full speed the writer would outrun the maintenance thread, and strata would overshoot.
    REQUIRE(Eventually([&] { return store->Stats().spares >= 2; }));
  }
  CHECK(store->Stats().strata >= 19);
  CHECK(store->Stats().strata <= 21);
  CHECK(ReadAll(*store, 1, 1, 321).ids == Ids(1, 321));

  SECTION("the newest is found again and filled up") {
    const uint64_t strata = store->Stats().strata;
    REQUIRE(store->Close().ok());
    store = MustOpen(TinyOptions(fs));
    Scribe again(*store);
    REQUIRE(again.Append(*store, 1, 1, 1000).ok());
    CHECK(store->Stats().strata <= strata + 1);
    CHECK(store->Stats().spares >= 1);
    for (int i = 0; i < 100; ++i) REQUIRE(again.Append(*store, 1, 1, 1000).ok());
    CHECK(ReadAll(*store, 1, 1, 422).ids == Ids(1, 422));
  }
  SECTION("what is sealed is not written any more") {
    REQUIRE(store->Close().ok());
    store.reset();
    // Each row lies in exactly one family.
    RawDatabase raw(fs);
    CHECK(raw.Families().size() >= 1 + 19 + 2);
    for (MessageId id = 1; id <= 320; ++id) CHECK(raw.Copies(1, id) == 1);
  }
}

TEST_CASE("without a spare the current stratum overshoots and nobody waits", "[strata]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  // Creating families rewrites the OPTIONS file: hold that up.
  Mutex mu;
  CondVar changed;
  bool held = true;
  fs->SetEventCallback([&](const testing::Event& event) {
    if (event.op != testing::kCreate || event.done ||
        event.path.find("OPTIONS") == std::string::npos)
      return;
    MutexLock lock(mu);
    while (held) changed.Wait(mu);
  });
  // RocksDB writes that file under its write lock: so the writer stops there, but not before it is out of spares.
  std::atomic<int> written{0};
  std::atomic<bool> ok{true};
  std::thread writer([&] {
    for (int i = 0; i < 200 && ok; ++i) {
      ok = scribe.Append(*store, 1, 1, 1000).ok();
      ++written;
    }
  });
  CHECK(Eventually([&] { return written > 16; }));
  {
    MutexLock lock(mu);
    held = false;
    changed.NotifyAll();
  }
  writer.join();
  fs->SetEventCallback(nullptr);
  CHECK(ok);
  CHECK(ReadAll(*store, 1, 1, 201).ids == Ids(1, 201));
}

// RocksDB stops all writers while a family has too many buffers to flush. A dropped family's are never flushed.
TEST_CASE("a stratum dropped before it was flushed does not stop the writers", "[strata]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);  // three buffers of 64 KiB a stratum
  options.page_size = 256u << 10;
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "first").ok());
  REQUIRE(scribe.Create(*store, 2, "second").ok());
  // One thread flushes, and it is held up by the first stratum's file.
  Mutex mu;
  CondVar changed;
  bool held = true;
  bool waiting = false;
  fs->SetEventCallback([&](const testing::Event& event) {
    if (event.op != testing::kCreate || event.done || event.path.find(".sst") == std::string::npos)
      return;
    MutexLock lock(mu);
    waiting = true;
    while (held) changed.Wait(mu);
  });
  const auto seal = [&] { return store->Write(scribe.Begin().Change(SealStratum{}).group()); };
  REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  REQUIRE(seal().ok());
  REQUIRE(Eventually([&] {
    MutexLock lock(mu);
    return waiting;
  }));
  // Two full buffers and one that is not, so that flushing it makes three.
  for (int i = 0; i < 160; ++i) REQUIRE(scribe.Append(*store, 2, 1, 1000).ok());
  REQUIRE(seal().ok());
  REQUIRE(store->Write(scribe.Begin().Change(DropChannel{2}).group()).ok());
  CHECK(store->DropEmptyStrata().value() == 1);
  {
    MutexLock lock(mu);
    held = false;
    changed.NotifyAll();
  }
  std::atomic<int> written{0};
  std::thread writer([&] {
    for (int i = 0; i < 400 && scribe.Append(*store, 1, 1, 1000).ok(); ++i) ++written;
  });
  const bool wrote_all = Eventually([&] { return written == 400; });
  CHECK(wrote_all);
  if (!wrote_all) std::abort();  // a stopped writer cannot be joined
  writer.join();
  fs->SetEventCallback(nullptr);
}

TEST_CASE("a store budget keeps strata small", "[strata]") {
  StoreOptions options = TinyOptions(NewFaultFs());
  options.max_file_store = 64u << 10;  // a sixteenth is 4 KiB
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  for (int i = 0; i < 40; ++i) {
    REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
    REQUIRE(Eventually([&] { return store->Stats().spares >= 2; }));
  }
  CHECK(store->Stats().strata >= 8);
}

TEST_CASE("there are at most 128 strata", "[strata]") {
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  options.write_buffer = 16u << 20;  // fewer flushes, so that the test is quick
  auto store = MustOpen(options);
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  // Each is sealed with hardly anything in it, as time rules do on an idle store.
  for (int i = 0; i < 300; ++i) {
    REQUIRE(scribe.Append(*store, 1, 1, 300).ok());
    REQUIRE(Eventually([&] { return store->Stats().spares >= 2 || store->Stats().strata >= 127; }));
    REQUIRE(store->Write(scribe.Begin().Change(SealStratum{}).group()).ok());
  }
  // Then the current one overshoots, until rewriting has merged some.
  CHECK(store->Stats().strata == 128);
  CHECK(ReadAll(*store, 1, 1, 301).ids == Ids(1, 301));
}

TEST_CASE("readers beside a writer see every message once, across rolls", "[strata]") {
  auto store = MustOpen(TinyOptions(NewFaultFs()));
  Scribe scribe(*store);
  constexpr MessageId kEnd = 1501;
  REQUIRE(scribe.Create(*store, 1, "logs").ok());
  std::atomic<MessageId> end{1};
  std::vector<std::string> wrong(3);
  std::vector<std::thread> readers;
  for (std::string& mine : wrong) {
    readers.emplace_back([&] {
      MessageId from = 1;
      while (from < kEnd && mine.empty()) {
        const MessageId until = end;
        const ReadBack back = ReadAll(*store, 1, from, until, 4000);
        mine = back.wrong;
        if (back.ids != Ids(from, until) || !back.gaps.empty())
          mine += fmt::format(" gap after {}", from);
        from = until;
      }
    });
  }
  bool ok = true;
  for (MessageId id = 1; id < kEnd && ok; ++id) {
    ok = scribe.Append(*store, 1, 1, 600).ok();
    end = id + 1;
  }
  if (!ok) end = kEnd;
  for (std::thread& reader : readers) reader.join();
  CHECK(ok);
  for (const std::string& each : wrong) CHECK(each == "");
}

}  // namespace
}  // namespace strata::storage
