// Opening a reader at a time and at an id in a long channel, as `strata-bench seek`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "base/batch.h"
#include "bench/support.h"

namespace strata::bench {
namespace {

// One stored batch, in the order of ids and so of append times.
struct Stored {
  MessageId first_id = 0;
  TimeMicros append_time = 0;
};

std::vector<Stored> Fill(Client& client, const std::string& channel, const SeekOptions& options) {
  Payloads payloads(options.size);
  std::vector<Stored> stored;
  stored.reserve(options.count / options.batch + 1);
  for (uint64_t n = 0; n < options.count;) {
    BatchBuilder batch;
    for (uint64_t i = 0; i < options.batch && n < options.count; ++i) batch.Add(payloads.Make(n++));
    const AppendResult result = ValueOrDie(client.Append(channel, batch.Take()), "append");
    stored.push_back({result.first_id, result.append_time});
  }
  return stored;
}

// From OpenReader to the first message, which has to be `wanted`.
std::chrono::nanoseconds Seek(Client& client, const std::string& channel,
                              const StartPosition& position, MessageId wanted) {
  const auto start = SteadyClock::now();
  auto reader = ValueOrDie(client.OpenReader(channel, position), "open a reader");
  const Received first = ValueOrDie(reader->Receive(std::chrono::seconds(60)), "receive");
  const auto took = SteadyClock::now() - start;
  if (first.is_gap() || first.message().id != wanted) {
    Die(fmt::format("the seek led to {} instead of message {}",
                    first.is_gap() ? "a gap" : fmt::format("message {}", first.message().id),
                    wanted));
  }
  return took;
}

void SeekIn(Client& client, const std::string& place, const SeekOptions& options) {
  const std::string channel = fmt::format("seek-{}", getpid());
  ValueOrDie(client.CreateChannel(channel), "create the channel");
  const std::vector<Stored> stored = Fill(client, channel, options);
  fmt::print("seek over {}, {} messages of {} bytes in batches of {}\n", place, options.count,
             options.size, options.batch);

  std::mt19937_64 random(1);
  const auto between = [&](int64_t first, int64_t last) {
    return first + static_cast<int64_t>(random() % static_cast<uint64_t>(last - first + 1));
  };
  const MessageId first_id = stored.front().first_id;
  Latencies times;
  Latencies ids;
  for (int i = 0; i < options.seeks; ++i) {
    const TimeMicros time = between(stored.front().append_time, stored.back().append_time);
    const auto at = std::lower_bound(
        stored.begin(), stored.end(), time,
        [](const Stored& each, TimeMicros wanted) { return each.append_time < wanted; });
    times.Add(Seek(client, channel, StartPosition::AtTime(time), at->first_id));
    const MessageId id = between(first_id, first_id + static_cast<int64_t>(options.count) - 1);
    ids.Add(Seek(client, channel, StartPosition::At(id), id));
  }
  const auto report = [](const char* what, Latencies& seeks) {
    fmt::print("  {}: median {:.3f} ms, p99 {:.3f} ms, max {:.3f} ms\n", what,
               seeks.Percentile(0.5) / 1000, seeks.Percentile(0.99) / 1000,
               seeks.Percentile(1) / 1000);
  };
  report("to a time", times);
  report("to an id ", ids);
  DieUnlessOk(client.DeleteChannel(channel), "delete the channel");
}

}  // namespace

void Seek(const SeekOptions& options) {
  {
    const TemporaryDirectory directory(options.directory);
    auto client = ValueOrDie(Connect("embedded:" + directory.path() + "/store"), "open the store");
    SeekIn(*client, "embedded", options);
  }
  if (options.address.empty()) return;
  auto client = ValueOrDie(Connect(options.address), "connect");
  SeekIn(*client, options.address, options);
}

}  // namespace strata::bench
