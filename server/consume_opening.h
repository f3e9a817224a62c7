// ConsumeOpening: a Consume stream from its `open` to its reader. On the way it may wait for its channel to
// be created, then for its turn with the subscription; both without a thread.
//
//   channel missing --> wait_for_channel --> create the subscription --> held by another --> reader
//
// Threads: one at a time. Destroying it ends the waiting and frees the place.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "broker/channel_wait.h"
#include "broker/reader.h"
#include "broker/standby.h"
#include "server/call_context.h"
#include "strata/v1/log.pb.h"

namespace strata::server {

class ConsumeOpening {
 public:
  // INVALID_ARGUMENT or NOT_SUPPORTED for a first request that cannot be meant.
  static Status Check(const v1::ConsumeRequest& first);

  // `peer` is the holder's name if the client gives none. `news` is the reader's later, too
  // (broker::SubscriptionOpen); before that it says that Advance() may get further.
  ConsumeOpening(std::shared_ptr<CallContext> context, v1::ConsumeOpen open, std::string peer,
                 std::function<void()> news);

  // As far as it goes now: what to tell the client, `standby` or, once there is the reader, `opened`;
  // nothing if it waits. Blocking.
  Result<std::optional<v1::ConsumeResponse>> Advance();
  // The reader, if it is open; once.
  std::unique_ptr<broker::Reader> TakeReader() { return std::move(reader_); }

 private:
  // Registers for the channel's creation if it is missing and may be waited for; then true.
  Result<bool> WaitsForChannel();
  // Opens the reader, or the place in the queue.
  Status Enter();
  v1::ConsumeResponse Opened();

  const std::shared_ptr<CallContext> context_;
  v1::ConsumeOpen open_;
  const std::string peer_;
  const std::function<void()> news_;
  std::unique_ptr<broker::ChannelWait> wait_;
  std::unique_ptr<broker::Standby> standby_;
  std::unique_ptr<broker::Reader> reader_;
};

}  // namespace strata::server
