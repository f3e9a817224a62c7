// Executor: a fixed number of threads that run tasks in the order they were given.
//
// Strata has three uses for it: storage reads of streams that are behind, work that a gRPC reaction
// must not do itself, and maintenance (one thread). Memory stays bounded because each of those
// users has at most one task outstanding per stream, call or duty; `max_queued` is the limit that
// makes a breach of that rule visible.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace strata {

// Thread-safe. Submit from anywhere, a task included.
class Executor {
 public:
  // `name` (at most 12 characters) names the threads. REQUIRES: threads >= 1.
  Executor(std::string name, int threads, size_t max_queued = 100'000);
  // Runs what is queued, then joins. Not from one of its own threads.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False, and the task is not run: the queue is full or the executor is stopping.
  [[nodiscard]] bool Submit(std::function<void()> task);

  // Refuses further tasks, runs what is queued and joins the threads. Idempotent.
  void Stop();

 private:
  void Run();

  const size_t max_queued_;
  Mutex mu_;
  CondVar ready_;
  std::deque<std::function<void()>> queue_ STRATA_GUARDED_BY(mu_);
  bool stopping_ STRATA_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;  // constant after construction, joined by Stop
};

}  // namespace strata
