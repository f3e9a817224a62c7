// What a workload found, in one form for people (a table, a picture) and programs (JSON).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace strata::bench {

class System;

// One line: one workload's row on one system. What does not apply is left empty.
struct Row {
  std::string workload;  // "seeds", "latency", ...
  std::string row;       // "1 KB x 50,000"
  std::string system;    // strata or nats
  std::string mode;      // embedded, tcp, unix
  std::string sync;      // always, interval, none; of NATS: default, always
  std::string data;      // letters or random
  std::optional<double> s_per_op;
  std::optional<double> mb_per_s;  // of payload; MB = 10^6 bytes
  std::optional<double> msg_per_s;
  std::optional<double> cpu_s_per_op;        // broker and client together
  std::optional<double> broker_rss_mb;       // peak; of this process when embedded
  std::optional<double> client_rss_mb;       // peak; in the table only
  std::optional<double> stored_per_payload;  // du of the directory
  std::optional<double> p50_us;
  std::optional<double> p99_us;
  std::optional<double> p999_us;
  std::optional<double> max_us;  // in the table only
  std::optional<double> percent_of_ceiling;
};

// The median; of an even number, the lower of the two in the middle. REQUIRES: not empty.
double Median(std::vector<double> values);

class Report {
 public:
  void Add(Row row);
  const std::vector<Row>& rows() const { return rows_; }
  // Of each system once: "nats 2.9.10".
  void AddVersion(const System& system);
  const std::set<std::string>& versions() const { return versions_; }

  // To standard output: columns that no row fills are left out.
  void PrintTable() const;
  // For each row of another system, Strata's s_per_op (or p50, or MB/s) as a ratio to it.
  void PrintRatios() const;
  // An array of objects with the keys of Row but for those "in the table only"; null where it does
  // not apply.
  void WriteJson(const std::string& file) const;

 private:
  std::vector<Row> rows_;
  std::set<std::string> versions_;
};

}  // namespace strata::bench
