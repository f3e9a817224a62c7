// Client: everything a program does with Strata, wherever the broker runs.
//
//   auto client = strata::Connect("127.0.0.1:7470");  // or unix:/run/..., embedded:/var/lib/...
//   if (!client.ok()) return Fail(client.status());
//   auto producer = (*client)->OpenProducer("logs", {.create_if_missing = true});
//   (*producer)->Send("hello", [](const strata::Result<strata::MessageId>& id) { ... });
//   (*producer)->Flush();
//   auto reader = (*client)->OpenReader("logs", strata::StartPosition::Earliest());
//   auto received = (*reader)->Receive(std::chrono::seconds(1));
//
// The same code runs over gRPC and embedded; the address decides (connect.h). No type of gRPC or
// RocksDB appears here.
//
// Conventions: fallible calls return Status or Result and throw nothing; every error of an append
// says what happened to the data (Status::fate). Clients, producers, consumers and readers are
// thread-safe unless they say otherwise; they are owned by the caller, may be destroyed in any
// order, and destroying one closes it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/batch.h"
#include "base/status.h"
#include "base/types.h"
#include "client/types.h"

namespace strata {

// Appends to one channel, many messages in flight.
//
// Messages are collected into batches while earlier ones are on their way: a lone message leaves at
// once, a stream of them leaves in batches of up to batch_bytes. They are stored in the order of
// Send(), each once: batches are numbered, at most kProducerWindow of them are on their way, and what
// is unanswered when the connection breaks is sent again when it is back, where the broker knows what
// it has stored already. Nothing of that shows, except as time. What remains is final, and ends the
// producer: the messages in flight get the error with what is known of their fate, every later Send
// gets it with "not appended".
//   FENCED           a newer instance writes; stop, and do not open again with the same term
//   OUT_OF_SEQUENCE  the broker has stored less than it acknowledged (durability.sync is not always)
//   CONNECTION_LOST  it did not come back within ClientOptions::reconnect_timeout
//   DISK_FULL, STORE_FAILED, CHANNEL_DELETED, CHANNEL_RECREATED, ...
class Producer {
 public:
  // Runs once per message, in the order of Send(), on a thread of the client, or on one that is
  // inside Send(), Flush(), Close() or the destructor: must be quick, and hold no lock around those
  // that it takes itself. It may call Send(), which never blocks there but answers PRODUCER_FULL, and
  // may destroy the producer; it must not wait for the producer otherwise, nor destroy the client.
  using Callback = std::function<void(const Result<MessageId>&)>;

  virtual ~Producer() = default;

  // Copies the message and returns; `done` gets its id once it is durable under the broker's
  // policy. Blocks while max_in_flight bytes are unacknowledged, or refuses with PRODUCER_FULL if
  // the options say so. An error returned here (MESSAGE_TOO_LARGE, PRODUCER_FULL, ...) means not
  // appended and that `done` will not run.
  virtual Status Send(const Message& message, Callback done) = 0;
  // Payload only, without a copy into a Message first.
  virtual Status Send(std::string_view payload, Callback done) = 0;
  // The same with a future; an error returned by Send arrives through it too.
  std::future<Result<MessageId>> Send(const Message& message);

  // Waits until everything sent before is acknowledged or failed. The first failure, or OK. TIMEOUT
  // leaves it going.
  virtual Status Flush(std::chrono::milliseconds timeout = std::chrono::minutes(1)) = 0;
  // Flush of at most a minute, then the end: later Sends get CLIENT_CLOSED, and so does what is
  // unacknowledged after a TIMEOUT (may have been appended). Releases what was held exclusively,
  // unless the flush failed. Idempotent. Destroying without Close() does
  // not wait for what is unacknowledged: its callbacks run with CLIENT_CLOSED (may have been
  // appended) or their result.
  virtual Status Close() = 0;

  virtual ChannelNumber channel_number() const = 0;
  // As what it produces: ProducerOptions::name, or the one that was made up. Embedded, where no
  // connection breaks, none is.
  virtual const std::string& name() const = 0;
  // The channel's durable end when the producer was opened: no id below it is given out again.
  virtual MessageId end_at_open() const = 0;
};

// One thing received: a message or a gap. Owns its bytes (shared with the rest of its batch).
class Received {
 public:
  Received(MessageView message, std::shared_ptr<const void> owner)
      : message_(message), owner_(std::move(owner)) {}
  explicit Received(Gap gap) : gap_(gap) {}

  bool is_gap() const { return gap_.has_value(); }
  const Gap& gap() const { return *gap_; }                 // REQUIRES: is_gap()
  const MessageView& message() const { return message_; }  // REQUIRES: !is_gap()

 private:
  MessageView message_;
  std::shared_ptr<const void> owner_;
  std::optional<Gap> gap_;
};

// What one ReceiveBatch() brings: messages of one stored batch, as views into its bytes, or a gap.
// Iterate with range-for; copies of the object share the bytes.
class ReceivedBatch {
 public:
  // REQUIRES: bytes have one piece.
  ReceivedBatch(Buffer bytes, MessageId first_id, uint32_t count, uint32_t skip,
                TimeMicros append_time)
      : bytes_(std::move(bytes)),
        first_id_(first_id),
        count_(count),
        skip_(skip),
        append_time_(append_time) {}
  explicit ReceivedBatch(Gap gap) : gap_(gap) {}

  bool is_gap() const { return gap_.has_value(); }
  const Gap& gap() const { return *gap_; }  // REQUIRES: is_gap()

  // Of the messages to use, skipped ones not counted; 0 for a gap.
  uint32_t size() const { return count_ - skip_; }
  MessageId first_id() const { return first_id_ + skip_; }
  MessageId last_id() const { return first_id_ + count_ - 1; }
  TimeMicros append_time() const { return append_time_; }
  // Of the whole batch, as it was appended.
  const Buffer& bytes() const { return bytes_; }
  // The same without the first `taken` messages. REQUIRES: taken <= size().
  ReceivedBatch Without(uint32_t taken) const {
    return ReceivedBatch(bytes_, first_id_, count_, skip_ + taken, append_time_);
  }

  class iterator {
   public:
    using value_type = MessageView;
    explicit iterator(BatchIterator it) : it_(it) { ++*this; }
    iterator() : it_({}, 0, 0), end_(true) {}
    const MessageView& operator*() const { return message_; }
    const MessageView* operator->() const { return &message_; }
    iterator& operator++() {
      end_ = !it_.Next(&message_);
      return *this;
    }
    bool operator==(const iterator& other) const { return end_ && other.end_; }

   private:
    BatchIterator it_;
    MessageView message_;
    bool end_ = false;
  };
  iterator begin() const;
  iterator end() const { return iterator(); }

 private:
  Buffer bytes_;
  MessageId first_id_ = 0;
  uint32_t count_ = 0;
  uint32_t skip_ = 0;
  TimeMicros append_time_ = 0;
  std::optional<Gap> gap_;
};

// Receives a channel in order of ids, each message once; the position is the caller's. When the
// connection breaks it goes on behind the last message that was received, as soon as it can. One
// thread at a time receives; Close() from any.
class Reader {
 public:
  virtual ~Reader() = default;

  // The next message or gap. TIMEOUT when none came in time (a timeout of 0 only looks); nothing is
  // lost by it, and it is the answer while the connection is being made again. Other errors are
  // final: CHANNEL_DELETED (CHANNEL_NOT_FOUND across a break), CHANNEL_RECREATED, CONNECTION_LOST
  // (not back within ClientOptions::reconnect_timeout), CLIENT_CLOSED, embedded also SHUTTING_DOWN.
  virtual Result<Received> Receive(std::chrono::milliseconds timeout) = 0;
  // The rest of the present batch, or the next one, without copying payloads; otherwise as
  // Receive().
  virtual Result<ReceivedBatch> ReceiveBatch(std::chrono::milliseconds timeout) = 0;
  // Goes on from there, forward or backward; what was received ahead is dropped.
  virtual Status Seek(const StartPosition& to) = 0;
  // The id that the next receive goes on from.
  virtual MessageId position() const = 0;
  virtual void Close() = 0;
  virtual ChannelNumber channel_number() const = 0;
  // The channel's durable end when the reader was opened: a bounded read stops there. 0 for a
  // consumer that waits for its turn.
  virtual MessageId end_at_open() const = 0;
};

// A reader that holds a subscription: its position is durable. At least once after a crash of the
// program or the broker, exactly once, in order, within one consumer's life and across its
// reconnects. Receiving ends for good, too, with SUBSCRIPTION_NOT_FOUND when it is deleted and with
// SUBSCRIPTION_HELD when somebody else got it while the connection was broken.
class Consumer : public Reader {
 public:
  // Everything up to and including `through` is done with. Returns once the broker has taken note;
  // the cursor is on disk with the next group or within a second. ACK_BEYOND_END if the channel has no
  // such message yet.
  virtual Status Acknowledge(MessageId through) = 0;
  // The same without waiting for the broker: for acknowledging each message. Several become one, and
  // the last is sent again after a reconnect, which is the next receive's work. Close() sends what is
  // left. Errors are those that are known at once: ACK_BEYOND_END, CLIENT_CLOSED.
  virtual Status AcknowledgeAsync(MessageId through) = 0;
  // It holds the subscription. False for one that waits for its turn (Mode::kFailover), whose
  // position() is 0 until then.
  virtual bool active() const = 0;
};

// A connection to a broker, or a broker in this process.
class Client {
 public:
  virtual ~Client() = default;

  // --- Channels ---
  virtual Result<ChannelInfo> CreateChannel(const std::string& name,
                                            const ChannelOptions& options = {}) = 0;
  // CHANNEL_NOT_FOUND unless it exists or create_if_missing.
  virtual Result<ChannelInfo> OpenChannel(const std::string& name,
                                          bool create_if_missing = false) = 0;
  virtual Result<ChannelInfo> DescribeChannel(const std::string& name) = 0;
  virtual Result<std::vector<ChannelInfo>> ListChannels(const std::string& prefix = "") = 0;
  virtual Result<ChannelInfo> TruncateChannel(const std::string& name, MessageId through) = 0;
  // Replaces the channel's own retention rules, durably; what is not set follows the broker's again.
  // INVALID_ARGUMENT for a limit below -1.
  virtual Result<ChannelInfo> AlterChannel(const std::string& name,
                                           const RetentionOverrides& retention) = 0;
  virtual Status DeleteChannel(const std::string& name) = 0;

  // --- Appending ---
  // One batch, stored as one, on the calling thread; returns when it is durable under the broker's
  // policy. Never sent twice by itself: use a Producer, or number your batches (AppendOptions).
  virtual Result<AppendResult> Append(const std::string& channel,
                                      const std::vector<Message>& messages,
                                      const AppendOptions& options = {}) = 0;
  // A batch that was encoded before (BatchBuilder).
  virtual Result<AppendResult> Append(const std::string& channel, const Buffer& batch,
                                      const AppendOptions& options = {}) = 0;
  // Batches for several channels, each at most once: all are stored, or none. Together they may have
  // as many bytes as one batch. The results are in the order of `appends`.
  virtual Result<std::vector<AppendResult>> AppendMulti(
      const std::vector<ChannelAppend>& appends) = 0;
  virtual Result<std::unique_ptr<Producer>> OpenProducer(const std::string& channel,
                                                         const ProducerOptions& options = {}) = 0;

  // --- Reading ---
  virtual Result<std::unique_ptr<Reader>> OpenReader(const std::string& channel,
                                                     const StartPosition& start,
                                                     const ReaderOptions& options = {}) = 0;
  virtual Result<std::unique_ptr<Consumer>> OpenConsumer(const std::string& channel,
                                                         const std::string& subscription,
                                                         const ConsumerOptions& options = {}) = 0;
  // A few batches from a position, without keeping anything open.
  virtual Result<FetchResult> Fetch(const std::string& channel, const StartPosition& start,
                                    const FetchOptions& options = {}) = 0;

  // --- Subscriptions ---
  virtual Result<SubscriptionInfo> CreateSubscription(const std::string& channel,
                                                      const std::string& subscription,
                                                      const StartPosition& start) = 0;
  virtual Result<SubscriptionInfo> DescribeSubscription(const std::string& channel,
                                                        const std::string& subscription) = 0;
  virtual Result<std::vector<SubscriptionInfo>> ListSubscriptions(
      const std::string& channel = "") = 0;
  virtual Result<SubscriptionInfo> SeekSubscription(const std::string& channel,
                                                    const std::string& subscription,
                                                    const StartPosition& to) = 0;
  virtual Status DeleteSubscription(const std::string& channel,
                                    const std::string& subscription) = 0;
  virtual Status Acknowledge(const std::string& channel, const std::string& subscription,
                             MessageId through) = 0;

  // --- State ---
  // Named producers, of all channels if `channel` is empty; by channel, then name.
  virtual Result<std::vector<ProducerInfo>> ListProducers(const std::string& channel = "") = 0;
  virtual Result<ServerInfo> GetServerInfo() = 0;
  virtual Result<BrokerStatus> GetStatus() = 0;
  // What keeps a channel's oldest page, and the retention rules in force; of all channels by name if
  // `channel` is empty.
  virtual Result<std::vector<ChannelSpaceInfo>> DescribeSpace(const std::string& channel = "") = 0;
  // Begins to rewrite everything that is not yet as small as it can be, in the background; one that
  // is running goes on. Embedded, it ends with the broker.
  virtual Result<CompactionInfo> StartCompaction() = 0;
  // How far it is, or how the last one ended.
  virtual Result<CompactionInfo> DescribeCompaction() = 0;

  // Ends everything opened from this client. Idempotent.
  virtual void Close() = 0;
};

}  // namespace strata
