// A durable log inside this process: appends a message and prints the whole channel.
//
//   example_embedded /tmp/my-store "some text"
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

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
    std::cerr << "usage: example_embedded DIRECTORY TEXT\n";
    return 2;
  }
  // The same code runs against a daemon: only the address differs.
  auto client = strata::Connect("embedded:" + std::string(argv[1]));
  if (!client.ok()) return Fail(client.status());
  auto channel = (*client)->OpenChannel("notes", /*create_if_missing=*/true);
  if (!channel.ok()) return Fail(channel.status());

  // Returns when it is on disk.
  auto appended = (*client)->Append("notes", std::vector<strata::Message>{{argv[2], {}}});
  if (!appended.ok()) return Fail(appended.status());

  auto reader = (*client)->OpenReader("notes", strata::StartPosition::Earliest());
  if (!reader.ok()) return Fail(reader.status());
  while ((*reader)->position() < (*reader)->end_at_open()) {
    auto received = (*reader)->Receive(std::chrono::seconds(10));
    if (!received.ok()) return Fail(received.status());
    if (received->is_gap()) continue;
    std::cout << received->message().id << ": " << received->message().payload << "\n";
  }
  return 0;
}
