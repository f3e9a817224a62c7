// How `produce` and `consume -o raw` give back the same bytes although the input did not end in the
// separator: its last message says so with a property, and raw output leaves the separator out.
//
// The property is strata.unterminated=1. Properties count against limits.maxPayload, so on a
// message that fills it the mark is the property with the empty name and value, which counts
// nothing. `strata produce --raw` marks its message too: raw output of it is the input.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/batch.h"

namespace strata::tools {

inline constexpr std::string_view kUnterminatedName = "strata.unterminated";
inline constexpr std::string_view kUnterminatedValue = "1";

// Adds the mark to the properties of a message with a payload of `payload` bytes.
void MarkUnterminated(uint64_t payload, uint64_t max_payload, Properties* properties);

bool IsUnterminated(const MessageView& message);

}  // namespace strata::tools
