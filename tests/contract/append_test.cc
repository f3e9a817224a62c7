// Appending: what a message may be, what is refused, ids, times and order.
#include <algorithm>
#include <atomic>
#include <thread>

#include "base/wire.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

constexpr size_t kMaxPayload = 16u << 20;

Buffer Batch(const std::vector<Message>& messages) {
  BatchBuilder builder;
  for (const Message& message : messages) builder.Add(message);
  return builder.Take();
}

Message TakeMessage(Reader& reader) {
  const Received received = Get(reader.Receive(kSoon));
  REQUIRE_FALSE(received.is_gap());
  return received.message().ToMessage();
}

std::string BytesOfAllKinds(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

TEST_CASE("Payloads and properties come back byte for byte") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  const std::vector<Message> messages = {
      {"", {}},
      {every, {}},
      {std::string(1000, '\0'), {{"key", "value"}, {"", ""}, {"empty", ""}}},
      {"",
       {{"\xc3\xa4\xf0\x9f\x98\x80", std::string("zero\0byte", 9)},
        {"long", std::string(5000, 'x')}}},
      {BytesOfAllKinds(300'000), {{"_t", "1"}, {"_v", "2"}}},
  };
  Get(client.Append("c", messages));
  auto reader = Read(client, "c");
  for (const Message& message : messages) CHECK(TakeMessage(*reader) == message);
}

TEST_CASE("A message of exactly the largest size travels, one byte more is refused") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  const Message largest{BytesOfAllKinds(kMaxPayload - 8), {{"key", "value"}}};
  CHECK(Get(client.Append("c", std::vector<Message>{largest})).first_id == 1);
  const std::vector<Message> too_large = {{largest.payload + "x", largest.properties}};
  const Result<AppendResult> refused = client.Append("c", too_large);
  CHECK(Why(refused) == "MESSAGE_TOO_LARGE not");
  CHECK(refused.status().message().find("16777217") != std::string::npos);
  CHECK(TakeMessage(*Read(client, "c")) == largest);
  CHECK(Get(client.DescribeChannel("c")).next_id == 2);

  auto producer = Produce(client, "c");
  CHECK(producer->Send(largest).get().value() == 2);
  CHECK(producer->Send(too_large.front(), nullptr).reason() == Reason::MESSAGE_TOO_LARGE);
  CHECK(producer->Send(Message{"small", {}}).get().value() == 3);
}

TEST_CASE("A batch has 1 to 65,536 messages and a bounded size") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  CHECK(Why(client.Append("c", std::vector<Message>())) == "INVALID_BATCH not");
  const AppendResult most = Get(client.Append("c", std::vector<Message>(65536)));
  CHECK(most.first_id == 1);
  CHECK(most.count == 65536);
  CHECK(Why(client.Append("c", std::vector<Message>(65537))) == "BATCH_TOO_LARGE not");
  const std::vector<Message> two(2, Message{std::string(kMaxPayload / 2 + (40u << 10), 'x'), {}});
  CHECK(Why(client.Append("c", two)) == "BATCH_TOO_LARGE not");
  CHECK(Append(client, "c", {"next"}).first_id == 65537);
}

TEST_CASE("Malformed batches are refused and nothing of them is stored") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  const std::string good = Batch({{"payload", {{"key", "value"}}}, {"second", {}}}).ToString();
  const auto refused = [&](const std::string& bytes) {
    return Why(client.Append("c", Buffer(bytes)));
  };
  for (size_t length = 1; length < good.size(); ++length) {
    // The end of the first message is a batch of one; every other cut is inside something.
    if (length == good.size() - Batch({{"second", {}}}).size()) continue;
    INFO("cut at " << length);
    CHECK(refused(good.substr(0, length)) == "INVALID_BATCH not");
  }
  const auto message = [](const std::string& fields) {
    std::string batch;
    wire::AppendBytes(&batch, 1, fields);
    return batch;
  };
  const auto field = [](uint32_t number, const std::string& bytes) {
    std::string out;
    wire::AppendBytes(&out, number, bytes);
    return out;
  };
  const auto entry = [&](const std::string& key) {
    return field(2, field(1, key) + field(2, "value"));
  };
  CHECK(refused(field(2, "unknown in the batch")) == "INVALID_BATCH not");
  CHECK(refused(message(field(3, "kept for a key"))) == "INVALID_BATCH not");
  CHECK(refused(message(field(1, "one") + field(1, "two"))) == "INVALID_BATCH not");
  CHECK(refused(message(entry("twice") + entry("twice"))) == "INVALID_BATCH not");
  CHECK(refused(message(entry("\xff"))) == "INVALID_BATCH not");
  CHECK(refused(message(field(2, field(1, "key") + field(2, "\xc0\x80")))) == "INVALID_BATCH not");
  CHECK(refused(message(field(2, field(3, "unknown in a property")))) == "INVALID_BATCH not");
  CHECK(refused(message("\x08\x01")) == "INVALID_BATCH not");
  CHECK(Get(client.DescribeChannel("c")).next_id == 1);
  CHECK(Get(client.Append("c", Buffer(good))).first_id == 1);
}

TEST_CASE("Properties that are not UTF-8 are refused with their message") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  const std::vector<Message> messages = {{"good", {}}, {"bad", {{"key", "\xed\xa0\x80"}}}};
  const Result<AppendResult> refused = client.Append("c", messages);
  CHECK(Why(refused) == "INVALID_BATCH not");
  CHECK(refused.status().message().find("message 1") != std::string::npos);
  CHECK(Append(client, "c", {"next"}).first_id == 1);
}

TEST_CASE("Ids are dense across batches and each channel has its own") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  Create(client, "d");
  MessageId next = 1;
  for (const size_t count : {1, 3, 1, 100, 2}) {
    CHECK(Append(client, "c", Strings(count, "x")).first_id == next);
    next += static_cast<MessageId>(count);
    Append(client, "d", {"y"});
  }
  CHECK(Get(client.DescribeChannel("c")).next_id == 108);
  CHECK(Get(client.DescribeChannel("d")).next_id == 6);
}

TEST_CASE("A batch has one append time, which never goes back along the channel") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  TimeMicros last = 0;
  for (int i = 0; i < 20; ++i) {
    const AppendResult result = Append(client, "c", {"a", "b"});
    CHECK(result.append_time >= last);
    last = result.append_time;
  }
  const TimeMicros now = Clock::System()->WallMicros();
  CHECK(last <= now);
  CHECK(last > now - 60'000'000);
  CHECK(Get(client.DescribeChannel("c")).last_append_time == last);
  auto reader = Read(client, "c");
  TimeMicros of_batch = 0;
  for (int i = 0; i < 40; ++i) {
    const Received received = Get(reader->Receive(kSoon));
    if (i % 2 == 1) CHECK(received.message().append_time == of_batch);
    CHECK(received.message().append_time >= of_batch);
    of_batch = received.message().append_time;
  }
  CHECK(of_batch == last);
}

TEST_CASE("An acknowledged message is readable at once, by everybody") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  auto other = place.NewClient();
  Create(client, "c");
  for (MessageId id = 1; id <= 20; ++id) {
    const std::string payload = std::to_string(id);
    CHECK(Append(client, "c", {payload}).first_id == id);
    CHECK(Get(other->DescribeChannel("c")).next_id == id + 1);
    CHECK(Fetched(Get(other->Fetch("c", StartPosition::At(id)))) ==
          Strings{payload + ":" + payload});
  }
}

TEST_CASE("Concurrent appenders get every id once, in the order of real time") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  constexpr int kAppenders = 5;
  constexpr int kAppends = 100;
  struct Done {
    MessageId id;
    std::chrono::steady_clock::time_point sent;
    std::chrono::steady_clock::time_point acknowledged;
    std::string payload;
  };
  std::vector<std::vector<Done>> done(kAppenders);
  std::vector<std::thread> appenders;
  for (int a = 0; a < kAppenders; ++a) {
    appenders.emplace_back([&, a] {
      for (int i = 0; i < kAppends; ++i) {
        Done one{
            0, std::chrono::steady_clock::now(), {}, std::to_string(a) + "/" + std::to_string(i)};
        const auto result = place.client().Append("c", std::vector<Message>{{one.payload, {}}});
        one.acknowledged = std::chrono::steady_clock::now();
        if (result.ok()) one.id = result->first_id;
        done[a].push_back(one);
      }
    });
  }
  for (std::thread& appender : appenders) appender.join();
  std::vector<Done> all;
  for (const std::vector<Done>& own : done) all.insert(all.end(), own.begin(), own.end());
  std::sort(all.begin(), all.end(), [](const Done& a, const Done& b) { return a.id < b.id; });
  REQUIRE(all.size() == kAppenders * kAppends);
  Strings expected;
  auto earliest_sent_after = std::chrono::steady_clock::time_point::max();
  bool in_order = true;
  // Nothing with a higher id was acknowledged before something with a lower one was sent.
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    if (it->sent > earliest_sent_after) in_order = false;
    earliest_sent_after = std::min(earliest_sent_after, it->acknowledged);
  }
  CHECK(in_order);
  for (size_t i = 0; i < all.size(); ++i) {
    expected.push_back(std::to_string(i + 1) + ":" + all[i].payload);
    REQUIRE(all[i].id == static_cast<MessageId>(i + 1));
  }
  CHECK(Take(*Read(place.client(), "c"), all.size()) == expected);
}

TEST_CASE("Fifty appenders and a hundred readers at once lose nothing") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  constexpr int kAppenders = 50;
  constexpr int kReaders = 100;
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  std::vector<int> received(kReaders);
  for (int r = 0; r < kReaders; ++r) {
    threads.emplace_back([&, r] {
      const auto reader = place.client().OpenReader("c", {});
      while (reader.ok() && received[r] < 2 * kAppenders) {
        const auto one = (*reader)->Receive(kSoon);
        if (!one.ok() || one->message().id != received[r] + 1) return;
        ++received[r];
      }
    });
  }
  for (int a = 0; a < kAppenders; ++a) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2; ++i) {
        if (!place.client().Append("c", std::vector<Message>{{"m", {}}}).ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  for (const int count : received) CHECK(count == 2 * kAppenders);
}

}  // namespace
}  // namespace strata::testing
