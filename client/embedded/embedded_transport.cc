#include "client/embedded/embedded_transport.h"

#include <deque>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace strata {

class EmbeddedTransport::Queue : public std::enable_shared_from_this<Queue> {
 public:
  Queue(std::shared_ptr<broker::Broker> broker, const broker::OpenedProducer& opened,
        std::string channel, bool named)
      : channel_(std::move(channel)),
        number_(opened.channel_number),
        session_(opened.session),
        named_(named),
        broker_(std::move(broker)),
        last_sequence_(opened.last_sequence) {}

  void Push(Buffer batch, Done done) {
    {
      MutexLock lock(mu_);
      waiting_.push_back({std::move(batch), std::move(done), named_ ? ++last_sequence_ : 0});
    }
    Pump();
  }

  // Hands over to the broker what it has room for; one thread at a time, so that the order is kept.
  void Pump() {
    MutexLock lock(mu_);
    if (pumping_) return;
    pumping_ = true;
    pumper_ = std::this_thread::get_id();
    while (!waiting_.empty() && !full_ && broker_ != nullptr) {
      const std::shared_ptr<broker::Broker> broker = broker_;
      const Entry entry = std::move(waiting_.front());
      waiting_.pop_front();
      full_ = true;  // before the wake-up that takes it back
      lock.Unlock();
      const bool full = broker->WakeWhenRoom(entry.batch.size(), [weak = weak_from_this()] {
        if (const std::shared_ptr<Queue> self = weak.lock()) self->Wake();
      });
      if (!full) Append(*broker, entry);
      lock.Lock();
      if (full) {
        waiting_.push_front(entry);
      } else {
        full_ = false;
      }
    }
    pumping_ = false;
    pumped_.NotifyAll();
  }

  Status Close() {
    std::shared_ptr<broker::Broker> broker;
    {
      MutexLock lock(mu_);
      broker = broker_;
    }
    return broker == nullptr ? Status::Ok() : broker->CloseProducer(session_);
  }

  void Abandon() {
    std::shared_ptr<broker::Broker> broker;
    std::deque<Entry> dropped;
    MutexLock lock(mu_);
    // A thread of the broker that pumps holds a share, which must not become the last one.
    while (pumping_ && pumper_ != std::this_thread::get_id()) pumped_.Wait(mu_);
    broker.swap(broker_);
    dropped.swap(waiting_);
    // Out of the lock: the last share closes the store, and entries hold the producer.
    lock.Unlock();
    dropped.clear();
    broker.reset();
    lock.Lock();
  }

 private:
  struct Entry {
    Buffer batch;
    Done done;
    uint64_t sequence = 0;
  };

  void Wake() {
    {
      MutexLock lock(mu_);
      full_ = false;
    }
    Pump();
  }

  void Append(broker::Broker& broker, const Entry& entry) {
    broker.AppendAsync({.channel = channel_,
                        .batch = entry.batch,
                        .channel_number = number_,
                        .sequence = entry.sequence,
                        .session = session_},
                       [self = shared_from_this(), entry](const Result<AppendResult>& result) {
                         if (!result.ok() && result.status().reason() == Reason::BACK_PRESSURE) {
                           // Somebody else took the room. Answered inside AppendAsync: Pump() goes
                           // on with it.
                           MutexLock lock(self->mu_);
                           self->waiting_.push_front(entry);
                           return;
                         }
                         entry.done(result);
                       });
  }

  const std::string channel_;
  const ChannelNumber number_;
  const std::shared_ptr<broker::ProducerSession> session_;
  const bool named_;
  Mutex mu_;
  std::shared_ptr<broker::Broker> broker_ STRATA_GUARDED_BY(mu_);  // null once abandoned
  uint64_t last_sequence_ STRATA_GUARDED_BY(mu_);                  // given to a batch
  std::deque<Entry> waiting_ STRATA_GUARDED_BY(mu_);
  bool full_ STRATA_GUARDED_BY(mu_) = false;  // the broker will call Wake()
  bool pumping_ STRATA_GUARDED_BY(mu_) = false;
  std::thread::id pumper_ STRATA_GUARDED_BY(mu_);
  CondVar pumped_;
};

EmbeddedTransport::EmbeddedTransport(std::shared_ptr<broker::Broker> broker,
                                     const broker::OpenedProducer& opened, std::string channel,
                                     bool named)
    : queue_(std::make_shared<Queue>(std::move(broker), opened, std::move(channel), named)) {}

EmbeddedTransport::~EmbeddedTransport() { queue_->Abandon(); }

void EmbeddedTransport::Submit(Buffer batch, uint32_t /*count*/, Done done) {
  queue_->Push(std::move(batch), std::move(done));
}

Status EmbeddedTransport::Finish() { return queue_->Close(); }

void EmbeddedTransport::Abort() { queue_->Abandon(); }

}  // namespace strata
