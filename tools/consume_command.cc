#include "tools/consume_command.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace strata::tools {
namespace {

using std::chrono::milliseconds;

// How long one wait for messages is: Ctrl-C is seen after it.
constexpr milliseconds kWait{200};
// At full speed the output goes out in blocks and acknowledgements follow this far apart, because
// each is a call of its own.
constexpr milliseconds kAcknowledgeInterval{1'000};

class Consumption {
 public:
  Consumption(const Io& io, const ConsumeOptions& options)
      : io_(io), options_(options), printer_(options.style, options.separator, io.out) {}

  Result<int> Run(Client& client) {
    STRATA_RETURN_IF_ERROR(Open(client));
    const Status received = Receive();
    const Status settled = Settle();
    reader_->Close();
    // A reader of the output that had enough ends the command as --max would.
    if (io_.out.reader_gone()) return 0;
    STRATA_RETURN_IF_ERROR(received);
    STRATA_RETURN_IF_ERROR(settled);
    return io_.stop.requested() && !options_.follow ? io_.stop.exit_code() : 0;
  }

 private:
  Status Open(Client& client) {
    if (options_.subscription.empty()) {
      ReaderOptions reader_options;
      reader_options.wait_for_channel = options_.wait_for_channel;
      STRATA_ASSIGN_OR_RETURN(reader_,
                              client.OpenReader(options_.channel, options_.from, reader_options));
    } else {
      ConsumerOptions consumer_options;
      consumer_options.start = options_.from;
      consumer_options.wait_for_channel = options_.wait_for_channel;
      if (options_.failover) consumer_options.mode = ConsumerOptions::Mode::kFailover;
      STRATA_ASSIGN_OR_RETURN(
          std::unique_ptr<Consumer> consumer,
          client.OpenConsumer(options_.channel, options_.subscription, consumer_options));
      consumer_ = consumer.get();
      reader_ = std::move(consumer);
    }
    last_acknowledgement_ = io_.clock.Monotonic();
    return Status::Ok();
  }

  bool Done() const {
    if (io_.stop.requested() || (options_.max && count_ >= *options_.max)) return true;
    if (options_.follow || (consumer_ != nullptr && !consumer_->active())) return false;
    return reader_->position() >= reader_->end_at_open();
  }

  Status Receive() {
    while (!Done()) {
      Result<ReceivedBatch> batch = reader_->ReceiveBatch(milliseconds(0));
      if (batch.status().reason() == Reason::TIMEOUT) {
        // Nothing at hand: a good moment to let out what there is, before waiting.
        STRATA_RETURN_IF_ERROR(io_.out.Flush());
        batch = reader_->ReceiveBatch(kWait);
      }
      if (batch.ok()) {
        STRATA_RETURN_IF_ERROR(Print(*batch));
        if (io_.clock.Monotonic() - last_acknowledgement_ < kAcknowledgeInterval) continue;
      } else if (batch.status().reason() != Reason::TIMEOUT) {
        return batch.status();
      }
      STRATA_RETURN_IF_ERROR(Settle());
    }
    return Status::Ok();
  }

  Status Print(const ReceivedBatch& batch) {
    if (batch.is_gap()) {
      STRATA_RETURN_IF_ERROR(printer_.Print(batch.gap()));
      io_.Note("strata: " + FormatGap(batch.gap()) + '\n');
      printed_through_ = batch.gap().last;
      return Status::Ok();
    }
    for (const MessageView& message : batch) {
      if (options_.max && count_ >= *options_.max) break;
      if (!options_.follow && message.id >= reader_->end_at_open()) break;
      STRATA_RETURN_IF_ERROR(printer_.Print(message));
      printed_through_ = message.id;
      ++count_;
    }
    return Status::Ok();
  }

  // Writes out what was printed and acknowledges that.
  Status Settle() {
    STRATA_RETURN_IF_ERROR(io_.out.Flush());
    last_acknowledgement_ = io_.clock.Monotonic();
    if (consumer_ == nullptr || printed_through_ == acknowledged_) return Status::Ok();
    STRATA_RETURN_IF_ERROR(consumer_->Acknowledge(printed_through_));
    acknowledged_ = printed_through_;
    return Status::Ok();
  }

  const Io& io_;
  const ConsumeOptions& options_;
  MessagePrinter printer_;
  std::unique_ptr<Reader> reader_;
  Consumer* consumer_ = nullptr;  // reader_, if there is a subscription
  uint64_t count_ = 0;            // messages printed
  MessageId printed_through_ = 0;
  MessageId acknowledged_ = 0;
  std::chrono::microseconds last_acknowledgement_{0};
};

}  // namespace

Result<int> Consume(Client& client, const Io& io, const ConsumeOptions& options) {
  return Consumption(io, options).Run(client);
}

}  // namespace strata::tools
