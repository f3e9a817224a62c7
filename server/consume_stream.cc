#include "server/consume_stream.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "broker/wakes.h"
#include "proto/convert.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"
#include "server/delivery_codec.h"

namespace strata::server {
namespace {

// Credit is a promise, not a size: more than fits is as good as the most that fits.
int64_t AddCredit(int64_t credit, int64_t more) {
  int64_t sum = 0;
  return __builtin_add_overflow(credit, more, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

// After so many reads a stream lets others have the thread.
constexpr int kReadsInARow = 8;

}  // namespace

ConsumeStream* ConsumeStream::Start(std::shared_ptr<CallContext> context, std::string peer) {
  auto stream = std::make_shared<ConsumeStream>(std::move(context), std::move(peer));
  stream->self_ = stream;
  Status status = stream->context_->streams.Enter(stream->peer_, &stream->place_);
  if (status.ok() && !stream->context_->consumers.Add(stream)) status = Draining();
  {
    MutexLock lock(stream->mu_);
    if (status.ok()) {
      stream->ReadLocked();
    } else {
      stream->EndLocked(status);
    }
  }
  stream->Advance();
  return stream.get();
}

// --- What happens to the stream ---

void ConsumeStream::OnReadDone(bool ok) {
  v1::ConsumeRequest request;
  Status status;
  if (ok) status = ParseOpaque(ToBuffer(incoming_), &request);
  {
    MutexLock lock(mu_);
    if (!ok) {
      // Half-closed: nothing more is wanted. If the connection broke, OnCancel comes as well.
      EndLocked(Status());
    } else if (!status.ok()) {
      EndLocked(status);
    } else {
      request_ = std::move(request);
    }
  }
  Advance();
}

void ConsumeStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(mu_);
    writing_ = false;
    outgoing_.Clear();
    if (!ok) {
      broken_ = true;
      EndLocked(Status(Reason::CANCELLED, "the stream broke"));
    }
  }
  Advance();
}

void ConsumeStream::OnCancel() {
  {
    MutexLock lock(mu_);
    broken_ = true;
    EndLocked(Status(Reason::CANCELLED, "the client cancelled the stream"));
  }
  Advance();
}

void ConsumeStream::Drain() {
  {
    MutexLock lock(mu_);
    EndLocked(Draining());
  }
  Advance();
}

void ConsumeStream::OnDone() {
  context_->consumers.Remove(this);
  const auto self = std::move(self_);  // may be the last one; nothing follows
}

// --- One thread at a time ---

void ConsumeStream::Advance() {
  {
    MutexLock lock(mu_);
    if (running_) return;
    running_ = true;
  }
  Run(/*may_wait=*/false);
}

void ConsumeStream::RunWhereWaitingIsAllowed() {
  auto self = shared_from_this();
  if (context_->reads.Submit([self] { self->Run(/*may_wait=*/true); })) return;
  {
    MutexLock lock(mu_);
    EndLocked(Draining());
    request_.reset();
  }
  Run(/*may_wait=*/false);
}

void ConsumeStream::Run(bool may_wait) {
  for (int reads = 0;;) {
    Step step = Step::kNothing;
    {
      MutexLock lock(mu_);
      step = NextStepLocked();
      if (step == Step::kNothing) {
        running_ = false;
        return;
      }
      if (step == Step::kAnnounce) {
        WriteLocked(ToByteBuffer(*announcement_));
        announcement_.reset();
      }
    }
    // Stays "running" for good: nothing may touch the call any more.
    if (step == Step::kEnd) return End();
    const Outcome outcome = Take(step, may_wait);
    StartDueWrite();
    if (step == Step::kReadAhead) ++reads;
    if (outcome == Outcome::kNeedsToWait || reads == kReadsInARow) {
      return RunWhereWaitingIsAllowed();
    }
  }
}

ConsumeStream::Outcome ConsumeStream::Take(Step step, bool may_wait) {
  switch (step) {
    case Step::kRequest:
      return HandleRequest(may_wait);
    case Step::kOpen:
      return Open(may_wait);
    case Step::kNews:
      TellNews();
      return Outcome::kDone;
    case Step::kDeliver:
      return Deliver(may_wait);
    case Step::kReadAhead:
      return ReadAhead(may_wait);
    default:
      return Outcome::kDone;
  }
}

// gRPC sends on the thread that starts a write as much as the socket takes: 100 us and more, for
// which requests would wait if that held mu_.
void ConsumeStream::StartDueWrite() {
  if (std::exchange(write_is_due_, false)) StartWrite(&outgoing_);
}

ConsumeStream::Step ConsumeStream::NextStepLocked() {
  if (ending_) return broken_ || !writing_ ? Step::kEnd : Step::kNothing;
  // A seek waits until the answer to the one before it, or to opening, is on its way.
  if (request_ && !(announcement_ && request_->has_seek())) return Step::kRequest;
  if (phase_ == Phase::kOpening && news_) return Step::kOpen;
  const bool delivers = phase_ == Phase::kOpen && !news_ && credit_ > 0 && !at_end_;
  if (writing_) return delivers && may_read_ahead_ ? Step::kReadAhead : Step::kNothing;
  if (announcement_) return Step::kAnnounce;
  if (phase_ == Phase::kOpen && news_) return Step::kNews;
  return delivers ? Step::kDeliver : Step::kNothing;
}

// --- Steps ---

ConsumeStream::Outcome ConsumeStream::HandleRequest(bool may_wait) {
  v1::ConsumeRequest request;
  bool first = false;
  {
    MutexLock lock(mu_);
    request = *request_;
    first = phase_ == Phase::kNew;
  }
  bool needs_to_wait = false;
  const Status status = first ? HandleFirst(&request) : Control(&request, may_wait, &needs_to_wait);
  MutexLock lock(mu_);
  if (!status.ok()) {
    EndLocked(status);
    return Outcome::kDone;
  }
  if (needs_to_wait) {
    request_ = std::move(request);
    return Outcome::kNeedsToWait;
  }
  credit_ = AddCredit(credit_, request.add_credit());
  request_.reset();
  if (!first) ReadLocked();
  return Outcome::kDone;
}

Status ConsumeStream::HandleFirst(v1::ConsumeRequest* request) {
  STRATA_RETURN_IF_ERROR(ConsumeOpening::Check(*request));
  const int64_t credit = request->open().credit();
  opening_ = std::make_unique<ConsumeOpening>(context_, std::move(*request->mutable_open()), peer_,
                                              Waker(&ConsumeStream::NoteNews));
  MutexLock lock(mu_);
  credit_ = AddCredit(credit_, credit);
  phase_ = Phase::kOpening;
  news_ = true;
  return Status();
}

Status ConsumeStream::Control(v1::ConsumeRequest* request, bool may_wait, bool* needs_to_wait) {
  if (request->has_open()) {
    return Status(Reason::INVALID_ARGUMENT, "this Consume stream is open already");
  }
  if (request->add_credit() < 0) {
    return Status(Reason::INVALID_ARGUMENT, "add_credit is never negative");
  }
  const bool acknowledges = request->acknowledge_through() != 0;
  if (reader_ == nullptr && (acknowledges || request->has_seek())) {
    return Status(Reason::INVALID_ARGUMENT,
                  "acknowledging and seeking come after `opened`; this stream still waits");
  }
  if (acknowledges) {
    STRATA_RETURN_IF_ERROR(reader_->Acknowledge(request->acknowledge_through(), SeekOf(*request)));
    request->clear_acknowledge_through();  // done, should the rest have to wait
  }
  if (!request->has_seek()) return Status();
  if (!may_wait) {
    *needs_to_wait = true;
    return Status();
  }
  STRATA_ASSIGN_OR_RETURN(const StartPosition to, FromProto(request->seek()));
  STRATA_ASSIGN_OR_RETURN(const broker::Moved moved, context_->broker->Seek(reader_.get(), to));
  v1::ConsumeResponse response;
  response.mutable_sought()->set_position(moved.position);
  response.mutable_sought()->set_seek_number(moved.seek);
  MutexLock lock(mu_);
  announcement_ = std::move(response);
  at_end_ = false;
  return Status();
}

ConsumeStream::Outcome ConsumeStream::Open(bool may_wait) {
  if (!may_wait) return Outcome::kNeedsToWait;
  {
    // Before looking, so that what comes meanwhile is not missed.
    MutexLock lock(mu_);
    news_ = false;
  }
  Result<std::optional<v1::ConsumeResponse>> response = opening_->Advance();
  if (response.ok()) reader_ = opening_->TakeReader();
  if (!response.ok() || reader_ != nullptr) opening_.reset();
  MutexLock lock(mu_);
  if (!response.ok()) {
    EndLocked(response.status());
    return Outcome::kDone;
  }
  if (reader_ != nullptr) phase_ = Phase::kOpen;
  if (response->has_value()) announcement_ = **std::move(response);
  // What a client sends right behind `open` comes after it; a stream that waits hears of its end.
  if (!std::exchange(looked_, true)) ReadLocked();
  return Outcome::kDone;
}

void ConsumeStream::TellNews() {
  {
    MutexLock lock(mu_);
    news_ = false;
  }
  const std::optional<broker::Reader::Item> item = reader_->TakeNews();
  if (!item.has_value()) return;
  MutexLock lock(mu_);
  WriteItemLocked(*item);
}

ConsumeStream::Outcome ConsumeStream::Deliver(bool may_wait) {
  if (!may_wait && reader_->NeedsStorage()) return Outcome::kNeedsToWait;
  const broker::Reader::Item item = reader_->Next();
  if (std::holds_alternative<broker::Reader::AtEnd>(item)) {
    WaitForMore();
    return Outcome::kDone;
  }
  may_read_ahead_ = reader_->is_behind();
  MutexLock lock(mu_);
  WriteItemLocked(item);
  return Outcome::kDone;
}

ConsumeStream::Outcome ConsumeStream::ReadAhead(bool may_wait) {
  if (!may_wait && reader_->NeedsStorage()) return Outcome::kNeedsToWait;
  may_read_ahead_ = false;
  reader_->ReadAhead();
  return Outcome::kDone;
}

void ConsumeStream::WaitForMore() {
  {
    MutexLock lock(mu_);
    at_end_ = true;
  }
  if (reader_->WakeWhenReady(Waker(&ConsumeStream::NoteMore))) return;
  MutexLock lock(mu_);
  at_end_ = false;
}

std::function<void()> ConsumeStream::Waker(void (ConsumeStream::*what)()) {
  return [context = context_, weak = weak_from_this(), what] {
    if (broker::SpareTime::Take()) {
      if (const auto self = weak.lock()) ((*self).*what)();
      return;
    }
    // An executor that has stopped means that the server ends, and with it this stream.
    static_cast<void>(context->wakes.Submit([weak, what] {
      if (const auto self = weak.lock()) ((*self).*what)();
    }));
  };
}

void ConsumeStream::NoteNews() {
  {
    MutexLock lock(mu_);
    news_ = true;
  }
  Advance();
}

void ConsumeStream::NoteMore() {
  {
    MutexLock lock(mu_);
    at_end_ = false;
  }
  Advance();
}

void ConsumeStream::End() {
  // First, so that a client that has seen the end can take the subscription again.
  opening_.reset();
  reader_.reset();
  MutexLock lock(mu_);
  Finish(ToGrpc(*ending_));
}

void ConsumeStream::EndLocked(Status status) {
  if (!ending_) ending_ = std::move(status);
}

void ConsumeStream::WriteItemLocked(const broker::Reader::Item& item) {
  if (const auto* delivery = std::get_if<broker::Delivery>(&item)) {
    credit_ -= static_cast<int64_t>(delivery->batch.bytes.size());
    return WriteLocked(EncodeConsumeDelivery(*delivery));
  }
  if (const auto* status = std::get_if<Status>(&item)) return EndLocked(*status);
  v1::ConsumeResponse response;
  if (const auto* gap = std::get_if<Gap>(&item)) {
    ToProto(*gap, response.mutable_gap());
  } else if (const auto* moved = std::get_if<broker::Moved>(&item)) {
    response.mutable_sought()->set_position(moved->position);
    response.mutable_sought()->set_seek_number(moved->seek);
    response.mutable_sought()->set_by_other(true);
    at_end_ = false;
  }
  WriteLocked(ToByteBuffer(response));
}

void ConsumeStream::WriteLocked(grpc::ByteBuffer response) {
  outgoing_ = std::move(response);
  writing_ = true;
  write_is_due_ = true;
}

void ConsumeStream::ReadLocked() {
  if (!ending_) StartRead(&incoming_);
}

}  // namespace strata::server
