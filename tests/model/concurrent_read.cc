// Those who read.
#include "tests/model/concurrent.h"

namespace strata::testing {
namespace {

using Reading = LogHistory::Reading;

constexpr std::chrono::milliseconds kGlance{5};

void Note(Actor& actor, Reading* reading, const Received& received) {
  if (received.is_gap()) return actor.Problem("received " + Describe(received));
  reading->got.push_back(
      {received.message().id, std::string(received.message().payload), actor.ticks->Next()});
}

bool IsTimeout(const Status& status) { return status.reason() == Reason::TIMEOUT; }

}  // namespace

void Crowd::ReadAll(Actor& actor) {
  MessageId next = 1;
  while (!Done(next) && !GiveUp(actor, "reading all")) {
    auto opened = actor.client().OpenReader("log", StartPosition::At(next));
    if (!opened.ok()) {
      if (!actor.ComeBack(opened.status(), "open a reader")) return;
      continue;
    }
    Reading reading{.reader = actor.name, .channel = "log", .from = next};
    Status status;
    while (!Done(next) && !GiveUp(actor, "receiving")) {
      const auto received = (*opened)->Receive(kGlance);
      if (received.ok()) {
        Note(actor, &reading, *received);
        next = (*opened)->position();
      } else if (!IsTimeout(received.status())) {
        status = received.status();
        break;
      }
    }
    actor.run.history.readings.push_back(std::move(reading));
    opened->reset();
    if (!status.ok() && !actor.ComeBack(status, "receive")) return;
  }
}

// A few messages from the end, then a few from somewhere before it by a seek of the same reader.
void Crowd::ReadHereAndThere(Actor& actor) {
  for (int i = 0; end_.load() == 0 && !GiveUp(actor, "reading here and there"); ++i) {
    LogHistory::End end{.channel = "log", .asked = actor.ticks->Next()};
    auto opened = actor.client().OpenReader("log", StartPosition::Latest());
    if (!opened.ok()) {
      if (!actor.ComeBack(opened.status(), "open a reader at the end")) return;
      continue;
    }
    end.answered = actor.ticks->Next();
    end.next_id = (*opened)->position();
    actor.run.history.ends.push_back(end);
    Status status;
    for (int part = 0; part < 3 && status.ok(); ++part) {
      if (part > 0) {
        const auto to = 1 + static_cast<MessageId>(
                                actor.random.Below(static_cast<uint64_t>((*opened)->position())));
        status = (*opened)->Seek(StartPosition::At(to));
        if (!status.ok()) break;
      }
      const MessageId from = (*opened)->position();
      Reading reading{.reader = actor.name, .channel = "log", .from = from};
      for (uint64_t n = actor.random.Between(1, 6); n > 0; --n) {
        const auto received = (*opened)->Receive(kGlance);
        if (received.ok()) {
          Note(actor, &reading, *received);
        } else if (!IsTimeout(received.status())) {
          status = received.status();
          break;
        }
      }
      actor.run.history.readings.push_back(std::move(reading));
    }
    opened->reset();
    if (!status.ok() && !actor.ComeBack(status, "receive here and there")) return;
  }
}

void Crowd::FetchAll(Actor& actor) {
  Reading reading{.reader = actor.name, .channel = "log", .from = 1};
  for (MessageId next = 1; !Done(next) && !GiveUp(actor, "fetching");) {
    LogHistory::End end{.channel = "log", .asked = actor.ticks->Next()};
    const auto fetched = actor.client().Fetch(
        "log", StartPosition::At(next),
        {.max_bytes = actor.random.OneIn(2) ? uint64_t{1} : 1'000, .max_wait = kGlance});
    end.answered = actor.ticks->Next();
    if (!fetched.ok()) {
      if (!actor.ComeBack(fetched.status(), "fetch")) break;
      continue;
    }
    end.next_id = fetched->next_id;
    actor.run.history.ends.push_back(end);
    for (const ReceivedBatch& batch : fetched->batches) {
      if (batch.is_gap()) {
        actor.Problem("fetched " + Describe(Received(batch.gap())));
        continue;
      }
      for (const MessageView& message : batch) {
        reading.got.push_back({message.id, std::string(message.payload), actor.ticks->Next()});
      }
    }
    next = fetched->next_position;
  }
  actor.run.history.readings.push_back(std::move(reading));
}

// When the daemon comes back, the other consumer may be the first to ask for the subscription. Then this
// one waits its turn again, maybe within one receive, and goes on at the cursor: forward, to right behind
// what was acknowledged, and nowhere else. That nothing was passed over is for the checker.
bool Crowd::HadAnotherTurn(const Reading& reading, const Received& received) const {
  if (reading.got.empty() || received.is_gap()) return false;
  const MessageId id = received.message().id;
  MutexLock lock(mu_);
  return id > reading.got.back().id + 1 && sent_acknowledgements_.contains(id - 1);
}

void Crowd::ConsumeInTurns(Actor& actor) {
  MessageId next = 0;
  while (!Done(next) && !GiveUp(actor, "consuming")) {
    Reading reading{.reader = actor.name, .channel = "log", .subscription = "s"};
    reading.acknowledged_before = acknowledged_.load();
    ConsumerOptions options;
    options.holder = actor.name;
    options.mode = ConsumerOptions::Mode::kFailover;
    auto opened = actor.client().OpenConsumer("log", "s", options);
    if (!opened.ok()) {
      if (!actor.ComeBack(opened.status(), "open a consumer")) return;
      continue;
    }
    Status status;
    const uint64_t most = actor.random.Between(1, 25);
    while (status.ok() && reading.got.size() < most && !Done(next) && !GiveUp(actor, "consuming")) {
      const auto received = (*opened)->Receive(kGlance);
      if (received.ok()) {
        if (HadAnotherTurn(reading, *received)) {
          actor.run.history.readings.push_back(reading);
          reading.got.clear();
        }
        Note(actor, &reading, *received);
      } else if (!IsTimeout(received.status())) {
        status = received.status();
        break;
      }
      if ((*opened)->active()) {
        next = (*opened)->position();
      } else if (end_.load() != 0) {
        actor.run.history.readings.push_back(std::move(reading));  // it may have lost its turn
        return;                                                    // whoever holds it gets the rest
      }
      if (!received.ok() || !actor.random.OneIn(3)) continue;
      {
        MutexLock lock(mu_);
        sent_acknowledgements_.insert(next - 1);
      }
      if (!(*opened)->Acknowledge(next - 1).ok()) continue;
      MessageId known = acknowledged_.load();
      while (known < next - 1 && !acknowledged_.compare_exchange_weak(known, next - 1)) {
      }
    }
    opened->reset();
    actor.run.history.readings.push_back(std::move(reading));
    if (!status.ok() && !actor.ComeBack(status, "consume")) return;
  }
}

}  // namespace strata::testing
