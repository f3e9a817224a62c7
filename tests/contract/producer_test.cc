// Producers: many messages in flight, in order, each answered once.
#include <atomic>
#include <future>
#include <map>
#include <thread>

#include "base/mutex.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

// What callbacks brought, in order: "payload=id" or "payload!REASON fate".
class Answers {
 public:
  Producer::Callback Note(std::string name) {
    return [this, name = std::move(name)](const Result<MessageId>& id) {
      MutexLock lock(mu_);
      noted_.push_back(name + (id.ok() ? "=" + std::to_string(*id) : "!" + Why(id)));
    };
  }
  Strings noted() {
    MutexLock lock(mu_);
    return noted_;
  }

 private:
  Mutex mu_;
  Strings noted_ STRATA_GUARDED_BY(mu_);
};

TEST_CASE("A producer stores in the order of Send and tells each message its id, in order") {
  const auto transport = GENERATE(EVERY_TRANSPORT);
  const uint64_t batch_bytes = GENERATE(uint64_t{1}, uint64_t{1000}, uint64_t{1} << 20);
  Place place(transport);
  Client& client = place.client();
  Create(client, "c");
  const int count = batch_bytes == 1 ? 500 : 20'000;
  Answers answers;
  auto producer = Produce(client, "c", {.batch_bytes = batch_bytes});
  Strings expected;
  Strings stored;
  for (int i = 1; i <= count; ++i) {
    const std::string payload = "m" + std::to_string(i);
    Ok(producer->Send(payload, answers.Note(payload)));
    expected.push_back(payload + "=" + std::to_string(i));
    stored.push_back(std::to_string(i) + ":" + payload);
  }
  Ok(producer->Flush());
  CHECK(answers.noted() == expected);
  Ok(producer->Close());
  CHECK(Take(*Read(client, "c"), stored.size()) == stored);
}

TEST_CASE("Payloads and properties sent by a producer come back byte for byte") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  auto producer = Produce(client, "c", {.create_if_missing = true});
  const std::vector<Message> messages = {
      {"", {}}, {std::string(300'000, '\0'), {{"key", "value"}}}, {"\xff\xfe", {{"", ""}}}};
  for (const Message& message : messages) Ok(producer->Send(message, nullptr));
  Ok(producer->Flush());
  auto reader = Read(client, "c");
  for (const Message& message : messages) {
    CHECK(Get(reader->Receive(kSoon)).message().ToMessage() == message);
  }
}

TEST_CASE("With linger messages share a batch, and Flush does not wait for it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto producer = Produce(client, "c", {.linger = std::chrono::hours(1)});
  for (const char* payload : {"a", "b", "c"}) Ok(producer->Send(payload, nullptr));
  CHECK(Get(client.DescribeChannel("c")).next_id == 1);
  Ok(producer->Flush());
  CHECK(Get(Read(client, "c")->ReceiveBatch(kSoon)).size() == 3);
}

TEST_CASE("A small window only makes a producer wait") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto producer = Produce(client, "c", {.max_in_flight = 1000});
  for (int i = 0; i < 500; ++i) Ok(producer->Send(std::string(300, 'x'), nullptr));
  Ok(producer->Flush());
  CHECK(Get(client.DescribeChannel("c")).next_id == 501);
}

TEST_CASE("Two producers of a channel mix, each in its own order") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  constexpr int kMessages = 2000;
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (const char* name : {"a", "b"}) {
    // Here, because it asserts: Catch2's assertions are for one thread.
    threads.emplace_back([&, name, client = std::shared_ptr<Client>(place.NewClient())] {
      auto producer = client->OpenProducer("c", {.batch_bytes = 200});
      if (!producer.ok()) {
        ++failed;
        return;
      }
      for (int i = 0; i < kMessages; ++i) {
        if (!(*producer)->Send(name + std::to_string(i), nullptr).ok()) ++failed;
      }
      if (!(*producer)->Close().ok()) ++failed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(failed == 0);
  auto reader = Read(place.client(), "c");
  std::map<char, int> next;
  for (MessageId id = 1; id <= 2 * kMessages; ++id) {
    const Received received = Get(reader->Receive(kSoon));
    REQUIRE(received.message().id == id);
    const std::string payload(received.message().payload);
    REQUIRE(payload.substr(1) == std::to_string(next[payload[0]]++));
  }
}

TEST_CASE("Messages around the largest size pass through a producer in order") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto producer = Produce(client, "c");
  const std::vector<size_t> sizes = {1, 5u << 20, 0, 16u << 20, 100, 1u << 20, (1u << 20) + 1};
  for (const size_t size : sizes) Ok(producer->Send(std::string(size, 'x'), nullptr));
  Ok(producer->Flush());
  auto reader = Read(client, "c");
  for (const size_t size : sizes) {
    CHECK(Get(reader->Receive(kSoon)).message().payload.size() == size);
  }
}

TEST_CASE("Callbacks may send, over every transport") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto producer = Produce(client, "c");
  std::promise<void> done;
  std::atomic<int> left{50};
  Producer::Callback next = [&](const Result<MessageId>& id) {
    if (!id.ok() || --left == 0 || !producer->Send("chain", next).ok()) done.set_value();
  };
  Ok(producer->Send("chain", next));
  REQUIRE(done.get_future().wait_for(kSoon) == std::future_status::ready);
  CHECK(left == 0);
  CHECK(Get(client.DescribeChannel("c")).next_id == 51);
}

TEST_CASE("Destroying a producer under load answers every message once, truthfully") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  std::map<std::string, MessageId> acknowledged;
  std::map<std::string, bool> not_appended;
  int answered = 0;
  Mutex mu;
  {
    auto producer = Produce(client, "c", {.batch_bytes = 2000});
    for (int i = 0; i < 2000; ++i) {
      const std::string payload = std::to_string(i);
      Ok(producer->Send(payload, [&, payload](const Result<MessageId>& id) {
        MutexLock lock(mu);
        ++answered;
        if (id.ok()) acknowledged[payload] = *id;
        if (id.status().fate() == DataFate::kNotAppended) not_appended[payload] = true;
      }));
    }
  }
  MutexLock lock(mu);
  CHECK(answered == 2000);
  // Whatever came before the end is stored, in order, and nothing that was said not to be is.
  Append(client, "c", {"end"});
  auto reader = Read(client, "c");
  int previous = -1;
  for (MessageId id = 1;; ++id) {
    const Received received = Get(reader->Receive(kSoon));
    REQUIRE(received.message().id == id);
    const std::string payload(received.message().payload);
    if (payload == "end") break;
    const int number = std::stoi(payload);
    REQUIRE(number == previous + 1);
    previous = number;
    CHECK_FALSE(not_appended.contains(payload));
    if (acknowledged.contains(payload)) {
      CHECK(acknowledged[payload] == id);
      acknowledged.erase(payload);
    }
  }
  CHECK(acknowledged.empty());
}

}  // namespace
}  // namespace strata::testing
