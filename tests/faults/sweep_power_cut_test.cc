// The promise while space is given back: retention, truncation, deletion, rewriting and sealing run beside appends,
// the power goes at any instant, and afterwards only that is missing which was allowed to go. And the proof that these
// tests can fail: with strata dropped before it is durable that nobody needs them, they do.
#include <fmt/format.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <random>
#include <thread>

#include "tests/faults/ledger.h"
#include "tests/faults/scene.h"
#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"

namespace strata::testing {
namespace {

constexpr uint64_t kPage = 4u << 10;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::vector<ChannelPlan> Plans() {
  const auto limits = [](RetentionPolicy policy, int64_t bytes) {
    RetentionOverrides retention;
    retention.policy = policy;
    if (bytes >= 0) retention.retention_size = bytes;
    return retention;
  };
  return {{"acked", limits(RetentionPolicy::kAcked, 0), {"fast", "slow"}},
          {"limits", limits(RetentionPolicy::kLimits, 5 * kPage), {}},
          {"emptied", limits(RetentionPolicy::kAcked, 0), {"fast"}},
          {"truncated", limits(RetentionPolicy::kTruncated, -1), {}},
          {"phoenix", limits(RetentionPolicy::kLimits, 2 * kPage), {}}};
}

// What a test changes about the machine below the broker.
struct Machine {
  std::function<std::unique_ptr<storage::LogStore>(std::unique_ptr<storage::LogStore>,
                                                   FaultFileSystem*)>
      wrap = nullptr;
  std::function<std::shared_ptr<rocksdb::FileSystem>(std::shared_ptr<FaultFileSystem>)> disk =
      nullptr;
};

class SweepHistory {
 public:
  SweepHistory(uint64_t seed, Machine machine)
      : random_(seed), seed_(seed), machine_(std::move(machine)), ledger_(Plans()) {}

  // Until the power goes, and what was broken then.
  std::vector<std::string> Run();
  size_t promised() const { return ledger_.acknowledged(); }
  const retention::SweeperCounters& swept() const { return swept_; }

 private:
  Result<std::unique_ptr<broker::Broker>> Open(bool threads, const Logger& log);
  bool Create(size_t plan);
  void Append(uint64_t seed);
  void Administrate(uint64_t seed);
  void Consume(uint64_t seed);
  void ReadAlong(size_t plan);
  void Truncate(size_t plan, uint64_t random);
  void Recreate(size_t plan);
  void CheckAfterwards(std::vector<std::string>* violations);
  // False once the power has gone.
  bool Note(const Status& status);

  std::mt19937_64 random_;
  const uint64_t seed_;
  const Machine machine_;
  Scene scene_;
  Ledger ledger_;
  std::unique_ptr<broker::Broker> broker_;
  std::atomic<bool> over_{false};
  retention::SweeperCounters swept_;
};

Result<std::unique_ptr<broker::Broker>> SweepHistory::Open(bool threads, const Logger& log) {
  storage::StoreOptions store = scene_.store_options();
  store.page_size = kPage;
  store.write_buffer = 64u << 10;
  store.log = log;
  if (machine_.disk) store.file_system = machine_.disk(scene_.disk());
  STRATA_ASSIGN_OR_RETURN(auto opened, storage::Store::Open(store));
  storage::Recovered recovered = opened->TakeRecovered();
  std::unique_ptr<storage::LogStore> log_store = std::move(opened);
  if (machine_.wrap && threads)
    log_store = machine_.wrap(std::move(log_store), scene_.disk().get());
  broker::BrokerOptions options;
  options.tail_cache = 16u << 10;
  options.group_bytes = 8u << 10;
  options.log = log;
  options.sweeper.threads = threads;
  options.sweeper.interval = std::chrono::milliseconds(5);
  // Every sealed stratum is due at once.
  options.sweeper.compaction_interval = std::chrono::seconds(0);
  options.sweeper.rewrite_rate = 0;
  options.sweeper.page_size = kPage;
  return std::make_unique<broker::Broker>(options, std::move(log_store), std::move(recovered));
}

bool SweepHistory::Create(size_t plan) {
  const ChannelPlan& wanted = ledger_.plans()[plan];
  ChannelOptions options;
  options.retention = wanted.retention;
  ledger_.CreationAsked(plan);
  const Result<ChannelInfo> created = broker_->CreateChannel(wanted.name, options);
  if (!created.ok()) return Note(created.status());
  for (const std::string& subscription : wanted.subscriptions) {
    const auto made = broker_->CreateSubscription(wanted.name, subscription, {});
    if (!made.ok()) return Note(made.status());
  }
  ledger_.Created(plan, created->number);
  return true;
}

bool SweepHistory::Note(const Status& status) {
  if (status.reason() == Reason::STORE_FAILED || status.reason() == Reason::SHUTTING_DOWN)
    over_ = true;
  return !over_;
}

void SweepHistory::Append(uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 150 && !over_; ++i) {
    const size_t plan = random() % ledger_.plans().size();
    const ChannelNumber number = ledger_.Current(plan);
    if (number == 0) continue;
    std::vector<size_t> sizes(1 + random() % 4);
    for (size_t& size : sizes) size = random() % (random() % 8 == 0 ? 6000 : 400);
    const SentBatch sent = ledger_.Sending(number, sizes);
    const auto result = broker_->Append({ledger_.plans()[plan].name, sent.Encoded(), number});
    ledger_.Answered(sent, result.status(), result.ok() ? result->first_id : 0);
    Note(result.status());
  }
}

void SweepHistory::Truncate(size_t plan, uint64_t random) {
  const std::string& name = ledger_.plans()[plan].name;
  const Result<ChannelInfo> before = broker_->DescribeChannel(name);
  if (!before.ok() || before->next_id == before->first_available) return;
  const MessageId through =
      before->first_available +
      static_cast<MessageId>(random %
                             static_cast<uint64_t>(before->next_id - before->first_available));
  ledger_.TruncationAsked(before->number, through);
  const Result<ChannelInfo> after = broker_->TruncateChannel(name, through);
  if (after.ok() && after->number == before->number) ledger_.Truncated(before->number, through);
  Note(after.status());
}

void SweepHistory::Recreate(size_t plan) {
  const ChannelNumber number = ledger_.Current(plan);
  ledger_.DeletionAsked(number);
  const Status deleted = broker_->DeleteChannel(ledger_.plans()[plan].name);
  if (!Note(deleted) || !deleted.ok()) return;
  ledger_.Deleted(number);
  Create(plan);
}

void SweepHistory::Administrate(uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!over_) {
    switch (random() % 8) {
      case 0:
        Truncate(random() % (ledger_.plans().size() - 1), random());
        break;
      case 1:
        if (random() % 4 == 0) Recreate(ledger_.plans().size() - 1);
        break;
      case 2:
        (void)broker_->StartCompaction();  // seals, too
        break;
      default:
        Note(broker_->Sweep());
        break;
    }
    std::this_thread::yield();
  }
}

void SweepHistory::Consume(uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!over_) {
    const size_t plan = random() % 2 == 0 ? 0 : 2;
    const ChannelPlan& wanted = ledger_.plans()[plan];
    const std::string& name = wanted.subscriptions[random() % wanted.subscriptions.size()];
    const auto info = broker_->DescribeSubscription(wanted.name, name);
    if (!info.ok()) break;
    if (random() % 16 == 0) {
      ledger_.SeekAsked(ledger_.Current(plan), name, info->cursor / 2);
      const auto sought =
          broker_->SeekSubscription(wanted.name, name, StartPosition::At(info->cursor / 2));
      if (Note(sought.status()) && sought.ok())
        ledger_.Sought(ledger_.Current(plan), name, sought->cursor);
      continue;
    }
    const MessageId next = broker_->DescribeChannel(wanted.name)->next_id;
    if (info->cursor >= next) continue;
    const MessageId through =
        plan == 2
            ? next - 1  // all there is: the channel runs empty
            : info->cursor +
                  static_cast<MessageId>(random() % static_cast<uint64_t>(next - info->cursor));
    ledger_.AckAsked(ledger_.Current(plan), name, through);
    const Status acked = broker_->Acknowledge(wanted.name, name, through);
    if (Note(acked) && acked.ok()) ledger_.Acked(ledger_.Current(plan), name, through);
  }
}

// Everything that a reader is shown is durable, in order, and a hole in it is retention's.
void SweepHistory::ReadAlong(size_t plan) {
  const std::string& name = ledger_.plans()[plan].name;
  auto reader = broker_->OpenReader(name, StartPosition::Earliest());
  MessageId next = 0;
  while (reader.ok() && !over_) {
    const broker::Reader::Item item = (*reader)->Next();
    if (std::holds_alternative<Status>(item)) return;
    if (const auto* gap = std::get_if<Gap>(&item)) {
      if (gap->reason != GapReason::kTrimmed)
        ledger_.Violation(fmt::format("{}: a reader met a {} gap over {}..{}", name,
                                      GapReasonName(gap->reason), gap->first, gap->last));
      next = gap->last + 1;
    } else if (const auto* delivery = std::get_if<broker::Delivery>(&item)) {
      if (next != 0 && delivery->first_id() != next)
        ledger_.Violation(fmt::format("{}: a reader jumped to {}", name, delivery->first_id()));
      ledger_.Shown((*reader)->channel().number, delivery->batch);
      next = delivery->batch.next_id();
    } else {
      std::this_thread::yield();
    }
  }
}

std::vector<std::string> SweepHistory::Run() {
  Result<std::unique_ptr<broker::Broker>> opened = Open(/*threads=*/true, Logger());
  if (!opened.ok()) return {"does not open at first: " + opened.status().ToString()};
  broker_ = *std::move(opened);
  for (size_t plan = 0; plan < ledger_.plans().size(); ++plan) {
    if (!Create(plan)) return {"cannot create a channel"};
  }
  scene_.disk()->CutAfterNextWrites(1 + random_() % 2500);
  std::vector<std::thread> appenders;
  for (int i = 0; i < 3; ++i) appenders.emplace_back([this, seed = random_()] { Append(seed); });
  std::vector<std::thread> others;
  others.emplace_back([this, seed = random_()] { Administrate(seed); });
  others.emplace_back([this, seed = random_()] { Consume(seed); });
  others.emplace_back([this] { ReadAlong(1); });
  for (std::thread& thread : appenders) thread.join();
  over_ = true;
  for (std::thread& thread : others) thread.join();
  // A history shorter than its cut ends here instead.
  scene_.disk()->CutAfterNextWrites(0);
  swept_ = broker_->Stats().swept;
  broker_.reset();
  scene_.disk()->PowerCut(seed_);
  std::vector<std::string> violations;
  CheckAfterwards(&violations);
  return violations;
}

void SweepHistory::CheckAfterwards(std::vector<std::string>* violations) {
  // Twice: the second open is after a clean end, and has nothing to complain about.
  for (const bool clean : {false, true}) {
    Mutex mu;
    std::vector<std::string> complaints;
    const Logger log([&](LogLevel level, std::string_view line) {
      MutexLock lock(mu);
      if (level >= LogLevel::kWarning) complaints.emplace_back(line);
    });
    Result<std::unique_ptr<broker::Broker>> broker = Open(/*threads=*/false, log);
    if (!broker.ok()) {
      violations->push_back("does not open: " + broker.status().ToString());
      return;
    }
    for (std::string& each : ledger_.Check(**broker, clean ? Ending::kClean : Ending::kPowerCut))
      violations->push_back(std::move(each));
    const Status swept = (*broker)->Sweep();
    if (!swept.ok()) violations->push_back("does not sweep: " + swept.ToString());
    // Each stratum has a page, but for the one being written: what was left over is gone.
    const storage::StoreStats stats = (*broker)->StoreStats();
    if (stats.strata > stats.pages + 1)
      violations->push_back(fmt::format("{} strata for {} pages", stats.strata, stats.pages));
    if (stats.spares > 12) violations->push_back(fmt::format("{} spares", stats.spares));
    for (std::string& each : ledger_.Check(**broker, Ending::kClean))
      violations->push_back(std::move(each));
    broker->reset();
    MutexLock lock(mu);
    if (!clean || complaints.empty()) continue;
    violations->push_back("the second open complains: " + complaints.front());
  }
}

// --- A machine on which strata go too early -----------------------------------------------------

thread_local bool syncs_are_lies = false;

class LyingFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using rocksdb::FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    if (syncs_are_lies) return rocksdb::IOStatus::OK();
    return FSWritableFileOwnerWrapper::Sync(options, debug);
  }
};

// Syncs of the log do nothing on threads that want it so.
class LyingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  using rocksdb::FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "LyingFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    const rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, file, debug);
    if (status.ok() && path.ends_with(".log"))
      *file = std::make_unique<LyingFile>(std::move(*file));
    return status;
  }
};

// Drops what a group has emptied as soon as it is written, and then the power goes. `covered`: behind the sync that it
// takes.
class EagerStore final : public ForwardingStore {
 public:
  EagerStore(std::shared_ptr<storage::LogStore> to, FaultFileSystem* disk, bool covered)
      : ForwardingStore(std::move(to)), disk_(disk), covered_(covered) {}

  Status Write(const storage::WriteGroup& group) override {
    STRATA_RETURN_IF_ERROR(ForwardingStore::Write(group));
    syncs_are_lies = !covered_;
    const Result<size_t> dropped = DropEmptyStrata();
    syncs_are_lies = false;
    // What a trim empties is durable before it can be dropped.
    const bool empties =
        std::any_of(group.changes.begin(), group.changes.end(), [](const auto& each) {
          return std::holds_alternative<storage::MovePages>(each) ||
                 std::holds_alternative<storage::DropChannel>(each);
        });
    if (empties && dropped.ok() && *dropped > 0) disk_->CutAfterNextWrites(0);
    return dropped.status();
  }

 private:
  FaultFileSystem* const disk_;
  const bool covered_;
};

Machine EagerMachine(bool covered) {
  return {[covered](std::unique_ptr<storage::LogStore> store, FaultFileSystem* disk) {
            return std::make_unique<EagerStore>(std::move(store), disk, covered);
          },
          [](std::shared_ptr<FaultFileSystem> disk) {
            return std::make_shared<LyingFileSystem>(std::move(disk));
          }};
}

// How many of `seeds` histories break the promise.
uint64_t Violating(uint64_t first, uint64_t seeds, const Machine& machine, bool print,
                   size_t* promised, retention::SweeperCounters* swept) {
  uint64_t violating = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    SweepHistory history(seed, machine);
    const std::vector<std::string> violations = history.Run();
    *promised += history.promised();
    swept->trimmed_pages += history.swept().trimmed_pages;
    swept->dropped_strata += history.swept().dropped_strata;
    swept->rewritten_strata += history.swept().rewritten_strata;
    if (violations.empty()) continue;
    ++violating;
    if (!print) return violating;
    fmt::print("seed {} (STRATA_POWER_CUT_FIRST_SEED={} STRATA_POWER_CUT_SEEDS=1):\n", seed, seed);
    for (const std::string& violation : violations) fmt::print("  {}\n", violation);
  }
  return violating;
}

TEST_CASE("only what may go is gone after a power cut while space is given back") {
  const uint64_t first = FromEnvironment("STRATA_POWER_CUT_FIRST_SEED", 1);
  const uint64_t seeds = FromEnvironment("STRATA_POWER_CUT_SEEDS", 200);
  size_t promised = 0;
  retention::SweeperCounters swept;
  const uint64_t violating = Violating(first, seeds, Machine(), true, &promised, &swept);
  fmt::print(
      "power cuts while sweeping: seeds {} to {}, {} promised messages, {} pages trimmed, {} "
      "strata "
      "dropped, {} rewritten, {} seeds with violations\n",
      first, first + seeds - 1, promised, swept.trimmed_pages, swept.dropped_strata,
      swept.rewritten_strata, violating);
  CHECK(violating == 0);
  CHECK(promised >= seeds);
  CHECK(swept.trimmed_pages >= seeds);
  CHECK(swept.dropped_strata >= seeds / 10);
  CHECK(swept.rewritten_strata >= seeds / 10);
}

TEST_CASE("strata that are dropped before a sync covers it make the test fail") {
  size_t promised = 0;
  retention::SweeperCounters swept;
  CHECK(Violating(1, 300, EagerMachine(/*covered=*/false), false, &promised, &swept) > 0);
}

TEST_CASE("strata that are dropped at once, behind a sync, keep the promise") {
  size_t promised = 0;
  retention::SweeperCounters swept;
  CHECK(Violating(1, 30, EagerMachine(/*covered=*/true), true, &promised, &swept) == 0);
}

}  // namespace
}  // namespace strata::testing
