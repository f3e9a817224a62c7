#include "tools/repair_command.h"

#include <fmt/format.h>

#include <optional>

#include <nlohmann/json.hpp>

#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/progress.h"

namespace strata::tools {
namespace {

bool IsComplete(const storage::RepairReport& report) {
  return report.catalog_whole && report.lost.empty();
}

std::string RepairJson(const std::string& directory, const storage::RepairReport& report) {
  nlohmann::ordered_json json = {{"directory", directory},
                                 {"into", report.into},
                                 {"complete", IsComplete(report)},
                                 {"catalog_whole", report.catalog_whole},
                                 {"ids_jump", report.ids_jump},
                                 {"channels", report.channels},
                                 {"subscriptions", report.subscriptions},
                                 {"producers", report.producers},
                                 {"batches", report.batches},
                                 {"messages", report.messages},
                                 {"bytes", report.bytes},
                                 {"lost_ids", report.lost_ids},
                                 {"damage_count", report.damage_count}};
  auto& lost = json["lost"] = nlohmann::ordered_json::array();
  for (const storage::RepairLoss& each : report.lost) {
    lost.push_back({{"channel", each.name},
                    {"number", each.channel},
                    {"first_id", each.first},
                    {"last_id", each.last}});
  }
  auto& damage = json["damage"] = nlohmann::ordered_json::array();
  for (const storage::VerifyProblem& each : report.damage) {
    damage.push_back({{"where", each.where}, {"what", each.what}});
  }
  return ToLine(json);
}

}  // namespace

std::string FormatRepair(const std::string& directory, const storage::RepairReport& report,
                         bool json) {
  if (json) return RepairJson(directory, report);
  std::string text;
  for (const storage::VerifyProblem& each : report.damage) {
    text += fmt::format("not readable: {}: {}\n", each.where, each.what);
  }
  if (report.damage_count > report.damage.size()) {
    text +=
        fmt::format("... and {} more\n", FormatCount(report.damage_count - report.damage.size()));
  }
  for (const storage::RepairLoss& each : report.lost) {
    text += fmt::format("lost: channel '{}' ({}), ids {}..{}\n", each.name, each.channel,
                        each.first, each.last);
  }
  if (!report.catalog_whole) {
    text +=
        "The catalog is not whole: there may be channels, subscriptions and producers missing "
        "that\n"
        "nobody knows of any more, and messages that were trimmed may be there again.\n";
  }
  if (report.ids_jump) {
    text += "The ids of all channels go on 2^32 higher, behind a LOST gap.\n";
  }
  return text + fmt::format(
                    "{}: kept {} messages in {} batches, {} channels, {} subscriptions and {} "
                    "producers, {}; lost {} ids. {} is as it was\n",
                    report.into, FormatCount(report.messages), FormatCount(report.batches),
                    FormatCount(report.channels), FormatCount(report.subscriptions),
                    FormatCount(report.producers), FormatBytes(report.bytes),
                    FormatCount(report.lost_ids), directory);
}

int Repair(const Io& io, const std::string& directory, const std::string& into) {
  storage::StoreOptions options;
  options.path = directory;
  while (options.path.size() > 1 && options.path.back() == '/') options.path.pop_back();
  options.clock = &io.clock;
  const std::string target = into.empty() ? options.path + ".repaired" : into;
  Result<storage::RepairReport> report = [&] {
    Progress progress(io, std::nullopt);
    return storage::Repair(options, target, [&](uint64_t bytes) { progress.Update(bytes); });
  }();
  Status status = report.status();
  if (status.ok()) status = io.out.Append(FormatRepair(directory, *report, io.json));
  if (status.ok()) status = io.out.Flush();
  if (!status.ok()) {
    io.Note(FormatError(status));
    return kExitUsage;
  }
  return IsComplete(*report) ? kExitOk : kExitFailed;
}

}  // namespace strata::tools
