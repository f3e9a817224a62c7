// Many producers of one client: what leaves that is not full, and whose turn it is.
#include "client/partial_gate.h"

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "client/batching_producer.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using std::chrono::seconds;

// Where all producers' batches arrive, in order.
class Wire {
 public:
  struct Sent {
    int producer;
    uint32_t count;
    BatchTransport::Done done;
  };

  void Submit(Sent sent) {
    MutexLock lock(mu_);
    if (broken_) {
      lock.Unlock();
      sent.done(Status(Reason::CONNECTION_LOST, "broken"));
      lock.Lock();
      return;
    }
    sent_.push_back(std::move(sent));
  }
  size_t waiting() {
    MutexLock lock(mu_);
    return sent_.size();
  }
  // The oldest one without an answer gets it. False: there is none.
  bool Acknowledge() {
    Sent sent;
    {
      MutexLock lock(mu_);
      if (sent_.empty()) return false;
      sent = std::move(sent_.front());
      sent_.pop_front();
    }
    sent.done(AppendResult{1, sent.count, 0});
    return true;
  }
  // By its place among those without an answer.
  Sent sent(size_t index) {
    MutexLock lock(mu_);
    return sent_.at(index);
  }
  // Everything on its way fails, and at once what is sent from now on.
  void Break() {
    std::deque<Sent> failed;
    {
      MutexLock lock(mu_);
      broken_ = true;
      failed.swap(sent_);
    }
    for (Sent& sent : failed) sent.done(Status(Reason::CONNECTION_LOST, "broken"));
  }
  void DropUnanswered() {
    std::deque<Sent> dropped;
    MutexLock lock(mu_);
    dropped.swap(sent_);
  }

 private:
  Mutex mu_;
  std::deque<Sent> sent_ STRATA_GUARDED_BY(mu_);
  bool broken_ STRATA_GUARDED_BY(mu_) = false;
};

class FakeTransport final : public BatchTransport {
 public:
  FakeTransport(Wire* wire, int producer) : wire_(wire), producer_(producer) {}
  void Submit(Buffer /*batch*/, uint32_t count, Done done) override {
    wire_->Submit({producer_, count, std::move(done)});
  }
  Status Finish() override { return Status::Ok(); }
  void Abort() override {}

 private:
  Wire* const wire_;
  const int producer_;
};

// One client's producers.
struct Producers {
  explicit Producers(int count) {
    for (int i = 0; i < count; ++i) {
      all.push_back(std::make_unique<BatchingProducer>(
          ProducerOptions{}, BatchLimits{}, BatchingProducer::Opened{},
          std::make_unique<FakeTransport>(&wire, i), gate));
    }
  }
  ~Producers() {
    all.clear();
    wire.DropUnanswered();
  }
  void Send(int producer, size_t bytes = 1) {
    REQUIRE(all[static_cast<size_t>(producer)]->Send(std::string(bytes, 'x'), nullptr).ok());
  }
  // The first three take all that may be under way: in batches of 900 KB, which are not full. The
  // next answer makes room for one more.
  static constexpr size_t kFilled = 10;
  void Fill() {
    for (size_t i = 0; i < kFilled; ++i) Send(static_cast<int>(i / 4), 900'000);
    REQUIRE(wire.waiting() == kFilled);
  }

  Wire wire;
  std::shared_ptr<PartialGate> gate = std::make_shared<PartialGate>();
  std::vector<std::unique_ptr<BatchingProducer>> all;
};

TEST_CASE("Producers that wait for their turn gather, and leave in order as answers come") {
  Producers p(5);
  p.Fill();
  for (int i = 0; i < 10; ++i) {
    p.Send(4, 1000);
    p.Send(3, 500'000 / 10);
  }
  CHECK(p.wire.waiting() == Producers::kFilled);
  REQUIRE(p.wire.Acknowledge());
  REQUIRE(p.wire.waiting() == Producers::kFilled + 1);  // one less and two more
  CHECK(p.wire.sent(Producers::kFilled - 1).producer == 4);
  CHECK(p.wire.sent(Producers::kFilled - 1).count == 10);
  CHECK(p.wire.sent(Producers::kFilled).producer == 3);
  CHECK(p.wire.sent(Producers::kFilled).count == 10);
}

TEST_CASE("A full batch leaves without a turn, and what its producer gathers next keeps the turn") {
  Producers p(5);
  p.Fill();
  p.Send(3, 600'000);
  p.Send(4);
  CHECK(p.wire.waiting() == Producers::kFilled);
  p.Send(3, 448'576);  // closes the batch, which has 600,000 bytes, and begins another one
  REQUIRE(p.wire.waiting() == Producers::kFilled + 1);
  CHECK(p.wire.sent(Producers::kFilled).producer == 3);
  CHECK(p.wire.sent(Producers::kFilled).count == 1);
  REQUIRE(p.wire.Acknowledge());
  // The turn of 3 takes what is gathered since, and fills the gate: 4 stays where it is.
  CHECK(p.wire.sent(Producers::kFilled).producer == 3);
  CHECK(p.wire.waiting() == Producers::kFilled + 1);
  REQUIRE(p.wire.Acknowledge());
  CHECK(p.wire.sent(Producers::kFilled).producer == 4);
}

TEST_CASE("Small batches of many producers do not wait for one another") {
  Producers p(2000);
  for (int i = 0; i < 2000; ++i) p.Send(i, 1000);
  CHECK(p.wire.waiting() == 2000);
}

TEST_CASE("A producer that is destroyed gives its room to those that wait") {
  Producers p(5);
  p.Fill();
  p.Send(3);
  p.Send(4);
  p.all[3].reset();  // in line
  CHECK(p.wire.waiting() == Producers::kFilled);
  p.all[0].reset();
  REQUIRE(p.wire.waiting() == Producers::kFilled + 1);
  CHECK(p.wire.sent(Producers::kFilled).producer == 4);
}

TEST_CASE("Thousands of producers in line fail one after the other, not one inside the other") {
  Producers p(20'000);
  p.Fill();
  int failed = 0;
  for (size_t i = 3; i < p.all.size(); ++i) {
    const auto note = [&](const Result<MessageId>& id) { failed += id.ok() ? 0 : 1; };
    REQUIRE(p.all[i]->Send("x", note).ok());
  }
  REQUIRE(p.wire.waiting() == Producers::kFilled);
  p.wire.Break();
  CHECK(failed == 19'997);
}

TEST_CASE("Nobody is forgotten in line, whoever sends and whoever answers") {
  const uint64_t seed = testing::TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  constexpr int kThreads = 3;
  constexpr int kEach = 40;
  Producers p(kThreads * kEach);
  std::atomic<bool> done{false};
  std::vector<std::thread> answering;
  for (int t = 0; t < 2; ++t) {
    answering.emplace_back([&] {
      while (!done) {
        if (!p.wire.Acknowledge()) std::this_thread::yield();
      }
    });
  }
  std::vector<std::thread> sending;
  std::atomic<int> wrong{0};
  for (int t = 0; t < kThreads; ++t) {
    sending.emplace_back([&, t] {
      testing::Random random(seed + static_cast<uint64_t>(t));
      for (int i = 0; i < 400; ++i) {
        auto& producer = p.all[static_cast<size_t>(t * kEach) + random.Below(kEach)];
        const std::string payload(random.Below(300'000), 'x');
        if (!producer->Send(payload, nullptr).ok()) ++wrong;
      }
      for (int i = 0; i < kEach; ++i) {
        if (!p.all[static_cast<size_t>(t * kEach + i)]->Flush(seconds(30)).ok()) ++wrong;
      }
    });
  }
  for (std::thread& thread : sending) thread.join();
  done = true;
  for (std::thread& thread : answering) thread.join();
  CHECK(wrong == 0);
  CHECK(p.wire.waiting() == 0);
}

}  // namespace
}  // namespace strata
