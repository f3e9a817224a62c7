#include "tools/status_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/space_command.h"

namespace strata::tools {
namespace {

// Limits, retention and compression.
nlohmann::ordered_json SpaceToJson(const BrokerStatus& s) {
  nlohmann::ordered_json json = {{"space_state", s.space_state},
                                 {"disk_budget_bytes", s.disk_budget_bytes},
                                 {"soft_mark_bytes", s.soft_mark_bytes},
                                 {"hard_mark_bytes", s.hard_mark_bytes},
                                 {"ballast_bytes", s.ballast_bytes},
                                 {"write_buffer_limit", s.write_buffer_limit},
                                 {"tail_cache_limit", s.tail_cache_limit},
                                 {"block_cache_limit", s.block_cache_limit},
                                 {"pending_limit", s.pending_limit},
                                 {"sweeps", s.sweeps},
                                 {"trimmed_pages", s.trimmed_pages},
                                 {"trimmed_bytes", s.trimmed_bytes},
                                 {"dropped_strata", s.dropped_strata},
                                 {"rewritten_strata", s.rewritten_strata},
                                 {"rewrite_read_bytes", s.rewrite_read_bytes},
                                 {"rewrite_written_bytes", s.rewrite_written_bytes},
                                 {"compressed_strata", s.compressed_strata},
                                 {"compressed_raw_bytes", s.compressed_raw_bytes},
                                 {"compressed_file_bytes", s.compressed_file_bytes}};
  auto& quarantined = json["quarantined"] = nlohmann::ordered_json::array();
  for (const QuarantinedStratum& each : s.quarantined) {
    quarantined.push_back(
        {{"stratum", each.number}, {"live_bytes", each.live_bytes}, {"why", each.why}});
  }
  return json;
}

nlohmann::ordered_json ToJson(const BrokerStatus& s) {
  nlohmann::ordered_json json = {{"accepts_appends", s.accepts_appends},
                                 {"state", s.state},
                                 {"failure", s.failure},
                                 {"uptime_seconds", static_cast<double>(s.uptime.count()) / 1e6},
                                 {"channels", s.channels},
                                 {"subscriptions", s.subscriptions},
                                 {"readers", s.readers},
                                 {"messages_appended", s.messages_appended},
                                 {"bytes_appended", s.bytes_appended},
                                 {"batches_appended", s.batches_appended},
                                 {"groups", s.groups},
                                 {"syncs", s.syncs},
                                 {"cache_hits", s.cache_hits},
                                 {"storage_reads", s.storage_reads},
                                 {"pending_bytes", s.pending_bytes},
                                 {"tail_cache_bytes", s.tail_cache_bytes},
                                 {"memtable_bytes", s.memtable_bytes},
                                 {"block_cache_bytes", s.block_cache_bytes},
                                 {"resident_bytes", s.resident_bytes},
                                 {"strata", s.strata},
                                 {"pages", s.pages},
                                 {"live_bytes", s.live_bytes},
                                 {"disk_bytes", s.disk_bytes},
                                 {"disk_free_bytes", s.disk_free_bytes}};
  json.update(SpaceToJson(s));
  return json;
}

nlohmann::ordered_json ToJson(const ServerInfo& info) {
  return {{"version", info.version},
          {"store_id", info.store_id},
          {"sync", info.sync},
          {"started_at", FormatTime(info.started_at)},
          {"limits",
           {{"max_payload", info.max_payload},
            {"max_batch", info.max_batch},
            {"max_batch_messages", info.max_batch_messages},
            {"max_pending", info.max_pending},
            {"max_pending_total", info.max_pending_total}}}};
}

std::string BacklogText(const std::vector<SubscriptionInfo>& subscriptions) {
  const auto most =
      std::max_element(subscriptions.begin(), subscriptions.end(),
                       [](const auto& a, const auto& b) { return a.backlog < b.backlog; });
  if (most == subscriptions.end()) return "none";
  if (most->backlog == 0) return "none, everything is acknowledged";
  return fmt::format("{} messages at most, {} of channel {}", FormatCount(most->backlog),
                     most->name, most->channel);
}

// "1.0 MB of 33.6 MB".
std::string Of(uint64_t bytes, uint64_t limit) {
  return limit == 0 ? FormatBytes(bytes)
                    : fmt::format("{} of {}", FormatBytes(bytes), FormatBytes(limit));
}

std::string SpaceText(const BrokerStatus& s) {
  if (s.disk_budget_bytes == 0) return s.space_state + ", no budget (limits.maxFileStore)";
  return fmt::format("{}, {} used; pressure from {}, full from {}", s.space_state,
                     Of(s.disk_bytes, s.disk_budget_bytes), FormatBytes(s.soft_mark_bytes),
                     FormatBytes(s.hard_mark_bytes));
}

std::string RetentionText(const BrokerStatus& s) {
  return fmt::format(
      "{} pages with {} removed in {} sweeps; {} strata dropped, {} rewritten ({} read, {} "
      "written)",
      FormatCount(s.trimmed_pages), FormatBytes(s.trimmed_bytes), FormatCount(s.sweeps),
      FormatCount(s.dropped_strata), FormatCount(s.rewritten_strata),
      FormatBytes(s.rewrite_read_bytes), FormatBytes(s.rewrite_written_bytes));
}

std::string CompressionText(const BrokerStatus& s) {
  const uint64_t raw = s.compressed_raw_bytes;
  const uint64_t file = s.compressed_file_bytes;
  if (raw == 0) return "nothing yet";
  return fmt::format("{} strata, {} in files of {}: ratio {:.2f}, {} saved",
                     FormatCount(s.compressed_strata), FormatBytes(raw), FormatBytes(file),
                     static_cast<double>(file) / static_cast<double>(raw),
                     FormatBytes(raw > file ? raw - file : 0));
}

std::string MemoryText(const BrokerStatus& s) {
  return fmt::format("{} resident: tail cache {}, memtables {}, block cache {}",
                     FormatBytes(s.resident_bytes), Of(s.tail_cache_bytes, s.tail_cache_limit),
                     Of(s.memtable_bytes, s.write_buffer_limit),
                     Of(s.block_cache_bytes, s.block_cache_limit));
}

std::string ToText(const std::string& address, const ServerInfo& info, const BrokerStatus& s,
                   const std::vector<SubscriptionInfo>& subscriptions) {
  std::string state = s.state + ", durability.sync " + info.sync;
  if (!s.accepts_appends) state += ", refuses appends";
  if (!s.failure.empty()) state += ": " + s.failure;
  std::string disk =
      fmt::format("{} used, {} free", FormatBytes(s.disk_bytes), FormatBytes(s.disk_free_bytes));
  if (s.ballast_bytes > 0) disk += ", ballast " + FormatBytes(s.ballast_bytes);
  std::vector<std::pair<std::string, std::string>> fields = {
      {"server",
       fmt::format("{}, version {}, up {}", address, info.version, FormatDuration(s.uptime))},
      {"store", info.store_id},
      {"state", state},
      {"channels", FormatCount(s.channels)},
      {"readers",
       fmt::format("{}, subscriptions {}", FormatCount(s.readers), FormatCount(s.subscriptions))},
      {"backlog", BacklogText(subscriptions)},
      {"appended",
       fmt::format("{} messages, {} in {} batches, {} groups, {} syncs",
                   FormatCount(s.messages_appended), FormatBytes(s.bytes_appended),
                   FormatCount(s.batches_appended), FormatCount(s.groups), FormatCount(s.syncs))},
      {"pending", Of(s.pending_bytes, s.pending_limit) + " not yet acknowledged"},
      {"read", fmt::format("{} batches from the tail cache, {} reads of storage",
                           FormatCount(s.cache_hits), FormatCount(s.storage_reads))},
      {"stored", fmt::format("{} in {} pages, {} strata", FormatBytes(s.live_bytes),
                             FormatCount(s.pages), FormatCount(s.strata))},
      {"disk", disk},
      {"space", SpaceText(s)},
      {"retention", RetentionText(s)},
      {"compressed", CompressionText(s)},
      {"memory", MemoryText(s)},
  };
  for (const QuarantinedStratum& each : s.quarantined) {
    fields.emplace_back("quarantined",
                        fmt::format("stratum {} with {}: {}", each.number,
                                    FormatBytes(each.live_bytes), EscapeText(each.why)));
  }
  return FormatFields(fields);
}

// What happened between two answers, for each second.
struct Rates {
  uint64_t messages, bytes, batches, syncs, cache_hits, storage_reads;
};

Rates Difference(const BrokerStatus& before, const BrokerStatus& after) {
  const double seconds =
      std::max(static_cast<double>((after.uptime - before.uptime).count()) / 1e6, 1e-6);
  // Counters start anew with the server.
  const auto rate = [&](uint64_t from, uint64_t to) {
    return to < from ? 0 : static_cast<uint64_t>(static_cast<double>(to - from) / seconds + 0.5);
  };
  return {rate(before.messages_appended, after.messages_appended),
          rate(before.bytes_appended, after.bytes_appended),
          rate(before.batches_appended, after.batches_appended),
          rate(before.syncs, after.syncs),
          rate(before.cache_hits, after.cache_hits),
          rate(before.storage_reads, after.storage_reads)};
}

std::string WatchJson(const Rates& r, const BrokerStatus& s) {
  nlohmann::ordered_json json = {{"per_second",
                                  {{"messages", r.messages},
                                   {"bytes", r.bytes},
                                   {"batches", r.batches},
                                   {"syncs", r.syncs},
                                   {"cache_hits", r.cache_hits},
                                   {"storage_reads", r.storage_reads}}}};
  json.update(ToJson(s));
  return ToLine(json);
}

constexpr const char* kWatchRow = "{:>11} {:>10} {:>9} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9}\n";

std::string WatchHeader() {
  return fmt::format(fmt::runtime(kWatchRow), "msg/s", "bytes/s", "batches/s", "syncs/s", "pending",
                     "readers", "stored", "disk", "memory");
}

std::string WatchText(const Rates& r, const BrokerStatus& s) {
  return fmt::format(fmt::runtime(kWatchRow), FormatCount(r.messages), FormatBytes(r.bytes),
                     FormatCount(r.batches), FormatCount(r.syncs), FormatBytes(s.pending_bytes),
                     FormatCount(s.readers), FormatBytes(s.live_bytes), FormatBytes(s.disk_bytes),
                     FormatBytes(s.resident_bytes));
}

Result<int> Watch(Client& client, const Io& io, const StatusOptions& options) {
  constexpr int kRowsPerHeader = 20;
  STRATA_ASSIGN_OR_RETURN(BrokerStatus before, client.GetStatus());
  for (int row = 0; io.stop.SleepFor(options.interval); ++row) {
    STRATA_ASSIGN_OR_RETURN(BrokerStatus now, client.GetStatus());
    const Rates rates = Difference(before, now);
    std::string text;
    if (!io.json && row % kRowsPerHeader == 0) text = WatchHeader();
    text += io.json ? WatchJson(rates, now) : WatchText(rates, now);
    STRATA_RETURN_IF_ERROR(io.out.Append(text));
    const Status written = io.out.Flush();
    if (io.out.reader_gone()) return kExitOk;
    STRATA_RETURN_IF_ERROR(written);
    before = std::move(now);
  }
  return kExitOk;
}

}  // namespace

Result<int> ShowStatus(Client& client, const Io& io, const StatusOptions& options) {
  if (options.watch) return Watch(client, io, options);
  if (options.space) return ShowSpace(client, io);
  STRATA_ASSIGN_OR_RETURN(const ServerInfo info, client.GetServerInfo());
  STRATA_ASSIGN_OR_RETURN(const BrokerStatus status, client.GetStatus());
  STRATA_ASSIGN_OR_RETURN(const std::vector<SubscriptionInfo> subscriptions,
                          client.ListSubscriptions());
  if (io.json) {
    nlohmann::ordered_json json = {{"address", options.address}, {"server", ToJson(info)}};
    json["status"] = ToJson(status);
    STRATA_RETURN_IF_ERROR(io.out.Append(ToLine(json)));
  } else {
    STRATA_RETURN_IF_ERROR(io.out.Append(ToText(options.address, info, status, subscriptions)));
  }
  STRATA_RETURN_IF_ERROR(io.out.Flush());
  return kExitOk;
}

}  // namespace strata::tools
