#include "tools/channel_command.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/retention_text.h"

namespace strata::tools {
namespace {

uint64_t Available(const ChannelInfo& info) {
  return static_cast<uint64_t>(info.next_id - info.first_available);
}

nlohmann::ordered_json ToJson(const ChannelInfo& info) {
  nlohmann::ordered_json json = {{"name", info.name},
                                 {"number", info.number},
                                 {"options",
                                  {{"first_id", info.options.first_id},
                                   {"retention", OverridesToJson(info.options.retention)}}},
                                 {"created_at", FormatTime(info.created_at)},
                                 {"first_available_id", info.first_available},
                                 {"next_id", info.next_id},
                                 {"messages", Available(info)},
                                 {"truncated_through", info.truncated_through},
                                 {"pages", info.pages},
                                 {"bytes", info.bytes}};
  json["exclusive_term"] = info.exclusive_term;
  if (!info.exclusive_holder.empty()) json["exclusive_holder"] = info.exclusive_holder;
  if (info.last_append_time != 0) json["last_append_time"] = FormatTime(info.last_append_time);
  return json;
}

std::string WriterText(const ChannelInfo& info) {
  if (!info.exclusive_holder.empty()) {
    return fmt::format("only producer '{}', with term {}", info.exclusive_holder,
                       info.exclusive_term);
  }
  if (info.exclusive_term == 0) return "anybody";
  return fmt::format("plain ones, and named ones with a term of {} or more", info.exclusive_term);
}

std::string ToText(const ChannelInfo& info, const ChannelSpaceInfo& space) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"channel", info.name},
      {"number", std::to_string(info.number)},
      {"created", FormatTime(info.created_at)},
      {"messages", FormatCount(Available(info))},
      {"ids", Available(info) == 0 ? fmt::format("none yet, the next is {}", info.next_id)
                                   : fmt::format("{}..{}", info.first_available, info.next_id - 1)},
      {"truncated through", info.truncated_through == 0 ? std::string("nothing")
                                                        : std::to_string(info.truncated_through)},
      {"last append", FormatTimeOrNever(info.last_append_time)},
      {"who may append", WriterText(info)},
      {"stored", fmt::format("{} in {} pages", FormatBytes(info.bytes), info.pages)},
  };
  for (auto& field : RuleFields(info.options.retention, space)) fields.push_back(std::move(field));
  return FormatFields(fields);
}

// With the retention rules in force, which the channel's info does not have.
Result<int> Print(Client& client, const Io& io, const ChannelInfo& info) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<ChannelSpaceInfo> spaces,
                          client.DescribeSpace(info.name));
  const ChannelSpaceInfo space = spaces.empty() ? ChannelSpaceInfo() : spaces.front();
  std::string text;
  if (io.json) {
    nlohmann::ordered_json json = ToJson(info);
    json["retention"] = RulesToJson(space);
    text = ToLine(json);
  } else {
    text = ToText(info, space);
  }
  STRATA_RETURN_IF_ERROR(io.out.Append(text));
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

// Whether the line of standard input is a yes.
Result<bool> ReadYes(const Io& io) {
  std::string answer;
  for (char c = 0;;) {
    STRATA_ASSIGN_OR_RETURN(const size_t n, io.in.Read({&c, 1}));
    if (n == 0 || c == '\n') return answer == "y" || answer == "Y" || answer == "yes";
    answer += c;
  }
}

}  // namespace

RetentionOverrides RetentionChange::On(const RetentionOverrides& own) const {
  return {.policy = policy.value_or(own.policy),
          .retention_time = time.value_or(own.retention_time),
          .retention_size = size.value_or(own.retention_size),
          .max_messages = max_messages.value_or(own.max_messages)};
}

Result<int> CreateChannel(Client& client, const Io& io, const std::string& name,
                          const ChannelOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const ChannelInfo info, client.CreateChannel(name, options));
  return Print(client, io, info);
}

Result<int> ListChannels(Client& client, const Io& io, const std::string& prefix) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<ChannelInfo> channels, client.ListChannels(prefix));
  if (io.json) {
    auto json = nlohmann::ordered_json::array();
    for (const ChannelInfo& info : channels) json.push_back(ToJson(info));
    STRATA_RETURN_IF_ERROR(io.out.Append(ToLine(json)));
  } else {
    using enum Table::Align;
    Table table({{"CHANNEL"},
                 {"FIRST ID", kRight},
                 {"NEXT ID", kRight},
                 {"MESSAGES", kRight},
                 {"STORED", kRight},
                 {"PAGES", kRight},
                 {"LAST APPEND"}});
    for (const ChannelInfo& info : channels) {
      table.Row({info.name, std::to_string(info.first_available), std::to_string(info.next_id),
                 FormatCount(Available(info)), FormatBytes(info.bytes), std::to_string(info.pages),
                 FormatTimeOrNever(info.last_append_time)});
    }
    STRATA_RETURN_IF_ERROR(io.out.Append(table.ToString()));
  }
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

Result<int> DescribeChannel(Client& client, const Io& io, const std::string& name) {
  STRATA_ASSIGN_OR_RETURN(const ChannelInfo info, client.DescribeChannel(name));
  return Print(client, io, info);
}

Result<int> ListProducers(Client& client, const Io& io, const std::string& channel) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<ProducerInfo> producers, client.ListProducers(channel));
  if (io.json) {
    auto json = nlohmann::ordered_json::array();
    for (const ProducerInfo& info : producers) {
      json.push_back({{"channel", info.channel},
                      {"name", info.name},
                      {"term", info.term},
                      {"last_sequence", info.last_sequence},
                      {"created_at", FormatTime(info.created_at)},
                      {"active_at", FormatTime(info.active_at)},
                      {"open", info.open}});
    }
    STRATA_RETURN_IF_ERROR(io.out.Append(ToLine(json)));
  } else {
    using enum Table::Align;
    Table table({{"CHANNEL"},
                 {"PRODUCER"},
                 {"TERM", kRight},
                 {"BATCHES", kRight},
                 {"OPEN"},
                 {"LAST ACTIVE"}});
    for (const ProducerInfo& info : producers) {
      table.Row({info.channel, info.name, std::to_string(info.term),
                 FormatCount(info.last_sequence), info.open ? "yes" : "no",
                 FormatTimeOrNever(info.active_at)});
    }
    STRATA_RETURN_IF_ERROR(io.out.Append(table.ToString()));
  }
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

Result<int> TruncateChannel(Client& client, const Io& io, const std::string& name,
                            MessageId through) {
  STRATA_ASSIGN_OR_RETURN(const ChannelInfo info, client.TruncateChannel(name, through));
  return Print(client, io, info);
}

Result<int> AlterChannel(Client& client, const Io& io, const std::string& name,
                         const RetentionChange& change) {
  STRATA_ASSIGN_OR_RETURN(const ChannelInfo before, client.DescribeChannel(name));
  STRATA_ASSIGN_OR_RETURN(const ChannelInfo info,
                          client.AlterChannel(name, change.On(before.options.retention)));
  return Print(client, io, info);
}

Result<int> DeleteChannel(Client& client, const Io& io, const std::string& name, bool yes) {
  if (!yes) {
    if (!io.in_is_terminal) {
      io.Note("strata: deleting " + name +
              " needs --yes, because there is no terminal to ask on; nothing was deleted\n");
      return kExitUsage;
    }
    STRATA_ASSIGN_OR_RETURN(const ChannelInfo info, client.DescribeChannel(name));
    io.Note(fmt::format("Delete channel {} with {} messages ({}) and its subscriptions? [y/N] ",
                        name, FormatCount(Available(info)), FormatBytes(info.bytes)));
    STRATA_ASSIGN_OR_RETURN(const bool yes_was_typed, ReadYes(io));
    if (!yes_was_typed) {
      io.Note("strata: nothing was deleted\n");
      return kExitFailed;
    }
  }
  STRATA_RETURN_IF_ERROR(client.DeleteChannel(name));
  STRATA_RETURN_IF_ERROR(
      io.out.Append(io.json ? ToLine({{"deleted", name}}) : "deleted " + name + '\n'));
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

}  // namespace strata::tools
