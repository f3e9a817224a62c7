#include "broker/config_milvus.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "broker/config_values.h"

namespace strata::broker {
namespace {

constexpr std::string_view kSections[] = {
    "autoIndex",    "common",      "credential",    "dataCoord",
    "dataNode",     "etcd",        "function",      "gpu",
    "grpc",         "hotspot",     "indexCoord",    "indexEngine",
    "indexNode",    "internaltls", "kafka",         "knowhere",
    "localStorage", "log",         "metastore",     "minio",
    "mixCoord",     "mq",          "msgChannel",    "proxy",
    "pulsar",       "queryCoord",  "queryNode",     "quotaAndLimits",
    "rootCoord",    "streaming",   "streamingNode", "tikv",
    "tls",          "trace",       "woodpecker",
};

struct Equivalent {
  std::string_view natsmq;
  std::string_view ours;
};

// natsmq was in Milvus 2.3 to 2.5.
constexpr Equivalent kEquivalents[] = {
    {"server.port", "server.port"},
    {"server.storeDir", "rocksmq.path"},
    {"server.maxFileStore", "limits.maxFileStore"},
    {"server.maxPayload", "limits.maxPayload"},
    {"server.maxPending", "limits.maxPending"},
    {"server.initializeTimeout", "server.initializeTimeout"},
    {"server.monitor.trace", "monitor.trace"},
    {"server.monitor.debug", "monitor.debug"},
    {"server.monitor.logTime", "monitor.logTime"},
    {"server.monitor.logFile", "monitor.logFile"},
    {"server.monitor.logSizeLimit", "monitor.logSizeLimit"},
    {"server.retention.maxAge", "rocksmq.retentionTimeInMinutes"},
    {"server.retention.maxBytes", "rocksmq.retentionSizeInMB"},
    {"server.retention.maxMsgs", "retention.maxMsgs"},
};

}  // namespace

bool IsMilvusSection(const std::string& name) {
  return std::find(std::begin(kSections), std::end(kSections), name) != std::end(kSections);
}

std::string InsteadOfNatsmq(const std::string& key, const std::string& value) {
  const auto* found = std::find_if(std::begin(kEquivalents), std::end(kEquivalents),
                                   [&](const Equivalent& each) { return each.natsmq == key; });
  if (found == std::end(kEquivalents)) return "Strata has nothing like it; leave it out";
  // Of retention: no limit, which is a number here.
  if (value.empty()) return fmt::format("write {}: -1", found->ours);
  if (key == "server.storeDir") {
    return fmt::format("write {}: DIRECTORY, another one than {}: the files of NATS are not read",
                       found->ours, value);
  }
  if (key == "server.retention.maxBytes") {
    const Result<int64_t> bytes = ParseInteger(value, 1, INT64_MAX);
    if (!bytes.ok()) return fmt::format("write {}: and the size in MiB", found->ours);
    return fmt::format("write {}: {}", found->ours, ((*bytes - 1) >> 20) + 1);
  }
  return fmt::format("write {}: {}", found->ours, value);
}

}  // namespace strata::broker
