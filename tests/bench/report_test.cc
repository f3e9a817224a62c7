// bench/report.h: the median, and the JSON that others compare.
#include "bench/report.h"

#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::bench {
namespace {

using nlohmann::ordered_json;
using testing::TempDir;

ordered_json Written(const Report& report) {
  const TempDir dir;
  const std::string file = dir / "report.json";
  report.WriteJson(file);
  std::ifstream in(file);
  return ordered_json::parse(in);
}

Row Named(const char* workload, const char* system) {
  Row row;
  row.workload = workload;
  row.system = system;
  return row;
}

TEST_CASE("The median is the one in the middle, the lower of two") {
  CHECK(Median({3}) == 3);
  CHECK(Median({9, 1, 5}) == 5);
  CHECK(Median({4, 1, 3, 2}) == 2);
  CHECK(Median({2, 2, 100}) == 2);
}

TEST_CASE("A report as JSON has exactly the keys that were promised, in that order") {
  Report report;
  report.Add(Named("seeds", "strata"));
  const ordered_json array = Written(report);
  REQUIRE(array.size() == 1);
  std::vector<std::string> keys;
  for (const auto& [key, value] : array[0].items()) keys.push_back(key);
  CHECK(keys == std::vector<std::string>{"workload", "row", "system", "mode", "sync", "data",
                                         "s_per_op", "mb_per_s", "msg_per_s", "cpu_s_per_op",
                                         "broker_rss_mb", "stored_per_payload", "p50_us", "p99_us",
                                         "p999_us", "percent_of_ceiling"});
}

TEST_CASE("What does not apply is null in JSON, what does is a number") {
  Report report;
  Row row = Named("latency", "nats");
  row.p50_us = 812.5;
  row.max_us = 17'000;
  report.Add(row);
  const ordered_json object = Written(report)[0];
  CHECK(object["system"] == "nats");
  CHECK(object["p50_us"] == 812.5);
  for (const char* key : {"s_per_op", "mb_per_s", "msg_per_s", "cpu_s_per_op", "broker_rss_mb",
                          "stored_per_payload", "p99_us", "p999_us", "percent_of_ceiling"}) {
    INFO(key);
    CHECK(object[key].is_null());
  }
}

TEST_CASE("A report without rows is an empty array") { CHECK(Written(Report()).empty()); }

}  // namespace
}  // namespace strata::bench
