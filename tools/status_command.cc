#include "tools/status_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/exit_codes.h"
#include "tools/format.h"

namespace strata::tools {
namespace {

nlohmann::ordered_json ToJson(const BrokerStatus& s) {
  return {{"accepts_appends", s.accepts_appends},
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

std::string ToText(const std::string& address, const ServerInfo& info, const BrokerStatus& s,
                   const std::vector<SubscriptionInfo>& subscriptions) {
  std::string state = s.state + ", durability.sync " + info.sync;
  if (!s.accepts_appends) state += ", refuses appends";
  if (!s.failure.empty()) state += ": " + s.failure;
  return FormatFields({
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
      {"pending", FormatBytes(s.pending_bytes) + " not yet acknowledged"},
      {"read", fmt::format("{} batches from the tail cache, {} reads of storage",
                           FormatCount(s.cache_hits), FormatCount(s.storage_reads))},
      {"stored", fmt::format("{} in {} pages, {} strata", FormatBytes(s.live_bytes),
                             FormatCount(s.pages), FormatCount(s.strata))},
      {"disk",
       fmt::format("{} used, {} free", FormatBytes(s.disk_bytes), FormatBytes(s.disk_free_bytes))},
      {"memory", fmt::format("{} resident: tail cache {}, memtables {}, block cache {}",
                             FormatBytes(s.resident_bytes), FormatBytes(s.tail_cache_bytes),
                             FormatBytes(s.memtable_bytes), FormatBytes(s.block_cache_bytes))},
  });
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
