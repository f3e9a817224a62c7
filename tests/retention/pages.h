// Channels as the tests of retention's policy see them.
#pragma once

#include <limits>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "retention/policy.h"

namespace strata::retention {

// What Catch prints.
inline std::ostream& operator<<(std::ostream& out, const Trim& trim) {
  return out << "channel " << trim.channel << " through " << trim.through << ": " << trim.pages
             << " pages, " << trim.bytes << " bytes by " << RuleName(trim.rule);
}

}  // namespace strata::retention

namespace strata::testing {

inline constexpr int64_t kSecond = 1'000'000;
inline constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
inline constexpr TimeMicros kNow = 1'000 * kSecond;

inline storage::Page MakePage(MessageId first, MessageId next, uint64_t bytes,
                              TimeMicros last_time) {
  storage::Page page;
  page.first = first;
  page.next = next;
  page.bytes = bytes;
  page.first_time = last_time;
  page.last_time = last_time;
  return page;
}

// Pages of 100 messages and 1,000 bytes, the newest messages of which were appended at 100 s, 200 s, ...
inline retention::ChannelView Pages(size_t count, retention::Rules rules = {}) {
  retention::ChannelView channel;
  channel.number = 7;
  channel.name = "c";
  channel.rules = rules;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) {
    channel.pages.push_back(MakePage(1 + 100 * i, 101 + 100 * i, 1'000, (i + 1) * 100 * kSecond));
  }
  return channel;
}

inline retention::CursorView Subscription(std::string name, MessageId cursor,
                                          TimeMicros active_at = kNow, bool attached = false) {
  return {std::move(name), cursor, active_at, attached};
}

// What goes of Pages().
inline std::vector<retention::Trim> Gone(uint64_t pages, retention::Rule rule) {
  return {{7, static_cast<MessageId>(100 * pages), pages, 1'000 * pages, rule}};
}
inline const std::vector<retention::Trim> kNothingGoes;

inline retention::ChannelView With(retention::ChannelView channel,
                                   std::vector<retention::CursorView> cursors) {
  channel.cursors = std::move(cursors);
  return channel;
}

inline retention::ChannelView Truncated(retention::ChannelView channel, MessageId through,
                                        TimeMicros at) {
  channel.truncated_through = through;
  channel.truncated_at = at;
  return channel;
}

}  // namespace strata::testing
