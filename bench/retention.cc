// Many times what is retained goes through the store, as `strata-bench retention`.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>

#include "bench/space.h"

namespace strata::bench {
namespace {

// How far a consumer may be behind its producer.
constexpr uint64_t kMaxBacklog = 64u << 20;
constexpr uint64_t kAckEvery = 1u << 20;
constexpr const char* kSubscription = "bench";

// One channel: its producer and its consumer, each with a thread and a connection of their own.
class Lane {
 public:
  Lane(const RetentionOptions& options, int number)
      : bytes_(options.bytes / static_cast<uint64_t>(options.channels)),
        channel_(fmt::format("retention-{}-{}", getpid(), number)),
        payloads_(static_cast<uint64_t>(number) + 1, ParseSizes(options.message)),
        producing_(ValueOrDie(Connect(options.address), "connect")),
        consuming_(ValueOrDie(Connect(options.address), "connect")) {
    ValueOrDie(producing_->CreateChannel(channel_), "create the channel");
    consumer_ = ValueOrDie(consuming_->OpenConsumer(channel_, kSubscription), "open the consumer");
  }

  void Start() {
    threads_.emplace_back([this] { Produce(); });
    threads_.emplace_back([this] { Consume(); });
  }
  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  uint64_t produced() const { return produced_; }
  uint64_t messages() const { return last_; }
  ChannelInfo Describe() {
    return ValueOrDie(producing_->DescribeChannel(channel_), "describe the channel");
  }
  void Delete() {
    consumer_->Close();
    DieUnlessOk(producing_->DeleteChannel(channel_), "delete the channel");
  }

 private:
  void Produce() {
    CheckedPayloads payloads = payloads_;
    auto producer = ValueOrDie(producing_->OpenProducer(channel_), "open the producer");
    std::atomic<bool> failed = false;
    uint64_t number = 0;
    while (produced_ < bytes_) {
      if (produced_ - consumed_ > kMaxBacklog) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      ++number;
      const std::string_view payload = payloads.Make(number);
      DieUnlessOk(producer->Send(payload,
                                 [&failed, number](const Result<MessageId>& id) {
                                   if (!id.ok() || *id != static_cast<MessageId>(number))
                                     failed = true;
                                 }),
                  "send");
      produced_ += payload.size();
    }
    DieUnlessOk(producer->Flush(std::chrono::minutes(5)), "flush");
    if (failed) Die("an append failed, or got another id than was due");
    last_ = number;
    done_ = true;
  }

  void Consume() {
    MessageId next = 1;
    uint64_t unacknowledged = 0;
    while (!done_ || static_cast<uint64_t>(next) <= last_) {
      const Result<ReceivedBatch> batch =
          consumer_->ReceiveBatch(std::chrono::milliseconds(unacknowledged > 0 ? 0 : 100));
      if (!batch.ok() && batch.status().reason() != Reason::TIMEOUT)
        DieUnlessOk(batch.status(), "receive");
      if (batch.ok()) {
        if (batch->is_gap()) Die("a gap before what is not acknowledged");
        for (const MessageView& message : *batch) {
          if (message.id != next ||
              !payloads_.Matches(static_cast<uint64_t>(next), message.payload)) {
            Die(fmt::format("{}: message {} is not what was sent as {}", channel_, message.id,
                            next));
          }
          unacknowledged += message.payload.size();
          consumed_ += message.payload.size();
          ++next;
        }
      }
      if (unacknowledged == 0 || (batch.ok() && unacknowledged < kAckEvery)) continue;
      DieUnlessOk(consumer_->Acknowledge(next - 1), "acknowledge");
      unacknowledged = 0;
    }
    if (unacknowledged > 0) DieUnlessOk(consumer_->Acknowledge(next - 1), "acknowledge");
  }

  const uint64_t bytes_;
  const std::string channel_;
  const CheckedPayloads payloads_;
  const std::unique_ptr<Client> producing_;
  const std::unique_ptr<Client> consuming_;
  std::unique_ptr<Consumer> consumer_;
  std::atomic<uint64_t> produced_ = 0;
  std::atomic<uint64_t> consumed_ = 0;
  std::atomic<uint64_t> last_ = 0;
  std::atomic<bool> done_ = false;
  std::vector<std::thread> threads_;
};

// When the directory first was at or below `target` after `start`, and stayed there.
std::optional<double> SettledAfter(const std::vector<DiskSampler::Sample>& samples,
                                   SteadyClock::time_point start, uint64_t target) {
  std::optional<double> settled;
  for (const DiskSampler::Sample& sample : samples) {
    if (sample.at < start) continue;
    if (sample.use.bounded() > target) {
      settled.reset();
    } else if (!settled) {
      settled = std::chrono::duration<double>(sample.at - start).count();
    }
  }
  return settled;
}

}  // namespace

void Retention(const RetentionOptions& options) {
  const uint64_t retained = static_cast<uint64_t>(options.channels) * (options.retained_mb << 20);
  const uint64_t stratum = StratumBytes(options.sizes, retained);
  const uint64_t bound = DiskBound(options.sizes, retained);
  const uint64_t settled_target = retained + stratum + 4 * options.sizes.write_buffer;
  fmt::print("retention over {}: {:.0f} MiB in messages of {} through {} channels of {} MiB\n",
             options.address, MiB(options.bytes), options.message, options.channels,
             options.retained_mb);
  std::vector<std::unique_ptr<Lane>> lanes;
  for (int i = 0; i < options.channels; ++i) lanes.push_back(std::make_unique<Lane>(options, i));

  const DiskUse before = MeasureDisk(options.directory);
  DiskSampler sampler(options.directory, std::chrono::milliseconds(100));
  const auto start = SteadyClock::now();
  for (auto& lane : lanes) lane->Start();
  for (auto& lane : lanes) lane->Join();
  const double seconds = SecondsSince(start);
  const auto ended = SteadyClock::now();
  const DiskUse at_end = MeasureDisk(options.directory);
  uint64_t bytes = 0;
  uint64_t messages = 0;
  for (auto& lane : lanes) {
    bytes += lane->produced();
    messages += lane->messages();
  }
  fmt::print("  {} messages, {:.0f} MiB in {:.1f} s: {:.0f} MB/s, {:.0f} msg/s\n", messages,
             MiB(bytes), seconds, static_cast<double>(bytes) / 1e6 / seconds,
             static_cast<double>(messages) / seconds);
  std::fflush(stdout);

  std::this_thread::sleep_for(std::chrono::seconds(options.settle_seconds));
  const DiskUse most = sampler.max();
  const DiskUse last = sampler.last();
  uint64_t held = 0;
  for (auto& lane : lanes) held += lane->Describe().bytes;
  fmt::print(
      "  du before {:.0f} MiB, at the end {:.0f}, {} s later {:.0f} ({:.0f} by size); the "
      "channels hold {:.0f} MiB\n",
      MiB(before.blocks), MiB(at_end.blocks), options.settle_seconds, MiB(last.blocks),
      MiB(last.sizes), MiB(held));
  const std::optional<double> settled = SettledAfter(sampler.samples(), ended, settled_target);
  fmt::print("  retained + 1 stratum + log, {:.0f} MiB: {}\n", MiB(settled_target),
             settled ? fmt::format("reached {:.1f} s after the end", *settled)
                     : std::string("not reached"));
  Verdict verdict;
  verdict.Check(most.bounded() <= bound,
                fmt::format("largest du {:.0f} MiB, at most {:.0f} = retained {:.0f} + 3 strata of "
                            "{:.0f} + 4 write buffers of {:.0f}; beside it a ballast of {:.0f}",
                            MiB(most.bounded()), MiB(bound), MiB(retained), MiB(stratum),
                            MiB(options.sizes.write_buffer), MiB(most.ballast)));
  verdict.Check(held <= static_cast<uint64_t>(options.channels) *
                            MostRetained(options.sizes, options.retained_mb),
                "the channels hold no more than the rule leaves them and a page each");
  for (auto& lane : lanes) lane->Delete();
  verdict.Finish();
}

}  // namespace strata::bench
