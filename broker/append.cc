// The append path's first hop: check, reserve, hand to the committer; and its last: publish, give
// back, answer.
#include <algorithm>
#include <iterator>

#include "broker/broker.h"
#include "broker/operations.h"
#include "broker/shared_state.h"

namespace strata::broker {

Result<Broker::ChannelPtr> Broker::Admit(const AppendRequest& request, uint32_t* count) {
  STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannel(request.channel));
  if (request.channel_number != 0 && request.channel_number != channel->number()) {
    return Status(Reason::CHANNEL_RECREATED,
                  "the channel '" + request.channel + "' was opened as number " +
                      std::to_string(request.channel_number) + " and is number " +
                      std::to_string(channel->number()) + " now");
  }
  STRATA_ASSIGN_OR_RETURN(const BatchShape shape, CheckBatch(request.batch, options_.limits));
  *count = shape.count;
  STRATA_RETURN_IF_ERROR(AdmitToDisk(request.batch.size()));

  const uint64_t bytes = request.batch.size();
  uint64_t pending = pending_bytes_.load(std::memory_order_relaxed);
  do {
    if (pending > 0 && pending + bytes > options_.max_pending_total) {
      return Status(Reason::BACK_PRESSURE, std::to_string(pending) +
                                               " bytes wait for their acknowledgement, at most " +
                                               std::to_string(options_.max_pending_total) +
                                               " may (limits.maxPendingTotal)");
    }
  } while (!pending_bytes_.compare_exchange_weak(pending, pending + bytes));
  return channel;
}

void Broker::AppendAsync(AppendRequest request, AppendCallback done) {
  uint32_t count = 0;
  Result<ChannelPtr> channel = Admit(request, &count);
  if (!channel.ok()) return done(channel.status());
  committer_->Submit(
      new AsyncAppend(this, *std::move(channel), std::move(request.batch), count, std::move(done)));
}

Result<AppendResult> Broker::Append(AppendRequest request) {
  uint32_t count = 0;
  STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, Admit(request, &count));
  BlockingAppend append(this, std::move(channel), std::move(request.batch), count);
  committer_->Run(&append);
  return append.Wait();
}

Status AppendOperation::Prepare(storage::WriteGroup* group) {
  Channel::WriteFace& face = channel_->write_face();
  if (face.deleted) {
    return Status(Reason::CHANNEL_DELETED, "the channel '" + channel_->name() + "' was deleted");
  }
  // Never below the channel's previous one, whatever the wall clock does.
  face.last_append_time = std::max(face.last_append_time, broker_->options_.clock->WallMicros());
  stored_.first_id = face.next_id;
  stored_.append_time = face.last_append_time;
  face.next_id += stored_.count;

  storage::BatchRecord& record = group->batches.emplace_back();
  record.channel = channel_->number();
  record.first_id = stored_.first_id;
  record.count = stored_.count;
  record.append_time = stored_.append_time;
  record.bytes = stored_.bytes;
  return Status::Ok();
}

void AppendOperation::Publish() {
  // Cached before it is visible, so that the reader it wakes finds it.
  broker_->shared_->cache.Put(channel_->number(), stored_);
  channel_->PublishAppend(stored_.next_id(), stored_.append_time);
  broker_->messages_appended_.fetch_add(stored_.count, std::memory_order_relaxed);
  broker_->bytes_appended_.fetch_add(stored_.bytes.size(), std::memory_order_relaxed);
  broker_->batches_appended_.fetch_add(1, std::memory_order_relaxed);
  broker_->sweeper_->NoteAppended(stored_.bytes.size());
}

Result<AppendResult> AppendOperation::Finish(const Status& status) {
  broker_->ReleasePending(stored_.bytes.size());
  if (!status.ok()) return status;
  return AppendResult{stored_.first_id, stored_.count, stored_.append_time};
}

bool Broker::HasRoom(uint64_t bytes) const {
  const uint64_t pending = pending_bytes_.load();
  return pending == 0 || pending + bytes <= options_.max_pending_total;
}

bool Broker::WakeWhenRoom(uint64_t bytes, std::function<void()> wake) {
  MutexLock lock(room_mu_);
  // Announced before looking: either ReleasePending sees the wish, or this sees what it released.
  room_wanted_.store(true);
  if (HasRoom(bytes)) {
    room_wanted_.store(!room_waiters_.empty());
    return false;
  }
  room_waiters_.push_back({bytes, std::move(wake)});
  return true;
}

void Broker::ReleasePending(uint64_t bytes) {
  pending_bytes_.fetch_sub(bytes);
  if (!room_wanted_.load()) return;
  // Only those for whom there is room: a loaded broker gives back a few hundred bytes at a time,
  // and waking everybody each time would cost more than the appends. Nobody is forgotten, because
  // who goes on waiting does so while bytes are pending, and these come by here.
  std::vector<RoomWaiter> ready;
  {
    MutexLock lock(room_mu_);
    const auto first_ready =
        std::stable_partition(room_waiters_.begin(), room_waiters_.end(),
                              [this](const RoomWaiter& waiter) { return !HasRoom(waiter.bytes); });
    ready.assign(std::make_move_iterator(first_ready),
                 std::make_move_iterator(room_waiters_.end()));
    room_waiters_.erase(first_ready, room_waiters_.end());
    room_wanted_.store(!room_waiters_.empty());
  }
  for (const RoomWaiter& waiter : ready) waiter.wake();
}

}  // namespace strata::broker
