#include "storage/strata.h"

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

#include "storage/paced_delete.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

constexpr size_t kSparesLow = 2;   // fewer than this: create more
constexpr size_t kSparesFull = 4;  // up to this

double MillisSince(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun)
      .count();
}

}  // namespace

Strata::Strata(rocksdb::DB* db, rocksdb::ColumnFamilyOptions options,
               std::shared_ptr<rocksdb::FileSystem> fs, std::string db_path, Executor* maintenance,
               Executor* releasing, std::shared_ptr<FailLatch> latch, Logger log)
    : db_(db),
      options_(std::move(options)),
      fs_(std::move(fs)),
      db_path_(std::move(db_path)),
      maintenance_(maintenance),
      releasing_(releasing),
      latch_(std::move(latch)),
      log_(std::move(log)) {}

Strata::~Strata() = default;

StratumRef Strata::Wrap(uint32_t number, rocksdb::ColumnFamilyHandle* handle) {
  auto bodies = std::make_shared<BodyReader>(fs_, BodyPath(db_path_, number));
  return StratumRef(new Stratum{number, handle, std::move(bodies)}, [this](const Stratum* stratum) {
    const auto release = [db = db_, handle = stratum->handle, log = log_, bodies = stratum->bodies,
                          dropped = stratum->dropped.load()] {
      const PacedDeleter::Scope paced;
      const auto begun = std::chrono::steady_clock::now();
      const rocksdb::Status status = db->DestroyColumnFamilyHandle(handle);
      if (!status.ok()) log.Warning("releasing a stratum: {}", status.ToString());
      if (dropped) bodies->Delete();
      log.Debug("let go of a stratum and its files, {:.1f} ms", MillisSince(begun));
    };
    delete stratum;
    if (!releasing_->Submit(release)) release();
  });
}

void Strata::AddUsed(const StratumRecord& record, rocksdb::ColumnFamilyHandle* handle) {
  MutexLock lock(mu_);
  used_.emplace(record.number, Used{Wrap(record.number, handle), record, std::nullopt});
  next_number_ = std::max(next_number_, record.number + 1);
}

uint64_t Strata::RawBytes(rocksdb::ColumnFamilyHandle* handle) const {
  // A key in a table file has eight bytes more, for its sequence number.
  constexpr uint64_t kInternalKeySuffix = 8;
  rocksdb::TablePropertiesCollection files;
  if (!db_->GetPropertiesOfAllTables(handle, &files).ok()) return 0;
  uint64_t bytes = 0;
  for (const auto& [name, file] : files) {
    bytes += file->raw_key_size + file->raw_value_size - kInternalKeySuffix * file->num_entries;
  }
  return bytes;
}

void Strata::AddSpare(uint32_t number, rocksdb::ColumnFamilyHandle* handle) {
  MutexLock lock(mu_);
  spares_.push_back(Wrap(number, handle));
  next_number_ = std::max(next_number_, number + 1);
}

Status Strata::FillSpares(size_t count) {
  MutexLock create_lock(create_mu_);
  std::vector<std::string> names;
  uint32_t first = 0;
  {
    MutexLock lock(mu_);
    first = next_number_;
    for (size_t have = spares_.size(); have < count; ++have)
      names.push_back(StratumName(next_number_++));
  }
  if (names.empty()) return Status::Ok();
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const auto begun = std::chrono::steady_clock::now();
  const rocksdb::Status status = db_->CreateColumnFamilies(options_, names, &handles);
  log_.Debug("created {} strata, {:.1f} ms", names.size(), MillisSince(begun));
  MutexLock lock(mu_);
  for (size_t i = 0; i < handles.size(); ++i) {
    spares_.push_back(Wrap(first + static_cast<uint32_t>(i), handles[i]));
  }
  return FromRocks(status, "creating strata");
}

StratumRef Strata::Find(uint32_t number) const {
  MutexLock lock(mu_);
  const auto found = used_.find(number);
  return found == used_.end() ? nullptr : found->second.stratum;
}

StratumRef Strata::TakeSpare(TimeMicros now) {
  StratumRef taken;
  {
    MutexLock lock(mu_);
    if (!spares_.empty()) {
      taken = std::move(spares_.front());
      spares_.pop_front();
      used_.emplace(taken->number, Used{taken, {taken->number, now, 0, ""}, std::nullopt});
    }
    if (spares_.size() >= kSparesLow || ordered_) return taken;
    ordered_ = true;
  }
  OrderSpares();
  return taken;
}

Result<StratumRef> Strata::TakeForRewrite() {
  // One more than the writer may need meanwhile.
  STRATA_RETURN_IF_ERROR(FillSpares(kSparesLow + 1));
  MutexLock lock(mu_);
  if (spares_.empty()) return Status(Reason::INTERNAL, "no stratum for a rewrite");
  StratumRef taken = std::move(spares_.front());
  spares_.pop_front();
  return taken;
}

void Strata::AddRewritten(const StratumRecord& record, StratumRef stratum, uint64_t raw_bytes) {
  MutexLock lock(mu_);
  used_.emplace(record.number, Used{std::move(stratum), record, raw_bytes});
}

void Strata::Seal(uint32_t number, TimeMicros now, uint64_t raw_bytes) {
  MutexLock lock(mu_);
  const auto found = used_.find(number);
  if (found == used_.end()) return;
  found->second.record.sealed_at = now;
  found->second.raw_bytes = raw_bytes;
}

Status Strata::Flush(uint32_t number) {
  StratumRef stratum;
  {
    MutexLock lock(mu_);
    const auto found = used_.find(number);
    if (found == used_.end()) return Status::Ok();
    stratum = found->second.stratum;
    flushing_ = number;
  }
  // Waiting, because without it RocksDB answers TryAgain whenever writers happen to be stopped.
  rocksdb::FlushOptions options;
  options.allow_write_stall = true;
  const rocksdb::Status status = db_->Flush(options, stratum->handle);
  MutexLock lock(mu_);
  flushing_.reset();
  flushed_.NotifyAll();
  return FromRocks(status, "flushing " + StratumName(number));
}

void Strata::SetQuarantine(uint32_t number, const std::string& why) {
  MutexLock lock(mu_);
  const auto found = used_.find(number);
  if (found != used_.end()) found->second.record.quarantined = why;
}

std::optional<StratumRecord> Strata::Record(uint32_t number) const {
  MutexLock lock(mu_);
  const auto found = used_.find(number);
  if (found == used_.end()) return std::nullopt;
  return found->second.record;
}

std::vector<StratumInfo> Strata::Describe() {
  std::vector<Used> all;
  {
    MutexLock lock(mu_);
    for (const auto& [number, used] : used_) all.push_back(used);
  }
  std::vector<StratumInfo> infos;
  infos.reserve(all.size());
  for (Used& used : all) {
    // Found at open, when nothing of it is in memory any more: its files tell. Looked up once, and only when asked,
    // because it reads a block of every file.
    if (used.record.sealed_at > 0 && !used.raw_bytes) {
      used.raw_bytes = RawBytes(used.stratum->handle) + used.stratum->bodies->Size();
      MutexLock lock(mu_);
      const auto found = used_.find(used.record.number);
      if (found != used_.end()) found->second.raw_bytes = used.raw_bytes;
    }
    StratumInfo& info = infos.emplace_back();
    info.number = used.record.number;
    info.created_at = used.record.created_at;
    info.sealed_at = used.record.sealed_at;
    info.raw_bytes = used.raw_bytes.value_or(0);
    info.quarantined = used.record.quarantined;
    rocksdb::ColumnFamilyMetaData files;
    db_->GetColumnFamilyMetaData(used.stratum->handle, &files);
    info.file_bytes = files.size + used.stratum->bodies->Size();
    info.rewritten = files.file_count > 0 && files.levels.back().files.size() == files.file_count;
  }
  std::sort(infos.begin(), infos.end(), [](const StratumInfo& a, const StratumInfo& b) {
    return std::tuple(a.sealed_at == 0, a.created_at, a.number) <
           std::tuple(b.sealed_at == 0, b.created_at, b.number);
  });
  return infos;
}

Status Strata::Drop(const std::vector<uint32_t>& numbers) {
  // Held until the families are dropped; the files go with the last one of all references.
  std::vector<StratumRef> strata;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  {
    MutexLock lock(mu_);
    while (flushing_ && std::find(numbers.begin(), numbers.end(), *flushing_) != numbers.end()) {
      flushed_.Wait(mu_);
    }
    for (const uint32_t number : numbers) {
      const auto found = used_.find(number);
      if (found == used_.end() || found->second.record.sealed_at == 0) continue;
      strata.push_back(std::move(found->second.stratum));
      handles.push_back(strata.back()->handle);
      used_.erase(found);
    }
  }
  if (handles.empty()) return Status::Ok();
  const auto begun = std::chrono::steady_clock::now();
  const Status dropped = FromRocks(db_->DropColumnFamilies(handles), "dropping strata");
  if (dropped.ok()) {
    for (const StratumRef& stratum : strata) stratum->dropped = true;
  }
  log_.Debug("dropped {} strata, {:.1f} ms", handles.size(), MillisSince(begun));
  return dropped;
}

Status Strata::DropUnknown(const StratumRef& stratum) {
  STRATA_RETURN_IF_ERROR(FromRocks(db_->DropColumnFamilies({stratum->handle}),
                                   "dropping " + StratumName(stratum->number)));
  stratum->dropped = true;
  return Status::Ok();
}

void Strata::OrderSpares() {
  const bool submitted = maintenance_->Submit([this] {
    if (!latch_->failed()) {
      const Status status = FillSpares(kSparesFull);
      if (!status.ok()) latch_->Fail(status.message());
    }
    MutexLock lock(mu_);
    ordered_ = false;
  });
  if (submitted) return;
  MutexLock lock(mu_);
  ordered_ = false;
}

size_t Strata::used() const {
  MutexLock lock(mu_);
  return used_.size();
}

size_t Strata::spares() const {
  MutexLock lock(mu_);
  return spares_.size();
}

}  // namespace strata::storage
