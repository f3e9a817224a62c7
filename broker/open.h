// Opening a broker on a directory: embedded use, and what stratad does at start.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "broker/broker.h"
#include "storage/store.h"

namespace strata::broker {

// A broker together with its store's directory; closing it marks the store's end as clean.
// Two calls for one directory in one process share one broker (the options of the first count); the
// last shared_ptr closes it. Errors are those of storage::Store::Open.
Result<std::shared_ptr<Broker>> OpenBroker(BrokerOptions options, storage::StoreOptions store);

// Everything that `strata status` shows; uptime and resident memory are those of this process.
BrokerStatus DescribeStatus(const Broker& broker);

}  // namespace strata::broker
