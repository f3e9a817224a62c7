#include "server/http.h"

#include <CivetServer.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "server/listen.h"

namespace strata::server {

class HttpServer::Page final : public CivetHandler {
 public:
  explicit Page(std::function<Health::Readiness()> say) : say_(std::move(say)) {}

  bool handleGet(CivetServer* /*server*/, mg_connection* connection) override {
    return Answer(connection, true);
  }
  bool handleHead(CivetServer* /*server*/, mg_connection* connection) override {
    return Answer(connection, false);
  }

 private:
  bool Answer(mg_connection* connection, bool body) {
    const Health::Readiness said = say_();
    const std::string text = said.reason + "\n";
    mg_printf(connection,
              "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
              "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
              said.ready ? "200 OK" : "503 Service Unavailable", text.size());
    if (body) mg_write(connection, text.data(), text.size());
    return true;
  }

  const std::function<Health::Readiness()> say_;
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
                                                      std::shared_ptr<Health> health) {
  const int port = settings.port == -1 ? 0 : settings.port;
  STRATA_RETURN_IF_ERROR(ProbeTcp(settings.address, port, "http.port"));
  std::unique_ptr<HttpServer> http(new HttpServer);
  http->healthz_ = std::make_unique<Page>([] { return Health::Readiness{true, "ok"}; });
  http->readyz_ = std::make_unique<Page>([health] { return health->readiness(); });
  // Two threads, because a probe that hangs must not block the next one.
  const std::vector<std::string> options = {
      "listening_ports",    FormatAddress(settings.address, port),
      "num_threads",        "2",
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
  const std::vector<int> ports = http->server_->getListeningPorts();
  http->host_ = settings.address;
  http->port_ = ports.empty() ? port : ports.front();
  return http;
}

}  // namespace strata::server
