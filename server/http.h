// HttpServer: /healthz and /readyz for orchestrators and load balancers, /metrics for Prometheus.
//
//   /healthz  200 while the process can answer
//   /readyz   200 while appends are accepted; 503 while opening, after a fail-stop, while draining
//   /metrics  200, metrics.h as text; only the version until the store is open
// The body of the first two is one line that says why. Everything else is 404.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "broker/config.h"
#include "server/health.h"
#include "server/metrics.h"

class CivetServer;

namespace strata::server {

class HttpServer {
 public:
  // IO_ERROR if the address cannot be had.
  static Result<std::unique_ptr<HttpServer>> Start(const broker::HttpSettings& settings,
                                                   std::shared_ptr<Health> health,
                                                   std::shared_ptr<const Metrics> metrics);
  ~HttpServer();

  // With the port that was found, if it was to be a free one.
  std::string address() const;

 private:
  class Page;
  HttpServer();

  // The server last, so that its threads end before what they use.
  std::unique_ptr<Page> healthz_;
  std::unique_ptr<Page> readyz_;
  std::unique_ptr<Page> metrics_;
  std::unique_ptr<CivetServer> server_;
  std::string host_;
  int port_ = 0;
};

}  // namespace strata::server
