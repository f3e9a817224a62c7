// Publishes the lines of standard input, each as a message, many in flight.
//
//   example_produce 127.0.0.1:7470 logs < FILE
#include <atomic>
#include <iostream>
#include <string>

#include "client/client.h"
#include "client/connect.h"

namespace {

int Fail(const strata::Status& status) {
  std::cerr << status.ToString() << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: example_produce ADDRESS CHANNEL < FILE\n";
    return 2;
  }
  // Only daemons: a program that may also run embedded links strata_embedded and calls Connect().
  auto client = strata::ConnectRemote(argv[1]);
  if (!client.ok()) return Fail(client.status());
  auto producer = (*client)->OpenProducer(argv[2], {.create_if_missing = true});
  if (!producer.ok()) return Fail(producer.status());

  std::atomic<strata::MessageId> last{0};
  for (std::string line; std::getline(std::cin, line);) {
    // Blocks when too much is unacknowledged; an error here is final for the producer.
    const strata::Status sent =
        (*producer)->Send(line, [&last](const strata::Result<strata::MessageId>& id) {
          // Durable now. A failure says what happened to the message: id.status().fate().
          if (id.ok()) last = *id;
        });
    if (!sent.ok()) return Fail(sent);
  }
  if (const strata::Status closed = (*producer)->Close(); !closed.ok()) return Fail(closed);
  std::cout << "the last message has id " << last << "\n";
  return 0;
}
