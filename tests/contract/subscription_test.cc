// Subscriptions: durable cursors, cumulative acknowledgements, one holder at a time.
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

void Fill(Client& client) {
  Create(client, "c");
  Append(client, "c", {"a", "b", "c"});
  Append(client, "c", {"d"});
  Append(client, "c", {"e", "f"});
}

MessageId Cursor(Client& client, const std::string& subscription = "s") {
  return Get(client.DescribeSubscription("c", subscription)).cursor;
}

TEST_CASE("A subscription is created where it is told to start") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  const SubscriptionInfo info = Get(client.CreateSubscription("c", "s", StartPosition::Earliest()));
  CHECK(info.channel == "c");
  CHECK(info.name == "s");
  CHECK(info.cursor == 1);
  CHECK(info.backlog == 6);
  CHECK(info.holder.empty());
  CHECK(info.created_at > 0);
  CHECK(Get(client.CreateSubscription("c", "at", StartPosition::At(4))).cursor == 4);
  CHECK(Get(client.CreateSubscription("c", "after", StartPosition::After(4))).cursor == 5);
  CHECK(Get(client.CreateSubscription("c", "latest", StartPosition::Latest())).backlog == 0);
  CHECK(Why(client.CreateSubscription("c", "s", {})) == "SUBSCRIPTION_EXISTS");
  CHECK(Why(client.CreateSubscription("c", "a/b", {})) == "INVALID_ARGUMENT");
  CHECK(Why(client.CreateSubscription("c", "", {})) == "INVALID_ARGUMENT");
  CHECK(Why(client.OpenConsumer("c", "")) == "INVALID_ARGUMENT");
  CHECK(Why(client.DescribeSubscription("c", "no")) == "SUBSCRIPTION_NOT_FOUND");
}

TEST_CASE("Subscriptions are listed of one channel or of all") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  for (const char* channel : {"b", "a"}) {
    Create(client, channel);
    for (const char* name : {"2", "1"}) Get(client.CreateSubscription(channel, name, {}));
  }
  const auto names = [&](const std::string& channel) {
    Strings found;
    for (const SubscriptionInfo& info : Get(client.ListSubscriptions(channel))) {
      found.push_back(info.channel + "/" + info.name);
    }
    return found;
  };
  CHECK(names("a") == Strings{"a/1", "a/2"});
  CHECK(names("") == Strings{"a/1", "a/2", "b/1", "b/2"});
}

TEST_CASE("The first consumer creates its subscription, at the earliest message by default") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  CHECK(Take(*Consume(client, "c", "default"), 1) == Strings{"1:a"});
  CHECK(Take(*Consume(client, "c", "at", {.start = StartPosition::At(5)}), 1) == Strings{"5:e"});
  // On an existing one the start is ignored.
  CHECK(Take(*Consume(client, "c", "at", {.start = StartPosition::At(2)}), 1) == Strings{"5:e"});
}

TEST_CASE("A consumer goes on where acknowledgements ended, not where receiving did") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  {
    auto consumer = Consume(client, "c", "s");
    CHECK(Take(*consumer, 5).back() == "5:e");
    Ok(consumer->Acknowledge(2));
    CHECK(Cursor(client) == 3);
    CHECK(Get(client.DescribeSubscription("c", "s")).backlog == 4);
  }
  auto consumer = Consume(client, "c", "s");
  CHECK(consumer->position() == 3);
  CHECK(Take(*consumer, 4) == Strings{"3:c", "4:d", "5:e", "6:f"});
}

TEST_CASE("Acknowledgements are cumulative, never move back, and end at the end") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto consumer = Consume(client, "c", "s");
  Ok(consumer->Acknowledge(4));
  CHECK(Cursor(client) == 5);
  Ok(consumer->Acknowledge(2));
  Ok(consumer->Acknowledge(0));
  CHECK(Cursor(client) == 5);
  CHECK(Why(consumer->Acknowledge(7)) == "ACK_BEYOND_END");
  CHECK(Cursor(client) == 5);
  Ok(consumer->Acknowledge(6));
  CHECK(Cursor(client) == 7);
  // The same without a consumer.
  Append(client, "c", {"g"});
  Ok(client.Acknowledge("c", "s", 7));
  CHECK(Cursor(client) == 8);
  CHECK(Why(client.Acknowledge("c", "s", 8)) == "ACK_BEYOND_END");
  CHECK(Why(client.Acknowledge("c", "no", 1)) == "SUBSCRIPTION_NOT_FOUND");
}

TEST_CASE("A subscription has one holder; a second consumer is told its name") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  auto other = place.NewClient();
  Fill(client);
  auto holder = Consume(client, "c", "s", {.holder = "worker-1"});
  CHECK(Get(client.DescribeSubscription("c", "s")).holder == "worker-1");
  const Result<std::unique_ptr<Consumer>> refused = other->OpenConsumer("c", "s");
  CHECK(Why(refused) == "SUBSCRIPTION_HELD");
  CHECK(refused.status().message().find("worker-1") != std::string::npos);
  CHECK(Take(*holder, 1) == Strings{"1:a"});
  // Other subscriptions and readers are free, and this one is as soon as it is let go.
  CHECK(Take(*Consume(*other, "c", "t"), 1) == Strings{"1:a"});
  CHECK(Take(*Read(*other, "c"), 1) == Strings{"1:a"});
  holder.reset();
  CHECK(Get(client.DescribeSubscription("c", "s")).holder.empty());
  auto next = Consume(*other, "c", "s");
  CHECK_FALSE(Get(client.DescribeSubscription("c", "s")).holder.empty());
  next->Close();
  CHECK(Get(client.DescribeSubscription("c", "s")).holder.empty());
}

TEST_CASE("A subscription's cursor moves anywhere by a seek, and its consumer with it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto consumer = Consume(client, "c", "s", {.read_ahead = 1});
  CHECK(Take(*consumer, 3).back() == "3:c");
  Ok(consumer->Acknowledge(3));
  Ok(consumer->Seek(StartPosition::At(2)));
  CHECK(consumer->position() == 2);
  CHECK(Cursor(client) == 2);
  CHECK(Take(*consumer, 2) == Strings{"2:b", "3:c"});
  Ok(consumer->Seek(StartPosition::At(6)));
  CHECK(Cursor(client) == 6);
  CHECK(Take(*consumer, 1) == Strings{"6:f"});
  consumer.reset();

  CHECK(Get(client.SeekSubscription("c", "s", StartPosition::Earliest())).cursor == 1);
  CHECK(Take(*Consume(client, "c", "s"), 1) == Strings{"1:a"});
  CHECK(Get(client.SeekSubscription("c", "s", StartPosition::Latest())).cursor == 7);
  CHECK(Get(client.SeekSubscription("c", "s", StartPosition::At(4))).cursor == 4);
  CHECK(Why(client.SeekSubscription("c", "no", {})) == "SUBSCRIPTION_NOT_FOUND");
}

TEST_CASE("A seek from outside reaches the consumer that waits at the end") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto consumer = Consume(client, "c", "s");
  CHECK(Take(*consumer, 6).back() == "6:f");
  Get(client.SeekSubscription("c", "s", StartPosition::At(5)));
  CHECK(Take(*consumer, 2) == Strings{"5:e", "6:f"});
}

TEST_CASE("What was received before somebody else's seek is acknowledged for nothing") {
  Place place(GENERATE(EVERY_TRANSPORT));
  const bool sought_before = GENERATE(false, true);
  Client& client = place.client();
  Fill(client);
  auto consumer = Consume(client, "c", "s");
  if (sought_before) Ok(consumer->Seek(StartPosition::At(1)));
  CHECK(Take(*consumer, 6).back() == "6:f");
  Get(place.NewClient()->SeekSubscription("c", "s", StartPosition::At(2)));
  Ok(consumer->Acknowledge(6));
  CHECK(Cursor(client) == 2);
  Ok(consumer->AcknowledgeAsync(6));
  // Behind it in the same stream: once this has come, the acknowledgement has, too.
  CHECK(Take(*consumer, 1) == Strings{"2:b"});
  CHECK(Cursor(client) == 2);
  Ok(consumer->Acknowledge(2));
  CHECK(Cursor(client) == 3);
  consumer->Close();
  CHECK(Cursor(client) == 3);
}

TEST_CASE("A consumer acknowledges in the channel that it opened, not in one of the same name") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto consumer = Consume(client, "c", "s");
  CHECK(Take(*consumer, 1) == Strings{"1:a"});
  Ok(client.DeleteChannel("c"));
  Fill(client);
  Get(client.CreateSubscription("c", "s", {}));
  CHECK_FALSE(consumer->Acknowledge(1).ok());
  CHECK(Cursor(client) == 1);
}

TEST_CASE("Many subscriptions of a channel each get all of it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  std::vector<std::unique_ptr<Consumer>> consumers;
  for (int i = 0; i < 11; ++i) consumers.push_back(Consume(client, "c", "g" + std::to_string(i)));
  Strings expected;
  for (int i = 1; i <= 10; ++i) {
    Append(client, "c", {"m"});
    expected.push_back(std::to_string(i) + ":m");
  }
  for (const auto& consumer : consumers) {
    CHECK(Take(*consumer, 10) == expected);
    Ok(consumer->Acknowledge(10));
  }
  for (int i = 0; i < 11; ++i) CHECK(Cursor(client, "g" + std::to_string(i)) == 11);
}

TEST_CASE("Deleting a subscription ends its consumer and forgets the cursor") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto consumer = Consume(client, "c", "s");
  CHECK(Take(*consumer, 6).back() == "6:f");
  Ok(consumer->Acknowledge(6));
  Ok(client.DeleteSubscription("c", "s"));
  CHECK(Why(consumer->Receive(kSoon)) == "SUBSCRIPTION_NOT_FOUND");
  CHECK(Why(consumer->Acknowledge(6)) == "SUBSCRIPTION_NOT_FOUND");
  CHECK(Why(client.DeleteSubscription("c", "s")) == "SUBSCRIPTION_NOT_FOUND");
  CHECK(Get(client.ListSubscriptions("c")).empty());
  CHECK(Take(*Consume(client, "c", "s"), 1) == Strings{"1:a"});
  // What it ended with stays, whatever else goes.
  Ok(client.DeleteChannel("c"));
  CHECK(Why(consumer->Receive(kSoon)) == "SUBSCRIPTION_NOT_FOUND");
  CHECK(Why(consumer->Acknowledge(6)) == "SUBSCRIPTION_NOT_FOUND");
  CHECK(Why(consumer->Seek({})) == "SUBSCRIPTION_NOT_FOUND");
}

TEST_CASE("Subscriptions whose names are prefixes of each other do not touch") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  for (const char* name : {"g", "g1", "g10"}) Get(client.CreateSubscription("c", name, {}));
  Ok(client.Acknowledge("c", "g1", 3));
  Ok(client.DeleteSubscription("c", "g"));
  CHECK(Cursor(client, "g1") == 4);
  CHECK(Cursor(client, "g10") == 1);
}

TEST_CASE("A truncation under a cursor shows its consumer a gap") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  Get(client.CreateSubscription("c", "s", {}));
  Ok(client.Acknowledge("c", "s", 1));
  Get(client.TruncateChannel("c", 4));
  CHECK(Take(*Consume(client, "c", "s"), 2) == Strings{"gap 2-4 TRIMMED", "5:e"});
}

TEST_CASE("Cursors persist over a restart, however they were moved") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Fill(place.client());
  Get(place.client().CreateSubscription("c", "created", StartPosition::At(3)));
  Get(place.client().CreateSubscription("c", "sought", {}));
  Get(place.client().SeekSubscription("c", "sought", StartPosition::At(6)));
  Get(place.client().CreateSubscription("c", "deleted", {}));
  Ok(place.client().DeleteSubscription("c", "deleted"));
  {
    auto consumer = Consume(place.client(), "c", "acknowledged");
    Ok(consumer->Acknowledge(4));
  }
  place.Restart();
  Client& client = place.client();
  CHECK(Cursor(client, "created") == 3);
  CHECK(Cursor(client, "sought") == 6);
  CHECK(Cursor(client, "acknowledged") == 5);
  CHECK(Get(client.ListSubscriptions("c")).size() == 3);
  CHECK(Take(*Consume(client, "c", "acknowledged"), 2) == Strings{"5:e", "6:f"});
}

TEST_CASE("A reader has no subscription to acknowledge to") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Fill(place.client());
  auto reader = Read(place.client(), "c");
  CHECK(Get(place.client().ListSubscriptions("")).empty());
  CHECK(Take(*reader, 1) == Strings{"1:a"});
  CHECK(Get(place.client().ListSubscriptions("")).empty());
}

TEST_CASE("A consumer that may read ahead one message follows the seeks of others") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto consumer = Consume(client, "c", "s", {.read_ahead = 1});
  // What was read ahead at the old place is of no use at the new one, and was all that it may read ahead.
  for (const MessageId to : {4, 1, 5, 1, 4, 1, 5, 1, 4}) {
    Get(client.SeekSubscription("c", "s", StartPosition::At(to)));
  }
  Received received = Get(consumer->Receive(kSoon));
  // One may have been on its way.
  for (int i = 0; i < 6 && received.message().payload != "d"; ++i) {
    received = Get(consumer->Receive(kSoon));
  }
  CHECK(received.message().payload == "d");
}

}  // namespace
}  // namespace strata::testing
