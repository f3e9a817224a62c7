#include "client/grpc/reconnecting_producer.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "client/backoff.h"
#include "client/calls.h"
#include "client/deadline.h"
#include "client/grpc/produce_stream.h"

namespace strata {

using SteadyClock = std::chrono::steady_clock;

// What the streams tell comes with the generation of the stream: once another one is being opened it
// is late and means nothing, because the new stream brings the same results again.
class ReconnectingProducer::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(std::shared_ptr<Connection> connection, v1::ProduceOpen open)
      : connection_(std::move(connection)), open_(std::move(open)) {}
  ~Core();

  Status FirstOpen(BatchingProducer::Opened* opened);
  void Submit(Buffer batch, Done done);
  Status Finish();
  void Abort();

 private:
  struct Pending {
    uint64_t sequence = 0;
    Buffer batch;
    Done done;
    bool sent = false;    // the daemon may have it
    bool stored = false;  // the daemon has stored one of this number
  };
  // What to call once the lock is released.
  struct Answer {
    Done done;
    Result<AppendResult> result;
  };
  using Answers = std::vector<Answer>;

  std::shared_ptr<ProduceStream> OpenStream() STRATA_REQUIRES(mu_);
  void SendLocked(Pending* pending, ProduceStream* stream) STRATA_REQUIRES(mu_);
  void OnResults(uint64_t generation, const std::vector<AppendResult>& results);
  void OnEnd(uint64_t generation, const Status& why);
  // The stream of the present generation has ended.
  void BreakLocked(const Status& why, Answers* answers) STRATA_REQUIRES(mu_);
  // Ends everything with `why`, whose fate is that of the first batch without a result.
  void FailLocked(const Status& why, Answers* answers) STRATA_REQUIRES(mu_);
  void StartRecovery(const Status& why) STRATA_REQUIRES(mu_);
  void Recover();
  // One attempt. TIMEOUT and broken connections: try again.
  Status TryAgain() STRATA_REQUIRES(mu_);
  // Whether what the new stream says goes on from what is known; then sends again.
  Status ResumeLocked(ProduceStream* stream) STRATA_REQUIRES(mu_);
  // Ending the stream in peace is for tidiness only; a name that was made up expires.
  bool NothingToRelease() STRATA_REQUIRES(mu_) { return !open_.exclusive(); }
  static void Run(Answers answers);

  const std::shared_ptr<Connection> connection_;

  Mutex mu_;
  CondVar changed_;
  v1::ProduceOpen open_ STRATA_GUARDED_BY(mu_);
  std::string store_id_ STRATA_GUARDED_BY(mu_);
  std::deque<Pending> unanswered_ STRATA_GUARDED_BY(mu_);
  uint64_t last_sequence_ STRATA_GUARDED_BY(mu_) = 0;  // given to a batch
  uint64_t acknowledged_ STRATA_GUARDED_BY(mu_) = 0;   // of a batch that has its result

  uint64_t generation_ STRATA_GUARDED_BY(mu_) = 0;
  std::shared_ptr<ProduceStream> opening_ STRATA_GUARDED_BY(mu_);
  std::shared_ptr<ProduceStream> stream_ STRATA_GUARDED_BY(mu_);  // open; null while there is none
  bool recovering_ STRATA_GUARDED_BY(mu_) = false;
  bool broke_again_ STRATA_GUARDED_BY(mu_) = false;  // while recovering
  Status broken_by_ STRATA_GUARDED_BY(mu_);
  std::thread recovery_ STRATA_GUARDED_BY(mu_);

  bool finishing_ STRATA_GUARDED_BY(mu_) = false;
  bool finished_ STRATA_GUARDED_BY(mu_) = false;  // in peace
  bool aborted_ STRATA_GUARDED_BY(mu_) = false;
  Status failure_ STRATA_GUARDED_BY(mu_);
};

ReconnectingProducer::Core::~Core() {
  MutexLock lock(mu_);
  if (recovery_.joinable()) recovery_.detach();  // it is this thread, or has ended but for its exit
}

std::shared_ptr<ProduceStream> ReconnectingProducer::Core::OpenStream() {
  const uint64_t generation = ++generation_;
  open_.set_attempt(open_.attempt() + 1);
  return ProduceStream::Open(
      connection_, open_,
      {[weak = weak_from_this(), generation](const std::vector<AppendResult>& results) {
         if (const auto core = weak.lock()) core->OnResults(generation, results);
       },
       [weak = weak_from_this(), generation](const Status& why) {
         if (const auto core = weak.lock()) core->OnEnd(generation, why);
       }});
}

Status ReconnectingProducer::Core::FirstOpen(BatchingProducer::Opened* opened) {
  std::shared_ptr<ProduceStream> stream;
  {
    MutexLock lock(mu_);
    // Until it is open its end is the caller's to handle.
    recovering_ = true;
    broke_again_ = false;
    stream = OpenStream();
  }
  const Status status = stream->AwaitOpened(connection_->options().call_timeout, "producer");
  MutexLock lock(mu_);
  if (!status.ok()) {
    stream->Cancel();
    return status;
  }
  recovering_ = false;
  const v1::ProduceOpened answer = stream->opened();
  open_.set_channel_number(answer.channel_number());
  open_.set_create_if_missing(false);
  store_id_ = answer.store_id();
  last_sequence_ = acknowledged_ = answer.last_sequence();
  opened->channel_number = answer.channel_number();
  opened->name = open_.producer();
  opened->end = answer.next_id();
  if (broke_again_) {
    StartRecovery(broken_by_);
  } else {
    stream_ = std::move(stream);
  }
  return Status::Ok();
}

void ReconnectingProducer::Core::SendLocked(Pending* pending, ProduceStream* stream) {
  pending->sent = true;
  stream->Submit(pending->sequence, pending->batch);
}

void ReconnectingProducer::Core::Submit(Buffer batch, Done done) {
  {
    MutexLock lock(mu_);
    if (failure_.ok() && !aborted_) {
      unanswered_.push_back({++last_sequence_, std::move(batch), std::move(done), false});
      if (stream_ != nullptr) SendLocked(&unanswered_.back(), stream_.get());
      return;
    }
    if (aborted_) return;
  }
  MutexLock lock(mu_);
  const Status refused = failure_.WithFate(DataFate::kNotAppended);
  lock.Unlock();
  done(refused);
  lock.Lock();
}

void ReconnectingProducer::Core::OnResults(uint64_t generation,
                                           const std::vector<AppendResult>& results) {
  Answers answers;
  {
    MutexLock lock(mu_);
    if (generation != generation_ || aborted_ || !failure_.ok()) return;
    for (const AppendResult& result : results) {
      if (unanswered_.empty() || !unanswered_.front().sent) break;  // more than it got: ignored
      acknowledged_ = unanswered_.front().sequence;
      answers.push_back({std::move(unanswered_.front().done), result});
      unanswered_.pop_front();
    }
  }
  Run(std::move(answers));
}

void ReconnectingProducer::Core::OnEnd(uint64_t generation, const Status& why) {
  Answers answers;
  {
    MutexLock lock(mu_);
    if (generation != generation_ || aborted_ || !failure_.ok()) return;
    BreakLocked(why, &answers);
  }
  Run(std::move(answers));
}

void ReconnectingProducer::Core::BreakLocked(const Status& why, Answers* answers) {
  stream_.reset();
  changed_.NotifyAll();
  if (finishing_ && unanswered_.empty() && (why.ok() || NothingToRelease())) {
    finished_ = true;
    return;
  }
  broken_by_ =
      why.ok() ? Status(Reason::CONNECTION_LOST, "the daemon ended the producer's stream") : why;
  if (recovering_) {
    broke_again_ = true;
    return;
  }
  if (IsBrokenConnection(broken_by_) && connection_->options().reconnect_timeout.count() > 0) {
    StartRecovery(broken_by_);
  } else {
    FailLocked(broken_by_, answers);
  }
}

void ReconnectingProducer::Core::FailLocked(const Status& why, Answers* answers) {
  failure_ = why;
  // The status speaks of the first batch whose number is not stored. Those behind it are not
  // appended, unless it leaves open what was; and what never left is not appended whatever it says.
  bool first = true;
  for (Pending& pending : unanswered_) {
    Status status = why.WithFate(DataFate::kNotAppended);
    if (pending.stored) {
      // Under its number; whether as this batch only its result would have told: another instance
      // may have used the name.
      status = why.WithFate(DataFate::kMayHaveBeenAppended);
    } else if (pending.sent) {
      if (first || why.fate() == DataFate::kMayHaveBeenAppended) status = why;
      first = false;
    }
    answers->push_back({std::move(pending.done), std::move(status)});
  }
  unanswered_.clear();
  changed_.NotifyAll();
}

void ReconnectingProducer::Core::StartRecovery(const Status& why) {
  broken_by_ = why;
  recovering_ = true;
  broke_again_ = false;
  // The one before has given back recovering_, so it is past its last use of the lock.
  if (recovery_.joinable()) recovery_.detach();
  recovery_ = std::thread([self = shared_from_this()] { self->Recover(); });
}

void ReconnectingProducer::Core::Recover() {
  Answers answers;
  MutexLock lock(mu_);
  const auto give_up =
      SteadyClock::now() + BoundedTimeout(connection_->options().reconnect_timeout);
  Backoff backoff;
  while (!aborted_) {
    if (SteadyClock::now() >= give_up) {
      FailLocked(broken_by_.WithContext("not back within reconnect_timeout"), &answers);
      break;
    }
    const auto until = std::min(give_up, SteadyClock::now() + backoff.Next());
    while (!aborted_ && SteadyClock::now() < until) changed_.WaitUntil(mu_, until);
    if (aborted_) break;
    const Status status = TryAgain();
    if (aborted_) break;
    if (status.ok() && !broke_again_) break;
    if (!status.ok()) {
      if (!IsBrokenConnection(status) && status.reason() != Reason::TIMEOUT) {
        // What was sent on earlier streams may be stored; only an answer would have told.
        FailLocked(status.WithFate(DataFate::kMayHaveBeenAppended), &answers);
        break;
      }
      broken_by_ = status.WithFate(DataFate::kMayHaveBeenAppended);
    }
  }
  recovering_ = false;
  changed_.NotifyAll();
  lock.Unlock();
  Run(std::move(answers));
  lock.Lock();
}

Status ReconnectingProducer::Core::TryAgain() {
  stream_.reset();
  broke_again_ = false;
  opening_ = OpenStream();
  const std::shared_ptr<ProduceStream> stream = opening_;
  mu_.Unlock();
  const Status opened = stream->AwaitOpened(connection_->OpenTimeout(), "producer");
  mu_.Lock();
  opening_.reset();
  if (aborted_ || !opened.ok()) {
    stream->Cancel();
    return opened;
  }
  const Status resumed = ResumeLocked(stream.get());
  if (!resumed.ok()) {
    stream->Cancel();
    return resumed;
  }
  if (!broke_again_) stream_ = stream;
  return Status::Ok();
}

Status ReconnectingProducer::Core::ResumeLocked(ProduceStream* stream) {
  const v1::ProduceOpened answer = stream->opened();
  if (answer.store_id() != store_id_) {
    return Status(Reason::CHANNEL_RECREATED, "the daemon serves another store now: " +
                                                 answer.store_id() + ", not " + store_id_);
  }
  if (answer.last_sequence() < acknowledged_) {
    return Status(Reason::OUT_OF_SEQUENCE,
                  "batch " + std::to_string(acknowledged_) + " of producer '" + open_.producer() +
                      "' was acknowledged, but the daemon knows only of " +
                      std::to_string(answer.last_sequence()) +
                      ": acknowledged messages were lost, as a crash may do without "
                      "durability.sync: always, or the producer was forgotten");
  }
  // The streams before are out: what is not stored by now never will be by them.
  for (Pending& pending : unanswered_) {
    pending.stored = pending.sequence <= answer.last_sequence();
    SendLocked(&pending, stream);
  }
  return Status::Ok();
}

Status ReconnectingProducer::Core::Finish() {
  const auto deadline = DeadlineAfter(connection_->options().call_timeout);
  MutexLock lock(mu_);
  finishing_ = true;
  if (stream_ == nullptr && unanswered_.empty() && NothingToRelease()) finished_ = true;
  std::shared_ptr<ProduceStream> closing;
  while (!finished_ && failure_.ok() && !aborted_) {
    if (stream_ != nullptr && stream_ != closing) {
      closing = stream_;
      closing->HalfClose();
    }
    // Not where the answer would come.
    if (GrpcThread::IsThis()) break;
    if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout) break;
  }
  if (finished_ || aborted_) return Status::Ok();
  if (!failure_.ok()) return failure_;
  return Status(Reason::TIMEOUT, "the daemon did not end the producer in time");
}

void ReconnectingProducer::Core::Abort() {
  std::deque<Pending> dropped;  // they hold the producer, which must not go under the lock
  std::shared_ptr<ProduceStream> stream;
  std::thread recovery;
  {
    MutexLock lock(mu_);
    aborted_ = true;
    dropped.swap(unanswered_);
    stream = stream_ != nullptr ? stream_ : opening_;
    if (stream != nullptr) stream->Cancel();
    changed_.NotifyAll();
    const bool own = recovery_.get_id() == std::this_thread::get_id();
    if (recovery_.joinable() && !own && !GrpcThread::IsThis()) recovery.swap(recovery_);
  }
  if (recovery.joinable()) recovery.join();
  constexpr std::chrono::milliseconds kCancelTimeout{2000};
  if (stream != nullptr) stream->WaitUntilEnded(kCancelTimeout);
}

void ReconnectingProducer::Core::Run(Answers answers) {
  for (Answer& answer : answers) answer.done(answer.result);
}

Result<std::unique_ptr<ReconnectingProducer>> ReconnectingProducer::Open(
    const std::shared_ptr<Connection>& connection, const std::string& channel,
    const ProducerOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckProducer(options));
  v1::ProduceOpen open;
  open.set_channel(channel);
  open.set_create_if_missing(options.create_if_missing);
  open.set_producer(options.name.empty() ? MadeUpName() : options.name);
  open.set_term(options.term);
  open.set_exclusive(options.exclusive);
  open.set_forget_when_closed(options.name.empty());
  open.set_instance(RandomNumber());
  const auto core = std::make_shared<Core>(connection, std::move(open));
  BatchingProducer::Opened opened;
  STRATA_RETURN_IF_ERROR(connection->Persist([&] { return core->FirstOpen(&opened); }));
  return std::unique_ptr<ReconnectingProducer>(new ReconnectingProducer(core, std::move(opened)));
}

ReconnectingProducer::~ReconnectingProducer() { core_->Abort(); }

void ReconnectingProducer::Submit(Buffer batch, uint32_t /*count*/, Done done) {
  core_->Submit(std::move(batch), std::move(done));
}

Status ReconnectingProducer::Finish() { return core_->Finish(); }

void ReconnectingProducer::Abort() { core_->Abort(); }

}  // namespace strata
