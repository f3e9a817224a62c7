// CallContext: what all calls of one server share.
//
// Three kinds of threads do a call's work besides gRPC's own, which must never wait:
//   admin  calls that wait until a change is durable: channels, subscriptions, opening to produce
//   reads  readers that are behind, and whatever else waits for storage
//   wakes  goes on with streams that waited; never waits itself
// Each call or stream has at most one task in them at a time, which bounds their queues.
//
// Ownership: shared by the server and its calls, because an append's result may come after its call
// has ended. Retire() makes that harmless.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/executor.h"
#include "base/log.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "server/health.h"
#include "server/stream_limit.h"
#include "server/stream_set.h"

namespace strata::server {

struct CallContext {
  CallContext(const broker::Config& settings, std::shared_ptr<broker::Broker> the_broker,
              std::shared_ptr<Health> the_health)
      : config(settings), health(std::move(the_health)), broker(std::move(the_broker)) {}

  // Once no call is open: joins the threads and lets go of the broker, so that neither happens on
  // the thread of the broker that brings the last result.
  void Retire() {
    admin.Stop();
    reads.Stop();
    wakes.Stop();
    broker.reset();
  }

  const broker::Config config;
  const std::shared_ptr<Health> health;
  std::shared_ptr<broker::Broker> broker;  // constant until Retire
  const TimeMicros started_at = Clock::System()->WallMicros();

  Executor admin{"admin", 2};
  Executor reads{"reads", 4};
  Executor wakes{"wakes", 2};

  StreamLimit streams{config.server.max_streams, config.server.max_streams_per_connection};
  StreamSet producers;  // Produce and Append
  StreamSet consumers;  // Consume and Fetch
};

// The answer to whatever comes, or is still open, while the server ends.
// Of a request to acknowledge: the seek behind which that was delivered, if it says so.
template <typename Request>
std::optional<uint64_t> SeekOf(const Request& request) {
  if (!request.has_acknowledge_seek()) return std::nullopt;
  return request.acknowledge_seek();
}

inline Status Draining() {
  return Status(Reason::SHUTTING_DOWN, "stratad is draining and will end; connect again later");
}

// A name that was opened or sent with a channel number must still mean that channel.
inline Status CheckChannelNumber(const std::string& channel, ChannelNumber now,
                                 ChannelNumber expected) {
  if (expected == 0 || now == expected) return Status();
  return Status(Reason::CHANNEL_RECREATED, "channel " + channel + " has the number " +
                                               std::to_string(now) + " now, not " +
                                               std::to_string(expected));
}

}  // namespace strata::server
