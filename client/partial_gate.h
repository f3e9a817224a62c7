// PartialGate: how many bytes of partial batches all producers of one client may have unanswered.
//
// Alone, each producer lets its first few batches leave although they are not full (see
// batching_producer.h). Of 10,000 producers that are sent 64 messages each in their turns, every one
// would do so: five batches where one holds as much, and a batch costs 50 to 100 us of CPU on both
// sides, however small. So all of them together have a limit as well: beyond it a producer that has
// something to send waits in line, gathering, until answers have made room. Whatever is full leaves
// without asking.
//
// By bytes, not by batches: single messages for 10,000 channels cannot be gathered, and waiting for
// one another's answers would only slow them down; 8 MiB of them never come together. As a partial
// batch is answered without the help of those that wait, the line always moves.
//
// Measured over a Unix socket, 64 messages of 1 KB to each of 1,000 channels in turn, 16 MiB
// unacknowledged at most: 5.0 batches per turn without the gate, 1.3 with it, and two thirds of the
// CPU time of both sides.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "base/mutex.h"

namespace strata {

// Thread-safe. Its lock is a leaf.
class PartialGate {
 public:
  // Twice what one producer may have under way alone, four batches of 1 MiB: enough for a group that
  // is written, one that is synced and what is on the wire meanwhile.
  static constexpr uint64_t kMostBytes = 8u << 20;

  class Waiter {
   public:
    virtual ~Waiter() = default;
    // It is the first in line: Enter() with `first`, if there still is something to send. Without
    // locks held.
    virtual void OnTurn() = 0;
  };

  // Lets a batch leave: then Leave() with the same bytes must follow. Otherwise `waiter`, unless it
  // is null because it waits already, gets one OnTurn(). `first`: whoever waits is passed by,
  // because it is this one's turn, or because a thread waits for the answer.
  bool Enter(uint64_t bytes, bool first, const std::shared_ptr<Waiter>& waiter);
  // Answered, or given up. True: WakeWaiting() is to follow, without locks held.
  [[nodiscard]] bool Leave(uint64_t bytes);
  // Gives their turn to as many as there is room for.
  void WakeWaiting();

 private:
  bool HasRoom() const STRATA_REQUIRES(mu_) { return bytes_ < kMostBytes; }
  std::shared_ptr<Waiter> TakeFirst();

  Mutex mu_;
  uint64_t bytes_ STRATA_GUARDED_BY(mu_) = 0;
  std::deque<std::weak_ptr<Waiter>> waiting_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata
