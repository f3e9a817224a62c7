#include "retention/sweeper.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace strata::retention {
namespace {

// A stratum holds at most so many pages (storage has the same bound).
constexpr uint64_t kMaxStratumPages = 64;
constexpr uint64_t kStrataWanted = 32;
constexpr uint64_t kMinStratumPages = 4;
constexpr uint64_t kMaxStrata = 128;
// Garbage in the stratum being written that is worth sealing it for.
constexpr uint64_t kSealGarbage = 16u << 20;
// Under pressure sweeps come at least this often.
constexpr std::chrono::seconds kPressureInterval{1};

double Seconds(Clock::Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Sweeper::Sweeper(SweeperOptions options, storage::LogStore* store, SweptLog* log,
                 DiskBudget* budget)
    : options_(std::move(options)),
      store_(store),
      log_(log),
      budget_(budget),
      rate_since_(options_.clock->Monotonic()),
      ballast_failed_at_(rate_since_ - kRetryPause) {}

Sweeper::~Sweeper() { Stop(); }

void Sweeper::Start() {
  if (!options_.threads) return;
  sweep_thread_ = std::thread([this] { SweepLoop(); });
  pthread_setname_np(sweep_thread_.native_handle(), "strata-sweep");
  rewrite_thread_ = std::thread([this] { RewriteLoop(); });
  pthread_setname_np(rewrite_thread_.native_handle(), "strata-rewrite");
}

void Sweeper::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_sweep_.NotifyAll();
    wake_rewrite_.NotifyAll();
  }
  if (sweep_thread_.joinable()) sweep_thread_.join();
  if (rewrite_thread_.joinable()) rewrite_thread_.join();
}

void Sweeper::Kick() {
  MutexLock lock(mu_);
  kicked_ = true;
  wake_sweep_.NotifyOne();
}

void Sweeper::NoteAppended(uint64_t bytes) {
  const uint64_t before = unswept_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (before < options_.page_size && before + bytes >= options_.page_size) Kick();
}

void Sweeper::SweepLoop() {
  MutexLock lock(mu_);
  while (!stopping_) {
    const Clock::Duration ended = options_.clock->Monotonic();
    const bool pressed = budget_->state() != SpaceState::kNormal;
    const Clock::Duration deadline =
        ended + (pressed ? std::min<Clock::Duration>(kPressureInterval, options_.interval)
                         : Clock::Duration(options_.interval));
    while (!stopping_ && options_.clock->Monotonic() < (kicked_ ? ended + kMinPause : deadline)) {
      options_.clock->WaitUntil(mu_, wake_sweep_, kicked_ ? ended + kMinPause : deadline);
    }
    if (stopping_) return;
    kicked_ = false;
    lock.Unlock();
    // Only the store's own failure is an error here, and the store has logged it.
    (void)Sweep();
    lock.Lock();
    look_for_rewrites_ = true;
    wake_rewrite_.NotifyOne();
  }
}

Status Sweeper::Sweep() {
  MutexLock sweep(sweep_mu_);
  if (store_->failed()) return store_->failure();
  unswept_bytes_.store(0, std::memory_order_relaxed);
  NoteIngestRate();
  Measure();
  store_->SetDeletionRate(Paced(options_.deletion_rate));
  const TimeMicros now = options_.clock->WallMicros();
  const std::vector<ChannelView> channels = log_->View();
  STRATA_RETURN_IF_ERROR(TrimPages(channels, now));
  STRATA_RETURN_IF_ERROR(SealIfDue(channels, now));
  STRATA_RETURN_IF_ERROR(DropEmpty());
  WatchBallast();
  sweeps_.fetch_add(1, std::memory_order_relaxed);
  return Status::Ok();
}

Status Sweeper::TrimPages(const std::vector<ChannelView>& channels, TimeMicros now) {
  uint64_t excess = budget_->Excess();
  if (excess > 0 && budget_->state() != SpaceState::kFull) {
    // What is garbage already comes back by rewriting: taking more pages for it would take too many.
    uint64_t garbage = 0;
    for (const storage::StratumInfo& stratum : store_->DescribeStrata()) {
      const uint64_t dead = stratum.raw_bytes - std::min(stratum.raw_bytes, stratum.live_bytes);
      // Less than a quarter is not rewritten even under pressure.
      if (stratum.quarantined.empty() && dead > stratum.raw_bytes / 4) garbage += dead;
    }
    excess -= std::min(excess, garbage);
  }
  const std::vector<Trim> trims = PlanTrims(channels, now, excess);
  if (trims.empty()) return Status::Ok();
  STRATA_RETURN_IF_ERROR(log_->Trim(trims));
  for (const Trim& trim : trims) {
    trimmed_pages_.fetch_add(trim.pages, std::memory_order_relaxed);
    trimmed_bytes_.fetch_add(trim.bytes, std::memory_order_relaxed);
    options_.log.Debug("channel {}: {} pages with {} bytes through id {} go, rule {}", trim.channel,
                       trim.pages, trim.bytes, trim.through, RuleName(trim.rule));
  }
  return Status::Ok();
}

// The stratum being written is neither dropped nor rewritten: it has to be sealed when time rules are to free it in
// steps, or when much of it is garbage already.
Status Sweeper::SealIfDue(const std::vector<ChannelView>& channels, TimeMicros now) {
  const std::vector<storage::StratumInfo> strata = store_->DescribeStrata();
  if (strata.empty() || strata.back().sealed_at != 0) return Status::Ok();
  const storage::StratumInfo& current = strata.back();
  if (current.raw_bytes == 0) return Status::Ok();
  int64_t shortest = kNoLimit;
  for (const ChannelView& channel : channels) {
    const int64_t time = channel.rules.retention_time;
    if (time != kNoLimit && (shortest == kNoLimit || time < shortest)) shortest = time;
  }
  const int64_t after = SealAfter(shortest);
  const uint64_t garbage = current.raw_bytes - std::min(current.raw_bytes, current.live_bytes);
  const bool pressed = budget_->state() != SpaceState::kNormal;
  const bool old = after != kNoLimit && now - current.created_at >= after;
  const bool hollow = garbage > current.live_bytes &&
                      (pressed || garbage >= std::min(kSealGarbage, options_.page_size));
  if (!old && !hollow) return Status::Ok();
  return log_->Commit({storage::SealStratum{}});
}

Status Sweeper::DropEmpty() {
  STRATA_ASSIGN_OR_RETURN(const size_t dropped, store_->DropEmptyStrata());
  if (dropped == 0) return Status::Ok();
  dropped_strata_.fetch_add(dropped, std::memory_order_relaxed);
  Measure();
  return Status::Ok();
}

void Sweeper::Measure() {
  // Before the walk: what is written while it goes on counts in any case. What was let in and is still on its way to
  // the log is not on the disk yet.
  const uint64_t charged = budget_->charged();
  const uint64_t pending = std::min(charged, log_->PendingBytes());
  storage::DiskUsage usage = store_->Usage();
  // A ballast that was given back is owed: what it frees is not for appends.
  const uint64_t owed = options_.ballast - std::min(options_.ballast, store_->BallastBytes());
  usage.used += owed;
  usage.free -= std::min(usage.free, owed);
  const SpaceState before = budget_->state();
  budget_->Measured(usage, charged - pending);
  const SpaceState after = budget_->state();
  if (after == before) return;
  const Marks marks = budget_->marks();
  const auto level = after == SpaceState::kFull ? LogLevel::kWarning : LogLevel::kInfo;
  options_.log.Log(level, "space is {} now: {} bytes used, {} free, soft mark {}, hard mark {}",
                   SpaceStateName(after), usage.used, usage.free, marks.soft, marks.hard);
}

void Sweeper::WatchBallast() {
  if (options_.ballast == 0) return;
  const storage::DiskUsage usage = store_->Usage();
  const bool there = store_->BallastBytes() > 0;
  if (there && usage.free < options_.reserve / 4) {
    // Appends stopped long ago: somebody else fills the file system, and flushing still needs room.
    store_->ReleaseBallast();
    return;
  }
  const Clock::Duration now = options_.clock->Monotonic();
  if (there || now < ballast_failed_at_ + kRetryPause) return;
  const Marks marks = budget_->marks();
  if (usage.free < options_.ballast + options_.reserve) return;
  if (marks.budget > 0 && usage.used + options_.ballast > marks.soft) return;
  if (const Status restored = store_->RestoreBallast(); !restored.ok()) {
    ballast_failed_at_ = now;
    options_.log.Warning("{}; tried again in {} s", restored.message(), kRetryPause.count());
  }
}

void Sweeper::NoteIngestRate() {
  const Clock::Duration now = options_.clock->Monotonic();
  const uint64_t bytes = log_->AppendedBytes();
  const double seconds = Seconds(now - rate_since_);
  // Over less than this a burst would look like a rate.
  if (seconds < 0.2) return;
  ingest_rate_.store(static_cast<uint64_t>(static_cast<double>(bytes - rate_bytes_) / seconds),
                     std::memory_order_relaxed);
  rate_since_ = now;
  rate_bytes_ = bytes;
}

void Sweeper::RewriteLoop() {
  MutexLock lock(mu_);
  while (!stopping_) {
    while (!stopping_ && !look_for_rewrites_ && !compaction_.running) wake_rewrite_.Wait(mu_);
    if (stopping_) return;
    look_for_rewrites_ = false;
    lock.Unlock();
    const Result<bool> rewritten = RewriteNext();
    lock.Lock();
    if (rewritten.ok() && *rewritten) look_for_rewrites_ = true;
    if (rewritten.ok() || stopping_) continue;
    if (!store_->failed()) {
      options_.log.Warning("rewriting strata: {}; tried again in {} s",
                           rewritten.status().message(), kRetryPause.count());
    }
    const Clock::Duration retry = options_.clock->Monotonic() + kRetryPause;
    while (!stopping_ && options_.clock->Monotonic() < retry) {
      options_.clock->WaitUntil(mu_, wake_rewrite_, retry);
    }
  }
}

ScheduleSettings Sweeper::Settings(bool requested, uint64_t live_bytes) const {
  ScheduleSettings settings;
  settings.compaction_interval = options_.compaction_interval.count();
  settings.compresses = options_.compresses;
  settings.target_bytes =
      std::clamp(live_bytes / kStrataWanted, kMinStratumPages * options_.page_size,
                 kMaxStratumPages * options_.page_size);
  if (options_.max_stratum > 0) {
    settings.target_bytes = std::min(settings.target_bytes, options_.max_stratum);
  }
  // Neighbours above half the target cannot be merged, so a third more than twice what full ones need.
  settings.max_strata = std::max(kMaxStrata, 3 * live_bytes / settings.target_bytes);
  settings.min_garbage = std::min(settings.min_garbage, options_.page_size);
  settings.pressure = budget_->state() != SpaceState::kNormal;
  settings.requested = requested;
  return settings;
}

void Sweeper::HideUnsettled(std::vector<storage::StratumInfo>* strata) {
  const Clock::Duration now = options_.clock->Monotonic();
  std::unordered_map<uint32_t, Settling> seen;
  for (storage::StratumInfo& stratum : *strata) {
    const auto before = settling_.find(stratum.number);
    Settling settling{stratum.live_bytes, now};
    // Found full, or as an earlier run left it: settled.
    if (before == settling_.end()) settling.since = now - options_.settle;
    if (before != settling_.end() && before->second.live_bytes == stratum.live_bytes) {
      settling.since = before->second.since;
    }
    if (now < settling.since + options_.settle) {
      stratum.raw_bytes = std::min(stratum.raw_bytes, stratum.live_bytes);
    }
    seen.emplace(stratum.number, settling);
  }
  settling_.swap(seen);
}

bool Sweeper::HasRoomFor(const Rewrite& rewrite) const {
  // Uncompressed at worst, and with an index.
  const uint64_t wanted = rewrite.live_bytes + rewrite.live_bytes / 16;
  const storage::DiskUsage usage = store_->Usage();
  const Marks marks = budget_->marks();
  return wanted <= usage.free && (marks.budget == 0 || usage.used + wanted <= marks.budget);
}

Result<bool> Sweeper::RewriteNext() {
  MutexLock rewrite_lock(rewrite_mu_);
  // A compaction that is asked for from here on is the next call's: this one must not end it.
  bool running = false;
  bool requested = false;
  {
    MutexLock lock(mu_);
    running = compaction_.running;
    requested = running && compaction_.strata_done < compaction_.strata_total;
  }
  if (store_->failed()) {
    FinishCompaction(store_->failure());
    return store_->failure();
  }
  std::vector<storage::StratumInfo> strata = store_->DescribeStrata();
  uint64_t live_bytes = 0;
  for (const storage::StratumInfo& stratum : strata) live_bytes += stratum.live_bytes;
  if (!requested && budget_->state() == SpaceState::kNormal) HideUnsettled(&strata);
  ScheduleSettings settings = Settings(requested, live_bytes);
  std::optional<Rewrite> next = NextRewrite(strata, options_.clock->WallMicros(), settings);
  // On a nearly full disk a smaller step is what makes room for the larger ones.
  while (next && !HasRoomFor(*next) && settings.target_bytes > options_.page_size) {
    settings.target_bytes /= 2;
    next = NextRewrite(strata, options_.clock->WallMicros(), settings);
  }
  if (!next || (requested && !HasRoomFor(*next))) {
    if (running) {
      FinishCompaction(
          next ? Status(Reason::DISK_FULL,
                        "no room for a copy of " + std::to_string(next->live_bytes) + " bytes")
               : Status::Ok());
    }
    return false;
  }
  if (running && !requested) FinishCompaction(Status::Ok());
  // Retention is what makes room then, and a later sweep looks again.
  if (!HasRoomFor(*next)) return false;
  const Status status = RunRewrite(*next);
  if (running && !status.ok()) FinishCompaction(status);
  STRATA_RETURN_IF_ERROR(status);
  return true;
}

Status Sweeper::RunRewrite(const Rewrite& rewrite) {
  const Clock::Duration begun = options_.clock->Monotonic();
  storage::RewriteRequest request;
  request.strata = rewrite.strata;
  // Called by Rewrite() on this thread.
  request.pace = [this](uint64_t bytes) STRATA_NO_THREAD_SAFETY_ANALYSIS { return Pace(bytes); };
  STRATA_ASSIGN_OR_RETURN(storage::RewriteResult result, store_->Rewrite(request));
  if (result.damaged != 0) {
    options_.log.Error(
        "stratum {} is damaged and set aside: {}; readers get gaps, run strata verify",
        result.damaged, result.damage);
    return log_->Commit({storage::QuarantineStratum{result.damaged, result.damage}});
  }
  rewrite_read_bytes_.fetch_add(result.read_bytes, std::memory_order_relaxed);
  if (!result.changes.empty()) {
    const std::vector<storage::CatalogChange> changes = result.changes;
    if (const Status moved = log_->Commit(changes); !moved.ok()) {
      store_->AbandonRewrite(result);
      return moved;
    }
    rewritten_strata_.fetch_add(rewrite.strata.size(), std::memory_order_relaxed);
    rewrite_written_bytes_.fetch_add(result.written_bytes, std::memory_order_relaxed);
    options_.log.Info("rewrote {} strata ({}): {} bytes of files became {} in {:.1f} s",
                      rewrite.strata.size(), RewriteReasonName(rewrite.reason), rewrite.file_bytes,
                      result.written_bytes, Seconds(options_.clock->Monotonic() - begun));
  }
  {
    MutexLock lock(mu_);
    if (compaction_.running) {
      compaction_.strata_done += rewrite.strata.size();
      compaction_.bytes_before += rewrite.file_bytes;
      compaction_.bytes_after += result.written_bytes;
    }
  }
  return DropEmpty();
}

uint64_t Sweeper::Paced(uint64_t rate) const {
  if (rate == 0 || budget_->state() != SpaceState::kNormal) return 0;
  const uint64_t ingest = ingest_rate_.load(std::memory_order_relaxed);
  return std::max(rate, ingest + ingest / 2);
}

bool Sweeper::Pace(uint64_t bytes) {
  const uint64_t rate = Paced(options_.rewrite_rate);
  MutexLock lock(mu_);
  if (rate == 0) return !stopping_;
  const auto cost = std::chrono::nanoseconds(
      static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate)));
  paced_until_ = std::max(paced_until_, options_.clock->Monotonic()) +
                 std::chrono::duration_cast<Clock::Duration>(cost);
  while (!stopping_ && options_.clock->Monotonic() < paced_until_) {
    options_.clock->WaitUntil(mu_, wake_rewrite_, paced_until_);
  }
  return !stopping_;
}

CompactionInfo Sweeper::StartCompaction() {
  {
    MutexLock lock(mu_);
    if (compaction_.running) return compaction_;
  }
  // What is being written takes part, too. Should it not be sealed, it stays as it is.
  (void)log_->Commit({storage::SealStratum{}});
  ScheduleSettings settings = Settings(/*requested=*/true, 0);
  uint64_t total = 0;
  for (const storage::StratumInfo& stratum : store_->DescribeStrata()) {
    const std::vector<storage::StratumInfo> alone = {stratum};
    if (NextRewrite(alone, options_.clock->WallMicros(), settings)) ++total;
  }
  MutexLock lock(mu_);
  if (compaction_.running) return compaction_;
  compaction_ = CompactionInfo();
  compaction_.started_at = options_.clock->WallMicros();
  compaction_.strata_total = total;
  compaction_.running = true;
  wake_rewrite_.NotifyOne();
  return compaction_;
}

void Sweeper::FinishCompaction(const Status& status) {
  MutexLock lock(mu_);
  if (!compaction_.running) return;
  compaction_.running = false;
  compaction_.finished_at = options_.clock->WallMicros();
  compaction_.strata_total = std::max(compaction_.strata_total, compaction_.strata_done);
  if (!status.ok()) compaction_.error = status.message();
}

CompactionInfo Sweeper::compaction() const {
  MutexLock lock(mu_);
  return compaction_;
}

SweeperCounters Sweeper::counters() const {
  SweeperCounters counters;
  counters.sweeps = sweeps_.load(std::memory_order_relaxed);
  counters.trimmed_pages = trimmed_pages_.load(std::memory_order_relaxed);
  counters.trimmed_bytes = trimmed_bytes_.load(std::memory_order_relaxed);
  counters.dropped_strata = dropped_strata_.load(std::memory_order_relaxed);
  counters.rewritten_strata = rewritten_strata_.load(std::memory_order_relaxed);
  counters.rewrite_read_bytes = rewrite_read_bytes_.load(std::memory_order_relaxed);
  counters.rewrite_written_bytes = rewrite_written_bytes_.load(std::memory_order_relaxed);
  return counters;
}

}  // namespace strata::retention
