// Values of the configuration as text: what people may write, and what they are told if it is
// wrong.
//
// Every parser takes the bare text of a value and returns a Result whose error message is the
// reason alone ("'12q' is not a size; write bytes, or 64MiB"); the loader adds where and which key.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace strata::broker {

// true, false, yes, no, on, off.
Result<bool> ParseBool(std::string_view text);

Result<int64_t> ParseInteger(std::string_view text, int64_t min, int64_t max);

Result<double> ParseRatio(std::string_view text, double min, double max);

// Bytes, or with a unit: KiB, MiB, GiB, TiB (1024), kB, MB, GB, TB (1000); a space before it is
// allowed.
Result<uint64_t> ParseBytes(std::string_view text, uint64_t min, uint64_t max);

// A whole number with a unit: us, ms, s, m, min, h, d. A bare number counts in `bare_unit`; if that
// is zero, only 0 may go without.
using Micros = std::chrono::microseconds;
Result<Micros> ParseDuration(std::string_view text, Micros bare_unit, Micros min, Micros max);

// "0,0,7,7,7" or "[0, 0, 7, 7, 7]".
Result<std::vector<int>> ParseIntegerList(std::string_view text);

// As short as it is exact: 67108864 is "64MiB", 10000 us is "10ms".
std::string FormatBytes(uint64_t bytes);
std::string FormatDuration(Micros duration);

// The candidate that a person most likely meant, or "" if none is near: letter case does not count,
// and about one letter in three may be wrong; failing that, a candidate with the same last part
// ("limits.port": "server.port").
std::string NearestName(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace strata::broker
