// Subscription: a durable cursor, who holds it, and who waits for it. All of it is guarded by the
// mu_ of its channel, like everything that readers share (channel.h; holding.cc has the rules).
//
// A consumer comes with a Claim. Its address is its identity: a claim holds the subscription, or it
// stands by in the order of arrival, or it is lost, because the same consumer came again with
// another one. So whatever an old reader still does, it does with a claim that no longer counts.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "storage/records.h"

namespace strata::broker {

// Constant but for `lost`. Owned by the reader or the standby of its consumer and by the
// subscription.
struct Claim {
  std::string holder;               // describes the consumer to others; not empty
  uint64_t instance = 0;            // tells it from others; 0: cannot be told
  std::function<void()> news = {};  // its turn has come, or Reader::TakeNews has something to say
  Status lost = {};                 // not OK: taken over by the same consumer
};

struct Subscription {
  storage::SubscriptionRecord record;  // cursor: all below it is acknowledged
  bool changed = false;                // the cursor is on the list of those to persist
  int frozen = 0;  // seeks and deletions on their way to disk: its row is not to be written over
  bool deleted = false;
  std::shared_ptr<Claim> holder = {};               // null: nobody; then nobody stands by either
  std::deque<std::shared_ptr<Claim>> standby = {};  // the next one first
};

// What a reader with a subscription goes by. Without a subscription both are null.
struct Attachment {
  std::shared_ptr<Subscription> subscription = {};
  std::shared_ptr<Claim> claim = {};
  uint64_t seeks = 0;  // of the subscription, as last followed
};

}  // namespace strata::broker
