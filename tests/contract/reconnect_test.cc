// What producers, readers and consumers notice of a daemon that goes away and comes back: time.
#include <algorithm>
#include <filesystem>
#include <future>
#include <thread>

#include "client/connect.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;

// A daemon on a Unix socket, whose address stays, and a client that outlives it.
struct Scene {
  explicit Scene(ClientOptions options = {}) : client(Get(Connect(place.address(), options))) {}

  // What happens to the store while the daemon is away.
  void WhileAway(const std::function<void(Client&)>& change) {
    place.Down();
    place.Up(Transport::kEmbedded);
    change(place.client());
    place.Down();
    place.Up(Transport::kUnix);
  }

  Place place{Transport::kUnix};
  std::unique_ptr<Client> client;
};

Strings Numbered(int first, int last) {
  Strings expected;
  for (int i = first; i <= last; ++i) expected.push_back(std::to_string(i) + ":m");
  return expected;
}

void Send(Producer& producer, int count) {
  for (int i = 0; i < count; ++i) Ok(producer.Send("m", nullptr));
}

TEST_CASE("A producer, a reader and a consumer go on after a restart, each message once") {
  Scene scene;
  Create(*scene.client, "c");
  const ProducerOptions options = {.name = GENERATE("", "named"), .batch_bytes = 1};
  auto producer = Produce(*scene.client, "c", options);
  auto reader = Read(*scene.client, "c");
  auto consumer = Consume(*scene.client, "c", "s");
  Send(*producer, 50);
  CHECK(Take(*reader, 30) == Numbered(1, 30));
  CHECK(Take(*consumer, 20) == Numbered(1, 20));
  for (int restart = 0; restart < 3; ++restart) {
    Send(*producer, 50);
    scene.place.Restart();
    Send(*producer, 50);
  }
  Ok(producer->Flush());
  CHECK(Take(*reader, 320) == Numbered(31, 350));
  CHECK(Take(*consumer, 330) == Numbered(21, 350));
  CHECK(reader->Receive(kNow).status().reason() == Reason::TIMEOUT);
  CHECK(Get(scene.client->DescribeChannel("c")).next_id == 351);
  Ok(producer->Close());
}

TEST_CASE("While the daemon is away nothing hangs, and what was sent goes out when it is back") {
  Scene scene;
  Create(*scene.client, "c");
  auto producer = Produce(*scene.client, "c");
  auto reader = Read(*scene.client, "c");
  scene.place.Down();
  CHECK(Why(reader->Receive(milliseconds(20))) == "TIMEOUT");
  CHECK(Why(reader->Receive(kNow)) == "TIMEOUT");
  Send(*producer, 10);
  CHECK(producer->Flush(milliseconds(20)).reason() == Reason::TIMEOUT);
  scene.place.Up();
  Ok(producer->Flush());
  CHECK(Take(*reader, 10) == Numbered(1, 10));
}

TEST_CASE("Calls that may be made twice wait for a daemon that restarts") {
  Scene scene;
  Create(*scene.client, "c");
  scene.place.Down();
  auto info = std::async(std::launch::async, [&] { return scene.client->DescribeChannel("c"); });
  auto reader = std::async(
      std::launch::async, [&] { return scene.client->OpenReader("c", StartPosition::Earliest()); });
  auto producer = std::async(std::launch::async, [&] { return scene.client->OpenProducer("c"); });
  scene.place.Up();
  CHECK(Get(info.get()).next_id == 1);
  CHECK(Get(reader.get())->position() == 1);
  Ok(Get(producer.get())->Close());
}

TEST_CASE(
    "A daemon that does not come back in time is a lost connection, and says what is stored") {
  Scene scene({.reconnect_timeout = milliseconds(100)});
  Create(*scene.client, "c");
  auto producer = Produce(*scene.client, "c");
  auto reader = Read(*scene.client, "c");
  scene.place.Down();
  // It may have been on its way when the connection broke, or never have left.
  const Status lost = producer->Send(Message{"m", {}}).get().status();
  CHECK(lost.reason() == Reason::CONNECTION_LOST);
  CHECK(lost.fate() != DataFate::kAppended);
  Result<Received> received = reader->Receive(kSoon);
  CHECK(Why(received) == "CONNECTION_LOST");
  CHECK(Why(scene.client->DescribeChannel("c")) == "CONNECTION_LOST");
  scene.place.Up();
  CHECK(Why(producer->Send(Message{"m", {}}).get()) == "CONNECTION_LOST not");
  CHECK(Why(reader->Receive(kSoon)) == "CONNECTION_LOST");
}

TEST_CASE("A reader that is asked too late for its patience still finds a daemon that is back") {
  Scene scene({.reconnect_timeout = milliseconds(1)});
  Create(*scene.client, "c");
  auto reader = Read(*scene.client, "c");
  scene.place.Down();
  // Notices the break; the patience is over with the next call.
  const Result<Received> noticed = reader->Receive(kNow);
  CHECK_FALSE(noticed.ok());
  scene.place.Up();
  Append(scene.place.client(), "c", {"m"});
  if (noticed.status().reason() == Reason::TIMEOUT) CHECK(Take(*reader, 1) == Numbered(1, 1));
}

TEST_CASE("A batch under whose number another instance has stored its own is not called stored") {
  Scene scene;
  Create(*scene.client, "c");
  auto first = Produce(*scene.client, "c", {.name = "same"});
  scene.place.Down();
  std::future<Result<MessageId>> answer = first->Send(Message{"of the first", {}});
  scene.place.Up(Transport::kEmbedded);
  auto second = Produce(scene.place.client(), "c", {.name = "same"});
  CHECK(Get(second->Send(Message{"of the second", {}}).get()) == 1);
  second.reset();
  scene.place.Down();
  scene.place.Up(Transport::kUnix);
  const Status status = answer.get().status();
  CHECK(status.reason() == Reason::INVALID_ARGUMENT);
  CHECK(status.fate() != DataFate::kAppended);
  CHECK(Get(scene.client->DescribeChannel("c")).next_id == 2);
}

TEST_CASE("Closing a client ends the waiting for a channel, too") {
  Scene scene;
  auto waiting = std::async(std::launch::async, [&] {
    return scene.client->OpenReader("later", {}, {.wait_for_channel = std::chrono::minutes(1)});
  });
  auto other = Get(Connect(scene.place.address()));
  scene.client->Close();
  CHECK(Why(waiting.get()) == "CLIENT_CLOSED");
}

TEST_CASE("Closing a client whose daemon is away ends everything at once") {
  Scene scene;
  Create(*scene.client, "c");
  auto producer = Produce(*scene.client, "c", {.name = "w", .term = 1, .exclusive = true});
  auto reader = Read(*scene.client, "c");
  auto consumer = Consume(*scene.client, "c", "s");
  scene.place.Down();
  auto receive = std::async(std::launch::async, [&] { return reader->Receive(kSoon); });
  auto call = std::async(std::launch::async, [&] { return scene.client->DescribeChannel("c"); });
  Send(*producer, 1);
  scene.client->Close();
  CHECK(Why(receive.get()) == "CLIENT_CLOSED");
  CHECK(Why(consumer->Receive(kNow)) == "CLIENT_CLOSED");
  CHECK(producer->Send("m", nullptr).reason() == Reason::CLIENT_CLOSED);
  call.wait();
}

TEST_CASE("An exclusive producer keeps its channel across restarts until it is closed") {
  Scene scene;
  Create(*scene.client, "c");
  auto writer = Produce(*scene.client, "c", {.name = "w", .term = 1, .exclusive = true});
  CHECK(writer->Send(Message{"m", {}}).get().value() == 1);
  scene.place.Restart();
  CHECK(Why(scene.place.client().Append("c", std::vector<Message>{{"x", {}}})) == "FENCED not");
  CHECK(writer->Send(Message{"m", {}}).get().value() == 2);
  Ok(writer->Close());
  CHECK(Append(*scene.client, "c", {"x"}).first_id == 3);
  CHECK(Get(Produce(*scene.client, "c")->Send(Message{"y", {}}).get()) == 4);
}

TEST_CASE("A producer that was fenced while it was away hears so, and never comes back") {
  Scene scene;
  Create(*scene.client, "c");
  auto old = Produce(*scene.client, "c", {.name = "w", .term = 1});
  CHECK(old->Send(Message{"m", {}}).get().value() == 1);
  scene.WhileAway([](Client& client) {
    Ok(Produce(client, "c", {.name = GENERATE("w", "other"), .term = 2, .exclusive = true})
           ->Close());
  });
  CHECK(old->Send(Message{"m", {}}).get().status().reason() == Reason::FENCED);
  CHECK(Why(old->Send(Message{"m", {}}).get()) == "FENCED not");
  CHECK(Why(scene.client->OpenProducer("c", {.name = "w", .term = 1})) == "FENCED");
  CHECK(Get(scene.client->DescribeChannel("c")).next_id == 2);
}

TEST_CASE("Nothing goes on in a channel that is another one now") {
  Scene scene;
  Create(*scene.client, "c");
  auto producer = Produce(*scene.client, "c");
  auto reader = Read(*scene.client, "c");
  auto consumer = Consume(*scene.client, "c", "s");
  Ok(producer->Send("m", nullptr));
  Ok(producer->Flush());
  SECTION("created anew under the same name") {
    scene.WhileAway([](Client& client) {
      Ok(client.DeleteChannel("c"));
      Create(client, "c");
    });
  }
  SECTION("in another store, with the same name and number") {
    scene.place.Down();
    std::filesystem::remove_all(scene.place.directory());
    scene.place.Up();
    Create(scene.place.client(), "c");
  }
  CHECK(Why(producer->Send(Message{"m", {}}).get()).starts_with("CHANNEL_RECREATED"));
  const auto end_of = [](Reader& one) {
    Result<Received> last = one.Receive(kSoon);
    while (last.ok()) last = one.Receive(kSoon);
    return Why(last);
  };
  CHECK(end_of(*reader) == "CHANNEL_RECREATED");
  // The other store knows nothing of its subscription, which it says first.
  const Strings ends = {"CHANNEL_RECREATED", "SUBSCRIPTION_NOT_FOUND"};
  CHECK(std::find(ends.begin(), ends.end(), end_of(*consumer)) != ends.end());
  CHECK(Get(scene.place.client().DescribeChannel("c")).next_id == 1);
}

TEST_CASE("A subscription that was deleted meanwhile is not created again by its consumer") {
  Scene scene;
  Create(*scene.client, "c");
  auto consumer = Consume(*scene.client, "c", "s");
  scene.WhileAway([](Client& client) { Ok(client.DeleteSubscription("c", "s")); });
  CHECK(Why(consumer->Receive(kSoon)) == "SUBSCRIPTION_NOT_FOUND");
  CHECK(Get(scene.client->ListSubscriptions("c")).empty());
}

TEST_CASE("A consumer goes on behind its last delivery, unless somebody else moved the cursor") {
  Scene scene;
  Create(*scene.client, "c");
  for (int i = 0; i < 10; ++i) Append(*scene.client, "c", {"m"});
  auto consumer = Consume(*scene.client, "c", "s");
  CHECK(Take(*consumer, 10) == Numbered(1, 10));
  Ok(consumer->Acknowledge(3));
  const auto append_five = [](Client& client) {
    for (int i = 0; i < 5; ++i) Append(client, "c", {"m"});
  };
  SECTION("nobody did") {
    scene.WhileAway(append_five);
    CHECK(Take(*consumer, 5) == Numbered(11, 15));
  }
  SECTION("sought backward") {
    scene.WhileAway(
        [](Client& client) { Get(client.SeekSubscription("c", "s", StartPosition::At(2))); });
    CHECK(Take(*consumer, 9) == Numbered(2, 10));
  }
  SECTION("sought forward") {
    scene.WhileAway([&](Client& client) {
      append_five(client);
      Get(client.SeekSubscription("c", "s", StartPosition::At(14)));
    });
    CHECK(Take(*consumer, 2) == Numbered(14, 15));
  }
  SECTION("and what is gone meanwhile is a gap in its place") {
    scene.WhileAway([&](Client& client) {
      append_five(client);
      Get(client.TruncateChannel("c", 13));
    });
    CHECK(Take(*consumer, 3) == Strings{"gap 11-13 TRIMMED", "14:m", "15:m"});
  }
}

TEST_CASE("Acknowledgements that were not waited for arrive after a restart, and on closing") {
  Scene scene;
  Create(*scene.client, "c");
  for (int i = 0; i < 10; ++i) Append(*scene.client, "c", {"m"});
  auto consumer = Consume(*scene.client, "c", "s");
  CHECK(consumer->AcknowledgeAsync(1).reason() == Reason::ACK_BEYOND_END);
  CHECK(Take(*consumer, 4) == Numbered(1, 4));
  for (MessageId id = 1; id <= 4; ++id) Ok(consumer->AcknowledgeAsync(id));
  scene.place.Restart();
  CHECK(Take(*consumer, 2) == Numbered(5, 6));
  Ok(consumer->AcknowledgeAsync(5));
  consumer->Close();
  CHECK(Get(scene.client->DescribeSubscription("c", "s")).cursor == 6);
  CHECK(Take(*Consume(*scene.client, "c", "s"), 1) == Numbered(6, 6));
}

TEST_CASE("Of two consumers that take turns one holds the subscription after a restart, too") {
  Scene scene;
  Create(*scene.client, "c");
  for (int i = 0; i < 4; ++i) Append(*scene.client, "c", {"m"});
  ConsumerOptions options;
  options.mode = ConsumerOptions::Mode::kFailover;
  auto first = Consume(*scene.client, "c", "s", options);
  auto second = Consume(*scene.client, "c", "s", options);
  CHECK(first->active());
  CHECK_FALSE(second->active());
  CHECK(second->position() == 0);
  CHECK(Why(second->Receive(kNow)) == "TIMEOUT");
  CHECK(Take(*first, 2) == Numbered(1, 2));
  Ok(first->Acknowledge(2));
  scene.place.Restart();
  CHECK(Take(*first, 1) == Numbered(3, 3));
  CHECK(Why(second->Receive(milliseconds(10))) == "TIMEOUT");
  first->Close();
  CHECK(Take(*second, 2) == Numbered(3, 4));
  CHECK(second->active());
}

TEST_CASE("A seek while the daemon is away is made when it is back") {
  Scene scene;
  Create(*scene.client, "c");
  for (int i = 0; i < 5; ++i) Append(*scene.client, "c", {"m"});
  auto reader = Read(*scene.client, "c");
  auto consumer = Consume(*scene.client, "c", "s");
  CHECK(Take(*reader, 5) == Numbered(1, 5));
  CHECK(Take(*consumer, 5) == Numbered(1, 5));
  scene.place.Restart();
  Ok(reader->Seek(StartPosition::At(4)));
  Ok(consumer->Seek(StartPosition::After(1)));
  CHECK(Take(*reader, 2) == Numbered(4, 5));
  CHECK(Take(*consumer, 4) == Numbered(2, 5));
}

}  // namespace
}  // namespace strata::testing
