#include "server/produce_stream.h"

#include <utility>

#include "proto/convert.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"

namespace strata::server {
namespace {

// Batches without a result that one stream may have: what bounds the memory for results when the
// batches are tiny. At a sync of 1 ms this is 4 million batches in a second.
constexpr size_t kMaxSlots = 4096;

Status CheckOpen(const v1::ProduceOpen& open) {
  if (!open.producer().empty() || open.term() != 0 || open.exclusive()) {
    return Status(Reason::NOT_SUPPORTED,
                  "this version has no producers with identity yet: leave open.producer, open.term "
                  "and open.exclusive unset");
  }
  return Status();
}

}  // namespace

ProduceStream* ProduceStream::Start(std::shared_ptr<CallContext> context) {
  auto stream = std::make_shared<ProduceStream>(std::move(context));
  stream->self_ = stream;
  const bool accepted = stream->context_->producers.Add(stream);
  MutexLock lock(stream->mu_);
  if (accepted) {
    stream->ContinueLocked();
  } else {
    stream->FinishLocked(Draining());
  }
  return stream.get();
}

void ProduceStream::OnReadDone(bool ok) {
  v1::ProduceRequest request;
  std::optional<Buffer> batch;
  Status status;
  if (ok) {
    status = SplitOpaque(ToBuffer(request_), &request, &batch);
    request_.Clear();
  }
  bool open = false;
  {
    // One critical section from the end of this read to the batch's place in waiting_: between the
    // two a result that comes in would start the next read, whose batch could then overtake this
    // one.
    MutexLock lock(mu_);
    reading_ = false;
    if (!ok) reads_done_ = true;
    if (!status.ok()) EndLocked(status);
    if (!ok || refusing_ || draining_) return ContinueLocked();
    open = !opened_;
    if (open) {
      opening_ = true;
    } else if (!TakeBatchLocked(request, std::move(batch))) {
      return ContinueLocked();
    }
  }
  if (open) {
    BeginOpen(request, batch.has_value());
  } else {
    Advance();
  }
}

void ProduceStream::BeginOpen(const v1::ProduceRequest& request, bool has_batch) {
  Status status = CheckOpen(request.open());
  if (has_batch || !request.has_open()) {
    status = Status(Reason::INVALID_ARGUMENT,
                    "the first request of a Produce stream has `open` and no batch");
  }
  auto self = shared_from_this();
  if (status.ok() && !context_->admin.Submit([self, open = request.open()] { self->Open(open); })) {
    status = Draining();
  }
  if (status.ok()) return;
  MutexLock lock(mu_);
  opening_ = false;
  EndLocked(status);
  ContinueLocked();
}

void ProduceStream::Open(const v1::ProduceOpen& open) {
  const auto info = context_->broker->OpenChannel(open.channel(), open.create_if_missing());
  const Status status = info.ok()
                            ? CheckChannelNumber(info->name, info->number, open.channel_number())
                            : info.status();
  MutexLock lock(mu_);
  opening_ = false;
  if (status.ok()) {
    opened_ = true;
    channel_ = open.channel();
    channel_number_ = info->number;
    next_.mutable_opened()->set_channel_number(info->number);
    next_.mutable_opened()->set_next_id(info->next_id);
    has_next_ = true;
  } else {
    EndLocked(status);
  }
  ContinueLocked();
}

bool ProduceStream::TakeBatchLocked(const v1::ProduceRequest& request,
                                    std::optional<Buffer> batch) {
  Status status;
  if (request.has_open()) {
    status = Status(Reason::INVALID_ARGUMENT, "this Produce stream is open already");
  } else if (!batch.has_value()) {
    status = Status(Reason::INVALID_ARGUMENT, "a request of an open Produce stream has a batch");
  } else if (request.sequence() != 0 || request.expected_next_id() != 0) {
    status = Status(Reason::NOT_SUPPORTED,
                    "this version has no sequences and no expected ids yet: leave sequence and "
                    "expected_next_id unset");
  }
  if (!status.ok()) {
    EndLocked(status);
    return false;
  }
  waiting_ = std::move(batch);
  return true;
}

bool ProduceStream::WindowOpenLocked() const {
  return in_flight_bytes_ == 0 ||
         in_flight_bytes_ + waiting_->size() <= context_->config.server.max_pending;
}

bool ProduceStream::BeginSubmitLocked() {
  if (!waiting_ || submitting_ || wants_room_) return false;
  if (refusing_ || draining_ || finished_) {
    waiting_.reset();
    ContinueLocked();
    return false;
  }
  if (!WindowOpenLocked()) return false;  // the next result comes here again
  wants_room_ = context_->broker->WakeWhenRoom(waiting_->size(), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    {
      MutexLock lock(self->mu_);
      self->wants_room_ = false;
    }
    self->AdvanceLater();
  });
  if (wants_room_) return false;
  submitting_ = true;
  slots_.emplace_back();
  in_flight_bytes_ += waiting_->size();
  return true;
}

void ProduceStream::Advance() {
  for (;;) {
    broker::AppendRequest request;
    uint64_t index = 0;
    uint64_t bytes = 0;
    {
      MutexLock lock(mu_);
      if (!BeginSubmitLocked()) return;
      index = first_slot_ + slots_.size() - 1;
      request.channel = channel_;
      request.channel_number = channel_number_;
      request.batch = *waiting_;
      bytes = waiting_->size();
    }
    // Not under the lock: the result may come before the call returns. The order is kept all the
    // same, because nothing is read before this is done.
    context_->broker->AppendAsync(std::move(request), [self = shared_from_this(), index,
                                                       bytes](const Result<AppendResult>& result) {
      self->OnAppended(index, bytes, result);
    });
    MutexLock lock(mu_);
    submitting_ = false;
    if (std::exchange(no_room_, false)) continue;
    waiting_.reset();
    return ContinueLocked();
  }
}

void ProduceStream::AdvanceLater() {
  if (context_->wakes.Submit([self = shared_from_this()] { self->Advance(); })) return;
  MutexLock lock(mu_);
  EndLocked(Draining());
  ContinueLocked();
}

void ProduceStream::OnAppended(uint64_t index, uint64_t bytes, const Result<AppendResult>& result) {
  if (!result.ok()) context_->health->NoteError(result.status());
  bool advance = false;
  {
    MutexLock lock(mu_);
    in_flight_bytes_ -= bytes;
    if (finished_) return;
    const bool newest = index + 1 == first_slot_ + slots_.size();
    if (result.status().reason() == Reason::BACK_PRESSURE && submitting_ && newest) {
      // Another stream was faster. It counts as never submitted.
      slots_.pop_back();
      no_room_ = true;
      return;
    }
    if (!result.ok()) refusing_ = true;
    slots_[index - first_slot_] = result;
    CollectLocked();
    ContinueLocked();
    advance = waiting_ && !submitting_ && !wants_room_ && WindowOpenLocked();
  }
  // Not on this thread, which has other results to bring.
  if (advance) AdvanceLater();
}

void ProduceStream::CollectLocked() {
  while (!ending_ && !slots_.empty() && slots_.front().has_value()) {
    const Result<AppendResult>& result = *slots_.front();
    if (result.ok()) {
      ToProto(*result, next_.add_results());
      has_next_ = true;
      slots_.pop_front();
      ++first_slot_;
    } else {
      ending_ = result.status();
    }
  }
}

// An error that no batch before it has: it comes after their results.
void ProduceStream::EndLocked(Status status) {
  refusing_ = true;
  slots_.emplace_back(Result<AppendResult>(std::move(status)));
  CollectLocked();
}

void ProduceStream::ContinueLocked() {
  if (finished_) return;
  if (has_next_ && !writing_) {
    response_ = ToByteBuffer(next_);
    next_.Clear();
    has_next_ = false;
    writing_ = true;
    StartWrite(&response_);
  }
  const bool idle = slots_.empty() && !opening_ && !waiting_ && !has_next_ && !writing_;
  if (ending_ && !has_next_ && !writing_) return FinishLocked(*ending_);
  if (idle && draining_) return FinishLocked(Draining());
  if (idle && reads_done_) return FinishLocked(Status());
  if (!reading_ && !reads_done_ && !refusing_ && !draining_ && !opening_ && !waiting_ &&
      slots_.size() + static_cast<size_t>(next_.results_size()) < kMaxSlots) {
    reading_ = true;
    StartRead(&request_);
  }
}

void ProduceStream::FinishLocked(const Status& status) {
  finished_ = true;
  slots_.clear();
  Finish(ToGrpc(status));
}

void ProduceStream::OnWriteDone(bool ok) {
  MutexLock lock(mu_);
  writing_ = false;
  response_.Clear();
  if (finished_) return;
  // The connection is gone; nobody reads the status.
  if (!ok) return FinishLocked(Status(Reason::CANCELLED, "the stream broke"));
  ContinueLocked();
}

void ProduceStream::OnCancel() {
  MutexLock lock(mu_);
  if (!finished_) FinishLocked(Status(Reason::CANCELLED, "the client cancelled the stream"));
}

void ProduceStream::Drain() {
  MutexLock lock(mu_);
  draining_ = true;
  if (!submitting_) waiting_.reset();
  ContinueLocked();
}

void ProduceStream::OnDone() {
  context_->producers.Remove(this);
  const auto self = std::move(self_);  // may be the last one; nothing follows
}

}  // namespace strata::server
