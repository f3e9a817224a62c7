#include "tests/chaos/actors.h"

#include <algorithm>

#include "tests/support/random.h"

namespace strata::testing {

using crash::Stamp;
using std::chrono::milliseconds;

// --- ChaosProducer ---

ChaosProducer::ChaosProducer(std::unique_ptr<Producer> producer, std::string channel,
                             uint32_t number, uint64_t seed, Calls* calls)
    : producer_(std::move(producer)),
      channel_(std::move(channel)),
      number_(number),
      calls_(calls),
      thread_(&ChaosProducer::Run, this, seed) {}

ChaosProducer::~ChaosProducer() { Stop(); }

void ChaosProducer::Stop() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    stopped_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

std::string ChaosProducer::problem() {
  const std::string what = problem_.get();
  return what.empty() ? "" : "producer " + std::to_string(number_) + ": " + what;
}

uint64_t ChaosProducer::acknowledged() { return acknowledged_; }

void ChaosProducer::Run(uint64_t seed) {
  Random random(seed);
  uint32_t counter = 0;
  while (true) {
    const uint64_t burst = random.OneIn(20) ? 200 : random.Between(1, 20);
    for (uint64_t i = 0; i < burst; ++i) {
      if (!SendOne(counter++)) return;
    }
    // The load is bounded: what is sent is read by several and kept in memory to be compared.
    const auto next = Calls::Clock::now() + milliseconds(random.Between(1, 30));
    MutexLock lock(mu_);
    while (!stop_) {
      if (stopped_.WaitUntil(mu_, next) == std::cv_status::timeout) break;
    }
    if (stop_) break;
  }
  constexpr std::chrono::minutes kFlush{1};
  const Status flushed = calls_->Timed("Flush", kFlush, [&] { return producer_->Flush(kFlush); });
  if (!flushed.ok()) return problem_.Set("Flush: " + flushed.ToString());
  const Status closed = calls_->Timed("Close", kFlush, [&] { return producer_->Close(); });
  if (!closed.ok()) return problem_.Set("Close: " + closed.ToString());
  if (ids_.size() != counter) {
    problem_.Set(std::to_string(ids_.size()) + " of " + std::to_string(counter) +
                 " messages were answered although Flush() said OK");
  }
}

bool ChaosProducer::SendOne(uint32_t counter) {
  const Status sent = calls_->Timed("Send", milliseconds(0), [&] {
    return producer_->Send(crash::PayloadOf({number_, counter}),
                           [this, counter](const Result<MessageId>& id) { Answered(counter, id); });
  });
  if (!sent.ok()) problem_.Set("Send " + std::to_string(counter) + ": " + sent.ToString());
  return sent.ok();
}

void ChaosProducer::Answered(uint32_t counter, const Result<MessageId>& id) {
  const std::string which = "message " + std::to_string(counter);
  if (!id.ok()) return problem_.Set(which + ": " + id.status().ToString());
  if (counter != ids_.size()) {
    return problem_.Set(which + " was answered where message " + std::to_string(ids_.size()) +
                        " was due");
  }
  if (!ids_.empty() && *id <= ids_.back()) {
    return problem_.Set(which + " has id " + std::to_string(*id) + " after " +
                        std::to_string(ids_.back()));
  }
  ids_.push_back(*id);
  ++acknowledged_;
}

// --- ChaosReader ---

ChaosReader::ChaosReader(std::unique_ptr<Reader> reader, Consumer* consumer, std::string name,
                         Order order, Calls* calls)
    : reader_(std::move(reader)),
      consumer_(consumer),
      name_(std::move(name)),
      order_(order),
      calls_(calls),
      thread_(&ChaosReader::Run, this) {}

namespace {

// The consumer as what the delegated constructor takes.
std::pair<std::unique_ptr<Reader>, Consumer*> Both(std::unique_ptr<Consumer> consumer) {
  Consumer* const raw = consumer.get();
  return {std::move(consumer), raw};
}

}  // namespace

ChaosReader::ChaosReader(std::unique_ptr<Consumer> consumer, std::string name, Order order,
                         Calls* calls)
    : ChaosReader(Both(std::move(consumer)), std::move(name), order, calls) {}

ChaosReader::ChaosReader(std::pair<std::unique_ptr<Reader>, Consumer*> both, std::string name,
                         Order order, Calls* calls)
    : ChaosReader(std::move(both.first), both.second, std::move(name), order, calls) {}

ChaosReader::~ChaosReader() { Stop(); }

void ChaosReader::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

std::string ChaosReader::problem() {
  const std::string what = problem_.get();
  return what.empty() ? "" : name_ + ": " + what;
}

void ChaosReader::Run() {
  constexpr milliseconds kTimeout{500};
  while (!stop_) {
    const MessageId end = end_;
    if (order_ == Order::kDense && end != 0 && next_ >= end) break;
    const Result<ReceivedBatch> batch =
        calls_->Timed("Receive", kTimeout, [&] { return reader_->ReceiveBatch(kTimeout); });
    if (!batch.ok() && batch.status().reason() == Reason::TIMEOUT) continue;
    if (!batch.ok()) return problem_.Set("Receive: " + batch.status().ToString());
    if (!Note(*batch)) return;
  }
  const int closed = calls_->Timed("Close", milliseconds(0), [&] {
    reader_->Close();
    return 0;
  });
  done_ = closed == 0;
}

bool ChaosReader::Note(const ReceivedBatch& batch) {
  const auto wrong = [&](const std::string& what) {
    problem_.Set(what);
    return false;
  };
  if (batch.is_gap()) {
    return wrong("a gap, " + std::to_string(batch.gap().first) + " to " +
                 std::to_string(batch.gap().last));
  }
  const MessageId next = next_;
  const bool expected =
      order_ == Order::kDense ? batch.first_id() == next : batch.first_id() >= next;
  if (!expected) {
    return wrong("id " + std::to_string(batch.first_id()) + " came where " + std::to_string(next) +
                 " was due");
  }
  received_.resize(static_cast<size_t>(batch.last_id()) + 1);
  has_.resize(received_.size());
  for (const MessageView& message : batch) {
    Stamp stamp;
    if (!crash::ReadStamp(message.payload, &stamp)) {
      return wrong("message " + std::to_string(message.id) + " is not what anybody sent");
    }
    received_[static_cast<size_t>(message.id)] = stamp;
    has_[static_cast<size_t>(message.id)] = true;
  }
  next_ = batch.last_id() + 1;
  return consumer_ == nullptr || Acknowledge(batch.last_id());
}

bool ChaosReader::Acknowledge(MessageId through) {
  // Now and then with an answer, which may not come while there is no connection.
  const bool waits = through % 17 == 0;
  const Status status = waits ? calls_->Timed("Acknowledge", kCallTimeout,
                                              [&] { return consumer_->Acknowledge(through); })
                              : calls_->Timed("AcknowledgeAsync", milliseconds(0),
                                              [&] { return consumer_->AcknowledgeAsync(through); });
  const bool fine =
      status.ok() ||
      (waits && (status.reason() == Reason::TIMEOUT || status.reason() == Reason::CONNECTION_LOST));
  if (!fine) problem_.Set("acknowledging " + std::to_string(through) + ": " + status.ToString());
  if (status.ok()) acknowledged_ = through;
  return fine;
}

// --- ChaosAsker ---

ChaosAsker::ChaosAsker(std::unique_ptr<Client> client, std::string channel, Calls* calls)
    : client_(std::move(client)),
      channel_(std::move(channel)),
      calls_(calls),
      thread_(&ChaosAsker::Run, this) {}

void ChaosAsker::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void ChaosAsker::Run() {
  constexpr milliseconds kWait{100};
  while (!stop_) {
    Note("DescribeChannel", calls_->Timed("DescribeChannel", kCallTimeout, [&] {
      return client_->DescribeChannel(channel_).status();
    }));
    Note("Fetch", calls_->Timed("Fetch", kCallTimeout + kWait, [&] {
      return client_->Fetch(channel_, StartPosition::Latest(), {.max_wait = kWait}).status();
    }));
    Note("OpenReader", calls_->Timed("OpenReader", kCallTimeout, [&] {
      return client_->OpenReader(channel_, StartPosition::Latest()).status();
    }));
  }
}

void ChaosAsker::Note(const char* what, const Status& status) {
  const Reason reason = status.reason();
  if (reason == Reason::OK || reason == Reason::TIMEOUT || reason == Reason::CONNECTION_LOST)
    return;
  problem_.Set(std::string(what) + ": " + status.ToString());
}

// --- The comparison ---

std::string CheckChannel(const std::vector<Stamp>& received,
                         const std::vector<const ChaosProducer*>& producers) {
  std::map<uint32_t, const ChaosProducer*> by_number;
  std::map<uint32_t, uint32_t> next;
  for (const ChaosProducer* producer : producers) by_number[producer->number()] = producer;
  for (size_t id = 1; id < received.size(); ++id) {
    const Stamp stamp = received[id];
    const std::string which = "id " + std::to_string(id) + " is message " +
                              std::to_string(stamp.counter) + " of producer " +
                              std::to_string(stamp.producer);
    const auto producer = by_number.find(stamp.producer);
    if (producer == by_number.end()) return which + ", which does not send here";
    uint32_t& due = next[stamp.producer];
    if (stamp.counter != due) return which + ", due was " + std::to_string(due);
    const std::vector<MessageId>& told = producer->second->ids();
    if (due >= told.size()) return which + ", which was never acknowledged";
    if (told[due] != static_cast<MessageId>(id)) {
      return which + ", which was told id " + std::to_string(told[due]);
    }
    ++due;
  }
  for (const ChaosProducer* producer : producers) {
    if (next[producer->number()] != producer->ids().size()) {
      return "only " + std::to_string(next[producer->number()]) + " of " +
             std::to_string(producer->ids().size()) + " messages of producer " +
             std::to_string(producer->number()) + " are there";
    }
  }
  return "";
}

}  // namespace strata::testing
