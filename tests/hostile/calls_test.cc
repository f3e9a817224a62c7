// Floods of calls and messages that are well-formed enough to reach the handlers.
#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "base/batch.h"
#include "client/connect.h"
#include "strata/v1/log.pb.h"
#include "tests/hostile/siege.h"
#include "tests/support/catch.h"
#include "tests/support/http2_wire.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kProduce[] = "/strata.v1.Log/Produce";
constexpr char kConsume[] = "/strata.v1.Log/Consume";
constexpr char kAppend[] = "/strata.v1.Log/Append";
constexpr char kCreate[] = "/strata.v1.Admin/CreateChannel";

std::string OpenProduce(const std::string& channel) {
  v1::ProduceRequest request;
  request.mutable_open()->set_channel(channel);
  return request.SerializeAsString();
}

std::string OpenConsume(const std::string& channel, int64_t credit) {
  v1::ConsumeRequest request;
  request.mutable_open()->set_channel(channel);
  request.mutable_open()->set_credit(credit);
  request.mutable_open()->mutable_start()->mutable_earliest();
  return request.SerializeAsString();
}

// A stream that is opened with a first message and stays open.
std::string Begin(uint32_t stream, const char* path, const std::string& message) {
  return Frame(kHeaders, kEndHeaders, stream, RequestHeaders(path)) +
         Frame(kData, kNoFlags, stream, GrpcMessage(message));
}

TEST_CASE("floods of streams that are opened and cancelled leave nothing behind") {
  Siege siege;
  int64_t after_first = 0;
  const int rounds = 3 * HostileFactor();
  for (int round = 0; round < rounds; ++round) {
    RawConnection connection(siege.tcp());
    REQUIRE(connection.Send(Greeting()));
    for (uint32_t i = 0; i < 1000; ++i) {
      const uint32_t stream = 1 + 2 * i;
      const bool consume = i % 2 == 0;
      // Some before they are open, some after.
      connection.Send(
          Begin(stream, consume ? kConsume : kProduce,
                consume ? OpenConsume("bystander", 1 << 20) : OpenProduce("bystander")) +
          (i % 3 == 0 ? Frame(kResetStream, kNoFlags, stream, Number(8, 4)) : ""));
      // What it delivers lies unread.
    }
    if (round == 0) after_first = siege.ResidentMb();
  }
  INFO("after the first round " << after_first << " MB, now " << siege.ResidentMb() << " MB");
  CHECK(siege.ResidentMb() <= after_first + 64);
  CheckToll(&siege, 160);
}

TEST_CASE("streams beyond a limit are refused with its name, and taken again when there is room") {
  Siege siege({"limits.maxStreams=40", "limits.maxStreamsPerConnection=30"});
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::unique_ptr<Producer>> producers;
  std::string refused;
  // The bystander has one of the 40.
  for (int i = 0; i < 2; ++i) {
    auto client = ConnectRemote(siege.tcp());
    REQUIRE(client.ok());
    clients.push_back(std::move(*client));
    for (int j = 0; j < 30; ++j) {
      auto opened = clients.back()->OpenProducer("bystander");
      if (opened.ok()) {
        producers.push_back(std::move(*opened));
      } else {
        refused = opened.status().ToString();
        break;
      }
    }
    if (i == 0) {
      CHECK(producers.size() == 30);
      const auto one_more = clients.back()->OpenProducer("bystander");
      REQUIRE_FALSE(one_more.ok());
      CHECK(one_more.status().reason() == Reason::BACK_PRESSURE);
      CHECK(one_more.status().message().find("limits.maxStreamsPerConnection") !=
            std::string::npos);
    }
  }
  CHECK(producers.size() == 39);
  INFO(refused);
  CHECK(refused.find("limits.maxStreams allows") != std::string::npos);
  producers.clear();
  CHECK(clients[0]->OpenProducer("bystander").ok());
  clients.clear();
  CheckToll(&siege, 32);
}

TEST_CASE("protobuf that is nested, endless or nonsense is refused") {
  Siege siege;
  const std::string nested_groups = std::string(20'000, '\x0b') + std::string(20'000, '\x0c');
  std::string nested_messages;
  for (int i = 0; i < 5000; ++i) {
    std::string length;
    for (size_t left = nested_messages.size(); length.empty() || left > 0; left >>= 7) {
      length += static_cast<char>((left & 127) | (left > 127 ? 128 : 0));
    }
    nested_messages = "\x1a" + length + nested_messages;
    if (nested_messages.size() > 15'000) break;
  }
  const std::string huge_varint = "\x08" + std::string(12, '\xff');
  const std::string huge_length = std::string("\x7a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
  const std::string utf8 = std::string("\x0a\x04\xff\xfe\xfd\xfc", 6);
  // Each on a connection of its own: all of them are more than the 64 KiB that may be on their way at the
  // beginning of one, and what is above is cut off from its call, which then ends in peace.
  for (const std::string& body :
       {nested_messages, huge_varint, huge_length, utf8, std::string("\x00\x00\x00", 3),
        nested_groups.substr(0, 15'000)}) {
    for (const char* const path : {kAppend, kCreate, kProduce, kConsume,
                                   "/strata.v1.Log/AppendMulti", "/strata.v1.Log/Fetch"}) {
      INFO(path << " with " << body.size() << " bytes");
      RawConnection connection(siege.unix_socket());
      connection.Send(Greeting() + UnaryCall(1, path, body));
      const Heard heard = connection.Hear(seconds(10), "grpc-status");
      CHECK_FALSE(heard.closed);
      CHECK(heard.Says("grpc-status"));
      CHECK_FALSE(connection.Hear(milliseconds(0))
                      .Says("grpc-status\x01"
                            "0"));
    }
  }
  CheckToll(&siege, 32);
}

TEST_CASE("millions of empty messages and batches are answered or refused, in bounded memory") {
  Siege siege;
  RawConnection connection(siege.tcp());
  connection.Send(Greeting() + Begin(1, kProduce, OpenProduce("bystander")));
  // 3,000 messages of 5 bytes in each frame: the first one that has no batch ends the stream.
  std::string many;
  for (int i = 0; i < 3000; ++i) many += GrpcMessage("");
  for (int i = 0; i < 4 * HostileFactor(); ++i)
    connection.Send(Frame(kData, kNoFlags, 1, many), seconds(1));
  CHECK(connection
            .Hear(seconds(10),
                  "grpc-status\x01"
                  "3")
            .Says("grpc-status\x01"
                  "3"));
  // Empty messages, two bytes each: 7,000 of them are a batch, 70,000 more than one may have.
  auto client = ConnectRemote(siege.tcp());
  REQUIRE(client.ok());
  REQUIRE((*client)->CreateChannel("empty").ok());
  for (const int count : {7000, 70'000}) {
    std::string bytes;
    for (int i = 0; i < count; ++i) bytes += std::string("\x0a\x00", 2);
    const auto appended = (*client)->Append("empty", Buffer(bytes));
    CHECK(appended.ok() == (count == 7000));
  }
  client->reset();
  connection.Close();
  CheckToll(&siege, 48);
}

TEST_CASE(
    "readers that never read cost a batch each, and writers that never finish a message its "
    "bytes") {
  Siege siege;
  {
    auto client = ConnectRemote(siege.tcp());
    REQUIRE(client.ok());
    REQUIRE((*client)->CreateChannel("large").ok());
    BatchBuilder batch;
    for (int i = 0; i < 32; ++i) {
      batch.Add(std::string(32'000, 'x'));
    }
    const Buffer bytes = batch.Take();
    for (int i = 0; i < 8; ++i) REQUIRE((*client)->Append("large", bytes).ok());
  }
  std::vector<RawConnection> slow;
  for (int i = 0; i < 40; ++i) {
    slow.emplace_back(siege.tcp(), 4096);
    // No window: the server has to keep what it would deliver.
    const std::string no_window = Frame(kSettings, kNoFlags, 0, Number(4, 2) + Number(0, 4));
    slow.back().Send(Greeting() + no_window + Begin(1, kConsume, OpenConsume("large", 1 << 30)));
    slow.emplace_back(siege.tcp());
    // A message of 16 MB, of which a few KB come.
    slow.back().Send(Greeting() + Frame(kHeaders, kEndHeaders, 1, RequestHeaders(kAppend)) +
                     Frame(kData, kNoFlags, 1, Number(0, 1) + Number(16 << 20, 4) + "x"));
    for (int j = 0; j < 20; ++j) slow.back().Send(Frame(kData, kNoFlags, 1, "x"));
  }
  const uint64_t before = siege.messages();
  for (int i = 0; i < 2000 && siege.messages() < before + 100; ++i) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  CHECK(siege.messages() >= before + 100);
  slow.clear();
  CheckToll(&siege, 130);
}

}  // namespace
}  // namespace strata::testing
