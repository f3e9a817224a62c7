#include "client/batching_producer.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<std::string> Payloads(const Buffer& batch) {
  std::vector<std::string> payloads;
  const Buffer bytes = batch.Contiguous();
  BatchIterator it(bytes.view(), 1, 0);
  for (MessageView message; it.Next(&message);) payloads.emplace_back(message.payload);
  return payloads;
}

// What arrived at the fake transport, for the test to look at and to answer. Ids go on from 1.
class Wire {
 public:
  struct Sent {
    Buffer batch;
    uint32_t count;
    BatchTransport::Done done;
  };

  void Submit(Buffer batch, uint32_t count, BatchTransport::Done done) {
    MutexLock lock(mu_);
    if (!refuse_.ok()) {
      const Status refused = refuse_;
      lock.Unlock();
      done(refused);
      lock.Lock();
      return;
    }
    sent_.push_back({std::move(batch), count, std::move(done)});
    arrived_.NotifyAll();
  }

  size_t batches() {
    MutexLock lock(mu_);
    return sent_.size();
  }
  std::vector<std::string> payloads(size_t index) {
    MutexLock lock(mu_);
    return Payloads(sent_.at(index).batch);
  }
  // False after ten seconds.
  bool WaitForBatches(size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(10);
    MutexLock lock(mu_);
    while (sent_.size() < count) {
      if (arrived_.WaitUntil(mu_, deadline) == std::cv_status::timeout) return false;
    }
    return true;
  }

  // Answers the oldest batch without an answer.
  void Acknowledge() {
    Sent sent;
    AppendResult result;
    {
      MutexLock lock(mu_);
      sent = std::move(sent_.at(answered_++));
      result = {next_id_, sent.count, 0};
      next_id_ += sent.count;
    }
    sent.done(result);
  }
  void AcknowledgeAll() {
    while (unanswered() > 0) Acknowledge();
  }
  size_t unanswered() {
    MutexLock lock(mu_);
    return sent_.size() - answered_;
  }
  BatchTransport::Done TakeDone(size_t index) {
    MutexLock lock(mu_);
    return sent_.at(index).done;
  }
  void Fail(const Status& status) {
    BatchTransport::Done done;
    {
      MutexLock lock(mu_);
      done = sent_.at(answered_++).done;
    }
    done(status);
  }
  void RefuseFromNowOn(const Status& status) {
    MutexLock lock(mu_);
    refuse_ = status;
  }

  // Lets go of what will not be answered: the callbacks own the producer's core, and that owns this.
  void DropUnanswered() {
    std::deque<Sent> dropped;
    MutexLock lock(mu_);
    dropped.swap(sent_);
  }

  std::atomic<int> finished{0};
  std::atomic<int> aborted{0};

 private:
  Mutex mu_;
  CondVar arrived_;
  std::deque<Sent> sent_ STRATA_GUARDED_BY(mu_);
  size_t answered_ STRATA_GUARDED_BY(mu_) = 0;
  MessageId next_id_ STRATA_GUARDED_BY(mu_) = 1;
  Status refuse_ STRATA_GUARDED_BY(mu_);
};

class FakeTransport final : public BatchTransport {
 public:
  explicit FakeTransport(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  void Submit(Buffer batch, uint32_t count, Done done) override {
    wire_->Submit(std::move(batch), count, std::move(done));
  }
  Status Finish() override {
    ++wire_->finished;
    return Status::Ok();
  }
  void Abort() override { ++wire_->aborted; }

 private:
  const std::shared_ptr<Wire> wire_;
};

// What callbacks got, in order.
class Answers {
 public:
  Producer::Callback Note(std::string name) {
    return [this, name = std::move(name)](const Result<MessageId>& id) {
      MutexLock lock(mu_);
      noted_.push_back(name + (id.ok() ? "=" + std::to_string(*id) : "!" + Name(id.status())));
    };
  }
  std::vector<std::string> noted() {
    MutexLock lock(mu_);
    return noted_;
  }

 private:
  static std::string Name(const Status& status) {
    const std::string reason = GetErrorInfo(status.reason()).name;
    return reason + (status.fate() == DataFate::kNotAppended ? " not" : " maybe");
  }
  Mutex mu_;
  std::vector<std::string> noted_ STRATA_GUARDED_BY(mu_);
};

using Strings = std::vector<std::string>;

struct Fixture {
  explicit Fixture(ProducerOptions options = {}, BatchLimits limits = {})
      : producer(std::make_unique<BatchingProducer>(
            options, limits, BatchingProducer::Opened{7, "p", 0},
            std::make_unique<FakeTransport>(wire), gate, &clock)) {}
  ~Fixture() {
    producer.reset();
    wire->DropUnanswered();
  }

  Status Send(const std::string& payload) { return producer->Send(payload, answers.Note(payload)); }
  // Makes partial batches stay: as many as may be unacknowledged are.
  void FillPipeline() {
    for (size_t i = 0; i < BatchingProducer::kPartialInFlight; ++i) {
      REQUIRE(producer->Send("fill", nullptr).ok());
    }
    REQUIRE(wire->batches() == BatchingProducer::kPartialInFlight);
  }
  void WaitForClockWaiters(int count) {
    while (clock.waiters() < count) std::this_thread::yield();
  }

  ManualClock clock;
  std::shared_ptr<PartialGate> gate = std::make_shared<PartialGate>();
  std::shared_ptr<Wire> wire = std::make_shared<Wire>();
  Answers answers;
  std::unique_ptr<BatchingProducer> producer;
};

TEST_CASE("A lone message leaves at once and its callback gets its id") {
  Fixture f;
  REQUIRE(f.Send("a").ok());
  CHECK(f.wire->payloads(0) == Strings{"a"});
  CHECK(f.answers.noted().empty());
  f.wire->Acknowledge();
  CHECK(f.answers.noted() == Strings{"a=1"});
  CHECK(f.producer->channel_number() == 7);
}

TEST_CASE("Messages sent while a few batches are on their way share the next one") {
  Fixture f;
  f.FillPipeline();
  for (const char* payload : {"a", "b", "c"}) REQUIRE(f.Send(payload).ok());
  REQUIRE(f.wire->batches() == BatchingProducer::kPartialInFlight);
  f.wire->Acknowledge();
  REQUIRE(f.wire->batches() == BatchingProducer::kPartialInFlight + 1);
  CHECK(f.wire->payloads(BatchingProducer::kPartialInFlight) == Strings{"a", "b", "c"});
  f.wire->AcknowledgeAll();
  CHECK(f.answers.noted() == Strings{"a=5", "b=6", "c=7"});
}

TEST_CASE("A full batch leaves whatever is on its way, and a message that does not fit closes it") {
  Fixture f({.batch_bytes = 20});
  f.FillPipeline();
  REQUIRE(f.Send("123456").ok());  // 10 bytes as encoded
  REQUIRE(f.wire->batches() == 4);
  REQUIRE(f.Send("123456").ok());
  REQUIRE(f.wire->batches() == 5);
  CHECK(f.wire->payloads(4) == Strings{"123456", "123456"});

  REQUIRE(f.Send("x").ok());
  REQUIRE(f.wire->batches() == 5);
  REQUIRE(f.Send(std::string(50, 'y')).ok());
  REQUIRE(f.wire->batches() == 7);
  CHECK(f.wire->payloads(5) == Strings{"x"});
  CHECK(f.wire->payloads(6) == Strings{std::string(50, 'y')});
}

TEST_CASE("A batch never has more messages than a batch may have") {
  Fixture f;
  f.FillPipeline();
  for (uint32_t i = 0; i < kMaxBatchMessages + 1; ++i) REQUIRE(f.producer->Send("", nullptr).ok());
  REQUIRE(f.wire->batches() == 5);
  CHECK(f.wire->payloads(4).size() == kMaxBatchMessages);
}

// The broker keeps the results of so many for those that have to be sent again.
TEST_CASE("At most 64 batches are under way, and the next leaves with the first answer") {
  Fixture f({.batch_bytes = 1});
  for (int i = 0; i < 70; ++i) REQUIRE(f.Send("m").ok());
  CHECK(f.wire->batches() == kProducerWindow);
  f.wire->Acknowledge();
  CHECK(f.wire->batches() == kProducerWindow + 1);
  f.wire->AcknowledgeAll();
  CHECK(f.answers.noted().size() == 70);
}

TEST_CASE("Callbacks run in the order of Send, whatever order the transport answers in") {
  Fixture f;
  for (const char* payload : {"a", "b", "c"}) REQUIRE(f.Send(payload).ok());
  f.wire->TakeDone(2)(AppendResult{3, 1, 0});
  f.wire->TakeDone(1)(AppendResult{2, 1, 0});
  CHECK(f.answers.noted().empty());
  f.wire->TakeDone(0)(AppendResult{1, 1, 0});
  CHECK(f.answers.noted() == Strings{"a=1", "b=2", "c=3"});
}

TEST_CASE("Properties travel with their message and non-UTF-8 ones are refused alone") {
  Fixture f;
  const Message message{"payload", {{"key", "value"}, {"empty", ""}}};
  REQUIRE(f.producer->Send(message, nullptr).ok());
  const Status refused = f.producer->Send(Message{"", {{"key", "\xff"}}}, nullptr);
  CHECK(refused.reason() == Reason::INVALID_BATCH);
  CHECK(refused.fate() == DataFate::kNotAppended);
  CHECK(f.producer->Send(Message{"", {{"\xc0\x80", "value"}}}, nullptr).reason() ==
        Reason::INVALID_BATCH);
  REQUIRE(f.Send("next").ok());
  REQUIRE(f.wire->batches() == 2);
}

TEST_CASE("A message above the broker's limit is refused alone") {
  Fixture f({}, {.max_payload = 10});
  CHECK(f.Send(std::string(10, 'x')).ok());
  const Status refused = f.Send(std::string(11, 'x'));
  CHECK(refused.reason() == Reason::MESSAGE_TOO_LARGE);
  CHECK(refused.fate() == DataFate::kNotAppended);
  CHECK(f.producer->Send(Message{"12345", {{"123", "456"}}}, nullptr).reason() ==
        Reason::MESSAGE_TOO_LARGE);
  CHECK(f.Send("next").ok());
  f.wire->AcknowledgeAll();
  CHECK(f.answers.noted() == Strings{std::string(10, 'x') + "=1", "next=2"});
}

TEST_CASE("With linger a batch waits for its time, measured from its first message") {
  Fixture f({.linger = milliseconds(5)});
  REQUIRE(f.Send("a").ok());
  f.WaitForClockWaiters(1);
  f.clock.Advance(milliseconds(4));
  REQUIRE(f.Send("b").ok());
  CHECK(f.wire->batches() == 0);
  f.WaitForClockWaiters(1);
  f.clock.Advance(milliseconds(1));
  REQUIRE(f.wire->WaitForBatches(1));
  CHECK(f.wire->payloads(0) == Strings{"a", "b"});
}

TEST_CASE("With linger a full batch leaves at once and Flush does not wait for the time") {
  Fixture f({.batch_bytes = 20, .linger = hours(1)});
  REQUIRE(f.Send("123456").ok());
  CHECK(f.wire->batches() == 0);
  REQUIRE(f.Send("123456").ok());
  CHECK(f.wire->batches() == 1);
  REQUIRE(f.Send("rest").ok());
  CHECK(f.wire->batches() == 1);
  CHECK(f.producer->Flush(milliseconds(0)).reason() == Reason::TIMEOUT);
  CHECK(f.wire->batches() == 2);
  REQUIRE(f.Send("later").ok());
  CHECK(f.wire->batches() == 2);
}

TEST_CASE("A lingering batch whose time came while the pipeline was full leaves with an answer") {
  Fixture f({.batch_bytes = 20, .linger = milliseconds(5)});
  for (int i = 0; i < 4; ++i) REQUIRE(f.producer->Send(std::string(20, 'x'), nullptr).ok());
  REQUIRE(f.wire->batches() == 4);
  REQUIRE(f.Send("a").ok());
  f.WaitForClockWaiters(1);
  f.clock.Advance(milliseconds(5));
  CHECK(f.wire->batches() == 4);
  f.wire->Acknowledge();
  REQUIRE(f.wire->WaitForBatches(5));
  CHECK(f.wire->payloads(4) == Strings{"a"});
}

TEST_CASE("At the bound a producer told so refuses, and takes again once room is made") {
  Fixture f({.max_in_flight = 20, .block_when_full = false});
  REQUIRE(f.Send("123456").ok());
  REQUIRE(f.Send("123456").ok());
  const Status full = f.Send("x");
  CHECK(full.reason() == Reason::PRODUCER_FULL);
  CHECK(full.fate() == DataFate::kNotAppended);
  f.wire->Acknowledge();
  CHECK(f.Send("x").ok());
}

TEST_CASE("A message larger than the bound is let in when nothing else is on its way") {
  Fixture f({.max_in_flight = 20, .block_when_full = false});
  CHECK(f.Send(std::string(100, 'x')).ok());
  CHECK(f.Send("y").reason() == Reason::PRODUCER_FULL);
  f.wire->Acknowledge();
  CHECK(f.Send("y").ok());
}

TEST_CASE("At the bound Send blocks until room is made, and a lingering batch does not wait then") {
  Fixture f({.linger = hours(1), .max_in_flight = 20});
  REQUIRE(f.Send("123456").ok());
  REQUIRE(f.Send("123456").ok());
  CHECK(f.wire->batches() == 0);
  Status sent(Reason::INTERNAL, "not sent");
  std::thread blocked([&] { sent = f.Send("x"); });
  const bool left = f.wire->WaitForBatches(1);
  if (left) f.wire->Acknowledge();
  blocked.join();
  CHECK(left);
  CHECK(sent.ok());
  CHECK(f.answers.noted() == Strings{"123456=1", "123456=2"});
}

TEST_CASE("A failure ends a blocked Send with not appended") {
  Fixture f({.max_in_flight = 1});
  REQUIRE(f.Send("a").ok());
  Status sent;
  std::thread blocked([&] { sent = f.Send("b"); });
  f.wire->Fail(Status(Reason::STORE_FAILED, "disk").WithFate(DataFate::kMayHaveBeenAppended));
  blocked.join();
  CHECK(sent.reason() == Reason::STORE_FAILED);
  CHECK(sent.fate() == DataFate::kNotAppended);
}

TEST_CASE("The first error ends the producer, and every message is told what happened to it") {
  Fixture f;
  for (const char* payload : {"a", "b", "c", "d", "queued"}) REQUIRE(f.Send(payload).ok());
  f.wire->Acknowledge();  // "queued" leaves
  REQUIRE(f.Send("unsent").ok());
  f.wire->Fail(Status(Reason::CONNECTION_LOST, "gone"));
  const Status refused = f.Send("late");
  CHECK(refused.reason() == Reason::CONNECTION_LOST);
  CHECK(refused.fate() == DataFate::kNotAppended);
  for (int i = 0; i < 3; ++i) {
    f.wire->Fail(Status(Reason::CONNECTION_LOST, "gone").WithFate(DataFate::kNotAppended));
  }
  CHECK(f.answers.noted() == Strings{"a=1", "b!CONNECTION_LOST maybe", "c!CONNECTION_LOST not",
                                     "d!CONNECTION_LOST not", "queued!CONNECTION_LOST not",
                                     "unsent!CONNECTION_LOST not"});
  CHECK(f.producer->Flush(seconds(1)).reason() == Reason::CONNECTION_LOST);
  CHECK(f.wire->batches() == 5);
}

TEST_CASE("An error given inside Submit waits for the answers of the batches before it") {
  Fixture f;
  REQUIRE(f.Send("a").ok());
  f.wire->RefuseFromNowOn(Status(Reason::BACK_PRESSURE, "full"));
  REQUIRE(f.Send("b").ok());
  CHECK(f.answers.noted().empty());
  CHECK(f.Send("c").reason() == Reason::BACK_PRESSURE);
  f.wire->Acknowledge();
  CHECK(f.answers.noted() == Strings{"a=1", "b!BACK_PRESSURE not"});
}

TEST_CASE("Flush waits for what was sent before it, and a timeout leaves it going") {
  Fixture f;
  CHECK(f.producer->Flush(milliseconds(0)).ok());
  REQUIRE(f.Send("a").ok());
  Status flushed;
  std::thread flusher([&] { flushed = f.producer->Flush(seconds(5)); });
  f.WaitForClockWaiters(1);
  f.clock.Advance(seconds(5));
  flusher.join();
  CHECK(flushed.reason() == Reason::TIMEOUT);
  CHECK(f.answers.noted().empty());

  std::thread second([&] { flushed = f.producer->Flush(milliseconds::max()); });
  f.WaitForClockWaiters(1);
  f.wire->Acknowledge();
  second.join();
  CHECK(flushed.ok());
  CHECK(f.answers.noted() == Strings{"a=1"});
}

TEST_CASE("A callback may send, and what it sends comes after what was sent before") {
  Fixture f;
  int left = 1000;
  Producer::Callback next = [&](const Result<MessageId>& id) {
    if (id.ok() && --left > 0) {
      // An error is the test's failure below: `left` stays above 0.
      if (!f.producer->Send("chain", next).ok()) left = -1;
    }
  };
  REQUIRE(f.producer->Send("chain", next).ok());
  f.wire->AcknowledgeAll();
  CHECK(left == 0);
  CHECK(f.wire->batches() == 1000);
}

TEST_CASE("A callback at the bound is refused instead of waiting for itself") {
  Fixture f({.max_in_flight = 20});
  std::optional<Status> sent;
  std::optional<Status> flushed;
  std::optional<Status> closed;
  REQUIRE(f.producer
              ->Send("123456",
                     [&](const Result<MessageId>&) {
                       sent = f.producer->Send("1234567", nullptr);
                       flushed = f.producer->Flush(seconds(10));
                       closed = f.producer->Close();
                     })
              .ok());
  REQUIRE(f.Send("123456").ok());
  f.wire->Acknowledge();
  CHECK(sent.value().reason() == Reason::PRODUCER_FULL);
  CHECK(flushed.value().reason() == Reason::INVALID_ARGUMENT);
  CHECK(closed.value().reason() == Reason::INVALID_ARGUMENT);
  CHECK(f.Send("x").ok());
}

TEST_CASE("Close flushes, ends the transport in peace and refuses what follows") {
  Fixture f;
  REQUIRE(f.Send("a").ok());
  Status closed(Reason::INTERNAL, "not closed");
  std::thread closer([&] { closed = f.producer->Close(); });
  f.WaitForClockWaiters(1);
  f.wire->Acknowledge();
  closer.join();
  CHECK(closed.ok());
  CHECK(f.wire->finished == 1);
  const Status refused = f.Send("b");
  CHECK(refused.reason() == Reason::CLIENT_CLOSED);
  CHECK(refused.fate() == DataFate::kNotAppended);
  CHECK(f.producer->Close().ok());
  CHECK(f.wire->finished == 1);
  CHECK(f.answers.noted() == Strings{"a=1"});
}

TEST_CASE("Destroying a producer answers everything at once and later answers are dropped") {
  Fixture f;
  for (const char* payload : {"a", "b", "c", "d", "unsent"}) REQUIRE(f.Send(payload).ok());
  f.wire->Acknowledge();
  f.producer.reset();
  CHECK(f.answers.noted() == Strings{"a=1", "b!CLIENT_CLOSED maybe", "c!CLIENT_CLOSED maybe",
                                     "d!CLIENT_CLOSED maybe", "unsent!CLIENT_CLOSED maybe"});
  CHECK(f.wire->aborted == 1);
  f.wire->AcknowledgeAll();
  CHECK(f.answers.noted().size() == 5);
}

TEST_CASE("Destroying a producer says not appended of what never left it") {
  Fixture f({.linger = hours(1)});
  REQUIRE(f.Send("unsent").ok());
  f.producer.reset();
  CHECK(f.answers.noted() == Strings{"unsent!CLIENT_CLOSED not"});
  CHECK(f.wire->batches() == 0);
}

TEST_CASE("A callback may destroy its own producer") {
  Fixture f({.linger = milliseconds(1)});
  REQUIRE(f.producer->Send("a", [&](const Result<MessageId>&) { f.producer.reset(); }).ok());
  REQUIRE(f.Send("b").ok());
  CHECK(f.producer->Flush(milliseconds(0)).reason() == Reason::TIMEOUT);
  f.wire->AcknowledgeAll();
  CHECK(f.producer == nullptr);
  CHECK(f.answers.noted() == Strings{"b=2"});
}

TEST_CASE("The client that opened a producer can end it") {
  Fixture f;
  REQUIRE(f.Send("a").ok());
  f.producer->inner()->End(Status(Reason::CLIENT_CLOSED, "the client was closed"));
  CHECK(f.answers.noted() == Strings{"a!CLIENT_CLOSED maybe"});
  CHECK(f.Send("b").reason() == Reason::CLIENT_CLOSED);
}

TEST_CASE("A future brings the id, or the error of a refused Send") {
  Fixture f({}, {.max_payload = 10});
  Producer& producer = *f.producer;
  std::future<Result<MessageId>> stored = producer.Send(Message{"a", {}});
  std::future<Result<MessageId>> refused = producer.Send(Message{std::string(11, 'x'), {}});
  f.wire->Acknowledge();
  CHECK(stored.get().value() == 1);
  CHECK(refused.get().status().reason() == Reason::MESSAGE_TOO_LARGE);
}

TEST_CASE("Many threads share a producer: each message is answered once, each thread's in order") {
  constexpr int kThreads = 4;
  constexpr int kMessages = 20'000;
  Fixture f({.batch_bytes = 4096, .max_in_flight = 16 << 10});
  std::atomic<bool> stop{false};
  std::thread broker([&] {
    while (!stop) {
      f.wire->AcknowledgeAll();
      std::this_thread::yield();
    }
  });
  std::vector<std::vector<MessageId>> ids(kThreads);  // each written by callbacks, one at a time
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kMessages; ++i) {
        const Status sent = f.producer->Send("payload", [&, t](const Result<MessageId>& id) {
          if (id.ok()) ids[t].push_back(*id);
        });
        if (!sent.ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The manual clock stands still: the flush ends by the last answer, not by its timeout.
  const Status flushed = f.producer->Flush(hours(1));
  stop = true;
  broker.join();
  CHECK(flushed.ok());
  CHECK(failed == 0);
  std::vector<MessageId> all;
  for (const std::vector<MessageId>& own : ids) {
    CHECK(own.size() == kMessages);
    CHECK(std::is_sorted(own.begin(), own.end()));
    all.insert(all.end(), own.begin(), own.end());
  }
  std::sort(all.begin(), all.end());
  CHECK(all.front() == 1);
  CHECK(all.back() == kThreads * kMessages);
  CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
}

}  // namespace
}  // namespace strata
