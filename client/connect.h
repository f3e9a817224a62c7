// Getting a Client: the address decides where the broker runs.
//
//   "127.0.0.1:7470", "[::1]:7470", "host.name:7470"   a daemon over TCP
//   "unix:/run/strata/strata.sock"   a daemon over a Unix socket, the path absolute or relative
//   "embedded:/var/lib/strata"       a broker in this process, on that directory
//   "embedded:DIR?config=FILE"       the same with the settings of a strata.yaml
//
// Link strata_client for the first two (no RocksDB comes with it), strata_embedded for all.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/status.h"
#include "client/client.h"

namespace strata {

struct ClientOptions {
  // How long one attempt of a unary call, and the opening of a stream, may take. What may be asked
  // twice is asked again over a broken connection, for as long; so a call may take nearly twice it.
  std::chrono::milliseconds call_timeout{30'000};
  // How long Connect() waits for the daemon to answer; embedded: server.initializeTimeout of the
  // configuration counts.
  std::chrono::milliseconds connect_timeout{5'000};
  // A connection without any sign of life for this long is given up.
  std::chrono::milliseconds keepalive{10'000};
  // How long a producer, reader or consumer whose connection broke tries to come back, with growing
  // pauses of 50 ms to 2 s; then CONNECTION_LOST is its end. It counts from each break, of a reader
  // or consumer from the receive that finds it. 0: it does not try.
  std::chrono::milliseconds reconnect_timeout = std::chrono::minutes(2);
  // Where the library logs; nowhere without it.
  LogSink log = {};
  LogLevel log_level = LogLevel::kWarning;
};

// A daemon over gRPC. Checks that it answers (GetServerInfo) before it returns: CONNECTION_LOST
// otherwise, with the address and the reason. INVALID_ARGUMENT for an address of another form,
// "embedded:" included.
Result<std::unique_ptr<Client>> ConnectRemote(const std::string& address,
                                              const ClientOptions& options = {});

// A broker in this process on `directory`, created if missing. Two clients on one directory in one
// process share one broker, which closes with the last of them. `config` is a strata.yaml, or empty
// for the defaults. Errors are those of opening a store (FOREIGN_DIRECTORY, STORE_LOCKED, ...) and
// INVALID_CONFIG.
Result<std::unique_ptr<Client>> ConnectEmbedded(const std::string& directory,
                                                const std::string& config = "",
                                                const ClientOptions& options = {});

// Any address. Needs strata_embedded.
Result<std::unique_ptr<Client>> Connect(const std::string& address,
                                        const ClientOptions& options = {});

}  // namespace strata
