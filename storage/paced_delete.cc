#include "storage/paced_delete.h"

#include <algorithm>
#include <utility>

namespace strata::storage {
namespace {

thread_local int scopes = 0;

class PacedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  PacedFileSystem(std::shared_ptr<rocksdb::FileSystem> base,
                  std::shared_ptr<rocksdb::FileSystem> scratch, PacedDeleter* deleter)
      : FileSystemWrapper(std::move(base)), scratch_(std::move(scratch)), deleter_(deleter) {}

  const char* Name() const override { return "StrataPacedFileSystem"; }

  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override {
    if (path.ends_with(".sst") || path.ends_with(".body")) deleter_->Shrink(*scratch_, path);
    return target()->DeleteFile(path, options, dbg);
  }

 private:
  const std::shared_ptr<rocksdb::FileSystem> scratch_;
  PacedDeleter* const deleter_;
};

}  // namespace

PacedDeleter::Scope::Scope() { ++scopes; }

PacedDeleter::Scope::~Scope() { --scopes; }

void PacedDeleter::SetRate(uint64_t bytes_per_second) {
  MutexLock lock(mu_);
  if (rate_ == bytes_per_second) return;
  rate_ = bytes_per_second;
  // What was booked at the old rate may be far away.
  free_at_ = std::min(free_at_, clock_->Monotonic());
  changed_.NotifyAll();
}

void PacedDeleter::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  changed_.NotifyAll();
}

bool PacedDeleter::Pause(uint64_t bytes) {
  MutexLock lock(mu_);
  if (rate_ == 0 || stopped_) return false;
  const double seconds = static_cast<double>(bytes) / static_cast<double>(rate_);
  free_at_ = std::max(free_at_, clock_->Monotonic()) +
             Clock::Duration(static_cast<int64_t>(seconds * 1e6));
  while (!stopped_ && rate_ != 0 && clock_->Monotonic() < free_at_) {
    clock_->WaitUntil(mu_, changed_, free_at_);
  }
  return true;
}

void PacedDeleter::Shrink(rocksdb::FileSystem& fs, const std::string& path) {
  if (scopes == 0) return;
  const rocksdb::IOOptions io;
  uint64_t links = 0;
  uint64_t size = 0;
  if (!fs.NumFileLinks(path, io, &links, nullptr).ok() || links != 1) return;
  if (!fs.GetFileSize(path, io, &size, nullptr).ok() || size <= kStep) return;
  // Truncating by path is what RocksDB's own file system does not do.
  std::unique_ptr<rocksdb::FSWritableFile> file;
  if (!fs.ReopenWritableFile(path, rocksdb::FileOptions(), &file, nullptr).ok()) return;
  while (size > kStep && Pause(kStep)) {
    size -= kStep;
    if (!file->Truncate(size, io, nullptr).ok()) break;
  }
  file->Close(io, nullptr).PermitUncheckedError();
}

std::shared_ptr<rocksdb::FileSystem> NewPacedFileSystem(
    std::shared_ptr<rocksdb::FileSystem> base, std::shared_ptr<rocksdb::FileSystem> scratch,
    PacedDeleter* deleter) {
  return std::make_shared<PacedFileSystem>(std::move(base), std::move(scratch), deleter);
}

}  // namespace strata::storage
