#include "client/connect.h"

#include <utility>

#include "client/address.h"
#include "client/calls.h"
#include "client/grpc/connection.h"
#include "client/grpc/remote_client.h"

namespace strata {

Result<std::unique_ptr<Client>> ConnectRemote(const std::string& address,
                                              const ClientOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const Address parsed, ParseAddress(address));
  if (parsed.kind == Address::Kind::kEmbedded) {
    return NothingAppended(Status(Reason::INVALID_ARGUMENT,
                                  "the address '" + address +
                                      "' is a broker in this process: link strata_embedded and" +
                                      " call Connect(), or name a daemon"));
  }
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<Connection> connection,
                          Connection::Open(address, parsed, options));
  return std::unique_ptr<Client>(std::make_unique<RemoteClient>(std::move(connection)));
}

}  // namespace strata
