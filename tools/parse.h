// Turning what was typed into values. Every error says what was typed and what would have been
// right; the program prints it as a mistake of usage (exit code 2).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/api.h"
#include "base/status.h"

namespace strata::tools {

// RFC 3339, as "2026-11-20T10:00:00Z", "2026-11-20 10:00:00.25+01:00"; a zone is required.
// Or relative to `now`: "-10m", "-1h30m", "-2d", with the units ms, s, m, h and d.
Result<TimeMicros> ParseTime(std::string_view text, TimeMicros now);

// "earliest", "latest", an id ("17"), "after:17", or a time as above.
Result<StartPosition> ParseStart(std::string_view text, TimeMicros now);

// "3d", "90m", "1h30m": microseconds, with the units us, ms, s, m, h and d.
Result<int64_t> ParseDuration(std::string_view text);

// "4096", "256MiB": bytes, with the units B, KiB, MiB, GiB, TiB (1,024) and kB, MB, GB, TB (1,000).
Result<int64_t> ParseSize(std::string_view text);

// A retention rule of a channel: what is said of each, "off" (kNoLimit), or "default" (nothing, which
// is the broker's).
Result<std::optional<int64_t>> ParseRetentionTime(std::string_view text);  // a duration
Result<std::optional<int64_t>> ParseRetentionSize(std::string_view text);  // a size
Result<std::optional<int64_t>> ParseMaxMessages(std::string_view text);    // a number
// "acked", "limits", "truncated" or "default".
Result<std::optional<RetentionPolicy>> ParseRetentionPolicy(std::string_view text);

// A decimal number of at least `minimum`.
Result<int64_t> ParseNumber(std::string_view text, int64_t minimum);

// The bytes that \n \r \t \0 \\ and \xNN stand for; other bytes stand for themselves.
Result<std::string> ParseEscapes(std::string_view text);

// "name=value", UTF-8; the value may contain more '='. Names that the program itself uses
// (tools/unterminated.h) are refused.
Result<std::pair<std::string, std::string>> ParseProperty(std::string_view text);

}  // namespace strata::tools
