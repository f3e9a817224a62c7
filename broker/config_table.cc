#include "broker/config_table.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include "broker/config_values.h"
#include "broker/memory_limit.h"
#include "broker/space_plan.h"

namespace strata::broker {
namespace {

constexpr uint64_t kKiB = 1u << 10;
constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kGiB = 1u << 30;
constexpr uint64_t kTiB = kGiB << 10;
constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();
constexpr Micros kMillisecond{1000};
constexpr Micros kSecond{1'000'000};
constexpr Micros kMinute{60'000'000};
constexpr Micros kDay{86'400'000'000};

using Setter = std::function<Status(const std::string& text, Config* config)>;

// A kind of value: what it takes, and how it gets into the config.
struct Kind {
  std::string values;
  Setter set;
};

template <typename T, typename Parse, typename Store>
Setter MakeSetter(Parse parse, Store store) {
  return [parse, store](const std::string& text, Config* config) {
    Result<T> value = parse(text);
    if (value.ok()) store(*config, *value);
    return value.status();
  };
}

template <typename Store>
Kind Bool(Store store) {
  return {"true or false",
          MakeSetter<bool>([](const std::string& t) { return ParseBool(t); }, store)};
}

template <typename Store>
Kind Integer(int64_t min, int64_t max, std::string values, Store store) {
  return {
      std::move(values),
      MakeSetter<int64_t>([=](const std::string& t) { return ParseInteger(t, min, max); }, store)};
}

template <typename Store>
Kind Bytes(uint64_t min, uint64_t max, Store store) {
  return {
      fmt::format("bytes, {} to {}; 64MiB and the like are understood", FormatBytes(min),
                  FormatBytes(max)),
      MakeSetter<uint64_t>([=](const std::string& t) { return ParseBytes(t, min, max); }, store)};
}

template <typename Store>
Kind Duration(Micros bare, Micros min, Micros max, Store store) {
  std::string values = fmt::format("{} to {}", FormatDuration(min), FormatDuration(max));
  if (bare.count() > 0)
    values += fmt::format("; without a unit it counts {}", FormatDuration(bare).substr(1));
  return {std::move(values),
          MakeSetter<Micros>([=](const std::string& t) { return ParseDuration(t, bare, min, max); },
                             store)};
}

Kind Choice(std::vector<std::string> choices, std::function<void(Config&, size_t)> store) {
  const std::string values = fmt::format("{}", fmt::join(choices, ", "));
  return {values, [=](const std::string& text, Config* config) {
            const auto found = std::find(choices.begin(), choices.end(), text);
            if (found == choices.end()) {
              const std::string near = NearestName(text, choices);
              return Status(Reason::INVALID_CONFIG,
                            fmt::format("'{}' is none of {}{}", text, values,
                                        near.empty() ? "" : "; did you mean " + near + "?"));
            }
            store(*config, static_cast<size_t>(found - choices.begin()));
            return Status();
          }};
}

// An address to listen on; "none" is stored as an empty string.
Result<std::string> ParseAddress(std::string text) {
  if (text == "none") return std::string();
  if (text == "localhost") return std::string("127.0.0.1");
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  in6_addr scratch;
  if (inet_pton(AF_INET, text.c_str(), &scratch) == 1 ||
      inet_pton(AF_INET6, text.c_str(), &scratch) == 1) {
    return text;
  }
  return Status(Reason::INVALID_CONFIG,
                fmt::format("'{}' is not an IP address of this machine, localhost or none", text));
}

template <typename Store>
Kind Address(Store store) {
  return {"an IPv4 or IPv6 address, localhost, or none",
          MakeSetter<std::string>(ParseAddress, store)};
}

template <typename Store>
Kind Port(Store store) {
  const auto parse = [](const std::string& text) -> Result<int64_t> {
    Result<int64_t> port = ParseInteger(text, -1, 65535);
    if (port.ok() && *port != 0) return port;
    return Status(
        Reason::INVALID_CONFIG,
        fmt::format("'{}' is not a port; it takes 1 to 65535, or -1 for a free one", text));
  };
  return {"1 to 65535, or -1 for a free one, which is printed", MakeSetter<int64_t>(parse, store)};
}

// A path; `absent` is the word for none, stored as an empty string.
template <typename Store>
Kind Path(std::string values, std::string absent, size_t max_length, Store store) {
  const auto parse = [=](const std::string& text) -> Result<std::string> {
    if (text.empty()) return Status(Reason::INVALID_CONFIG, "the path is empty");
    if (text == absent) return std::string();
    if (text.size() > max_length) {
      return Status(
          Reason::INVALID_CONFIG,
          fmt::format("the path has {} bytes, the system allows {}", text.size(), max_length));
    }
    return text;
  };
  return {std::move(values), MakeSetter<std::string>(parse, store)};
}

Kind CacheRatio() {
  return {"0 to 1, of which 8MiB to 4GiB are made",
          MakeSetter<double>([](const std::string& t) { return ParseRatio(t, 0, 1); },
                             [](Config& c, double ratio) {
                               const auto share = static_cast<uint64_t>(
                                   static_cast<double>(MemoryLimit()) * ratio);
                               c.store.block_cache = std::clamp(share, 8 * kMiB, 4 * kGiB);
                             })};
}

Kind CompressionTypes() {
  const auto parse = [](const std::string& text) -> Result<std::vector<int>> {
    STRATA_ASSIGN_OR_RETURN(std::vector<int> types, ParseIntegerList(text));
    if (types.size() < 2 || types.size() > 7) {
      return Status(Reason::INVALID_CONFIG,
                    fmt::format("it has {} levels, a store has 2 to 7", types.size()));
    }
    for (const int type : types) {
      if (type == 0 || type == 7) continue;
      return Status(Reason::INVALID_CONFIG,
                    fmt::format("{} is no compression that is known: 0 is none, 7 is zstd", type));
    }
    return types;
  };
  return {"2 to 7 numbers, each 0 (none) or 7 (zstd)",
          MakeSetter<std::vector<int>>(parse, [](Config& c, std::vector<int> types) {
            c.broker.sweeper.compresses = types.back() != types.front();
            c.store.compression_types = std::move(types);
          })};
}

Kind Expiry() {
  const auto parse = [](const std::string& text) -> Result<Micros> {
    if (text == "off") return Micros{0};
    return ParseDuration(text, Micros{0}, kSecond, 3650 * kDay);
  };
  return {"off, or 1s to 3650d", MakeSetter<Micros>(parse, [](Config& c, Micros expiry) {
            c.broker.retention.subscription_expiry = expiry.count();
          })};
}

// limits.maxFileStore: a store needs some room before it can be useful, and 0 means something else.
Kind FileStore() {
  const auto parse = [](const std::string& text) -> Result<uint64_t> {
    STRATA_ASSIGN_OR_RETURN(const uint64_t bytes, ParseBytes(text, 0, 1024 * kTiB));
    if (bytes == 0 || bytes >= kMinFileStore) return bytes;
    return Status(Reason::INVALID_CONFIG,
                  fmt::format("'{}' is too little for a store; give it {} or more, or 0 for what "
                              "it holds at the start and 80 % of what is free then",
                              text, FormatBytes(kMinFileStore)));
  };
  return {fmt::format("bytes, 0 or {} to {}; 64MiB and the like are understood",
                      FormatBytes(kMinFileStore), FormatBytes(1024 * kTiB)),
          MakeSetter<uint64_t>(parse, [](Config& c, uint64_t v) { c.store.max_file_store = v; })};
}

ConfigKey Row(std::string name, std::string default_text, Kind kind, std::string doc) {
  return {std::move(name),   std::move(default_text), std::move(kind.values), std::move(doc),
          /*reloads=*/false, std::move(kind.set)};
}

// What a running stratad takes over (server/daemon.cc, Reload).
constexpr std::string_view kReloaded[] = {
    "rocksmq.retentionTimeInMinutes",
    "rocksmq.retentionSizeInMB",
    "retention.policy",
    "retention.maxMsgs",
    "retention.truncateGrace",
    "retention.subscriptionExpiry",
    "limits.maxStreams",
    "monitor.trace",
    "monitor.debug",
};

void AddRocksmq(std::vector<ConfigKey>* keys) {
  keys->push_back(Row("rocksmq.path", "/var/lib/strata",
                      Path("a directory", "", 4096,
                           [](Config& c, std::string path) { c.store.path = std::move(path); }),
                      "Where the store is. Created if missing; the folder above it must exist. A "
                      "directory that holds anything else is refused, untouched."));
  keys->push_back(Row("rocksmq.lrucacheratio", "0.06", CacheRatio(),
                      "The block cache as a share of the memory this process may use: the limit of "
                      "its control group, or the machine's memory. It serves readers that look for "
                      "single batches; reading forward does not fill it."));
  keys->push_back(
      Row("rocksmq.rocksmqPageSize", "67108864",
          Bytes(64 * kKiB, 16 * kGiB, [](Config& c, uint64_t bytes) { c.store.page_size = bytes; }),
          "A page, the unit in which old messages are removed, closes at this many bytes of one "
          "channel. Smaller pages follow the retention rules more closely and cost about 100 bytes "
          "of memory each; with a small limits.maxFileStore they are made smaller by themselves."));
  keys->push_back(Row(
      "rocksmq.retentionTimeInMinutes", "4320",
      Integer(-1, kMaxInteger / kMinute.count(), "minutes, or -1 for off",
              [](Config& c, int64_t v) {
                c.broker.retention.retention_time = v == -1 ? kNoLimit : v * kMinute.count();
              }),
      "The time rule: a page goes when its newest message was appended longer ago than this, and "
      "retention.policy lets it go. Time counts from the append, not from the acknowledgement as "
      "in RocksMQ. A channel can have its own."));
  keys->push_back(
      Row("rocksmq.retentionSizeInMB", "8192",
          Integer(-1, kMaxInteger >> 20, "MiB per channel, or -1 for off",
                  [](Config& c, int64_t v) {
                    c.broker.retention.retention_size = v == -1 ? kNoLimit : v << 20;
                  }),
          "The size rule: the oldest page goes when its channel holds more than this without it, "
          "and retention.policy lets it go. It counts each channel for itself, so a hundred "
          "channels may hold a hundred times as much; limits.maxFileStore bounds them together. A "
          "channel can have its own."));
  keys->push_back(
      Row("rocksmq.compactionInterval", "86400",
          Duration(kSecond, kSecond, 3650 * kDay,
                   [](Config& c, Micros v) { c.broker.sweeper.compaction_interval = v; }),
          "How long a stratum that is no longer written stays as it is before it is rewritten with "
          "the last level's compression. Counted from when it was sealed, across restarts. One "
          "that is more than half garbage is rewritten earlier. The disk shrinks without this: "
          "strata whose messages are all gone are dropped within seconds."));
  keys->push_back(
      Row("rocksmq.compressionTypes", "[0, 0, 7, 7, 7]", CompressionTypes(),
          "The compression of each level of RocksDB. New strata are written at the first "
          "level; rewritten ones go to the last. Where the two are equal nothing is rewritten for "
          "compression, only to get rid of garbage."));
}

void AddRetention(std::vector<ConfigKey>* keys) {
  keys->push_back(Row(
      "retention.policy", "acked",
      Choice({"acked", "limits", "truncated"},
             [](Config& c, size_t i) {
               constexpr RetentionPolicy kPolicies[] = {
                   RetentionPolicy::kAcked, RetentionPolicy::kLimits, RetentionPolicy::kTruncated};
               c.broker.retention.policy = kPolicies[i];
             }),
      "Which pages the rules for time, size and count, and a disk that runs full, may take. acked: "
      "those that every subscription has acknowledged, and every page of a channel without "
      "subscriptions. limits: every page, read or not. truncated: none, only a truncation frees "
      "space. Truncated messages go under each of them. A channel can have its own."));
  keys->push_back(Row(
      "retention.maxMsgs", "-1",
      Integer(-1, kMaxInteger, "messages per channel, or -1 for off",
              [](Config& c, int64_t v) { c.broker.retention.max_messages = v; }),
      "The count rule: the oldest page goes when its channel holds more messages than this without "
      "it, and retention.policy lets it go. A channel can have its own."));
  keys->push_back(Row(
      "retention.truncateGrace", "0",
      Duration(Micros{0}, Micros{0}, 3650 * kDay,
               [](Config& c, Micros v) { c.broker.retention.truncate_grace = v.count(); }),
      "How long truncated messages keep their place on disk. Readers do not see them any more in "
      "either case. It counts from the last truncation of the channel, each one begins it anew: "
      "where truncations are frequent it has to be shorter than the time between two of them."));
  keys->push_back(Row(
      "retention.subscriptionExpiry", "off", Expiry(),
      "A subscription that nobody was attached to and that was neither acknowledged nor sought for "
      "this long no longer holds pages back under policy acked. It stays, and counts again as soon "
      "as it is used; what went meanwhile is told to its consumer as a TRIMMED gap."));
}

void AddDurability(std::vector<ConfigKey>* keys) {
  keys->push_back(Row(
      "durability.sync", "always",
      Choice({"always", "interval", "none"},
             [](Config& c, size_t i) {
               constexpr SyncPolicy kPolicies[] = {SyncPolicy::kAlways, SyncPolicy::kInterval,
                                                   SyncPolicy::kNone};
               c.broker.sync = c.store.sync = kPolicies[i];
             }),
      "When an append counts as acknowledged. always: after the sync that covers it, so that it "
      "survives a power cut. interval: after the write, synced every syncInterval; it survives a "
      "killed process, and a power cut may take the last interval. none: after the write, synced "
      "when the operating system likes."));
  keys->push_back(Row("durability.syncInterval", "10ms",
                      Duration(Micros{0}, kMillisecond, 60 * kSecond,
                               [](Config& c, Micros v) { c.broker.sync_interval = v; }),
                      "How often the log is synced with sync: interval."));
}

void AddProducers(std::vector<ConfigKey>* keys) {
  keys->push_back(Row(
      "producers.expiry", "7d",
      Duration(Micros{0}, Micros{0}, 3650 * kDay,
               [](Config& c, Micros v) { c.broker.producer_expiry = v; }),
      "A named producer that nobody had open and that appended nothing for this long is forgotten: "
      "its term, and which of its batches were stored. Its name then starts over, with sequence 1. "
      "It has to be longer than a program that wants to go on with its sequences may be away. The "
      "terms of exclusive producers are kept for good. 0 keeps all for ever."));
}

void AddLimits(std::vector<ConfigKey>* keys) {
  keys->push_back(
      Row("limits.maxPayload", "16777216",
          Bytes(kKiB, 256 * kMiB, [](Config& c, uint64_t v) { c.broker.limits.max_payload = v; }),
          "The largest message, payload and properties together. A batch may have 64KiB "
          "more than this."));
  keys->push_back(
      Row("limits.maxPending", "67108864",
          Bytes(64 * kKiB, kTiB, [](Config& c, uint64_t v) { c.server.max_pending = v; }),
          "Bytes that one Produce stream may have unacknowledged before the server stops "
          "reading it."));
  keys->push_back(
      Row("limits.maxPendingTotal", "67108864",
          Bytes(64 * kKiB, kTiB, [](Config& c, uint64_t v) { c.broker.max_pending_total = v; }),
          "The same of all appends together. Streams wait beyond it, single appends are "
          "refused with BACK_PRESSURE. It is the largest part of the server's memory at "
          "full load."));
  keys->push_back(Row(
      "limits.maxConnections", "4096",
      Integer(1, 60'000, "connections, 1 to 60000",
              [](Config& c, int64_t v) { c.server.max_connections = static_cast<uint64_t>(v); }),
      "Connections open at a time, on the TCP address and on the Unix socket each. Further ones "
      "are "
      "told so and closed. It is lowered at the start where fewer files may be open: half of them "
      "are the store's. An idle connection takes about 20 KB."));
  keys->push_back(Row(
      "limits.maxStreams", "32768",
      Integer(1, 10'000'000, "streams, 1 to 10000000",
              [](Config& c, int64_t v) { c.server.max_streams = static_cast<uint64_t>(v); }),
      "Produce and Consume streams, and fetches, open at a time, of all connections together: one "
      "for each producer, reader or consumer. Further ones are refused with BACK_PRESSURE. An idle "
      "one takes about 20 KB."));
  keys->push_back(
      Row("limits.maxStreamsPerConnection", "16384",
          Integer(1, 1'000'000, "streams, 1 to 1000000",
                  [](Config& c, int64_t v) {
                    c.server.max_streams_per_connection = static_cast<uint64_t>(v);
                  }),
          "The same of one connection, which is one client. A connection that opens calls "
          "regardless, of whatever kind, is cut off 256 above it."));
  keys->push_back(Row(
      "limits.maxUnfinished", "1GiB",
      Bytes(16 * kMiB, kTiB, [](Config& c, uint64_t v) { c.server.max_unfinished = v; }),
      "Memory for messages that have begun to arrive and are not complete, of all connections. "
      "One may have as much of it as is free, so a single one half; a connection beyond that is "
      "cut off, unless it has no more than 64KiB. Ordinary clients need some MiB."));
  keys->push_back(Row(
      "limits.maxFileStore", "0", FileStore(),
      "The most that everything in the store's directory may take on disk, the log and files that "
      "wait for their deletion included. 0 is what the store holds at the start and 80 % of what "
      "is free then. Above 85 % of it, or less of a small one, the oldest pages that "
      "retention.policy lets go are removed early. Two write buffers and one stratum before its "
      "end appends are refused with DISK_FULL, and accepted again 5 % below that; everything else "
      "goes on. A small one makes pages, strata and the write buffer smaller: none is above a "
      "sixteenth of it."));
  keys->push_back(
      Row("limits.tailCache", "32MiB",
          Bytes(0, kTiB, [](Config& c, uint64_t v) { c.broker.tail_cache = v; }),
          "Memory for the newest batches. Readers that keep up are served from it, others "
          "read from disk."));
  keys->push_back(
      Row("limits.writeBuffer", "64MiB",
          Bytes(kMiB, 64 * kGiB, [](Config& c, uint64_t v) { c.store.write_buffer = v; }),
          "Memory for messages that are in the log but not yet in a table file. The log "
          "holds at most four times as much on disk, and twice as much of limits.maxFileStore is "
          "kept free from appends, for making room."));
}

void AddStorage(std::vector<ConfigKey>* keys) {
  keys->push_back(
      Row("storage.mmapReads", "false", Bool([](Config& c, bool v) { c.store.mmap_reads = v; }),
          "Read table files through a memory mapping instead of pread (allow_mmap_reads of "
          "RocksDB). Checksums are verified as without it, and what is read is copied out. But "
          "where the disk cannot read a mapped page, or another program shortens a file of the "
          "store, the kernel ends the process with SIGBUS instead of readers getting an error or a "
          "CORRUPT gap; and mapped pages count as resident memory of the process."));
}

void AddServer(std::vector<ConfigKey>* keys) {
  keys->push_back(
      Row("server.address", "127.0.0.1",
          Address([](Config& c, std::string v) { c.server.address = std::move(v); }),
          "Where gRPC is served over TCP. Beyond this machine only with server.insecure; "
          "none serves the Unix socket alone."));
  keys->push_back(Row("server.port", "7470",
                      Port([](Config& c, int64_t v) { c.server.port = static_cast<int>(v); }),
                      "Its port."));
  keys->push_back(Row("server.unixSocket", "none",
                      Path("a path, or none", "none", sizeof(sockaddr_un::sun_path) - 1,
                           [](Config& c, std::string v) { c.server.unix_socket = std::move(v); }),
                      "A Unix socket to serve gRPC on as well: faster than TCP, and its folder's "
                      "permissions say who may connect."));
  keys->push_back(Row(
      "server.initializeTimeout", "4000",
      Duration(kMillisecond, Micros{0}, 3600 * kSecond,
               [](Config& c, Micros v) {
                 c.store.lock_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(v);
               }),
      "How long to wait at start for another process that still has the store open."));
  keys->push_back(
      Row("server.keepalive", "10s",
          Duration(Micros{0}, kSecond, 3600 * kSecond,
                   [](Config& c, Micros v) {
                     c.server.keepalive = std::chrono::duration_cast<std::chrono::milliseconds>(v);
                   }),
          "A connection that was silent for half of this is asked for a sign of life, and "
          "given up when none came by the end of it. Then its subscriptions are free."));
  keys->push_back(Row(
      "server.greetingTimeout", "5s",
      Duration(Micros{0}, 10 * kMillisecond, 3600 * kSecond,
               [](Config& c, Micros v) {
                 c.server.greeting_timeout =
                     std::chrono::duration_cast<std::chrono::milliseconds>(v);
               }),
      "A new connection that has not begun to speak HTTP/2 by then is closed. 1,024 may wait for "
      "that at a time (fewer where few files may be open); the oldest make way for new ones."));
  keys->push_back(
      Row("server.insecure", "false", Bool([](Config& c, bool v) { c.server.insecure = v; }),
          "Serve an address beyond this machine although this version has neither TLS nor "
          "authentication: everyone who reaches the port may read, write and delete."));
}

void AddMonitor(std::vector<ConfigKey>* keys) {
  keys->push_back(Row("http.address", "127.0.0.1",
                      Address([](Config& c, std::string v) { c.http.address = std::move(v); }),
                      "Where /healthz, /readyz and /metrics are served; none turns them off."));
  keys->push_back(Row("http.port", "7471",
                      Port([](Config& c, int64_t v) { c.http.port = static_cast<int>(v); }),
                      "Its port."));
  keys->push_back(Row("monitor.trace", "false",
                      Bool([](Config& c, bool v) { c.monitor.trace = v; }),
                      "Log every request. For short times only."));
  keys->push_back(Row("monitor.debug", "false",
                      Bool([](Config& c, bool v) { c.monitor.debug = v; }),
                      "Log connections and maintenance steps."));
  keys->push_back(
      Row("monitor.logTime", "true", Bool([](Config& c, bool v) { c.monitor.log_time = v; }),
          "Begin each line with the time. Turn it off where the journal adds its own."));
  keys->push_back(Row("monitor.logFile", "stderr",
                      Path("a path, or stderr", "stderr", 4096,
                           [](Config& c, std::string v) { c.monitor.log_file = std::move(v); }),
                      "Where the log goes."));
  keys->push_back(
      Row("monitor.logSizeLimit", "512MiB",
          Bytes(64 * kKiB, kTiB, [](Config& c, uint64_t v) { c.monitor.log_size_limit = v; }),
          "A log file of this size is put aside as FILE.1, replacing the one before, and "
          "a new one begun."));
}

}  // namespace

const std::vector<ConfigSection>& ConfigSections() {
  static const std::vector<ConfigSection> sections = {
      {"rocksmq",
       "The store. The names are those of Milvus; the rocksmq section of a milvus.yaml works here "
       "as "
       "it is."},
      {"retention", "Which old messages may go. docs/retention.md explains it with examples."},
      {"durability", "What an acknowledgement promises."},
      {"producers", "What is remembered of named producers."},
      {"limits", "Sizes, and how much memory and disk is used."},
      {"storage", "How the store uses its files."},
      {"server", "How clients reach it."},
      {"http", "Health for orchestrators and load balancers, and metrics for Prometheus."},
      {"monitor", "The log."},
  };
  return sections;
}

const std::vector<ConfigKey>& ConfigKeys() {
  static const std::vector<ConfigKey> keys = [] {
    std::vector<ConfigKey> all;
    AddRocksmq(&all);
    AddRetention(&all);
    AddDurability(&all);
    AddProducers(&all);
    AddLimits(&all);
    AddStorage(&all);
    AddServer(&all);
    AddMonitor(&all);
    for (ConfigKey& key : all) {
      key.reloads =
          std::find(std::begin(kReloaded), std::end(kReloaded), key.name) != std::end(kReloaded);
    }
    return all;
  }();
  return keys;
}

}  // namespace strata::broker
