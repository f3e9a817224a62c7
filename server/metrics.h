// Metrics: what a broker does and holds, for Prometheus (/metrics, http.h). docs/retention.md and
// docs/commands.md say which to watch.
//
// Nothing is counted here: everything is pulled from the broker when somebody asks, so that nobody
// pays for metrics that are not scraped. Counters count from the start of the broker.
//
// The number of series is bounded: a channel has at most six, and only the `max_channels` that hold
// the most bytes have any; strata_channels_left_out says how many have none. Labels are names of
// channels and subscriptions, and words of fixed lists.
//
// Threads: any, several at a time.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"

namespace strata::broker {
class Broker;
}

namespace strata::server {

class Metrics final : public prometheus::Collectable {
 public:
  static constexpr size_t kMaxChannels = 1000;

  explicit Metrics(size_t max_channels = kMaxChannels) : max_channels_(max_channels) {}

  // From now on this broker is asked. Before it, and after Stop(), only the version is told.
  void Serve(std::shared_ptr<const broker::Broker> broker);
  // Lets go of the broker. Idempotent.
  void Stop();

  std::vector<prometheus::MetricFamily> Collect() const override;
  // The same in Prometheus' text format, version 0.0.4.
  std::string Text() const;

 private:
  const size_t max_channels_;
  mutable Mutex mu_;
  std::shared_ptr<const broker::Broker> broker_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::server
