// How FaultFileSystem is made: FileSystem calls (fault_fs.cc) and open files (fault_fs_files.cc)
// over one DiskImage. For those two files only; tests include fault_fs.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fault_fs_disk.h"

namespace strata::testing {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class MemoryFileSystem;

// What every open file or directory is: a node of the disk, alive until the power goes. Closing is
// destroying it.
class Handle {
 public:
  Handle(std::shared_ptr<MemoryFileSystem> fs, NodeId node, std::string path, uint64_t boot)
      : fs(std::move(fs)), node(node), path(std::move(path)), boot(boot) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle();

  const std::shared_ptr<MemoryFileSystem> fs;
  const NodeId node;
  const std::string path;  // when it was opened
  const uint64_t boot;     // MemoryFileSystem::State::boot then
};

class MemoryFileSystem final : public FaultFileSystem,
                               public std::enable_shared_from_this<MemoryFileSystem> {
 public:
  explicit MemoryFileSystem(Options options) : options_(options) {}

  // What an open file does.
  IOStatus Alive(const Handle& handle);
  // *written: what reached the file, also when the call fails.
  IOStatus Write(const Handle& handle, Op op, uint64_t offset, const Slice& data,
                 uint64_t* written);
  IOStatus Read(const Handle& handle, uint64_t offset, size_t n, Slice* result, char* scratch);
  IOStatus Truncate(const Handle& handle, uint64_t size);
  IOStatus SyncFile(const Handle& handle);
  IOStatus SyncDirectory(const Handle& handle);
  void Release(const Handle& handle);

  // FaultFileSystem
  std::shared_ptr<FaultFileSystem> Clone() const override;
  void CutAfterNextWrites(uint64_t n) override;
  bool PowerIsOff() const override;
  uint64_t Mutations() const override;
  void PowerCut(uint64_t seed) override;
  void ProcessKill() override;
  void SyncAll() override;
  void FailNext(Fault fault) override;
  void ClearFaults() override;
  uint64_t InjectedErrors() const override;
  void SetFreeSpace(uint64_t bytes) override;
  void SetUnlimitedSpace() override;
  void SetEventCallback(EventCallback callback) override;
  uint64_t Count(uint32_t ops, std::string_view name) const override;
  std::vector<std::string> Files() const override;
  std::optional<std::string> Contents(const std::string& path) const override;
  bool Corrupt(const std::string& path, uint64_t offset, uint8_t xor_mask) override;
  bool Remove(const std::string& path) override;
  bool Put(const std::string& path, std::string_view contents) override;

  // rocksdb::FileSystem
  IOStatus NewSequentialFile(const std::string& path, const FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext*) override;
  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext*) override;
  IOStatus NewWritableFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext*) override;
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions&,
                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                              IODebugContext*) override;
  IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path,
                             const FileOptions&, std::unique_ptr<rocksdb::FSWritableFile>* result,
                             IODebugContext*) override;
  IOStatus NewRandomRWFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* result,
                           IODebugContext*) override;
  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext*) override;
  IOStatus NewLogger(const std::string& path, const IOOptions&,
                     std::shared_ptr<rocksdb::Logger>* result, IODebugContext*) override;
  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override;
  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_dir,
                       IODebugContext*) override;
  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* names,
                       IODebugContext*) override;
  IOStatus GetFileSize(const std::string& path, const IOOptions&, uint64_t* size,
                       IODebugContext*) override;
  IOStatus GetFileModificationTime(const std::string& path, const IOOptions&, uint64_t* time,
                                   IODebugContext*) override;
  IOStatus NumFileLinks(const std::string& path, const IOOptions&, uint64_t* count,
                        IODebugContext*) override;
  IOStatus AreFilesSame(const std::string& first, const std::string& second, const IOOptions&,
                        bool* same, IODebugContext*) override;
  IOStatus GetFreeSpace(const std::string& path, const IOOptions&, uint64_t* bytes,
                        IODebugContext*) override;
  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override;
  IOStatus Truncate(const std::string& path, size_t size, const IOOptions&,
                    IODebugContext*) override;
  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override;
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&, IODebugContext*) override;
  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override;
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override;
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions&,
                    IODebugContext*) override;
  IOStatus LockFile(const std::string& path, const IOOptions&, rocksdb::FileLock** lock,
                    IODebugContext*) override;
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override;
  IOStatus GetTestDirectory(const IOOptions&, std::string* path, IODebugContext*) override;
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* absolute,
                           IODebugContext*) override;

 private:
  struct State {
    DiskImage disk;
    uint64_t boot = 1;  // counts reboots, so that handles and locks of an earlier life are known
    bool power_off = false;
    uint64_t calls_until_cut = 0;  // 0 = no cut is set
    uint64_t mutations = 0;
    uint64_t writes = 0;               // the clock of modification times
    std::optional<uint64_t> capacity;  // of live bytes
    std::vector<Fault> faults;         // in the order they were asked for
    uint64_t injected = 0;
    std::map<std::pair<Op, std::string>, uint64_t> counts;
    std::set<std::string> locks;
  };
  using FindNode = std::function<IOStatus(State&, NodeId*)>;

  // Admits, applies, counts and reports one call. `apply(State&)` runs under the mutex if the call
  // is admitted, `on_fault(State&, const Fault&)` if a fault meets it.
  template <typename Apply, typename OnFault>
  IOStatus Perform(Op op, const std::string& path, const Handle* handle, uint64_t bytes,
                   const Apply& apply, const OnFault& on_fault);
  template <typename Apply>
  IOStatus Perform(Op op, const std::string& path, const Apply& apply,
                   const Handle* handle = nullptr, uint64_t bytes = 0) {
    return Perform(op, path, handle, bytes, apply, [](State&, const Fault&) {});
  }
  // A look at what is at `path`, `apply(State&, NodeId)`; fails if the power is off or nothing
  // there.
  template <typename Apply>
  IOStatus Look(const std::string& path, const Apply& apply);
  // Opens, and pins, what `find` finds or makes.
  IOStatus Open(Op op, const std::string& path, const FindNode& find,
                std::unique_ptr<Handle>* handle, uint64_t* size);
  IOStatus OpenWritable(Op op, const std::string& path, const FindNode& find, bool at_end,
                        std::unique_ptr<rocksdb::FSWritableFile>* result);
  template <typename File, typename Interface>
  IOStatus OpenExisting(const std::string& path, std::unique_ptr<Interface>* result);
  IOStatus CreateDirectory(const std::string& path, bool may_exist);

  static IOStatus Admit(State& state, Op op, const std::string& path, const Handle* handle,
                        std::optional<Fault>* met);
  static IOStatus CheckAlive(const State& state, const Handle* handle);
  static IOStatus FindFile(const State& state, const std::string& path, NodeId* node);
  static IOStatus FindOrCreate(State& state, const std::string& path, NodeId* node);
  static IOStatus Move(State& state, const std::string& from, const std::string& to);
  // Writes as much as the space allows.
  static IOStatus WriteSome(State& state, NodeId node, uint64_t offset, const Slice& data,
                            uint64_t* written);
  static void Reboot(State& state);
  void Emit(Op op, bool done, const std::string& path, uint64_t bytes, const IOStatus& status);

  const Options options_;
  mutable Mutex mu_;
  State state_ STRATA_GUARDED_BY(mu_);
  std::shared_ptr<const EventCallback> callback_ STRATA_GUARDED_BY(mu_);
};

template <typename Apply, typename OnFault>
IOStatus MemoryFileSystem::Perform(Op op, const std::string& path, const Handle* handle,
                                   uint64_t bytes, const Apply& apply, const OnFault& on_fault) {
  Emit(op, false, path, bytes, IOStatus::OK());
  IOStatus status;
  {
    MutexLock lock(mu_);
    std::optional<Fault> met;
    status = Admit(state_, op, path, handle, &met);
    if (met) on_fault(state_, *met);
    if (status.ok()) status = apply(state_);
    if (status.ok()) ++state_.counts[{op, path}];
  }
  Emit(op, true, path, bytes, status);
  return status;
}

template <typename Apply>
IOStatus MemoryFileSystem::Look(const std::string& path, const Apply& apply) {
  return Perform(kLook, path, [&](State& state) {
    const NodeId node = state.disk.Find(path);
    return node == 0 ? IOStatus::PathNotFound("nothing is there", path) : apply(state, node);
  });
}

}  // namespace strata::testing
