// Publish and consume at the same time, as `strata-bench publish-consume`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "bench/process.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

struct Round {
  double acknowledged_seconds = 0;
  double received_seconds = 0;
};

// Receives `count` messages in order, or ends the program.
void ReceiveAll(Reader& reader, uint64_t count) {
  uint64_t next = 0;
  while (next < count) {
    const ReceivedBatch batch =
        ValueOrDie(reader.ReceiveBatch(std::chrono::seconds(60)), "receive");
    if (batch.is_gap()) Die("a gap where there must be none");
    for (const MessageView& message : batch) {
      if (Payloads::NumberOf(message.payload) != next) {
        Die(fmt::format("message {} came where {} was due", Payloads::NumberOf(message.payload),
                        next));
      }
      ++next;
    }
  }
}

Round RunOnce(Client& client, const PublishConsumeOptions& options, int round) {
  const std::string channel = fmt::format("bench-{}-{}", getpid(), round);
  ValueOrDie(client.CreateChannel(channel), "create the channel");
  auto reader =
      ValueOrDie(client.OpenReader(channel, StartPosition::Earliest()), "open the reader");
  ProducerOptions producer_options;
  producer_options.batch_bytes = options.batch_bytes;
  auto producer = ValueOrDie(client.OpenProducer(channel, producer_options), "open the producer");

  Payloads payloads(options.size);
  std::atomic<bool> failed = false;
  Round result;
  const auto start = SteadyClock::now();
  std::thread publisher([&] {
    const Producer::Callback note = [&failed](const Result<MessageId>& id) {
      if (!id.ok()) failed = true;
    };
    for (uint64_t i = 0; i < options.count; ++i)
      DieUnlessOk(producer->Send(payloads.Make(i), note), "send");
    DieUnlessOk(producer->Flush(std::chrono::minutes(5)), "flush");
    result.acknowledged_seconds = SecondsSince(start);
  });
  ReceiveAll(*reader, options.count);
  result.received_seconds = SecondsSince(start);
  publisher.join();
  if (failed) Die("an append failed");
  reader->Close();
  DieUnlessOk(producer->Close(), "close the producer");
  DieUnlessOk(client.DeleteChannel(channel), "delete the channel");
  return result;
}

}  // namespace

void PublishConsume(const PublishConsumeOptions& options) {
  auto client = ValueOrDie(Connect(options.address), "connect");
  const ServerInfo info = ValueOrDie(client->GetServerInfo(), "server info");
  fmt::print("publish-consume over {}, sync: {}, {} messages of {} bytes, batches of {} bytes\n",
             options.address, info.sync, options.count, options.size, options.batch_bytes);
  std::vector<double> rates;
  for (int round = 0; round < options.rounds; ++round) {
    const double cpu = ProcessCpuSeconds(0);
    const double server_cpu = options.server_pid > 0 ? ProcessCpuSeconds(options.server_pid) : 0;
    const Round result = RunOnce(*client, options, round);
    const double rate = static_cast<double>(options.count) / result.received_seconds;
    rates.push_back(rate);
    fmt::print(
        "  round {}: {:.3f} s, {:.0f} msg/s, {:.1f} MB/s; last acknowledged after {:.3f} s; client "
        "CPU {:.2f} s",
        round + 1, result.received_seconds, rate, rate * static_cast<double>(options.size) / 1e6,
        result.acknowledged_seconds, ProcessCpuSeconds(0) - cpu);
    if (options.server_pid > 0)
      fmt::print(", server CPU {:.2f} s", ProcessCpuSeconds(options.server_pid) - server_cpu);
    fmt::print("\n");
  }
  std::sort(rates.begin(), rates.end());
  fmt::print("median {:.0f} msg/s, {:.1f} MB/s", rates[rates.size() / 2],
             rates[rates.size() / 2] * static_cast<double>(options.size) / 1e6);
  if (options.server_pid > 0) {
    fmt::print("; server peak resident memory {:.1f} MB",
               static_cast<double>(ProcessPeakResident(options.server_pid)) / 1e6);
  }
  fmt::print("\n");
}

}  // namespace strata::bench
