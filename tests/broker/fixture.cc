#include "tests/broker/fixture.h"

#include <chrono>
#include <utility>

#include "base/batch.h"
#include "tests/support/catch.h"

namespace strata::testing {

using broker::Delivery;
using broker::Reader;

void Gate::Close() {
  MutexLock lock(mu_);
  closed_ = true;
}

void Gate::Open() {
  MutexLock lock(mu_);
  closed_ = false;
  allowed_ = 0;
  changed_.NotifyAll();
}

void Gate::LetPass(int calls) {
  MutexLock lock(mu_);
  allowed_ += calls;
  changed_.NotifyAll();
  while (allowed_ > 0) changed_.Wait(mu_);
}

void Gate::AwaitWaiting(int calls) {
  MutexLock lock(mu_);
  while (waiting_ < calls) changed_.Wait(mu_);
}

void Gate::Pass() {
  MutexLock lock(mu_);
  ++waiting_;
  changed_.NotifyAll();
  while (closed_ && allowed_ == 0) changed_.Wait(mu_);
  if (closed_) --allowed_;
  --waiting_;
  ++passed_;
  changed_.NotifyAll();
}

int Gate::passed() const {
  MutexLock lock(mu_);
  return passed_;
}

Status GatedStore::Write(const storage::WriteGroup& group) {
  write_thread_.store(std::this_thread::get_id());
  writes.Pass();
  return ForwardingStore::Write(group);
}

Status GatedStore::Sync() {
  sync_thread_.store(std::this_thread::get_id());
  syncs.Pass();
  return ForwardingStore::Sync();
}

Result<std::vector<storage::ReadItem>> GatedStore::Read(ChannelNumber channel, MessageId from,
                                                        MessageId end, size_t max_bytes) {
  reads.Pass();
  return ForwardingStore::Read(channel, from, end, max_bytes);
}

broker::AppendCallback Answers::Callback() {
  return [state = state_](const Result<AppendResult>& answer) {
    MutexLock lock(state->mu);
    state->answers.push_back(answer);
    state->changed.NotifyAll();
  };
}

std::vector<Result<AppendResult>> Answers::Await(size_t count) {
  MutexLock lock(state_->mu);
  while (state_->answers.size() < count) state_->changed.Wait(state_->mu);
  return state_->answers;
}

size_t Answers::count() const {
  MutexLock lock(state_->mu);
  return state_->answers.size();
}

std::function<void()> Bell::Ringer() {
  return [state = state_] {
    MutexLock lock(state->mu);
    ++state->rings;
    state->changed.NotifyAll();
  };
}

bool Bell::Await(int rings) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  MutexLock lock(state_->mu);
  while (state_->rings < rings) {
    if (state_->changed.WaitUntil(state_->mu, give_up) == std::cv_status::timeout) {
      return state_->rings >= rings;
    }
  }
  return true;
}

int Bell::rings() const {
  MutexLock lock(state_->mu);
  return state_->rings;
}

Buffer BatchOf(const std::vector<std::string>& payloads) {
  BatchBuilder builder;
  for (const std::string& payload : payloads) builder.Add(payload);
  return builder.Take();
}

bool Eventually(const std::function<bool()>& condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

Lines ToLines(const Reader::Item& item) {
  Lines lines;
  if (const auto* delivery = std::get_if<Delivery>(&item)) {
    const Buffer bytes = delivery->batch.bytes.Contiguous();
    BatchIterator it(bytes.view(), delivery->batch.first_id, delivery->batch.append_time);
    uint32_t index = 0;
    for (MessageView view; it.Next(&view); ++index) {
      if (index < delivery->skip) continue;
      lines.push_back(std::to_string(view.id) + " " + std::string(view.payload));
    }
    if (index != delivery->batch.count) lines.push_back("a batch of another count");
  } else if (const auto* gap = std::get_if<Gap>(&item)) {
    lines.push_back("gap " + std::to_string(gap->first) + " to " + std::to_string(gap->last) + " " +
                    std::string(GapReasonName(gap->reason)));
  } else if (const auto* moved = std::get_if<broker::Moved>(&item)) {
    lines.push_back("moved to " + std::to_string(moved->position) + " by seek " +
                    std::to_string(moved->seek));
  } else if (const auto* status = std::get_if<Status>(&item)) {
    lines.push_back(GetErrorInfo(status->reason()).name);
  }
  return lines;
}

Lines ReadToEnd(Reader* reader) {
  Lines lines;
  for (;;) {
    const Reader::Item item = reader->Next();
    for (std::string& line : ToLines(item)) lines.push_back(std::move(line));
    if (std::holds_alternative<Reader::AtEnd>(item) || std::holds_alternative<Status>(item)) {
      return lines;
    }
  }
}

TestBroker::TestBroker(broker::BrokerOptions options, std::shared_ptr<MemoryStore> disk)
    : TestBroker(std::move(options), disk, std::make_unique<GatedStore>(disk), disk->Recover()) {}

TestBroker::TestBroker(broker::BrokerOptions options, std::shared_ptr<MemoryStore> disk,
                       std::unique_ptr<GatedStore> store, storage::Recovered recovered)
    : disk_(std::move(disk)), store_(store.get()) {
  options.clock = clock_.get();
  // Sweeps are asked for, so that a test knows who waits for the clock.
  options.sweeper.threads = false;
  broker_ =
      std::make_unique<broker::Broker>(std::move(options), std::move(store), std::move(recovered));
}

TestBroker::~TestBroker() { Destroy(); }

void TestBroker::Destroy() {
  if (broker_ == nullptr) return;
  disk_->ReleaseWrites();
  disk_->ReleaseSyncs();
  for (Gate* gate : {&store_->writes, &store_->syncs, &store_->reads}) gate->Open();
  broker_.reset();
}

TestBroker TestBroker::AfterPowerCut(size_t unsynced, broker::BrokerOptions options) const {
  return TestBroker(std::move(options), disk_->Reopen(unsynced));
}

Result<AppendResult> TestBroker::AppendAs(const std::string& producer, int64_t term,
                                          uint64_t sequence, const std::string& payload,
                                          const std::string& channel) {
  return broker_->Append({.channel = channel,
                          .batch = BatchOf({payload}),
                          .producer = producer,
                          .term = term,
                          .sequence = sequence});
}

Result<AppendResult> TestBroker::AppendBy(const broker::OpenedProducer& producer, uint64_t sequence,
                                          const std::string& payload) {
  return broker_->Append({.channel = "",
                          .batch = BatchOf({payload}),
                          .sequence = sequence,
                          .session = producer.session});
}

void TestBroker::AppendByAsync(const broker::OpenedProducer& producer, uint64_t sequence,
                               const std::string& payload, Answers* answers) {
  broker_->AppendAsync({.channel = "",
                        .batch = BatchOf({payload}),
                        .sequence = sequence,
                        .session = producer.session},
                       answers->Callback());
}

std::unique_ptr<Reader> TestBroker::Open(const std::string& channel, const StartPosition& start) {
  Result<std::unique_ptr<Reader>> reader = broker_->OpenReader(channel, start);
  REQUIRE(reader.ok());
  return *std::move(reader);
}

}  // namespace strata::testing
