// Metrics as a scraper sees them: over a broker on a store in memory, whose time stands still.
#include "server/metrics.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "base/batch.h"
#include "broker/broker.h"
#include "client/testing/memory_store.h"
#include "tests/server/http_get.h"
#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"

namespace strata::server {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;
using testing::HttpAnswer;
using testing::HttpGet;
using testing::MemoryStore;
using testing::ServerFixture;

// Every sample of a text: "name{labels}" -> value.
std::map<std::string, double> Samples(const std::string& text) {
  std::map<std::string, double> samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t blank = line.rfind(' ');
    if (line.empty() || line[0] == '#' || blank == std::string::npos) continue;
    samples[line.substr(0, blank)] = std::stod(line.substr(blank + 1));
  }
  return samples;
}

class Place {
 public:
  explicit Place(const retention::Rules& rules = {}, size_t max_channels = Metrics::kMaxChannels)
      : metrics_(max_channels) {
    auto store = std::make_unique<MemoryStore>();
    store_ = store.get();
    broker::BrokerOptions options;
    options.clock = &clock_;
    options.retention = rules;
    options.sweeper.threads = false;
    const storage::Recovered recovered = store->Recover();
    broker_ = std::make_shared<broker::Broker>(options, std::move(store), recovered);
    metrics_.Serve(broker_);
  }
  ~Place() { broker_->Close(); }

  void Append(const std::string& channel, size_t bytes) {
    REQUIRE(broker_->OpenChannel(channel, true).ok());
    BatchBuilder batch;
    batch.Add(std::string(bytes, 'x'));
    REQUIRE(broker_->Append({channel, batch.Take()}).ok());
  }

  std::map<std::string, double> Read() const { return Samples(metrics_.Text()); }

  ManualClock& clock() { return clock_; }
  MemoryStore& store() { return *store_; }
  broker::Broker& broker() { return *broker_; }
  Metrics& metrics() { return metrics_; }

 private:
  ManualClock clock_;
  MemoryStore* store_ = nullptr;  // the broker's
  std::shared_ptr<broker::Broker> broker_;
  Metrics metrics_;
};

TEST_CASE("/metrics is served as Prometheus' text, and nothing else is") {
  ServerFixture f({"http.address=127.0.0.1"});
  f.CreateChannel("logs");
  const std::string address = f.server().http_address();
  const std::string answer = HttpAnswer(address, "GET", "/metrics");
  CHECK(answer.find("HTTP/1.1 200 OK\r\n") == 0);
  CHECK(answer.find("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n") !=
        std::string::npos);
  CHECK(answer.find("strata_channel_next_id{channel=\"logs\"} 1\n") != std::string::npos);
  const std::string head = HttpAnswer(address, "HEAD", "/metrics");
  CHECK(head.find("HTTP/1.1 200 OK\r\n") == 0);
  CHECK(head.find("strata_") == std::string::npos);
  for (const char* path : {"/", "/metric", "/metricsx", "/metrics/x", "/x/metrics/"}) {
    INFO(path);
    CHECK(HttpGet(address, path).substr(0, 3) == "404");
  }
  CHECK(HttpGet(address, "/healthz") == "200 ok\n");
}

constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz_";

// "# HELP strata_x text", "# TYPE strata_x gauge"
bool IsComment(const std::string& line) {
  if (line.starts_with("# HELP strata_")) return line.find('\\') == std::string::npos;
  return line.starts_with("# TYPE strata_") &&
         (line.ends_with(" gauge") || line.ends_with(" counter"));
}

// "strata_x 1" or "strata_x{label="value",...} 1"
bool IsSample(const std::string& line) {
  if (!line.starts_with("strata_")) return false;
  size_t at = line.find_first_not_of(kNameCharacters);
  if (at == std::string::npos) return false;
  if (line[at] == '{') {
    const size_t end = line.find('}', at);
    if (end == std::string::npos || line.find('\\') != std::string::npos) return false;
    at = end + 1;
  }
  if (line[at] != ' ') return false;
  const char* number = line.c_str() + at + 1;
  char* end = nullptr;
  std::strtod(number, &end);
  return end != number && *end == '\0';
}

TEST_CASE("every line is a comment or a sample, and every family has its help and type once") {
  Place place;
  place.Append("a-b.c_1", 10);
  std::istringstream lines(place.metrics().Text());
  std::set<std::string> families;
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK(IsComment(line) != IsSample(line));
    if (line.rfind("# TYPE ", 0) == 0) CHECK(families.insert(line).second);
  }
  CHECK(families.size() > 30);
}

TEST_CASE("what ends in _total is a counter, and nothing else is") {
  Place place;
  for (const MetricFamily& family : place.metrics().Collect()) {
    INFO(family.name);
    const bool total =
        family.name.size() > 6 && family.name.rfind("_total") == family.name.size() - 6;
    CHECK((family.type == MetricType::Counter) == total);
    CHECK_FALSE(family.metric.empty());
  }
}

TEST_CASE("appends show at the next scrape") {
  Place place;
  place.Append("a", 100);
  const auto before = place.Read();
  CHECK(before.at("strata_appended_messages_total") == 1);
  place.Append("a", 100);
  place.Append("a", 100);
  const auto after = place.Read();
  CHECK(after.at("strata_appended_messages_total") == 3);
  CHECK(after.at("strata_appended_batches_total") == 3);
  CHECK(after.at("strata_appended_bytes_total") == 3 * before.at("strata_appended_bytes_total"));
  CHECK(after.at("strata_groups_total") > before.at("strata_groups_total"));
  CHECK(after.at("strata_syncs_total") > before.at("strata_syncs_total"));
  CHECK(after.at("strata_channel_next_id{channel=\"a\"}") == 4);
  CHECK(after.at("strata_channel_pages{channel=\"a\"}") == 3);
  CHECK(after.at("strata_channel_bytes{channel=\"a\"}") >= 300);
  CHECK(after.at("strata_pending_bytes") == 0);
  CHECK(after.at("strata_channels") == 1);
}

TEST_CASE("a truncation moves the first available id") {
  Place place;
  for (int i = 0; i < 3; ++i) place.Append("a", 10);
  CHECK(place.Read().at("strata_channel_first_available_id{channel=\"a\"}") == 1);
  REQUIRE(place.broker().TruncateChannel("a", 2).ok());
  CHECK(place.Read().at("strata_channel_first_available_id{channel=\"a\"}") == 3);
}

TEST_CASE("readers and subscriptions are counted") {
  Place place;
  place.Append("a", 10);
  REQUIRE(place.broker().CreateSubscription("a", "s", StartPosition::Earliest()).ok());
  const auto reader = place.broker().OpenReader("a", StartPosition::Earliest());
  REQUIRE(reader.ok());
  const auto samples = place.Read();
  CHECK(samples.at("strata_readers") == 1);
  CHECK(samples.at("strata_subscriptions") == 1);
}

TEST_CASE("the oldest page has an age, and a channel without pages has none") {
  Place place;
  place.Append("a", 10);
  place.clock().Advance(std::chrono::milliseconds(90'500));
  REQUIRE(place.broker().CreateChannel("empty", {}).ok());
  const auto samples = place.Read();
  CHECK(samples.at("strata_channel_oldest_page_age_seconds{channel=\"a\"}") == 90.5);
  CHECK(samples.at("strata_channel_pages{channel=\"empty\"}") == 0);
  CHECK(samples.count("strata_channel_oldest_page_age_seconds{channel=\"empty\"}") == 0);
  place.clock().SetWall(1);
  CHECK(place.Read().at("strata_channel_oldest_page_age_seconds{channel=\"a\"}") == 0);
}

TEST_CASE("what keeps the oldest page is told, with the subscription if it is one") {
  {
    Place place;
    place.Append("a", 10);
    CHECK(place.Read().count("strata_channel_oldest_page_held{channel=\"a\",by=\"no_rule\"}") == 1);
  }
  {
    Place place({.policy = RetentionPolicy::kTruncated});
    place.Append("a", 10);
    CHECK(place.Read().count("strata_channel_oldest_page_held{channel=\"a\",by=\"policy\"}") == 1);
  }
  {
    Place place({.retention_time = 60'000'000});
    place.Append("a", 10);
    REQUIRE(place.broker().CreateSubscription("a", "dead", StartPosition::Earliest()).ok());
    CHECK(place.Read().count("strata_channel_oldest_page_held{channel=\"a\",by=\"rules\"}") == 1);
    place.clock().Advance(std::chrono::minutes(2));
    CHECK(place.Read().at("strata_channel_oldest_page_held{channel=\"a\",by=\"subscription\","
                          "subscription=\"dead\"}") == 1);
    REQUIRE(place.broker().Acknowledge("a", "dead", 1).ok());
    CHECK(place.Read().count("strata_channel_oldest_page_held{channel=\"a\",by=\"sweep\"}") == 1);
  }
}

TEST_CASE("only the largest channels have series of their own, and the others are counted") {
  Place place({}, 2);
  place.Append("small", 10);
  place.Append("large", 3000);
  place.Append("medium", 1000);
  place.Append("tiny", 1);
  const auto samples = place.Read();
  for (const char* family :
       {"strata_channel_pages", "strata_channel_bytes", "strata_channel_first_available_id",
        "strata_channel_next_id", "strata_channel_oldest_page_age_seconds"}) {
    INFO(family);
    const std::string name = family;
    CHECK(samples.count(name + "{channel=\"large\"}") == 1);
    CHECK(samples.count(name + "{channel=\"medium\"}") == 1);
    CHECK(samples.count(name + "{channel=\"small\"}") == 0);
    CHECK(samples.count(name + "{channel=\"tiny\"}") == 0);
  }
  CHECK(samples.at("strata_channels_left_out") == 2);
  CHECK(samples.at("strata_channels") == 4);
}

TEST_CASE(
    "one state of the disk budget is 1 and the others are 0, and without one it has no marks") {
  Place place;
  const auto samples = place.Read();
  CHECK(samples.at("strata_space_state{state=\"normal\"}") == 1);
  CHECK(samples.at("strata_space_state{state=\"pressure\"}") == 0);
  CHECK(samples.at("strata_space_state{state=\"full\"}") == 0);
  CHECK(samples.count("strata_disk_budget_bytes") == 0);
  CHECK(samples.count("strata_disk_used_bytes") == 1);
}

TEST_CASE("a fail-stop shows, and the other metrics go on") {
  Place place;
  place.Append("a", 10);
  CHECK(place.Read().at("strata_fail_stop") == 0);
  place.store().FailNextSync();
  BatchBuilder batch;
  batch.Add("x");
  CHECK_FALSE(place.broker().Append({"a", batch.Take()}).ok());
  const auto samples = place.Read();
  CHECK(samples.at("strata_fail_stop") == 1);
  CHECK(samples.at("strata_appended_messages_total") == 1);
}

TEST_CASE("without a broker only the version is told") {
  Place place;
  CHECK(place.Read().size() > 1);
  place.metrics().Stop();
  const auto samples = place.Read();
  CHECK(samples.size() == 1);
  CHECK(samples.at("strata_build_info{version=\"" STRATA_VERSION "\"}") == 1);
}

TEST_CASE("a broker that is closed leaves the metrics without channels") {
  Place place;
  place.Append("a", 10);
  place.broker().Close();
  const auto samples = place.Read();
  CHECK(samples.at("strata_appended_messages_total") == 1);
  CHECK(samples.count("strata_channel_pages{channel=\"a\"}") == 0);
}

}  // namespace
}  // namespace strata::server
