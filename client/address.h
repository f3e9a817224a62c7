// The addresses of connect.h, taken apart.
#pragma once

#include <string>

#include "base/status.h"

namespace strata {

struct Address {
  enum class Kind { kTcp, kUnix, kEmbedded };
  Kind kind = Kind::kTcp;
  std::string target;     // kTcp, kUnix: what gRPC dials
  std::string directory;  // kEmbedded
  std::string config;     // kEmbedded: a strata.yaml; empty: the defaults
};

// INVALID_ARGUMENT says what is wrong with `text` and how it would be right.
Result<Address> ParseAddress(const std::string& text);

}  // namespace strata
