#include "client/embedded/embedded_source.h"

#include <utility>
#include <variant>

#include "client/calls.h"
#include "client/deadline.h"

namespace strata {
OpenedAt EmbeddedSource::opened_at() {
  MutexLock lock(mu_);
  if (reader_ == nullptr) return {};  // the client was closed meanwhile
  const ChannelInfo info = reader_->channel();
  return {info.number, reader_->position(), info.next_id};
}

Result<ChannelInfo> EmbeddedSource::Describe(MessageId* position) {
  MutexLock lock(mu_);
  if (reader_ == nullptr) return Closed();
  *position = reader_->position();
  return reader_->channel();
}

Status EmbeddedSource::Closed() {
  MutexLock lock(signal_->mu);
  return signal_->closed;
}

Result<ReceivedBatch> EmbeddedSource::Next(std::chrono::milliseconds timeout) {
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (true) {
    {
      MutexLock signal_lock(signal_->mu);
      if (!signal_->closed.ok()) return signal_->closed;
      signal_->woken = false;
    }
    if (!end_.ok()) return end_;
    broker::Reader::Item item = reader_->Next();
    if (auto* delivery = std::get_if<broker::Delivery>(&item)) {
      const broker::StoredBatch& batch = delivery->batch;
      return ReceivedBatch(batch.bytes.Contiguous(), batch.first_id, batch.count, delivery->skip,
                           batch.append_time);
    }
    if (auto* gap = std::get_if<Gap>(&item)) return ReceivedBatch(*gap);
    if (auto* status = std::get_if<Status>(&item)) {
      end_ = NothingAppended(*status);
      return end_;
    }
    if (timeout.count() <= 0) return NothingCame();
    const bool waits = reader_->WakeWhenReady([signal = signal_] {
      MutexLock signal_lock(signal->mu);
      signal->woken = true;
      signal->changed.NotifyAll();
    });
    if (waits && !WaitUntilWoken(deadline)) return NothingCame();
  }
}

bool EmbeddedSource::WaitUntilWoken(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(signal_->mu);
  while (!signal_->woken && signal_->closed.ok()) {
    if (signal_->changed.WaitUntil(signal_->mu, deadline) == std::cv_status::timeout) {
      return signal_->woken || !signal_->closed.ok();
    }
  }
  return true;
}

Result<MessageId> EmbeddedSource::Seek(const StartPosition& to) {
  MutexLock lock(mu_);
  if (reader_ == nullptr) return Closed();
  if (!end_.ok()) return end_;
  if (subscription_.empty()) {
    STRATA_RETURN_IF_ERROR(NothingAppended(reader_->Seek(to)));
    return reader_->position();
  }
  STRATA_ASSIGN_OR_RETURN(const SubscriptionInfo info,
                          NothingAppended(broker_->SeekSubscription(channel_, subscription_, to)));
  return info.cursor;
}

Status EmbeddedSource::Acknowledge(MessageId through) {
  MutexLock lock(mu_);
  if (reader_ == nullptr) return Closed();
  return NothingAppended(reader_->Acknowledge(through));
}

void EmbeddedSource::Close() { End(Status(Reason::CLIENT_CLOSED, "the reader was closed")); }

void EmbeddedSource::End(const Status& why) {
  {
    MutexLock lock(signal_->mu);
    if (signal_->closed.ok()) signal_->closed = NothingAppended(why);
    signal_->changed.NotifyAll();
  }
  std::shared_ptr<broker::Broker> broker;
  MutexLock lock(mu_);
  reader_.reset();
  broker.swap(broker_);
  // The last share closes the store, which takes a while.
  lock.Unlock();
  broker.reset();
  lock.Lock();
}

}  // namespace strata
