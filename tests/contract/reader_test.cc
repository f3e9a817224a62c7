// Reading: where it starts, what comes, seeking, waiting, ending.
#include <thread>

#include "tests/contract/place.h"

namespace strata::testing {
namespace {

// "c" with batches of ids {1 2 3} {4} {5 6}, payloads a to f. The append times differ.
std::vector<AppendResult> Fill(Client& client) {
  Create(client, "c");
  std::vector<AppendResult> results;
  for (const Strings& payloads : {Strings{"a", "b", "c"}, Strings{"d"}, Strings{"e", "f"}}) {
    results.push_back(Append(client, "c", payloads));
    const TimeMicros appended = results.back().append_time;
    while (Clock::System()->WallMicros() <= appended) std::this_thread::yield();
  }
  return results;
}

TEST_CASE("A reader starts where it is told to, inside a batch too") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  const std::vector<AppendResult> batches = Fill(client);
  const auto first = [&](const StartPosition& start) { return Take(*Read(client, "c", start), 1); };
  CHECK(first(StartPosition::Earliest()) == Strings{"1:a"});
  for (const MessageId id : {-1, 0, 1}) CHECK(first(StartPosition::At(id)) == Strings{"1:a"});
  CHECK(first(StartPosition::At(2)) == Strings{"2:b"});
  CHECK(first(StartPosition::At(4)) == Strings{"4:d"});
  CHECK(first(StartPosition::At(6)) == Strings{"6:f"});
  CHECK(first(StartPosition::After(3)) == Strings{"4:d"});
  CHECK(first(StartPosition::After(0)) == Strings{"1:a"});
  CHECK(first(StartPosition::After(-1)) == Strings{"1:a"});
  CHECK(first(StartPosition::AtTime(0)) == Strings{"1:a"});
  CHECK(first(StartPosition::AtTime(batches[0].append_time)) == Strings{"1:a"});
  CHECK(first(StartPosition::AtTime(batches[0].append_time + 1)) == Strings{"4:d"});
  CHECK(first(StartPosition::AtTime(batches[1].append_time)) == Strings{"4:d"});
  CHECK(first(StartPosition::AtTime(batches[2].append_time)) == Strings{"5:e"});
}

TEST_CASE("LATEST is strictly after what was there at the moment of opening") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto reader = Read(client, "c", StartPosition::Latest());
  CHECK(reader->position() == 7);
  CHECK(reader->end_at_open() == 7);
  Append(client, "c", {"g"});
  CHECK(Take(*reader, 1) == Strings{"7:g"});

  Create(client, "empty");
  auto of_empty = Read(client, "empty", StartPosition::Latest());
  CHECK(of_empty->position() == 1);
  Append(client, "empty", {"first"});
  CHECK(Take(*of_empty, 1) == Strings{"1:first"});
}

TEST_CASE("An id beyond the end waits for it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto at = Read(client, "c", StartPosition::At(9));
  auto after = Read(client, "c", StartPosition::After(9));
  CHECK(at->position() == 9);
  CHECK(Why(at->Receive(kNow)) == "TIMEOUT");
  for (const char* payload : {"g", "h", "i", "j"}) Append(client, "c", {payload});
  CHECK(Take(*at, 2) == Strings{"9:i", "10:j"});
  CHECK(Take(*after, 1) == Strings{"10:j"});
}

TEST_CASE("A time in the future waits for messages appended from then on") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  const StartPosition in_an_hour =
      StartPosition::AtTime(Clock::System()->WallMicros() + 3'600'000'000);
  CHECK(Fetched(Get(client.Fetch("c", in_an_hour))).empty());
  auto reader = Read(client, "c", in_an_hour);
  Append(client, "c", {"too early"});
  CHECK(Why(reader->Receive(kNow)) == "TIMEOUT");
}

TEST_CASE("Stored batches arrive as they were appended") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  const std::vector<AppendResult> batches = Fill(client);
  auto reader = Read(client, "c", StartPosition::At(2));
  const ReceivedBatch rest = Get(reader->ReceiveBatch(kSoon));
  CHECK(rest.first_id() == 2);
  CHECK(rest.last_id() == 3);
  CHECK(rest.size() == 2);
  CHECK(rest.append_time() == batches[0].append_time);
  Strings seen;
  for (const MessageView& message : rest) seen.emplace_back(message.payload);
  CHECK(seen == Strings{"b", "c"});
  CHECK(reader->position() == 4);
  CHECK(Take(*reader, 2) == Strings{"4:d", "5:e"});
  CHECK(Get(reader->ReceiveBatch(kSoon)).first_id() == 6);
  CHECK(reader->position() == 7);
}

TEST_CASE("A receive that waits is woken by an append") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto reader = Read(client, "c");
  CHECK(Why(reader->Receive(kNow)) == "TIMEOUT");
  CHECK(Why(reader->Receive(std::chrono::milliseconds(1))) == "TIMEOUT");
  Strings received;
  std::thread waiting([&] {
    for (int i = 0; i < 100; ++i) {
      const Result<Received> one = reader->Receive(kSoon);
      received.push_back(one.ok() ? Describe(*one) : Why(one));
    }
  });
  Strings expected;
  for (int i = 1; i <= 100; ++i) {
    Append(client, "c", {"x"});
    expected.push_back(std::to_string(i) + ":x");
  }
  waiting.join();
  CHECK(received == expected);
}

TEST_CASE("A bounded read ends at the end as of its start") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  auto reader = Read(client, "c");
  CHECK(reader->end_at_open() == 7);
  Append(client, "c", {"later"});
  Strings read;
  while (reader->position() < reader->end_at_open()) {
    const Strings one = Take(*reader, 1);
    read.insert(read.end(), one.begin(), one.end());
  }
  CHECK(read == Strings{"1:a", "2:b", "3:c", "4:d", "5:e", "6:f"});
}

TEST_CASE("A reader may seek forward and backward at any time") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  const std::vector<AppendResult> batches = Fill(client);
  auto reader = Read(client, "c");
  const auto after_seek = [&](const StartPosition& to) {
    Ok(reader->Seek(to));
    return Take(*reader, 1);
  };
  CHECK(Take(*reader, 2) == Strings{"1:a", "2:b"});
  CHECK(after_seek(StartPosition::At(5)) == Strings{"5:e"});
  CHECK(reader->position() == 6);
  CHECK(after_seek(StartPosition::At(2)) == Strings{"2:b"});
  CHECK(after_seek(StartPosition::At(2)) == Strings{"2:b"});
  CHECK(after_seek(StartPosition::After(2)) == Strings{"3:c"});
  CHECK(after_seek(StartPosition::Earliest()) == Strings{"1:a"});
  CHECK(after_seek(StartPosition::AtTime(batches[1].append_time)) == Strings{"4:d"});
  Ok(reader->Seek(StartPosition::Latest()));
  CHECK(reader->position() == 7);
  Append(client, "c", {"g"});
  CHECK(Take(*reader, 1) == Strings{"7:g"});
  // From the end back, and beyond the end, where it waits.
  CHECK(after_seek(StartPosition::At(6)) == Strings{"6:f"});
  Ok(reader->Seek(StartPosition::At(9)));
  for (const char* payload : {"h", "i"}) Append(client, "c", {payload});
  CHECK(Take(*reader, 1) == Strings{"9:i"});
}

TEST_CASE("Seeks in quick succession end at the last one, whatever was received ahead") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  for (int i = 0; i < 50; ++i) Append(client, "c", {std::string(1000, 'x'), "y"});
  auto reader = Read(client, "c", {}, {.read_ahead = 3000});
  for (MessageId id = 99; id > 0; id -= 7) {
    Ok(reader->Seek(StartPosition::At(id)));
    const Received received = Get(reader->Receive(kSoon));
    REQUIRE(received.message().id == id);
  }
}

TEST_CASE("Little read-ahead still brings everything, batches larger than it too") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  for (const size_t size : {10, 100'000, 0, 1000, 3'000'000, 1}) {
    Append(client, "c", {std::string(size, 'x')});
  }
  for (const uint64_t read_ahead : {0, 1, 1000}) {
    auto reader = Read(client, "c", {}, {.read_ahead = read_ahead});
    for (const size_t size : {10, 100'000, 0, 1000, 3'000'000, 1}) {
      CHECK(Get(reader->Receive(kSoon)).message().payload.size() == size);
    }
  }
}

TEST_CASE("A reader that does not receive holds up neither writers nor other readers") {
  Place place(GENERATE(EVERY_TRANSPORT), {"limits.tailCache=1MiB"});
  Client& client = place.client();
  Create(client, "c");
  auto stopped = Read(client, "c", {}, {.read_ahead = 100'000});
  auto running = Read(client, "c", {}, {.read_ahead = 100'000});
  const std::string payload(100'000, 'x');
  for (MessageId id = 1; id <= 100; ++id) {
    CHECK(Append(client, "c", {payload}).first_id == id);
    REQUIRE(Get(running->Receive(kSoon)).message().id == id);
  }
  // It is behind what the broker keeps in memory by now, and misses nothing.
  for (MessageId id = 1; id <= 100; ++id) {
    const Received received = Get(stopped->Receive(kSoon));
    REQUIRE(received.message().id == id);
    REQUIRE(received.message().payload == payload);
  }
}

TEST_CASE("Many readers of one channel each receive all of it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 10; ++i) readers.push_back(Read(client, "c"));
  Strings expected;
  for (int i = 1; i <= 30; ++i) {
    Append(client, "c", {"m" + std::to_string(i)});
    expected.push_back(std::to_string(i) + ":m" + std::to_string(i));
  }
  for (const auto& reader : readers) CHECK(Take(*reader, 30) == expected);
}

TEST_CASE("Closing a reader wakes its waiting receive, and nothing comes afterwards") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto reader = Read(client, "c");
  std::string ended;
  std::thread waiting([&] { ended = Why(reader->Receive(std::chrono::hours(1))); });
  reader->Close();
  waiting.join();
  CHECK(ended == "CLIENT_CLOSED");
  Append(client, "c", {"a"});
  CHECK(Why(reader->Receive(kSoon)) == "CLIENT_CLOSED");
  CHECK(Why(reader->Seek(StartPosition::Earliest())) == "CLIENT_CLOSED");
  reader->Close();
}

TEST_CASE("Closing a client ends everything that was opened from it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  auto client = place.NewClient();
  auto reader = Read(*client, "c");
  auto consumer = Consume(*client, "c", "s");
  auto producer = Produce(*client, "c");
  std::string ended;
  std::thread waiting([&] { ended = Why(reader->Receive(std::chrono::hours(1))); });
  client->Close();
  waiting.join();
  CHECK(ended == "CLIENT_CLOSED");
  CHECK(Why(consumer->Receive(kSoon)) == "CLIENT_CLOSED");
  CHECK(producer->Send("late", nullptr).reason() == Reason::CLIENT_CLOSED);
  CHECK(Why(client->DescribeChannel("c")) == "CLIENT_CLOSED");
  CHECK(Why(client->Append("c", std::vector<Message>{{"late", {}}})) == "CLIENT_CLOSED not");
  CHECK(Why(client->OpenReader("c", {})) == "CLIENT_CLOSED");
  client->Close();
  // The subscription is free again at once.
  CHECK(Consume(place.client(), "c", "s")->position() == 1);
  CHECK(Get(place.client().DescribeChannel("c")).next_id == 1);
}

TEST_CASE("What was opened may outlive its client, in any order") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  Append(place.client(), "c", {"kept"});
  auto client = place.NewClient();
  auto reader = Read(*client, "c");
  auto producer = Produce(*client, "c");
  const Received received = Get(reader->Receive(kSoon));
  client.reset();
  CHECK(Why(reader->Receive(kSoon)) == "CLIENT_CLOSED");
  CHECK(producer->Send("late", nullptr).reason() == Reason::CLIENT_CLOSED);
  producer.reset();
  reader.reset();
  CHECK(received.message().payload == "kept");
}

TEST_CASE("Readers may be opened and dropped at once, many times") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  for (int i = 0; i < 20; ++i) Append(client, "c", {std::string(10'000, 'x')});
  for (int i = 0; i < 30; ++i) {
    auto reader = Read(client, "c");
    if (i % 3 == 0) Get(reader->Receive(kSoon));
  }
  CHECK(Get(client.GetStatus()).readers == 0);
}

}  // namespace
}  // namespace strata::testing
