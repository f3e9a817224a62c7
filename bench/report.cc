#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include "bench/support.h"
#include "bench/system.h"

namespace strata::bench {
namespace {

struct Column {
  const char* title;
  const char* key;  // in JSON; nullptr: in the table only
  std::optional<double> Row::*value;
  int decimals;
};

constexpr Column kColumns[] = {
    {"s/op", "s_per_op", &Row::s_per_op, 4},
    {"MB/s", "mb_per_s", &Row::mb_per_s, 1},
    {"msg/s", "msg_per_s", &Row::msg_per_s, 0},
    {"CPU s/op", "cpu_s_per_op", &Row::cpu_s_per_op, 3},
    {"broker MB", "broker_rss_mb", &Row::broker_rss_mb, 0},
    {"client MB", nullptr, &Row::client_rss_mb, 0},
    {"stored/payload", "stored_per_payload", &Row::stored_per_payload, 3},
    {"p50 us", "p50_us", &Row::p50_us, 1},
    {"p99 us", "p99_us", &Row::p99_us, 1},
    {"p99.9 us", "p999_us", &Row::p999_us, 1},
    {"max us", nullptr, &Row::max_us, 1},
    {"% of ceiling", "percent_of_ceiling", &Row::percent_of_ceiling, 0},
};

using Line = std::vector<std::string>;

void PrintLines(const std::vector<Line>& lines) {
  std::vector<size_t> widths(lines.front().size());
  for (const Line& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  for (size_t row = 0; row < lines.size(); ++row) {
    for (size_t i = 0; i < widths.size(); ++i) fmt::print("| {:<{}} ", lines[row][i], widths[i]);
    fmt::print("|\n");
    if (row > 0) continue;
    for (const size_t width : widths) fmt::print("|{:-<{}}", "", width + 2);
    fmt::print("|\n");
  }
}

}  // namespace

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

void Report::Add(Row row) { rows_.push_back(std::move(row)); }

void Report::AddVersion(const System& system) {
  versions_.insert(system.name() + " " + system.version());
}

void Report::PrintTable() const {
  if (rows_.empty()) return;
  std::vector<const Column*> used;
  for (const Column& column : kColumns) {
    const auto has = [&](const Row& row) { return (row.*column.value).has_value(); };
    if (std::any_of(rows_.begin(), rows_.end(), has)) used.push_back(&column);
  }
  std::vector<Line> lines = {{"workload", "row", "system", "mode", "sync", "data"}};
  for (const Column* column : used) lines[0].emplace_back(column->title);
  for (const Row& row : rows_) {
    Line line = {row.workload, row.row, row.system, row.mode, row.sync, row.data};
    for (const Column* column : used) {
      const auto& value = row.*column->value;
      line.push_back(value ? fmt::format("{:.{}f}", *value, column->decimals) : "");
    }
    lines.push_back(std::move(line));
  }
  PrintLines(lines);
}

void Report::PrintRatios() const {
  std::vector<Line> lines = {
      {"workload", "row", "data", "Strata", "against", "time", "CPU", "memory"}};
  const auto ratio = [](const std::optional<double>& a, const std::optional<double>& b) {
    return a && b && *b > 0 ? fmt::format("{:.2f} x", *a / *b) : std::string();
  };
  for (const Row& strata : rows_) {
    if (strata.system != "strata") continue;
    for (const Row& peer : rows_) {
      if (peer.system == "strata" || peer.workload != strata.workload || peer.row != strata.row ||
          peer.data != strata.data) {
        continue;
      }
      const bool timed = strata.s_per_op.has_value();
      lines.push_back(
          {strata.workload, strata.row, strata.data, strata.mode + " " + strata.sync,
           peer.system + " " + peer.sync,
           timed ? ratio(strata.s_per_op, peer.s_per_op) : ratio(strata.p50_us, peer.p50_us),
           ratio(strata.cpu_s_per_op, peer.cpu_s_per_op),
           ratio(strata.broker_rss_mb, peer.broker_rss_mb)});
    }
  }
  if (lines.size() > 1) PrintLines(lines);
}

void Report::WriteJson(const std::string& file) const {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const Row& row : rows_) {
    nlohmann::ordered_json object = {{"workload", row.workload}, {"row", row.row},
                                     {"system", row.system},     {"mode", row.mode},
                                     {"sync", row.sync},         {"data", row.data}};
    for (const Column& column : kColumns) {
      if (column.key == nullptr) continue;
      const auto& value = row.*column.value;
      object[column.key] = value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
    }
    array.push_back(std::move(object));
  }
  std::ofstream out(file);
  out << array.dump(2) << "\n";
  out.flush();
  if (!out.good()) Die("cannot write " + file);
}

}  // namespace strata::bench
