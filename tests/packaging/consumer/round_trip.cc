// round_trip ADDRESS: sends three messages and gets them back through a subscription.
#include <chrono>
#include <iostream>
#include <string>

#include "client/connect.h"

// Without RocksDB there are only daemons to connect to.
#ifndef CONNECT
#define CONNECT strata::Connect
#endif

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto client = CONNECT(argv[1]);
  if (!client.ok()) {
    std::cerr << client.status().ToString() << "\n";
    return 1;
  }
  auto producer = (*client)->OpenProducer("installed", {.create_if_missing = true});
  auto consumer = (*client)->OpenConsumer("installed", "reader");
  if (!producer.ok() || !consumer.ok()) return 1;
  for (const char* text : {"one", "two", "three"}) {
    if (const auto id = (*producer)->Send({.payload = text}).get(); !id.ok()) {
      std::cerr << id.status().ToString() << "\n";
      return 1;
    }
  }
  std::string got;
  for (int i = 0; i < 3; ++i) {
    auto received = (*consumer)->Receive(std::chrono::seconds(20));
    if (!received.ok() || received->is_gap()) return 1;
    got += std::string(received->message().payload) + " ";
    if (!(*consumer)->Acknowledge(received->message().id).ok()) return 1;
  }
  std::cout << got << "\n";
  return got == "one two three " ? 0 : 1;
}
