#include "server/fetch_call.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "proto/convert.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"
#include "server/delivery_codec.h"

namespace strata::server {
namespace {

constexpr uint64_t kDefaultBytes = 1u << 20;
constexpr uint64_t kMostBytes = 16u << 20;
constexpr uint64_t kMostWaitMicros = 60'000'000;

}  // namespace

FetchCall* FetchCall::Start(std::shared_ptr<CallContext> context, const std::string& peer,
                            const grpc::ByteBuffer& request, grpc::ByteBuffer* response) {
  auto call = std::make_shared<FetchCall>(std::move(context), response);
  call->self_ = call;
  Status status = ParseOpaque(ToBuffer(request), &call->request_);
  if (status.ok()) status = call->context_->streams.Enter(peer, &call->place_);
  if (status.ok() && !call->context_->consumers.Add(call)) status = Draining();
  if (!status.ok()) {
    MutexLock lock(call->mu_);
    call->EndLocked(status);
  }
  call->Advance();
  return call.get();
}

void FetchCall::Advance() {
  {
    MutexLock lock(mu_);
    again_ = true;
    if (running_) return;
    running_ = true;
  }
  auto self = shared_from_this();
  if (context_->reads.Submit([self] { self->Run(); })) return;
  {
    MutexLock lock(mu_);
    EndLocked(Draining());
  }
  Run();
}

void FetchCall::Run() {
  for (;;) {
    std::optional<Status> end;
    {
      MutexLock lock(mu_);
      again_ = false;
      end = ending_;
    }
    if (!end) end = Collect();
    MutexLock lock(mu_);
    if (!end) {
      if (again_) continue;
      running_ = false;
      return;
    }
    // Stays "running" for good: nothing may touch the call any more.
    lock.Unlock();
    alarm_.Cancel();
    reader_.reset();
    lock.Lock();
    return Finish(ToGrpc(*end));
  }
}

std::optional<Status> FetchCall::Collect() {
  if (!reader_) {
    if (Status status = Open(); !status.ok()) return status;
  }
  const uint64_t limit =
      request_.max_bytes() == 0 ? kDefaultBytes : std::min(request_.max_bytes(), kMostBytes);
  FetchResponseBuilder builder;
  while (builder.batch_bytes() < limit) {
    broker::Reader::Item item = reader_->Next();
    if (auto* delivery = std::get_if<broker::Delivery>(&item)) {
      builder.Add(*delivery);
    } else if (auto* gap = std::get_if<Gap>(&item)) {
      builder.Add(*gap);
    } else if (auto* status = std::get_if<Status>(&item)) {
      // What was read before it is still good; the next fetch meets the error again.
      if (builder.empty()) return *status;
      break;
    } else {
      break;
    }
  }
  if (builder.empty()) {
    bool wait = request_.max_wait_micros() > 0;
    {
      MutexLock lock(mu_);
      wait = wait && !time_over_;
    }
    if (wait) {
      ArmAlarm();
      std::weak_ptr<FetchCall> weak = weak_from_this();
      const bool waits = reader_->WakeWhenReady([context = context_, weak] {
        // An executor that has stopped means that the server ends, and with it this call.
        static_cast<void>(context->wakes.Submit([weak] {
          if (auto self = weak.lock()) self->Advance();
        }));
      });
      if (!waits) Advance();
      return std::nullopt;
    }
  }
  const ChannelInfo info = reader_->channel();
  v1::FetchResponse tail;
  tail.set_channel_number(info.number);
  tail.set_next_position(reader_->position());
  tail.set_next_id(info.next_id);
  tail.set_first_available_id(info.first_available);
  *response_ = builder.Finish(tail);
  return Status();
}

Status FetchCall::Open() {
  STRATA_ASSIGN_OR_RETURN(const StartPosition start, FromProto(request_.start()));
  STRATA_ASSIGN_OR_RETURN(reader_, context_->broker->OpenReader(request_.channel(), start));
  const ChannelInfo info = reader_->channel();
  return CheckChannelNumber(info.name, info.number, request_.channel_number());
}

void FetchCall::ArmAlarm() {
  if (std::exchange(armed_, true)) return;
  const auto wait = std::min(request_.max_wait_micros(), kMostWaitMicros);
  const auto deadline = std::chrono::system_clock::now() + std::chrono::microseconds(wait);
  // The alarm keeps its function, so that one must not keep the call.
  alarm_.Set(deadline, [weak = weak_from_this()](bool over) {
    const auto self = over ? weak.lock() : nullptr;
    if (!self) return;
    {
      MutexLock lock(self->mu_);
      self->time_over_ = true;
    }
    self->Advance();
  });
}

void FetchCall::EndLocked(Status status) {
  if (!ending_) ending_ = std::move(status);
}

void FetchCall::OnCancel() {
  {
    MutexLock lock(mu_);
    EndLocked(Status(Reason::CANCELLED, "the client cancelled the call"));
  }
  Advance();
}

void FetchCall::Drain() {
  {
    MutexLock lock(mu_);
    EndLocked(Draining());
  }
  Advance();
}

void FetchCall::OnDone() {
  context_->consumers.Remove(this);
  const auto self = std::move(self_);  // may be the last one; nothing follows
}

}  // namespace strata::server
