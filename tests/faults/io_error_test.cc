// Every call that the store makes fails once: each kind of call, on each kind of file, the first, the second, ... one,
// while it opens, works, closes and recovers. After each: no crash and no hang; a failed change of the disk stops the
// store, says why in status and log and reaches the disk no more; a failed read stops nothing and shows nothing wrong;
// and the next open has every promise kept.
//
//   STRATA_IO_ERRORS       errors injected at as many distinct calls, default 120
//   STRATA_IO_ERROR_SEED   of the histories, default 1
//   STRATA_IO_ERROR_SITE   only this one, as a violation names it ("working: read of .sst, number 9")
//
// A call site, as counted here: when (opening, working, closing, recovering), what (the call), on what kind of file,
// and the how-manyth such call of that phase. The stacks of the calls that failed are counted, too.
#include <execinfo.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>
#include <tuple>

#include "tests/faults/lives.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

enum class Phase { kOpening, kWorking, kClosing, kRecovering };
const char* const kPhases[] = {"opening", "working", "closing", "recovering"};

struct OpName {
  Op op;
  const char* name;
};
const OpName kOps[] = {
    {kAppend, "append"},    {kOverwrite, "overwrite"}, {kTruncate, "truncate"}, {kSync, "sync"},
    {kDirSync, "sync dir"}, {kCreate, "create"},       {kRename, "rename"},     {kDelete, "delete"},
    {kOpen, "open"},        {kRead, "read"},           {kLook, "look"}};

// What a path contains, most telling first; the last one is in every path.
const char* const kFileKinds[] = {".log",    ".sst",      ".body",  "MANIFEST", "CURRENT",
                                  "OPTIONS", "WATERMARK", "STRATA", "LOCK",     "IDENTITY",
                                  "dbtmp",   "trash",     "/db/",   "/strata/", "/"};

size_t KindOf(const std::string& path) {
  size_t kind = 0;
  while (path.find(kFileKinds[kind]) == std::string::npos) ++kind;
  return kind;
}

struct Site {
  Phase phase = Phase::kOpening;
  Op op = kAppend;
  size_t kind = 0;
  uint64_t nth = 0;

  auto operator<=>(const Site&) const = default;
  std::string ToString() const {
    const auto* op_name =
        std::find_if(std::begin(kOps), std::end(kOps), [&](const auto& o) { return o.op == op; });
    return fmt::format("{}: {} of {}, number {}", kPhases[static_cast<int>(phase)], op_name->name,
                       kFileKinds[kind], nth + 1);
  }
};

// Watches the calls of the current phase: how many there are of each, and what the one that failed was.
class Watch {
 public:
  explicit Watch(FaultFileSystem* disk) : disk_(disk) {
    disk_->SetEventCallback([this](const Event& event) { Note(event); });
  }
  ~Watch() { disk_->SetEventCallback(nullptr); }

  void Begin(Phase phase) {
    MutexLock lock(mu_);
    phase_ = phase;
  }
  std::map<Site, uint64_t> counts() const {  // with nth = 0
    MutexLock lock(mu_);
    return counts_;
  }
  size_t stack() const {  // of the first call that failed; 0: none
    MutexLock lock(mu_);
    return stack_;
  }

 private:
  void Note(const Event& event) {
    if (!event.done) return;
    const bool failed = FaultFileSystem::IsInjected(event.status);
    MutexLock lock(mu_);
    ++counts_[{phase_, event.op, KindOf(event.path), 0}];
    if (!failed || stack_ != 0) return;
    void* frames[64];
    const int depth = backtrace(frames, 64);
    stack_ = event.op;
    for (int i = 0; i < depth; ++i)
      stack_ = stack_ * 0x100000001b3 ^ reinterpret_cast<uintptr_t>(frames[i]);
  }

  FaultFileSystem* const disk_;
  mutable Mutex mu_;
  Phase phase_ STRATA_GUARDED_BY(mu_) = Phase::kOpening;
  std::map<Site, uint64_t> counts_ STRATA_GUARDED_BY(mu_);
  size_t stack_ STRATA_GUARDED_BY(mu_) = 0;
};

// Ends the process if a history takes longer than a minute, saying which.
class Watchdog {
 public:
  Watchdog() : thread_([this] { Run(); }) {}
  ~Watchdog() {
    {
      MutexLock lock(mu_);
      over_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
  }
  void Feed(std::string what) {
    MutexLock lock(mu_);
    what_ = std::move(what);
    ++fed_;
    changed_.NotifyAll();
  }

 private:
  void Run() {
    MutexLock lock(mu_);
    while (!over_) {
      const uint64_t fed = fed_;
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
      while (!over_ && fed == fed_) {
        if (changed_.WaitUntil(mu_, deadline) != std::cv_status::timeout) continue;
        fmt::print(stderr, "hangs: {}\n", what_);
        std::abort();
      }
    }
  }

  Mutex mu_;
  CondVar changed_;
  bool over_ STRATA_GUARDED_BY(mu_) = false;
  uint64_t fed_ STRATA_GUARDED_BY(mu_) = 0;
  std::string what_ STRATA_GUARDED_BY(mu_);
  std::thread thread_;
};

Fault FaultAt(const Site& site) {
  Fault fault;
  fault.ops = site.op;
  fault.name = kFileKinds[site.kind];
  fault.skip = site.nth;
  const uint64_t flavour = site.nth + site.kind;
  if (flavour % 3 == 1 && (site.op & kMutation) != 0) fault.status = rocksdb::IOStatus::NoSpace();
  if (flavour % 3 == 2) fault.status.SetRetryable(true);
  // A disk that goes on failing, where that cannot keep a reader from its messages for ever.
  if (flavour % 5 == 4) fault.count = Fault::kSticky;
  if (flavour % 2 == 1) fault.partial_bytes = 7;
  return fault;
}

// One history with at most one fault: open, work, close, and an ending; open, work and close again.
class FaultyHistory {
 public:
  explicit FaultyHistory(uint64_t seed)
      : lives_(seed, nullptr, SyncPolicy::kAlways), watch_(&lives_.disk()), seed_(seed) {
    lives_.shape().threads = false;
    lives_.shape().steps = 25;
    lives_.shape().reads_may_fail = true;
  }

  // Without a fault: how often each call is made.
  std::map<Site, uint64_t> Count() {
    Run(std::nullopt);
    return watch_.counts();
  }
  std::vector<std::string> Run(const std::optional<Site>& site) {
    site_ = site;
    std::unique_ptr<broker::Broker> broker = Open(Phase::kOpening);
    if (broker) Work(broker.get());
    Close(std::move(broker), seed_ % 2 == 0 ? Ending::kKilled : Ending::kPowerCut);
    broker = Open(Phase::kRecovering);
    if (broker) {
      CheckKept(broker.get(), last_);
      Arm(Phase::kWorking);  // no more of it in this life
      lives_.disk().ClearFaults();
    }
    Close(std::move(broker), Ending::kPowerCut);
    lives_.disk().ClearFaults();
    const std::vector<std::string> last = lives_.Check(last_, &broker);
    violations_.insert(violations_.end(), last.begin(), last.end());
    return std::move(violations_);
  }

  bool met() const { return lives_met_; }
  size_t stack() const { return watch_.stack(); }
  bool stopped() const { return stopped_; }

 private:
  void Violation(const std::string& what) { violations_.push_back(what); }

  void Arm(Phase phase) {
    watch_.Begin(phase);
    if (site_ && site_->phase == phase && !armed_) {
      armed_ = true;
      lives_.disk().FailNext(FaultAt(*site_));
    }
  }
  bool Met() {
    lives_met_ = lives_.disk().InjectedErrors() > 0;
    return lives_met_;
  }
  // Not deletions, and not table files: a rewrite gives those up, while a flush does not.
  bool NeedsToStop() const {
    const std::string_view kind = kFileKinds[site_->kind];
    return site_->op != kDelete && kind != ".sst" && !kind.starts_with("/");
  }
  bool IsChange() const { return site_ && (site_->op & kMutation) != 0; }

  // Null if it did not open, which only a fault excuses; then without it it does.
  std::unique_ptr<broker::Broker> Open(Phase phase) {
    Arm(phase);
    const uint64_t before = lives_.disk().InjectedErrors();
    Result<std::unique_ptr<broker::Broker>> opened = lives_.Open();
    if (opened.ok()) return *std::move(opened);
    if (lives_.disk().InjectedErrors() == before)
      Violation("does not open: " + opened.status().ToString());
    Met();
    lives_.disk().ClearFaults();
    // Whoever starts it again at once, and whoever has lost the power.
    last_ = seed_ % 3 == 0 ? Ending::kPowerCut : Ending::kKilled;
    lives_.disk().CutAfterNextWrites(0);
    lives_.End(last_);
    opened = lives_.Open();
    if (opened.ok()) return *std::move(opened);
    Violation("does not open after an error of an earlier open: " + opened.status().ToString());
    return nullptr;
  }

  void Work(broker::Broker* broker) {
    Arm(Phase::kWorking);
    lives_.Live(broker);
    if (!Met()) return;
    const Status failure = broker->failure();
    stopped_ = !failure.ok();
    if (stopped_) return CheckStopped(broker, failure);
    // What may fail without stopping it: nothing that was acknowledged depends on it.
    if (IsChange() && site_->phase == Phase::kWorking && NeedsToStop()) {
      Violation("a change failed, and it goes on");
    }
    CheckReads(broker);
  }

  void CheckStopped(broker::Broker* broker, const Status& failure) {
    if (failure.message().find("injected") == std::string::npos)
      Violation("the reason is not said: " + failure.ToString());
    if (lives_.log().find("injected") == std::string::npos)
      Violation("the reason is not in the log");
    lives_.disk().ClearFaults();
    const std::vector<ChannelInfo> channels = *broker->ListChannels();
    if (channels.empty()) return;
    const Result<AppendResult> later =
        broker->Append({channels.front().name, MakeBatch({"later"})});
    // Or another refusal, of a channel that somebody holds.
    if (later.ok() || later.status().fate() != DataFate::kNotAppended) {
      Violation("it takes an append: " + later.status().ToString());
    }
    CheckReads(broker);
  }

  // With the disk answering again everything that was acknowledged can be read, stopped or not.
  void CheckReads(broker::Broker* broker) {
    lives_.disk().ClearFaults();
    const std::vector<ChannelInfo> channels = *broker->ListChannels();
    for (const ChannelInfo& channel : channels) {
      auto reader = broker->OpenReader(channel.name, StartPosition::Earliest());
      if (!reader.ok()) {
        // A deletion that met the error may have happened: nothing is shown that a restart might not have.
        if (!lives_.ledger().IsDeletionOpen(channel.number) ||
            reader.status().reason() != Reason::STORE_FAILED) {
          Violation(channel.name + " does not open: " + reader.status().ToString());
        }
        continue;
      }
      MessageId next = channel.first_available;
      for (;;) {
        const broker::Reader::Item item = (*reader)->Next();
        const auto* delivery = std::get_if<broker::Delivery>(&item);
        if (delivery == nullptr) {
          if (std::holds_alternative<broker::Reader::AtEnd>(item)) break;
          const auto* gap = std::get_if<Gap>(&item);
          Violation(gap != nullptr ? fmt::format("{}: a {} gap over {}..{}", channel.name,
                                                 GapReasonName(gap->reason), gap->first, gap->last)
                                   : channel.name + ": " + std::get<Status>(item).ToString());
          break;
        }
        next = delivery->batch.next_id();
        lives_.ledger().Shown(channel.number, delivery->batch);
      }
      if (next != channel.next_id)
        Violation(fmt::format("{} can be read to {}, not {}", channel.name, next, channel.next_id));
    }
  }

  void CheckKept(broker::Broker* broker, Ending ending) {
    if (!broker->failure().ok()) {
      CheckStopped(broker, broker->failure());
      return;
    }
    // The check reads and appends itself, with a disk that answers again; a thread of the store may have met the error
    // just before.
    lives_.disk().ClearFaults();
    const std::vector<std::string> found = lives_.ledger().Check(*broker, ending);
    if (!broker->failure().ok()) return CheckStopped(broker, broker->failure());
    violations_.insert(violations_.end(), found.begin(), found.end());
  }

  void Close(std::unique_ptr<broker::Broker> broker, Ending ending) {
    Arm(Phase::kClosing);
    broker.reset();
    Met();
    lives_.disk().CutAfterNextWrites(0);
    lives_.End(ending);
    last_ = ending;
  }

  Lives lives_;
  Watch watch_;
  const uint64_t seed_;
  std::optional<Site> site_;
  bool armed_ = false;
  bool lives_met_ = false;
  bool stopped_ = false;
  Ending last_ = Ending::kClean;
  std::vector<std::string> violations_;
};

// The first call of each kind in each phase, then the second ones, and so on; each with a history that makes it.
std::vector<std::pair<Site, uint64_t>> SitesOf(uint64_t first_seed, uint64_t seeds) {
  std::map<Site, std::vector<std::pair<uint64_t, uint64_t>>> made;  // (calls, seed)
  uint64_t most = 0;
  for (uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    for (const auto& [site, calls] : FaultyHistory(seed).Count()) {
      made[site].emplace_back(calls, seed);
      most = std::max(most, calls);
    }
  }
  std::vector<std::pair<Site, uint64_t>> sites;
  for (uint64_t nth = 0; nth < most; ++nth) {
    for (const auto& [site, histories] : made) {
      for (size_t i = 0; i < histories.size(); ++i) {
        const auto& [calls, seed] = histories[(i + nth) % histories.size()];
        if (calls <= nth) continue;
        Site at = site;
        at.nth = nth;
        sites.emplace_back(at, seed);
        break;
      }
    }
  }
  return sites;
}

}  // namespace

TEST_CASE("an error at any call stops what it must, shows nothing wrong and loses nothing") {
  const uint64_t wanted = FromEnvironment("STRATA_IO_ERRORS", 120);
  const uint64_t first_seed = FromEnvironment("STRATA_IO_ERROR_SEED", 1);
  const char* const only = std::getenv("STRATA_IO_ERROR_SITE");
  Watchdog watchdog;
  watchdog.Feed("without a fault");
  std::set<Site> met;
  std::set<size_t> stacks;
  uint64_t stopped = 0;
  uint64_t violating = 0;
  for (const auto& [site, seed] : SitesOf(first_seed, 4)) {
    if (met.size() >= wanted) break;
    if (only != nullptr && site.ToString() != only) continue;
    watchdog.Feed(fmt::format("{} (STRATA_IO_ERROR_SEED={})", site.ToString(), seed));
    INFO(site.ToString());
    FaultyHistory history(seed);
    const std::vector<std::string> violations = history.Run(site);
    if (history.met()) {
      met.insert(site);
      stacks.insert(history.stack());
      stopped += history.stopped() ? 1 : 0;
    }
    if (violations.empty()) continue;
    ++violating;
    fmt::print("seed {}, {}:\n", seed, site.ToString());
    for (const std::string& violation : violations) fmt::print("  {}\n", violation);
    std::fflush(stdout);
  }
  fmt::print(
      "I/O errors: {} at distinct calls, {} stacks, {} stopped a store at work, {} violations\n",
      met.size(), stacks.size(), stopped, violating);
  CHECK(violating == 0);
  CHECK(met.size() >= (only != nullptr ? 1 : std::min<uint64_t>(wanted, 1000)));
}

}  // namespace strata::testing
