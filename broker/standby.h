// Standby: a consumer's place in the queue for a subscription (FAILOVER).
//
// Whoever comes first has its turn first. The turn comes when the holder lets go, or at once if
// nobody holds the subscription; from that moment this consumer is the holder, so that nobody can
// come between. Its SubscriptionOpen::news is called then; Take() tells.
//
// Threads: one at a time. Destroying it gives the place up, and a turn that was not taken goes on to
// the next one.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "broker/reader.h"
#include "broker/subscription.h"
#include "broker/types.h"

namespace strata::broker {

class Standby {
 public:
  // Use Broker::StandBy. It is in the queue already; `held_by` had it then.
  Standby(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel,
          Attachment attached, std::string held_by, MessageId resume_at, uint64_t resume_seek);
  ~Standby();
  Standby(const Standby&) = delete;
  Standby& operator=(const Standby&) = delete;

  // The reader, once, when it has its turn; null before that. An error is final: CHANNEL_DELETED,
  // SHUTTING_DOWN, SUBSCRIPTION_NOT_FOUND (deleted), SUBSCRIPTION_HELD (the same consumer came
  // again).
  Result<std::unique_ptr<Reader>> Take();
  // Who had it when this one came; empty: nobody.
  const std::string& held_by() const { return held_by_; }
  // The channel as of now, without its pages and bytes.
  ChannelInfo channel() const;

 private:
  const std::shared_ptr<SharedState> shared_;
  const std::shared_ptr<Channel> channel_;
  Attachment attached_;  // without a claim once it was taken
  const std::string held_by_;
  const MessageId resume_at_;
  const uint64_t resume_seek_;
};

}  // namespace strata::broker
