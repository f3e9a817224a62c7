// HeldBy in one word, the same one in metrics and in JSON.
#pragma once

#include <string_view>

#include "base/api.h"

namespace strata {

constexpr std::string_view HeldByName(HeldBy held_by) {
  switch (held_by) {
    case HeldBy::kNothing:
      return "nothing";
    case HeldBy::kRules:
      return "rules";
    case HeldBy::kNoRule:
      return "no_rule";
    case HeldBy::kSubscription:
      return "subscription";
    case HeldBy::kPolicy:
      return "policy";
    case HeldBy::kGrace:
      return "grace";
    case HeldBy::kSweep:
      return "sweep";
  }
  return "unknown";
}

}  // namespace strata
