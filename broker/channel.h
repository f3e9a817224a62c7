// Channel: one log's state in memory. It has two faces.
//
// The write face is what the next append builds on: ids given out, the newest append time, changes
// prepared but not yet durable. Only the holder of the committer's write role touches it, so it
// needs no lock.
//
// The read face is what everybody may see: the durable end, the first available id, who waits. It
// moves forward when the committer publishes, under `mu_`:
//
//     truncated  |  available to readers  |  written, not yet durable  |
//                first_available          next_id                      write face's next_id
//
// Lock order: a channel's mu_ before the tail cache's and the broker's list of changed cursors.
// Wake-ups run without it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "broker/producers.h"
#include "broker/subscription.h"
#include "broker/types.h"
#include "retention/policy.h"
#include "storage/records.h"

namespace strata::broker {

class Reader;
class Wakes;

class Channel {
 public:
  // What only the holder of the write role touches.
  struct WriteFace {
    storage::ChannelRecord record;
    MessageId next_id = kFirstMessageId;
    MessageId first_available = 0;  // as trims on their way to disk leave it
    TimeMicros last_append_time = 0;
    std::map<std::string, std::shared_ptr<Subscription>, std::less<>> subscriptions;
    Producers producers;
    bool deleted = false;
  };

  // What readers go by, taken at one moment.
  struct Range {
    MessageId first_available = 0;
    MessageId next_id = 0;
    // The channel's deletion is on its way to disk: its rows may be gone from the store already,
    // and readers who miss them wait for the end.
    bool deleting = false;
    Status end_status;  // not OK: nothing more will come (CHANNEL_DELETED, SHUTTING_DOWN)
  };

  // `oldest` is the first id of the oldest page in the store, if there is one.
  Channel(const storage::RecoveredChannel& recovered, std::optional<MessageId> oldest);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  const std::string& name() const { return name_; }
  ChannelNumber number() const { return number_; }
  WriteFace& write_face() { return write_; }  // REQUIRES: the write role

  Range range() const;
  ChannelInfo Info() const;  // without pages and bytes
  // The recorded LOST hole that contains `id`, or the first one after it; none: last < first.
  Gap LostAtOrAfter(MessageId id) const;

  // --- Retention ---
  std::vector<retention::CursorView> Cursors() const;
  RetentionOverrides retention() const;
  // The newest truncation mark that was set `grace` microseconds before `now` or earlier: a channel
  // that is truncated again and again would otherwise begin its grace anew each time. If that does
  // not reach `oldest`, the first one that does, though its grace lasts. After a restart only the last
  // mark is known.
  struct TruncationMark {
    MessageId through = 0;
    TimeMicros at = 0;
  };
  TruncationMark TruncationInForce(int64_t grace, TimeMicros now, MessageId oldest) const;
  // The write role's: how far policy and cursors let pages go now, with every subscription that is
  // being created; 0 while a seek is on its way.
  MessageId EligibleEnd(const retention::Rules& rules, TimeMicros now);

  // --- Publishing: in commit order, by the role that completes groups ---
  void PublishAppend(MessageId next_id, TimeMicros append_time);
  void PublishTruncation(MessageId through, TimeMicros now);
  // Retention took what lies below `first_available`.
  void PublishTrim(MessageId first_available);
  void PublishOptions(const ChannelOptions& options);
  void PublishExclusive(int64_t term, const std::string& holder);
  // The write role's, before the deletion is written; End() follows, whatever becomes of it.
  void BeginDeletion();
  // Nothing more will come; the first status stays.
  void End(const Status& status);

  // --- Waiting ---
  // Registers `reader`, which stands at `position`, unless it has something to do already; then
  // false. See Reader::WakeWhenReady.
  bool AddWaiter(const Reader* reader, std::function<void()> wake, MessageId position,
                 const Attachment& attached);
  void RemoveWaiter(const Reader* reader);
  // Wakes all waiting readers.
  void WakeAll();

  // --- Subscriptions ---
  // By name; null if there is none.
  std::shared_ptr<Subscription> FindSubscription(std::string_view name) const;
  std::vector<std::shared_ptr<Subscription>> Subscriptions() const;
  void PublishSubscription(std::shared_ptr<Subscription> subscription);
  void PublishSeek(Subscription& subscription, MessageId cursor,
                   TimeMicros now);  // an attached reader follows
  void PublishSubscriptionDeletion(const std::string& name);
  SubscriptionInfo Describe(const Subscription& subscription) const;
  // Moves the cursor past `through`; *changed tells that it must be put on the list to persist.
  // Refused once nothing more will come, so that an OK before the broker's end is an OK that is
  // persisted. `seek` is the number of the seek behind which `through` was delivered, 0 before the
  // first; behind an older one nothing is changed. Nothing: the present one.
  Status Acknowledge(Subscription& subscription, MessageId through, std::optional<uint64_t> seek,
                     TimeMicros now, bool* changed);
  // The same for a reader, unless it has lost its hold (the status). Without `seek` it is the one
  // that the reader has followed.
  Status Acknowledge(const Attachment& attached, MessageId through, std::optional<uint64_t> seek,
                     TimeMicros now, bool* changed);
  // The write role's: its row as this seek leaves it; from here to PublishSeek no cursor is written
  // over it.
  storage::SubscriptionRecord BeginSeek(Subscription& subscription, MessageId cursor,
                                        TimeMicros now);
  // The write role's: from here to PublishSubscriptionDeletion no cursor is written.
  void BeginSubscriptionDeletion(Subscription& subscription);
  // The write role's: the row to persist, if it still is to be.
  std::optional<storage::SubscriptionRecord> TakeChanged(Subscription& subscription);

  // --- Holding a subscription (holding.cc) ---
  // `claim` holds it from now on if nobody else does. A claim with the same instance loses: its
  // holding, or its place in the queue. If another one holds it, *held_by says who, and `claim`
  // stands by if it may `wait`, otherwise SUBSCRIPTION_HELD.
  Status Enter(Subscription& subscription, const std::shared_ptr<Claim>& claim, bool wait,
               std::string* held_by);
  // Lets go of it, or of the place in the queue; the first one who stands by holds it then. Nothing
  // for a claim that was lost.
  void Leave(Subscription& subscription, const std::shared_ptr<Claim>& claim);
  // For a claim that holds it: what to start from. False: it stands by. Its end is the status, as of
  // the three that follow.
  Result<bool> Begin(Attachment* attached, TimeMicros now, MessageId* cursor);
  Status CheckHold(const Attachment& attached) const;
  // Where the cursor was moved by a seek that the reader has not followed, which it has then.
  std::optional<Moved> Follow(Attachment* attached, Status* status) const;
  // True if Follow would have something to say.
  bool HasNews(const Attachment& attached) const;

 private:
  struct Waiter {
    const Reader* reader;
    std::function<void()> wake;
  };
  using Waiters = std::vector<Waiter>;
  static void Wake(Waiters waiters);

  // Not OK: the channel's end, or the subscription's.
  Status GoneLocked(const Subscription& subscription) const STRATA_REQUIRES(mu_);
  // The same, or why the claim is lost.
  Status LostLocked(const Attachment& attached) const STRATA_REQUIRES(mu_);
  bool HasNewsLocked(const Attachment& attached) const STRATA_REQUIRES(mu_);
  // There is news for the holder; for those who stand by, too.
  void TellLocked(const Subscription& subscription, Wakes* wakes) const STRATA_REQUIRES(mu_);
  void TellAllLocked(const Subscription& subscription, Wakes* wakes) const STRATA_REQUIRES(mu_);
  Status CheckAcknowledgedLocked(MessageId through) const STRATA_REQUIRES(mu_);
  static void AdvanceLocked(Subscription& subscription, MessageId through, bool* changed);

  const ChannelNumber number_;
  const std::string name_;
  const TimeMicros created_at_;
  const std::vector<Gap> lost_;

  WriteFace write_;

  mutable Mutex mu_;
  ChannelOptions options_ STRATA_GUARDED_BY(mu_);
  MessageId first_available_ STRATA_GUARDED_BY(mu_);
  MessageId next_id_ STRATA_GUARDED_BY(mu_);
  TimeMicros last_append_time_ STRATA_GUARDED_BY(mu_);
  MessageId truncated_through_ STRATA_GUARDED_BY(mu_);
  std::vector<TruncationMark> marks_
      STRATA_GUARDED_BY(mu_);  // ascending; readers go by the last one
  int64_t exclusive_term_ STRATA_GUARDED_BY(mu_);
  std::string exclusive_holder_ STRATA_GUARDED_BY(mu_);
  bool deleting_ STRATA_GUARDED_BY(mu_) = false;
  Status end_status_ STRATA_GUARDED_BY(mu_);
  Waiters waiters_ STRATA_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<Subscription>, std::less<>> subscriptions_
      STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::broker
