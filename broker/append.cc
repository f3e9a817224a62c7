// The append path's first hop: check, reserve, hand to the committer; and its last: publish, give
// back, answer.
#include <algorithm>
#include <iterator>

#include "broker/broker.h"
#include "broker/operations.h"
#include "broker/producers.h"
#include "broker/shared_state.h"

namespace strata::broker {

Result<Broker::ChannelPtr> Broker::FindChannelOf(const AppendRequest& request) const {
  if (request.session != nullptr) {
    const ChannelPtr& channel = request.session->channel();
    if (request.channel.empty() || request.channel == channel->name()) return channel;
    return Status(Reason::INVALID_ARGUMENT, "the session is of channel '" + channel->name() +
                                                "', not of '" + request.channel + "'");
  }
  STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannel(request.channel));
  STRATA_RETURN_IF_ERROR(CheckNumber(*channel, request.channel_number));
  return channel;
}

Result<BatchOnItsWay> Broker::Check(AppendRequest* request) {
  STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannelOf(*request));
  STRATA_ASSIGN_OR_RETURN(const BatchShape shape, CheckBatch(request->batch, options_.limits));
  Sender sender{std::move(request->session), std::move(request->producer), request->term,
                request->sequence,           request->expected_next_id,    0};
  STRATA_RETURN_IF_ERROR(CheckSender(sender));
  // Here rather than in the write role, which all appends pass one by one.
  sender.content = ContentHash(request->batch);
  return BatchOnItsWay(this, std::move(channel), std::move(sender), std::move(request->batch),
                       shape.count);
}

Status Broker::Reserve(uint64_t bytes) {
  STRATA_RETURN_IF_ERROR(AdmitToDisk(bytes));
  uint64_t pending = pending_bytes_.load(std::memory_order_relaxed);
  do {
    if (pending > 0 && pending + bytes > options_.max_pending_total) {
      return Status(Reason::BACK_PRESSURE, std::to_string(pending) +
                                               " bytes wait for their acknowledgement, at most " +
                                               std::to_string(options_.max_pending_total) +
                                               " may (limits.maxPendingTotal)");
    }
  } while (!pending_bytes_.compare_exchange_weak(pending, pending + bytes));
  return Status::Ok();
}

Result<BatchOnItsWay> Broker::Admit(AppendRequest request) {
  const std::shared_ptr<ProducerSession> session = request.session;
  if (session != nullptr) STRATA_RETURN_IF_ERROR(session->admission());
  Result<BatchOnItsWay> batch = Check(&request);
  Status status = batch.status();
  if (status.ok()) status = Reserve(batch->bytes());
  if (status.ok()) return batch;
  // Back-pressure is no refusal: the caller sends this very batch again when there is room.
  if (session != nullptr && status.reason() != Reason::BACK_PRESSURE) {
    session->RefuseFromHere(status);
  }
  return status;
}

void Broker::AppendAsync(AppendRequest request, AppendCallback done) {
  Result<BatchOnItsWay> batch = Admit(std::move(request));
  if (!batch.ok()) return done(batch.status());
  committer_->Submit(new AsyncAppend(this, *std::move(batch), std::move(done)));
}

Result<AppendResult> Broker::Append(AppendRequest request) {
  Result<BatchOnItsWay> batch = Admit(std::move(request));
  if (!batch.ok()) return batch.status();
  BlockingAppend append(this, *std::move(batch));
  committer_->Run(&append);
  return append.Wait();
}

Status BatchOnItsWay::Judge() {
  const Channel::WriteFace& face = channel_->write_face();
  Status status;
  if (face.deleted) {
    status = Status(Reason::CHANNEL_DELETED, "the channel '" + channel_->name() + "' was deleted");
  } else {
    status = face.producers.Judge(face.record, sender_, face.next_id, &verdict_);
  }
  if (!status.ok() && sender_.session != nullptr) sender_.session->Refuse(status);
  return status;
}

void BatchOnItsWay::Add(storage::WriteGroup* group) {
  Channel::WriteFace& face = channel_->write_face();
  // Never below the channel's previous one, whatever the wall clock does.
  const TimeMicros now = std::max(face.last_append_time, broker_->options_.clock->WallMicros());
  const storage::ProducerResult* const first = verdict_.duplicate_of;
  ProducerState* const state =
      face.producers.Accept(&face.record, sender_, verdict_, now, &group->changes);
  if (first != nullptr) {
    stored_.first_id = first->first_id;
    stored_.count = first->count;
    stored_.append_time = first->append_time;
    return;
  }
  added_ = true;
  face.last_append_time = now;
  stored_.first_id = face.next_id;
  stored_.append_time = now;
  face.next_id += stored_.count;

  storage::BatchRecord& record = group->batches.emplace_back();
  record.channel = channel_->number();
  record.first_id = stored_.first_id;
  record.count = stored_.count;
  record.append_time = stored_.append_time;
  record.bytes = stored_.bytes;
  record.content = sender_.content;
  if (state == nullptr) return;
  record.producer = state->record.number;
  record.sequence = sender_.sequence;
  state->results.Add({sender_.sequence, stored_.first_id, stored_.count, now, sender_.content});
}

void BatchOnItsWay::Publish() {
  if (!added_) return;
  // Cached before it is visible, so that the reader it wakes finds it.
  broker_->shared_->cache.Put(channel_->number(), stored_);
  channel_->PublishAppend(stored_.next_id(), stored_.append_time);
  broker_->messages_appended_.fetch_add(stored_.count, std::memory_order_relaxed);
  broker_->bytes_appended_.fetch_add(stored_.bytes.size(), std::memory_order_relaxed);
  broker_->batches_appended_.fetch_add(1, std::memory_order_relaxed);
  broker_->sweeper_->NoteAppended(stored_.bytes.size());
}

Status AppendOperation::Prepare(storage::WriteGroup* group) {
  STRATA_RETURN_IF_ERROR(batch_.Judge());
  batch_.Add(group);
  return Status::Ok();
}

Result<AppendResult> AppendOperation::Finish(const Status& status) {
  broker_->ReleasePending(batch_.bytes());
  if (!status.ok()) return status;
  return batch_.result();
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
  // In their order, and only as many as there is room for together: a loaded broker gives back a few hundred bytes at a
  // time, and if each of 10,000 producers were woken each time, waking would cost more than the appends. Nobody is
  // forgotten, even if those who are woken have gone: bytes are pending then, whose release comes by here, and the last
  // one wakes everybody.
  std::vector<RoomWaiter> ready;
  {
    MutexLock lock(room_mu_);
    const uint64_t pending = pending_bytes_.load();
    uint64_t together = pending;
    while (!room_waiters_.empty()) {
      together += room_waiters_.front().bytes;
      if (pending > 0 && together > options_.max_pending_total) break;
      ready.push_back(std::move(room_waiters_.front()));
      room_waiters_.pop_front();
    }
    room_wanted_.store(!room_waiters_.empty());
  }
  for (const RoomWaiter& waiter : ready) waiter.wake();
}

}  // namespace strata::broker
