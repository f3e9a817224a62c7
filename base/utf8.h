// UTF-8 validation as the Unicode standard (table 3-7) has it: no overlong forms, no surrogates,
// nothing above U+10FFFF. Property keys and values are checked with it at append, because
// protobuf's `string` promises it to every consumer in every language.
#pragma once

#include <string>
#include <string_view>

namespace strata {

bool IsValidUtf8(std::string_view text);

// `text` if it is valid, else the same with '?' for every byte outside ASCII: for messages with
// file names or stored bytes in them that go into a protobuf `string`.
std::string ToValidUtf8(std::string text);

}  // namespace strata
