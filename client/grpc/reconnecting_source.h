// ReconnectingSource: the BatchSource over gRPC. Holds one Consume stream at a time; when it breaks,
// opens another that goes on behind what was handed out, so that its user sees each message once.
//
//   a reader     starts at the id behind the last one; the gap is announced if it is gone meanwhile
//   a consumer   takes its subscription over from its own dead stream (ConsumeOpen.instance), goes on
//                behind the last delivery (resume_at), not at the cursor, unless somebody has moved
//                the cursor since (seek_number), and sends its last acknowledgement again
//
// It works on the caller's thread alone: a broken stream is noticed and replaced inside Next(), within
// the caller's time, across as many calls as it takes. So there is no thread and no timer, and a
// consumer that does not ask for messages does not hold its subscription after a break.
//
// Threads: as BatchSource says. mu_ is never held while waiting for the daemon.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "client/backoff.h"
#include "client/batch_reader.h"
#include "client/grpc/consume_stream.h"

namespace strata {

class ReconnectingSource final : public BatchSource {
 public:
  struct Options {
    std::string channel;
    std::string subscription;  // empty: a reader
    StartPosition start;
    uint64_t read_ahead = 0;
    std::string holder;
    bool failover = false;
    std::chrono::milliseconds wait_for_channel{0};
  };

  ReconnectingSource(std::shared_ptr<Connection> connection, const Options& options);

  // Opens the first stream, and adds itself to `open`; comes back like a call that may be made again,
  // or waits for the channel.
  static Result<std::shared_ptr<ReconnectingSource>> Open(
      const std::shared_ptr<Connection>& connection, const Options& options, OpenSet* open);

  // --- BatchSource ---
  OpenedAt opened_at() override;
  Result<ReceivedBatch> Next(std::chrono::milliseconds timeout) override;
  Result<MessageId> Seek(const StartPosition& to) override;
  Status Acknowledge(MessageId through) override;
  Status AcknowledgeAsync(MessageId through) override;
  bool active() const override { return position() != 0; }
  MessageId position() const override { return position_.load(std::memory_order_relaxed); }
  void Close() override;
  void End(const Status& why) override;

 private:
  using SteadyClock = std::chrono::steady_clock;

  // REQUIRES: nothing else uses the source yet.
  Status OpenFirst();
  // Sees to it that stream_ is there. TIMEOUT at the deadline, which loses nothing: the attempt under
  // way goes on with the next call. Every other error is final.
  Status EnsureStream(SteadyClock::time_point deadline) STRATA_REQUIRES(mu_);
  // One step of it: OK, and look again.
  Status Reopen(SteadyClock::time_point deadline) STRATA_REQUIRES(mu_);
  void PauseBeforeNext(const Status& why) STRATA_REQUIRES(mu_);
  void Take(std::shared_ptr<ConsumeStream> stream) STRATA_REQUIRES(mu_);
  // `stream` has ended: makes way for another one, or keeps its end as final.
  void Break(const ConsumeStream* stream, const Status& why) STRATA_REQUIRES(mu_);
  void Follow(const ConsumeStream::Place& place) STRATA_REQUIRES(mu_);
  v1::ConsumeOpen RequestLocked() const STRATA_REQUIRES(mu_);
  Status CheckAcknowledge() const;
  // SUBSCRIPTION_HELD for one that waits for its turn.
  Status CheckActive() const STRATA_REQUIRES(mu_);
  // By a call of its own, for what was received where this stands.
  v1::AcknowledgeRequest AcknowledgementLocked(MessageId through) const STRATA_REQUIRES(mu_);

  const std::shared_ptr<Connection> connection_;
  const Options options_;
  const uint64_t instance_;
  std::atomic<MessageId> position_{0};

  mutable Mutex mu_;
  CondVar changed_;
  std::shared_ptr<ConsumeStream> stream_ STRATA_GUARDED_BY(mu_);
  ConsumeStream::Place place_ STRATA_GUARDED_BY(mu_);
  ChannelNumber channel_number_ STRATA_GUARDED_BY(mu_) = 0;
  MessageId acknowledged_ STRATA_GUARDED_BY(mu_) = 0;  // by AcknowledgeAsync, under place_.seek

  // Started at a time, and nothing has come since: it may lie in the future, and what is older than
  // it is not meant.
  std::optional<StartPosition> at_time_ STRATA_GUARDED_BY(mu_);

  // --- While there is no stream ---
  std::shared_ptr<ConsumeStream> opening_ STRATA_GUARDED_BY(mu_);
  SteadyClock::time_point opening_until_ STRATA_GUARDED_BY(mu_);
  SteadyClock::time_point next_try_ STRATA_GUARDED_BY(mu_);
  SteadyClock::time_point give_up_ STRATA_GUARDED_BY(mu_);
  bool tried_late_ STRATA_GUARDED_BY(mu_) = false;  // after give_up_
  Backoff backoff_ STRATA_GUARDED_BY(mu_);
  Status broken_by_ STRATA_GUARDED_BY(mu_);

  Status end_ STRATA_GUARDED_BY(mu_);     // final
  Status closed_ STRATA_GUARDED_BY(mu_);  // by this side
};

}  // namespace strata
