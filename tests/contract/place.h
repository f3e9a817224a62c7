// Where a contract test runs: the same test over each transport.
//
//   TEST_CASE("...") {
//     Place place(GENERATE(EVERY_TRANSPORT));
//     Client& client = place.client();
//
// And the words that the tests are written in. They assert, so they are for the main thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/config.h"
#include "client/client.h"
#include "client/testing/in_memory.h"
#include "client/testing/memory_store.h"
#include "server/server.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace strata::testing {

enum class Transport { kEmbedded, kTcp, kUnix, kInMemory };

// Those that are over a store that the test gives, or over a directory: kInMemory has its own.
#define STORE_TRANSPORTS                                                       \
  ::strata::testing::Transport::kEmbedded, ::strata::testing::Transport::kTcp, \
      ::strata::testing::Transport::kUnix
#define EVERY_TRANSPORT STORE_TRANSPORTS, ::strata::testing::Transport::kInMemory
#define REMOTE_TRANSPORTS ::strata::testing::Transport::kTcp, ::strata::testing::Transport::kUnix

std::ostream& operator<<(std::ostream& out, Transport transport);

// What no test waits for in vain: a bound, not a pace.
inline constexpr std::chrono::seconds kSoon{10};
inline constexpr std::chrono::milliseconds kNow{0};

using Strings = std::vector<std::string>;

class Place {
 public:
  // A store in a folder of its own, or what users' tests have; `settings` are "key=value" of strata.yaml.
  explicit Place(Transport transport, Strings settings = {});
  // A store in memory, which the test may hold up or break; the broker owns it. `clock` and what
  // the store is said to hold may be the test's too. STORE_TRANSPORTS.
  struct InMemory {
    std::unique_ptr<MemoryStore> store;
    Strings settings = {};
    Clock* clock = Clock::System();
    std::function<void(storage::Recovered*)> amend = nullptr;
  };
  Place(Transport transport, InMemory memory);
  ~Place();

  // Connected as long as the place is up.
  Client& client() { return *client_; }
  std::unique_ptr<Client> NewClient();
  // For threads: Catch2's assertions, also one that holds, belong to the main thread.
  Result<std::unique_ptr<Client>> TryNewClient();
  // Of the server, or of the store's directory; empty in memory.
  std::string address() const { return address_; }
  const std::string& directory() const { return directory_; }

  // Ends clients, server and broker. Everything that was opened must be gone or may fail.
  void Down();
  // On the same directory, with another transport perhaps.
  void Up() { Up(transport_); }
  void Up(Transport transport);
  void Restart() {
    Down();
    Up();
  }
  // The server in this process; null if there is none.
  server::Server* server() { return server_.get(); }

 private:
  broker::Config LoadSettings() const;
  void Serve(std::shared_ptr<broker::Broker> broker, const broker::Config& config);

  TempDir dir_;
  const std::string directory_;
  Transport transport_;
  const Strings settings_;
  std::string address_;
  std::shared_ptr<broker::Broker> broker_;     // unless only clients hold it
  std::unique_ptr<InMemoryBroker> in_memory_;  // kInMemory; stays, as a directory does
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<Client> client_;
};

// --- Doing, with success asserted ---
AppendResult Append(Client& client, const std::string& channel, const Strings& payloads);
ChannelInfo Create(Client& client, const std::string& channel);
std::unique_ptr<Reader> Read(Client& client, const std::string& channel,
                             const StartPosition& start = {}, const ReaderOptions& options = {});
std::unique_ptr<Consumer> Consume(Client& client, const std::string& channel,
                                  const std::string& subscription,
                                  const ConsumerOptions& options = {});
std::unique_ptr<Producer> Produce(Client& client, const std::string& channel,
                                  const ProducerOptions& options = {});
template <typename T>
T Get(Result<T> result) {
  INFO(result.status().ToString());
  REQUIRE(result.ok());
  return std::move(result).value();
}
void Ok(const Status& status);

// --- Seeing ---
// The next `count` things received: "7:payload", "gap 1-6 TRIMMED", or the reason of an error,
// which is the last then. Receives without waiting for more.
Strings Take(Reader& reader, size_t count);
// What Fetch brings, in the same words.
Strings Fetched(const FetchResult& result);
std::string Describe(const Received& received);
// The reason of a failure, with " not", " maybe" or " yes" for what happened to the data, if any.
std::string Why(const Status& status);
template <typename T>
std::string Why(const Result<T>& result) {
  return Why(result.status());
}

}  // namespace strata::testing
