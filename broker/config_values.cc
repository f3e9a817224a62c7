#include "broker/config_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <numeric>

namespace strata::broker {
namespace {

struct Unit {
  std::string_view name;
  uint64_t size;
};

constexpr Unit kByteUnits[] = {
    {"B", 1},
    {"KiB", 1u << 10},
    {"MiB", 1u << 20},
    {"GiB", 1u << 30},
    {"TiB", 1ull << 40},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
};

// In microseconds.
constexpr Unit kTimeUnits[] = {
    {"us", 1},           {"ms", 1000},         {"s", 1'000'000},      {"m", 60'000'000},
    {"min", 60'000'000}, {"h", 3'600'000'000}, {"d", 86'400'000'000},
};

Status Wrong(std::string reason) { return Status(Reason::INVALID_CONFIG, std::move(reason)); }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// The number at the start of `text`, and what follows it. False if there is none that fits.
bool SplitNumber(std::string_view text, uint64_t* number, std::string_view* rest) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  if (error != std::errc()) return false;
  *rest = Trim(text.substr(static_cast<size_t>(end - text.data())));
  return true;
}

// number * unit, or nothing if it does not fit.
bool Multiply(uint64_t number, uint64_t unit, uint64_t* out) {
  return !__builtin_mul_overflow(number, unit, out);
}

template <size_t N>
const Unit* FindUnit(const Unit (&units)[N], std::string_view name) {
  const auto* found = std::find_if(std::begin(units), std::end(units),
                                   [name](const Unit& unit) { return unit.name == name; });
  return found == std::end(units) ? nullptr : found;
}

// How many letters to change, add or drop to get from one to the other (Levenshtein).
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string_view LastPart(std::string_view key) {
  const size_t dot = key.rfind('.');
  return dot == std::string_view::npos ? key : key.substr(dot + 1);
}

}  // namespace

Result<bool> ParseBool(std::string_view text) {
  const std::string word = Lower(Trim(text));
  if (word == "true" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "no" || word == "off") return false;
  return Wrong(fmt::format("'{}' is not true or false", text));
}

Result<int64_t> ParseInteger(std::string_view text, int64_t min, int64_t max) {
  const std::string_view digits = Trim(text);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Wrong(fmt::format("'{}' is not a whole number", text));
  }
  if (value < min || value > max) {
    if (max == std::numeric_limits<int64_t>::max()) {
      return Wrong(fmt::format("{} is out of range, it takes {} or more", value, min));
    }
    return Wrong(fmt::format("{} is out of range, it takes {} to {}", value, min, max));
  }
  return value;
}

Result<double> ParseRatio(std::string_view text, double min, double max) {
  const std::string_view digits = Trim(text);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Wrong(fmt::format("'{}' is not a number as in 0.06", text));
  }
  if (!(value >= min && value <= max)) {
    return Wrong(fmt::format("{} is out of range, it takes {} to {}", value, min, max));
  }
  return value;
}

Result<uint64_t> ParseBytes(std::string_view text, uint64_t min, uint64_t max) {
  uint64_t number = 0;
  std::string_view rest;
  const Unit* unit = nullptr;
  if (SplitNumber(Trim(text), &number, &rest))
    unit = FindUnit(kByteUnits, rest.empty() ? "B" : rest);
  if (unit == nullptr) {
    return Wrong(fmt::format("'{}' is not a size; write bytes, or a unit as in 64MiB", text));
  }
  uint64_t bytes = 0;
  if (!Multiply(number, unit->size, &bytes) || bytes < min || bytes > max) {
    return Wrong(fmt::format("'{}' is out of range, it takes {} to {}", text, FormatBytes(min),
                             FormatBytes(max)));
  }
  return bytes;
}

Result<Micros> ParseDuration(std::string_view text, Micros bare_unit, Micros min, Micros max) {
  uint64_t number = 0;
  std::string_view rest;
  uint64_t unit = 0;
  if (SplitNumber(Trim(text), &number, &rest)) {
    if (const Unit* found = FindUnit(kTimeUnits, rest)) {
      unit = found->size;
    } else if (rest.empty()) {
      unit = number == 0 ? 1 : static_cast<uint64_t>(bare_unit.count());
    }
  }
  if (unit == 0) {
    return Wrong(
        fmt::format("'{}' is not a time; write a number and us, ms, s, min, h or d, as in "
                    "10ms",
                    text));
  }
  uint64_t micros = 0;
  if (!Multiply(number, unit, &micros) || micros > static_cast<uint64_t>(max.count()) ||
      micros < static_cast<uint64_t>(min.count())) {
    return Wrong(fmt::format("'{}' is out of range, it takes {} to {}", text, FormatDuration(min),
                             FormatDuration(max)));
  }
  return Micros(static_cast<int64_t>(micros));
}

Result<std::vector<int>> ParseIntegerList(std::string_view text) {
  std::string_view list = Trim(text);
  if (list.size() >= 2 && list.front() == '[' && list.back() == ']') {
    list = Trim(list.substr(1, list.size() - 2));
  }
  std::vector<int> out;
  while (true) {
    const size_t comma = list.find(',');
    const std::string_view item = Trim(list.substr(0, comma));
    int value = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), value);
    if (error != std::errc() || end != item.data() + item.size()) {
      return Wrong(fmt::format("'{}' is not a list of whole numbers as in 0,0,7,7,7", text));
    }
    out.push_back(value);
    if (comma == std::string_view::npos) return out;
    list.remove_prefix(comma + 1);
  }
}

std::string FormatBytes(uint64_t bytes) {
  for (const std::string_view name : {"TiB", "GiB", "MiB", "KiB"}) {
    const uint64_t size = FindUnit(kByteUnits, name)->size;
    if (bytes > 0 && bytes % size == 0) return fmt::format("{}{}", bytes / size, name);
  }
  return std::to_string(bytes);
}

std::string FormatDuration(Micros duration) {
  const auto micros = static_cast<uint64_t>(duration.count());
  for (const std::string_view name : {"d", "h", "min", "s", "ms"}) {
    const uint64_t size = FindUnit(kTimeUnits, name)->size;
    if (micros > 0 && micros % size == 0) return fmt::format("{}{}", micros / size, name);
  }
  return micros == 0 ? "0" : fmt::format("{}us", micros);
}

std::string NearestName(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string wanted = Lower(name);
  const std::string* best = nullptr;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(wanted, Lower(candidate));
    if (distance < best_distance) {
      best = &candidate;
      best_distance = distance;
    }
  }
  if (best != nullptr) return *best;
  for (const std::string& candidate : candidates) {
    if (LastPart(wanted) == Lower(LastPart(candidate))) return candidate;
  }
  return "";
}

}  // namespace strata::broker
