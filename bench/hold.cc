// One of many subscriptions never acknowledges, as `strata-bench hold`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>

#include "bench/space.h"

namespace strata::bench {
namespace {

constexpr const char* kSubscription = "bench";

struct HeldChannel {
  std::string name;
  CheckedPayloads payloads;
  MessageId last = 0;
};

// Fills the channels in turns, so that each stratum has batches of all of them, and acknowledges all but the first.
void FillInTurns(Client& client, const HoldOptions& options, std::vector<HeldChannel>* channels) {
  std::vector<std::unique_ptr<Producer>> producers;
  for (HeldChannel& channel : *channels) {
    ValueOrDie(client.CreateChannel(channel.name), "create the channel");
    ValueOrDie(client.CreateSubscription(channel.name, kSubscription, StartPosition::Earliest()),
               "create the subscription");
    ProducerOptions small;
    small.max_in_flight = 2u << 20;
    producers.push_back(ValueOrDie(client.OpenProducer(channel.name, small), "open a producer"));
  }
  std::atomic<bool> failed = false;
  const Producer::Callback note = [&failed](const Result<MessageId>& id) {
    if (!id.ok()) failed = true;
  };
  MessageId next = 0;
  for (uint64_t sent = 0; sent < options.bytes;) {
    ++next;
    for (size_t i = 0; i < channels->size(); ++i) {
      HeldChannel& channel = (*channels)[i];
      const std::string_view payload = channel.payloads.Make(static_cast<uint64_t>(next));
      DieUnlessOk(producers[i]->Send(payload, note), "send");
      channel.last = next;
      sent += payload.size();
    }
    // Now and then; not closer, since the cursor waits for what is sent, and the store for the cursor.
    if (next % 2000 != 0) continue;
    for (size_t i = 1; i < channels->size(); ++i) {
      DieUnlessOk(producers[i]->Flush(), "flush");
      DieUnlessOk(client.Acknowledge((*channels)[i].name, kSubscription, next), "acknowledge");
    }
  }
  for (size_t i = 0; i < channels->size(); ++i) {
    DieUnlessOk(producers[i]->Close(), "close a producer");
    if (i == 0) continue;
    DieUnlessOk(client.Acknowledge((*channels)[i].name, kSubscription, (*channels)[i].last),
                "acknowledge");
  }
  if (failed) Die("an append failed");
}

uint64_t BytesOf(Client& client, const std::string& channel) {
  return ValueOrDie(client.DescribeChannel(channel), "describe the channel").bytes;
}

// Where the held channel begins now, after checks of what its readers are told about what is gone.
MessageId CheckTrimmed(Client& client, const HeldChannel& held, Verdict* verdict) {
  const ChannelInfo info = ValueOrDie(client.DescribeChannel(held.name), "describe the channel");
  verdict->Check(info.first_available > 1,
                 fmt::format("the unacknowledged channel was trimmed too: ids begin at {} of {}",
                             info.first_available, held.last));
  if (info.first_available <= 1) return 1;
  const FetchResult fetched =
      ValueOrDie(client.Fetch(held.name, StartPosition::At(1)), "fetch from id 1");
  const bool announced =
      !fetched.batches.empty() && fetched.batches.front().is_gap() &&
      fetched.batches.front().gap() == Gap{1, info.first_available - 1, GapReason::kTrimmed};
  verdict->Check(announced, "its reader is told of a TRIMMED gap from 1 to where it begins");
  return info.first_available;
}

}  // namespace

void Hold(const HoldOptions& options) {
  fmt::print("hold over {}: {:.0f} MiB into {} channels of {} MiB, one never acknowledged\n",
             options.address, MiB(options.bytes), options.channels, options.retained_mb);
  auto client = ValueOrDie(Connect(options.address), "connect");
  std::vector<HeldChannel> channels;
  for (int i = 0; i < options.channels; ++i) {
    channels.push_back(
        {fmt::format("hold-{}-{}", getpid(), i),
         CheckedPayloads(static_cast<uint64_t>(i) + 1, ParseSizes(options.message))});
  }
  DiskSampler sampler(options.directory, std::chrono::milliseconds(100));
  const auto start = SteadyClock::now();
  FillInTurns(*client, options, &channels);
  fmt::print("  filled in {:.1f} s; du without the ballast {:.0f} MiB, at most {:.0f}\n",
             SecondsSince(start), MiB(MeasureDisk(options.directory).bounded()),
             MiB(sampler.max().bounded()));
  std::fflush(stdout);

  const HeldChannel& held = channels.front();
  const auto ended = SteadyClock::now();
  const uint64_t each = MostRetained(options.sizes, options.retained_mb);
  uint64_t others = 0;
  uint64_t bound = 0;
  std::optional<double> back;
  while (SecondsSince(ended) < options.settle_seconds) {
    others = 0;
    for (size_t i = 1; i < channels.size(); ++i) others += BytesOf(*client, channels[i].name);
    bound = DiskBound(options.sizes, others + BytesOf(*client, held.name));
    const bool small = sampler.last().bounded() <= bound && others <= each * (channels.size() - 1);
    if (small && !back) back = SecondsSince(ended);
    if (back) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  std::this_thread::sleep_for(std::chrono::seconds(5));
  const DiskUse last = sampler.last();
  fmt::print("  du without the ballast, MiB, after the last message: {}\n",
             Curve(sampler.samples(), ended));
  fmt::print("  the unacknowledged channel holds {:.0f} MiB, the {} others {:.0f} MiB\n",
             MiB(BytesOf(*client, held.name)), channels.size() - 1, MiB(others));

  Verdict verdict;
  verdict.Check(others <= each * (channels.size() - 1),
                "the others hold no more than the rule leaves them and a page each");
  verdict.Check(back.has_value() && last.bounded() <= bound,
                fmt::format("their space came back{}: du {:.0f} MiB, at most {:.0f}",
                            back ? fmt::format(" within {:.1f} s", *back) : std::string(),
                            MiB(last.bounded()), MiB(bound)));
  MessageId first = 1;
  if (options.expect_trim) first = CheckTrimmed(*client, held, &verdict);
  const uint64_t read = ReadBack(*client, held.name, held.payloads, first, held.last);
  verdict.Check(true, fmt::format("the unacknowledged channel reads back from {} to {}, every byte "
                                  "of {:.0f} MiB",
                                  first, held.last, MiB(read)));
  for (const HeldChannel& channel : channels)
    DieUnlessOk(client->DeleteChannel(channel.name), "delete the channel");
  verdict.Finish();
}

}  // namespace strata::bench
