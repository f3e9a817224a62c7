// BatchReader: the Reader and Consumer of every transport. Takes messages out of batches and keeps
// the position; where the batches come from is a BatchSource.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "base/batch.h"
#include "base/types.h"
#include "client/client.h"
#include "client/open_set.h"

namespace strata {

// What is known once a source is open.
struct OpenedAt {
  ChannelNumber channel_number = 0;
  MessageId position = 0;  // 0: it waits for its turn
  MessageId end = 0;       // of the channel, once it has its turn
};

// Batches and gaps of a channel in order of ids: a Consume stream, or a broker's reader in this
// process. End() comes from any thread and wakes Next(), which answers CLIENT_CLOSED from then on;
// the rest is called by one thread at a time.
class BatchSource : public Openable {
 public:
  // The next one, in one piece. TIMEOUT loses nothing; every other error is final.
  virtual Result<ReceivedBatch> Next(std::chrono::milliseconds timeout) = 0;
  // Goes on from there and drops what was received ahead. Returns the new position.
  virtual Result<MessageId> Seek(const StartPosition& to) = 0;
  // INVALID_ARGUMENT without a subscription. Both: any thread.
  virtual Status Acknowledge(MessageId through) = 0;
  virtual Status AcknowledgeAsync(MessageId through) = 0;
  // False while it waits for its turn to hold the subscription. Any thread.
  virtual bool active() const = 0;
  // As of the last opening.
  virtual OpenedAt opened_at() = 0;
  // The id that the next batch starts from; 0 while not active. Any thread.
  virtual MessageId position() const = 0;
  // As End(), and lets go of the channel before it returns: a subscription is free afterwards.
  virtual void Close() = 0;
};

class BatchReader final : public Consumer {
 public:
  BatchReader(std::shared_ptr<BatchSource> source, const OpenedAt& opened)
      : source_(std::move(source)),
        channel_number_(opened.channel_number),
        position_(opened.position),
        end_at_open_(opened.end) {}
  ~BatchReader() override { source_->Close(); }

  Result<Received> Receive(std::chrono::milliseconds timeout) override;
  Result<ReceivedBatch> ReceiveBatch(std::chrono::milliseconds timeout) override;
  Status Seek(const StartPosition& to) override;
  MessageId position() const override { return position_.load(std::memory_order_relaxed); }
  void Close() override;
  ChannelNumber channel_number() const override { return channel_number_; }
  MessageId end_at_open() const override { return end_at_open_.load(std::memory_order_relaxed); }
  Status Acknowledge(MessageId through) override { return source_->Acknowledge(through); }
  Status AcknowledgeAsync(MessageId through) override { return source_->AcknowledgeAsync(through); }
  bool active() const override { return source_->active(); }

 private:
  // Fills current_ unless messages are left in it; the gap if that is what comes instead.
  Result<std::optional<Gap>> Load(std::chrono::milliseconds timeout);
  uint32_t left() const { return current_.has_value() ? current_->size() - taken_ : 0; }

  const std::shared_ptr<BatchSource> source_;
  const ChannelNumber channel_number_;
  std::atomic<MessageId> position_;
  std::atomic<MessageId> end_at_open_;
  std::atomic<bool> closed_{false};

  // --- Of the thread that receives ---
  std::optional<ReceivedBatch> current_;  // never a gap
  ReceivedBatch::iterator next_;          // in it
  uint32_t taken_ = 0;                    // of it
};

}  // namespace strata
