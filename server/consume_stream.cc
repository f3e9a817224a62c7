#include "server/consume_stream.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "proto/convert.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"
#include "server/delivery_codec.h"

namespace strata::server {
namespace {

constexpr size_t kMaxHolder = 256;

Status CheckOpen(const v1::ConsumeRequest& request) {
  if (!request.has_open()) {
    return Status(Reason::INVALID_ARGUMENT, "the first request of a Consume stream has `open`");
  }
  const v1::ConsumeOpen& open = request.open();
  if (open.mode() != v1::ConsumeOpen::MODE_EXCLUSIVE) {
    return Status(Reason::NOT_SUPPORTED,
                  "this version attaches consumers exclusively only: use MODE_EXCLUSIVE");
  }
  if (open.holder().size() > kMaxHolder) {
    return Status(Reason::INVALID_ARGUMENT, "open.holder has " +
                                                std::to_string(open.holder().size()) + " bytes; " +
                                                std::to_string(kMaxHolder) + " is the limit");
  }
  if (open.credit() < 0 || request.add_credit() < 0) {
    return Status(Reason::INVALID_ARGUMENT, "credit is never negative");
  }
  if (request.acknowledge_through() != 0 || request.has_seek()) {
    return Status(Reason::INVALID_ARGUMENT,
                  "acknowledging and seeking come after `open`, in requests of their own");
  }
  return Status();
}

// Credit is a promise, not a size: more than fits is as good as the most that fits.
int64_t AddCredit(int64_t credit, int64_t more) {
  int64_t sum = 0;
  return __builtin_add_overflow(credit, more, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

}  // namespace

ConsumeStream* ConsumeStream::Start(std::shared_ptr<CallContext> context, std::string peer) {
  auto stream = std::make_shared<ConsumeStream>(std::move(context), std::move(peer));
  stream->self_ = stream;
  const bool accepted = stream->context_->consumers.Add(stream);
  {
    MutexLock lock(stream->mu_);
    if (accepted) {
      stream->ReadLocked();
    } else {
      stream->EndLocked(Draining());
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
  for (;;) {
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
        continue;
      }
    }
    Outcome outcome = Outcome::kDone;
    switch (step) {
      case Step::kRequest:
        outcome = HandleRequest(may_wait);
        break;
      case Step::kDeliver:
        outcome = Deliver(may_wait);
        break;
      default:
        // Stays "running" for good: nothing may touch the call any more.
        return End();
    }
    if (outcome == Outcome::kNeedsToWait) return RunWhereWaitingIsAllowed();
  }
}

ConsumeStream::Step ConsumeStream::NextStepLocked() {
  if (ending_) return broken_ || !writing_ ? Step::kEnd : Step::kNothing;
  if (request_) return Step::kRequest;
  if (writing_) return Step::kNothing;
  if (announcement_) return Step::kAnnounce;
  if (open_ && credit_ > 0 && !at_end_) return Step::kDeliver;
  return Step::kNothing;
}

// --- Steps ---

ConsumeStream::Outcome ConsumeStream::HandleRequest(bool may_wait) {
  v1::ConsumeRequest request;
  bool open = false;
  {
    MutexLock lock(mu_);
    request = *request_;
    open = open_;
  }
  Status status;
  bool needs_to_wait = false;
  if (open) {
    status = Control(&request, may_wait, &needs_to_wait);
  } else if (status = CheckOpen(request); status.ok()) {
    needs_to_wait = !may_wait;
    if (may_wait) status = Open(request.open());
  }
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
  if (!open) {
    credit_ = AddCredit(credit_, request.open().credit());
    open_ = true;
  }
  request_.reset();
  ReadLocked();
  return Outcome::kDone;
}

Status ConsumeStream::Open(const v1::ConsumeOpen& open) {
  STRATA_ASSIGN_OR_RETURN(const StartPosition start, FromProto(open.start()));
  broker::Broker& broker = *context_->broker;
  if (open.channel_number() != 0) {
    // Before anything is created on a channel that is not meant.
    STRATA_ASSIGN_OR_RETURN(const ChannelInfo info, broker.DescribeChannel(open.channel()));
    STRATA_RETURN_IF_ERROR(CheckChannelNumber(info.name, info.number, open.channel_number()));
  }
  if (open.subscription().empty()) {
    STRATA_ASSIGN_OR_RETURN(reader_, broker.OpenReader(open.channel(), start));
  } else {
    const std::string& holder = open.holder().empty() ? peer_ : open.holder();
    STRATA_ASSIGN_OR_RETURN(
        reader_, broker.OpenSubscription(open.channel(), open.subscription(), start, holder));
  }
  channel_ = open.channel();
  subscription_ = open.subscription();
  const ChannelInfo info = reader_->channel();
  STRATA_RETURN_IF_ERROR(CheckChannelNumber(info.name, info.number, open.channel_number()));
  v1::ConsumeResponse response;
  response.mutable_opened()->set_channel_number(info.number);
  response.mutable_opened()->set_position(reader_->position());
  response.mutable_opened()->set_next_id(info.next_id);
  response.mutable_opened()->set_first_available_id(info.first_available);
  MutexLock lock(mu_);
  announcement_ = std::move(response);
  return Status();
}

Status ConsumeStream::Control(v1::ConsumeRequest* request, bool may_wait, bool* needs_to_wait) {
  if (request->has_open()) {
    return Status(Reason::INVALID_ARGUMENT, "this Consume stream is open already");
  }
  if (request->add_credit() < 0) {
    return Status(Reason::INVALID_ARGUMENT, "add_credit is never negative");
  }
  if (request->acknowledge_through() != 0) {
    STRATA_RETURN_IF_ERROR(reader_->Acknowledge(request->acknowledge_through()));
    request->clear_acknowledge_through();  // done, should the rest have to wait
  }
  if (!request->has_seek()) return Status();
  if (!may_wait) {
    *needs_to_wait = true;
    return Status();
  }
  STRATA_ASSIGN_OR_RETURN(const StartPosition to, FromProto(request->seek()));
  MessageId position = 0;
  if (subscription_.empty()) {
    STRATA_RETURN_IF_ERROR(reader_->Seek(to));
    position = reader_->position();
  } else {
    // Moves the cursor, and the reader follows it.
    STRATA_ASSIGN_OR_RETURN(const SubscriptionInfo info,
                            context_->broker->SeekSubscription(channel_, subscription_, to));
    position = info.cursor;
  }
  v1::ConsumeResponse response;
  response.mutable_sought()->set_position(position);
  MutexLock lock(mu_);
  announcement_ = std::move(response);
  at_end_ = false;
  return Status();
}

ConsumeStream::Outcome ConsumeStream::Deliver(bool may_wait) {
  if (!may_wait && reader_->NeedsStorage()) return Outcome::kNeedsToWait;
  broker::Reader::Item item = reader_->Next();
  if (std::holds_alternative<broker::Reader::AtEnd>(item)) {
    {
      MutexLock lock(mu_);
      at_end_ = true;
    }
    std::weak_ptr<ConsumeStream> weak = weak_from_this();
    const auto go_on = [weak] {
      auto self = weak.lock();
      if (!self) return;
      {
        MutexLock lock(self->mu_);
        self->at_end_ = false;
      }
      self->Advance();
    };
    const bool waits = reader_->WakeWhenReady([context = context_, go_on] {
      // An executor that has stopped means that the server ends, and with it this stream.
      static_cast<void>(context->wakes.Submit(go_on));
    });
    if (!waits) {
      MutexLock lock(mu_);
      at_end_ = false;
    }
    return Outcome::kDone;
  }
  MutexLock lock(mu_);
  if (auto* delivery = std::get_if<broker::Delivery>(&item)) {
    credit_ -= static_cast<int64_t>(delivery->batch.bytes.size());
    WriteLocked(EncodeConsumeDelivery(*delivery));
  } else if (auto* gap = std::get_if<Gap>(&item)) {
    v1::ConsumeResponse response;
    ToProto(*gap, response.mutable_gap());
    WriteLocked(ToByteBuffer(response));
  } else {
    EndLocked(std::get<Status>(item));
  }
  return Outcome::kDone;
}

void ConsumeStream::End() {
  // First, so that a client that has seen the end can take the subscription again.
  reader_.reset();
  MutexLock lock(mu_);
  Finish(ToGrpc(*ending_));
}

void ConsumeStream::EndLocked(Status status) {
  if (!ending_) ending_ = std::move(status);
}

void ConsumeStream::WriteLocked(grpc::ByteBuffer response) {
  outgoing_ = std::move(response);
  writing_ = true;
  StartWrite(&outgoing_);
}

void ConsumeStream::ReadLocked() {
  if (!ending_) StartRead(&incoming_);
}

}  // namespace strata::server
