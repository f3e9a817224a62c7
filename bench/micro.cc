// Single functions of the append and read path, with Google Benchmark: strata-bench-micro. Here those of a client's
// batch; micro_broker.cc has the committer and the tail cache, micro_codec.cc what becomes of a batch on disk and on
// the wire.
#include <benchmark/benchmark.h>

#include "base/batch.h"

namespace strata {
namespace {

Buffer MakeBatch(size_t messages, size_t size) {
  BatchBuilder builder;
  const std::string payload(size, 'x');
  for (size_t i = 0; i < messages; ++i) builder.Add(payload);
  return builder.Take();
}

void EncodeBatch(benchmark::State& state) {
  const std::string payload(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    BatchBuilder builder;
    for (int i = 0; i < 1000; ++i) builder.Add(payload);
    benchmark::DoNotOptimize(builder.Take());
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(EncodeBatch)->Arg(100)->Arg(1024);

void CheckBatchOf1000(benchmark::State& state) {
  const Buffer batch = MakeBatch(1000, static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(CheckBatch(batch, BatchLimits()));
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(CheckBatchOf1000)->Arg(100)->Arg(1024);

void IterateBatch(benchmark::State& state) {
  const Buffer batch = MakeBatch(1000, static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    BatchIterator it(batch.view(), 1, 0);
    for (MessageView message; it.Next(&message);) benchmark::DoNotOptimize(message.payload.data());
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(IterateBatch)->Arg(100)->Arg(1024);

}  // namespace
}  // namespace strata

BENCHMARK_MAIN();
