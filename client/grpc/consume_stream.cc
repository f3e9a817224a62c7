#include "client/grpc/consume_stream.h"

#include <algorithm>
#include <utility>

#include "client/calls.h"
#include "client/deadline.h"
#include "client/grpc/codec.h"
#include "proto/convert.h"
#include "proto/opaque.h"

namespace strata {
namespace {

constexpr char kConsume[] = "/strata.v1.Log/Consume";

}  // namespace

ConsumeStream::ConsumeStream(std::shared_ptr<Connection> connection, const v1::ConsumeOpen& open,
                             std::string store_id)
    : RawStream(std::move(connection)),
      read_ahead_(static_cast<uint64_t>(open.credit())),
      store_id_(std::move(store_id)) {}

std::shared_ptr<ConsumeStream> ConsumeStream::Open(std::shared_ptr<Connection> connection,
                                                   const v1::ConsumeOpen& open,
                                                   std::string store_id) {
  auto stream = std::make_shared<ConsumeStream>(std::move(connection), open, std::move(store_id));
  v1::ConsumeRequest request;
  *request.mutable_open() = open;
  Start(stream, kConsume, ToByteBuffer(request));
  return stream;
}

ChannelNumber ConsumeStream::channel_number() const {
  MutexLock lock(mu_);
  return channel_number_;
}

void ConsumeStream::FollowJumps(Place* place) {
  while (!ready_.empty() && std::holds_alternative<Jump>(ready_.front())) {
    const Jump& jump = std::get<Jump>(ready_.front());
    place->next = jump.position;
    place->active = true;
    place->seek = jump.seek;
    if (jump.opened.has_value()) {
      place->end_at_open = jump.opened->next_id();
      place->store_id = jump.opened->store_id();
    }
    ready_.pop_front();
  }
}

void ConsumeStream::Settle(Place* place) {
  MutexLock lock(mu_);
  FollowJumps(place);
}

Result<ReceivedBatch> ConsumeStream::Next(std::chrono::milliseconds timeout, Place* place) {
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (true) {
    if (!stopped_.ok()) return stopped_;
    FollowJumps(place);
    if (!ready_.empty()) break;
    if (!end_.ok()) return end_;
    if (timeout.count() <= 0 || (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout &&
                                 ready_.empty() && end_.ok() && stopped_.ok())) {
      return NothingCame();
    }
  }
  ReceivedBatch batch = std::get<ReceivedBatch>(std::move(ready_.front()));
  ready_.pop_front();
  place->next = batch.is_gap() ? batch.gap().last + 1 : batch.last_id() + 1;
  Owe(batch);
  const bool give = ShouldGiveCredit();
  lock.Unlock();
  if (give) WriteWhenIdle();
  lock.Lock();
  return batch;
}

Status ConsumeStream::Seek(const StartPosition& to, std::chrono::milliseconds timeout,
                           Place* place) {
  v1::ConsumeRequest request;
  ToProto(to, request.mutable_seek());
  {
    MutexLock lock(mu_);
    if (!stopped_.ok()) return stopped_;
    if (!end_.ok()) return end_;
    for (const Item& item : ready_) Owe(item);
    ready_.clear();
    acknowledge_ = 0;
    ++seeks_;
    request.set_add_credit(owed_);
    owed_ = 0;
  }
  Write(ToByteBuffer(request));
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (seeks_ > 0) {
    if (!stopped_.ok()) return stopped_;
    if (!end_.ok()) return end_;
    if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout && seeks_ > 0) {
      return NothingAppended(
          Status(Reason::TIMEOUT, "the daemon did not answer the seek within call_timeout"));
    }
  }
  place->next = sought_.position;
  place->seek = sought_.seek;
  return Status::Ok();
}

void ConsumeStream::AcknowledgeLater(MessageId through, uint64_t seek) {
  {
    MutexLock lock(mu_);
    if (seek == acknowledge_seek_) through = std::max(through, acknowledge_);
    acknowledge_ = through;
    acknowledge_seek_ = seek;
  }
  WriteWhenIdle();
}

void ConsumeStream::Stop(const Status& why) {
  MutexLock lock(mu_);
  if (stopped_.ok()) stopped_ = why;
  ready_.clear();
  changed_.NotifyAll();
}

std::optional<grpc::ByteBuffer> ConsumeStream::Fill() {
  v1::ConsumeRequest request;
  MutexLock lock(mu_);
  const bool acknowledge = acknowledge_ != 0 && active_;
  if (!ShouldGiveCredit() && !acknowledge) return std::nullopt;
  request.set_add_credit(std::exchange(owed_, 0));
  if (acknowledge) {
    request.set_acknowledge_seek(acknowledge_seek_);
    request.set_acknowledge_through(std::exchange(acknowledge_, 0));
  }
  return ToByteBuffer(request);
}

void ConsumeStream::OnMessage(Buffer message) {
  Result<ConsumeEvent> event = ParseConsumeResponse(message);
  bool give = false;
  bool opened = false;
  Status broken;
  {
    MutexLock lock(mu_);
    if (!event.ok()) {
      broken = event.status();
    } else if (auto* batch = std::get_if<ReceivedBatch>(&*event)) {
      Deliver(std::move(*batch));
      give = ShouldGiveCredit();
    } else {
      const auto& response = std::get<v1::ConsumeResponse>(*event);
      opened = response.has_opened() || response.has_standby();
      broken = Take(response);
      // What was acknowledged before it was lost is sent again now. And what a seek of somebody else has made useless
      // may have been all the credit there was.
      give = response.has_opened() || ShouldGiveCredit();
    }
    if (!broken.ok() && end_.ok()) end_ = broken;
    changed_.NotifyAll();
  }
  if (opened) SetOpened();
  if (!broken.ok()) Cancel();
  if (give) WriteWhenIdle();
}

Status ConsumeStream::Take(const v1::ConsumeResponse& event) {
  if (event.has_standby()) {
    channel_number_ = event.standby().channel_number();
  } else if (event.has_opened()) {
    const v1::ConsumeOpened& opened = event.opened();
    channel_number_ = opened.channel_number();
    if (!store_id_.empty() && opened.store_id() != store_id_) {
      return NothingAppended(
          Status(Reason::CHANNEL_RECREATED,
                 "the daemon serves another store: " + opened.store_id() + ", not " + store_id_));
    }
    active_ = true;
    Jumped({opened.position(), opened.seek_number(), opened});
  } else if (event.has_sought()) {
    const Jump jump{event.sought().position(), event.sought().seek_number()};
    if (!event.sought().by_other()) {
      sought_ = jump;
      if (seeks_ > 0) --seeks_;
    } else if (seeks_ == 0) {
      Jumped(jump);
    }
  }
  return Status::Ok();
}

void ConsumeStream::Jumped(Jump jump) {
  if (!stopped_.ok()) return;
  // What was received ahead belongs to the old place, except that the stream was opened there.
  if (!jump.opened.has_value() && !ready_.empty()) {
    if (const auto* first = std::get_if<Jump>(&ready_.front())) jump.opened = first->opened;
  }
  for (const Item& item : ready_) Owe(item);
  ready_.clear();
  ready_.emplace_back(std::move(jump));
}

void ConsumeStream::Deliver(ReceivedBatch batch) {
  if (!stopped_.ok()) return;
  if (seeks_ > 0) {
    Owe(batch);
    return;
  }
  ready_.emplace_back(std::move(batch));
}

void ConsumeStream::Owe(const Item& item) {
  const auto* batch = std::get_if<ReceivedBatch>(&item);
  if (batch != nullptr && !batch->is_gap()) owed_ += static_cast<int64_t>(batch->bytes().size());
}

bool ConsumeStream::ShouldGiveCredit() const {
  return owed_ > 0 && owed_ >= static_cast<int64_t>(read_ahead_ / 2);
}

void ConsumeStream::OnEnd(const grpc::Status& status, uint64_t /*sent*/) {
  Status end = connection_->ToStatus(status, DataFate::kNotApplicable);
  if (end.ok()) {
    end = Status(Reason::CONNECTION_LOST, "the daemon ended the reader's stream");
  }
  MutexLock lock(mu_);
  if (end_.ok()) end_ = NothingAppended(end);
  changed_.NotifyAll();
}

}  // namespace strata
