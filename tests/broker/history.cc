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

void History::Acknowledged(const std::string& channel, const std::vector<std::string>& payloads,
                           MessageId floor, const Result<AppendResult>& answer) {
  MutexLock lock(witness_->mu);
  if (!answer.ok()) {
    witness_->wrong.push_back(answer.status().ToString());
    return;
  }
  if (answer->first_id <= floor) {
    witness_->wrong.push_back("id " + std::to_string(answer->first_id) + " of " + channel +
                              " was sent after id " + std::to_string(floor) +
                              " had been acknowledged");
  }
  MessageId id = answer->first_id;
  for (const std::string& payload : payloads) witness_->acknowledged[{channel, id++}] = payload;
}

void History::Append(int appender) {
  Random random(seed_ * 100 + static_cast<uint64_t>(appender));
  Window window;
  for (int n = 0; !stop_.load();) {
    const int index = static_cast<int>(random.Below(kChannels));
    const std::string channel = ChannelName(index);
    std::vector<std::string> payloads;
    for (uint64_t i = random.Between(1, 3); i > 0; --i) {
      payloads.push_back(std::to_string(appender) + ":" + std::to_string(n++));
    }
    const MessageId floor = highest_[index].load();
    const auto answered = [=, this](const Result<AppendResult>& answer) {
      Acknowledged(channel, payloads, floor, answer);
      MessageId known = highest_[index].load();
      while (answer.ok() && known < answer->first_id &&
             !highest_[index].compare_exchange_weak(known, answer->first_id)) {
      }
    };
    const Buffer batch = BatchOf(payloads);
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

void History::Follow(int channel) {
  const std::string name = ChannelName(channel);
  const auto reader = (*broker_)->OpenReader(name, StartPosition::Earliest());
  if (!reader.ok()) return;
  int rings = 0;
  while (!stop_.load()) {
    const Reader::Item item = (*reader)->Next();
    for (const std::string& line : ToLines(item)) {
      const size_t space = line.find(' ');
      const MessageId id = std::atoll(line.c_str());
      MutexLock lock(witness_->mu);
      if (id == 0 || space == std::string::npos) {
        witness_->wrong.push_back("a reader of " + name + " got: " + line);
      } else {
        witness_->seen[{name, id}] = line.substr(space + 1);
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
  return witness_->acknowledged.size();
}

Lines History::CutPowerAndCheck() {
  // With all syncs stopped nobody is to be answered any more; whoever is, is found out below.
  StopStalling();
  if (random_.OneIn(2)) {
    disk_->HoldSyncs();
    const size_t before = acknowledged();
    for (int i = 0; i < 200 && acknowledged() < before + 30; ++i) std::this_thread::yield();
  }
  Messages acknowledged;
  Messages seen;
  Lines wrong;
  {
    MutexLock lock(witness_->mu);
    acknowledged = witness_->acknowledged;
    seen = witness_->seen;
    wrong = witness_->wrong;
  }
  // What is acknowledged between the two is not asked for.
  std::shared_ptr<MemoryStore> remains = disk_->Reopen(random_.OneIn(2) ? 0 : random_.Below(4));
  StopThreads();
  TestBroker after(RandomOptions(&random_), std::move(remains));
  const Lines broken = Check(&after, acknowledged, seen);
  wrong.insert(wrong.end(), broken.begin(), broken.end());
  return wrong;
}

Lines History::FinishAndCheck() {
  StopThreads();
  MutexLock lock(witness_->mu);
  Lines wrong = witness_->wrong;
  // Everything is acknowledged by now, so nothing else may be there.
  MessageId stored = 0;
  for (int c = 0; c < kChannels; ++c) stored += broker_->NextId(ChannelName(c)) - 1;
  if (stored != static_cast<MessageId>(witness_->acknowledged.size())) {
    wrong.push_back(std::to_string(stored) + " messages are stored, " +
                    std::to_string(witness_->acknowledged.size()) + " were acknowledged");
  }
  const Lines broken = Check(broker_.get(), witness_->acknowledged, witness_->seen);
  wrong.insert(wrong.end(), broken.begin(), broken.end());
  return wrong;
}

Lines History::CheckChannel(TestBroker* broker, const std::string& channel, Messages* found) {
  Lines wrong;
  const auto reader = (*broker)->OpenReader(channel, StartPosition::Earliest());
  if (!reader.ok()) return {channel + ": " + reader.status().ToString()};
  MessageId expected = 1;
  std::map<std::string, int> last_of;  // per appender
  for (const std::string& line : ReadToEnd(reader->get())) {
    const size_t space = line.find(' ');
    const std::string payload = line.substr(space + 1);
    if (line.substr(0, space) != std::to_string(expected)) {
      wrong.push_back(channel + ": instead of id " + std::to_string(expected) + ": " + line);
      return wrong;
    }
    (*found)[{channel, expected++}] = payload;
    const std::string appender = payload.substr(0, payload.find(':'));
    const int n = std::atoi(payload.substr(payload.find(':') + 1).c_str());
    const auto [it, first] = last_of.try_emplace(appender, n);
    if (!first && it->second >= n) {
      wrong.push_back(channel + ": " + payload + " after " + std::to_string(it->second));
    }
    it->second = n;
  }
  const Result<AppendResult> next = broker->Append(channel, {"next"});
  if (!next.ok() || next->first_id != expected) {
    wrong.push_back(channel + ": the next append does not get id " + std::to_string(expected));
  }
  (*found)[{channel, expected}] = "next";
  return wrong;
}

Lines History::Check(TestBroker* broker, const Messages& acknowledged, const Messages& seen) {
  Messages found;
  Lines wrong;
  const auto note_missing = [&](const Messages& wanted, const std::string& how) {
    for (const auto& [key, payload] : wanted) {
      const auto it = found.find(key);
      if (it != found.end() && it->second == payload) continue;
      wrong.push_back(key.first + " " + std::to_string(key.second) + " (" + payload + ") was " +
                      how + " and is " + (it == found.end() ? "gone" : "'" + it->second + "'"));
    }
  };
  for (int c = 0; c < kChannels; ++c) {
    const Lines broken = CheckChannel(broker, ChannelName(c), &found);
    wrong.insert(wrong.end(), broken.begin(), broken.end());
  }
  note_missing(acknowledged, "acknowledged");
  note_missing(seen, "seen by a reader");
  for (const std::string& breach : broker->disk().breaches()) wrong.push_back(breach);
  return wrong;
}

}  // namespace strata::testing
