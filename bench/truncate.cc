// Half of a channel is truncated, as `strata-bench truncate`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "bench/space.h"

namespace strata::bench {
namespace {

// What a reader and a fetch are told that start at an id that is gone.
bool AnswersWithGap(Client& client, const std::string& channel, MessageId from, MessageId mark) {
  const Gap due{from, mark, GapReason::kTrimmed};
  const FetchResult fetched = ValueOrDie(client.Fetch(channel, StartPosition::At(from)), "fetch");
  auto reader = ValueOrDie(client.OpenReader(channel, StartPosition::At(from)), "open a reader");
  const ReceivedBatch received =
      ValueOrDie(reader->ReceiveBatch(std::chrono::seconds(60)), "receive");
  return !fetched.batches.empty() && fetched.batches.front().is_gap() &&
         fetched.batches.front().gap() == due && received.is_gap() && received.gap() == due;
}

}  // namespace

void Truncate(const TruncateOptions& options) {
  fmt::print("truncate over {}: half of {:.0f} MiB in messages of {}\n", options.address,
             MiB(options.bytes), options.message);
  auto client = ValueOrDie(Connect(options.address), "connect");
  const std::string channel = fmt::format("truncate-{}", getpid());
  ValueOrDie(client->CreateChannel(channel), "create the channel");
  const CheckedPayloads payloads(1, ParseSizes(options.message));
  const auto start = SteadyClock::now();
  const auto last = static_cast<MessageId>(Fill(*client, channel, payloads, options.bytes));
  fmt::print("  filled in {:.1f} s\n", SecondsSince(start));
  AwaitQuietDisk(options.directory, std::chrono::seconds(60));

  const DiskUse before = MeasureDisk(options.directory);
  const MessageId mark = last / 2;
  DiskSampler sampler(options.directory, std::chrono::milliseconds(20));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto truncated = SteadyClock::now();
  ValueOrDie(client->TruncateChannel(channel, mark), "truncate");
  const double call_ms = SecondsSince(truncated) * 1e3;
  Verdict verdict;
  for (const MessageId from : {MessageId{1}, mark / 2, mark}) {
    verdict.Check(AnswersWithGap(*client, channel, from, mark),
                  fmt::format("id {} answers with a TRIMMED gap through the mark {}", from, mark));
  }
  std::this_thread::sleep_until(truncated + std::chrono::seconds(61));

  const std::vector<DiskSampler::Sample> samples = sampler.samples();
  std::optional<double> begun;
  for (const DiskSampler::Sample& sample : samples) {
    if (sample.at < truncated || sample.use.bounded() >= before.bounded()) continue;
    begun = std::chrono::duration<double>(sample.at - truncated).count();
    break;
  }
  const ChannelInfo info = ValueOrDie(client->DescribeChannel(channel), "describe the channel");
  const DiskUse after = sampler.last();
  const uint64_t bound = DiskBound(options.sizes, info.bytes);
  fmt::print(
      "  the call took {:.1f} ms; du {:.0f} MiB before, {:.0f} a minute later; the channel "
      "holds {:.0f} MiB\n",
      call_ms, MiB(before.blocks), MiB(after.blocks), MiB(info.bytes));
  fmt::print("  du, MiB: {}\n", Curve(samples, truncated));
  verdict.Check(begun && *begun <= 1.0, begun
                                            ? fmt::format("reclaiming began after {:.2f} s", *begun)
                                            : std::string("reclaiming never began"));
  verdict.Check(
      after.bounded() <= bound,
      fmt::format("du {:.0f} MiB a minute later, at most {:.0f} = what the channel holds, "
                  "3 strata and the log",
                  MiB(after.bounded()), MiB(bound)));
  verdict.Check(info.first_available == mark + 1 && info.next_id == last + 1,
                fmt::format("ids from {} to {} are available", mark + 1, last));
  const uint64_t read = ReadBack(*client, channel, payloads, mark + 1, last);
  verdict.Check(true, fmt::format("they read back, every byte of {:.0f} MiB", MiB(read)));
  DieUnlessOk(client->DeleteChannel(channel), "delete the channel");
  verdict.Finish();
}

}  // namespace strata::bench
