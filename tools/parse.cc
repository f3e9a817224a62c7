#include "tools/parse.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <limits>
#include <optional>

#include "base/utf8.h"
#include "tools/unterminated.h"

namespace strata::tools {
namespace {

using std::chrono::microseconds;

Status Invalid(std::string message) { return Status(Reason::INVALID_ARGUMENT, std::move(message)); }

// Takes decimal digits, `least` to `most` of them, off the front of *text.
std::optional<int64_t> TakeDigits(std::string_view* text, size_t least, size_t most) {
  size_t n = 0;
  int64_t value = 0;
  while (n < text->size() && n < most && (*text)[n] >= '0' && (*text)[n] <= '9') {
    value = value * 10 + ((*text)[n++] - '0');
  }
  if (n < least) return std::nullopt;
  text->remove_prefix(n);
  return value;
}

bool Take(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

struct Unit {
  std::string_view name;
  int64_t size;
};

// Takes one of `units` off the front of *text; 0 if none is there. Longer names come first.
template <size_t N>
int64_t TakeUnit(std::string_view* text, const Unit (&units)[N]) {
  for (const Unit& unit : units) {
    if (Take(text, unit.name)) return unit.size;
  }
  return 0;
}

// "1h30m"; none if it is not of this form, or no number of microseconds.
std::optional<microseconds> ParseSpan(std::string_view text) {
  constexpr Unit kUnits[] = {{"us", 1},         {"ms", 1'000},        {"s", 1'000'000},
                             {"m", 60'000'000}, {"h", 3'600'000'000}, {"d", 86'400'000'000}};
  if (text.empty()) return std::nullopt;
  int64_t total = 0;
  while (!text.empty()) {
    const std::optional<int64_t> amount = TakeDigits(&text, 1, 18);
    const int64_t unit = amount ? TakeUnit(&text, kUnits) : 0;
    int64_t part = 0;
    if (unit == 0 || __builtin_mul_overflow(*amount, unit, &part) ||
        __builtin_add_overflow(total, part, &total)) {
      return std::nullopt;
    }
  }
  return microseconds(total);
}

// "-1h30m" as a negative duration; none if it is not of this form.
std::optional<microseconds> ParseRelative(std::string_view text) {
  if (!Take(&text, "-")) return std::nullopt;
  const std::optional<microseconds> span = ParseSpan(text);
  if (!span) return std::nullopt;
  return -*span;
}

// ".25" and the like; digits beyond microseconds are dropped.
std::optional<microseconds> TakeFraction(std::string_view* text) {
  if (!Take(text, ".")) return microseconds(0);
  const size_t before = text->size();
  std::string_view rest = *text;
  std::optional<int64_t> value = TakeDigits(&rest, 1, 6);
  if (!value) return std::nullopt;
  for (size_t digits = before - rest.size(); digits < 6; ++digits) *value *= 10;
  while (TakeDigits(&rest, 1, 1)) {
  }
  *text = rest;
  return microseconds(*value);
}

// "Z" or "+01:00", to be subtracted from the local time.
std::optional<std::chrono::minutes> TakeZone(std::string_view* text) {
  if (Take(text, "Z") || Take(text, "z")) return std::chrono::minutes(0);
  const bool west = text->starts_with('-');
  if (!Take(text, "-") && !Take(text, "+")) return std::nullopt;
  const auto hours = TakeDigits(text, 2, 2);
  if (!hours || *hours > 23 || !Take(text, ":")) return std::nullopt;
  const auto minutes = TakeDigits(text, 2, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const std::chrono::minutes offset(*hours * 60 + *minutes);
  return west ? -offset : offset;
}

std::optional<TimeMicros> ParseRfc3339(std::string_view text) {
  const auto year = TakeDigits(&text, 4, 4);
  if (!year || !Take(&text, "-")) return std::nullopt;
  const auto month = TakeDigits(&text, 2, 2);
  if (!month || !Take(&text, "-")) return std::nullopt;
  const auto day = TakeDigits(&text, 2, 2);
  if (!day || !(Take(&text, "T") || Take(&text, "t") || Take(&text, " "))) return std::nullopt;
  const auto hour = TakeDigits(&text, 2, 2);
  if (!hour || *hour > 23 || !Take(&text, ":")) return std::nullopt;
  const auto minute = TakeDigits(&text, 2, 2);
  if (!minute || *minute > 59 || !Take(&text, ":")) return std::nullopt;
  const auto second = TakeDigits(&text, 2, 2);
  if (!second || *second > 60) return std::nullopt;
  const auto fraction = TakeFraction(&text);
  if (!fraction) return std::nullopt;
  const auto zone = TakeZone(&text);
  if (!zone || !text.empty()) return std::nullopt;

  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const microseconds since_1970 = std::chrono::sys_days(date).time_since_epoch() +
                                  std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
                                  std::chrono::seconds(*second) + *fraction - *zone;
  return since_1970.count();
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<char> ParseHexByte(std::string_view digits) {
  unsigned value = 0;
  if (digits.size() < 2) return std::nullopt;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + 2, value, 16);
  if (error != std::errc() || end != digits.data() + 2) return std::nullopt;
  return static_cast<char>(value);
}

}  // namespace

Result<TimeMicros> ParseTime(std::string_view text, TimeMicros now) {
  if (const auto relative = ParseRelative(text)) return now + relative->count();
  if (const auto absolute = ParseRfc3339(text)) return *absolute;
  return Invalid(fmt::format(
      "'{}' is no time; write 2026-11-20T10:00:00Z, or -10m for ten minutes ago (ms, s, m, h, d)",
      text));
}

Result<StartPosition> ParseStart(std::string_view text, TimeMicros now) {
  if (text == "earliest") return StartPosition::Earliest();
  if (text == "latest") return StartPosition::Latest();
  const bool after = text.starts_with("after:");
  const std::string_view id = after ? text.substr(6) : text;
  if (after || IsNumber(id)) {
    STRATA_ASSIGN_OR_RETURN(const int64_t number, ParseNumber(id, 0));
    return after ? StartPosition::After(number) : StartPosition::At(number);
  }
  Result<TimeMicros> time = ParseTime(text, now);
  if (time.ok()) return StartPosition::AtTime(*time);
  return Invalid(
      fmt::format("'{}' is no position; write earliest, latest, an id (17), after:17, a time "
                  "(2026-11-20T10:00:00Z) or -10m for ten minutes ago",
                  text));
}

Result<int64_t> ParseNumber(std::string_view text, int64_t minimum) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= minimum) return value;
  return Invalid(fmt::format("'{}' is no number from {} to {}", text, minimum,
                             std::numeric_limits<int64_t>::max()));
}

Result<int64_t> ParseDuration(std::string_view text) {
  if (const auto span = ParseSpan(text)) return span->count();
  return Invalid(fmt::format("'{}' is no time; write 3d, 90m or 1h30m (us, ms, s, m, h, d)", text));
}

Result<int64_t> ParseSize(std::string_view text) {
  constexpr Unit kUnits[] = {{"KiB", int64_t{1} << 10},
                             {"MiB", int64_t{1} << 20},
                             {"GiB", int64_t{1} << 30},
                             {"TiB", int64_t{1} << 40},
                             {"kB", 1'000},
                             {"MB", 1'000'000},
                             {"GB", 1'000'000'000},
                             {"TB", 1'000'000'000'000},
                             {"B", 1}};
  std::string_view rest = text;
  const std::optional<int64_t> amount = TakeDigits(&rest, 1, 18);
  const int64_t unit = rest.empty() ? 1 : TakeUnit(&rest, kUnits);
  int64_t bytes = 0;
  if (!amount || unit == 0 || !rest.empty() || __builtin_mul_overflow(*amount, unit, &bytes)) {
    return Invalid(fmt::format("'{}' is no size; write 256MiB, 10GB or a number of bytes", text));
  }
  return bytes;
}

namespace {

// What all rules have in common.
template <typename Parse>
Result<std::optional<int64_t>> ParseRule(std::string_view text, Parse parse) {
  if (text == "default") return std::optional<int64_t>();
  if (text == "off") return std::optional<int64_t>(kNoLimit);
  const Result<int64_t> value = parse(text);
  if (!value.ok()) return Invalid(value.status().message() + ", or off or default");
  return std::optional<int64_t>(*value);
}

}  // namespace

Result<std::optional<int64_t>> ParseRetentionTime(std::string_view text) {
  return ParseRule(text, ParseDuration);
}

Result<std::optional<int64_t>> ParseRetentionSize(std::string_view text) {
  return ParseRule(text, ParseSize);
}

Result<std::optional<int64_t>> ParseMaxMessages(std::string_view text) {
  return ParseRule(text, [](std::string_view number) { return ParseNumber(number, 0); });
}

Result<std::optional<RetentionPolicy>> ParseRetentionPolicy(std::string_view text) {
  using Policy = std::optional<RetentionPolicy>;
  if (text == "default") return Policy();
  if (text == "acked") return Policy(RetentionPolicy::kAcked);
  if (text == "limits") return Policy(RetentionPolicy::kLimits);
  if (text == "truncated") return Policy(RetentionPolicy::kTruncated);
  return Invalid(fmt::format("'{}' is no policy; write acked, limits, truncated or default", text));
}

Result<std::string> ParseEscapes(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    const char kind = ++i < text.size() ? text[i] : '\0';
    constexpr std::string_view kKinds = "nrt0\\";
    constexpr std::string_view kBytes("\n\r\t\0\\", 5);
    if (const size_t simple = kKinds.find(kind); simple != std::string_view::npos) {
      bytes += kBytes[simple];
    } else if (const auto byte = kind == 'x' ? ParseHexByte(text.substr(i + 1)) : std::nullopt) {
      bytes += *byte;
      i += 2;
    } else {
      return Invalid(
          fmt::format("'{}' has a '\\' that begins none of \\n \\r \\t \\0 \\\\ \\xNN", text));
    }
  }
  return bytes;
}

Result<std::pair<std::string, std::string>> ParseProperty(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return Invalid(fmt::format("'{}' is no property; write name=value", text));
  }
  std::pair<std::string, std::string> property(text.substr(0, equals), text.substr(equals + 1));
  if (property.first == kUnterminatedName) {
    return Invalid(fmt::format("the property {} is set by strata itself", kUnterminatedName));
  }
  if (!IsValidUtf8(text)) {
    return Invalid(fmt::format("the property '{}' is not UTF-8", property.first));
  }
  return property;
}

}  // namespace strata::tools
