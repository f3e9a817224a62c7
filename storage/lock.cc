#include "storage/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string_view>

#include "base/mutex.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

constexpr std::chrono::milliseconds kPoll{20};

// fcntl locks belong to the process and go with the first close of *any* descriptor of the file. So asking who holds
// the lock must not overlap with taking it, anywhere in this process.
Mutex& LockTableMutex() {
  static Mutex* const kMutex = new Mutex;
  return *kMutex;
}

std::string ProcessName(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(in, name);
  return name;
}

// Nobody tells us when the lock is free, so this only lets time pass. The pair is never destroyed: whoever moves an
// injected clock may still hold on to it when the wait is over.
void WaitUntil(Clock* clock, Clock::Duration time) {
  static Mutex* const kMutex = new Mutex;
  static CondVar* const kNever = new CondVar;
  MutexLock lock(*kMutex);
  clock->WaitUntil(*kMutex, *kNever, time);
}

// "process 4711 (stratad)", as far as it can be known. REQUIRES: this process does not hold the lock.
std::string Holder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return "another process";
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const bool known = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0;
  close(fd);
  if (!known) return "another process";
  const std::string name = ProcessName(lock.l_pid);
  return name.empty() ? fmt::format("process {}", lock.l_pid)
                      : fmt::format("process {} ({})", lock.l_pid, name);
}

// RocksDB answers "locked" and "cannot open the file" both with IOError; only the text tells them apart.
bool IsHeldByThisProcess(const rocksdb::IOStatus& status) {
  return status.ToString().find("current process") != std::string::npos;
}
bool IsHeld(const rocksdb::IOStatus& status) {
  return IsHeldByThisProcess(status) ||
         status.ToString().find("While lock file") != std::string::npos ||
         status.ToString().find("lock is held") != std::string::npos;
}

}  // namespace

Result<std::unique_ptr<StoreLock>> StoreLock::Acquire(std::shared_ptr<rocksdb::FileSystem> fs,
                                                      const std::string& path,
                                                      std::chrono::milliseconds timeout,
                                                      Clock* clock) {
  const Clock::Duration deadline = clock->Monotonic() + timeout;
  std::string holder;
  for (;;) {
    {
      MutexLock guard(LockTableMutex());
      rocksdb::FileLock* lock = nullptr;
      const rocksdb::IOStatus status = fs->LockFile(path, rocksdb::IOOptions(), &lock, nullptr);
      if (status.ok()) {
        return std::unique_ptr<StoreLock>(new StoreLock(std::move(fs), path, lock));
      }
      if (!IsHeld(status)) return FromRocks(status, "locking " + path);
      holder = IsHeldByThisProcess(status) ? "this process" : Holder(path);
    }
    const Clock::Duration now = clock->Monotonic();
    if (now >= deadline) break;
    WaitUntil(clock, std::min<Clock::Duration>(deadline, now + kPoll));
  }
  return Status(Reason::STORE_LOCKED,
                fmt::format("{} is locked: the store is in use by {}, and was still so after {} ms",
                            path, holder, timeout.count()));
}

StoreLock::~StoreLock() {
  MutexLock guard(LockTableMutex());
  fs_->UnlockFile(lock_, rocksdb::IOOptions(), nullptr).PermitUncheckedError();
}

}  // namespace strata::storage
