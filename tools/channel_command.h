// strata channel ...: each verb asks the broker and prints the answer, a table or JSON, to io.out.
// They return the exit code.
#pragma once

#include <string>

#include "base/api.h"
#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"

namespace strata::tools {

Result<int> CreateChannel(Client& client, const Io& io, const std::string& name,
                          const ChannelOptions& options);
Result<int> ListChannels(Client& client, const Io& io, const std::string& prefix);
Result<int> DescribeChannel(Client& client, const Io& io, const std::string& name);
Result<int> TruncateChannel(Client& client, const Io& io, const std::string& name,
                            MessageId through);
// Unless `yes`, asks on the terminal, and refuses (2) where there is none. 1 if the answer was no.
Result<int> DeleteChannel(Client& client, const Io& io, const std::string& name, bool yes);

}  // namespace strata::tools
