#include "storage/kept_reads.h"

#include <algorithm>
#include <utility>

namespace strata::storage {

// What was read of one file, by where it begins. Pieces are only added, and stay where they are.
class KeptReads::Pieces {
 public:
  // All `size` bytes at `offset`, or null.
  const char* Find(uint64_t offset, size_t size) {
    MutexLock lock(mu_);
    auto piece = pieces_.upper_bound(offset);
    while (piece != pieces_.begin()) {
      --piece;
      const uint64_t skipped = offset - piece->first;
      if (skipped + size <= piece->second.size()) return piece->second.data() + skipped;
    }
    return nullptr;
  }
  void Add(uint64_t offset, const rocksdb::Slice& bytes) {
    MutexLock lock(mu_);
    pieces_.emplace(offset, bytes.ToString());
  }

 private:
  Mutex mu_;
  std::multimap<uint64_t, std::string> pieces_ STRATA_GUARDED_BY(mu_);
};

class KeptReads::File final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  File(std::unique_ptr<rocksdb::FSRandomAccessFile> file, std::shared_ptr<Pieces> pieces)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), pieces_(std::move(pieces)) {}

  rocksdb::IOStatus Read(uint64_t offset, size_t size, const rocksdb::IOOptions& options,
                         rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* dbg) const override {
    if (const char* kept = pieces_->Find(offset, size)) {
      if (scratch != nullptr) kept = std::copy_n(kept, size, scratch) - size;
      *result = rocksdb::Slice(kept, size);
      return rocksdb::IOStatus::OK();
    }
    rocksdb::IOStatus status = target()->Read(offset, size, options, result, scratch, dbg);
    if (status.ok()) pieces_->Add(offset, *result);
    return status;
  }

 private:
  const std::shared_ptr<Pieces> pieces_;
};

KeptReads::KeptReads(std::shared_ptr<rocksdb::FileSystem> base)
    : FileSystemWrapper(std::move(base)) {}

KeptReads::~KeptReads() = default;

void KeptReads::Keep(const std::string& path) {
  MutexLock lock(mu_);
  kept_.emplace(path, std::make_shared<Pieces>());
}

void KeptReads::Forget(const std::string& path) {
  MutexLock lock(mu_);
  kept_.erase(path);
}

rocksdb::IOStatus KeptReads::NewRandomAccessFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSRandomAccessFile>* result, rocksdb::IODebugContext* dbg) {
  rocksdb::IOStatus status = target()->NewRandomAccessFile(path, options, result, dbg);
  if (!status.ok()) return status;
  MutexLock lock(mu_);
  const auto pieces = kept_.find(path);
  if (pieces != kept_.end()) *result = std::make_unique<File>(std::move(*result), pieces->second);
  return status;
}

}  // namespace strata::storage
