// Channels: names, creation, deletion, recreation.
#include <algorithm>

#include "tests/contract/place.h"

namespace strata::testing {
namespace {

Strings Names(const std::vector<ChannelInfo>& channels) {
  Strings names;
  for (const ChannelInfo& channel : channels) names.push_back(channel.name);
  return names;
}

TEST_CASE("A channel name is 1 to 249 of the allowed characters and not . or ..") {
  Place place(GENERATE(EVERY_TRANSPORT));
  const std::string every = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  for (const std::string& name :
       {every, std::string("a"), std::string("..."), std::string("-"), std::string(249, 'x')}) {
    CHECK(Create(place.client(), name).name == name);
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string(250, 'x'),
        std::string("a/b"), std::string("a b"), std::string("\xc3\xa4"), std::string("a\0b", 3)}) {
    INFO(name);
    CHECK(Why(place.client().CreateChannel(name)) == "INVALID_CHANNEL_NAME");
    CHECK_FALSE(place.client().OpenChannel(name, true).ok());
  }
  CHECK(Get(place.client().ListChannels()).size() == 5);
}

TEST_CASE("A new channel is empty and says what it was created with") {
  Place place(GENERATE(EVERY_TRANSPORT));
  const ChannelInfo info = Get(place.client().CreateChannel("c", {.first_id = 1000}));
  CHECK(info.name == "c");
  CHECK(info.number > 0);
  CHECK(info.options.first_id == 1000);
  CHECK(info.created_at > 1'600'000'000'000'000);
  CHECK(info.first_available == 1000);
  CHECK(info.next_id == 1000);
  CHECK(info.last_append_time == 0);
  CHECK(info.truncated_through == 0);
  CHECK(Append(place.client(), "c", {"a", "b"}).first_id == 1000);
  const ChannelInfo after = Get(place.client().DescribeChannel("c"));
  CHECK(after.number == info.number);
  CHECK(after.created_at == info.created_at);
  CHECK(after.next_id == 1002);
  CHECK(after.first_available == 1000);
  CHECK(after.last_append_time > 0);
}

TEST_CASE("A first id below 1 is refused") {
  Place place(GENERATE(EVERY_TRANSPORT));
  CHECK(Why(place.client().CreateChannel("c", {.first_id = 0})) == "INVALID_ARGUMENT");
  CHECK(Why(place.client().CreateChannel("c", {.first_id = -1})) == "INVALID_ARGUMENT");
  CHECK(Why(place.client().DescribeChannel("c")) == "CHANNEL_NOT_FOUND");
}

TEST_CASE("Creating a channel again succeeds with equal options and is refused with others") {
  Place place(GENERATE(EVERY_TRANSPORT));
  const ChannelInfo first = Get(place.client().CreateChannel("c", {.first_id = 5}));
  Append(place.client(), "c", {"a"});
  const ChannelInfo again = Get(place.client().CreateChannel("c", {.first_id = 5}));
  CHECK(again.number == first.number);
  CHECK(again.next_id == 6);
  CHECK(Why(place.client().CreateChannel("c", {.first_id = 6})) == "CHANNEL_EXISTS");
  CHECK(Why(place.client().CreateChannel("c")) == "CHANNEL_EXISTS");
}

TEST_CASE("Opening creates a missing channel only if asked") {
  Place place(GENERATE(EVERY_TRANSPORT));
  CHECK(Why(place.client().OpenChannel("c", false)) == "CHANNEL_NOT_FOUND");
  CHECK(Why(place.client().OpenProducer("c")) == "CHANNEL_NOT_FOUND");
  const ChannelInfo opened = Get(place.client().OpenChannel("c", true));
  CHECK(opened.next_id == 1);
  CHECK(Get(place.client().OpenChannel("c", false)).number == opened.number);
  // Opening takes a channel with whatever options it has.
  Get(place.client().CreateChannel("d", {.first_id = 9}));
  CHECK(Get(place.client().OpenChannel("d", true)).options.first_id == 9);
  const ChannelNumber number =
      Produce(place.client(), "e", {.create_if_missing = true})->channel_number();
  CHECK(Get(place.client().DescribeChannel("e")).number == number);
}

TEST_CASE("What is asked of a missing channel is refused by its name") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  CHECK(Why(client.DescribeChannel("no")) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.TruncateChannel("no", 1)) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.AlterChannel("no", {})) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.DescribeSpace("no")) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.DeleteChannel("no")) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.OpenReader("no", StartPosition::Earliest())) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.OpenConsumer("no", "s")) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.Fetch("no", {})) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.CreateSubscription("no", "s", {})) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.ListSubscriptions("no")) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.Acknowledge("no", "s", 1)) == "CHANNEL_NOT_FOUND");
  const Result<AppendResult> append = client.Append("no", std::vector<Message>{{"a", {}}});
  CHECK(Why(append) == "CHANNEL_NOT_FOUND not");
  CHECK(append.status().message().find("'no'") != std::string::npos);
}

TEST_CASE("Channels are listed by name, all or those with a prefix") {
  Place place(GENERATE(EVERY_TRANSPORT));
  CHECK(Get(place.client().ListChannels()).empty());
  for (const char* name : {"b", "a-10", "a-1", "c", "a"}) Create(place.client(), name);
  CHECK(Names(Get(place.client().ListChannels())) == Strings{"a", "a-1", "a-10", "b", "c"});
  CHECK(Names(Get(place.client().ListChannels("a-"))) == Strings{"a-1", "a-10"});
  CHECK(Get(place.client().ListChannels("nothing")).empty());
}

TEST_CASE("Channels whose names are prefixes of each other do not touch") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  const Strings names = {"dml_1", "dml_10", "dml_100", "dml"};
  for (const std::string& name : names) {
    Create(client, name);
    Append(client, name, {name + " first", name + " second"});
  }
  Get(client.TruncateChannel("dml_1", 1));
  CHECK(Take(*Read(client, "dml_1"), 1) == Strings{"2:dml_1 second"});
  Ok(client.DeleteChannel("dml_1"));
  for (const std::string name : {"dml_10", "dml_100", "dml"}) {
    CHECK(Take(*Read(client, name), 2) == Strings{"1:" + name + " first", "2:" + name + " second"});
  }
}

TEST_CASE("Deleting a channel ends its readers, consumers and producers and frees its name") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  const ChannelInfo old = Create(client, "c");
  Append(client, "c", {"a"});
  auto waiting = Read(client, "c", StartPosition::Latest());
  auto consumer = Consume(client, "c", "s");
  CHECK(Take(*consumer, 1) == Strings{"1:a"});
  auto producer = Produce(client, "c");

  Ok(client.DeleteChannel("c"));
  CHECK(Why(waiting->Receive(kSoon)) == "CHANNEL_DELETED");
  CHECK(Why(waiting->Receive(kNow)) == "CHANNEL_DELETED");
  CHECK(Why(consumer->Receive(kSoon)) == "CHANNEL_DELETED");
  const Status failed = producer->Send(Message{"late", {}}).get().status();
  CHECK(failed.fate() == DataFate::kNotAppended);
  CHECK(Why(client.DescribeChannel("c")) == "CHANNEL_NOT_FOUND");
  CHECK(Get(client.ListChannels()).empty());

  const ChannelInfo fresh = Create(client, "c");
  CHECK(fresh.number > old.number);
  CHECK(fresh.next_id == 1);
  CHECK(Get(client.ListSubscriptions("c")).empty());
  CHECK(Append(client, "c", {"new"}).first_id == 1);
  CHECK(Take(*Read(client, "c"), 1) == Strings{"1:new"});
}

TEST_CASE("A producer of a channel that was deleted and created anew never writes to the new one") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto producer = Produce(client, "c");
  CHECK(producer->Send(Message{"old", {}}).get().value() == 1);
  Ok(client.DeleteChannel("c"));
  Create(client, "c");
  CHECK(Why(producer->Send(Message{"lost", {}}).get()) == "CHANNEL_DELETED not");
  CHECK(producer->Send("again", nullptr).reason() == Reason::CHANNEL_DELETED);
  CHECK(Get(client.DescribeChannel("c")).next_id == 1);
}

TEST_CASE("A broker says who it is and what it accepts") {
  const Transport transport = GENERATE(EVERY_TRANSPORT);
  Place place(transport);
  const ServerInfo info = Get(place.client().GetServerInfo());
  CHECK_FALSE(info.version.empty());
  CHECK(info.store_id.size() == 32);
  CHECK(info.sync == "always");
  CHECK(info.started_at > 1'600'000'000'000'000);
  CHECK(info.max_payload == 16u << 20);
  CHECK(info.max_batch == (16u << 20) + (64u << 10));
  CHECK(info.max_batch_messages == 65536);
  CHECK(info.max_pending_total == 64u << 20);

  Create(place.client(), "c");
  Append(place.client(), "c", {"a", "b"});
  auto consumer = Consume(place.client(), "c", "s");
  const BrokerStatus status = Get(place.client().GetStatus());
  CHECK(status.accepts_appends);
  CHECK(status.state == "serving");
  CHECK(status.channels == 1);
  CHECK(status.subscriptions == 1);
  CHECK(status.readers == 1);
  CHECK(status.messages_appended == 2);
  CHECK(status.batches_appended == 1);
  CHECK(status.pending_bytes == 0);
  CHECK((status.disk_bytes > 0) == (transport != Transport::kInMemory));
  CHECK(status.resident_bytes > 0);
}

}  // namespace
}  // namespace strata::testing
