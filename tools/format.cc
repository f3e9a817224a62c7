#include "tools/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/utf8.h"

namespace strata::tools {
namespace {

// The length of the printable UTF-8 character at the front of `bytes`; 0 if there is none.
size_t PrintablePrefix(std::string_view bytes) {
  const auto lead = static_cast<unsigned char>(bytes.front());
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (length > bytes.size() || !IsValidUtf8(bytes.substr(0, length))) return 0;
  // U+0080 to U+009F are control characters.
  if (lead == 0xc2 && static_cast<unsigned char>(bytes[1]) < 0xa0) return 0;
  return length;
}

// The number of characters, for aligning; zero-width and double-width ones are not told apart.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

void AppendCell(std::string_view text, size_t width, Table::Align align, bool last,
                std::string* out) {
  const std::string padding(width - Width(text), ' ');
  if (align == Table::Align::kRight) *out += padding;
  *out += text;
  if (last) {
    while (out->ends_with(' ')) out->pop_back();
    *out += '\n';
  } else {
    if (align == Table::Align::kLeft) *out += padding;
    *out += "  ";
  }
}

}  // namespace

std::string FormatTime(TimeMicros time) {
  const std::chrono::sys_time<std::chrono::microseconds> point{std::chrono::microseconds(time)};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss<std::chrono::microseconds> clock(point - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

std::string FormatTimeOrNever(TimeMicros time) { return time == 0 ? "never" : FormatTime(time); }

std::string FormatDuration(std::chrono::microseconds duration) {
  const int64_t seconds = duration.count() / 1'000'000;
  if (seconds < 1) return fmt::format("{} ms", duration.count() / 1'000);
  if (seconds < 60) return fmt::format("{:.1f} s", static_cast<double>(duration.count()) / 1e6);
  if (seconds < 3'600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{}h{:02}m", seconds / 3'600, seconds / 60 % 60);
  return fmt::format("{}d{:02}h", seconds / 86'400, seconds / 3'600 % 24);
}

std::string FormatSpan(int64_t micros) {
  constexpr std::pair<const char*, int64_t> kUnits[] = {{"d", 86'400'000'000}, {"h", 3'600'000'000},
                                                        {"m", 60'000'000},     {"s", 1'000'000},
                                                        {"ms", 1'000},         {"us", 1}};
  std::string text;
  for (const auto& [name, size] : kUnits) {
    if (micros >= size) text += fmt::format("{}{}", micros / size, name);
    micros %= size;
  }
  return text.empty() ? "0s" : text;
}

std::string FormatSize(uint64_t bytes) {
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1'024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes) / 1'024;
  size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (value >= 1'023.95 && unit + 1 < kUnits.size()) {
    value /= 1'024;
    ++unit;
  }
  std::string digits = fmt::format("{:.1f}", value);
  if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
  return fmt::format("{} {}", digits, kUnits[unit]);
}

std::string FormatBytes(uint64_t bytes) {
  if (bytes < 1'000) return fmt::format("{} B", bytes);
  constexpr std::array kUnits = {"kB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(bytes) / 1e3;
  size_t unit = 0;
  // 999.95 would be printed as 1000.0.
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1e3;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string FormatCount(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string EscapeText(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto plain = std::find_if_not(bytes.begin(), bytes.end(),
                                        [](char c) { return c >= 0x20 && c < 0x7f && c != '\\'; });
    out.append(bytes.begin(), plain);
    bytes.remove_prefix(static_cast<size_t>(plain - bytes.begin()));
    if (bytes.empty()) break;

    const char c = bytes.front();
    size_t taken = 1;
    if (c == '\\') {
      out += "\\\\";
    } else if (const size_t printable = PrintablePrefix(bytes)) {
      out += bytes.substr(0, printable);
      taken = printable;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    bytes.remove_prefix(taken);
  }
  return out;
}

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = i; j < i + 3; ++j) {
      group = group << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u);
    }
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += i + 1 < bytes.size() ? kDigits[group >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kDigits[group & 63] : '=';
  }
  return out;
}

std::string FormatError(const Status& status) {
  return fmt::format("strata: {}\n  {}\n", status.ToString(),
                     GetErrorInfo(status.reason()).what_to_do);
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::Row(std::vector<std::string> cells) {
  assert(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::ToString() const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    widths.push_back(Width(columns_[i].header));
    for (const auto& row : rows_) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  const auto append = [&](size_t i, const std::string& text) {
    AppendCell(text, widths[i], columns_[i].align, i + 1 == columns_.size(), &out);
  };
  for (size_t i = 0; i < columns_.size(); ++i) append(i, columns_[i].header);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) append(i, row[i]);
  }
  return out;
}

std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [name, value] : fields) width = std::max(width, Width(name));
  std::string out;
  for (const auto& [name, value] : fields) {
    AppendCell(name + ":", width + 1, Table::Align::kLeft, false, &out);
    out += value + '\n';
  }
  return out;
}

std::string ToLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace strata::tools
