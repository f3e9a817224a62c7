// What is the same for the calls of every transport.
#pragma once

#include <string>
#include <utility>

#include "base/status.h"

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

// `holder`, or "HOST:PID" if it is empty.
std::string HolderOrDefault(const std::string& holder);

// INVALID_ARGUMENT, with the rule, for a name that no subscription can have.
Status CheckSubscriptionName(const std::string& name);

}  // namespace strata
