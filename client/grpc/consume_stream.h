// ConsumeStream: one Consume call. What the daemon pushes within the credit waits here for Next(),
// which gives the credit back as batches are taken: when half of it is used up, so that the daemon
// always has credit while the queue is short and requests stay few. Acknowledgements go out with it,
// several as one. What outlives the call is ReconnectingSource's.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/mutex.h"
#include "client/client.h"
#include "client/grpc/raw_stream.h"
#include "strata/v1/log.pb.h"

namespace strata {

class ConsumeStream final : public RawStream {
 public:
  // How far the caller is: what a later stream resumes from.
  struct Place {
    MessageId next = 0;         // behind what was handed out; 0: nothing was opened yet
    bool active = false;        // a reader, or it holds the subscription
    uint64_t seek = 0;          // the subscription's seek number that it belongs to
    MessageId end_at_open = 0;  // the channel's
    std::string store_id;
  };

  // `store_id`: the stream ends with CHANNEL_RECREATED if the daemon serves another; empty: any.
  ConsumeStream(std::shared_ptr<Connection> connection, const v1::ConsumeOpen& open,
                std::string store_id);
  // Begins the call; AwaitOpened() tells how it goes. A consumer that waits for its turn counts as
  // opened.
  static std::shared_ptr<ConsumeStream> Open(std::shared_ptr<Connection> connection,
                                             const v1::ConsumeOpen& open, std::string store_id);
  ChannelNumber channel_number() const;

  // The next batch or gap. TIMEOUT, or what the stream ended with. *place moves along, also when
  // nothing comes: the opening and seeks by others come this way, too.
  Result<ReceivedBatch> Next(std::chrono::milliseconds timeout, Place* place);
  // Only what Next() does to *place before it waits.
  void Settle(Place* place);
  // Goes on from there; what was received ahead is dropped.
  Status Seek(const StartPosition& to, std::chrono::milliseconds timeout, Place* place);
  // Everything up to `through`, which was delivered under `seek`, is done with; sent as soon as the
  // subscription is held.
  void AcknowledgeLater(MessageId through, uint64_t seek);
  // Wakes Next() and Seek(), which answer `why` from then on.
  void Stop(const Status& why);

 private:
  // The daemon's `opened` or another's seek, in their place among the deliveries.
  struct Jump {
    MessageId position = 0;
    uint64_t seek = 0;
    std::optional<v1::ConsumeOpened> opened = {};
  };
  using Item = std::variant<Jump, ReceivedBatch>;

  void OnMessage(Buffer message) override;
  void OnEnd(const grpc::Status& status, uint64_t sent) override;
  std::optional<grpc::ByteBuffer> Fill() override;
  Status Take(const v1::ConsumeResponse& event) STRATA_REQUIRES(mu_);
  void Deliver(ReceivedBatch batch) STRATA_REQUIRES(mu_);
  void Jumped(Jump jump) STRATA_REQUIRES(mu_);
  // Takes jumps off the front of ready_.
  void FollowJumps(Place* place) STRATA_REQUIRES(mu_);
  // Bytes of a batch that is out of the way, for the next request that gives credit.
  void Owe(const Item& item) STRATA_REQUIRES(mu_);
  // At least half of the credit is owed.
  bool ShouldGiveCredit() const STRATA_REQUIRES(mu_);

  const uint64_t read_ahead_;
  const std::string store_id_;

  mutable Mutex mu_;
  CondVar changed_;
  ChannelNumber channel_number_ STRATA_GUARDED_BY(mu_) = 0;
  bool active_ STRATA_GUARDED_BY(mu_) = false;
  std::deque<Item> ready_ STRATA_GUARDED_BY(mu_);
  int64_t owed_ STRATA_GUARDED_BY(mu_) = 0;
  MessageId acknowledge_ STRATA_GUARDED_BY(mu_) = 0;  // not sent yet; 0: nothing
  uint64_t acknowledge_seek_ STRATA_GUARDED_BY(mu_) = 0;
  int seeks_ STRATA_GUARDED_BY(mu_) = 0;   // not yet answered: what comes belongs to the old place
  Jump sought_ STRATA_GUARDED_BY(mu_);     // the last answer
  Status end_ STRATA_GUARDED_BY(mu_);      // of the stream; what was received before comes first
  Status stopped_ STRATA_GUARDED_BY(mu_);  // by this side; nothing comes after it
};

}  // namespace strata
