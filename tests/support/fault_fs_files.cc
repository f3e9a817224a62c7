// What is open: files, directories, and the calls that open them.

#include <algorithm>
#include <cstring>

#include "tests/support/fault_fs_impl.h"

namespace strata::testing {

namespace {

class SequentialFile final : public rocksdb::FSSequentialFile {
 public:
  explicit SequentialFile(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}

  IOStatus Read(size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) override {
    IOStatus status = handle_->fs->Read(*handle_, position_, n, result, scratch);
    if (status.ok()) position_ += result->size();
    return status;
  }
  IOStatus Skip(uint64_t n) override {
    position_ += n;
    return handle_->fs->Alive(*handle_);
  }
  IOStatus InvalidateCache(size_t, size_t) override { return IOStatus::OK(); }

 private:
  const std::unique_ptr<Handle> handle_;
  uint64_t position_ = 0;
};

class RandomAccessFile final : public rocksdb::FSRandomAccessFile {
 public:
  explicit RandomAccessFile(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return handle_->fs->Read(*handle_, offset, n, result, scratch);
  }
  IOStatus InvalidateCache(size_t, size_t) override { return IOStatus::OK(); }

 private:
  const std::unique_ptr<Handle> handle_;
};

class WritableFile final : public rocksdb::FSWritableFile {
 public:
  WritableFile(std::unique_ptr<Handle> handle, uint64_t position)
      : handle_(std::move(handle)), position_(position) {}

  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    uint64_t written = 0;
    IOStatus status = handle_->fs->Write(*handle_, kAppend, position_, data, &written);
    position_ += written;
    return status;
  }
  IOStatus Truncate(uint64_t size, const IOOptions&, IODebugContext*) override {
    IOStatus status = handle_->fs->Truncate(*handle_, size);
    if (status.ok()) position_ = size;
    return status;
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override {
    return handle_->fs->Alive(*handle_);
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return handle_->fs->SyncFile(*handle_);
  }
  bool IsSyncThreadSafe() const override { return true; }
  // sync_file_range(2) starts write-back and promises nothing, also under strict_bytes_per_sync.
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return handle_->fs->Alive(*handle_);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return position_; }
  IOStatus InvalidateCache(size_t, size_t) override { return IOStatus::OK(); }

 private:
  const std::unique_ptr<Handle> handle_;
  uint64_t position_;
};

class RandomRWFile final : public rocksdb::FSRandomRWFile {
 public:
  explicit RandomRWFile(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}

  IOStatus Write(uint64_t offset, const Slice& data, const IOOptions&, IODebugContext*) override {
    uint64_t written = 0;
    return handle_->fs->Write(*handle_, kOverwrite, offset, data, &written);
  }
  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return handle_->fs->Read(*handle_, offset, n, result, scratch);
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override {
    return handle_->fs->Alive(*handle_);
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return handle_->fs->SyncFile(*handle_);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  const std::unique_ptr<Handle> handle_;
};

class Directory final : public rocksdb::FSDirectory {
 public:
  explicit Directory(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return handle_->fs->SyncDirectory(*handle_);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  const std::unique_ptr<Handle> handle_;
};

}  // namespace

Handle::~Handle() { fs->Release(*this); }

void MemoryFileSystem::Release(const Handle& handle) {
  MutexLock lock(mu_);
  if (handle.boot == state_.boot) state_.disk.Unpin(handle.node);
}

IOStatus MemoryFileSystem::Alive(const Handle& handle) {
  MutexLock lock(mu_);
  return CheckAlive(state_, &handle);
}

IOStatus MemoryFileSystem::WriteSome(State& state, NodeId node, uint64_t offset, const Slice& data,
                                     uint64_t* written) {
  FileImage& file = state.disk.File(node);
  const uint64_t end = offset + data.size();
  const uint64_t growth = end - std::min<uint64_t>(end, file.data().size());
  *written = data.size();
  if (state.capacity && growth > 0) {
    const uint64_t room = *state.capacity - std::min(state.disk.LiveBytes(), *state.capacity);
    const uint64_t over = growth - std::min(growth, room);
    *written -= std::min<uint64_t>(over, data.size());
  }
  file.Write(offset, std::string_view(data.data(), *written));
  state.disk.ModificationTime(node) = ++state.writes;
  return *written == data.size() ? IOStatus::OK() : IOStatus::NoSpace("No space left on device");
}

IOStatus MemoryFileSystem::Write(const Handle& handle, Op op, uint64_t offset, const Slice& data,
                                 uint64_t* written) {
  return Perform(
      op, handle.path, &handle, data.size(),
      [&](State& state) { return WriteSome(state, handle.node, offset, data, written); },
      [&](State& state, const Fault& fault) {
        const Slice part(data.data(), std::min<uint64_t>(fault.partial_bytes, data.size()));
        WriteSome(state, handle.node, offset, part, written).PermitUncheckedError();
      });
}

IOStatus MemoryFileSystem::Read(const Handle& handle, uint64_t offset, size_t n, Slice* result,
                                char* scratch) {
  *result = Slice();
  const auto apply = [&](State& state) {
    const std::string& data = state.disk.File(handle.node).data();
    if (offset >= data.size()) return IOStatus::OK();
    const size_t size = std::min<uint64_t>(n, data.size() - offset);
    std::memcpy(scratch, data.data() + offset, size);
    *result = Slice(scratch, size);
    return IOStatus::OK();
  };
  return Perform(kRead, handle.path, apply, &handle, n);
}

IOStatus MemoryFileSystem::Truncate(const Handle& handle, uint64_t size) {
  const auto apply = [&](State& state) {
    state.disk.File(handle.node).Truncate(size);
    return IOStatus::OK();
  };
  return Perform(kTruncate, handle.path, apply, &handle);
}

IOStatus MemoryFileSystem::SyncFile(const Handle& handle) {
  FileImage::Cover cover{};
  IOStatus status;
  {
    MutexLock lock(mu_);
    std::optional<Fault> met;
    status = Admit(state_, kSync, handle.path, &handle, &met);
    if (status.ok() || met) cover = state_.disk.File(handle.node).BeginSync();
    if (met) state_.disk.File(handle.node).FailSync(cover);
  }
  Emit(kSync, false, handle.path, cover.size, IOStatus::OK());
  {
    MutexLock lock(mu_);
    if (status.ok()) status = CheckAlive(state_, &handle);
    if (status.ok()) {
      state_.disk.File(handle.node).EndSync(cover);
      if (options_.file_sync_keeps_name) state_.disk.SyncEntriesOf(handle.node);
      ++state_.counts[{kSync, handle.path}];
    }
  }
  Emit(kSync, true, handle.path, cover.size, status);
  return status;
}

IOStatus MemoryFileSystem::SyncDirectory(const Handle& handle) {
  const auto apply = [&](State& state) {
    state.disk.SyncDir(handle.node);
    return IOStatus::OK();
  };
  return Perform(kDirSync, handle.path, apply, &handle);
}

IOStatus MemoryFileSystem::FindFile(const State& state, const std::string& path, NodeId* node) {
  *node = state.disk.Find(path);
  if (*node == 0) return IOStatus::PathNotFound("no such file", path);
  if (state.disk.IsDir(*node)) return IOStatus::IOError("is a directory", path);
  return IOStatus::OK();
}

IOStatus MemoryFileSystem::Open(Op op, const std::string& path, const FindNode& find,
                                std::unique_ptr<Handle>* handle, uint64_t* size) {
  NodeId node = 0;
  uint64_t boot = 0;
  IOStatus status = Perform(op, path, [&](State& state) {
    IOStatus found = find(state, &node);
    if (!found.ok()) return found;
    state.disk.Pin(node);
    boot = state.boot;
    *size = state.disk.File(node).data().size();
    return found;
  });
  if (!status.ok()) return status;
  *handle = std::make_unique<Handle>(shared_from_this(), node, DiskImage::Normalize(path), boot);
  return status;
}

template <typename File, typename Interface>
IOStatus MemoryFileSystem::OpenExisting(const std::string& path,
                                        std::unique_ptr<Interface>* result) {
  result->reset();
  std::unique_ptr<Handle> handle;
  uint64_t size = 0;
  const auto find = [&](State& state, NodeId* node) { return FindFile(state, path, node); };
  IOStatus status = Open(kOpen, path, find, &handle, &size);
  if (status.ok()) *result = std::make_unique<File>(std::move(handle));
  return status;
}

IOStatus MemoryFileSystem::NewSequentialFile(const std::string& path, const FileOptions&,
                                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                                             IODebugContext*) {
  return OpenExisting<SequentialFile>(path, result);
}

IOStatus MemoryFileSystem::NewRandomAccessFile(const std::string& path, const FileOptions&,
                                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                               IODebugContext*) {
  return OpenExisting<RandomAccessFile>(path, result);
}

IOStatus MemoryFileSystem::NewRandomRWFile(const std::string& path, const FileOptions&,
                                           std::unique_ptr<rocksdb::FSRandomRWFile>* result,
                                           IODebugContext*) {
  return OpenExisting<RandomRWFile>(path, result);
}

IOStatus MemoryFileSystem::FindOrCreate(State& state, const std::string& path, NodeId* node) {
  IOStatus status = FindFile(state, path, node);
  if (!status.IsPathNotFound()) return status;
  std::string name;
  const NodeId dir = state.disk.FindParent(path, &name);
  if (dir == 0) return IOStatus::PathNotFound("no such directory", path);
  *node = state.disk.Add(dir, name, false);
  return IOStatus::OK();
}

IOStatus MemoryFileSystem::OpenWritable(Op op, const std::string& path, const FindNode& find,
                                        bool at_end,
                                        std::unique_ptr<rocksdb::FSWritableFile>* result) {
  result->reset();
  std::unique_ptr<Handle> handle;
  uint64_t size = 0;
  IOStatus status = Open(op, path, find, &handle, &size);
  if (status.ok()) {
    *result = std::make_unique<WritableFile>(std::move(handle), at_end ? size : 0);
  }
  return status;
}

IOStatus MemoryFileSystem::NewWritableFile(const std::string& path, const FileOptions&,
                                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                                           IODebugContext*) {
  const auto find = [&](State& state, NodeId* node) {
    IOStatus status = FindOrCreate(state, path, node);
    if (status.ok()) state.disk.File(*node).Truncate(0);
    return status;
  };
  return OpenWritable(kCreate, path, find, false, result);
}

IOStatus MemoryFileSystem::ReopenWritableFile(const std::string& path, const FileOptions& options,
                                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                                              IODebugContext* dbg) {
  const Op op = FileExists(path, options.io_options, dbg).ok() ? kOpen : kCreate;
  const auto find = [&](State& state, NodeId* node) { return FindOrCreate(state, path, node); };
  return OpenWritable(op, path, find, true, result);
}

// The old content stays until it is overwritten: what recycling logs is about.
IOStatus MemoryFileSystem::ReuseWritableFile(const std::string& path, const std::string& old_path,
                                             const FileOptions&,
                                             std::unique_ptr<rocksdb::FSWritableFile>* result,
                                             IODebugContext*) {
  const auto find = [&](State& state, NodeId* node) {
    IOStatus status = Move(state, old_path, path);
    return status.ok() ? FindFile(state, path, node) : status;
  };
  return OpenWritable(kRename, path, find, false, result);
}

IOStatus MemoryFileSystem::NewDirectory(const std::string& path, const IOOptions&,
                                        std::unique_ptr<rocksdb::FSDirectory>* result,
                                        IODebugContext*) {
  result->reset();
  std::unique_ptr<Handle> handle;
  uint64_t size = 0;
  const auto find = [&](State& state, NodeId* node) {
    *node = state.disk.Find(path);
    const bool is_dir = *node != 0 && state.disk.IsDir(*node);
    return is_dir ? IOStatus::OK() : IOStatus::PathNotFound("no such directory", path);
  };
  IOStatus status = Open(kOpen, path, find, &handle, &size);
  if (status.ok()) *result = std::make_unique<Directory>(std::move(handle));
  return status;
}

}  // namespace strata::testing
