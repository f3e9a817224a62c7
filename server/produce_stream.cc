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

broker::ProducerOpen FromProto(const v1::ProduceOpen& open) {
  broker::ProducerOpen out;
  out.channel = open.channel();
  out.create_if_missing = open.create_if_missing();
  out.channel_number = open.channel_number();
  out.producer = open.producer();
  out.term = open.term();
  out.exclusive = open.exclusive();
  out.forget_when_closed = open.forget_when_closed();
  out.instance = open.instance();
  out.attempt = open.attempt();
  return out;
}

}  // namespace

ProduceStream* ProduceStream::Start(std::shared_ptr<CallContext> context, const std::string& peer) {
  auto stream = std::make_shared<ProduceStream>(std::move(context));
  stream->self_ = stream;
  Status status = stream->context_->streams.Enter(peer, &stream->place_);
  if (status.ok() && !stream->context_->producers.Add(stream)) status = Draining();
  MutexLock lock(stream->mu_);
  if (status.ok()) {
    stream->ContinueLocked();
  } else {
    stream->FinishLocked(status);
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
  Status status;
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
  const Result<broker::OpenedProducer> opened = context_->broker->OpenProducer(FromProto(open));
  if (!opened.ok()) context_->health->NoteError(opened.status());
  MutexLock lock(mu_);
  opening_ = false;
  if (finished_) return;  // cancelled meanwhile; the session goes with `opened`
  if (opened.ok()) {
    opened_ = true;
    channel_ = open.channel();
    channel_number_ = opened->channel_number;
    session_ = opened->session;
    v1::ProduceOpened* answer = next_.mutable_opened();
    answer->set_channel_number(opened->channel_number);
    answer->set_next_id(opened->next_id);
    answer->set_last_sequence(opened->last_sequence);
    answer->set_store_id(context_->broker->store_id());
    has_next_ = true;
  } else {
    EndLocked(opened.status());
  }
  ContinueLocked();
}

// A read fails alike when the client half-closes and when it is gone, and OnCancel may come later. But
// a write fails for sure on a stream that is gone: an empty response tells the two apart, before
// anything is released.
void ProduceStream::EndInPeaceLocked() {
  if (!opened_) return FinishLocked(Status());
  if (!half_closed_) {
    half_closed_ = true;  // or OnWriteDone ends the stream
    response_ = ToByteBuffer(v1::ProduceResponse());
    writing_ = true;
    StartWrite(&response_);
    return;
  }
  closing_ = context_->admin.Submit(
      [self = shared_from_this(), session = session_] { self->Close(session); });
  if (!closing_) FinishLocked(Draining());
}

void ProduceStream::Close(const std::shared_ptr<broker::ProducerSession>& session) {
  const Status status = context_->broker->CloseProducer(session);
  if (!status.ok()) context_->health->NoteError(status);
  MutexLock lock(mu_);
  closing_ = false;
  // Also while draining: it is closed, and saying otherwise would make the client come back.
  if (!finished_) FinishLocked(status);
}

bool ProduceStream::TakeBatchLocked(const v1::ProduceRequest& request,
                                    std::optional<Buffer> batch) {
  Status status;
  if (request.has_open()) {
    status = Status(Reason::INVALID_ARGUMENT, "this Produce stream is open already");
  } else if (!batch.has_value()) {
    status = Status(Reason::INVALID_ARGUMENT, "a request of an open Produce stream has a batch");
  }
  if (!status.ok()) {
    EndLocked(status);
    return false;
  }
  waiting_ = Waiting{std::move(*batch), request.sequence(), request.expected_next_id()};
  return true;
}

bool ProduceStream::WindowOpenLocked() const {
  return in_flight_bytes_ == 0 ||
         in_flight_bytes_ + waiting_->batch.size() <= context_->config.server.max_pending;
}

bool ProduceStream::BeginSubmitLocked() {
  if (!waiting_ || submitting_ || wants_room_) return false;
  if (refusing_ || draining_ || finished_) {
    waiting_.reset();
    ContinueLocked();
    return false;
  }
  if (!WindowOpenLocked()) return false;  // the next result comes here again
  wants_room_ = context_->broker->WakeWhenRoom(waiting_->batch.size(), [weak = weak_from_this()] {
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
  in_flight_bytes_ += waiting_->batch.size();
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
      request.session = session_;
      request.sequence = waiting_->sequence;
      request.expected_next_id = waiting_->expected_next_id;
      request.batch = waiting_->batch;
      bytes = request.batch.size();
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
  const bool idle =
      slots_.empty() && !opening_ && !closing_ && !waiting_ && !has_next_ && !writing_;
  if (ending_ && !has_next_ && !writing_) return FinishLocked(*ending_);
  if (idle && draining_) return FinishLocked(Draining());
  if (idle && reads_done_) return EndInPeaceLocked();
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
  std::shared_ptr<broker::ProducerSession> session;
  {
    MutexLock lock(mu_);
    session = std::move(session_);
  }
  session.reset();
  context_->producers.Remove(this);
  const auto self = std::move(self_);  // may be the last one; nothing follows
}

}  // namespace strata::server
