// Config: what conf/strata.yaml and --set say, checked and in the types of those who act on it.
//
//   auto config = LoadConfig("conf/strata.yaml", {"server.port=-1"});
//   if (!config.ok()) Fail(config.status());   // INVALID_CONFIG, every mistake with its file:line
//
// One table (config_table.h) has every key with its default, its bounds and its documentation; the
// loader, the sample file conf/strata.yaml and its test all come from it. It lives in broker/
// because an embedded broker reads the same file (`embedded:DIR?config=FILE`) and takes `store` and
// `broker` from it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "broker/options.h"
#include "storage/store.h"

namespace strata::broker {

// server.*, and the limits that are the server's business.
struct ServerSettings {
  std::string address;      // an IP address; empty: no TCP
  int port = 0;             // -1: a free one
  std::string unix_socket;  // a path; empty: none
  std::chrono::milliseconds keepalive{0};
  bool insecure = false;     // serve without TLS beyond this machine
  uint64_t max_pending = 0;  // limits.maxPending: bytes unacknowledged per stream
  std::chrono::milliseconds greeting_timeout{0};
  // limits.maxConnections, of each listening socket; maxStreams and maxStreamsPerConnection.
  uint64_t max_connections = 0;
  uint64_t max_streams = 0;
  uint64_t max_streams_per_connection = 0;
  uint64_t max_unfinished = 0;  // limits.maxUnfinished: bytes of messages that are not complete
};

struct HttpSettings {
  std::string address;  // an IP address; empty: no http
  int port = 0;         // -1: a free one
};

struct MonitorSettings {
  bool trace = false;
  bool debug = false;
  bool log_time = false;
  std::string log_file;  // empty: stderr
  uint64_t log_size_limit = 0;
};

struct Config {
  std::map<std::string, std::string> texts;  // of each key, as it was written
  storage::StoreOptions store;
  BrokerOptions broker;
  ServerSettings server;
  HttpSettings http;
  MonitorSettings monitor;
};

// The settings of the YAML file at `path`, or the defaults if `path` is empty; over it those of `environment`
// ("STRATA__SERVER__PORT=7480"; others than STRATA__* are passed over), and over both `overrides`
// ("key=value", the last one of a key counts). INVALID_CONFIG names every mistake, one in each line: where (file:line,
// the variable or the override), the key, the reason, and for an unknown key the nearest known one.
//
// A library has no business with its host's environment, so it counts only if it is given: stratad passes
// ProcessEnvironment().
Result<Config> LoadConfig(const std::string& path, const std::vector<std::string>& overrides,
                          const std::vector<std::string>& environment = {});

// The keys whose values were written otherwise in `after` than in `before`: those that a running daemon takes over, and
// those that count from its next start.
struct ConfigChanges {
  std::vector<std::string> reloaded;
  std::vector<std::string> later;
};
ConfigChanges Compare(const Config& before, const Config& after);

// "NAME=value" of each variable of this process.
std::vector<std::string> ProcessEnvironment();

// The variable of a key: "server.unixSocket" is STRATA__SERVER__UNIXSOCKET.
std::string EnvironmentName(const std::string& name);

// What conf/strata.yaml has to contain: every key with its documentation and default. A test keeps
// the file equal to it.
std::string DefaultConfigFile();

}  // namespace strata::broker
