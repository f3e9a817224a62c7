// Consumes a channel through a subscription and prints what comes, until nothing comes for a
// second. Started again it goes on where it ended.
//
//   example_consume 127.0.0.1:7470 logs my-subscription
#include <chrono>
#include <iostream>

#include "client/client.h"
#include "client/connect.h"

namespace {

int Fail(const strata::Status& status) {
  std::cerr << status.ToString() << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: example_consume ADDRESS CHANNEL SUBSCRIPTION\n";
    return 2;
  }
  auto client = strata::ConnectRemote(argv[1]);
  if (!client.ok()) return Fail(client.status());
  auto consumer = (*client)->OpenConsumer(argv[2], argv[3]);
  if (!consumer.ok()) return Fail(consumer.status());

  while (true) {
    // A stored batch at a time: its messages are views, no payload is copied.
    const auto batch = (*consumer)->ReceiveBatch(std::chrono::seconds(1));
    if (batch.status().reason() == strata::Reason::TIMEOUT) return 0;
    if (!batch.ok()) return Fail(batch.status());
    if (batch->is_gap()) {
      std::cerr << "messages " << batch->gap().first << " to " << batch->gap().last
                << " are gone: " << strata::GapReasonName(batch->gap().reason) << "\n";
      continue;
    }
    for (const strata::MessageView& message : *batch) {
      std::cout << message.id << ": " << message.payload << "\n";
    }
    // Everything up to here is done with: the next consumer starts behind it.
    const strata::Status noted = (*consumer)->Acknowledge(batch->last_id());
    if (!noted.ok()) return Fail(noted);
  }
}
