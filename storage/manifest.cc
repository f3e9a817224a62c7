#include "storage/manifest.h"

#include <rocksdb/db.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "storage/files.h"
#include "storage/salvage.h"

namespace strata::storage {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// A sector: what reaches a disk whole or not at all.
constexpr uint64_t kSector = 512;
// More than RocksDB appends at once: the edits of four new strata, or of one flush, are below 2 KiB.
constexpr uint64_t kMaxTornBytes = 8u << 10;

// The first `size` bytes of a file.
class ShortenedFile final : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  ShortenedFile(std::unique_ptr<rocksdb::FSSequentialFile>&& file, uint64_t size)
      : FSSequentialFileOwnerWrapper(std::move(file)), left_(size) {}

  IOStatus Read(size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* dbg) override {
    IOStatus status = target()->Read(std::min<uint64_t>(n, left_), options, result, scratch, dbg);
    if (status.ok()) left_ -= result->size();
    return status;
  }

 private:
  uint64_t left_;
};

// Shows `path` as if it ended after `size` bytes.
class ShortenedView final : public rocksdb::FileSystemWrapper {
 public:
  ShortenedView(std::shared_ptr<rocksdb::FileSystem> fs, std::string path, uint64_t size)
      : FileSystemWrapper(std::move(fs)), path_(std::move(path)), size_(size) {}

  const char* Name() const override { return "StrataShortenedView"; }

  IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext* dbg) override {
    IOStatus status = target()->NewSequentialFile(path, options, result, dbg);
    if (status.ok() && path == path_) {
      *result = std::make_unique<ShortenedFile>(std::move(*result), size_);
    }
    return status;
  }

 private:
  const std::string path_;
  const uint64_t size_;
};

// RocksDB itself is asked, because nothing else knows what it accepts.
rocksdb::Status TryToRead(const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> fs,
                          const std::shared_ptr<FailLatch>& latch, const std::string& db_path) {
  const RocksSetup setup = MakeRocksSetup(options, std::move(fs), latch);
  std::vector<std::string> families;
  return rocksdb::DB::ListColumnFamilies(setup.db, db_path, &families);
}

Status CutFile(rocksdb::FileSystem& fs, const std::string& path, uint64_t size) {
  const std::string what = "cutting the torn end off " + path;
  STRATA_RETURN_IF_ERROR(FromRocks(fs.Truncate(path, size, IOOptions(), nullptr), what));
  std::unique_ptr<rocksdb::FSWritableFile> file;
  STRATA_RETURN_IF_ERROR(
      FromRocks(fs.ReopenWritableFile(path, rocksdb::FileOptions(), &file, nullptr), what));
  STRATA_RETURN_IF_ERROR(FromRocks(file->Sync(IOOptions(), nullptr), what));
  return FromRocks(file->Close(IOOptions(), nullptr), what);
}

}  // namespace

Status CheckCurrent(rocksdb::FileSystem& fs, const std::string& db_path) {
  const std::string path = db_path + "/CURRENT";
  STRATA_ASSIGN_OR_RETURN(const bool exists, FileExists(fs, path));
  if (!exists) return Status(Reason::CORRUPTION, path + " is missing");
  STRATA_ASSIGN_OR_RETURN(const std::string text, ReadFile(fs, path));
  const std::string name = text.substr(0, text.find('\n'));
  if (name.starts_with("MANIFEST-") && name + "\n" == text) {
    STRATA_ASSIGN_OR_RETURN(const bool there, FileExists(fs, db_path + "/" + name));
    if (there) return Status::Ok();
  }
  return Status(Reason::CORRUPTION, path + " names no MANIFEST that is there");
}

Result<std::optional<uint64_t>> CutTornManifest(const StoreOptions& options,
                                                const std::shared_ptr<rocksdb::FileSystem>& fs,
                                                const std::shared_ptr<FailLatch>& latch,
                                                const std::string& db_path) {
  STRATA_ASSIGN_OR_RETURN(std::string name, ReadFile(*fs, db_path + "/CURRENT"));
  while (!name.empty() && name.back() == '\n') name.pop_back();
  const std::string path = db_path + "/" + name;
  STRATA_ASSIGN_OR_RETURN(const std::string contents, ReadFile(*fs, path));

  // Rot, in an edit on which something may have been built, is not what a power cut leaves.
  const LogInfo log = ReadLog(contents, [](std::string_view) {});
  if (log.damage.empty() || !log.damage.back().torn) return std::optional<uint64_t>();
  // Holes begin where sectors do, so the longest readable part that ends with a sector has all edits but the torn one.
  const uint64_t size = contents.size();
  const uint64_t least = size > kMaxTornBytes ? size - kMaxTornBytes : 0;
  for (uint64_t end = size / kSector * kSector; end > least; end -= kSector) {
    if (end == size) continue;
    const auto view = std::make_shared<ShortenedView>(fs, path, end);
    if (!TryToRead(options, view, latch, db_path).ok()) continue;
    // Kept whole beside the database, in case it was not a power cut.
    STRATA_RETURN_IF_ERROR(ReplaceFile(*fs, options.path, "TORN-" + name, contents));
    STRATA_RETURN_IF_ERROR(CutFile(*fs, path, end));
    return std::optional<uint64_t>(size - end);
  }
  return std::optional<uint64_t>();
}

}  // namespace strata::storage
