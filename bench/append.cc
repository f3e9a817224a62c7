// Embedded synchronous single appends, as `strata-bench append`.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "bench/support.h"

namespace strata::bench {
namespace {

// Appends to a file and makes it durable, as the plainest log would: the floor under a synchronous
// append.
void RawAppends(const std::string& path, const AppendOptions& options, uint64_t count,
                Latencies* latencies) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0) Die("cannot create " + path);
  Payloads payloads(options.size);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view payload = payloads.Make(i);
    const auto start = SteadyClock::now();
    if (write(file, payload.data(), payload.size()) != static_cast<ssize_t>(payload.size()) ||
        fdatasync(file) != 0) {
      Die("write or fdatasync failed on " + path);
    }
    latencies->Add(SteadyClock::now() - start);
  }
  close(file);
}

double StoreAppends(Client& client, const AppendOptions& options, uint64_t count,
                    Latencies* latencies) {
  Payloads payloads(options.size);
  const auto begin = SteadyClock::now();
  for (uint64_t i = 0; i < count; ++i) {
    const auto start = SteadyClock::now();
    BatchBuilder batch;
    batch.Reserve(options.size + 16);
    batch.Add(payloads.Make(i));
    ValueOrDie(client.Append("bench", batch.Take()), "append");
    latencies->Add(SteadyClock::now() - start);
  }
  return SecondsSince(begin);
}

}  // namespace

void Append(const AppendOptions& options) {
  const TemporaryDirectory directory(options.directory);
  const std::string config = directory.path() + "/strata.yaml";
  std::ofstream(config) << "durability:\n  sync: " << options.sync << "\n";
  auto client = ValueOrDie(ConnectEmbedded(directory.path() + "/store", config), "open the store");
  ValueOrDie(client->CreateChannel("bench"), "create the channel");
  fmt::print("append, embedded, one thread, sync: {}, {} bytes, {} rounds of {}\n", options.sync,
             options.size, options.rounds, options.count);

  Latencies stored;
  Latencies raw;
  std::vector<double> rates;
  for (int round = 0; round < options.rounds; ++round) {
    rates.push_back(static_cast<double>(options.count) /
                    StoreAppends(*client, options, options.count, &stored));
    if (options.sync == "always")
      RawAppends(directory.path() + "/raw", options, options.count, &raw);
  }
  std::sort(rates.begin(), rates.end());
  fmt::print("  strata: median {:.0f} appends/s; {}\n", rates[rates.size() / 2], stored.Summary());
  if (options.sync == "always") {
    fmt::print("  write + fdatasync: {}\n", raw.Summary());
    fmt::print("  p50 ratio {:.2f}\n", stored.Percentile(0.5) / raw.Percentile(0.5));
  }
}

}  // namespace strata::bench
