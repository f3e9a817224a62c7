#include "client/partial_gate.h"

#include <utility>

namespace strata {
namespace {

// The gate whose line this thread is serving. A turn may be answered within it, with an error, and
// that answer would serve the next one: 10,000 failing producers would be as many stack frames.
thread_local const PartialGate* serving = nullptr;

}  // namespace

bool PartialGate::Enter(uint64_t bytes, bool first, const std::shared_ptr<Waiter>& waiter) {
  MutexLock lock(mu_);
  if (HasRoom() && (first || waiting_.empty())) {
    bytes_ += bytes;
    return true;
  }
  // Under the same lock, or the last answer could come between the two, and nobody would call.
  if (waiter != nullptr) waiting_.insert(first ? waiting_.begin() : waiting_.end(), waiter);
  return false;
}

bool PartialGate::Leave(uint64_t bytes) {
  MutexLock lock(mu_);
  bytes_ -= bytes;
  return !waiting_.empty();
}

void PartialGate::WakeWaiting() {
  if (serving == this) return;  // the loop below, further up, goes on
  const PartialGate* const outer = std::exchange(serving, this);
  while (const std::shared_ptr<Waiter> first = TakeFirst()) first->OnTurn();
  serving = outer;
}

std::shared_ptr<PartialGate::Waiter> PartialGate::TakeFirst() {
  MutexLock lock(mu_);
  while (HasRoom() && !waiting_.empty()) {
    std::shared_ptr<Waiter> first = waiting_.front().lock();
    waiting_.pop_front();
    if (first != nullptr) return first;
  }
  return nullptr;
}

}  // namespace strata
