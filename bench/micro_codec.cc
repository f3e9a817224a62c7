// What becomes of a batch on disk (storage/codec.h), and of a delivery on the wire, on both sides.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "base/batch.h"
#include "client/grpc/codec.h"
#include "server/delivery_codec.h"
#include "storage/codec.h"

namespace strata {
namespace {

// Of messages of 1 KB, as many as `bytes` have.
storage::BatchRecord MakeRecord(int64_t bytes) {
  BatchBuilder builder;
  const std::string payload(1024, 'x');
  storage::BatchRecord record;
  record.channel = 7;
  record.first_id = 1'000'000;
  record.append_time = 1'700'000'000'000'000;
  for (int64_t i = 0; i < bytes; i += 1024) {
    builder.Add(payload);
    ++record.count;
  }
  record.bytes = builder.Take();
  return record;
}

void CountBytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void EncodeStored(benchmark::State& state) {
  const storage::BatchRecord record = MakeRecord(state.range(0));
  for (auto _ : state) {
    const storage::MessageKey key = storage::EncodeMessageKey(record.channel, record.first_id);
    benchmark::DoNotOptimize(storage::EncodeBatchHeader(key, record));
  }
  CountBytes(state);
}
BENCHMARK(EncodeStored)->Arg(1 << 10)->Arg(64 << 10)->Arg(1 << 20);

void DecodeStored(benchmark::State& state) {
  const storage::BatchRecord record = MakeRecord(state.range(0));
  const storage::MessageKey key = storage::EncodeMessageKey(record.channel, record.first_id);
  const storage::BatchHeader header = storage::EncodeBatchHeader(key, record);
  const std::string value = std::string(header.data(), header.size()) + record.bytes.ToString();
  for (auto _ : state) {
    storage::BatchView view;
    benchmark::DoNotOptimize(storage::DecodeBatch({key.data(), key.size()}, value, &view));
  }
  CountBytes(state);
}
BENCHMARK(DecodeStored)->Arg(1 << 10)->Arg(64 << 10)->Arg(1 << 20);

broker::Delivery MakeDelivery(int64_t bytes) {
  const storage::BatchRecord record = MakeRecord(bytes);
  return {{record.first_id, record.count, record.append_time, record.bytes}, 0};
}

void EncodeDelivery(benchmark::State& state) {
  const broker::Delivery delivery = MakeDelivery(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(server::EncodeConsumeDelivery(delivery));
  CountBytes(state);
}
BENCHMARK(EncodeDelivery)->Arg(1 << 10)->Arg(64 << 10)->Arg(1 << 20);

// As gRPC brings it: in one piece, or in pieces of 8 KiB, which have to become one.
void ParseDelivery(benchmark::State& state) {
  std::vector<grpc::Slice> slices;
  if (!server::EncodeConsumeDelivery(MakeDelivery(state.range(0))).Dump(&slices).ok()) std::abort();
  auto bytes = std::make_shared<std::string>();
  for (const grpc::Slice& slice : slices) {
    bytes->append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  const auto piece = static_cast<size_t>(state.range(1));
  std::vector<std::string_view> pieces;
  for (size_t at = 0; at < bytes->size(); at += piece) {
    pieces.push_back(std::string_view(*bytes).substr(at, piece));
  }
  const Buffer message(std::move(pieces), bytes);
  for (auto _ : state) benchmark::DoNotOptimize(ParseConsumeResponse(message));
  CountBytes(state);
}
BENCHMARK(ParseDelivery)
    ->Args({1 << 10, 1 << 30})
    ->Args({64 << 10, 8 << 10})
    ->Args({1 << 20, 1 << 30})
    ->Args({1 << 20, 8 << 10});

}  // namespace
}  // namespace strata
