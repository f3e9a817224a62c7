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
constexpr char kAcknowledge[] = "/strata.v1.Log/Acknowledge";

}  // namespace

ConsumeStream::ConsumeStream(std::shared_ptr<Connection> connection, Options options)
    : RawStream(std::move(connection)), options_(std::move(options)) {}

Result<std::shared_ptr<ConsumeStream>> ConsumeStream::Open(std::shared_ptr<Connection> connection,
                                                           Options options) {
  auto stream = std::make_shared<ConsumeStream>(std::move(connection), std::move(options));
  v1::ConsumeRequest request;
  v1::ConsumeOpen& open = *request.mutable_open();
  open.set_channel(stream->options_.channel);
  open.set_subscription(stream->options_.subscription);
  ToProto(stream->options_.start, open.mutable_start());
  open.set_holder(stream->options_.holder);
  open.set_credit(static_cast<int64_t>(std::max<uint64_t>(stream->options_.read_ahead, 1)));
  Start(stream, kConsume, ToByteBuffer(request));
  const Status opened = stream->WaitUntilOpened();
  if (opened.ok()) return stream;
  stream->Cancel();
  return NothingAppended(opened);
}

Status ConsumeStream::WaitUntilOpened() {
  const std::chrono::milliseconds timeout = connection_->options().call_timeout;
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (!opened_.has_value() && end_.ok()) {
    if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout && !opened_.has_value() &&
        end_.ok()) {
      return Status(Reason::TIMEOUT, "the daemon did not open the reader within " +
                                         std::to_string(timeout.count()) + " ms (call_timeout)");
    }
  }
  return opened_.has_value() ? Status::Ok() : end_;
}

OpenedAt ConsumeStream::opened_at() const {
  MutexLock lock(mu_);
  return {opened_->channel_number(), opened_->position(), opened_->next_id()};
}

Result<ReceivedBatch> ConsumeStream::Next(std::chrono::milliseconds timeout) {
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (true) {
    if (!closed_.ok()) return closed_;
    if (!ready_.empty()) break;
    if (!end_.ok()) return end_;
    if (timeout.count() <= 0 || (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout &&
                                 ready_.empty() && end_.ok() && closed_.ok())) {
      return NothingCame();
    }
  }
  ReceivedBatch batch = std::move(ready_.front());
  ready_.pop_front();
  Owe(batch);
  const int64_t credit = TakeCredit();
  lock.Unlock();
  GiveCredit(credit);
  lock.Lock();
  return batch;
}

Result<MessageId> ConsumeStream::Seek(const StartPosition& to) {
  v1::ConsumeRequest request;
  ToProto(to, request.mutable_seek());
  {
    MutexLock lock(mu_);
    if (!closed_.ok()) return closed_;
    if (!end_.ok()) return end_;
    for (const ReceivedBatch& batch : ready_) Owe(batch);
    ready_.clear();
    ++seeks_;
    request.set_add_credit(owed_);
    owed_ = 0;
  }
  Write(ToByteBuffer(request));
  const std::chrono::milliseconds timeout = connection_->options().call_timeout;
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (seeks_ > 0) {
    if (!closed_.ok()) return closed_;
    if (!end_.ok()) return end_;
    if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout && seeks_ > 0) {
      return NothingAppended(Status(Reason::TIMEOUT, "the daemon did not answer the seek within " +
                                                         std::to_string(timeout.count()) +
                                                         " ms (call_timeout)"));
    }
  }
  return sought_;
}

Status ConsumeStream::Acknowledge(MessageId through) {
  if (options_.subscription.empty()) {
    return NothingAppended(
        Status(Reason::INVALID_ARGUMENT, "a reader has no subscription to acknowledge to"));
  }
  v1::AcknowledgeRequest request;
  request.set_channel(options_.channel);
  request.set_subscription(options_.subscription);
  request.set_through_id(through);
  return connection_->CallRaw(kAcknowledge, ToByteBuffer(request), DataFate::kNotApplicable)
      .status();
}

void ConsumeStream::Close() { End(Status(Reason::CLIENT_CLOSED, "the reader was closed")); }

void ConsumeStream::End(const Status& why) {
  {
    MutexLock lock(mu_);
    if (closed_.ok()) closed_ = NothingAppended(why);
    ready_.clear();
    changed_.NotifyAll();
  }
  RawStream::End();
}

void ConsumeStream::OnMessage(Buffer message) {
  Result<ConsumeEvent> event = ParseConsumeResponse(message);
  int64_t credit = 0;
  {
    MutexLock lock(mu_);
    if (!event.ok()) {
      if (end_.ok()) end_ = event.status();
    } else if (const auto* opened = std::get_if<v1::ConsumeOpened>(&*event)) {
      opened_ = *opened;
    } else if (const auto* sought = std::get_if<v1::ConsumeSought>(&*event)) {
      sought_ = sought->position();
      if (seeks_ > 0) --seeks_;
    } else {
      Deliver(std::get<ReceivedBatch>(std::move(*event)));
      credit = TakeCredit();
    }
    changed_.NotifyAll();
  }
  if (!event.ok()) Cancel();
  GiveCredit(credit);
}

void ConsumeStream::Deliver(ReceivedBatch batch) {
  if (!closed_.ok()) return;
  if (seeks_ > 0) {
    Owe(batch);
    return;
  }
  ready_.push_back(std::move(batch));
}

void ConsumeStream::Owe(const ReceivedBatch& batch) {
  if (!batch.is_gap()) owed_ += static_cast<int64_t>(batch.bytes().size());
}

int64_t ConsumeStream::TakeCredit() {
  if (owed_ == 0 || owed_ < static_cast<int64_t>(options_.read_ahead / 2)) return 0;
  return std::exchange(owed_, 0);
}

void ConsumeStream::GiveCredit(int64_t bytes) {
  if (bytes == 0) return;
  v1::ConsumeRequest request;
  request.set_add_credit(bytes);
  Write(ToByteBuffer(request));
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
