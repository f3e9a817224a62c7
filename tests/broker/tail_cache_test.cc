#include "broker/tail_cache.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using broker::TailCache;
using storage::StoredBatch;
using testing::Random;
using testing::TestSeed;

// A batch of `count` messages that costs exactly `cost`.
StoredBatch Batch(MessageId first_id, uint32_t count, uint64_t cost) {
  StoredBatch batch;
  batch.first_id = first_id;
  batch.count = count;
  batch.bytes = Buffer(std::string(cost - TailCache::kOverhead, 'x'));
  return batch;
}

std::optional<MessageId> Found(const TailCache& cache, ChannelNumber channel, MessageId id) {
  const std::optional<StoredBatch> batch = cache.Get(channel, id);
  // The two ways of asking agree.
  if (cache.Has(channel, id) != batch.has_value()) return -1;
  if (!batch.has_value()) return std::nullopt;
  return batch->first_id;
}

TEST_CASE("a batch is found by each of its ids and by no other") {
  TailCache cache(10'000);
  CHECK(Found(cache, 1, 5) == std::nullopt);
  cache.Put(1, Batch(5, 3, 300));
  cache.Put(1, Batch(8, 1, 300));
  CHECK(Found(cache, 1, 4) == std::nullopt);
  for (const MessageId id : {5, 6, 7}) CHECK(Found(cache, 1, id) == 5);
  CHECK(Found(cache, 1, 8) == 8);
  CHECK(Found(cache, 1, 9) == std::nullopt);
  CHECK(Found(cache, 2, 5) == std::nullopt);
}

TEST_CASE("ids that were skipped between two batches are not found") {
  TailCache cache(10'000);
  cache.Put(1, Batch(1, 2, 300));
  cache.Put(1, Batch(kLostIdJump, 2, 300));
  CHECK(Found(cache, 1, 2) == 1);
  CHECK(Found(cache, 1, 3) == std::nullopt);
  CHECK(Found(cache, 1, kLostIdJump - 1) == std::nullopt);
  CHECK(Found(cache, 1, kLostIdJump + 1) == kLostIdJump);
}

TEST_CASE("the oldest batches leave first, whatever their channel") {
  TailCache cache(1'000);
  cache.Put(1, Batch(1, 1, 300));
  cache.Put(2, Batch(1, 1, 300));
  cache.Put(1, Batch(2, 1, 400));
  CHECK(cache.bytes() == 1'000);
  cache.Put(3, Batch(1, 1, 256));
  CHECK(Found(cache, 1, 1) == std::nullopt);
  CHECK(Found(cache, 2, 1) == 1);
  CHECK(cache.bytes() == 956);
  cache.Put(1, Batch(3, 1, 700));
  CHECK(Found(cache, 2, 1) == std::nullopt);
  CHECK(Found(cache, 1, 2) == std::nullopt);
  CHECK(Found(cache, 3, 1) == 1);
  CHECK(Found(cache, 1, 3) == 3);
  CHECK(cache.bytes() == 956);
}

TEST_CASE("a batch larger than the budget is not kept, and neither is what came before it") {
  TailCache cache(1'000);
  cache.Put(1, Batch(1, 1, 300));
  cache.Put(2, Batch(1, 1, 1'001));
  CHECK(cache.bytes() == 0);
  CHECK(Found(cache, 1, 1) == std::nullopt);
  CHECK(Found(cache, 2, 1) == std::nullopt);
  cache.Put(2, Batch(2, 1, 1'000));
  CHECK(Found(cache, 2, 2) == 2);
}

TEST_CASE("a cache without a budget keeps nothing") {
  TailCache cache(0);
  cache.Put(1, Batch(1, 1, 256));
  CHECK(cache.bytes() == 0);
  CHECK(Found(cache, 1, 1) == std::nullopt);
}

TEST_CASE("a dropped channel is forgotten, and its turn to leave passes") {
  TailCache cache(1'000);
  cache.Put(1, Batch(1, 1, 300));
  cache.Put(2, Batch(1, 1, 300));
  cache.Put(1, Batch(2, 1, 300));
  cache.Drop(1);
  cache.Drop(7);
  CHECK(cache.bytes() == 300);
  CHECK(Found(cache, 1, 1) == std::nullopt);
  CHECK(Found(cache, 1, 2) == std::nullopt);
  // The next to leave is the other channel's only batch.
  cache.Put(3, Batch(1, 1, 700));
  CHECK(Found(cache, 2, 1) == 1);
  cache.Put(3, Batch(2, 1, 256));
  CHECK(Found(cache, 2, 1) == std::nullopt);
  CHECK(Found(cache, 3, 1) == 1);
  CHECK(cache.bytes() == 956);
}

TEST_CASE("a batch is kept by reference, and outlives its place in the cache") {
  TailCache cache(1'000);
  auto owner = std::make_shared<const std::string>(500, 'y');
  const std::weak_ptr<const std::string> watch = owner;
  StoredBatch batch;
  batch.first_id = 1;
  batch.count = 1;
  batch.bytes = Buffer(*owner, owner);
  cache.Put(1, batch);
  std::optional<StoredBatch> held = cache.Get(1, 1);
  REQUIRE(held.has_value());
  CHECK(held->bytes.view().data() == owner->data());
  batch = {};
  owner.reset();
  cache.Put(1, Batch(2, 1, 900));
  CHECK(Found(cache, 1, 1) == std::nullopt);
  CHECK(held->bytes.view() == std::string(500, 'y'));
  held.reset();
  CHECK(watch.expired());
}

TEST_CASE("threads that put, get and drop at the same time see whole batches within the budget") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  constexpr uint64_t kBudget = 20'000;
  TailCache cache(kBudget);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<int> hits{0};
  std::atomic<MessageId> newest{1};

  std::vector<std::thread> readers;
  for (uint64_t t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      Random random(seed + 1 + t);
      while (!stop.load()) {
        const MessageId end = newest.load();
        const MessageId id = end - static_cast<MessageId>(random.Below(50));
        const std::optional<StoredBatch> batch = cache.Get(1 + random.Below(3), id);
        if (!batch.has_value()) continue;
        hits.fetch_add(1);
        if (id < batch->first_id || id >= batch->next_id()) wrong.fetch_add(1);
        if (batch->bytes.size() != static_cast<size_t>(batch->first_id % 700)) wrong.fetch_add(1);
      }
    });
  }
  Random random(seed);
  MessageId next = 1;
  // Goes on until the readers have begun: on a busy machine that can be late.
  for (int i = 0; i < 20'000 || hits.load() < 100; ++i) {
    const auto count = static_cast<uint32_t>(random.Between(1, 3));
    StoredBatch batch;
    batch.first_id = next;
    batch.count = count;
    batch.bytes = Buffer(std::string(static_cast<size_t>(next % 700), 'x'));
    next += count;
    cache.Put(1 + random.Below(3), batch);
    newest.store(next);
    if (random.OneIn(500)) cache.Drop(1 + random.Below(3));
    if (cache.bytes() > kBudget) wrong.fetch_add(1);
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong.load() == 0);
  CHECK(hits.load() > 0);
}

}  // namespace
}  // namespace strata
