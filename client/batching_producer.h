// BatchingProducer: the Producer of every transport. Collects messages into batches, bounds what is
// unacknowledged and runs the callbacks; what carries the batches is a BatchTransport.
//
//   Send() -> builder -> [a batch leaves] -> BatchTransport::Submit -> Done -> callbacks
//
// When a batch leaves:
//   - at once when it is full (batch_bytes, 65,536 messages, or the next message does not fit);
//   - otherwise when fewer than kPartialInFlight batches are unacknowledged, and linger is over for
//     its first message, or a Flush() or a blocked Send() waits for it; and when the client's
//     producers together have not too much of that under way (partial_gate.h).
// The second rule is the batching at linger 0: a lone message leaves at once, and what arrives
// while a few batches are on their way shares the next one, so that batches grow with load and
// nothing ever waits for a timer. At most kProducerWindow batches are unanswered at any time: the
// broker remembers the results of so many, for those that have to be sent again.
//
// Order: one thread at a time submits, one thread at a time runs callbacks, both in the order of
// Send(), whatever order the transport answers in. No lock is held while either runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/batch.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "client/client.h"
#include "client/open_set.h"
#include "client/partial_gate.h"

namespace strata {

// Where batches go: a Produce stream, or a broker in this process.
class BatchTransport {
 public:
  using Done = std::function<void(const Result<AppendResult>&)>;

  virtual ~BatchTransport() = default;
  // Stores the batch, `count` messages, after all submitted before. `done` is called at most once,
  // on any thread, perhaps before Submit returns; its error says what happened to the batch. After
  // an error every batch that follows must fail too. Called by one thread at a time.
  virtual void Submit(Buffer batch, uint32_t count, Done done) = 0;
  // No batch follows and all are answered: ends in peace, which releases what was held exclusively.
  // May block for a moment. An error says that it may still be held.
  virtual Status Finish() = 0;
  // Ends now; answers still to come may be dropped. Must not block. Also after Finish().
  virtual void Abort() = 0;
};

class BatchingProducer final : public Producer {
 public:
  // What is known once it is open.
  struct Opened {
    ChannelNumber channel_number = 0;
    std::string name = {};
    MessageId end = 0;  // of the channel
  };

  // A batch that is not full leaves only while fewer than this many are unacknowledged. At 250,000
  // messages of 1 KB a second over a 1.5 ms round trip that makes batches of about 100 KB; fewer
  // would leave the pipeline of the broker (one group written while another is synced) idle.
  static constexpr size_t kPartialInFlight = 4;

  // `limits` are the broker's: a message beyond them is refused by Send() alone, instead of failing
  // the batch that it would be part of. `gate` is that of all producers of the client.
  BatchingProducer(const ProducerOptions& options, const BatchLimits& limits, Opened opened,
                   std::unique_ptr<BatchTransport> transport, std::shared_ptr<PartialGate> gate,
                   Clock* clock = Clock::System());
  // As Close() without its Flush(): see Producer. No callback runs afterwards, unless it is one of
  // them that destroys the producer: the others then run after it, on the same thread.
  ~BatchingProducer() override;

  using Producer::Send;
  Status Send(const Message& message, Callback done) override;
  Status Send(std::string_view payload, Callback done) override;
  Status Flush(std::chrono::milliseconds timeout) override;
  Status Close() override;
  ChannelNumber channel_number() const override { return opened_.channel_number; }
  const std::string& name() const override { return opened_.name; }
  MessageId end_at_open() const override { return opened_.end; }

  // For the client that opened it.
  std::shared_ptr<Openable> inner() const;

 private:
  class Core;
  const Opened opened_;
  // Shared with the answers that the transport still owes, which may outlive the producer.
  const std::shared_ptr<Core> core_;
};

}  // namespace strata
