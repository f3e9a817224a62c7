#include "tools/retention_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/format.h"

namespace strata::tools {
namespace {

// "2026-11-23 10:00 UTC": rules are not exact to the second.
std::string FormatMinute(TimeMicros time) {
  std::string text = FormatTime(time).substr(0, 16);
  text[10] = ' ';
  return text + " UTC";
}

std::string TimeText(int64_t micros) { return micros == kNoLimit ? "off" : FormatSpan(micros); }

std::string SizeText(int64_t bytes) {
  return bytes == kNoLimit ? "off" : FormatSize(static_cast<uint64_t>(bytes));
}

std::string CountText(int64_t count) {
  return count == kNoLimit ? "off" : FormatCount(static_cast<uint64_t>(count));
}

// Why no rule takes the page yet: each rule that is on.
std::string WaitingRules(const ChannelSpaceInfo& info) {
  std::string text;
  const auto add = [&](const std::string& rule) { text += (text.empty() ? "" : "; ") + rule; };
  if (info.until != 0) add("time rule until " + FormatMinute(info.until));
  if (info.retention_size != kNoLimit) {
    add(fmt::format("size rule: {} of {}", FormatSize(info.bytes), SizeText(info.retention_size)));
  }
  if (info.max_messages != kNoLimit) {
    add(fmt::format("count rule: {} of {} messages", FormatCount(info.messages),
                    CountText(info.max_messages)));
  }
  return text;
}

double Seconds(int64_t micros) {
  return micros == kNoLimit ? kNoLimit : static_cast<double>(micros) / 1e6;
}

}  // namespace

std::string PolicyName(RetentionPolicy policy) {
  switch (policy) {
    case RetentionPolicy::kAcked:
      return "acked";
    case RetentionPolicy::kLimits:
      return "limits";
    case RetentionPolicy::kTruncated:
      return "truncated";
  }
  return "unknown";
}

std::vector<std::pair<std::string, std::string>> RuleFields(const RetentionOverrides& own,
                                                            const ChannelSpaceInfo& in_force) {
  const auto with_owner = [](std::string value, bool its_own) {
    return value + (its_own ? ", its own" : ", the broker's");
  };
  return {
      {"retention policy", with_owner(PolicyName(in_force.policy), own.policy.has_value())},
      {"retention time",
       with_owner(TimeText(in_force.retention_time), own.retention_time.has_value())},
      {"retention size",
       with_owner(SizeText(in_force.retention_size), own.retention_size.has_value())},
      {"max messages", with_owner(CountText(in_force.max_messages), own.max_messages.has_value())},
  };
}

nlohmann::ordered_json OverridesToJson(const RetentionOverrides& own) {
  auto json = nlohmann::ordered_json::object();
  if (own.policy) json["policy"] = PolicyName(*own.policy);
  if (own.retention_time) json["retention_time_seconds"] = Seconds(*own.retention_time);
  if (own.retention_size) json["retention_size_bytes"] = *own.retention_size;
  if (own.max_messages) json["max_messages"] = *own.max_messages;
  return json;
}

nlohmann::ordered_json RulesToJson(const ChannelSpaceInfo& in_force) {
  return {{"policy", PolicyName(in_force.policy)},
          {"retention_time_seconds", Seconds(in_force.retention_time)},
          {"retention_size_bytes", in_force.retention_size},
          {"max_messages", in_force.max_messages}};
}

std::string HolderText(const ChannelSpaceInfo& info, std::optional<uint64_t> behind) {
  switch (info.held_by) {
    case HeldBy::kNothing:
      return "there is no page";
    case HeldBy::kRules: {
      const std::string rules = WaitingRules(info);
      return rules.empty() ? "no rule takes it yet" : rules;
    }
    case HeldBy::kNoRule:
      return "every rule is off";
    case HeldBy::kSubscription:
      return fmt::format("subscription '{}'{}", info.subscription,
                         behind ? fmt::format(" ({} behind)", FormatCount(*behind)) : "");
    case HeldBy::kPolicy:
      return "policy truncated: only truncation frees it";
    case HeldBy::kGrace:
      return fmt::format("truncated, in its grace until {}", FormatMinute(info.until));
    case HeldBy::kSweep:
      return "nothing: the next sweep takes it";
  }
  return "something that this version of strata does not know";
}

}  // namespace strata::tools
