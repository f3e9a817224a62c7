#include "tests/contract/place.h"

#include <ostream>
#include <utility>

#include "broker/open.h"
#include "client/connect.h"
#include "client/embedded/embedded_client.h"

namespace strata::testing {

std::ostream& operator<<(std::ostream& out, Transport transport) {
  switch (transport) {
    case Transport::kEmbedded:
      return out << "embedded";
    case Transport::kTcp:
      return out << "tcp";
    case Transport::kUnix:
      return out << "unix";
    case Transport::kInMemory:
      return out << "in memory";
  }
  return out;
}

Place::Place(Transport transport, Strings settings)
    : directory_(dir_ / "store"), transport_(transport), settings_(std::move(settings)) {
  Up();
}

Place::Place(Transport transport, InMemory memory)
    : directory_(dir_ / "store"), transport_(transport), settings_(std::move(memory.settings)) {
  REQUIRE(transport != Transport::kInMemory);
  storage::Recovered recovered = memory.store->Recover();
  if (memory.amend) memory.amend(&recovered);
  broker::Config config = LoadSettings();
  config.broker.clock = memory.clock;
  auto broker = std::make_shared<broker::Broker>(config.broker, std::move(memory.store),
                                                 std::move(recovered));
  if (transport == Transport::kEmbedded) {
    broker_ = std::move(broker);
  } else {
    Serve(std::move(broker), config);
  }
  client_ = NewClient();
}

Place::~Place() { Down(); }

broker::Config Place::LoadSettings() const {
  Strings settings = {"server.port=-1", "http.address=none"};
  if (transport_ == Transport::kUnix) {
    settings = {"server.address=none", "http.address=none",
                "server.unixSocket=" + (dir_ / "socket")};
  }
  settings.insert(settings.end(), settings_.begin(), settings_.end());
  broker::Config config = Get(broker::LoadConfig("", settings));
  config.store.path = directory_;
  return config;
}

void Place::Up(Transport transport) {
  transport_ = transport;
  if (transport_ == Transport::kInMemory) {
    if (in_memory_ == nullptr) {
      in_memory_ = Get(InMemoryBroker::Start({.settings = settings_}));
    } else {
      in_memory_->Restart();
    }
    client_ = NewClient();
    return;
  }
  const broker::Config config = LoadSettings();
  if (transport_ == Transport::kEmbedded) {
    address_ = "embedded:" + directory_;
    // Settings go in by a broker that is open already: clients of a directory share it.
    if (!settings_.empty()) broker_ = Get(broker::OpenBroker(config.broker, config.store));
  } else {
    Serve(Get(broker::OpenBroker(config.broker, config.store)), config);
  }
  client_ = NewClient();
}

void Place::Serve(std::shared_ptr<broker::Broker> broker, const broker::Config& config) {
  broker_ = std::move(broker);
  server_ = std::make_unique<server::Server>(config, Logger());
  Ok(server_->Start(broker_));
  REQUIRE(server_->addresses().size() == 1);
  address_ = server_->addresses().front();
}

std::unique_ptr<Client> Place::NewClient() { return Get(TryNewClient()); }

Result<std::unique_ptr<Client>> Place::TryNewClient() {
  if (in_memory_ != nullptr) return in_memory_->NewClient();
  // A store in memory has no address.
  if (address_.empty()) return std::unique_ptr<Client>(new EmbeddedClient(broker_));
  return Connect(address_);
}

void Place::Down() {
  client_.reset();
  if (server_ != nullptr) server_->Drain(kSoon);
  server_.reset();
  broker_.reset();
}

AppendResult Append(Client& client, const std::string& channel, const Strings& payloads) {
  std::vector<Message> messages;
  for (const std::string& payload : payloads) messages.push_back({payload, {}});
  const AppendResult result = Get(client.Append(channel, messages));
  CHECK(result.count == payloads.size());
  return result;
}

ChannelInfo Create(Client& client, const std::string& channel) {
  return Get(client.CreateChannel(channel));
}

std::unique_ptr<Reader> Read(Client& client, const std::string& channel, const StartPosition& start,
                             const ReaderOptions& options) {
  return Get(client.OpenReader(channel, start, options));
}

std::unique_ptr<Consumer> Consume(Client& client, const std::string& channel,
                                  const std::string& subscription, const ConsumerOptions& options) {
  return Get(client.OpenConsumer(channel, subscription, options));
}

std::unique_ptr<Producer> Produce(Client& client, const std::string& channel,
                                  const ProducerOptions& options) {
  return Get(client.OpenProducer(channel, options));
}

void Ok(const Status& status) {
  INFO(status.ToString());
  REQUIRE(status.ok());
}

std::string Describe(const Received& received) {
  if (received.is_gap()) {
    const Gap& gap = received.gap();
    return "gap " + std::to_string(gap.first) + "-" + std::to_string(gap.last) + " " +
           std::string(GapReasonName(gap.reason));
  }
  return std::to_string(received.message().id) + ":" + std::string(received.message().payload);
}

Strings Take(Reader& reader, size_t count) {
  Strings taken;
  while (taken.size() < count) {
    const Result<Received> received = reader.Receive(kSoon);
    if (!received.ok()) {
      taken.push_back(Why(received));
      break;
    }
    taken.push_back(Describe(*received));
  }
  return taken;
}

Strings Fetched(const FetchResult& result) {
  Strings fetched;
  for (const ReceivedBatch& batch : result.batches) {
    if (batch.is_gap()) {
      fetched.push_back(Describe(Received(batch.gap())));
      continue;
    }
    for (const MessageView& message : batch) {
      fetched.push_back(std::to_string(message.id) + ":" + std::string(message.payload));
    }
  }
  return fetched;
}

std::string Why(const Status& status) {
  std::string why = status.ok() ? "OK" : GetErrorInfo(status.reason()).name;
  switch (status.fate()) {
    case DataFate::kNotApplicable:
      break;
    case DataFate::kNotAppended:
      why += " not";
      break;
    case DataFate::kMayHaveBeenAppended:
      why += " maybe";
      break;
    case DataFate::kAppended:
      why += " yes";
      break;
  }
  return why;
}

}  // namespace strata::testing
