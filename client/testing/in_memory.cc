#include "client/testing/in_memory.h"

#include <utility>

#include "broker/broker.h"
#include "broker/config.h"
#include "client/calls.h"
#include "client/embedded/embedded_client.h"
#include "client/testing/memory_store.h"

namespace strata::testing {
namespace {

Result<broker::BrokerOptions> ReadOptions(const InMemoryOptions& options) {
  std::vector<std::string> settings = {"limits.tailCache=0"};
  settings.insert(settings.end(), options.settings.begin(), options.settings.end());
  STRATA_ASSIGN_OR_RETURN(broker::Config config, broker::LoadConfig("", settings));
  config.broker.clock = options.clock;
  config.broker.log = Logger(options.log, options.log_level);
  return std::move(config.broker);
}

std::shared_ptr<broker::Broker> OpenBroker(const broker::BrokerOptions& options,
                                           std::unique_ptr<MemoryStore> store) {
  storage::Recovered recovered = store->Recover();
  return std::make_shared<broker::Broker>(options, std::move(store), std::move(recovered));
}

// Of what was written only the state: a test that appends for hours does not grow by it.
std::unique_ptr<MemoryStore> NewStore() {
  return std::make_unique<MemoryStore>(MemoryStore::History::kNone);
}

}  // namespace

Result<std::unique_ptr<InMemoryBroker>> InMemoryBroker::Start(const InMemoryOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const broker::BrokerOptions settings, ReadOptions(options));
  return std::unique_ptr<InMemoryBroker>(new InMemoryBroker(settings, NewStore()));
}

InMemoryBroker::InMemoryBroker(const broker::BrokerOptions& options,
                               std::unique_ptr<MemoryStore> store)
    : options_(std::make_unique<const broker::BrokerOptions>(options)) {
  MutexLock lock(mu_);
  Open(std::move(store));
}

InMemoryBroker::~InMemoryBroker() {
  MutexLock lock(mu_);
  broker_->Close();
}

void InMemoryBroker::Open(std::unique_ptr<MemoryStore> store) {
  store_ = store.get();
  broker_ = OpenBroker(*options_, std::move(store));
}

std::unique_ptr<Client> InMemoryBroker::NewClient() {
  MutexLock lock(mu_);
  return std::make_unique<EmbeddedClient>(broker_);
}

void InMemoryBroker::Restart() {
  MutexLock lock(mu_);
  broker_->Close();
  Open(store_->TakeOver());
}

void InMemoryBroker::FailWrites() {
  MutexLock lock(mu_);
  store_->FailNextWrite();
}

Status InMemoryBroker::Damage(const std::string& channel, MessageId id) {
  MutexLock lock(mu_);
  STRATA_ASSIGN_OR_RETURN(const ChannelInfo info,
                          NothingAppended(broker_->DescribeChannel(channel)));
  if (id >= info.first_available && id < info.next_id) {
    STRATA_ASSIGN_OR_RETURN(const std::vector<storage::ReadItem> items,
                            store_->Read(info.number, id, id + 1, 1));
    if (!items.empty()) {
      if (const auto* batch = std::get_if<storage::StoredBatch>(&items.front())) {
        store_->Damage(info.number, batch->first_id);
      }
      return Status::Ok();  // a gap already, perhaps
    }
  }
  return NothingAppended(Status(Reason::INVALID_ARGUMENT,
                                "channel " + channel + " has no message " + std::to_string(id) +
                                    "; it has " + std::to_string(info.first_available) + " to " +
                                    std::to_string(info.next_id - 1)));
}

Result<std::unique_ptr<Client>> ConnectInMemory(const InMemoryOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const broker::BrokerOptions settings, ReadOptions(options));
  return std::unique_ptr<Client>(
      std::make_unique<EmbeddedClient>(OpenBroker(settings, NewStore())));
}

}  // namespace strata::testing
