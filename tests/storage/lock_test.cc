#include "storage/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

StoreOptions RealOptions(const TemporaryFolder& folder) {
  StoreOptions options = TinyOptions(nullptr);
  options.path = folder.path() + "/store";
  return options;
}

// A child process that holds a lock file until it is ended.
class HoldingProcess {
 public:
  explicit HoldingProcess(const std::string& path) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      const int fd = open(path.c_str(), O_RDWR | O_CREAT, 0644);
      struct flock lock {};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      const char answer = fcntl(fd, F_SETLK, &lock) == 0 ? 'y' : 'n';
      if (write(ready[1], &answer, 1) != 1) _exit(1);
      for (;;) pause();
    }
    char answer = 'n';
    REQUIRE(read(ready[0], &answer, 1) == 1);
    REQUIRE(answer == 'y');
    close(ready[0]);
    close(ready[1]);
  }
  ~HoldingProcess() { End(); }
  void End() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

TEST_CASE("a store that another process has open is refused, naming it", "[lock]") {
  const TemporaryFolder folder;
  MustOpen(RealOptions(folder)).reset();
  const HoldingProcess holder(folder.path() + "/store/db/LOCK");
  const auto store = Store::Open(RealOptions(folder));
  REQUIRE_FALSE(store.ok());
  INFO(store.status().ToString());
  CHECK(store.status().reason() == Reason::STORE_LOCKED);
  CHECK(store.status().message().find(fmt::format("process {} (", holder.pid())) !=
        std::string::npos);
}

TEST_CASE("a lock is waited for", "[lock]") {
  const TemporaryFolder folder;
  MustOpen(RealOptions(folder)).reset();
  ManualClock clock;
  StoreOptions options = RealOptions(folder);
  options.clock = &clock;
  options.lock_timeout = std::chrono::milliseconds(4000);
  HoldingProcess holder(folder.path() + "/store/db/LOCK");
  Status status;
  std::thread opening([&] { status = Store::Open(options).status(); });
  while (clock.waiters() == 0) std::this_thread::yield();
  SECTION("and taken when it is let go") {
    holder.End();
    clock.Advance(std::chrono::milliseconds(100));
    opening.join();
    CHECK(status.ok());
  }
  SECTION("but not for ever") {
    clock.Advance(std::chrono::milliseconds(3999));
    while (clock.waiters() == 0) std::this_thread::yield();
    clock.Advance(std::chrono::milliseconds(1));
    opening.join();
    CHECK(status.reason() == Reason::STORE_LOCKED);
  }
}

TEST_CASE("a store is open once in a process, and asking again does not free its lock", "[lock]") {
  const TemporaryFolder folder;
  auto store = MustOpen(RealOptions(folder));
  for (int i = 0; i < 2; ++i) {
    const auto second = Store::Open(RealOptions(folder));
    REQUIRE_FALSE(second.ok());
    CHECK(second.status().reason() == Reason::STORE_LOCKED);
    CHECK(second.status().message().find("this process") != std::string::npos);
  }
  // The operating system still sees it as locked.
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open((folder.path() + "/store/db/LOCK").c_str(), O_RDWR);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    _exit(fcntl(fd, F_SETLK, &lock) == 0 ? 1 : 0);
  }
  int result = -1;
  REQUIRE(waitpid(child, &result, 0) == child);
  CHECK(WEXITSTATUS(result) == 0);
  REQUIRE(store->Close().ok());
  CHECK(MustOpen(RealOptions(folder)) != nullptr);
}

TEST_CASE("a lock file that cannot be made is an error of its own", "[lock]") {
  const auto fs = NewFaultFs();
  const auto lock =
      StoreLock::Acquire(fs, "/no/such/folder/LOCK", std::chrono::milliseconds(0), Clock::System());
  REQUIRE_FALSE(lock.ok());
  CHECK(lock.status().reason() == Reason::IO_ERROR);
}

}  // namespace
}  // namespace strata::storage
