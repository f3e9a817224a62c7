#include "tests/broker/history.h"

#include <algorithm>

#include "broker/reader.h"

namespace strata::testing {
namespace {

using broker::Reader;

// A store whose syncs come later than it says, or never.
class LyingStore final : public GatedStore {
 public:
  LyingStore(std::shared_ptr<MemoryStore> disk, bool ever)
      : GatedStore(std::move(disk)), ever_(ever), thread_([this] { SyncLater(); }) {}
  ~LyingStore() override { Stop(); }

  Status Sync() override {
    MutexLock lock(mu_);
    wanted_ = true;
    changed_.NotifyAll();
    return Status::Ok();
  }
  Status Close() override {
    Stop();
    return GatedStore::Close();
  }

 private:
  void SyncLater() {
    MutexLock lock(mu_);
    while (!stop_) {
      if (!wanted_ || !ever_) {
        changed_.Wait(mu_);
        continue;
      }
      wanted_ = false;
      lock.Unlock();
      (void)GatedStore::Sync();
      lock.Lock();
    }
  }
  void Stop() {
    {
      MutexLock lock(mu_);
      stop_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

  const bool ever_;
  Mutex mu_;
  CondVar changed_;
  bool wanted_ STRATA_GUARDED_BY(mu_) = false;
  bool stop_ STRATA_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// How many appends one thread has in flight.
class Window {
 public:
  void Enter() {
    MutexLock lock(mu_);
    ++in_flight_;
  }
  void Leave() {
    MutexLock lock(mu_);
    --in_flight_;
    changed_.NotifyAll();
  }
  void AwaitAtMost(int in_flight) {
    MutexLock lock(mu_);
    while (in_flight_ > in_flight) changed_.Wait(mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int in_flight_ STRATA_GUARDED_BY(mu_) = 0;
};

std::string ChannelName(int channel) { return "channel" + std::to_string(channel); }
std::string ProducerName(int producer) { return "p" + std::to_string(producer); }

broker::BrokerOptions RandomOptions(Random* random) {
  broker::BrokerOptions options;
  const uint64_t group_bytes[] = {1, 200, 1u << 20};
  options.group_bytes = group_bytes[random->Below(3)];
  options.tail_cache = random->OneIn(2) ? 2'000 : 1u << 20;
  return options;
}

void YieldTimes(uint64_t times) {
  for (uint64_t i = 0; i < times; ++i) std::this_thread::yield();
}

}  // namespace

History::History(uint64_t seed, StoreKind kind) : seed_(seed), random_(seed) {
  std::unique_ptr<GatedStore> store;
  if (kind == StoreKind::kHonest) {
    store = std::make_unique<GatedStore>(disk_);
  } else {
    store = std::make_unique<LyingStore>(disk_, kind == StoreKind::kSyncsLate);
  }
  broker_ = std::make_unique<TestBroker>(RandomOptions(&random_), disk_, std::move(store),
                                         disk_->Recover());
  for (int c = 0; c < kChannels; ++c) (void)broker_->Create(ChannelName(c));
}

History::~History() { StopThreads(); }

broker::AppendCallback History::Note(LogHistory::Attempt attempt) {
  MutexLock lock(witness_->mu);
  attempt.sent = ticks_->Next();
  const size_t index = witness_->history.attempts.size();
  witness_->history.attempts.push_back(std::move(attempt));
  return [witness = witness_, ticks = ticks_, index](const Result<AppendResult>& answer) {
    const uint64_t answered = ticks->Next();
    MutexLock answer_lock(witness->mu);
    LogHistory::Attempt& sent = witness->history.attempts[index];
    sent.answered = answered;
    if (answer.ok()) {
      sent.outcome = LogHistory::Attempt::Outcome::kAcknowledged;
      sent.first_id = answer->first_id;
    } else {
      witness->wrong.push_back(answer.status().ToString());
    }
  };
}

void History::Append(int appender) {
  Random random(seed_ * 100 + static_cast<uint64_t>(appender));
  Window window;
  for (uint64_t n = 0; !stop_.load();) {
    LogHistory::Attempt attempt{.channel = ChannelName(static_cast<int>(random.Below(kChannels))),
                                .sender = std::to_string(appender)};
    attempt.turn = n;
    for (uint64_t i = random.Between(1, 3); i > 0; --i) {
      attempt.payloads.push_back(attempt.sender + ":" + std::to_string(n++));
    }
    const std::string channel = attempt.channel;
    const Buffer batch = BatchOf(attempt.payloads);
    const broker::AppendCallback answered = Note(std::move(attempt));
    if (random.OneIn(2)) {
      answered((*broker_)->Append({channel, batch, 0}));
      continue;
    }
    window.Enter();
    (*broker_)->AppendAsync({channel, batch, 0}, [&, answered](const Result<AppendResult>& answer) {
      answered(answer);
      window.Leave();
    });
    window.AwaitAtMost(20);
  }
  window.AwaitAtMost(0);
}

void History::Produce(int producer) {
  Random random(seed_ * 100 + 50 + static_cast<uint64_t>(producer));
  LogHistory::Attempt attempt{.channel = ChannelName(producer % kChannels),
                              .producer = ProducerName(producer)};
  const auto opened =
      (*broker_)->OpenProducer({.channel = attempt.channel, .producer = attempt.producer});
  if (!opened.ok()) return;
  Window window;
  int n = 0;
  while (!stop_.load()) {
    ++attempt.sequence;
    attempt.payloads.clear();
    for (uint64_t i = random.Between(1, 3); i > 0; --i) {
      attempt.payloads.push_back(attempt.producer + ":" + std::to_string(n++));
    }
    {
      MutexLock lock(witness_->mu);
      witness_->produced[producer].push_back(attempt.payloads);
    }
    const broker::AppendRequest request{.batch = BatchOf(attempt.payloads),
                                        .sequence = attempt.sequence,
                                        .session = opened->session};
    for (int times = random.OneIn(4) ? 2 : 1; times > 0; --times) {
      window.Enter();
      (*broker_)->AppendAsync(request, [&, answered = Note(attempt)](const auto& answer) {
        answered(answer);
        window.Leave();
      });
    }
    window.AwaitAtMost(20);
  }
  window.AwaitAtMost(0);
}

void History::Resend(TestBroker* broker, const std::map<int, Sent>& produced) {
  for (const auto& [producer, sent] : produced) {
    LogHistory::Attempt attempt{.channel = ChannelName(producer % kChannels),
                                .producer = ProducerName(producer)};
    const auto opened =
        (*broker)->OpenProducer({.channel = attempt.channel, .producer = attempt.producer});
    if (!opened.ok()) {
      MutexLock lock(witness_->mu);
      witness_->wrong.push_back(opened.status().ToString());
      continue;
    }
    const uint64_t known = opened->last_sequence;
    for (uint64_t sequence = known - std::min<uint64_t>(known, 3) + 1; sequence <= sent.size();
         ++sequence) {
      attempt.sequence = sequence;
      attempt.payloads = sent[sequence - 1];
      const broker::AppendCallback answered = Note(attempt);
      answered((*broker)->Append(
          {.batch = BatchOf(attempt.payloads), .sequence = sequence, .session = opened->session}));
    }
  }
}

void History::Follow(int channel) {
  const std::string name = ChannelName(channel);
  const auto reader = (*broker_)->OpenReader(name, StartPosition::Earliest());
  if (!reader.ok()) return;
  size_t index = 0;
  {
    MutexLock lock(witness_->mu);
    index = witness_->history.readings.size();
    witness_->history.readings.push_back({.reader = "a reader", .channel = name, .from = 1});
  }
  int rings = 0;
  while (!stop_.load()) {
    const Reader::Item item = (*reader)->Next();
    for (const std::string& line : ToLines(item)) {
      const size_t space = line.find(' ');
      const MessageId id = std::atoll(line.c_str());
      const uint64_t at = ticks_->Next();
      MutexLock lock(witness_->mu);
      if (id == 0 || space == std::string::npos) {
        witness_->wrong.push_back("a reader of " + name + " got: " + line);
      } else {
        witness_->history.readings[index].got.push_back({id, line.substr(space + 1), at});
      }
    }
    if (std::holds_alternative<Status>(item)) return;
    if (!std::holds_alternative<Reader::AtEnd>(item)) continue;
    if ((*reader)->WakeWhenReady(bells_[channel].Ringer()) && !bells_[channel].Await(++rings)) {
      MutexLock lock(witness_->mu);
      witness_->wrong.push_back("a reader of " + name + " was not woken");
    }
  }
}

void History::Stall() {
  Random random(seed_ * 100 + 99);
  while (!stop_stalling_.load()) {
    random.OneIn(2) ? disk_->HoldSyncs() : disk_->HoldWrites();
    YieldTimes(random.Below(50));
    disk_->ReleaseSyncs();
    disk_->ReleaseWrites();
    YieldTimes(random.Below(50));
  }
}

void History::Run() {
  for (int a = 0; a < kAppenders; ++a) threads_.emplace_back([this, a] { Append(a); });
  for (int p = 0; p < kProducers; ++p) threads_.emplace_back([this, p] { Produce(p); });
  for (int c = 0; c < kChannels; ++c) threads_.emplace_back([this, c] { Follow(c); });
  staller_ = std::thread([this] { Stall(); });
  const size_t groups = disk_->groups() + random_.Between(3, 60);
  (void)Eventually([&] { return disk_->groups() >= groups; });
}

void History::StopStalling() {
  stop_stalling_.store(true);
  if (staller_.joinable()) staller_.join();
}

void History::StopThreads() {
  StopStalling();
  stop_.store(true);
  disk_->ReleaseSyncs();
  disk_->ReleaseWrites();
  for (Bell& bell : bells_) bell.Ringer()();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

size_t History::acknowledged() const {
  MutexLock lock(witness_->mu);
  size_t count = 0;
  for (const LogHistory::Attempt& attempt : witness_->history.attempts) {
    if (attempt.outcome == LogHistory::Attempt::Outcome::kAcknowledged) ++count;
  }
  return count;
}

Lines History::CutPowerAndCheck() {
  // With all syncs stopped nobody is to be answered any more; whoever is, is found out below.
  StopStalling();
  if (random_.OneIn(2)) {
    disk_->HoldSyncs();
    const size_t before = acknowledged();
    for (int i = 0; i < 200 && acknowledged() < before + 30; ++i) std::this_thread::yield();
  }
  std::map<int, Sent> produced;
  uint64_t cut = 0;
  Lines wrong;
  {
    MutexLock lock(witness_->mu);
    produced = witness_->produced;
    cut = ticks_->Next();
    wrong = witness_->wrong;
  }
  // What is answered between the two is not asked for.
  std::shared_ptr<MemoryStore> remains = disk_->Reopen(random_.OneIn(2) ? 0 : random_.Below(4));
  StopThreads();
  {
    MutexLock lock(witness_->mu);
    witness_->history.ForgetAnswersAfter(cut);
    witness_->wrong = wrong;
  }
  TestBroker after(RandomOptions(&random_), std::move(remains));
  Resend(&after, produced);
  MutexLock lock(witness_->mu);
  wrong = witness_->wrong;
  const Lines broken = Check(&after, witness_->history);
  wrong.insert(wrong.end(), broken.begin(), broken.end());
  return wrong;
}

Lines History::FinishAndCheck() {
  StopThreads();
  MutexLock lock(witness_->mu);
  Lines wrong = witness_->wrong;
  const Lines broken = Check(broker_.get(), witness_->history);
  wrong.insert(wrong.end(), broken.begin(), broken.end());
  return wrong;
}

Lines History::Check(TestBroker* broker, LogHistory history) {
  Lines wrong;
  for (int c = 0; c < kChannels; ++c) {
    const std::string channel = ChannelName(c);
    auto& log = history.log[channel];
    const auto reader = (*broker)->OpenReader(channel, StartPosition::Earliest());
    if (!reader.ok()) return {channel + ": " + reader.status().ToString()};
    for (const std::string& line : ReadToEnd(reader->get())) {
      const size_t space = line.find(' ');
      log.push_back({std::atoll(line.c_str()), line.substr(space + 1), 0});
    }
    const Result<AppendResult> next = broker->Append(channel, {"next"});
    if (!next.ok() || next->first_id != static_cast<MessageId>(log.size()) + 1) {
      wrong.push_back(channel + ": the next append does not get the next id");
    }
  }
  for (const std::string& line : CheckHistory(history)) wrong.push_back(line);
  for (const std::string& breach : broker->disk().breaches()) wrong.push_back(breach);
  return wrong;
}

}  // namespace strata::testing
