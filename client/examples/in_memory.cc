// A test without a broker to set up: a program's own code against a Client in memory.
//
//   example_in_memory
#include "client/testing/in_memory.h"

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "client/client.h"

namespace {

int Fail(const strata::Status& status) {
  std::cerr << status.ToString() << "\n";
  return 1;
}

// The code to be tested: takes any Client, and counts what it can read and what is lost.
strata::Result<std::string> Summarize(strata::Client& client, const std::string& channel) {
  auto reader = client.OpenReader(channel, strata::StartPosition::Earliest());
  if (!reader.ok()) return reader.status();
  int messages = 0;
  int lost = 0;
  while ((*reader)->position() < (*reader)->end_at_open()) {
    auto received = (*reader)->Receive(std::chrono::seconds(10));
    if (!received.ok()) return received.status();
    if (received->is_gap()) {
      lost += static_cast<int>(received->gap().last - received->gap().first + 1);
    } else {
      ++messages;
    }
  }
  return std::to_string(messages) + " messages, " + std::to_string(lost) + " lost";
}

}  // namespace

int main() {
  auto broker = strata::testing::InMemoryBroker::Start({.settings = {"limits.maxPayload=2000"}});
  if (!broker.ok()) return Fail(broker.status());
  auto client = (*broker)->NewClient();
  auto channel = client->CreateChannel("events");
  if (!channel.ok()) return Fail(channel.status());
  for (const char* payload : {"one", "two", "three"}) {
    auto appended = client->Append("events", std::vector<strata::Message>{{payload, {}}});
    if (!appended.ok()) return Fail(appended.status());
  }
  // A disk that forgot the second one, and a broker that was started again.
  if (auto status = (*broker)->Damage("events", 2); !status.ok()) return Fail(status);
  (*broker)->Restart();
  client = (*broker)->NewClient();

  auto summary = Summarize(*client, "events");
  if (!summary.ok()) return Fail(summary.status());
  std::cout << *summary << "\n";
  return *summary == "2 messages, 1 lost" ? 0 : 1;
}
