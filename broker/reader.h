// Reader: a cursor over one channel. It never blocks a writer or another reader.
//
//   for (;;) {
//     Reader::Item item = reader->Next();
//     if (auto* delivery = std::get_if<Delivery>(&item)) Send(*delivery);
//     else if (auto* gap = std::get_if<Gap>(&item)) Announce(*gap);
//     else if (auto* moved = std::get_if<Moved>(&item)) Announce(*moved);
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
#include <optional>
#include <variant>

#include "base/status.h"
#include "broker/subscription.h"
#include "broker/types.h"

namespace strata::broker {

class Channel;
struct SharedState;

class Reader {
 public:
  struct AtEnd {};
  // Moved: the subscription was sought by somebody else; what follows belongs to the new position.
  // Status: CHANNEL_DELETED, SHUTTING_DOWN (the broker closes), SUBSCRIPTION_NOT_FOUND (deleted
  // under it), SUBSCRIPTION_HELD (the same consumer opened it again), or a storage error; final.
  using Item = std::variant<AtEnd, Delivery, Gap, Moved, Status>;

  // Use Broker::OpenReader and OpenSubscription. With a subscription it holds that already.
  Reader(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel,
         const StartPosition& start, MessageId position);
  Reader(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel, Attachment attached,
         MessageId position);
  // Lets go of its subscription.
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next batch or gap, or AtEnd. Blocks on the disk only if NeedsStorage().
  Item Next();
  // True if Next() would read from storage now.
  bool NeedsStorage();
  // What Next() said last came from storage, so that what follows probably does, too.
  bool is_behind() const { return is_behind_; }
  // If Next() would read from storage, reads that now, so that it will not; for those who have time
  // until they can take it. Does nothing while all readers together hold 16 MiB in this way. Blocks
  // as Next() does; what it runs into shows in Next().
  void ReadAhead();
  // Arranges for `wake` to be called once, when Next() may have something else than AtEnd to say:
  // more is durable, a truncation, a seek, the channel's or the broker's end. Replaces an earlier
  // one that has not run. Wake-ups follow ids, so none is lost: if it is so already, false is
  // returned and `wake` is dropped.
  [[nodiscard]] bool WakeWhenReady(std::function<void()> wake);

  // What a subscription's reader has to say whatever there is to deliver: Moved, or its end. Next()
  // begins with it; it is for those who do not call Next() now. Never reads from storage.
  std::optional<Item> TakeNews();

  // Goes on from there, forward or backward; a reader without a subscription only (Broker::Seek is
  // for both). Blocking for a time.
  Status Seek(const StartPosition& to);
  // The id that Next() goes on from.
  MessageId position() const { return position_; }
  // The channel as of now, without its pages and bytes.
  ChannelInfo channel() const;

  // For readers from OpenSubscription: as Broker::Acknowledge, but changes nothing if a seek has
  // come since `through` was delivered, which was behind seek number `seek` (0: before the first one;
  // nothing: the one that this reader was moved by last). INVALID_ARGUMENT for a reader without a
  // subscription.
  Status Acknowledge(MessageId through, std::optional<uint64_t> seek = {});
  bool has_subscription() const { return attached_.subscription != nullptr; }
  // The number of the last seek that it has followed; 0 without a subscription.
  uint64_t seek_number() const { return attached_.seeks; }

 private:
  friend class Broker;

  // Goes on behind a seek of the subscription.
  void GoTo(const Moved& moved);
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
  // Fills ahead_, which is empty, from position_ on.
  Status Load(MessageId end);
  // Forgets what was read ahead and then passed over.
  void DropPassed();
  void DropAhead();
  // What is held is not counted in SharedState any more.
  void Uncount();

  const std::shared_ptr<SharedState> shared_;
  const std::shared_ptr<Channel> channel_;
  Attachment attached_;  // to its subscription
  MessageId position_;
  TimeMicros not_before_ =
      0;  // started at a time that may lie in the future: older messages are not meant
  std::deque<storage::ReadItem>
      ahead_;             // read from storage, not yet delivered; starts at or behind position_
  uint64_t counted_ = 0;  // bytes of ahead_ when ReadAhead() filled it, while any of it is left
  bool is_behind_ = false;
};

}  // namespace strata::broker
