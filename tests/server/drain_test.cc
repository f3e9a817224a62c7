// Health, fail-stop and the end of a server.
#include <chrono>
#include <string>
#include <thread>

#include "server/health.h"
#include "tests/server/http_get.h"
#include "tests/server/server_fixture.h"
#include "tests/support/catch.h"

namespace strata::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::BatchOf;
using testing::Consuming;
using testing::Eventually;
using testing::HttpGet;
using testing::OpenFrom;
using testing::Producing;
using testing::SendRaw;
using testing::ServerFixture;

// What gRPC health says: "SERVING", "NOT_SERVING", or the error.
std::string HealthOf(ServerFixture* f, const std::string& service) {
  grpc::GenericStub stub(f->Connect());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const std::string request =
      service.empty() ? "" : "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer bytes(&slice, 1);
  const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", bytes, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) return status.error_message();
  grpc::Slice answer;
  if (!response.DumpToSingleSlice(&answer).ok() || answer.size() != 2) return "?";
  return answer.begin()[1] == 1 ? "SERVING" : "NOT_SERVING";
}

TEST_CASE("health serves '' and strata.append, and knows no other name") {
  ServerFixture f;
  CHECK(HealthOf(&f, "") == "SERVING");
  CHECK(HealthOf(&f, "strata.append") == "SERVING");
  CHECK(HealthOf(&f, "x").find("SERVING") == std::string::npos);
}

TEST_CASE("a fail-stop turns strata.append off and leaves reading on") {
  ServerFixture f({"http.address=127.0.0.1"});
  f.CreateChannel("c");
  f.Append("c", "kept");
  CHECK(HttpGet(f.server().http_address(), "/readyz") == "200 serving\n");
  f.store().FailNextSync();
  Producing stream(f.log());
  REQUIRE(stream.Open("c"));
  stream.Send({"x"});
  CHECK(stream.Finish().reason() == Reason::STORE_FAILED);
  // At once: the append that met it said so.
  CHECK(HealthOf(&f, "strata.append") == "NOT_SERVING");
  CHECK(HealthOf(&f, "") == "SERVING");
  CHECK(HttpGet(f.server().http_address(), "/readyz").find("503 the store failed") == 0);
  CHECK(HttpGet(f.server().http_address(), "/healthz") == "200 ok\n");
  Consuming reader(f.log());
  REQUIRE(reader.Open(OpenFrom("c", StartPosition::Earliest(), 1000)) == 1);
  CHECK(reader.Next().delivery().batch().messages(0).payload() == "kept");

  grpc::ClientContext context;
  v1::GetStatusResponse status;
  REQUIRE(f.admin().GetStatus(&context, {}, &status).ok());
  CHECK(status.state() == "failed");
  CHECK_FALSE(status.accepts_appends());
  CHECK_FALSE(status.failure().empty());
}

TEST_CASE("a fail-stop that no append of a client met is noticed all the same") {
  ServerFixture f;
  f.CreateChannel("c");
  f.store().FailNextSync();
  CHECK_THROWS(f.Append("c", "past the server"));
  CHECK(Eventually([&] { return f.server().health().state() == Health::State::kFailed; }));
}

TEST_CASE("a store that failed says so while it drains, too") {
  ServerFixture f;
  f.CreateChannel("c");
  const auto state = [&] {
    grpc::ClientContext context;
    v1::GetStatusResponse status;
    REQUIRE(f.admin().GetStatus(&context, {}, &status).ok());
    CHECK_FALSE(status.accepts_appends());
    return status.state();
  };
  f.server().health().Drain();
  CHECK(state() == "draining");
  f.store().FailNextSync();
  CHECK_THROWS(f.Append("c", "past the server"));
  CHECK(state() == "failed");
}

TEST_CASE("a full disk turns strata.append off until there is room, and stays ready") {
  ServerFixture f({"http.address=127.0.0.1"});
  Health& health = f.server().health();
  std::string append_health;
  std::string ready;
  // The broker has room and is asked once a second, perhaps just then: told until the answers are
  // from before that.
  REQUIRE(Eventually([&] {
    health.NoteError(Status(Reason::DISK_FULL, "9 of 10 bytes are used"));
    append_health = HealthOf(&f, "strata.append");
    ready = HttpGet(f.server().http_address(), "/readyz");
    return health.state() == Health::State::kFull;
  }));
  CHECK(append_health == "NOT_SERVING");
  CHECK(ready ==
        "200 serving, but the disk is full and appends are refused: 9 of 10 bytes are used\n");
  CHECK(HealthOf(&f, "") == "SERVING");

  CHECK(Eventually([&] { return health.state() == Health::State::kServing; }));
  CHECK(HealthOf(&f, "strata.append") == "SERVING");
  CHECK(HttpGet(f.server().http_address(), "/readyz") == "200 serving\n");
}

TEST_CASE("a store at the hard mark says full, and serves again once it is below it") {
  ServerFixture f({}, [](broker::Config* config) { config->broker.disk_budget = 1'000'000'000; });
  f.CreateChannel("c");
  const auto state = [&] {
    grpc::ClientContext context;
    v1::GetStatusResponse status;
    REQUIRE(f.admin().GetStatus(&context, {}, &status).ok());
    CHECK(status.accepts_appends() == (status.state() == "serving"));
    CHECK(status.space_state() == (status.state() == "serving" ? "normal" : "full"));
    return status.state();
  };
  CHECK(state() == "serving");
  f.store().SetUsage({1'000'000'000, uint64_t{1} << 40});
  REQUIRE(f.broker().Sweep().ok());
  CHECK(state() == "full");
  // Without an append that meets it.
  CHECK(Eventually([&] { return f.server().health().state() == Health::State::kFull; }));
  CHECK(HealthOf(&f, "strata.append") == "NOT_SERVING");
  CHECK_THROWS(f.Append("c", "refused"));

  f.store().SetUsage({0, uint64_t{1} << 40});
  REQUIRE(f.broker().Sweep().ok());
  CHECK(state() == "serving");
  f.Append("c", "accepted");
  CHECK(Eventually([&] { return HealthOf(&f, "strata.append") == "SERVING"; }));
}

TEST_CASE("http answers two pages and nothing else") {
  ServerFixture f({"http.address=127.0.0.1"});
  const std::string address = f.server().http_address();
  CHECK(HttpGet(address, "/healthz") == "200 ok\n");
  CHECK(HttpGet(address, "/readyz") == "200 serving\n");
  CHECK(HttpGet(address, "/readyz/more").find("404") == 0);
  CHECK(HttpGet(address, "/").find("404") == 0);
  CHECK(HttpGet(address, "/etc/passwd").find("404") == 0);
  CHECK(HttpGet(address, "/../../etc/passwd").find("root") == std::string::npos);
}

TEST_CASE("http says that the store is opening before the server serves") {
  auto config = broker::LoadConfig("", {"http.port=-1"});
  REQUIRE(config.ok());
  Server server(*config, Logger());
  REQUIRE(server.StartHttp().ok());
  CHECK(HttpGet(server.http_address(), "/readyz") == "503 opening the store\n");
  CHECK(HttpGet(server.http_address(), "/healthz") == "200 ok\n");
}

TEST_CASE("draining answers what is under way, then ends every stream, and refuses new ones") {
  ServerFixture f({"http.address=127.0.0.1"});
  f.CreateChannel("c");
  f.store().HoldSyncs();
  Producing producing(f.log());
  REQUIRE(producing.Open("c"));
  REQUIRE(producing.Send({"in flight"}));
  Consuming consuming(f.log());
  REQUIRE(consuming.Open(OpenFrom("c", StartPosition::Earliest(), 1000)) == 1);
  REQUIRE(Eventually([&] { return f.broker().Stats().pending_bytes > 0; }));

  bool drained = false;
  std::thread draining([&] { drained = f.server().Drain(seconds(60)); });
  const bool said = Eventually([&] { return HealthOf(&f, "") == "NOT_SERVING"; });
  const std::string append_health = HealthOf(&f, "strata.append");
  const std::string readyz = HttpGet(f.server().http_address(), "/readyz");
  v1::ProduceRequest open;
  open.mutable_open()->set_channel("c");
  const Status refused = SendRaw(f.Connect(), "/strata.v1.Log/Produce", {open.SerializeAsString()});
  v1::AppendRequest append;
  append.set_channel("c");
  *append.mutable_batch() = BatchOf({"x"});
  const Status unary = SendRaw(f.Connect(), "/strata.v1.Log/Append", {append.SerializeAsString()});
  f.store().ReleaseSyncs();
  const auto results = producing.Results();
  const Status produced = producing.Finish();
  const Status consumed = consuming.Finish();
  draining.join();

  CHECK(said);
  CHECK(append_health == "NOT_SERVING");
  CHECK(readyz == "503 draining\n");
  CHECK(refused.reason() == Reason::SHUTTING_DOWN);
  CHECK(refused.fate() == DataFate::kNotAppended);
  CHECK(unary.reason() == Reason::SHUTTING_DOWN);
  REQUIRE(results.size() == 1);
  CHECK(results[0].first_id() == 1);
  CHECK(produced.reason() == Reason::SHUTTING_DOWN);
  CHECK(consumed.reason() == Reason::SHUTTING_DOWN);
  CHECK(drained);
  CHECK(SendRaw(f.Connect(), "/strata.v1.Log/Consume", {""}).reason() == Reason::SHUTTING_DOWN);
}

TEST_CASE("draining gives up after its time, and at once when told to hurry") {
  ServerFixture f;
  f.CreateChannel("c");
  f.store().HoldSyncs();
  Producing producing(f.log());
  REQUIRE(producing.Open("c"));
  REQUIRE(producing.Send({"x"}));
  REQUIRE(Eventually([&] { return f.broker().Stats().pending_bytes > 0; }));
  CHECK_FALSE(f.server().Drain(milliseconds(10)));
  const auto start = std::chrono::steady_clock::now();
  bool drained = true;
  std::thread draining([&] { drained = f.server().Drain(seconds(60)); });
  f.server().HurryUp();
  draining.join();
  CHECK_FALSE(drained);
  CHECK(std::chrono::steady_clock::now() - start < seconds(30));
}

TEST_CASE("stopping cuts off who does not end, and lets a server follow on the same addresses") {
  ServerFixture f;
  f.CreateChannel("c");
  f.store().HoldSyncs();
  Producing producing(f.log());
  REQUIRE(producing.Open("c"));
  REQUIRE(producing.Send({"x"}));
  REQUIRE(Eventually([&] { return f.broker().Stats().pending_bytes > 0; }));
  f.server().Stop();
  const Status status = producing.Finish();
  CHECK_FALSE(status.ok());
  CHECK(status.fate() != DataFate::kNotAppended);
  f.store().ReleaseSyncs();
  CHECK_FALSE(std::filesystem::exists(f.socket_path()));

  const auto config = broker::LoadConfig(
      "", {"server.address=none", "http.address=none", "server.unixSocket=" + f.socket_path()});
  auto store = std::make_unique<testing::MemoryStore>();
  auto recovered = store->Recover();
  auto broker = std::make_shared<broker::Broker>(config->broker, std::move(store), recovered);
  Server again(*config, Logger());
  REQUIRE(again.Start(broker).ok());
  CHECK(again.addresses() == std::vector<std::string>{"unix:" + f.socket_path()});
  again.Stop();
}

}  // namespace
}  // namespace strata::server
