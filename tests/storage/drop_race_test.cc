// Strata that become empty, or look as if they were, while another thread drops the empty ones.
#include <atomic>
#include <string>
#include <thread>

#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

constexpr int kRounds = 20;

// Without a spare the stratum stays, and spares come from the maintenance thread: again, then.
void Seal(Store& store, Scribe& scribe) {
  for (int attempt = 0; attempt < 100'000; ++attempt) {
    REQUIRE(store.Write(scribe.Begin().Change(SealStratum{}).group()).ok());
    if (store.DescribeStrata().back().raw_bytes == 0) return;
    std::this_thread::yield();
  }
  FAIL("no spare came");
}

// Drops whatever is empty, again and again.
class Dropper {
 public:
  explicit Dropper(Store* store)
      : thread_([this, store] {
          while (!stop_) {
            const Result<size_t> dropped = store->DropEmptyStrata();
            if (!dropped.ok()) failed_ = true;
            dropped_ += dropped.ok() ? *dropped : 0;
            ++passes_;
          }
        }) {}
  ~Dropper() {
    stop_ = true;
    thread_.join();
  }
  size_t dropped() const { return dropped_; }
  bool failed() const { return failed_; }
  // Another pass has begun and ended.
  void AwaitPass() const {
    const uint64_t passes = passes_;
    while (passes_ < passes + 2) std::this_thread::yield();
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::atomic<size_t> dropped_{0};
  std::atomic<uint64_t> passes_{0};
  std::thread thread_;
};

TEST_CASE("a stratum that a group is emptying is not dropped before a sync of that group",
          "[space]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  for (ChannelNumber channel = 1; channel <= kRounds; ++channel) {
    REQUIRE(scribe.Create(*store, channel, "c" + std::to_string(channel)).ok());
    REQUIRE(scribe.Append(*store, channel, 1, 1000).ok());
    Seal(*store, scribe);
    REQUIRE(store->Sync().ok());
    const uint64_t syncs = store->Stats().syncs;
    const Dropper dropper(store.get());
    REQUIRE(store->Write(scribe.Begin().Change(DropChannel{channel}).group()).ok());
    REQUIRE(Eventually([&] { return dropper.dropped() == 1; }));
    // Nobody but the drop asked for one.
    CHECK(store->Stats().syncs > syncs);
  }
}

TEST_CASE("a rewritten stratum is not dropped while it joins the others", "[space]") {
  const auto fs = NewFaultFs();
  auto store = MustOpen(TinyOptions(fs));
  Scribe scribe(*store);
  REQUIRE(scribe.Create(*store, 1, "c").ok());
  for (int i = 0; i < 3; ++i) REQUIRE(scribe.Append(*store, 1, 1, 1000).ok());
  Seal(*store, scribe);
  const Dropper dropper(store.get());
  for (int round = 0; round < kRounds; ++round) {
    RewriteRequest request;
    request.pace = [](uint64_t) { return true; };
    for (const StratumInfo& stratum : store->DescribeStrata()) {
      if (stratum.sealed_at > 0) request.strata.push_back(stratum.number);
    }
    const Result<RewriteResult> result = store->Rewrite(request);
    REQUIRE(result.ok());
    REQUIRE(result->changes.size() == 1);
    REQUIRE(store->Write(scribe.Begin().Change(result->changes[0]).group()).ok());
    dropper.AwaitPass();
    const ReadBack read = ReadAll(*store, 1, 1, 4);
    REQUIRE(read.gaps.empty());
    REQUIRE(read.ids == Ids(1, 4));
  }
  CHECK_FALSE(dropper.failed());
  CHECK(dropper.dropped() == kRounds);
}

}  // namespace
}  // namespace strata::storage
