#include "client/connect.h"

#include <utility>

#include "broker/config.h"
#include "broker/open.h"
#include "client/address.h"
#include "client/embedded/embedded_client.h"

namespace strata {

Result<std::unique_ptr<Client>> ConnectEmbedded(const std::string& directory,
                                                const std::string& config,
                                                const ClientOptions& options) {
  STRATA_ASSIGN_OR_RETURN(broker::Config settings, broker::LoadConfig(config, {}));
  const Logger log(options.log, options.log_level);
  settings.store.path = directory;
  settings.store.log = log;
  settings.broker.log = log;
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<broker::Broker> broker,
                          broker::OpenBroker(settings.broker, settings.store));
  return std::unique_ptr<Client>(std::make_unique<EmbeddedClient>(std::move(broker)));
}

Result<std::unique_ptr<Client>> Connect(const std::string& address, const ClientOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const Address parsed, ParseAddress(address));
  if (parsed.kind != Address::Kind::kEmbedded) return ConnectRemote(address, options);
  return ConnectEmbedded(parsed.directory, parsed.config, options);
}

}  // namespace strata
