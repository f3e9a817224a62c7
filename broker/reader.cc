#include "broker/reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "broker/channel.h"
#include "broker/shared_state.h"

namespace strata::broker {

using storage::ReadItem;
using storage::StoredBatch;

namespace {

// One read from storage: a large batch, or so many bytes of small ones. It is all that a reader
// that is behind holds.
constexpr size_t kReadBytes = 256u << 10;

// Held by ReadAhead(), of all readers: enough for the few that read from storage at a time, and little
// beside what a thousand readers that are behind would hold. The reads that are under way when it is
// reached, at most one for each thread that calls it, come on top.
constexpr uint64_t kMostReadAhead = 16u << 20;

// The half-open range of ids that an item speaks of.
std::pair<MessageId, MessageId> IdsOf(const ReadItem& item) {
  if (const auto* batch = std::get_if<StoredBatch>(&item))
    return {batch->first_id, batch->next_id()};
  const Gap& gap = std::get<Gap>(item);
  return {gap.first, gap.last + 1};
}

Status Closed() { return Status(Reason::SHUTTING_DOWN, "the broker is closed"); }

}  // namespace

Result<MessageId> ResolveStart(SharedState& shared, const Channel& channel,
                               const StartPosition& start) {
  const Channel::Range range = channel.range();
  if (!range.end_status.ok()) return range.end_status;
  const auto at = [&range](MessageId id) { return id <= 0 ? range.first_available : id; };
  switch (start.kind) {
    case StartPosition::Kind::kEarliest:
      return range.first_available;
    case StartPosition::Kind::kLatest:
      return range.next_id;
    case StartPosition::Kind::kAtId:
      return at(start.id);
    case StartPosition::Kind::kAfterId:
      if (start.id == std::numeric_limits<MessageId>::max()) return start.id;
      return at(start.id < 0 ? 0 : start.id + 1);
    case StartPosition::Kind::kAtTime: {
      const StoreGate::Pass pass(shared.gate);
      if (pass.store() == nullptr) return Closed();
      return pass.store()->FindTime(channel.number(), start.time, range.first_available,
                                    range.next_id);
    }
  }
  return Status(Reason::INVALID_ARGUMENT, "unknown kind of start position");
}

Reader::Reader(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel,
               const StartPosition& start, MessageId position)
    : shared_(std::move(shared)), channel_(std::move(channel)), position_(position) {
  if (start.kind == StartPosition::Kind::kAtTime) not_before_ = start.time;
  shared_->readers.fetch_add(1, std::memory_order_relaxed);
}

Reader::Reader(std::shared_ptr<SharedState> shared, std::shared_ptr<Channel> channel,
               Attachment attached, MessageId position)
    : shared_(std::move(shared)),
      channel_(std::move(channel)),
      attached_(std::move(attached)),
      position_(position) {
  shared_->readers.fetch_add(1, std::memory_order_relaxed);
}

Reader::~Reader() {
  channel_->RemoveWaiter(this);
  Uncount();
  if (has_subscription()) channel_->Leave(*attached_.subscription, attached_.claim);
  shared_->readers.fetch_sub(1, std::memory_order_relaxed);
}

Reader::Item Reader::Next() {
  if (std::optional<Item> news = TakeNews()) return *std::move(news);
  for (;;) {
    const Channel::Range range = channel_->range();
    if (!range.end_status.ok()) return range.end_status;
    if (position_ < range.first_available)
      return ExplainHole(range.first_available, GapReason::kTrimmed);
    if (position_ >= range.next_id) return AtEnd{};

    Item item;
    DropPassed();
    if (!ahead_.empty()) {
      item = NextFromStorage(range.next_id);
    } else if (std::optional<StoredBatch> batch =
                   shared_->cache.Get(channel_->number(), position_)) {
      shared_->cache_hits.fetch_add(1, std::memory_order_relaxed);
      is_behind_ = false;
      item = Deliver(*batch);
    } else {
      item = NextFromStorage(range.next_id);
    }
    // A start in the future passes over what was appended before it; everything later is at or
    // after it, because append times never decrease.
    const auto* delivery = std::get_if<Delivery>(&item);
    if (delivery != nullptr && delivery->batch.append_time < not_before_) continue;
    return item;
  }
}

bool Reader::NeedsStorage() {
  if (has_subscription() && channel_->HasNews(attached_)) return false;
  const Channel::Range range = channel_->range();
  if (!range.end_status.ok()) return false;
  if (position_ < range.first_available || position_ >= range.next_id) return false;
  DropPassed();
  return ahead_.empty() && !shared_->cache.Has(channel_->number(), position_);
}

void Reader::ReadAhead() {
  if (shared_->read_ahead.load(std::memory_order_relaxed) >= kMostReadAhead || !NeedsStorage()) {
    return;
  }
  // An error is found again by Next().
  static_cast<void>(Load(channel_->range().next_id));
  for (const ReadItem& item : ahead_) {
    if (const auto* batch = std::get_if<StoredBatch>(&item)) counted_ += batch->bytes.size();
  }
  shared_->read_ahead.fetch_add(counted_, std::memory_order_relaxed);
}

bool Reader::WakeWhenReady(std::function<void()> wake) {
  // The condition is asked under the channel's lock, under which everything that could make it true
  // is published: so either it is seen here, or the waiter is registered before the publication
  // looks for waiters.
  return channel_->AddWaiter(this, std::move(wake), position_, attached_);
}

Status Reader::Seek(const StartPosition& to) {
  if (has_subscription()) {
    return Status(Reason::INVALID_ARGUMENT,
                  "a reader with a subscription follows it: seek the subscription");
  }
  STRATA_ASSIGN_OR_RETURN(position_, ResolveStart(*shared_, *channel_, to));
  not_before_ = to.kind == StartPosition::Kind::kAtTime ? to.time : 0;
  DropAhead();
  return Status::Ok();
}

ChannelInfo Reader::channel() const { return channel_->Info(); }

Status Reader::Acknowledge(MessageId through, std::optional<uint64_t> seek) {
  if (!has_subscription()) {
    return Status(Reason::INVALID_ARGUMENT, "this reader has no subscription to acknowledge for");
  }
  bool changed = false;
  STRATA_RETURN_IF_ERROR(
      channel_->Acknowledge(attached_, through, seek, shared_->clock->WallMicros(), &changed));
  if (changed) shared_->changed_cursors.Add(channel_, attached_.subscription);
  return Status::Ok();
}

std::optional<Reader::Item> Reader::TakeNews() {
  if (!has_subscription()) return std::nullopt;
  Status status;
  const std::optional<Moved> moved = channel_->Follow(&attached_, &status);
  if (!status.ok()) return status;
  if (!moved.has_value()) return std::nullopt;
  GoTo(*moved);
  return *moved;
}

void Reader::GoTo(const Moved& moved) {
  attached_.seeks = moved.seek;
  position_ = moved.position;
  DropAhead();
}

Reader::Item Reader::Deliver(const StoredBatch& batch) {
  Delivery delivery;
  delivery.batch = batch;
  delivery.skip = static_cast<uint32_t>(position_ - batch.first_id);
  position_ = batch.next_id();
  return delivery;
}

Reader::Item Reader::SkipTo(MessageId next, GapReason reason) {
  const Gap gap{position_, next - 1, reason};
  position_ = next;
  return gap;
}

Reader::Item Reader::ExplainHole(MessageId next, GapReason otherwise) {
  const Gap lost = channel_->LostAtOrAfter(position_);
  if (lost.first <= position_ && position_ <= lost.last) {
    return SkipTo(std::min(next, lost.last + 1), GapReason::kLost);
  }
  if (lost.first > position_ && lost.first < next) next = lost.first;
  return SkipTo(next, otherwise);
}

Reader::Item Reader::MissingRows(MessageId next) {
  // Rows go when the channel is trimmed or deleted, and the range by which they were looked for may
  // be older than that. Only what neither explains is damage.
  const Channel::Range range = channel_->range();
  if (!range.end_status.ok()) return range.end_status;
  if (range.deleting) return AtEnd{};
  if (position_ < range.first_available)
    return ExplainHole(range.first_available, GapReason::kTrimmed);
  return ExplainHole(next, GapReason::kCorrupt);
}

void Reader::DropPassed() {
  while (!ahead_.empty() && IdsOf(ahead_.front()).second <= position_) ahead_.pop_front();
  if (ahead_.empty()) Uncount();
}

void Reader::DropAhead() {
  ahead_.clear();
  Uncount();
}

void Reader::Uncount() {
  if (counted_ == 0) return;
  shared_->read_ahead.fetch_sub(std::exchange(counted_, 0), std::memory_order_relaxed);
}

Status Reader::Load(MessageId end) {
  const StoreGate::Pass pass(shared_->gate);
  if (pass.store() == nullptr) return Closed();
  shared_->storage_reads.fetch_add(1, std::memory_order_relaxed);
  STRATA_ASSIGN_OR_RETURN(std::vector<ReadItem> items,
                          pass.store()->Read(channel_->number(), position_, end, kReadBytes));
  ahead_.assign(std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
  return Status::Ok();
}

Reader::Item Reader::NextFromStorage(MessageId end) {
  is_behind_ = true;
  if (ahead_.empty()) {
    if (const Status status = Load(end); !status.ok()) return status;
  }
  if (ahead_.empty()) return MissingRows(end);
  const auto [first, next] = IdsOf(ahead_.front());
  if (first > position_) return MissingRows(first);
  const ReadItem item = std::move(ahead_.front());
  ahead_.pop_front();
  if (ahead_.empty()) Uncount();
  if (const auto* gap = std::get_if<Gap>(&item)) return SkipTo(next, gap->reason);
  return Deliver(std::get<StoredBatch>(item));
}

}  // namespace strata::broker
