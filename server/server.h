// Server: a broker on the network. What stratad runs, and what tests run in their own process.
//
//   Server server(config, log);
//   server.StartHttp();                     // optional: /readyz says "opening" until Start
//   Status status = server.Start(broker);
//   ... server.addresses() ...
//   server.Drain(std::chrono::seconds(10));
//   server.Stop();                          // the broker is still open, and its owner's to close
//
// Services: strata.v1.Log and strata.v1.Admin, gRPC health (health.h) and reflection; over http
// health and metrics (http.h).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "broker/broker.h"
#include "broker/config.h"

namespace strata::server {

class Health;
class HttpServer;
class Metrics;

// Thread-safe where it says so; otherwise one thread at a time.
class Server {
 public:
  Server(broker::Config config, Logger log);
  // Calls Stop().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // IO_ERROR: an address cannot be had; the message says which and why. Nothing if http is off.
  Status StartHttp();
  // Serves the broker, which must have been opened with config.broker. StartHttp() if that was not
  // done. IO_ERROR as above; then nothing is served.
  Status Start(std::shared_ptr<broker::Broker> broker);

  // What clients pass to Connect(): "127.0.0.1:7470", "unix:/run/strata/strata.sock".
  const std::vector<std::string>& addresses() const { return addresses_; }
  // "127.0.0.1:7471", or empty if http is off.
  std::string http_address() const;

  // Health says NOT_SERVING, new calls are refused, no further appends are read; waits until every
  // append under way is answered, at most `timeout`, then ends the consumers. Every open stream
  // ends with SHUTTING_DOWN. False if the time was over first.
  bool Drain(std::chrono::milliseconds timeout);
  // Makes Drain() return at once. Any thread, but only while Drain() runs.
  void HurryUp();
  // limits.maxStreams from now on. Any thread, between Start() and Stop().
  void SetStreamLimit(uint64_t most);
  // Drains without waiting, cancels what is left and lets go of the broker. Idempotent.
  void Stop();

  // Any thread.
  Health& health() { return *health_; }

 private:
  struct Grpc;

  const broker::Config config_;
  const Logger log_;
  const std::shared_ptr<Health> health_;
  const std::shared_ptr<Metrics> metrics_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<Grpc> grpc_;
  std::vector<std::string> addresses_;
};

}  // namespace strata::server
