// Retention in words and as JSON: rules, and what keeps a channel's oldest page.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/api.h"

namespace strata::tools {

// "acked", "limits" or "truncated".
std::string PolicyName(RetentionPolicy policy);

// Names and values for FormatFields: the rules in force, each with whose it is.
std::vector<std::pair<std::string, std::string>> RuleFields(const RetentionOverrides& own,
                                                            const ChannelSpaceInfo& in_force);

// What is set, with the keys of RulesToJson.
nlohmann::ordered_json OverridesToJson(const RetentionOverrides& own);
// The rules in force: policy, retention_time_seconds, retention_size_bytes, max_messages; -1 is off.
nlohmann::ordered_json RulesToJson(const ChannelSpaceInfo& in_force);

// A short sentence for a person: "subscription 'ingest' (12,000 behind)". `behind`: the messages that
// the subscription has still to acknowledge, if that is known.
std::string HolderText(const ChannelSpaceInfo& info, std::optional<uint64_t> behind);

}  // namespace strata::tools
