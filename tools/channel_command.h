// strata channel ...: each verb asks the broker and prints the answer, a table or JSON, to io.out.
// They return the exit code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/api.h"
#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"

namespace strata::tools {

// What is to become of a channel's own retention rules. Not given: as it is; given without a value:
// the broker's.
struct RetentionChange {
  std::optional<std::optional<RetentionPolicy>> policy;
  std::optional<std::optional<int64_t>> time, size, max_messages;

  bool empty() const { return !policy && !time && !size && !max_messages; }
  // `own` with the change.
  RetentionOverrides On(const RetentionOverrides& own) const;
};

Result<int> CreateChannel(Client& client, const Io& io, const std::string& name,
                          const ChannelOptions& options);
Result<int> ListChannels(Client& client, const Io& io, const std::string& prefix);
Result<int> DescribeChannel(Client& client, const Io& io, const std::string& name);
// The named producers of one channel, or of all if it is empty.
Result<int> ListProducers(Client& client, const Io& io, const std::string& channel);
Result<int> TruncateChannel(Client& client, const Io& io, const std::string& name,
                            MessageId through);
// Only what `change` names; the rest stays as it was described a moment before.
Result<int> AlterChannel(Client& client, const Io& io, const std::string& name,
                         const RetentionChange& change);
// Unless `yes`, asks on the terminal, and refuses (2) where there is none. 1 if the answer was no.
Result<int> DeleteChannel(Client& client, const Io& io, const std::string& name, bool yes);

}  // namespace strata::tools
