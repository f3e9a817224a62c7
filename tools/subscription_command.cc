#include "tools/subscription_command.h"

#include <vector>

#include <nlohmann/json.hpp>

#include "tools/exit_codes.h"
#include "tools/format.h"

namespace strata::tools {
namespace {

nlohmann::ordered_json ToJson(const SubscriptionInfo& info) {
  nlohmann::ordered_json json = {{"channel", info.channel},
                                 {"name", info.name},
                                 {"cursor", info.cursor},
                                 {"backlog", info.backlog},
                                 {"created_at", FormatTime(info.created_at)}};
  if (info.active_at != 0) json["active_at"] = FormatTime(info.active_at);
  if (!info.holder.empty()) json["holder"] = info.holder;
  if (info.standby > 0) json["standby"] = info.standby;
  return json;
}

std::string HolderText(const SubscriptionInfo& info) {
  if (info.holder.empty()) return "nobody";
  std::string text = EscapeText(info.holder);
  if (info.standby > 0) text += "; " + FormatCount(info.standby) + " waiting for their turn";
  return text;
}

std::string ToText(const SubscriptionInfo& info) {
  return FormatFields({
      {"subscription", info.name},
      {"channel", info.channel},
      {"cursor", std::to_string(info.cursor) + ", all below it is acknowledged"},
      {"backlog", FormatCount(info.backlog) + " messages"},
      {"held by", HolderText(info)},
      {"created", FormatTime(info.created_at)},
      {"last active", FormatTimeOrNever(info.active_at)},
  });
}

Result<int> Print(const Io& io, const SubscriptionInfo& info) {
  STRATA_RETURN_IF_ERROR(io.out.Append(io.json ? ToLine(ToJson(info)) : ToText(info)));
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

}  // namespace

Result<int> CreateSubscription(Client& client, const Io& io, const std::string& channel,
                               const std::string& name, const StartPosition& from) {
  STRATA_ASSIGN_OR_RETURN(const SubscriptionInfo info,
                          client.CreateSubscription(channel, name, from));
  return Print(io, info);
}

Result<int> ListSubscriptions(Client& client, const Io& io, const std::string& channel) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<SubscriptionInfo> subscriptions,
                          client.ListSubscriptions(channel));
  if (io.json) {
    auto json = nlohmann::ordered_json::array();
    for (const SubscriptionInfo& info : subscriptions) json.push_back(ToJson(info));
    STRATA_RETURN_IF_ERROR(io.out.Append(ToLine(json)));
  } else {
    using enum Table::Align;
    Table table({{"CHANNEL"},
                 {"SUBSCRIPTION"},
                 {"CURSOR", kRight},
                 {"BACKLOG", kRight},
                 {"LAST ACTIVE"},
                 {"HELD BY"}});
    for (const SubscriptionInfo& info : subscriptions) {
      table.Row({info.channel, info.name, std::to_string(info.cursor), FormatCount(info.backlog),
                 FormatTimeOrNever(info.active_at), HolderText(info)});
    }
    STRATA_RETURN_IF_ERROR(io.out.Append(table.ToString()));
  }
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

Result<int> DescribeSubscription(Client& client, const Io& io, const std::string& channel,
                                 const std::string& name) {
  STRATA_ASSIGN_OR_RETURN(const SubscriptionInfo info, client.DescribeSubscription(channel, name));
  return Print(io, info);
}

Result<int> SeekSubscription(Client& client, const Io& io, const std::string& channel,
                             const std::string& name, const StartPosition& to) {
  STRATA_ASSIGN_OR_RETURN(const SubscriptionInfo info, client.SeekSubscription(channel, name, to));
  return Print(io, info);
}

Result<int> DeleteSubscription(Client& client, const Io& io, const std::string& channel,
                               const std::string& name) {
  STRATA_RETURN_IF_ERROR(client.DeleteSubscription(channel, name));
  STRATA_RETURN_IF_ERROR(io.out.Append(io.json ? ToLine({{"channel", channel}, {"deleted", name}})
                                               : "deleted " + name + " of " + channel + '\n'));
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

}  // namespace strata::tools
