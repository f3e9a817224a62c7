// Messages as `strata consume` prints them.
//
//   text  17  2026-11-20T10:00:00.123456Z  {name=value, ...}  payload, escaped
//         (no {} without properties)
//   raw   the payload and the separator, or nothing after it for a message marked unterminated
//   json  {"id":17,"time":"...","properties":{...},"payload":"..."}, or "payload_base64" where
//         it is not UTF-8
#pragma once

#include <string>

#include "base/batch.h"
#include "base/status.h"
#include "base/types.h"
#include "tools/io.h"

namespace strata::tools {

enum class MessageStyle { kText, kRaw, kJson };

class MessagePrinter {
 public:
  // `out` outlives it. `separator` is for kRaw.
  MessagePrinter(MessageStyle style, std::string separator, Output& out)
      : style_(style), separator_(std::move(separator)), out_(out) {}

  // The error is that of `out`.
  Status Print(const MessageView& message);
  // kJson: {"gap":{"first":1,"last":7,"reason":"TRIMMED"}}. Otherwise nothing: gaps are told on
  // standard error, so that the output stays what it is.
  Status Print(const Gap& gap);

 private:
  Status PrintText(const MessageView& message);
  Status PrintJson(const MessageView& message);
  const std::string& Time(TimeMicros time);

  const MessageStyle style_;
  const std::string separator_;
  Output& out_;
  // All messages of a batch have one time, and formatting it costs as much as the rest of a line.
  TimeMicros time_ = -1;
  std::string time_text_;
};

// "ids 5..100 are missing: TRIMMED, truncated or removed by retention".
std::string FormatGap(const Gap& gap);

}  // namespace strata::tools
