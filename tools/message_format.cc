#include "tools/message_format.h"

#include <fmt/format.h>

#include <utility>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tools/format.h"
#include "tools/unterminated.h"

namespace strata::tools {

Status MessagePrinter::Print(const MessageView& message) {
  switch (style_) {
    case MessageStyle::kText:
      return PrintText(message);
    case MessageStyle::kJson:
      return PrintJson(message);
    case MessageStyle::kRaw:
      break;
  }
  Status status = out_.Append(message.payload);
  return IsUnterminated(message) ? status : out_.Append(separator_);
}

Status MessagePrinter::Print(const Gap& gap) {
  if (style_ != MessageStyle::kJson) return Status::Ok();
  return out_.Append(ToLine(
      {{"gap",
        {{"first", gap.first}, {"last", gap.last}, {"reason", GapReasonName(gap.reason)}}}}));
}

Status MessagePrinter::PrintText(const MessageView& message) {
  std::string line = fmt::format("{}  {}  ", message.id, Time(message.append_time));
  if (message.has_properties()) {
    const char* separator = "{";
    for (const auto& [name, value] : message.properties()) {
      line += separator + EscapeText(name) + '=' + EscapeText(value);
      separator = ", ";
    }
    line += "}  ";
  }
  line += EscapeText(message.payload) + '\n';
  return out_.Append(line);
}

Status MessagePrinter::PrintJson(const MessageView& message) {
  nlohmann::ordered_json json = {{"id", message.id}, {"time", Time(message.append_time)}};
  if (message.has_properties()) {
    auto& properties = json["properties"] = nlohmann::ordered_json::object();
    for (const auto& [name, value] : message.properties()) properties[std::string(name)] = value;
  }
  if (IsValidUtf8(message.payload)) {
    json["payload"] = message.payload;
  } else {
    json["payload_base64"] = Base64(message.payload);
  }
  return out_.Append(ToLine(json));
}

const std::string& MessagePrinter::Time(TimeMicros time) {
  if (time != time_) time_text_ = FormatTime(time);
  time_ = time;
  return time_text_;
}

std::string FormatGap(const Gap& gap) {
  const auto why = [&]() -> std::string_view {
    switch (gap.reason) {
      case GapReason::kTrimmed:
        return "truncated, or removed by retention";
      case GapReason::kCorrupt:
        return "damaged on disk; strata verify says more";
      case GapReason::kLost:
        return "skipped, because acknowledged data may have been lost";
    }
    return "for a reason that this version does not know";
  }();
  return fmt::format("ids {}..{} are missing: {}, {}", gap.first, gap.last,
                     GapReasonName(gap.reason), why);
}

}  // namespace strata::tools
