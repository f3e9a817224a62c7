#include "client/batching_producer.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/utf8.h"
#include "client/calls.h"
#include "client/deadline.h"

namespace strata {
namespace {

Status CheckProperties(const Properties& properties) {
  for (const auto& [key, value] : properties) {
    if (!IsValidUtf8(key)) return Status(Reason::INVALID_BATCH, "a property key is not UTF-8");
    if (!IsValidUtf8(value)) {
      return Status(Reason::INVALID_BATCH, "the value of property '" + key + "' is not UTF-8");
    }
  }
  return Status::Ok();
}

uint64_t DataBytes(std::string_view payload, const Properties& properties) {
  uint64_t bytes = payload.size();
  for (const auto& [key, value] : properties) bytes += key.size() + value.size();
  return bytes;
}

}  // namespace

class BatchingProducer::Core final : public Openable,
                                     public PartialGate::Waiter,
                                     public std::enable_shared_from_this<Core> {
 public:
  Core(const ProducerOptions& options, const BatchLimits& limits,
       std::unique_ptr<BatchTransport> transport, std::shared_ptr<PartialGate> gate, Clock* clock)
      : options_(options),
        limits_(limits),
        batch_bytes_(std::clamp<uint64_t>(options.batch_bytes, 1, limits.max_batch())),
        transport_(std::move(transport)),
        gate_(std::move(gate)),
        clock_(clock) {}

  void StartTimer() {
    if (options_.linger.count() > 0) {
      timer_ = std::thread([self = shared_from_this()] { self->RunTimer(); });
    }
  }

  Status Send(std::string_view payload, const Properties& properties, Callback done);
  Status Flush(std::chrono::milliseconds timeout);
  Status Close();
  void End(const Status& why) override;
  void OnTurn() override;
  // For the destructor: after it no callback runs, unless this is called by one.
  void EndAndJoin();

 private:
  struct Waiting {
    uint32_t index;  // of its message in the batch
    Callback done;
  };
  // A batch from when it is closed until its callbacks have run.
  struct Batch {
    Buffer bytes;  // until it is submitted
    uint64_t size = 0;
    uint32_t count = 0;
    bool through_gate = false;  // it was not full
    std::vector<Waiting> waiting;
    std::optional<Result<AppendResult>> result;
  };

  Status WaitForRoom(uint64_t size) STRATA_REQUIRES(mu_);
  void Add(std::string_view payload, const Properties& properties, uint64_t size, Callback done)
      STRATA_REQUIRES(mu_);
  std::shared_ptr<Batch> TakeBuilder() STRATA_REQUIRES(mu_);
  void CloseBuilder() STRATA_REQUIRES(mu_);
  bool PartialMayLeave() STRATA_REQUIRES(mu_);
  // Closes what is in the builder if it may leave and the gate lets it pass.
  bool ClosePartial() STRATA_REQUIRES(mu_);
  // The batch has its result. True: PartialGate::WakeWaiting() is to follow.
  [[nodiscard]] bool LeaveGate(const Batch& batch) STRATA_REQUIRES(mu_);
  // Both unlock mu_ while they call out.
  void SubmitWhatMayLeave() STRATA_REQUIRES(mu_);
  void Deliver() STRATA_REQUIRES(mu_);
  static void RunCallbacks(Batch& batch);
  void Answer(const std::shared_ptr<Batch>& batch, const Result<AppendResult>& result);
  // Every later Send() is refused with `why`, and what has not been submitted fails with it.
  void Fail(const Status& why) STRATA_REQUIRES(mu_);
  bool InCallback() STRATA_REQUIRES(mu_) {
    return delivering_ && deliverer_ == std::this_thread::get_id();
  }
  void RunTimer();

  // --- Constant after construction ---
  const ProducerOptions options_;
  const BatchLimits limits_;
  const uint64_t batch_bytes_;
  const std::unique_ptr<BatchTransport> transport_;
  const std::shared_ptr<PartialGate> gate_;
  Clock* const clock_;
  std::thread timer_;  // only with linger

  Mutex mu_;
  CondVar changed_;  // room, deliveries, the end
  CondVar timer_wake_;

  // --- Filling ---
  BatchBuilder builder_ STRATA_GUARDED_BY(mu_);
  std::vector<Waiting> builder_waiting_ STRATA_GUARDED_BY(mu_);
  Clock::Duration builder_since_ STRATA_GUARDED_BY(mu_){
      0};                                              // with linger: the first message's time
  uint64_t last_size_ STRATA_GUARDED_BY(mu_) = 0;      // the next batch is likely to need as much
  uint64_t sent_ STRATA_GUARDED_BY(mu_) = 0;           // messages that Send() accepted
  uint64_t in_flight_ STRATA_GUARDED_BY(mu_) = 0;      // their bytes, until answered
  uint64_t flush_through_ STRATA_GUARDED_BY(mu_) = 0;  // these many do not linger
  int blocked_ STRATA_GUARDED_BY(mu_) = 0;             // Send() calls waiting for room

  // --- Leaving, in order: closed batches, then those with the transport or answered ---
  std::deque<std::shared_ptr<Batch>> closed_ STRATA_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<Batch>> outstanding_ STRATA_GUARDED_BY(mu_);
  size_t unanswered_ STRATA_GUARDED_BY(mu_) = 0;  // in outstanding_, without a result
  bool submitting_ STRATA_GUARDED_BY(mu_) = false;
  bool in_line_ STRATA_GUARDED_BY(mu_) = false;  // the gate will call OnTurn()
  bool my_turn_ STRATA_GUARDED_BY(mu_) = false;  // it does

  // --- Coming back ---
  bool delivering_ STRATA_GUARDED_BY(mu_) = false;
  std::thread::id deliverer_ STRATA_GUARDED_BY(mu_);
  uint64_t delivered_ STRATA_GUARDED_BY(mu_) = 0;  // messages whose callbacks have run
  int flushing_ STRATA_GUARDED_BY(mu_) = 0;        // Flush() calls waiting

  // --- The end ---
  Status failure_ STRATA_GUARDED_BY(mu_);  // the first error, or that it was closed
  std::optional<Status> close_result_ STRATA_GUARDED_BY(mu_);
  bool stop_timer_ STRATA_GUARDED_BY(mu_) = false;
};

Status BatchingProducer::Core::Send(std::string_view payload, const Properties& properties,
                                    Callback done) {
  if (const uint64_t bytes = DataBytes(payload, properties); bytes > limits_.max_payload) {
    return Status(Reason::MESSAGE_TOO_LARGE, "the message has " + std::to_string(bytes) +
                                                 " bytes of payload and properties, at most " +
                                                 std::to_string(limits_.max_payload) +
                                                 " are allowed (limits.maxPayload)");
  }
  STRATA_RETURN_IF_ERROR(CheckProperties(properties));
  const uint64_t size = BatchBuilder::EncodedSize(payload.size(), properties);
  if (size > limits_.max_batch()) {
    return Status(Reason::MESSAGE_TOO_LARGE,
                  "the message has " + std::to_string(size) + " bytes as encoded, at most " +
                      std::to_string(limits_.max_batch()) +
                      " are allowed (limits.maxPayload + 64 KiB); it has many small properties");
  }
  MutexLock lock(mu_);
  STRATA_RETURN_IF_ERROR(WaitForRoom(size));
  Add(payload, properties, size, std::move(done));
  SubmitWhatMayLeave();
  return Status::Ok();
}

Status BatchingProducer::Core::WaitForRoom(uint64_t size) {
  while (failure_.ok() && in_flight_ > 0 && in_flight_ + size > options_.max_in_flight) {
    // A callback would wait for the thread that it runs on.
    if (!options_.block_when_full || InCallback()) {
      return Status(Reason::PRODUCER_FULL,
                    std::to_string(in_flight_) + " bytes are unacknowledged, at most " +
                        std::to_string(options_.max_in_flight) + " are allowed (max_in_flight)");
    }
    ++blocked_;
    SubmitWhatMayLeave();
    // Calling out has unlocked: there may be room by now.
    if (failure_.ok() && in_flight_ > 0 && in_flight_ + size > options_.max_in_flight) {
      changed_.Wait(mu_);
    }
    --blocked_;
  }
  return failure_.WithFate(DataFate::kNotAppended);
}

void BatchingProducer::Core::Add(std::string_view payload, const Properties& properties,
                                 uint64_t size, Callback done) {
  if (!builder_.empty() && builder_.bytes() + size > batch_bytes_) CloseBuilder();
  if (builder_.empty()) {
    builder_.Reserve(std::max(size, std::min(last_size_ + last_size_ / 8, batch_bytes_)));
    if (options_.linger.count() > 0) {
      builder_since_ = clock_->Monotonic();
      timer_wake_.NotifyOne();
    }
  }
  if (done) builder_waiting_.push_back({builder_.count(), std::move(done)});
  builder_.Add(payload, properties);
  ++sent_;
  in_flight_ += size;
  if (builder_.bytes() >= batch_bytes_ || builder_.count() == kMaxBatchMessages) CloseBuilder();
}

std::shared_ptr<BatchingProducer::Core::Batch> BatchingProducer::Core::TakeBuilder() {
  auto batch = std::make_shared<Batch>();
  batch->size = last_size_ = builder_.bytes();
  batch->count = builder_.count();
  batch->bytes = builder_.Take();
  batch->waiting.swap(builder_waiting_);
  return batch;
}

void BatchingProducer::Core::CloseBuilder() { closed_.push_back(TakeBuilder()); }

bool BatchingProducer::Core::PartialMayLeave() {
  if (builder_.empty() || unanswered_ >= kPartialInFlight) return false;
  if (options_.linger.count() == 0 || blocked_ > 0 || flush_through_ > sent_ - builder_.count()) {
    return true;
  }
  return clock_->Monotonic() - builder_since_ >= options_.linger;
}

bool BatchingProducer::Core::ClosePartial() {
  if (!PartialMayLeave()) return false;
  const bool first = my_turn_ || blocked_ > 0 || flushing_ > 0;
  std::shared_ptr<Core> self = in_line_ ? nullptr : shared_from_this();
  if (!gate_->Enter(builder_.bytes(), first, self)) {
    in_line_ = true;
    return false;
  }
  CloseBuilder();
  closed_.back()->through_gate = true;
  return true;
}

void BatchingProducer::Core::OnTurn() {
  MutexLock lock(mu_);
  in_line_ = false;
  my_turn_ = true;
  SubmitWhatMayLeave();
  my_turn_ = false;
}

bool BatchingProducer::Core::LeaveGate(const Batch& batch) {
  return batch.through_gate && gate_->Leave(batch.size);
}

void BatchingProducer::Core::SubmitWhatMayLeave() {
  if (submitting_) return;
  submitting_ = true;
  while (failure_.ok() && unanswered_ < kProducerWindow) {
    if (closed_.empty() && !ClosePartial()) break;
    const std::shared_ptr<Batch> batch = std::move(closed_.front());
    closed_.pop_front();
    outstanding_.push_back(batch);
    ++unanswered_;
    mu_.Unlock();
    transport_->Submit(std::move(batch->bytes), batch->count,
                       [core = shared_from_this(), batch](const Result<AppendResult>& result) {
                         core->Answer(batch, result);
                       });
    mu_.Lock();
  }
  submitting_ = false;
}

void BatchingProducer::Core::Answer(const std::shared_ptr<Batch>& batch,
                                    const Result<AppendResult>& result) {
  bool wake = false;
  {
    MutexLock lock(mu_);
    if (batch->result.has_value()) return;  // was given up by End()
    batch->result = result;
    --unanswered_;
    // Before the callbacks, in which another producer's Send() may wait for room.
    wake = LeaveGate(*batch);
    if (!result.ok()) Fail(result.status());
    Deliver();
    SubmitWhatMayLeave();
  }
  if (wake) gate_->WakeWaiting();
}

void BatchingProducer::Core::Fail(const Status& why) {
  if (!failure_.ok()) return;
  failure_ = why;
  if (!builder_.empty()) CloseBuilder();
  const Status unsent = why.WithFate(DataFate::kNotAppended);
  for (std::shared_ptr<Batch>& batch : closed_) {
    batch->result = unsent;
    outstanding_.push_back(std::move(batch));
  }
  closed_.clear();
  changed_.NotifyAll();
}

void BatchingProducer::Core::Deliver() {
  if (delivering_) return;
  delivering_ = true;
  deliverer_ = std::this_thread::get_id();
  while (!outstanding_.empty() && outstanding_.front()->result.has_value()) {
    const std::shared_ptr<Batch> batch = std::move(outstanding_.front());
    outstanding_.pop_front();
    in_flight_ -= batch->size;
    if (blocked_ > 0) changed_.NotifyAll();
    mu_.Unlock();
    RunCallbacks(*batch);
    mu_.Lock();
    delivered_ += batch->count;
    if (flushing_ > 0) changed_.NotifyAll();
  }
  delivering_ = false;
  changed_.NotifyAll();
}

void BatchingProducer::Core::RunCallbacks(Batch& batch) {
  const Result<AppendResult>& result = *batch.result;
  if (!result.ok()) {
    const Result<MessageId> failed = result.status();
    for (const Waiting& waiting : batch.waiting) waiting.done(failed);
  } else {
    for (const Waiting& waiting : batch.waiting) waiting.done(result->first_id + waiting.index);
  }
  batch.waiting.clear();
}

Status BatchingProducer::Core::Flush(std::chrono::milliseconds timeout) {
  const Clock::Duration deadline = clock_->Monotonic() + BoundedTimeout(timeout);
  MutexLock lock(mu_);
  if (InCallback()) {
    return NothingAppended(Status(Reason::INVALID_ARGUMENT,
                                  "Flush() and Close() in a callback would wait for themselves"));
  }
  const uint64_t through = sent_;
  flush_through_ = std::max(flush_through_, through);
  SubmitWhatMayLeave();
  ++flushing_;
  while (delivered_ < through && clock_->Monotonic() < deadline) {
    clock_->WaitUntil(mu_, changed_, deadline);
  }
  --flushing_;
  if (delivered_ >= through) return failure_;
  return Status(Reason::TIMEOUT, std::to_string(through - delivered_) +
                                     " messages are still on their way; they go on");
}

Status BatchingProducer::Core::Close() {
  {
    MutexLock lock(mu_);
    if (close_result_.has_value()) return *close_result_;
  }
  Status flushed = Flush(std::chrono::minutes(1));
  {
    MutexLock lock(mu_);
    if (InCallback()) return flushed;
    if (close_result_.has_value()) return *close_result_;
    close_result_ = flushed;
  }
  if (flushed.ok()) {
    flushed = NothingAppended(transport_->Finish());
    MutexLock lock(mu_);
    close_result_ = flushed;
  }
  End(Status(Reason::CLIENT_CLOSED, "the producer was closed"));
  return flushed;
}

void BatchingProducer::Core::End(const Status& why) {
  bool wake = false;
  {
    MutexLock lock(mu_);
    Fail(why);
    const Status in_flight = why.WithFate(DataFate::kMayHaveBeenAppended);
    for (const std::shared_ptr<Batch>& batch : outstanding_) {
      if (batch->result.has_value()) continue;
      batch->result = in_flight;
      if (LeaveGate(*batch)) wake = true;
    }
    unanswered_ = 0;
    stop_timer_ = true;
    timer_wake_.NotifyAll();
    Deliver();
  }
  if (wake) gate_->WakeWaiting();
  transport_->Abort();
}

void BatchingProducer::Core::EndAndJoin() {
  End(Status(Reason::CLIENT_CLOSED,
             "the producer was destroyed before its messages were answered"));
  {
    MutexLock lock(mu_);
    while (delivering_ && !InCallback()) changed_.Wait(mu_);
  }
  if (!timer_.joinable()) return;
  if (timer_.get_id() == std::this_thread::get_id()) {
    timer_.detach();
  } else {
    timer_.join();
  }
}

void BatchingProducer::Core::RunTimer() {
  MutexLock lock(mu_);
  while (!stop_timer_) {
    if (builder_.empty()) {
      timer_wake_.Wait(mu_);
      continue;
    }
    const Clock::Duration due = builder_since_ + options_.linger;
    if (clock_->Monotonic() < due) {
      clock_->WaitUntil(mu_, timer_wake_, due);
      continue;
    }
    SubmitWhatMayLeave();
    // What may not leave yet goes with the next answer, so that only a new batch needs the timer.
    if (!stop_timer_ && !builder_.empty() &&
        clock_->Monotonic() >= builder_since_ + options_.linger) {
      timer_wake_.Wait(mu_);
    }
  }
}

BatchingProducer::BatchingProducer(const ProducerOptions& options, const BatchLimits& limits,
                                   Opened opened, std::unique_ptr<BatchTransport> transport,
                                   std::shared_ptr<PartialGate> gate, Clock* clock)
    : opened_(std::move(opened)),
      core_(std::make_shared<Core>(options, limits, std::move(transport), std::move(gate), clock)) {
  core_->StartTimer();
}

BatchingProducer::~BatchingProducer() { core_->EndAndJoin(); }

Status BatchingProducer::Send(const Message& message, Callback done) {
  return core_->Send(message.payload, message.properties, std::move(done));
}

Status BatchingProducer::Send(std::string_view payload, Callback done) {
  static const Properties kNone;
  return core_->Send(payload, kNone, std::move(done));
}

Status BatchingProducer::Flush(std::chrono::milliseconds timeout) { return core_->Flush(timeout); }

Status BatchingProducer::Close() { return core_->Close(); }

std::shared_ptr<Openable> BatchingProducer::inner() const { return core_; }

}  // namespace strata
