#include "client/grpc/raw_stream.h"

#include <utility>

#include "client/calls.h"
#include "client/deadline.h"
#include "proto/opaque.h"

namespace strata {
namespace {

// How long a daemon may take to end a stream that was half-closed: it answers at once unless it
// hangs, and then the stream is cancelled.
constexpr std::chrono::milliseconds kEndTimeout{2000};

}  // namespace

void RawStream::Start(const std::shared_ptr<RawStream>& stream, const std::string& method,
                      grpc::ByteBuffer first) {
  stream->self_ = stream;
  stream->connection_->PrepareStream(&stream->context_, method, stream.get());
  // Writes come from any thread, so gRPC must not end the call between a check of stopped_ and the
  // StartWrite that follows: the hold keeps it until StopWriting().
  stream->AddHold();
  stream->StartRead(&stream->received_);
  stream->Write(std::move(first));
  stream->StartCall();
}

void RawStream::Write(grpc::ByteBuffer message) {
  MutexLock lock(mu_);
  if (stopped_ || broken_ || half_close_) return;
  to_write_.push_back(std::move(message));
  if (!writing_ && !filling_) StartNextWrite();
}

void RawStream::WriteWhenIdle() {
  MutexLock lock(mu_);
  wants_fill_ = true;
  if (!writing_ && !filling_) GoOnWriting();
}

void RawStream::GoOnWriting() {
  if (broken_ || stopped_ || writes_done_) return;
  while (to_write_.empty() && wants_fill_) {
    wants_fill_ = false;
    filling_ = true;
    mu_.Unlock();
    std::optional<grpc::ByteBuffer> message = Fill();
    mu_.Lock();
    filling_ = false;
    if (message.has_value()) to_write_.push_back(*std::move(message));
  }
  if (broken_ || stopped_) return;
  if (!to_write_.empty()) {
    StartNextWrite();
  } else if (half_close_ && !writes_done_) {
    writes_done_ = true;
    StartWritesDone();
  }
}

void RawStream::StartNextWrite() {
  writing_ = true;
  ++sent_;
  StartWrite(&to_write_.front());
}

void RawStream::HalfClose() {
  MutexLock lock(mu_);
  if (stopped_ || broken_ || half_close_) return;
  half_close_ = true;
  if (!writing_ && !filling_) GoOnWriting();
}

void RawStream::Cancel() { context_.TryCancel(); }

void RawStream::StopWriting() {
  if (stopped_) return;
  stopped_ = true;
  RemoveHold();
}

void RawStream::OnReadDone(bool ok) {
  const GrpcThread here;
  if (!ok) {
    MutexLock lock(mu_);
    StopWriting();
    return;
  }
  Buffer message = ToBuffer(received_);
  received_.Clear();
  OnMessage(std::move(message));
  StartRead(&received_);
}

void RawStream::OnWriteDone(bool ok) {
  const GrpcThread here;
  MutexLock lock(mu_);
  writing_ = false;
  to_write_.pop_front();
  if (!ok) broken_ = true;
  if (!filling_) GoOnWriting();
}

void RawStream::SetOpened() {
  MutexLock lock(ending_->mu);
  ending_->opened = true;
  ending_->changed.NotifyAll();
}

Status RawStream::AwaitOpened(std::chrono::milliseconds timeout, const char* what) {
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(ending_->mu);
  while (!ending_->opened && !ending_->ended) {
    if (ending_->changed.WaitUntil(ending_->mu, deadline) == std::cv_status::timeout &&
        !ending_->opened && !ending_->ended) {
      return NothingAppended(Status(Reason::TIMEOUT, std::string("the daemon did not open the ") +
                                                         what + " within " +
                                                         std::to_string(timeout.count()) + " ms"));
    }
  }
  if (ending_->opened) return Status::Ok();
  if (!ending_->why.ok()) return NothingAppended(ending_->why);
  return NothingAppended(
      Status(Reason::CONNECTION_LOST, std::string("the daemon ended the stream of the ") + what));
}

void RawStream::OnDone(const grpc::Status& status) {
  const GrpcThread here;
  std::shared_ptr<RawStream> self = std::move(self_);
  const std::shared_ptr<Ending> ending = ending_;
  uint64_t sent = 0;
  {
    MutexLock lock(mu_);
    sent = sent_;
    to_write_.clear();
  }
  const Status why = connection_->ToStatus(status, DataFate::kMayHaveBeenAppended);
  OnEnd(status, sent);
  self.reset();
  MutexLock lock(ending->mu);
  ending->ended = true;
  ending->why = why;
  ending->changed.NotifyAll();
}

bool RawStream::EndedInPeace() {
  MutexLock lock(ending_->mu);
  return ending_->ended && ending_->why.ok();
}

bool RawStream::WaitUntilEnded(std::chrono::milliseconds timeout) {
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(ending_->mu);
  while (!ending_->ended && !GrpcThread::IsThis()) {
    if (ending_->changed.WaitUntil(ending_->mu, deadline) == std::cv_status::timeout) break;
  }
  return ending_->ended;
}

void RawStream::End() {
  HalfClose();
  if (WaitUntilEnded(kEndTimeout)) return;
  Cancel();
  WaitUntilEnded(kEndTimeout);
}

}  // namespace strata
