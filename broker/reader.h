// Reader: a cursor over one channel. It never blocks a writer or another reader.
//
//   for (;;) {
//     Reader::Item item = reader->Next();
//     if (auto* delivery = std::get_if<Delivery>(&item)) Send(*delivery);
//     else if (auto* gap = std::get_if<Gap>(&item)) Announce(*gap);
//     else if (auto* status = std::get_if<Status>(&item)) return Finish(*status);
//     else if (reader->WakeWhenReady([...] { Continue(); })) return;  // AtEnd: until woken
//   }
//
// Everything below the durable end of the channel is delivered in order of ids, once, or announced
// as a gap. A reader that keeps up is served from the tail cache; one that is behind reads from
// storage, which blocks: ask NeedsStorage() first where a thread must not block, and call Next() on
// an executor then.
//
// Threads: one at a time. The wake callback comes from any thread, at most once per WakeWhenReady,
// never from inside it, and must only schedule. One that is about to run while the reader is
// destroyed still runs: it must own what it touches.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <variant>

#include "base/status.h"
#include "broker/types.h"

namespace strata::broker {

class Channel;
struct SharedState;
struct Subscription;

class Reader {
 public:
  struct AtEnd {};
  // Status: CHANNEL_DELETED, SHUTTING_DOWN (the broker closes), SUBSCRIPTION_NOT_FOUND (deleted
  // under it), or a storage error; final.
  using Item = std::variant<AtEnd, Delivery, Gap, Status>;

  // Use Broker::OpenReader and OpenSubscription. With a subscription it is attached already;
  // `seeks` is what Attach gave.
  Reader(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel,
         const StartPosition& start, MessageId position);
  Reader(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel,
         std::shared_ptr<Subscription> subscription, MessageId position, uint64_t seeks);
  // Detaches from its subscription.
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next batch or gap, or AtEnd. Blocks on the disk only if NeedsStorage().
  Item Next();
  // True if Next() would read from storage now.
  bool NeedsStorage();
  // Arranges for `wake` to be called once, when Next() may have something else than AtEnd to say:
  // more is durable, a truncation, a seek, the channel's or the broker's end. Replaces an earlier
  // one that has not run. Wake-ups follow ids, so none is lost: if it is so already, false is
  // returned and `wake` is dropped.
  [[nodiscard]] bool WakeWhenReady(std::function<void()> wake);

  // Goes on from there, forward or backward; a reader without a subscription only (use
  // Broker::SeekSubscription). Blocking for a time.
  Status Seek(const StartPosition& to);
  // The id that Next() goes on from.
  MessageId position() const { return position_; }
  // The channel as of now, without its pages and bytes.
  ChannelInfo channel() const;

  // For readers from OpenSubscription: as Broker::Acknowledge. INVALID_ARGUMENT for a reader
  // without a subscription.
  Status Acknowledge(MessageId through);

 private:
  // Takes up a seek of the subscription; its deletion is the status.
  Status FollowSubscription();
  // The batch's part from position_ on; moves position_ behind it.
  Item Deliver(const storage::StoredBatch& batch);
  // Announces [position_, next) and moves there.
  Item SkipTo(MessageId next, GapReason reason);
  // Announces [position_, next), or its first part: as LOST what is recorded as such, else as
  // `otherwise`.
  Item ExplainHole(MessageId next, GapReason otherwise);
  // What ids that storage does not have were: [position_, next).
  Item MissingRows(MessageId next);
  Item NextFromStorage(MessageId end);
  // Forgets what was read ahead and then passed over.
  void DropPassed();

  const std::shared_ptr<SharedState> shared_;
  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Subscription> subscription_;  // null without one
  MessageId position_;
  uint64_t seeks_ = 0;  // of the subscription, as last followed
  TimeMicros not_before_ =
      0;  // started at a time that may lie in the future: older messages are not meant
  std::deque<storage::ReadItem>
      ahead_;  // read from storage, not yet delivered; starts at or behind position_
};

}  // namespace strata::broker
