#include "client/embedded/embedded_source.h"

#include <utility>
#include <variant>

#include "client/calls.h"
#include "client/deadline.h"

namespace strata {

Result<std::shared_ptr<EmbeddedSource>> EmbeddedSource::Subscribe(
    std::shared_ptr<broker::Broker> broker, broker::SubscriptionOpen open, bool failover) {
  const std::shared_ptr<EmbeddedSource> source(new EmbeddedSource(broker));
  open.news = [signal = source->signal_] { signal->Wake(); };
  MutexLock lock(source->mu_);
  if (failover) {
    STRATA_ASSIGN_OR_RETURN(source->standby_, NothingAppended(broker->StandBy(open)));
    STRATA_RETURN_IF_ERROR(source->HasReader().status());
  } else {
    STRATA_ASSIGN_OR_RETURN(source->reader_, NothingAppended(broker->OpenSubscription(open)));
    source->position_.store(source->reader_->position(), std::memory_order_relaxed);
  }
  return source;
}

OpenedAt EmbeddedSource::opened_at() {
  MutexLock lock(mu_);
  if (standby_ != nullptr) {
    const ChannelInfo info = standby_->channel();
    return {info.number, 0, 0};
  }
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
    const Result<bool> has_reader = HasReader();
    if (!has_reader.ok()) {
      end_ = has_reader.status();
      return end_;
    }
    if (!*has_reader) {
      if (timeout.count() <= 0) return NothingCame();
      lock.Unlock();
      const bool woken = WaitUntilWoken(deadline);
      lock.Lock();
      if (!woken) return NothingCame();
      continue;
    }
    broker::Reader::Item item = reader_->Next();
    position_.store(reader_->position(), std::memory_order_relaxed);
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
    if (std::holds_alternative<broker::Moved>(item)) continue;
    if (timeout.count() <= 0) return NothingCame();
    if (!reader_->WakeWhenReady([signal = signal_] { signal->Wake(); })) continue;
    // Others may acknowledge meanwhile, or end this.
    lock.Unlock();
    const bool woken = WaitUntilWoken(deadline);
    lock.Lock();
    if (!woken) return NothingCame();
  }
}

Result<bool> EmbeddedSource::HasReader() {
  if (reader_ != nullptr) return true;
  if (standby_ == nullptr) return Closed();
  STRATA_ASSIGN_OR_RETURN(reader_, NothingAppended(standby_->Take()));
  if (reader_ == nullptr) return false;
  standby_.reset();
  position_.store(reader_->position(), std::memory_order_relaxed);
  return true;
}

Status EmbeddedSource::CheckActive() {
  if (reader_ != nullptr) return Status::Ok();
  if (standby_ == nullptr) return Closed();
  return NothingAppended(Status(Reason::SUBSCRIPTION_HELD,
                                "this consumer waits for its turn with the subscription, which " +
                                    standby_->held_by() + " had when it came"));
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
  if (!end_.ok()) return end_;
  STRATA_RETURN_IF_ERROR(CheckActive());
  STRATA_ASSIGN_OR_RETURN(const broker::Moved moved,
                          NothingAppended(broker_->Seek(reader_.get(), to)));
  position_.store(moved.position, std::memory_order_relaxed);
  return moved.position;
}

Status EmbeddedSource::Acknowledge(MessageId through) {
  MutexLock lock(mu_);
  if (!end_.ok()) return end_;
  STRATA_RETURN_IF_ERROR(CheckActive());
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
  standby_.reset();
  broker.swap(broker_);
  // The last share closes the store, which takes a while.
  lock.Unlock();
  broker.reset();
  lock.Lock();
}

}  // namespace strata
