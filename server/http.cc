#include "server/http.h"

#include <CivetServer.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/listen.h"

namespace strata::server {
namespace {

struct Answer {
  bool ok = true;
  std::string body;
};

constexpr char kPlainText[] = "text/plain; charset=utf-8";
// Prometheus tells its formats apart by this.
constexpr char kMetricsText[] = "text/plain; version=0.0.4; charset=utf-8";

Answer FromReadiness(const Health::Readiness& said) { return {said.ready, said.reason + "\n"}; }

}  // namespace

class HttpServer::Page final : public CivetHandler {
 public:
  Page(const char* content_type, std::function<Answer()> say)
      : content_type_(content_type), say_(std::move(say)) {}

  bool handleGet(CivetServer* /*server*/, mg_connection* connection) override {
    return Respond(connection, true);
  }
  bool handleHead(CivetServer* /*server*/, mg_connection* connection) override {
    return Respond(connection, false);
  }

 private:
  bool Respond(mg_connection* connection, bool body) {
    const Answer said = say_();
    mg_printf(connection,
              "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
              "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
              said.ok ? "200 OK" : "503 Service Unavailable", content_type_, said.body.size());
    if (body) mg_write(connection, said.body.data(), said.body.size());
    return true;
  }

  const char* const content_type_;
  const std::function<Answer()> say_;
};

HttpServer::HttpServer() = default;

HttpServer::~HttpServer() {
  if (!server_) return;
  // civetweb's acceptor looks whether it is to stop only every two seconds, or when somebody
  // connects.
  std::atomic<bool> stopped{false};
  std::thread knocking([this, &stopped] {
    while (!stopped) {
      Knock(host_, port_);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  server_.reset();
  stopped = true;
  knocking.join();
}

std::string HttpServer::address() const { return FormatAddress(host_, port_); }

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const broker::HttpSettings& settings,
                                                      std::shared_ptr<Health> health,
                                                      std::shared_ptr<const Metrics> metrics) {
  const int port = settings.port == -1 ? 0 : settings.port;
  STRATA_RETURN_IF_ERROR(ProbeTcp(settings.address, port, "http.port"));
  std::unique_ptr<HttpServer> http(new HttpServer);
  http->healthz_ = std::make_unique<Page>(kPlainText, [] { return Answer{true, "ok\n"}; });
  http->readyz_ =
      std::make_unique<Page>(kPlainText, [health] { return FromReadiness(health->readiness()); });
  http->metrics_ = std::make_unique<Page>(kMetricsText, [metrics] {
    return Answer{true, metrics->Text()};
  });
  // Three threads, because neither a probe that hangs nor a scrape must block the next probe.
  const std::vector<std::string> options = {
      "listening_ports",    FormatAddress(settings.address, port),
      "num_threads",        "3",
      "request_timeout_ms", "5000",
  };
  try {
    http->server_ = std::make_unique<CivetServer>(options);
  } catch (const std::exception& e) {
    return Status(Reason::IO_ERROR, "cannot serve http on " +
                                        FormatAddress(settings.address, port) + ": " + e.what());
  }
  http->server_->addHandler("/healthz$", *http->healthz_);
  http->server_->addHandler("/readyz$", *http->readyz_);
  http->server_->addHandler("/metrics$", *http->metrics_);
  const std::vector<int> ports = http->server_->getListeningPorts();
  http->host_ = settings.address;
  http->port_ = ports.empty() ? port : ports.front();
  return http;
}

}  // namespace strata::server
