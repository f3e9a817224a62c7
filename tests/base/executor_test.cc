#include "base/executor.h"

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace strata {
namespace {

// Holds a task until it is opened.
class Door {
 public:
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    changed_.NotifyAll();
  }
  void Pass() {
    MutexLock lock(mu_);
    ++arrived_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(mu_);
  }
  void AwaitArrived(int count) {
    MutexLock lock(mu_);
    while (arrived_ < count) changed_.Wait(mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int arrived_ STRATA_GUARDED_BY(mu_) = 0;
  bool open_ STRATA_GUARDED_BY(mu_) = false;
};

TEST_CASE("one thread runs tasks in the order in which they were given") {
  std::vector<int> ran;
  Executor executor("order", 1);
  for (int i = 0; i < 1'000; ++i) REQUIRE(executor.Submit([&ran, i] { ran.push_back(i); }));
  executor.Stop();
  REQUIRE(ran.size() == 1'000);
  for (int i = 0; i < 1'000; ++i) REQUIRE(ran[static_cast<size_t>(i)] == i);
}

TEST_CASE("as many tasks run at a time as there are threads") {
  Executor executor("many", 3);
  Door door;
  for (int i = 0; i < 3; ++i) REQUIRE(executor.Submit([&door] { door.Pass(); }));
  door.AwaitArrived(3);
  door.Open();
}

TEST_CASE("a full queue refuses a task and does not run it, and takes one when there is room") {
  Executor executor("bound", 1, 2);
  Door door;
  std::atomic<int> ran{0};
  REQUIRE(executor.Submit([&door] { door.Pass(); }));
  door.AwaitArrived(1);
  CHECK(executor.Submit([&ran] { ++ran; }));
  CHECK(executor.Submit([&ran] { ++ran; }));
  CHECK_FALSE(executor.Submit([&ran] { ran += 100; }));
  door.Open();
  while (ran.load() < 2) std::this_thread::yield();
  CHECK(executor.Submit([&ran] { ++ran; }));
  executor.Stop();
  CHECK(ran.load() == 3);
}

TEST_CASE("stopping runs what is queued and refuses the rest") {
  Executor executor("stop", 1);
  Door door;
  std::atomic<int> ran{0};
  REQUIRE(executor.Submit([&door] { door.Pass(); }));
  for (int i = 0; i < 10; ++i) REQUIRE(executor.Submit([&ran] { ++ran; }));
  door.AwaitArrived(1);
  door.Open();
  executor.Stop();
  CHECK(ran.load() == 10);
  CHECK_FALSE(executor.Submit([&ran] { ++ran; }));
  executor.Stop();
  CHECK(ran.load() == 10);
}

TEST_CASE("a task may give further tasks, and is destroyed once it has run") {
  Executor executor("nested", 2);
  Door done;
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  REQUIRE(executor.Submit([&executor, &done, owned = std::move(owned)] {
    if (!executor.Submit([&done, owned] { done.Pass(); })) std::abort();
  }));
  done.AwaitArrived(1);
  CHECK_FALSE(watch.expired());
  done.Open();
  executor.Stop();
  CHECK(watch.expired());
}

TEST_CASE("every task that was accepted from many threads runs exactly once") {
  std::vector<std::atomic<int>> runs(4'000);
  {
    Executor executor("crowd", 3);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&executor, &runs, t] {
        for (size_t i = t * 1'000; i < (t + 1) * 1'000; ++i) {
          while (!executor.Submit([&runs, i] { ++runs[i]; })) std::this_thread::yield();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const std::atomic<int>& count : runs) REQUIRE(count.load() == 1);
}

TEST_CASE("threads carry the executor's name and their number") {
  Executor executor("a-long-name-indeed", 1);
  std::string name(16, '\0');
  REQUIRE(
      executor.Submit([&name] { pthread_getname_np(pthread_self(), name.data(), name.size()); }));
  executor.Stop();
  CHECK(std::string(name.c_str()) == "a-long-name--0");
}

}  // namespace
}  // namespace strata
