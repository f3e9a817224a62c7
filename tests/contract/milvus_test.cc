// The checklist of Milvus: what its write-ahead log interface (walimpls: Open, Append, Read, Truncate,
// MessageID) and its recovery ask of a message store. One test for each requirement, named after it.
//
// In its words: a WAL is a channel; opening it RW with a term is OpenProducer(exclusive); RO is a
// reader; a scanner is a Reader without a subscription; All, StartFrom, StartAfter and Latest are
// Earliest, At, After and Latest; a TimeTick is a message like others. The framework that every WAL has to
// pass is milvus_framework_test.cc.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <thread>

#include "base/mutex.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

using std::chrono::milliseconds;

Result<std::unique_ptr<Producer>> OpenRw(Client& client, const std::string& channel, int64_t term) {
  return client.OpenProducer(
      channel,
      {.create_if_missing = true, .name = "streaming-node", .term = term, .exclusive = true});
}

// A WAL that is opened for writing.
struct Wal {
  Wal(Client& client, const std::string& channel, int64_t term)
      : producer(Get(OpenRw(client, channel, term))) {}

  MessageId Append(const Message& message) { return Get(producer->Send(message).get()); }
  MessageId Append(const std::string& payload) { return Append(Message{payload, {}}); }
  std::string AppendFails(const std::string& payload) {
    return Why(producer->Send(Message{payload, {}}).get());
  }

  std::unique_ptr<Producer> producer;
};

// What a scanner delivers up to the end as of its opening.
Strings Scan(Client& client, const std::string& channel, const StartPosition& start) {
  auto scanner = Read(client, channel, start);
  Strings delivered;
  while (scanner->position() < scanner->end_at_open()) {
    const Strings one = Take(*scanner, 1);
    delivered.insert(delivered.end(), one.begin(), one.end());
    if (one.front().find(':') == std::string::npos && !one.front().starts_with("gap")) break;
  }
  return delivered;
}

Strings Numbered(MessageId first, MessageId last, const std::string& payload) {
  Strings expected;
  for (MessageId id = first; id <= last; ++id) {
    expected.push_back(std::to_string(id) + ":" + payload);
  }
  return expected;
}

// --- Opening ---

TEST_CASE(
    "Milvus, Open: creates the log if it is missing, and refuses no name and a term below 0") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  CHECK(Why(OpenRw(client, "", 1)) == "INVALID_CHANNEL_NAME");
  CHECK(Why(OpenRw(client, "dml_0", -1)) == "INVALID_ARGUMENT");
  Wal wal(client, "by-dev-rootcoord-dml_0", 1);
  CHECK(wal.producer->end_at_open() == 1);
  CHECK(Get(client.DescribeChannel("by-dev-rootcoord-dml_0")).number ==
        wal.producer->channel_number());
  CHECK(Get(client.DescribeChannel("by-dev-rootcoord-dml_0")).exclusive_term == 1);
}

TEST_CASE("Milvus, Open RW: a higher term fences the old writer, and FENCED is for ever") {
  Place place(GENERATE(EVERY_TRANSPORT));
  auto other = place.NewClient();
  Wal old_node(place.client(), "dml_0", 1);
  CHECK(old_node.Append("a") == 1);
  Wal new_node(*other, "dml_0", 2);
  CHECK(new_node.Append("b") == 2);
  CHECK(old_node.AppendFails("late") == "FENCED not");
  CHECK(old_node.AppendFails("later") == "FENCED not");
  CHECK(Why(OpenRw(place.client(), "dml_0", 1)) == "FENCED");
  CHECK(new_node.Append("c") == 3);
  CHECK(Scan(place.client(), "dml_0", {}) == Strings{"1:a", "2:b", "3:c"});
  // Also after its successor closed in peace, and after the broker was started again.
  Ok(new_node.producer->Close());
  CHECK(Why(OpenRw(place.client(), "dml_0", 1)) == "FENCED");
  place.Restart();
  CHECK(Why(OpenRw(place.client(), "dml_0", 1)) == "FENCED");
  CHECK(Wal(place.client(), "dml_0", 2).Append("d") == 4);
}

TEST_CASE("Milvus, Open RW: the same term opens again, before and after a close, and takes over") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Wal first(client, "dml_0", 4);
  const MessageId id = first.Append("a");
  Get(client.TruncateChannel("dml_0", id));
  Ok(first.producer->Close());
  Wal again(client, "dml_0", 4);
  CHECK(again.producer->end_at_open() == id + 1);
  CHECK(again.Append("b") == id + 1);
  // A node that crashed and came back while its old connection still seems to be there.
  Wal back(client, "dml_0", 4);
  CHECK(back.Append("c") == id + 2);
  CHECK(again.AppendFails("late") == "FENCED not");
}

TEST_CASE("Milvus, Open RW: the term that messages carry never falls along the log") {
  Place place(GENERATE(EVERY_TRANSPORT));
  constexpr int kTerms = 8;
  std::vector<std::thread> nodes;
  for (int term = 1; term <= kTerms; ++term) {
    nodes.emplace_back([&place, term] {
      const auto client = place.TryNewClient();
      if (!client.ok()) return;  // seen below: the highest term wrote nothing
      const auto wal = OpenRw(**client, "dml_0", term);
      if (!wal.ok()) return;  // fenced already
      for (int i = 0; i < 30; ++i) {
        const Message message{"m", {{"_wt", std::to_string(term)}}};
        if (!(*wal)->Send(message).get().ok()) return;
      }
    });
  }
  for (std::thread& node : nodes) node.join();
  auto reader = Read(place.client(), "dml_0");
  int highest = 0;
  while (reader->position() < reader->end_at_open()) {
    const Received received = Get(reader->Receive(kSoon));
    const int term = std::stoi(received.message().ToMessage().properties.at("_wt"));
    REQUIRE(term >= highest);
    highest = term;
  }
  CHECK(highest == kTerms);
}

TEST_CASE("Milvus, Open RO: a log that is missing is NOT_FOUND, and is not created") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  CHECK(Why(client.OpenReader("dml_0", StartPosition::Earliest())) == "CHANNEL_NOT_FOUND");
  CHECK(Why(client.OpenReader("dml_0", StartPosition::Earliest(),
                              {.wait_for_channel = milliseconds(20)})) == "CHANNEL_NOT_FOUND");
  CHECK(Get(client.ListChannels()).empty());
}

TEST_CASE("Milvus, Open RO: may wait for the log to be created, and then misses nothing of it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  const auto from = GENERATE(StartPosition::Kind::kEarliest, StartPosition::Kind::kLatest);
  auto other = place.NewClient();
  std::string delivered;
  std::atomic<bool> done{false};
  std::thread read_only([&] {
    const auto reader = other->OpenReader("dml_0", {from, 0, 0}, {.wait_for_channel = kSoon});
    if (!reader.ok()) {
      delivered = Why(reader);
    } else {
      const auto received = (*reader)->Receive(kSoon);
      delivered = received.ok() ? Describe(*received) : Why(received);
    }
    done = true;
  });
  Wal wal(place.client(), "dml_0", 1);
  wal.Append("m");
  // A LATEST that came too late to wait gets one of those that follow.
  while (from == StartPosition::Kind::kLatest && !done) wal.Append("m");
  read_only.join();
  if (from == StartPosition::Kind::kEarliest) CHECK(delivered == "1:m");
  CHECK(delivered.ends_with(":m"));
}

TEST_CASE("Milvus, Close: closing a writer ends neither the log nor what is in it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  for (int term = 1; term <= 3; ++term) {
    Wal wal(client, "dml_1", term);
    wal.Append("m");
    Wal(client, "dml_10", term).Append("n");
    Ok(wal.producer->Close());
  }
  CHECK(Scan(client, "dml_1", {}) == Numbered(1, 3, "m"));
  // A log whose name begins the same is another log.
  Ok(client.DeleteChannel("dml_1"));
  CHECK(Scan(client, "dml_10", {}) == Numbered(1, 3, "n"));
}

// --- Appending ---

TEST_CASE("Milvus, Append: returns when the message is durable and readable, with its id") {
  Place place(GENERATE(EVERY_TRANSPORT));
  auto other = place.NewClient();
  Wal wal(place.client(), "dml_0", 1);
  for (int i = 0; i < 20; ++i) {
    const MessageId id = wal.Append("m");
    CHECK(Take(*Read(*other, "dml_0", StartPosition::At(id)), 1) ==
          Strings{std::to_string(id) + ":m"});
  }
  place.Restart();
  CHECK(Scan(place.client(), "dml_0", {}) == Numbered(1, 20, "m"));
}

TEST_CASE("Milvus, Append: retried after an error it is stored once") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "dml_0");
  Get(client.OpenProducer("dml_0", {.name = "writer", .term = 1}));
  AppendOptions options;
  options.producer = "writer";
  options.term = 1;
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
    options.sequence = sequence;
    const std::vector<Message> message = {{"m", {}}};
    const MessageId id = Get(client.Append("dml_0", message, options)).first_id;
    // As if the answer had been lost.
    CHECK(Get(client.Append("dml_0", message, options)).first_id == id);
  }
  CHECK(Scan(client, "dml_0", {}) == Numbered(1, 3, "m"));
}

TEST_CASE(
    "Milvus, Append: many at once, ids in the order of real time, none below a delivered one") {
  Place place(GENERATE(EVERY_TRANSPORT));
  constexpr int kAppenders = 5;
  constexpr int kEach = 100;
  Wal wal(place.client(), "dml_0", 1);
  auto scanner = Read(place.client(), "dml_0");
  std::vector<std::string> wrong(kAppenders);
  std::vector<std::thread> appenders;
  std::atomic<MessageId> acknowledged{0};
  for (int a = 0; a < kAppenders; ++a) {
    appenders.emplace_back([&, a] {
      for (int i = 0; i < kEach; ++i) {
        const MessageId before = acknowledged;
        const Result<MessageId> id = wal.producer->Send(Message{"m", {}}).get();
        if (!id.ok()) wrong[a] = id.status().ToString();
        if (id.ok() && *id <= before) wrong[a] = "an id below one that was acknowledged before";
        if (!id.ok()) return;
        for (MessageId seen = acknowledged; seen < *id;) {
          if (acknowledged.compare_exchange_weak(seen, *id)) break;
        }
      }
    });
  }
  const Strings delivered = Take(*scanner, kAppenders * kEach);
  for (std::thread& appender : appenders) appender.join();
  for (const std::string& what : wrong) CHECK(what == "");
  CHECK(delivered == Numbered(1, kAppenders * kEach, "m"));
}

TEST_CASE(
    "Milvus, Message: payload and properties come back byte for byte, its reserved keys too") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Wal wal(place.client(), "dml_0", 1);
  Message message{std::string("\0\xff\x80 payload", 11), {}};
  for (const char* key : {"_v", "_wt", "_t", "_tt", "_btt", "_lc", "_lcs", "_vc", "_bh", "_h",
                          "_tx", "_ch", "_np", "_pcl", "_rh", "_ur", "_tc"}) {
    message.properties[key] = std::string("value of ") + key;
  }
  message.properties["empty"] = "";
  for (const Message& one : {message, Message{"", {}}, Message{"", {{"id", "1"}}}}) {
    const MessageId id = wal.Append(one);
    auto scanner = Read(place.client(), "dml_0", StartPosition::At(id));
    CHECK(Get(scanner->Receive(kSoon)).message().ToMessage() == one);
  }
}

TEST_CASE("Milvus, Message: 10 MiB and more are taken") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Wal wal(place.client(), "dml_0", 1);
  for (const size_t size : {2u << 20, (2u << 20) + 1, 10u << 20, 16u << 20}) {
    std::string payload(size, 'x');
    payload[size / 2] = 'y';
    const MessageId id = wal.Append(payload);
    auto scanner = Read(place.client(), "dml_0", StartPosition::At(id));
    CHECK(Get(scanner->Receive(kSoon)).message().payload == payload);
  }
}

TEST_CASE("Milvus, MessageID: an int64 that orders, compares, and survives being text and bytes") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  // Ids may continue those of another store, such as RocksMQ's of 18 digits.
  constexpr MessageId kFirst = 450'000'000'000'000'001;
  Get(client.CreateChannel("dml_0", {.first_id = kFirst}));
  Wal wal(client, "dml_0", 1);
  const MessageId first = wal.Append("a");
  const MessageId second = wal.Append("b");
  CHECK(first == kFirst);
  CHECK(first < second);
  // As base 36, the form in which Milvus keeps positions.
  char text[16];
  const auto written = std::to_chars(text, text + sizeof(text), second, 36);
  MessageId read = 0;
  std::from_chars(text, written.ptr, read, 36);
  CHECK(read == second);
  CHECK(Scan(client, "dml_0", StartPosition::At(read)) == Strings{std::to_string(second) + ":b"});
}

// --- Reading ---

TEST_CASE("Milvus, Read: All, StartFrom, StartAfter and Latest start exactly where they say") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Wal wal(client, "dml_0", 1);
  for (int i = 0; i < 10; ++i) wal.Append("m");
  CHECK(Scan(client, "dml_0", StartPosition::Earliest()) == Numbered(1, 10, "m"));
  CHECK(Scan(client, "dml_0", StartPosition::At(5)) == Numbered(5, 10, "m"));
  CHECK(Scan(client, "dml_0", StartPosition::After(5)) == Numbered(6, 10, "m"));
  CHECK(Scan(client, "dml_0", StartPosition::After(10)).empty());
  auto latest = Read(client, "dml_0", StartPosition::Latest());
  CHECK(Why(latest->Receive(milliseconds(100))) == "TIMEOUT");
  wal.Append("new");
  CHECK(Take(*latest, 1) == Strings{"11:new"});
}

TEST_CASE("Milvus, Read: earliest is a legal id, on an empty log too") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Wal wal(client, "dml_0", 1);
  auto earliest = Read(client, "dml_0", StartPosition::At(-1));
  CHECK(Why(earliest->Receive(kNow)) == "TIMEOUT");
  wal.Append("a");
  CHECK(Take(*earliest, 1) == Strings{"1:a"});
  CHECK(Scan(client, "dml_0", StartPosition::At(-1)) == Strings{"1:a"});
}

TEST_CASE("Milvus, Read: after opening, from the checkpoint to the TimeTick just appended") {
  Place place(GENERATE(EVERY_TRANSPORT));
  {
    Wal wal(place.client(), "dml_0", 1);
    for (int i = 0; i < 5; ++i) wal.Append("m");
  }
  place.Restart();
  Wal wal(place.client(), "dml_0", 2);
  const MessageId tick = wal.Append(Message{"tick", {{"_wt", "2"}}});
  CHECK(Take(*Read(place.client(), "dml_0", StartPosition::At(3)), 4) ==
        Strings{"3:m", "4:m", "5:m", std::to_string(tick) + ":tick"});
}

TEST_CASE("Milvus, Read: from a last-confirmed id everything later is there, while it is written") {
  Place place(GENERATE(EVERY_TRANSPORT));
  constexpr MessageId kMessages = 300;
  Wal wal(place.client(), "dml_0", 1);
  std::atomic<MessageId> confirmed{0};
  std::thread writer([&] {
    for (MessageId i = 0; i < kMessages; ++i) {
      const Result<MessageId> id = wal.producer->Send(Message{"m", {}}).get();
      if (id.ok()) confirmed = *id;
    }
  });
  while (confirmed < kMessages / 2) std::this_thread::yield();
  // All below it is final: nothing may be inserted there later.
  const MessageId last_confirmed = confirmed;
  const Strings later = Take(*Read(place.client(), "dml_0", StartPosition::After(last_confirmed)),
                             static_cast<size_t>(kMessages - last_confirmed));
  const Strings below = Take(*Read(place.client(), "dml_0"), static_cast<size_t>(last_confirmed));
  writer.join();
  CHECK(later == Numbered(last_confirmed + 1, kMessages, "m"));
  CHECK(below == Numbered(1, last_confirmed, "m"));
}

TEST_CASE("Milvus, Read: many short scanners, without names, leave nothing behind") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Wal wal(client, "dml_0", 1);
  for (int i = 0; i < 50; ++i) wal.Append("m");
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        const auto scanner = client.OpenReader("dml_0", StartPosition::At(t + i + 1));
        // Some are closed before they have delivered anything.
        if (!scanner.ok()) ++wrong;
        if (!scanner.ok() || i % 2 == 0) continue;
        const auto received = (*scanner)->Receive(kSoon);
        if (!received.ok() || received->message().id != std::min(t + i + 1, 50)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(Get(client.ListSubscriptions("")).empty());
  // The last ones are gone as soon as their ends have arrived.
  const auto deadline = std::chrono::steady_clock::now() + kSoon;
  while (Get(client.GetStatus()).readers > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  CHECK(Get(client.GetStatus()).readers == 0);
}

TEST_CASE("Milvus, Read: a scanner that waits gets each TimeTick when it is appended") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Wal wal(place.client(), "dml_0", 1);
  auto scanner = Read(place.client(), "dml_0", StartPosition::Latest());
  for (MessageId id = 1; id <= 50; ++id) {
    CHECK(wal.Append("tick") == id);
    // Well before the next one would be due, 200 ms later.
    CHECK(Take(*scanner, 1) == Strings{std::to_string(id) + ":tick"});
  }
}

TEST_CASE("Milvus, Read: a closed scanner says so, and one may seek back at any time") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Wal wal(place.client(), "dml_0", 1);
  for (int i = 0; i < 5; ++i) wal.Append("m");
  auto scanner = Read(place.client(), "dml_0", StartPosition::At(4));
  CHECK(Take(*scanner, 2) == Numbered(4, 5, "m"));
  Ok(scanner->Seek(StartPosition::At(2)));
  CHECK(Take(*scanner, 4) == Numbered(2, 5, "m"));
  scanner->Close();
  CHECK(Why(scanner->Receive(kSoon)) == "CLIENT_CLOSED");
}

// --- Truncating ---

TEST_CASE("Milvus, Truncate: is inclusive, and All starts right after it") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Wal wal(client, "dml_0", 1);
  for (int i = 0; i < 10; ++i) wal.Append("m");
  CHECK(Get(client.TruncateChannel("dml_0", 4)).first_available == 5);
  CHECK(Scan(client, "dml_0", {}) == Numbered(5, 10, "m"));
  // A checkpoint that is older than the last one, as after a recovery, changes nothing.
  CHECK(Get(client.TruncateChannel("dml_0", 2)).truncated_through == 4);
  // Everything: the log is empty and goes on with the next id.
  Get(client.TruncateChannel("dml_0", 10));
  CHECK(Scan(client, "dml_0", {}).empty());
  CHECK(wal.Append("n") == 11);
  CHECK(Scan(client, "dml_0", {}) == Strings{"11:n"});
}

TEST_CASE(
    "Milvus, Truncate: a start at an id that is gone goes forward, announced, and never hangs") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Wal wal(client, "dml_0", 1);
  for (int i = 0; i < 10; ++i) wal.Append("m");
  Get(client.TruncateChannel("dml_0", 4));
  // What others skip in silence is a gap here.
  CHECK(Take(*Read(client, "dml_0", StartPosition::At(4)), 2) == Strings{"gap 4-4 TRIMMED", "5:m"});
  CHECK(Take(*Read(client, "dml_0", StartPosition::At(1)), 2) == Strings{"gap 1-4 TRIMMED", "5:m"});
  CHECK(Take(*Read(client, "dml_0", StartPosition::After(2)), 2) ==
        Strings{"gap 3-4 TRIMMED", "5:m"});
  CHECK(Take(*Read(client, "dml_0", StartPosition::After(4)), 1) == Strings{"5:m"});
  Get(client.TruncateChannel("dml_0", 10));
  auto parked = Read(client, "dml_0", StartPosition::At(7));
  CHECK(Take(*parked, 1) == Strings{"gap 7-10 TRIMMED"});
  wal.Append("n");
  CHECK(Take(*parked, 1) == Strings{"11:n"});
}

TEST_CASE("Milvus, Truncate: with policy truncated nothing else removes what nobody acknowledges") {
  Place place(GENERATE(EVERY_TRANSPORT),
              {"retention.policy=truncated", "rocksmq.retentionTimeInMinutes=0"});
  Client& client = place.client();
  Wal wal(client, "dml_0", 1);
  for (int i = 0; i < 10; ++i) wal.Append("m");
  CHECK(Get(client.DescribeSpace("dml_0")).front().held_by == HeldBy::kPolicy);
  place.Restart();
  CHECK(Scan(place.client(), "dml_0", {}) == Numbered(1, 10, "m"));
}

}  // namespace
}  // namespace strata::testing
