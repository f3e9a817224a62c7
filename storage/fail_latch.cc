#include "storage/fail_latch.h"

#include <utility>

namespace strata::storage {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

Status FailLatch::status() const {
  if (!failed()) return Status::Ok();
  MutexLock lock(mu_);
  return status_;
}

void FailLatch::Fail(const std::string& what) {
  {
    MutexLock lock(mu_);
    if (!status_.ok()) return;
    status_ = Status(Reason::STORE_FAILED, what + "; the store stopped writing, reads go on");
    failed_.store(true, std::memory_order_release);
  }
  log_.Error("{}: nothing more is written until it is opened again", what);
}

namespace {

IOStatus Refused() {
  IOStatus status = IOStatus::IOError("refused: the store stopped writing after its first failure");
  // Not retryable: RocksDB would otherwise try again in the background.
  status.SetRetryable(false);
  return status;
}

// Runs calls that change the disk unless the latch is set, and sets it by their first failure.
class Guard {
 public:
  // `hide`: failures are reported as success, because the caller learns of them from the latch.
  Guard(std::shared_ptr<FailLatch> latch, std::string path, bool hide, OnFailure on_failure)
      : latch_(std::move(latch)), path_(std::move(path)), hide_(hide), on_failure_(on_failure) {}

  bool failed() const { return latch_->failed(); }

  template <typename Call>
  IOStatus operator()(const char* what, Call&& call) {
    if (latch_->failed()) return Answer(Refused());
    IOStatus status = call();
    if (status.ok() || on_failure_ == OnFailure::kReport) return status;
    std::string text = std::string(what) + " " + path_ + ": " + status.ToString();
    if (status.IsNoSpace()) text += "; free space on this file system, then restart";
    latch_->Fail(text);
    status.SetRetryable(false);
    return Answer(std::move(status));
  }

 private:
  IOStatus Answer(IOStatus status) const { return hide_ ? IOStatus::OK() : status; }

  const std::shared_ptr<FailLatch> latch_;
  const std::string path_;
  const bool hide_;
  const OnFailure on_failure_;
};

class LatchedWritableFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LatchedWritableFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, Guard guard)
      : FSWritableFileOwnerWrapper(std::move(file)), guard_(std::move(guard)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* dbg) override {
    return guard_("appending to", [&] { return target()->Append(data, options, dbg); });
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& info, IODebugContext* dbg) override {
    return guard_("appending to", [&] { return target()->Append(data, options, info, dbg); });
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options,
                            IODebugContext* dbg) override {
    return guard_("writing to",
                  [&] { return target()->PositionedAppend(data, offset, options, dbg); });
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options,
                            const rocksdb::DataVerificationInfo& info,
                            IODebugContext* dbg) override {
    return guard_("writing to",
                  [&] { return target()->PositionedAppend(data, offset, options, info, dbg); });
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* dbg) override {
    return guard_("truncating", [&] { return target()->Truncate(size, options, dbg); });
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* dbg) override {
    return guard_("flushing", [&] { return target()->Flush(options, dbg); });
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* dbg) override {
    return guard_("syncing", [&] { return target()->Sync(options, dbg); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return guard_("syncing", [&] { return target()->Fsync(options, dbg); });
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* dbg) override {
    return guard_("syncing", [&] { return target()->RangeSync(offset, bytes, options, dbg); });
  }
  IOStatus Close(const IOOptions& options, IODebugContext* dbg) override {
    // The descriptor has to go in any case.
    if (guard_.failed()) {
      target()->Close(options, dbg).PermitUncheckedError();
      return IOStatus::OK();
    }
    return guard_("closing", [&] { return target()->Close(options, dbg); });
  }
  void PrepareWrite(size_t offset, size_t length, const IOOptions& options,
                    IODebugContext* dbg) override {
    if (!guard_.failed()) target()->PrepareWrite(offset, length, options, dbg);
  }
  // Preallocation is a hint: file systems without it say so by an error.
  IOStatus Allocate(uint64_t offset, uint64_t length, const IOOptions& options,
                    IODebugContext* dbg) override {
    if (guard_.failed()) return IOStatus::OK();
    return target()->Allocate(offset, length, options, dbg);
  }

 private:
  Guard guard_;
};

class LatchedRandomRWFile final : public rocksdb::FSRandomRWFileOwnerWrapper {
 public:
  LatchedRandomRWFile(std::unique_ptr<rocksdb::FSRandomRWFile>&& file, Guard guard)
      : FSRandomRWFileOwnerWrapper(std::move(file)), guard_(std::move(guard)) {}

  IOStatus Write(uint64_t offset, const Slice& data, const IOOptions& options,
                 IODebugContext* dbg) override {
    return guard_("writing to", [&] { return target()->Write(offset, data, options, dbg); });
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* dbg) override {
    return guard_("flushing", [&] { return target()->Flush(options, dbg); });
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* dbg) override {
    return guard_("syncing", [&] { return target()->Sync(options, dbg); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return guard_("syncing", [&] { return target()->Fsync(options, dbg); });
  }
  IOStatus Close(const IOOptions& options, IODebugContext* dbg) override {
    if (guard_.failed()) {
      target()->Close(options, dbg).PermitUncheckedError();
      return IOStatus::OK();
    }
    return guard_("closing", [&] { return target()->Close(options, dbg); });
  }

 private:
  Guard guard_;
};

class LatchedDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  LatchedDirectory(std::unique_ptr<rocksdb::FSDirectory>&& directory, Guard guard)
      : FSDirectoryWrapper(directory.get()),
        directory_(std::move(directory)),
        guard_(std::move(guard)) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return guard_("syncing the directory", [&] { return directory_->Fsync(options, dbg); });
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* dbg,
                               const rocksdb::DirFsyncOptions& dir_options) override {
    return guard_("syncing the directory",
                  [&] { return directory_->FsyncWithDirOptions(options, dbg, dir_options); });
  }

 private:
  const std::unique_ptr<rocksdb::FSDirectory> directory_;
  Guard guard_;
};

class HeldLock final : public rocksdb::FileLock {};

class LatchedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  LatchedFileSystem(std::shared_ptr<rocksdb::FileSystem> base, std::shared_ptr<FailLatch> latch,
                    std::string held_lock, OnFailure on_failure)
      : FileSystemWrapper(base),
        latch_(std::move(latch)),
        held_lock_(std::move(held_lock)),
        on_failure_(on_failure) {}

  const char* Name() const override { return "StrataFileSystem"; }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext* dbg) override {
    return Wrap(path, result, "creating", [&](std::unique_ptr<rocksdb::FSWritableFile>* file) {
      return target()->NewWritableFile(path, options, file, dbg);
    });
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                              IODebugContext* dbg) override {
    return Wrap(path, result, "opening", [&](std::unique_ptr<rocksdb::FSWritableFile>* file) {
      return target()->ReopenWritableFile(path, options, file, dbg);
    });
  }
  IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path,
                             const FileOptions& options,
                             std::unique_ptr<rocksdb::FSWritableFile>* result,
                             IODebugContext* dbg) override {
    return Wrap(path, result, "reusing", [&](std::unique_ptr<rocksdb::FSWritableFile>* file) {
      return target()->ReuseWritableFile(path, old_path, options, file, dbg);
    });
  }
  IOStatus NewRandomRWFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* result,
                           IODebugContext* dbg) override {
    std::unique_ptr<rocksdb::FSRandomRWFile> file;
    IOStatus status = target()->NewRandomRWFile(path, options, &file, dbg);
    if (status.ok())
      *result = std::make_unique<LatchedRandomRWFile>(std::move(file), ForFile(path));
    return status;
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* result,
                        IODebugContext* dbg) override {
    std::unique_ptr<rocksdb::FSDirectory> directory;
    IOStatus status = target()->NewDirectory(path, options, &directory, dbg);
    if (status.ok())
      *result = std::make_unique<LatchedDirectory>(std::move(directory), ForFile(path));
    return status;
  }

  IOStatus DeleteFile(const std::string& path, const IOOptions& options,
                      IODebugContext* dbg) override {
    // RocksDB also deletes temporary files that it may not have created.
    bool missing = false;
    IOStatus status = ForPath(path)("deleting", [&] {
      IOStatus deleted = target()->DeleteFile(path, options, dbg);
      missing = deleted.IsNotFound() || deleted.IsPathNotFound();
      return missing ? IOStatus::OK() : deleted;
    });
    return missing ? IOStatus::PathNotFound("deleting", path) : status;
  }
  IOStatus Truncate(const std::string& path, size_t size, const IOOptions& options,
                    IODebugContext* dbg) override {
    return ForPath(path)("truncating",
                         [&] { return target()->Truncate(path, size, options, dbg); });
  }
  IOStatus CreateDir(const std::string& path, const IOOptions& options,
                     IODebugContext* dbg) override {
    return ForPath(path)("creating the directory",
                         [&] { return target()->CreateDir(path, options, dbg); });
  }
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions& options,
                              IODebugContext* dbg) override {
    return ForPath(path)("creating the directory",
                         [&] { return target()->CreateDirIfMissing(path, options, dbg); });
  }
  IOStatus DeleteDir(const std::string& path, const IOOptions& options,
                     IODebugContext* dbg) override {
    return ForPath(path)("deleting the directory",
                         [&] { return target()->DeleteDir(path, options, dbg); });
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* dbg) override {
    // RocksDB syncs the directory after it has put the new CURRENT in place, but not before: where directory entries
    // may reach the disk in any order, a power cut would leave a CURRENT that names a MANIFEST that is not there.
    if (to.ends_with("/CURRENT")) {
      IOStatus synced = SyncFolderOf(to, options, dbg);
      if (!synced.ok()) return synced;
    }
    return ForPath(from + " to " + to)(
        "renaming", [&] { return target()->RenameFile(from, to, options, dbg); });
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* dbg) override {
    return ForPath(from + " to " + to)("linking",
                                       [&] { return target()->LinkFile(from, to, options, dbg); });
  }

  IOStatus LockFile(const std::string& path, const IOOptions& options, rocksdb::FileLock** lock,
                    IODebugContext* dbg) override {
    if (path != held_lock_) return target()->LockFile(path, options, lock, dbg);
    *lock = new HeldLock;
    return IOStatus::OK();
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions& options,
                      IODebugContext* dbg) override {
    if (auto* held = dynamic_cast<HeldLock*>(lock)) {
      delete held;
      return IOStatus::OK();
    }
    return target()->UnlockFile(lock, options, dbg);
  }

 private:
  // For what is done with an open file: failures of RocksDB's log are hidden, see the header.
  Guard ForFile(const std::string& path) const {
    const bool hide = on_failure_ == OnFailure::kLatch && path.ends_with(".log");
    return Guard(latch_, path, hide, on_failure_);
  }
  // For what is done by path, creating a log included: without the file there is nothing to pretend on.
  Guard ForPath(std::string path) const {
    return Guard(latch_, std::move(path), /*hide=*/false, on_failure_);
  }

  IOStatus SyncFolderOf(const std::string& path, const IOOptions& options, IODebugContext* dbg) {
    std::unique_ptr<rocksdb::FSDirectory> folder;
    IOStatus status = NewDirectory(path.substr(0, path.rfind('/')), options, &folder, dbg);
    return status.ok() ? folder->Fsync(options, dbg) : status;
  }

  template <typename Open>
  IOStatus Wrap(const std::string& path, std::unique_ptr<rocksdb::FSWritableFile>* result,
                const char* what, Open&& open) {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    IOStatus status = ForPath(path)(what, [&] { return open(&file); });
    if (status.ok())
      *result = std::make_unique<LatchedWritableFile>(std::move(file), ForFile(path));
    return status;
  }

  const std::shared_ptr<FailLatch> latch_;
  const std::string held_lock_;
  const OnFailure on_failure_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> NewLatchedFileSystem(std::shared_ptr<rocksdb::FileSystem> base,
                                                          std::shared_ptr<FailLatch> latch,
                                                          std::string held_lock,
                                                          OnFailure on_failure) {
  return std::make_shared<LatchedFileSystem>(std::move(base), std::move(latch),
                                             std::move(held_lock), on_failure);
}

}  // namespace strata::storage
