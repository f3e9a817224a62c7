#include "client/grpc/reconnecting_source.h"

#include <algorithm>
#include <utility>

#include "client/calls.h"
#include "client/deadline.h"
#include "proto/convert.h"
#include "proto/opaque.h"

namespace strata {
namespace {

constexpr char kAcknowledge[] = "/strata.v1.Log/Acknowledge";

std::chrono::milliseconds Until(std::chrono::steady_clock::time_point deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  return std::max(std::chrono::milliseconds(0), std::chrono::ceil<std::chrono::milliseconds>(left));
}

}  // namespace

ReconnectingSource::ReconnectingSource(std::shared_ptr<Connection> connection,
                                       const Options& options)
    : connection_(std::move(connection)), options_(options), instance_(RandomNumber()) {
  if (options.start.kind == StartPosition::Kind::kAtTime) at_time_ = options.start;
}

Result<std::shared_ptr<ReconnectingSource>> ReconnectingSource::Open(
    const std::shared_ptr<Connection>& connection, const Options& options, OpenSet* open) {
  auto source = std::make_shared<ReconnectingSource>(connection, options);
  // Before it is open, so that the client's end ends the waiting, too.
  open->Add(source);
  STRATA_RETURN_IF_ERROR(source->OpenFirst());
  return source;
}

Status ReconnectingSource::OpenFirst() {
  const auto deadline = DeadlineAfter(options_.wait_for_channel);
  return connection_->Persist([&] {
    std::shared_ptr<ConsumeStream> stream;
    {
      MutexLock lock(mu_);
      if (!closed_.ok()) return closed_;
      stream = opening_ = ConsumeStream::Open(connection_, RequestLocked(), "");
    }
    // The daemon is silent while the channel is missing.
    const bool waits = options_.wait_for_channel.count() > 0;
    const auto timeout = waits ? Until(deadline) : connection_->options().call_timeout;
    Status status = stream->AwaitOpened(timeout, "reader");
    if (!status.ok()) stream->Cancel();
    if (waits && status.reason() == Reason::TIMEOUT) {
      status = NothingAppended(
          Status(Reason::CHANNEL_NOT_FOUND,
                 "there is no channel '" + options_.channel + "', and none was created within " +
                     std::to_string(options_.wait_for_channel.count()) + " ms (wait_for_channel)"));
    }
    MutexLock lock(mu_);
    opening_.reset();
    if (!closed_.ok()) status = closed_;
    if (!status.ok()) return status;
    Take(stream);
    return Status::Ok();
  });
}

OpenedAt ReconnectingSource::opened_at() {
  MutexLock lock(mu_);
  return {channel_number_, place_.next, place_.end_at_open};
}

v1::ConsumeOpen ReconnectingSource::RequestLocked() const {
  v1::ConsumeOpen open;
  open.set_channel(options_.channel);
  open.set_channel_number(channel_number_);
  open.set_subscription(options_.subscription);
  open.set_credit(static_cast<int64_t>(std::max<uint64_t>(options_.read_ahead, 1)));
  open.set_wait_for_channel(channel_number_ == 0 && options_.wait_for_channel.count() > 0);
  const bool resumes = place_.next != 0;
  if (options_.subscription.empty()) {
    const StartPosition next = at_time_.value_or(StartPosition::At(place_.next));
    ToProto(resumes ? next : options_.start, open.mutable_start());
    return open;
  }
  ToProto(options_.start, open.mutable_start());
  open.set_holder(options_.holder);
  open.set_mode(options_.failover ? v1::ConsumeOpen::MODE_FAILOVER
                                  : v1::ConsumeOpen::MODE_EXCLUSIVE);
  open.set_instance(instance_);
  open.set_resume_at(place_.next);
  open.set_resume_seek(place_.seek);
  return open;
}

void ReconnectingSource::Take(std::shared_ptr<ConsumeStream> stream) {
  channel_number_ = stream->channel_number();
  if (acknowledged_ > 0) stream->AcknowledgeLater(acknowledged_, place_.seek);
  // What the opening says has come, unless it stands by.
  ConsumeStream::Place place = place_;
  place.active = false;
  stream->Settle(&place);
  Follow(place);
  stream_ = std::move(stream);
}

void ReconnectingSource::Follow(const ConsumeStream::Place& place) {
  if (place.seek != place_.seek) acknowledged_ = 0;
  place_ = place;
  position_.store(place.active ? place.next : 0, std::memory_order_relaxed);
}

void ReconnectingSource::Break(const ConsumeStream* stream, const Status& why) {
  if (stream_.get() != stream) return;
  const auto patience = connection_->options().reconnect_timeout;
  // It held the subscription, so what took it over is an opening of its own that came late: each time
  // the connection broke there was one more.
  const bool own = why.reason() == Reason::SUBSCRIPTION_HELD;
  if ((!IsBrokenConnection(why) && !own) || patience.count() == 0) {
    end_ = why;
    return;
  }
  stream_.reset();
  give_up_ = DeadlineAfter(patience);
  tried_late_ = false;
  backoff_ = Backoff();
  PauseBeforeNext(why);
}

void ReconnectingSource::PauseBeforeNext(const Status& why) {
  broken_by_ = why;
  next_try_ = SteadyClock::now() + backoff_.Next();
}

Status ReconnectingSource::EnsureStream(SteadyClock::time_point deadline) {
  while (stream_ == nullptr || !closed_.ok() || !end_.ok()) {
    if (!closed_.ok()) return closed_;
    if (!end_.ok()) return end_;
    STRATA_RETURN_IF_ERROR(Reopen(deadline));
  }
  return Status::Ok();
}

Status ReconnectingSource::Reopen(SteadyClock::time_point deadline) {
  const auto now = SteadyClock::now();
  if (opening_ == nullptr) {
    // A caller who comes seldom gets one attempt however late it is.
    const bool late = now >= give_up_;
    if (late && tried_late_) {
      end_ = broken_by_.WithContext("not back within reconnect_timeout");
    } else if (late || now >= next_try_) {
      tried_late_ = late;
      opening_ = ConsumeStream::Open(connection_, RequestLocked(), place_.store_id);
      opening_until_ = now + connection_->OpenTimeout();
    } else if (now >= deadline) {
      return NothingCame();
    } else {
      changed_.WaitUntil(mu_, std::min({next_try_, give_up_, deadline}));
    }
    return Status::Ok();
  }
  const std::shared_ptr<ConsumeStream> stream = opening_;
  const auto wait = Until(std::min(deadline, opening_until_));
  mu_.Unlock();
  const Status opened = stream->AwaitOpened(wait, "reader");
  mu_.Lock();
  if (stream != opening_) return Status::Ok();
  if (opened.reason() == Reason::TIMEOUT && SteadyClock::now() < opening_until_) {
    return NothingCame();
  }
  opening_.reset();
  if (opened.ok()) {
    Take(stream);
  } else {
    stream->Cancel();
    PauseBeforeNext(opened);
    if (!IsBrokenConnection(opened) && opened.reason() != Reason::TIMEOUT) end_ = opened;
  }
  return Status::Ok();
}

Result<ReceivedBatch> ReconnectingSource::Next(std::chrono::milliseconds timeout) {
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (true) {
    STRATA_RETURN_IF_ERROR(EnsureStream(deadline));
    const std::shared_ptr<ConsumeStream> stream = stream_;
    ConsumeStream::Place place = place_;
    lock.Unlock();
    Result<ReceivedBatch> batch = stream->Next(Until(deadline), &place);
    lock.Lock();
    if (!closed_.ok()) return closed_;
    Follow(place);
    if (batch.ok()) at_time_.reset();
    if (batch.ok() || batch.status().reason() == Reason::TIMEOUT) return batch;
    Break(stream.get(), batch.status());
  }
}

Result<MessageId> ReconnectingSource::Seek(const StartPosition& to) {
  const auto deadline = DeadlineAfter(connection_->options().call_timeout);
  MutexLock lock(mu_);
  while (true) {
    STRATA_RETURN_IF_ERROR(EnsureStream(deadline));
    STRATA_RETURN_IF_ERROR(CheckActive());
    const std::shared_ptr<ConsumeStream> stream = stream_;
    ConsumeStream::Place place = place_;
    lock.Unlock();
    const Status status = stream->Seek(to, Until(deadline), &place);
    lock.Lock();
    if (!closed_.ok()) return closed_;
    if (status.ok()) {
      acknowledged_ = 0;
      at_time_.reset();
      if (to.kind == StartPosition::Kind::kAtTime) at_time_ = to;
      Follow(place);
      return place.next;
    }
    if (status.reason() == Reason::TIMEOUT) {
      // Whether it was made is open: another stream will know.
      stream->Cancel();
      Break(stream.get(), Status(Reason::CONNECTION_LOST, "a seek had no answer"));
    }
    if (!IsBrokenConnection(status)) return status;
    Break(stream.get(), status);
  }
}

Status ReconnectingSource::CheckAcknowledge() const {
  if (!options_.subscription.empty()) return Status::Ok();
  return NothingAppended(
      Status(Reason::INVALID_ARGUMENT, "a reader has no subscription to acknowledge to"));
}

Status ReconnectingSource::CheckActive() const {
  if (place_.active) return Status::Ok();
  return NothingAppended(Status(
      Reason::SUBSCRIPTION_HELD,
      "this consumer of '" + options_.subscription +
          "' waits for its turn; only the one that holds a subscription acknowledges and seeks "
          "with it, or a call of the client"));
}

v1::AcknowledgeRequest ReconnectingSource::AcknowledgementLocked(MessageId through) const {
  v1::AcknowledgeRequest request;
  request.set_channel(options_.channel);
  request.set_channel_number(channel_number_);
  request.set_subscription(options_.subscription);
  request.set_through_id(through);
  request.set_acknowledge_seek(place_.seek);
  return request;
}

Status ReconnectingSource::Acknowledge(MessageId through) {
  STRATA_RETURN_IF_ERROR(CheckAcknowledge());
  v1::AcknowledgeRequest request;
  {
    MutexLock lock(mu_);
    if (!closed_.ok()) return closed_;
    if (!end_.ok()) return end_;
    STRATA_RETURN_IF_ERROR(CheckActive());
    request = AcknowledgementLocked(through);
  }
  const grpc::ByteBuffer bytes = ToByteBuffer(request);
  return connection_->Persist(
      [&] { return connection_->CallRaw(kAcknowledge, bytes, DataFate::kNotApplicable).status(); });
}

Status ReconnectingSource::AcknowledgeAsync(MessageId through) {
  STRATA_RETURN_IF_ERROR(CheckAcknowledge());
  std::shared_ptr<ConsumeStream> stream;
  uint64_t seek = 0;
  {
    MutexLock lock(mu_);
    if (!closed_.ok()) return closed_;
    if (through >= place_.next) {
      return NothingAppended(
          Status(Reason::ACK_BEYOND_END, "id " + std::to_string(through) +
                                             " was acknowledged, but only ids below " +
                                             std::to_string(place_.next) + " were received"));
    }
    if (through <= acknowledged_) return Status::Ok();
    acknowledged_ = through;
    seek = place_.seek;
    stream = stream_;
  }
  if (stream != nullptr) stream->AcknowledgeLater(through, seek);
  return Status::Ok();
}

void ReconnectingSource::Close() { End(Status(Reason::CLIENT_CLOSED, "the reader was closed")); }

void ReconnectingSource::End(const Status& why) {
  std::shared_ptr<ConsumeStream> stream;
  std::shared_ptr<ConsumeStream> opening;
  MessageId unsent = 0;
  v1::AcknowledgeRequest request;
  {
    MutexLock lock(mu_);
    if (closed_.ok()) closed_ = NothingAppended(why);
    stream = std::move(stream_);
    opening = std::move(opening_);
    stream_.reset();
    opening_.reset();
    unsent = std::exchange(acknowledged_, 0);
    request = AcknowledgementLocked(unsent);
    changed_.NotifyAll();
    if (stream != nullptr) stream->Stop(closed_);
    if (opening != nullptr) opening->Stop(closed_);
  }
  if (opening != nullptr) opening->Cancel();
  if (stream != nullptr) stream->End();
  if (unsent == 0 || (stream != nullptr && stream->EndedInPeace()) || GrpcThread::IsThis()) return;
  // The stream that should have brought it broke. Once: at worst it is delivered again.
  (void)connection_->CallRaw(kAcknowledge, ToByteBuffer(request), DataFate::kNotApplicable);
}

}  // namespace strata
