// Any bytes as the requests of a call, against a server in this process: what the raw handlers, the
// streams and the broker behind them make of them. The first byte chooses the method, then come up to
// eight requests, each a length of two bytes and the bytes. Slower than the others, and the only one with
// threads.
#include <memory>
#include <string>
#include <vector>

#include "base/batch.h"
#include "strata/v1/log.pb.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/protobuf.h"
#include "tests/server/server_fixture.h"

namespace strata {
namespace {

using testing::ServerFixture;

constexpr const char* kMethods[] = {"Append", "AppendMulti", "Produce", "Consume", "Fetch"};
enum Method { kAppend, kAppendMulti, kProduce, kConsume, kFetch };

struct Scene {
  ServerFixture server;
  std::shared_ptr<grpc::Channel> connection = server.Connect();

  Scene() {
    server.CreateChannel("c");
    server.CreateChannel("d");
    for (const char* payload : {"one", "two"}) server.Append("c", payload);
  }
};

// Begun anew now and then: the store is in memory, and keeps all.
Scene& TheScene() {
  static std::unique_ptr<Scene> scene;
  static int calls = 0;
  if (!scene || ++calls % 200 == 0) {
    scene.reset();
    scene = std::make_unique<Scene>();
  }
  return *scene;
}

std::vector<std::string> Requests(fuzz::Input* input, Method method) {
  std::vector<std::string> requests;
  while (!input->empty() && requests.size() < 8) {
    requests.emplace_back(input->Sized());
    if (method != kProduce && method != kConsume) break;
  }
  if (requests.empty()) requests.emplace_back();
  // Of a field that is there twice the last one counts: no fetch waits.
  if (method == kFetch) requests.front() += std::string("\x28\x00", 2);
  return requests;
}

// The messages that an AppendRequest should have added to channel "c".
MessageId MessagesOf(const std::string& bytes) {
  v1::AppendRequest typed;
  FUZZ_CHECK(typed.ParseFromString(bytes) && typed.has_batch());
  return typed.channel() == "c" ? typed.batch().messages_size() : 0;
}

}  // namespace
}  // namespace strata

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  fuzz::Input input(data, size);
  const auto method = static_cast<Method>(input.Byte() % 5);
  const std::vector<std::string> requests = Requests(&input, method);
  Scene& scene = TheScene();
  const MessageId before = scene.server.NextId("c");

  const Status status = testing::SendRaw(
      scene.connection, std::string("/strata.v1.Log/") + kMethods[method], requests);
  // A mistake is the client's, and said so; it never ends the connection or comes from nowhere.
  for (const Reason reason : {Reason::INTERNAL, Reason::CONNECTION_LOST, Reason::NOT_SUPPORTED,
                              Reason::CANCELLED, Reason::TIMEOUT}) {
    FUZZ_CHECK_SAY(status.reason() != reason, status.ToString());
  }

  const MessageId added = scene.server.NextId("c") - before;
  FUZZ_CHECK(added >= 0);
  switch (method) {
    case kAppend:
      // A batch that is sent again is answered with its first result.
      if (status.ok()) {
        const MessageId messages = MessagesOf(requests.front());
        FUZZ_CHECK(added == messages || added == 0);
      } else {
        FUZZ_CHECK_SAY(added == 0, status.ToString());
      }
      break;
    case kAppendMulti:
      FUZZ_CHECK_SAY(status.ok() || added == 0, status.ToString());
      break;
    case kProduce:
      break;
    default:
      FUZZ_CHECK(added == 0);
  }
  return 0;
}
