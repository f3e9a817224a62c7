#include "base/clock.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace strata {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

// A thread that waits until the clock reaches a deadline, or until it is told to stop.
class Sleeper {
 public:
  Sleeper(Clock* clock, Clock::Duration deadline)
      : thread_([this, clock, deadline] {
          MutexLock lock(mu_);
          while (!stop_ && clock->Monotonic() < deadline) clock->WaitUntil(mu_, cv_, deadline);
          woken_ = true;
        }) {}
  ~Sleeper() {
    if (thread_.joinable()) Stop();
  }
  void Join() { thread_.join(); }
  void Stop() {
    {
      MutexLock lock(mu_);
      stop_ = true;
      cv_.NotifyAll();
    }
    thread_.join();
  }
  bool woken() {
    MutexLock lock(mu_);
    return woken_;
  }

 private:
  Mutex mu_;
  CondVar cv_;
  bool stop_ STRATA_GUARDED_BY(mu_) = false;
  bool woken_ STRATA_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

void AwaitWaiters(ManualClock* clock, int waiters) {
  while (clock->waiters() != waiters) std::this_thread::yield();
}

TEST_CASE("a manual clock stands still until it is told to move") {
  ManualClock clock(5'000);
  CHECK(clock.WallMicros() == 5'000);
  CHECK(clock.Monotonic() == microseconds(0));
  clock.Advance(microseconds(7));
  CHECK(clock.WallMicros() == 5'007);
  CHECK(clock.Monotonic() == microseconds(7));
}

TEST_CASE("the wall clock may be set back while monotonic time goes on") {
  ManualClock clock;
  clock.Advance(seconds(10));
  clock.SetWall(1'000);
  CHECK(clock.WallMicros() == 1'000);
  CHECK(clock.Monotonic() == seconds(10));
  clock.Advance(microseconds(5));
  CHECK(clock.WallMicros() == 1'005);
}

TEST_CASE("a wait for a moment that has come does not wait") {
  ManualClock clock;
  clock.Advance(seconds(1));
  Mutex mu;
  CondVar cv;
  MutexLock lock(mu);
  clock.WaitUntil(mu, cv, seconds(1));
  clock.WaitUntil(mu, cv, seconds(0));
  CHECK(clock.waiters() == 0);
}

TEST_CASE("a waiter wakes when the clock reaches its deadline, not before") {
  ManualClock clock;
  Sleeper early(&clock, seconds(1));
  Sleeper late(&clock, seconds(2));
  AwaitWaiters(&clock, 2);
  clock.Advance(seconds(1));
  early.Join();
  CHECK_FALSE(late.woken());
  clock.Advance(seconds(1));
  late.Join();
  CHECK(clock.waiters() == 0);
}

TEST_CASE("a waiter can be woken before its deadline by its owner") {
  ManualClock clock;
  Sleeper sleeper(&clock, seconds(100));
  AwaitWaiters(&clock, 1);
  sleeper.Stop();
  CHECK(clock.waiters() == 0);
}

TEST_CASE("who was woken by a step counts as waiting again once it has seen the new time") {
  ManualClock clock;
  Mutex mu;
  CondVar cv;
  int seen = 0;
  constexpr int kSteps = 1'000;
  std::thread waiter([&] {
    MutexLock lock(mu);
    for (; seen < kSteps; ++seen) clock.WaitUntil(mu, cv, seconds(100));
  });
  for (int step = 0; step < kSteps; ++step) {
    AwaitWaiters(&clock, 1);
    MutexLock lock(mu);
    REQUIRE(seen == step);
    lock.Unlock();
    clock.Advance(microseconds(1));
    lock.Lock();
  }
  waiter.join();
}

TEST_CASE("many waiters all wake, however the clock's steps and their waits interleave") {
  ManualClock clock;
  std::vector<std::unique_ptr<Sleeper>> sleepers;
  for (int i = 1; i <= 16; ++i) {
    sleepers.push_back(std::make_unique<Sleeper>(&clock, microseconds(i * 10)));
  }
  for (int step = 0; step < 160; ++step) clock.Advance(microseconds(1));
  for (const auto& sleeper : sleepers) sleeper->Join();
  CHECK(clock.waiters() == 0);
}

TEST_CASE("a waiter that leaves and is destroyed while the clock moves is not touched any more") {
  ManualClock clock;
  std::atomic<bool> stop{false};
  std::thread mover([&] {
    while (!stop.load()) clock.Advance(microseconds(1));
  });
  for (int i = 0; i < 300; ++i) {
    auto sleeper = std::make_unique<Sleeper>(&clock, std::chrono::hours(1'000));
    sleeper->Stop();
  }
  stop.store(true);
  mover.join();
  CHECK(clock.waiters() == 0);
}

TEST_CASE("the system's clock goes forward and wakes its waiters by itself") {
  Clock* const clock = Clock::System();
  const Clock::Duration before = clock->Monotonic();
  CHECK(clock->WallMicros() > 1'500'000'000'000'000);
  Sleeper sleeper(clock, before + microseconds(200));
  sleeper.Join();
  CHECK(clock->Monotonic() >= before + microseconds(200));
}

}  // namespace
}  // namespace strata
