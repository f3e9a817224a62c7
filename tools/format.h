// Values as people and programs read them: times, sizes, tables, escaped text, JSON.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/api.h"
#include "base/status.h"

namespace strata::tools {

// "2026-11-20T10:00:00.123456Z"; ParseTime reads it back.
std::string FormatTime(TimeMicros time);
// FormatTime, or "never" for 0.
std::string FormatTimeOrNever(TimeMicros time);
// "950 ms", "12.3 s", "4m05s", "3h12m", "12d03h".
std::string FormatDuration(std::chrono::microseconds duration);
// "3d", "1h30m", "0s": exact; ParseDuration reads it back.
std::string FormatSpan(int64_t micros);
// "17 B", "12.3 kB", "1.5 GB": powers of 1,000, as in rates.
std::string FormatBytes(uint64_t bytes);
// "17 B", "1.5 MiB", "256 MiB": powers of 1,024, as limits are set.
std::string FormatSize(uint64_t bytes);
// "1,234,567".
std::string FormatCount(uint64_t count);

// Printable UTF-8 as it is, `\` as `\\`, and \n \r \t \xNN for every byte that is not printable: a
// message can neither break the line nor send a control sequence to the terminal.
std::string EscapeText(std::string_view bytes);
std::string Base64(std::string_view bytes);

// What goes wrong, for standard error:
//   strata: REASON: message (fate)
//     what to do
std::string FormatError(const Status& status);

// Rows under headers, columns aligned and two spaces apart. Columns of numbers are aligned right.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string header;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns);
  // REQUIRES: one cell for each column.
  void Row(std::vector<std::string> cells);
  std::string ToString() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "name:  value" lines, values aligned.
std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields);

// On one line. Text that is not UTF-8 comes with U+FFFD in place of what is not: see Base64.
std::string ToLine(const nlohmann::ordered_json& json);

}  // namespace strata::tools
