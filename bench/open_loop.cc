#include "bench/open_loop.h"

#include <fmt/format.h>

#include <thread>

namespace strata::bench {
namespace {

// Sent and received before the measurement: they open what is opened once.
constexpr uint64_t kWarmUp = 100;

}  // namespace

void Rounds::Add(Latencies* latencies) {
  for (size_t i = 0; i < kShares.size(); ++i) {
    values_[i].push_back(latencies->Percentile(kShares[i]));
  }
}

void OpenLoopOptions::AddTo(CLI::App* command, const std::string& of_what) {
  command->add_option("--rate", rate, "messages a second")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--size", size, "bytes per message")
      ->check(CLI::Range(8, 4 << 20))
      ->capture_default_str();
  command->add_option("--seconds", seconds, of_what)
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
}

OpenLoop::OpenLoop(System* system, const OpenLoopOptions& options, const std::string& channel)
    : options_(options),
      channel_(channel),
      publishing_(system->Connect()),
      subscribing_(system->Connect()),
      payloads_(options.size),
      acknowledged_(options.count()),
      delivered_(options.count()) {
  publishing_->CreateChannel(channel_);
}

OpenLoop::~OpenLoop() { publishing_->DeleteChannel(channel_); }

OpenLoopRound OpenLoop::Run() {
  OpenLoopRound round;
  const auto subscriber = subscribing_->OpenSubscriber(channel_);
  const auto publisher = publishing_->OpenPublisher(channel_);
  for (uint64_t i = 0; i < kWarmUp; ++i) publisher->SendAndWait(payloads_.Make(i));
  ReceiveUntil(subscriber.get(), kWarmUp);
  std::thread receiver([&] { ReceiveUntil(subscriber.get(), kWarmUp + options_.count()); });
  const Pace pace = SendAll(publisher.get(), &round.sender);
  publisher->Flush();
  receiver.join();
  for (uint64_t i = 0; i < options_.count(); ++i) {
    round.ack.Add(acknowledged_[i] - pace.Due(i));
    round.deliver.Add(delivered_[i] - pace.Due(i));
  }
  return round;
}

Pace OpenLoop::SendAll(Publisher* publisher, Latencies* lateness) {
  const PunctualThread punctual;
  const Pace pace(options_.rate);
  for (uint64_t i = 0; i < options_.count(); ++i) {
    const std::string_view payload = payloads_.Make(kWarmUp + i);
    pace.AwaitDue(i);
    lateness->Add(SteadyClock::now() - pace.Due(i));
    publisher->Send(payload, [this, i] { acknowledged_[i] = SteadyClock::now(); });
  }
  return pace;
}

void OpenLoop::ReceiveUntil(Subscriber* subscriber, uint64_t end) {
  while (received_ < end) {
    subscriber->Receive([&](std::string_view payload) {
      const auto now = SteadyClock::now();
      const uint64_t number = Payloads::NumberOf(payload);
      if (number != received_) {
        Die(fmt::format("message {} came where {} was due", number, received_));
      }
      if (number >= kWarmUp) delivered_[number - kWarmUp] = now;
      ++received_;
    });
  }
}

}  // namespace strata::bench
