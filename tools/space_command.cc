#include "tools/space_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/held_by.h"
#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/retention_text.h"

namespace strata::tools {
namespace {

// Backlogs by channel and subscription.
using Backlogs = std::map<std::pair<std::string, std::string>, uint64_t>;

// Of the subscription that keeps the page; none if no subscription does, or it is gone meanwhile.
std::optional<uint64_t> Behind(const ChannelSpaceInfo& info, const Backlogs& backlogs) {
  if (info.held_by != HeldBy::kSubscription) return std::nullopt;
  const auto found = backlogs.find({info.channel, info.subscription});
  if (found == backlogs.end()) return std::nullopt;
  return found->second;
}

nlohmann::ordered_json ToJson(const ChannelSpaceInfo& info, const Backlogs& backlogs) {
  nlohmann::ordered_json json = {{"channel", info.channel},
                                 {"pages", info.pages},
                                 {"bytes", info.bytes},
                                 {"messages", info.messages}};
  if (info.pages > 0) {
    json["oldest_page"] = {{"first_id", info.oldest_first_id},
                           {"last_id", info.oldest_last_id},
                           {"bytes", info.oldest_bytes},
                           {"time", FormatTime(info.oldest_time)}};
  }
  const std::optional<uint64_t> behind = Behind(info, backlogs);
  json["held_by"] = HeldByName(info.held_by);
  if (!info.subscription.empty()) json["subscription"] = info.subscription;
  if (behind) json["behind"] = *behind;
  if (info.until != 0) json["until"] = FormatTime(info.until);
  json["text"] = HolderText(info, behind);
  json["rules"] = RulesToJson(info);
  return json;
}

std::string ToText(const std::vector<ChannelSpaceInfo>& channels, const Backlogs& backlogs,
                   TimeMicros now) {
  using enum Table::Align;
  Table table({{"CHANNEL"},
               {"PAGES", kRight},
               {"STORED", kRight},
               {"OLDEST PAGE"},
               {"AGE", kRight},
               {"HELD BY"}});
  for (const ChannelSpaceInfo& info : channels) {
    // Clocks of two machines may differ.
    const std::chrono::microseconds age(std::max<int64_t>(now - info.oldest_time, 0));
    const bool any = info.pages > 0;
    table.Row({info.channel, FormatCount(info.pages), FormatBytes(info.bytes),
               any ? fmt::format("{}..{}", info.oldest_first_id, info.oldest_last_id) : "-",
               any ? FormatDuration(age) : "-", HolderText(info, Behind(info, backlogs))});
  }
  return table.ToString();
}

}  // namespace

Result<int> ShowSpace(Client& client, const Io& io) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<ChannelSpaceInfo> channels, client.DescribeSpace());
  STRATA_ASSIGN_OR_RETURN(const std::vector<SubscriptionInfo> subscriptions,
                          client.ListSubscriptions());
  Backlogs backlogs;
  for (const SubscriptionInfo& each : subscriptions) {
    backlogs[{each.channel, each.name}] = each.backlog;
  }
  if (io.json) {
    auto json = nlohmann::ordered_json::array();
    for (const ChannelSpaceInfo& info : channels) json.push_back(ToJson(info, backlogs));
    STRATA_RETURN_IF_ERROR(io.out.Append(ToLine(json)));
  } else {
    STRATA_RETURN_IF_ERROR(io.out.Append(ToText(channels, backlogs, io.clock.WallMicros())));
  }
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

}  // namespace strata::tools
