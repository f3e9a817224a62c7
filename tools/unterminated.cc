#include "tools/unterminated.h"

#include <string>

namespace strata::tools {

void MarkUnterminated(uint64_t payload, uint64_t max_payload, Properties* properties) {
  uint64_t size = payload + kUnterminatedName.size() + kUnterminatedValue.size();
  for (const auto& [name, value] : *properties) size += name.size() + value.size();
  if (size <= max_payload) {
    properties->emplace(kUnterminatedName, kUnterminatedValue);
  } else {
    properties->emplace("", "");
  }
}

bool IsUnterminated(const MessageView& message) {
  if (!message.has_properties()) return false;
  for (const auto& [name, value] : message.properties()) {
    if (name == kUnterminatedName || (name.empty() && value.empty())) return true;
  }
  return false;
}

}  // namespace strata::tools
