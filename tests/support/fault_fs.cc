#include "tests/support/fault_fs.h"

#include <rocksdb/system_clock.h>

#include <algorithm>
#include <cstdarg>

#include "tests/support/fault_fs_impl.h"

namespace strata::testing {
namespace {

IOStatus InjectedStatus(const IOStatus& asked, const std::string& path) {
  const std::string text = "injected: " + asked.ToString();
  IOStatus status = asked.IsNoSpace()        ? IOStatus::NoSpace(text, path)
                    : asked.IsPathNotFound() ? IOStatus::PathNotFound(text, path)
                    : asked.IsCorruption()   ? IOStatus::Corruption(text, path)
                    : asked.IsNotSupported() ? IOStatus::NotSupported(text, path)
                                             : IOStatus::IOError(text, path);
  status.SetRetryable(asked.GetRetryable());
  status.SetDataLoss(asked.GetDataLoss());
  status.SetScope(asked.GetScope());
  return status;
}

// A lock of an earlier life must not release the one of the next.
struct MemoryLock : rocksdb::FileLock {
  MemoryLock(std::string path, uint64_t boot) : path(std::move(path)), boot(boot) {}
  const std::string path;
  const uint64_t boot;
};

class SilentLogger final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
};

class ImpatientClock final : public rocksdb::SystemClockWrapper {
 public:
  using SystemClockWrapper::SystemClockWrapper;
  const char* Name() const override { return "ImpatientClock"; }
  void SleepForMicroseconds(int micros) override {
    target_->SleepForMicroseconds(std::min(micros, 1000));
  }
};

class ImpatientEnv final : public rocksdb::EnvWrapper {
 public:
  explicit ImpatientEnv(std::unique_ptr<rocksdb::Env> target) : EnvWrapper(std::move(target)) {
    system_clock_ = std::make_shared<ImpatientClock>(system_clock_);
  }
};

constexpr uint64_t kUnlimited = uint64_t{1} << 40;  // what GetFreeSpace says without a limit

}  // namespace

std::shared_ptr<FaultFileSystem> FaultFileSystem::Create(Options options) {
  return std::make_shared<MemoryFileSystem>(options);
}

bool FaultFileSystem::IsInjected(const rocksdb::Status& status) {
  return status.ToString().find("injected: ") != std::string::npos;
}

std::unique_ptr<rocksdb::Env> NewImpatientEnv(const std::shared_ptr<rocksdb::FileSystem>& fs) {
  return std::make_unique<ImpatientEnv>(rocksdb::NewCompositeEnv(fs));
}

IOStatus MemoryFileSystem::CheckAlive(const State& state, const Handle* handle) {
  if (state.power_off) return IOStatus::IOError("power is off");
  if (handle != nullptr && handle->boot != state.boot) {
    return IOStatus::IOError("open since before the reboot", handle->path);
  }
  return IOStatus::OK();
}

IOStatus MemoryFileSystem::Admit(State& state, Op op, const std::string& path, const Handle* handle,
                                 std::optional<Fault>* met) {
  IOStatus status = CheckAlive(state, handle);
  if (!status.ok()) return status;
  if ((op & kMutation) != 0) {
    if (state.calls_until_cut > 0 && --state.calls_until_cut == 0) {
      state.power_off = true;
      return CheckAlive(state, nullptr);
    }
    ++state.mutations;
  }
  for (auto fault = state.faults.begin(); fault != state.faults.end(); ++fault) {
    if ((fault->ops & op) == 0 || path.find(fault->name) == std::string::npos) continue;
    if (fault->skip > 0) {
      --fault->skip;
      continue;
    }
    if (fault->one_in > 1 && CutRandom(fault->seed++).Below(fault->one_in) != 0) continue;
    *met = *fault;
    ++state.injected;
    if (fault->count != Fault::kSticky && --fault->count == 0) state.faults.erase(fault);
    return InjectedStatus((*met)->status, path);
  }
  return IOStatus::OK();
}

void MemoryFileSystem::Emit(Op op, bool done, const std::string& path, uint64_t bytes,
                            const IOStatus& status) {
  std::shared_ptr<const EventCallback> callback;
  {
    MutexLock lock(mu_);
    callback = callback_;
  }
  if (callback != nullptr && *callback) (*callback)({op, done, path, bytes, status});
}

std::shared_ptr<FaultFileSystem> MemoryFileSystem::Clone() const {
  auto clone = std::make_shared<MemoryFileSystem>(options_);
  State copy;
  {
    MutexLock lock(mu_);
    copy.disk = state_.disk;
    copy.power_off = state_.power_off;
    copy.calls_until_cut = state_.calls_until_cut;
    copy.capacity = state_.capacity;
  }
  copy.disk.UnpinAll();
  MutexLock lock(clone->mu_);
  clone->state_ = std::move(copy);
  return clone;
}

void MemoryFileSystem::CutAfterNextWrites(uint64_t n) {
  MutexLock lock(mu_);
  state_.calls_until_cut = n;
  if (n == 0) state_.power_off = true;
}

bool MemoryFileSystem::PowerIsOff() const {
  MutexLock lock(mu_);
  return state_.power_off;
}

uint64_t MemoryFileSystem::Mutations() const {
  MutexLock lock(mu_);
  return state_.mutations;
}

void MemoryFileSystem::Reboot(State& state) {
  ++state.boot;
  state.power_off = false;
  state.calls_until_cut = 0;
  state.locks.clear();
  state.disk.UnpinAll();
}

void MemoryFileSystem::PowerCut(uint64_t seed) {
  MutexLock lock(mu_);
  state_.disk.PowerCut(seed);
  Reboot(state_);
}

void MemoryFileSystem::ProcessKill() {
  MutexLock lock(mu_);
  Reboot(state_);
}

void MemoryFileSystem::SyncAll() {
  MutexLock lock(mu_);
  state_.disk.SyncAll();
}

void MemoryFileSystem::FailNext(Fault fault) {
  MutexLock lock(mu_);
  state_.faults.push_back(std::move(fault));
}

void MemoryFileSystem::ClearFaults() {
  MutexLock lock(mu_);
  state_.faults.clear();
}

uint64_t MemoryFileSystem::InjectedErrors() const {
  MutexLock lock(mu_);
  return state_.injected;
}

void MemoryFileSystem::SetFreeSpace(uint64_t bytes) {
  MutexLock lock(mu_);
  state_.capacity = state_.disk.LiveBytes() + bytes;
}

void MemoryFileSystem::SetUnlimitedSpace() {
  MutexLock lock(mu_);
  state_.capacity.reset();
}

void MemoryFileSystem::SetEventCallback(EventCallback callback) {
  MutexLock lock(mu_);
  callback_ = std::make_shared<const EventCallback>(std::move(callback));
}

uint64_t MemoryFileSystem::Count(uint32_t ops, std::string_view name) const {
  MutexLock lock(mu_);
  uint64_t sum = 0;
  for (const auto& [call, count] : state_.counts) {
    if ((call.first & ops) != 0 && call.second.find(name) != std::string::npos) sum += count;
  }
  return sum;
}

std::vector<std::string> MemoryFileSystem::Files() const {
  MutexLock lock(mu_);
  return state_.disk.Files();
}

std::optional<std::string> MemoryFileSystem::Contents(const std::string& path) const {
  MutexLock lock(mu_);
  NodeId node = 0;
  if (!FindFile(state_, path, &node).ok()) return std::nullopt;
  return state_.disk.File(node).data();
}

bool MemoryFileSystem::Corrupt(const std::string& path, uint64_t offset, uint8_t xor_mask) {
  MutexLock lock(mu_);
  NodeId node = 0;
  if (!FindFile(state_, path, &node).ok()) return false;
  if (offset >= state_.disk.File(node).data().size()) return false;
  state_.disk.File(node).Flip(offset, xor_mask);
  return true;
}

bool MemoryFileSystem::Remove(const std::string& path) {
  MutexLock lock(mu_);
  NodeId node = 0;
  if (!FindFile(state_, path, &node).ok()) return false;
  std::string name;
  const NodeId dir = state_.disk.FindParent(path, &name);
  state_.disk.Erase(dir, name);
  return true;
}

bool MemoryFileSystem::Put(const std::string& path, std::string_view contents) {
  MutexLock lock(mu_);
  std::string name;
  const NodeId dir = state_.disk.FindParent(path, &name);
  if (dir == 0) return false;
  const NodeId old = state_.disk.Find(path);
  if (old != 0 && state_.disk.IsDir(old)) return false;
  state_.disk.Place(dir, name, contents);
  return true;
}

IOStatus MemoryFileSystem::NewLogger(const std::string&, const IOOptions&,
                                     std::shared_ptr<rocksdb::Logger>* result, IODebugContext*) {
  *result = std::make_shared<SilentLogger>();
  return IOStatus::OK();
}

IOStatus MemoryFileSystem::FileExists(const std::string& path, const IOOptions&, IODebugContext*) {
  IOStatus status = Look(path, [](State&, NodeId) { return IOStatus::OK(); });
  return status.IsPathNotFound() ? IOStatus::NotFound(path) : status;
}

IOStatus MemoryFileSystem::IsDirectory(const std::string& path, const IOOptions&, bool* is_dir,
                                       IODebugContext*) {
  return Look(path, [&](State& state, NodeId node) {
    *is_dir = state.disk.IsDir(node);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::GetChildren(const std::string& path, const IOOptions&,
                                       std::vector<std::string>* names, IODebugContext*) {
  names->clear();
  IOStatus status = Look(path, [&](State& state, NodeId node) {
    if (!state.disk.IsDir(node)) return IOStatus::IOError("not a directory", path);
    for (const auto& [name, child] : state.disk.Children(node)) names->push_back(name);
    return IOStatus::OK();
  });
  return status.IsPathNotFound() ? IOStatus::NotFound(path) : status;
}

IOStatus MemoryFileSystem::GetFileSize(const std::string& path, const IOOptions&, uint64_t* size,
                                       IODebugContext*) {
  return Look(path, [&](State& state, NodeId node) {
    *size = state.disk.File(node).data().size();
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::GetFileModificationTime(const std::string& path, const IOOptions&,
                                                   uint64_t* time, IODebugContext*) {
  return Look(path, [&](State& state, NodeId node) {
    *time = state.disk.ModificationTime(node);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::NumFileLinks(const std::string& path, const IOOptions&, uint64_t* count,
                                        IODebugContext*) {
  return Look(path, [&](State& state, NodeId node) {
    *count = state.disk.Links(node);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::AreFilesSame(const std::string& first, const std::string& second,
                                        const IOOptions&, bool* same, IODebugContext*) {
  return Look(first, [&](State& state, NodeId node) {
    const NodeId other = state.disk.Find(second);
    *same = other == node;
    return other == 0 ? IOStatus::PathNotFound("nothing is there", second) : IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::GetFreeSpace(const std::string& path, const IOOptions&, uint64_t* bytes,
                                        IODebugContext*) {
  return Look(path, [&](State& state, NodeId) {
    const uint64_t live = state.capacity ? state.disk.LiveBytes() : 0;
    const uint64_t capacity = state.capacity.value_or(kUnlimited);
    *bytes = capacity - std::min(live, capacity);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) {
  return Perform(kDelete, path, [&](State& state) {
    NodeId node = 0;
    IOStatus status = FindFile(state, path, &node);
    if (!status.ok()) return status;
    std::string name;
    const NodeId dir = state.disk.FindParent(path, &name);
    state.disk.Unlink(dir, name);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::Truncate(const std::string& path, size_t size, const IOOptions&,
                                    IODebugContext*) {
  return Perform(kTruncate, path, [&](State& state) {
    NodeId node = 0;
    IOStatus status = FindFile(state, path, &node);
    if (!status.ok()) return status;
    state.disk.File(node).Truncate(size);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::CreateDirectory(const std::string& path, bool may_exist) {
  if (may_exist) {  // no change of the disk then, so no mutating call either
    IOStatus status = Look(path, [&](State& state, NodeId node) {
      return state.disk.IsDir(node) ? IOStatus::OK() : IOStatus::IOError("not a directory", path);
    });
    if (!status.IsPathNotFound()) return status;
  }
  return Perform(kCreate, path, [&](State& state) {
    if (state.disk.Find(path) != 0) return IOStatus::IOError("exists already", path);
    std::string name;
    const NodeId dir = state.disk.FindParent(path, &name);
    if (dir == 0) return IOStatus::PathNotFound("no such directory", path);
    state.disk.Add(dir, name, true);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::CreateDir(const std::string& path, const IOOptions&, IODebugContext*) {
  return CreateDirectory(path, false);
}

IOStatus MemoryFileSystem::CreateDirIfMissing(const std::string& path, const IOOptions&,
                                              IODebugContext*) {
  return CreateDirectory(path, true);
}

IOStatus MemoryFileSystem::DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) {
  return Perform(kDelete, path, [&](State& state) {
    const NodeId node = state.disk.Find(path);
    if (node == 0) return IOStatus::PathNotFound("no such directory", path);
    std::string name;
    const NodeId dir = state.disk.FindParent(path, &name);
    if (dir == 0 || !state.disk.IsDir(node) || !state.disk.Children(node).empty()) {
      return IOStatus::IOError("not an empty directory", path);
    }
    state.disk.Unlink(dir, name);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::RenameFile(const std::string& from, const std::string& to,
                                      const IOOptions&, IODebugContext*) {
  return Perform(kRename, from + " -> " + to, [&](State& state) { return Move(state, from, to); });
}

IOStatus MemoryFileSystem::LinkFile(const std::string& from, const std::string& to,
                                    const IOOptions&, IODebugContext*) {
  return Perform(kCreate, from + " -> " + to, [&](State& state) {
    NodeId node = 0;
    IOStatus status = FindFile(state, from, &node);
    if (!status.ok()) return status;
    std::string name;
    const NodeId dir = state.disk.FindParent(to, &name);
    if (dir == 0) return IOStatus::PathNotFound("no such directory", to);
    if (state.disk.Find(to) != 0) return IOStatus::IOError("exists already", to);
    state.disk.Link(dir, name, node);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::Move(State& state, const std::string& from, const std::string& to) {
  const NodeId node = state.disk.Find(from);
  std::string from_name;
  std::string to_name;
  const NodeId from_dir = state.disk.FindParent(from, &from_name);
  const NodeId to_dir = state.disk.FindParent(to, &to_name);
  if (node == 0 || from_dir == 0) return IOStatus::PathNotFound("nothing is there", from);
  if (to_dir == 0) return IOStatus::PathNotFound("no such directory", to);
  const NodeId replaced = state.disk.Find(to);
  if (replaced == node) return IOStatus::OK();  // as rename(2) for two names of one file
  if (replaced != 0 && (state.disk.IsDir(replaced) || state.disk.IsDir(node))) {
    return IOStatus::IOError("a directory neither replaces nor is replaced", to);
  }
  state.disk.Rename(from_dir, from_name, to_dir, to_name);
  return IOStatus::OK();
}

IOStatus MemoryFileSystem::LockFile(const std::string& path, const IOOptions& options,
                                    rocksdb::FileLock** lock, IODebugContext* dbg) {
  *lock = nullptr;
  const Op op = FileExists(path, options, dbg).ok() ? kOpen : kCreate;
  return Perform(op, path, [&](State& state) {
    std::string name;
    const NodeId dir = state.disk.FindParent(path, &name);
    if (dir == 0) return IOStatus::PathNotFound("no such directory", path);
    if (!state.locks.insert(DiskImage::Normalize(path)).second) {
      return IOStatus::IOError("lock is held already", path);
    }
    if (state.disk.Find(path) == 0) state.disk.Add(dir, name, false);
    *lock = new MemoryLock(DiskImage::Normalize(path), state.boot);
    return IOStatus::OK();
  });
}

IOStatus MemoryFileSystem::UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) {
  const std::unique_ptr<MemoryLock> own(static_cast<MemoryLock*>(lock));
  MutexLock guard(mu_);
  if (own->boot == state_.boot) state_.locks.erase(own->path);
  return IOStatus::OK();
}

IOStatus MemoryFileSystem::GetTestDirectory(const IOOptions&, std::string* path, IODebugContext*) {
  *path = "/test";
  return CreateDirectory(*path, true);
}

IOStatus MemoryFileSystem::GetAbsolutePath(const std::string& path, const IOOptions&,
                                           std::string* absolute, IODebugContext*) {
  *absolute = DiskImage::Normalize(path);
  return IOStatus::OK();
}

}  // namespace strata::testing
