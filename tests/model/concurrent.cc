// The run, and its writers. Its readers are in concurrent_read.cc.
#include "tests/model/concurrent.h"

#include <deque>

#include "client/connect.h"

namespace strata::testing {

using Attempt = LogHistory::Attempt;
using Outcome = Attempt::Outcome;

namespace {

Buffer Encoded(const Strings& payloads) {
  BatchBuilder builder;
  for (const std::string& payload : payloads) builder.Add(payload);
  return builder.Take();
}

AppendOptions OptionsOf(const Attempt& attempt) {
  AppendOptions options;
  options.producer = attempt.producer;
  options.term = attempt.producer.empty() ? 0 : attempt.term;
  options.sequence = attempt.sequence;
  options.expected_next_id = attempt.expected_next_id;
  return options;
}

bool IsEnd(const Status& status) {
  return status.reason() == Reason::SHUTTING_DOWN || status.reason() == Reason::CONNECTION_LOST;
}

// Nothing but what may happen here: the broker's end, and the refusals of the rules.
bool IsExpected(const Status& status) {
  return IsEnd(status) || status.reason() == Reason::FENCED ||
         status.reason() == Reason::ID_MISMATCH;
}

Outcome OutcomeOf(const Status& status) {
  if (status.ok()) return Outcome::kAcknowledged;
  return status.fate() == DataFate::kNotAppended ? Outcome::kNotAppended : Outcome::kUnknown;
}

}  // namespace

// --- Actor ---

void Actor::Reconnect() {
  client_.reset();
  auto connected = connect_();
  for (int i = 0; !connected.ok() && i < 1'000; ++i) {
    std::this_thread::yield();
    connected = connect_();
  }
  if (connected.ok()) {
    client_ = *std::move(connected);
  } else {
    Problem("cannot connect: " + connected.status().ToString());
  }
}

bool Actor::ComeBack(const Status& status, const char* what) {
  if (!IsEnd(status)) {
    Problem(std::string(what) + ": " + status.ToString());
    return false;
  }
  if (in_process_) Reconnect();
  if (client_ == nullptr) return false;
  // A client over a socket asks until its daemon is back.
  const Status asked = client_->DescribeChannel("log").status();
  if (!asked.ok()) Problem("does not come back: " + asked.ToString());
  return asked.ok();
}

Status Actor::Append(Attempt attempt) {
  const Buffer batch = Encoded(attempt.payloads);
  attempt.sent = ticks->Next();
  const auto result = client_->Append(attempt.channel, batch, OptionsOf(attempt));
  attempt.answered = ticks->Next();
  const Status status = result.status();
  attempt.outcome = OutcomeOf(status);
  if (result.ok()) attempt.first_id = result->first_id;
  attempt.actual_next_id = status.actual_next_id().value_or(0);
  if (!status.ok() && !IsExpected(status)) Problem("append: " + status.ToString());
  run.history.attempts.push_back(std::move(attempt));
  return status;
}

Status Actor::AppendTogether(Attempt one, Attempt other) {
  std::vector<ChannelAppend> appends;
  for (const Attempt* each : {&one, &other}) {
    appends.push_back({each->channel, Encoded(each->payloads), OptionsOf(*each)});
  }
  one.sent = other.sent = ticks->Next();
  const auto results = client_->AppendMulti(appends);
  one.answered = other.answered = ticks->Next();
  one.outcome = other.outcome = OutcomeOf(results.status());
  if (results.ok()) {
    one.first_id = (*results)[0].first_id;
    other.first_id = (*results)[1].first_id;
  } else if (!IsExpected(results.status())) {
    Problem("append to two: " + results.status().ToString());
  }
  run.history.attempts.push_back(std::move(one));
  run.history.attempts.push_back(std::move(other));
  return results.status();
}

void Actor::AskForEnd(const std::string& channel) {
  LogHistory::End end{.channel = channel, .asked = ticks->Next()};
  const auto info = client_->DescribeChannel(channel);
  end.answered = ticks->Next();
  if (!info.ok()) return;
  end.next_id = info->next_id;
  run.history.ends.push_back(end);
}

// --- Writers ---

void Crowd::WritePlain(Actor& actor) {
  MessageId next = 1;
  for (int i = 0; i < kAppends; ++i) {
    Attempt attempt{.channel = "log"};
    for (uint64_t n = actor.random.Between(1, 3); n > 0; --n) {
      attempt.payloads.push_back(actor.NewPayload());
    }
    Status status;
    if (actor.random.OneIn(4)) {
      attempt.together = ++together_;
      Attempt side{.channel = "side", .payloads = {actor.NewPayload()}};
      side.together = attempt.together;
      status = actor.AppendTogether(attempt, side);
    } else {
      if (actor.random.OneIn(3)) attempt.expected_next_id = next;
      status = actor.Append(attempt);
      const Attempt& done = actor.run.history.attempts.back();
      if (status.ok()) next = done.first_id + static_cast<MessageId>(done.payloads.size());
      if (done.actual_next_id != 0) next = done.actual_next_id;
    }
    if (IsEnd(status) && !actor.ComeBack(status, "append")) return;
    if (actor.random.OneIn(3)) actor.AskForEnd("log");
  }
}

void Crowd::WriteNamed(Actor& actor) {
  for (int i = 0; i < kAppends; ++i) {
    Attempt attempt{.channel = "log", .producer = "named"};
    for (uint64_t n = actor.random.Between(1, 2); n > 0; --n) {
      attempt.payloads.push_back(actor.NewPayload());
    }
    {
      MutexLock lock(mu_);
      named_.batches.push_back(attempt.payloads);
      if (actor.random.OneIn(6)) ++named_.term;
      attempt.sequence = named_.batches.size();
      attempt.term = named_.term;
    }
    while (true) {
      const Status status = actor.Append(attempt);
      if (status.ok()) break;
      if (!actor.ComeBack(status, "append with a name")) return;
    }
  }
}

void Crowd::RepeatNamed(Actor& actor) {
  for (int i = 0; i < kAppends; ++i) {
    Attempt attempt{.channel = "log", .producer = "named"};
    {
      MutexLock lock(mu_);
      const auto count = named_.batches.size();
      if (count > 0) {
        attempt.sequence = count - std::min<uint64_t>(count - 1, actor.random.Below(3));
        attempt.payloads = named_.batches[attempt.sequence - 1];
        attempt.term = named_.term;
      }
    }
    if (attempt.sequence == 0) {
      actor.AskForEnd("log");
      continue;
    }
    const Status status = actor.Append(attempt);
    if (IsEnd(status) && !actor.ComeBack(status, "append again")) return;
  }
}

void Crowd::WriteWithSdk(Actor& actor) {
  int left = 4 * kAppends;
  while (left > 0) {
    const std::string name = "sdk" + std::to_string(++sdk_producers_);
    auto opened = actor.client().OpenProducer(
        "log", {.name = name, .batch_bytes = actor.random.OneIn(2) ? uint64_t{1} : 60});
    if (!opened.ok()) {
      if (!actor.ComeBack(opened.status(), "open a producer")) return;
      continue;
    }
    std::deque<Attempt> attempts;  // whose places stay; each is its callback's until that has run
    while (left-- > 0) {
      Attempt& attempt = attempts.emplace_back(
          Attempt{.channel = "log", .payloads = {actor.NewPayload()}, .producer = name});
      attempt.sequence = attempts.size();
      attempt.sent = actor.ticks->Next();
      const Status sent = (*opened)->Send(
          attempt.payloads.front(), [&attempt, ticks = actor.ticks](const Result<MessageId>& id) {
            attempt.answered = ticks->Next();
            attempt.outcome = OutcomeOf(id.status());
            if (id.ok()) attempt.first_id = *id;
          });
      if (!sent.ok()) {
        attempts.pop_back();
        break;
      }
    }
    Status status = (*opened)->Close();
    opened->reset();
    for (Attempt& attempt : attempts) actor.run.history.attempts.push_back(std::move(attempt));
    if (!status.ok() && !actor.ComeBack(status, "a producer")) return;
  }
}

Status Crowd::SendOwned(Actor& actor, Producer& producer, Attempt attempt) {
  attempt.sent = actor.ticks->Next();
  const Result<MessageId> id = producer.Send(Message{attempt.payloads.front(), {}}).get();
  attempt.answered = actor.ticks->Next();
  attempt.outcome = OutcomeOf(id.status());
  if (id.ok()) attempt.first_id = *id;
  actor.run.history.attempts.push_back(std::move(attempt));
  return id.status();
}

void Crowd::Own(Actor& actor) {
  for (int i = 0; i < 3; ++i) {
    const int64_t term = ++owner_term_;
    // As the checker sees it, each holding is a producer of its own.
    LogHistory::Hold hold{.channel = "owned", .producer = actor.name + "@" + std::to_string(term)};
    hold.term = term;
    hold.asked = actor.ticks->Next();
    auto opened =
        actor.client().OpenProducer("owned", {.name = actor.name, .term = term, .exclusive = true});
    Status status = opened.status();
    if (opened.ok()) {
      hold.opened = actor.ticks->Next();
      for (uint64_t n = 1; n <= 5 && status.ok(); ++n) {
        status = SendOwned(actor, **opened,
                           {.channel = "owned",
                            .payloads = {actor.NewPayload()},
                            .producer = hold.producer,
                            .term = term,
                            .sequence = n});
      }
      if (!actor.random.OneIn(3)) {
        hold.closing = actor.ticks->Next();
        const Status closed = (*opened)->Close();
        if (status.ok()) status = closed;
      }
      opened->reset();
    }
    // Also of one that was refused: it may have been let in when its answer was lost.
    actor.run.history.holds.push_back(hold);
    if (status.ok() || status.reason() == Reason::FENCED) continue;
    if (!actor.ComeBack(status, "own")) return;
  }
}

void Crowd::Intrude(Actor& actor) {
  for (int i = 0; i < kAppends; ++i) {
    const Status status = actor.Append({.channel = "owned", .payloads = {actor.NewPayload()}});
    if (IsEnd(status) && !actor.ComeBack(status, "intrude")) return;
    if (actor.random.OneIn(3)) actor.AskForEnd("owned");
  }
}

bool Crowd::GiveUp(Actor& actor, const char* what) const {
  if (std::chrono::steady_clock::now() < give_up_) return false;
  actor.Problem(std::string(what) + " does not come to its end");
  return true;
}

// --- The run ---

namespace {

class Run {
 public:
  Run(Transport transport, uint64_t seed)
      : transport_(transport),
        random_(seed),
        place_(transport, transport == Transport::kInMemory
                              ? Strings()
                              : Strings{"limits.maxFileStore=1GB", "limits.writeBuffer=4MiB"}) {
    for (const char* channel : {"log", "side", "owned"}) Create(place_.client(), channel);
  }

  ConcurrentRun Go() {
    const bool under_them = transport_ == Transport::kUnix || transport_ == Transport::kInMemory;
    Round(under_them && !random_.OneIn(4));
    if (!under_them || random_.OneIn(3)) {
      place_.Restart();
      Round(false);
    }
    for (const char* channel : {"log", "side", "owned"}) ReadLog(channel);
    return std::move(run_);
  }

 private:
  using Part = void (Crowd::*)(Actor& actor);

  std::unique_ptr<Actor> NewActor(const std::string& name) {
    const bool remote = transport_ == Transport::kUnix || transport_ == Transport::kTcp;
    Actor::Connecting connect = [this] { return place_.TryNewClient(); };
    // The place's own words are for one thread; a socket's name is the same for all its lives.
    if (remote) connect = [address = place_.address()] { return Connect(address); };
    return std::make_unique<Actor>(random_.Below(UINT64_MAX), name, &ticks_, connect, !remote);
  }

  void Round(bool restart) {
    ++round_;
    crowd_.ForgetEnd();
    const std::string suffix = "-" + std::to_string(round_);
    const std::vector<std::pair<const char*, Part>> writers = {
        {"w1", &Crowd::WritePlain}, {"w2", &Crowd::WritePlain},    {"n", &Crowd::WriteNamed},
        {"r", &Crowd::RepeatNamed}, {"sdk", &Crowd::WriteWithSdk}, {"o1", &Crowd::Own},
        {"o2", &Crowd::Own},        {"intruder", &Crowd::Intrude}};
    const std::vector<std::pair<const char*, Part>> readers = {{"all", &Crowd::ReadAll},
                                                               {"some", &Crowd::ReadHereAndThere},
                                                               {"fetch", &Crowd::FetchAll},
                                                               {"c1", &Crowd::ConsumeInTurns},
                                                               {"c2", &Crowd::ConsumeInTurns}};
    std::vector<std::unique_ptr<Actor>> actors;
    std::vector<std::thread> writing;
    std::vector<std::thread> reading;
    const auto start = [&](const auto& parts, std::vector<std::thread>* threads) {
      for (const auto& [name, part] : parts) {
        actors.push_back(NewActor(name + suffix));
        threads->emplace_back([this, part = part, actor = actors.back().get()] {
          (crowd_.*part)(*actor);
          finished_.fetch_add(1);
        });
      }
    };
    finished_.store(0);
    const uint64_t from = ticks_.Next();
    start(readers, &reading);
    start(writers, &writing);
    if (restart) {
      const uint64_t until = from + 20 + random_.Below(150);
      while (ticks_.Next() < until && finished_.load() < static_cast<int>(writers.size())) {
        std::this_thread::yield();
      }
      place_.Restart();
    }
    for (std::thread& thread : writing) thread.join();
    crowd_.SetEnd(Get(place_.client().DescribeChannel("log")).next_id);
    for (std::thread& thread : reading) thread.join();
    for (const auto& actor : actors) {
      run_.history.Add(actor->run.history);
      run_.problems.insert(run_.problems.end(), actor->run.problems.begin(),
                           actor->run.problems.end());
    }
    FinishSubscription(suffix);
  }

  // What nobody had received comes to the next one.
  void FinishSubscription(const std::string& suffix) {
    auto consumer = Consume(place_.client(), "log", "s");
    LogHistory::Reading reading{.reader = "last" + suffix, .channel = "log", .subscription = "s"};
    while (consumer->position() < consumer->end_at_open()) {
      const Received received = Get(consumer->Receive(kSoon));
      reading.got.push_back(
          {received.message().id, std::string(received.message().payload), ticks_.Next()});
    }
    run_.history.readings.push_back(reading);
  }

  void ReadLog(const std::string& channel) {
    auto reader = Read(place_.client(), channel);
    auto& log = run_.history.log[channel];
    while (reader->position() < reader->end_at_open()) {
      const Received received = Get(reader->Receive(kSoon));
      if (received.is_gap()) {
        run_.problems.push_back(channel + " has a gap: " + Describe(received));
        return;
      }
      log.push_back(
          {received.message().id, std::string(received.message().payload), ticks_.Next()});
    }
  }

  const Transport transport_;
  Random random_;
  Place place_;
  Ticks ticks_;
  Crowd crowd_;
  int round_ = 0;
  std::atomic<int> finished_{0};
  ConcurrentRun run_;
};

}  // namespace

ConcurrentRun RunConcurrently(Transport transport, uint64_t seed) {
  return Run(transport, seed).Go();
}

}  // namespace strata::testing
