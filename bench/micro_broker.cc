// The committer over a store in memory, and the tail cache.
#include <benchmark/benchmark.h>

#include <latch>
#include <memory>
#include <vector>

#include "base/batch.h"
#include "broker/committer.h"
#include "broker/tail_cache.h"
#include "client/testing/memory_store.h"

namespace strata {
namespace {

Buffer MakeBatch(size_t size) {
  BatchBuilder builder;
  builder.Add(std::string(size, 'x'));
  return builder.Take();
}

// One batch for the only channel.
class Append final : public broker::CommitOperation {
 public:
  Append(const Buffer& batch, MessageId* next_id) : batch_(batch), next_id_(next_id) {}
  void Expect(std::latch* done) { done_ = done; }

  size_t bytes() const override { return batch_.size(); }
  Status Prepare(storage::WriteGroup* group) override {
    storage::BatchRecord& batch = group->batches.emplace_back();
    batch.channel = 1;
    batch.first_id = (*next_id_)++;
    batch.count = 1;
    batch.bytes = batch_;
    return Status::Ok();
  }
  void Publish() override {}
  void Done(const Status& status) override {
    if (!status.ok()) std::abort();
    done_->count_down();
  }

 private:
  const Buffer batch_;
  MessageId* const next_id_;  // the write role's
  std::latch* done_ = nullptr;
};

// A committer, and operations that are used again and again.
class Scene {
 public:
  Scene(size_t appends, size_t size) {
    storage::WriteGroup first;
    first.commit = 1;
    storage::ChannelRecord channel;
    channel.number = 1;
    channel.name = "only";
    first.changes.emplace_back(storage::PutChannel{channel});
    if (!store_.Write(first).ok() || !store_.Sync().ok()) std::abort();
    const Buffer batch = MakeBatch(size);
    for (size_t i = 0; i < appends; ++i) {
      operations_.push_back(std::make_unique<Append>(batch, &next_id_));
    }
    committer_ = std::make_unique<broker::Committer>(broker::BrokerOptions(), &store_, 1,
                                                     [](storage::WriteGroup*) {});
  }
  ~Scene() { committer_->Stop(); }

  // All of them in flight at once, until the last one is answered.
  void SubmitAll() {
    std::latch done(static_cast<std::ptrdiff_t>(operations_.size()));
    for (const auto& operation : operations_) {
      operation->Expect(&done);
      committer_->Submit(operation.get());
    }
    done.wait();
  }
  // One after the other, on this thread.
  void RunAll() {
    for (const auto& operation : operations_) {
      std::latch done(1);
      operation->Expect(&done);
      committer_->Run(operation.get());
      done.wait();
    }
  }
  // The store keeps what it was given: what is no longer needed goes.
  void Forget() { store_.DropBefore(1, next_id_); }

 private:
  testing::MemoryStore store_{testing::MemoryStore::History::kNone};
  MessageId next_id_ = kFirstMessageId;
  std::vector<std::unique_ptr<Append>> operations_;
  std::unique_ptr<broker::Committer> committer_;
};

constexpr size_t kAppends = 1000;

void CommitPipelined(benchmark::State& state) {
  Scene scene(kAppends, static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    scene.SubmitAll();
    state.PauseTiming();
    scene.Forget();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kAppends));
}
BENCHMARK(CommitPipelined)->Arg(100)->Arg(1024)->Arg(64 << 10)->UseRealTime();

void CommitOneByOne(benchmark::State& state) {
  Scene scene(kAppends, static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    scene.RunAll();
    state.PauseTiming();
    scene.Forget();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kAppends));
}
BENCHMARK(CommitOneByOne)->Arg(100)->Arg(1024)->UseRealTime();

// The next batch of each channel in turn, into a full cache.
void PutAndGetTailCache(benchmark::State& state) {
  const auto channels = static_cast<ChannelNumber>(state.range(0));
  broker::TailCache cache(32u << 20);
  storage::StoredBatch batch{1, 1, 0, MakeBatch(1024)};
  ChannelNumber channel = 1;
  for (auto _ : state) {
    cache.Put(channel, batch);
    benchmark::DoNotOptimize(cache.Get(channel, batch.first_id));
    if (channel++ == channels) {
      channel = 1;
      ++batch.first_id;
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(PutAndGetTailCache)->Arg(1)->Arg(100)->Arg(10'000);

// Somewhere in the middle of what it holds, as a reader that is a little behind.
void GetFromTailCache(benchmark::State& state) {
  broker::TailCache cache(32u << 20);
  constexpr MessageId kHeld = 20'000;
  for (MessageId id = 1; id <= kHeld; ++id) {
    cache.Put(1, storage::StoredBatch{id, 1, 0, MakeBatch(1024)});
  }
  MessageId id = 1;
  for (auto _ : state) {
    benchmark::DoNotOptimize(cache.Get(1, id));
    id = id % kHeld + 1;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(GetFromTailCache);

}  // namespace
}  // namespace strata
