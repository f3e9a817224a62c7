#include "storage/strata.h"

#include <utility>

#include "storage/rocks.h"

namespace strata::storage {
namespace {

constexpr size_t kSparesLow = 2;   // fewer than this: create more
constexpr size_t kSparesFull = 4;  // up to this

}  // namespace

Strata::Strata(rocksdb::DB* db, rocksdb::ColumnFamilyOptions options, Executor* maintenance,
               std::shared_ptr<FailLatch> latch, Logger log)
    : db_(db),
      options_(std::move(options)),
      maintenance_(maintenance),
      latch_(std::move(latch)),
      log_(std::move(log)) {}

Strata::~Strata() = default;

StratumRef Strata::Wrap(uint32_t number, rocksdb::ColumnFamilyHandle* handle) {
  return StratumRef(new Stratum{number, handle}, [this](const Stratum* stratum) {
    const auto release = [db = db_, handle = stratum->handle, log = log_] {
      const rocksdb::Status status = db->DestroyColumnFamilyHandle(handle);
      if (!status.ok()) log.Warning("releasing a stratum: {}", status.ToString());
    };
    delete stratum;
    if (!maintenance_->Submit(release)) release();
  });
}

void Strata::AddUsed(uint32_t number, rocksdb::ColumnFamilyHandle* handle) {
  MutexLock lock(mu_);
  used_.emplace(number, Wrap(number, handle));
  next_number_ = std::max(next_number_, number + 1);
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
  const rocksdb::Status status = db_->CreateColumnFamilies(options_, names, &handles);
  MutexLock lock(mu_);
  for (size_t i = 0; i < handles.size(); ++i) {
    spares_.push_back(Wrap(first + static_cast<uint32_t>(i), handles[i]));
  }
  return FromRocks(status, "creating strata");
}

StratumRef Strata::Find(uint32_t number) const {
  MutexLock lock(mu_);
  const auto found = used_.find(number);
  return found == used_.end() ? nullptr : found->second;
}

StratumRef Strata::Newest() const {
  MutexLock lock(mu_);
  return used_.empty() ? nullptr : used_.rbegin()->second;
}

StratumRef Strata::TakeSpare() {
  StratumRef taken;
  {
    MutexLock lock(mu_);
    if (!spares_.empty()) {
      taken = std::move(spares_.front());
      spares_.pop_front();
      used_.emplace(taken->number, taken);
    }
    if (spares_.size() >= kSparesLow || ordered_) return taken;
    ordered_ = true;
  }
  OrderSpares();
  return taken;
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
