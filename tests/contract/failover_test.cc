// Several who want one subscription, channels that come later, acknowledging without waiting, and gaps
// in their place.
#include <thread>

#include "tests/contract/place.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;
using Mode = ConsumerOptions::Mode;

void Fill(Client& client) {
  Create(client, "c");
  Append(client, "c", {"a", "b", "c"});
  Append(client, "c", {"d"});
}

std::unique_ptr<Consumer> Failover(Client& client, const std::string& holder) {
  return Consume(client, "c", "s", {.holder = holder, .mode = Mode::kFailover});
}

MessageId Cursor(Client& client) { return Get(client.DescribeSubscription("c", "s")).cursor; }

// Until it holds, for what another thread of the client or broker brings about.
template <typename Check>
bool Soon(Check check) {
  const auto deadline = std::chrono::steady_clock::now() + kSoon;
  while (!check()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("A standby waits its turn, and goes on where the holder's acknowledgements ended") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  auto other = place.NewClient();
  Fill(client);
  auto holder = Failover(client, "one");
  auto standby = Failover(*other, "two");
  CHECK(holder->active());
  CHECK_FALSE(standby->active());
  CHECK(standby->position() == 0);
  CHECK(Why(standby->Receive(milliseconds(20))) == "TIMEOUT");
  CHECK(Why(standby->Acknowledge(2)) == "SUBSCRIPTION_HELD");
  CHECK(Cursor(client) == 1);
  const SubscriptionInfo info = Get(client.DescribeSubscription("c", "s"));
  CHECK(info.holder == "one");
  CHECK(info.standby == 1);

  CHECK(Take(*holder, 3) == Strings{"1:a", "2:b", "3:c"});
  Ok(holder->Acknowledge(2));
  holder->Close();
  CHECK(Take(*standby, 2) == Strings{"3:c", "4:d"});
  CHECK(standby->active());
  CHECK(Get(client.DescribeSubscription("c", "s")).holder == "two");
  CHECK(Get(client.DescribeSubscription("c", "s")).standby == 0);
  Ok(standby->Acknowledge(4));
  CHECK(Cursor(client) == 5);
}

TEST_CASE("A receive that waits for its turn is woken by it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  auto other = place.NewClient();
  Fill(client);
  auto holder = Failover(client, "one");
  auto standby = Failover(*other, "two");
  Strings received;
  std::thread waiting([&] {
    const auto one = standby->Receive(kSoon);
    received.push_back(one.ok() ? Describe(*one) : Why(one));
  });
  holder.reset();
  waiting.join();
  CHECK(received == Strings{"1:a"});
}

TEST_CASE("Standbys have their turns in the order in which they came, those who left left out") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Fill(place.client());
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::unique_ptr<Consumer>> consumers;
  for (const char* name : {"1", "2", "3", "4"}) {
    clients.push_back(place.NewClient());
    consumers.push_back(Failover(*clients.back(), name));
  }
  const auto standbys = [&] { return Get(place.client().DescribeSubscription("c", "s")).standby; };
  CHECK(standbys() == 3);
  consumers[1].reset();
  CHECK(Soon([&] { return standbys() == 2; }));
  consumers[0].reset();
  CHECK(Take(*consumers[2], 1) == Strings{"1:a"});
  CHECK_FALSE(consumers[3]->active());
  clients[2]->Close();
  CHECK(Take(*consumers[3], 1) == Strings{"1:a"});
}

TEST_CASE("An exclusive consumer is refused while somebody holds or waits, by the holder's name") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  auto other = place.NewClient();
  Fill(client);
  auto holder = Failover(client, "one");
  const auto refused = other->OpenConsumer("c", "s");
  CHECK(Why(refused) == "SUBSCRIPTION_HELD");
  CHECK(refused.status().message().find("one") != std::string::npos);
  // A failover consumer waits for an exclusive one, too.
  holder.reset();
  auto exclusive = Consume(*other, "c", "s");
  auto standby = Failover(client, "three");
  CHECK_FALSE(standby->active());
  exclusive->Close();
  CHECK(Take(*standby, 1) == Strings{"1:a"});
}

TEST_CASE("A standby ends with its client, its channel and its subscription") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto holder = Failover(client, "one");
  auto other = place.NewClient();
  auto closed = Failover(*other, "two");
  other->Close();
  CHECK(Why(closed->Receive(kSoon)) == "CLIENT_CLOSED");
  auto third = place.NewClient();
  auto left = Failover(*third, "three");
  Ok(client.DeleteChannel("c"));
  CHECK(Why(left->Receive(kSoon)) == "CHANNEL_DELETED");
  // What it had received before comes first.
  Result<Received> last = holder->Receive(kSoon);
  while (last.ok()) last = holder->Receive(kSoon);
  CHECK(Why(last) == "CHANNEL_DELETED");
}

TEST_CASE(
    "Opening may wait for a channel that comes later, and otherwise says that it is missing") {
  Place place(GENERATE(EVERY_TRANSPORT));
  auto other = place.NewClient();
  CHECK(Why(other->OpenReader("c", {})) == "CHANNEL_NOT_FOUND");
  CHECK(Why(other->OpenReader("c", {}, {.wait_for_channel = milliseconds(20)})) ==
        "CHANNEL_NOT_FOUND");
  CHECK(Why(other->OpenConsumer("c", "s", {.wait_for_channel = milliseconds(20)})) ==
        "CHANNEL_NOT_FOUND");
  const bool with_subscription = GENERATE(false, true);
  Strings received;
  std::thread waiting([&] {
    std::unique_ptr<Reader> reader;
    if (with_subscription) {
      auto opened = other->OpenConsumer("c", "s", {.wait_for_channel = kSoon});
      if (opened.ok()) reader = std::move(opened).value();
    } else {
      auto opened = other->OpenReader("c", {}, {.wait_for_channel = kSoon});
      if (opened.ok()) reader = std::move(opened).value();
    }
    if (reader == nullptr) return;
    const auto one = reader->Receive(kSoon);
    received.push_back(one.ok() ? Describe(*one) : Why(one));
  });
  Create(place.client(), "other");
  Create(place.client(), "c");
  Append(place.client(), "c", {"first"});
  waiting.join();
  CHECK(received == Strings{"1:first"});
}

TEST_CASE("Waiting for a channel ends when the client is closed") {
  Place place(GENERATE(EVERY_TRANSPORT));
  auto other = place.NewClient();
  std::string why;
  std::thread waiting(
      [&] { why = Why(other->OpenReader("c", {}, {.wait_for_channel = std::chrono::hours(1)})); });
  other->Close();
  waiting.join();
  CHECK(why == "CLIENT_CLOSED");
}

TEST_CASE("Acknowledging without waiting reaches the cursor, at the close at the latest") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  constexpr MessageId kMessages = 500;
  for (int i = 0; i < 5; ++i) Append(client, "c", Strings(100, "m"));
  auto consumer = Consume(client, "c", "s");
  for (MessageId id = 1; id <= kMessages; ++id) {
    REQUIRE(Get(consumer->Receive(kSoon)).message().id == id);
    REQUIRE(consumer->AcknowledgeAsync(id).ok());
    if (id == kMessages / 2) CHECK(Soon([&] { return Cursor(client) == kMessages / 2 + 1; }));
  }
  // What was never received is refused at once, and an old one is no step back.
  CHECK(Why(consumer->AcknowledgeAsync(kMessages + 1)) == "ACK_BEYOND_END");
  Ok(consumer->AcknowledgeAsync(3));
  consumer->Close();
  CHECK(Soon([&] { return Cursor(client) == kMessages + 1; }));
  CHECK(Why(consumer->AcknowledgeAsync(1)) == "CLIENT_CLOSED");
  place.Restart();
  CHECK(Cursor(place.client()) == kMessages + 1);
}

TEST_CASE("Gaps come in their place between messages, to a consumer too") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  Append(client, "c", {"e"});
  auto reader = Read(client, "c", {}, {.read_ahead = 1});
  auto consumer = Consume(client, "c", "s", {.read_ahead = 1});
  CHECK(Take(*reader, 1) == Strings{"1:a"});
  CHECK(Take(*consumer, 1) == Strings{"1:a"});
  reader.reset();
  consumer.reset();
  Get(client.TruncateChannel("c", 3));
  CHECK(Take(*Read(client, "c", StartPosition::At(2)), 3) ==
        Strings{"gap 2-3 TRIMMED", "4:d", "5:e"});
  auto again = Consume(client, "c", "s");
  CHECK(Take(*again, 3) == Strings{"gap 1-3 TRIMMED", "4:d", "5:e"});
  Ok(again->Acknowledge(5));
  CHECK(Cursor(client) == 6);
}

TEST_CASE("A consumer seeks by every kind of position, in both directions, and holds on") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  const TimeMicros third = Append(client, "c", {"e"}).append_time;
  auto consumer = Failover(client, "one");
  const auto after_seek = [&](const StartPosition& to) {
    Ok(consumer->Seek(to));
    return Take(*consumer, 1);
  };
  CHECK(Take(*consumer, 5).back() == "5:e");
  CHECK(after_seek(StartPosition::At(2)) == Strings{"2:b"});
  CHECK(after_seek(StartPosition::After(3)) == Strings{"4:d"});
  CHECK(after_seek(StartPosition::Earliest()) == Strings{"1:a"});
  CHECK(Take(*Read(client, "c", StartPosition::AtTime(third)), 1) ==
        after_seek(StartPosition::AtTime(third)));
  Ok(consumer->Seek(StartPosition::Latest()));
  CHECK(Cursor(client) == 6);
  Append(client, "c", {"f"});
  CHECK(Take(*consumer, 1) == Strings{"6:f"});
  CHECK(consumer->active());
}

}  // namespace
}  // namespace strata::testing
