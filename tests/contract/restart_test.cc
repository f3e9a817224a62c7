// The same directory again, in the same place or another.
#include <filesystem>
#include <fstream>

#include "client/connect.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

TEST_CASE("Everything is there after a restart") {
  Place place(GENERATE(EVERY_TRANSPORT));
  const ChannelInfo before = Get(place.client().CreateChannel("c", {.first_id = 10}));
  const std::string store_id = Get(place.client().GetServerInfo()).store_id;
  Append(place.client(), "c", {"a", "b"});
  const TimeMicros appended = Append(place.client(), "c", {"c"}).append_time;
  Create(place.client(), "gone");
  Ok(place.client().DeleteChannel("gone"));
  place.Restart();

  Client& client = place.client();
  CHECK(Get(client.GetServerInfo()).store_id == store_id);
  CHECK(Get(client.ListChannels()).size() == 1);
  const ChannelInfo after = Get(client.DescribeChannel("c"));
  CHECK(after.number == before.number);
  CHECK(after.options == before.options);
  CHECK(after.created_at == before.created_at);
  CHECK(after.next_id == 13);
  CHECK(after.first_available == 10);
  CHECK(after.last_append_time == appended);
  CHECK(Take(*Read(client, "c"), 3) == Strings{"10:a", "11:b", "12:c"});
  CHECK(Append(client, "c", {"d"}).first_id == 13);
  // A number is never given twice, and neither is the deleted channel's.
  CHECK(Create(client, "new").number > before.number + 1);
}

TEST_CASE("A directory moves between a program and the daemon, back and forth") {
  Place place(Transport::kEmbedded);
  Create(place.client(), "c");
  std::string store_id = Get(place.client().GetServerInfo()).store_id;
  Strings expected;
  MessageId next = 1;
  for (const Transport transport : {Transport::kTcp, Transport::kEmbedded, Transport::kUnix,
                                    Transport::kTcp, Transport::kEmbedded}) {
    auto producer = Produce(place.client(), "c", {.batch_bytes = 100});
    for (int i = 0; i < 50; ++i, ++next) {
      const std::string payload = "m" + std::to_string(next);
      Ok(producer->Send(Message{payload, {{"n", std::to_string(next)}}}, nullptr));
      expected.push_back(std::to_string(next) + ":" + payload);
    }
    Ok(producer->Close());
    {
      auto consumer = Consume(place.client(), "c", "s");
      CHECK(consumer->position() == next - 50);
      Ok(consumer->Acknowledge(next - 1));
    }
    producer.reset();
    place.Down();
    place.Up(transport);
    CHECK(Get(place.client().GetServerInfo()).store_id == store_id);
    auto reader = Read(place.client(), "c");
    CHECK(Take(*reader, expected.size()) == expected);
    Ok(reader->Seek(StartPosition::At(next - 1)));
    const Received last = Get(reader->Receive(kSoon));
    CHECK(last.message().ToMessage().properties.at("n") == std::to_string(next - 1));
  }
}

TEST_CASE("Two embedded clients on one directory share one broker") {
  Place place(Transport::kEmbedded);
  // Another spelling of the same directory.
  auto other = Get(Connect("embedded:" + place.directory() + "/../store"));
  Create(place.client(), "c");
  auto reader = Read(*other, "c");
  Append(place.client(), "c", {"a"});
  CHECK(Take(*reader, 1) == Strings{"1:a"});
  auto holder = Consume(place.client(), "c", "s");
  CHECK(Why(other->OpenConsumer("c", "s")) == "SUBSCRIPTION_HELD");
  // The store stays open as long as one of them is.
  place.Down();
  CHECK(Append(*other, "c", {"b"}).first_id == 2);
  CHECK(Take(*reader, 1) == Strings{"2:b"});
  other.reset();
  place.Up();
  CHECK(Take(*Read(place.client(), "c"), 2) == Strings{"1:a", "2:b"});
}

TEST_CASE("A client and a server in one process may share a directory") {
  Place place(GENERATE(REMOTE_TRANSPORTS));
  auto embedded = Get(Connect("embedded:" + place.directory()));
  Create(*embedded, "c");
  Append(place.client(), "c", {"a"});
  CHECK(Take(*Read(*embedded, "c"), 1) == Strings{"1:a"});
}

TEST_CASE("An embedded client takes its settings from a file") {
  TempDir dir;
  std::ofstream(dir / "strata.yaml") << "limits:\n  maxPayload: 2000\ndurability:\n  sync: none\n";
  auto client = Get(Connect("embedded:" + (dir / "store") + "?config=" + (dir / "strata.yaml")));
  const ServerInfo info = Get(client->GetServerInfo());
  CHECK(info.max_payload == 2000);
  CHECK(info.sync == "none");
  Create(*client, "c");
  CHECK(Why(client->Append("c", std::vector<Message>{{std::string(2001, 'x'), {}}})) ==
        "MESSAGE_TOO_LARGE not");

  std::ofstream(dir / "wrong.yaml") << "limits:\n  maxPayloads: 1000\n";
  const auto refused = Connect("embedded:" + (dir / "other") + "?config=" + (dir / "wrong.yaml"));
  CHECK(Why(refused) == "INVALID_CONFIG");
  CHECK(refused.status().message().find("wrong.yaml:2") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(dir / "other"));
}

TEST_CASE("A directory of something else is refused and not touched") {
  TempDir dir;
  std::filesystem::create_directory(dir / "other");
  std::ofstream(dir / "other/CURRENT") << "MANIFEST-000001\n";
  CHECK(Why(Connect("embedded:" + (dir / "other"))) == "FOREIGN_DIRECTORY");
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "other")) {
    CHECK(entry.path().filename() == "CURRENT");
    ++files;
  }
  CHECK(files == 1);
}

}  // namespace
}  // namespace strata::testing
