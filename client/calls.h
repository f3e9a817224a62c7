// What is the same for the calls of every transport.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/status.h"
#include "client/types.h"

namespace strata {

// For calls that append nothing: their errors say nothing about data, whatever the error catalog
// says of appends with the same reason.
inline Status NothingAppended(const Status& status) {
  return status.WithFate(DataFate::kNotApplicable);
}
template <typename T>
Result<T> NothingAppended(Result<T> result) {
  if (result.ok()) return result;
  return NothingAppended(result.status());
}

// What a receive answers when nothing came in time. Polling with a timeout of 0 must be cheap, so
// it is built once.
Status NothingCame();

// The connection or the daemon went away: it may be back later, and what was asked may be asked again.
inline bool IsBrokenConnection(const Status& status) {
  return status.reason() == Reason::CONNECTION_LOST || status.reason() == Reason::SHUTTING_DOWN;
}

// INVALID_ARGUMENT for a term or exclusiveness without a name, which would be nobody's.
Status CheckProducer(const ProducerOptions& options);

// 64 bits from the system's source of randomness, never 0: tells this producer or consumer from every
// other one.
uint64_t RandomNumber();
// A name that no other producer has.
std::string MadeUpName();

// `holder`, or "HOST:PID" if it is empty.
std::string HolderOrDefault(const std::string& holder);

// INVALID_ARGUMENT, with the rule, for a name that no subscription can have.
Status CheckSubscriptionName(const std::string& name);

}  // namespace strata
