// strata subscription ...: each verb asks the broker and prints the answer, a table or JSON, to
// io.out. They return the exit code.
#pragma once

#include <string>

#include "base/api.h"
#include "base/status.h"
#include "client/client.h"
#include "tools/io.h"

namespace strata::tools {

Result<int> CreateSubscription(Client& client, const Io& io, const std::string& channel,
                               const std::string& name, const StartPosition& from);
// Of all channels if `channel` is empty.
Result<int> ListSubscriptions(Client& client, const Io& io, const std::string& channel);
Result<int> DescribeSubscription(Client& client, const Io& io, const std::string& channel,
                                 const std::string& name);
Result<int> SeekSubscription(Client& client, const Io& io, const std::string& channel,
                             const std::string& name, const StartPosition& to);
Result<int> DeleteSubscription(Client& client, const Io& io, const std::string& channel,
                               const std::string& name);

}  // namespace strata::tools
