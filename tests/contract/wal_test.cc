// What a write-ahead log user such as Milvus does with channels: several in parallel, writers that
// come and go, short-lived anonymous scanners from any position, truncation by checkpoint.
#include <algorithm>
#include <map>
#include <thread>

#include "tests/contract/place.h"

namespace strata::testing {
namespace {

constexpr int kTerms = 3;
constexpr int kMessages = 200;  // of one term
constexpr int kAppenders = 5;

// Everything between the position and the end as of the opening.
std::vector<std::pair<MessageId, Message>> Scan(Client& client, const std::string& channel,
                                                const StartPosition& start, std::string* error) {
  std::vector<std::pair<MessageId, Message>> scanned;
  const auto reader = client.OpenReader(channel, start, {.read_ahead = 8192});
  if (!reader.ok()) {
    *error = reader.status().ToString();
    return scanned;
  }
  while ((*reader)->position() < (*reader)->end_at_open()) {
    const Result<Received> received = (*reader)->Receive(kSoon);
    if (!received.ok() || received->is_gap()) {
      *error = received.ok() ? Describe(*received) : received.status().ToString();
      return scanned;
    }
    scanned.emplace_back(received->message().id, received->message().ToMessage());
  }
  return scanned;
}

// One physical channel's life over several terms of its writer. Runs on a thread of its own;
// returns what went wrong, or "".
class WalLife {
 public:
  WalLife(Place& place, std::string channel) : place_(place), channel_(std::move(channel)) {}

  std::string Run() {
    for (int term = 1; term <= kTerms; ++term) {
      std::string error = RunTerm(term);
      if (!error.empty()) return channel_ + " term " + std::to_string(term) + ": " + error;
    }
    return "";
  }

 private:
  std::string RunTerm(int term) {
    const auto connected = place_.TryNewClient();
    if (!connected.ok()) return connected.status().ToString();
    const auto& client = *connected;
    const auto opened = client->OpenChannel(channel_, true);
    if (!opened.ok()) return opened.status().ToString();

    std::string scan_error;
    std::vector<std::pair<MessageId, Message>> tailed;
    const size_t count = written_.size() + kMessages;  // the writer may be done before it begins
    std::thread scanner([&] { Tail(*client, count, &tailed, &scan_error); });
    std::string error = WriteConcurrently(*client, term);
    scanner.join();
    if (!error.empty()) return error;
    if (!scan_error.empty()) return "the scanner: " + scan_error;
    if (tailed != written_) return "the scanner saw something else than was written";
    for (int i = 0; i < 10; ++i) {
      const auto idle = client->OpenReader(channel_, {});
      if (!idle.ok()) return idle.status().ToString();
    }
    return CheckPositions(*client);
  }

  void Tail(Client& client, size_t count, std::vector<std::pair<MessageId, Message>>* out,
            std::string* error) {
    const auto reader = client.OpenReader(channel_, {}, {.read_ahead = 8192});
    if (!reader.ok()) {
      *error = reader.status().ToString();
      return;
    }
    while (out->size() < count) {
      const Result<Received> received = (*reader)->Receive(kSoon);
      if (!received.ok() || received->is_gap()) {
        *error = received.ok() ? Describe(*received) : received.status().ToString();
        return;
      }
      out->emplace_back(received->message().id, received->message().ToMessage());
    }
  }

  // Many messages from several threads, then the time tick that ends the term.
  std::string WriteConcurrently(Client& client, int term) {
    std::vector<std::map<MessageId, Message>> own(kAppenders);
    std::vector<std::string> errors(kAppenders);
    std::vector<std::thread> appenders;
    for (int a = 0; a < kAppenders; ++a) {
      appenders.emplace_back([&, a] {
        for (int i = a; i < kMessages - 1; i += kAppenders) {
          const Message message{"insert " + std::to_string(i),
                                {{"id", std::to_string(i)}, {"const", "t"}}};
          const auto result = client.Append(channel_, std::vector<Message>{message});
          if (!result.ok()) errors[a] = result.status().ToString();
          if (result.ok()) own[a][result->first_id] = message;
        }
      });
    }
    for (std::thread& appender : appenders) appender.join();
    std::map<MessageId, Message> all;
    for (const auto& some : own) all.insert(some.begin(), some.end());
    const Message tick{"time tick", {{"_wt", std::to_string(term)}}};
    const auto result = client.Append(channel_, std::vector<Message>{tick});
    if (!result.ok()) return result.status().ToString();
    all[result->first_id] = tick;
    for (const std::string& error : errors) {
      if (!error.empty()) return error;
    }
    if (all.rbegin()->first != result->first_id) return "the tick is not above the inserts";
    written_.insert(written_.end(), all.begin(), all.end());
    return "";
  }

  std::string CheckPositions(Client& client) {
    std::string error;
    const auto middle = written_.begin() + static_cast<ptrdiff_t>(written_.size() / 2);
    using Scanned = std::vector<std::pair<MessageId, Message>>;
    if (Scan(client, channel_, {}, &error) != written_) return "All " + error;
    if (Scan(client, channel_, StartPosition::At(middle->first), &error) !=
        Scanned(middle, written_.end())) {
      return "StartFrom " + error;
    }
    if (Scan(client, channel_, StartPosition::After(middle->first), &error) !=
        Scanned(middle + 1, written_.end())) {
      return "StartAfter " + error;
    }
    if (!Scan(client, channel_, StartPosition::Latest(), &error).empty()) return "Latest " + error;
    return error;
  }

  Place& place_;
  const std::string channel_;
  std::vector<std::pair<MessageId, Message>> written_;  // of all terms, in order of ids
};

TEST_CASE("Three logs live through several writers in parallel, with scanners from everywhere") {
  Place place(GENERATE(EVERY_TRANSPORT));
  constexpr int kLogs = 3;
  std::vector<std::string> errors(kLogs);
  std::vector<std::thread> threads;
  for (int i = 0; i < kLogs; ++i) {
    threads.emplace_back([&, i] { errors[i] = WalLife(place, "dml_" + std::to_string(i)).Run(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) CHECK(error == "");
}

TEST_CASE("A log opened again is read from its checkpoint to the tick that was just appended") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  Append(place.client(), "c", {"1", "2", "3"});
  place.Restart();
  const MessageId tick = Append(place.client(), "c", {"tick"}).first_id;
  auto reader = Read(place.client(), "c", StartPosition::At(2));
  CHECK(Take(*reader, 3) == Strings{"2:2", "3:3", std::to_string(tick) + ":tick"});
  CHECK(tick == 4);
}

TEST_CASE(
    "After a truncation scanners start behind it, and one that was told an older id is told so") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  for (int i = 0; i < 10; ++i) Append(client, "c", {"m"});
  Get(client.TruncateChannel("c", 7));
  CHECK(Take(*Read(client, "c"), 1) == Strings{"8:m"});
  CHECK(Take(*Read(client, "c", StartPosition::At(8)), 1) == Strings{"8:m"});
  CHECK(Take(*Read(client, "c", StartPosition::At(5)), 2) == Strings{"gap 5-7 TRIMMED", "8:m"});
  CHECK(Take(*Read(client, "c", StartPosition::At(-1)), 1) == Strings{"8:m"});
}

TEST_CASE("An empty log may be read from the earliest message and from any id") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto earliest = Read(client, "c", StartPosition::At(-1));
  auto first = Read(client, "c", StartPosition::At(1));
  CHECK(Why(earliest->Receive(kNow)) == "TIMEOUT");
  Append(client, "c", {"a"});
  CHECK(Take(*earliest, 1) == Strings{"1:a"});
  CHECK(Take(*first, 1) == Strings{"1:a"});
}

}  // namespace
}  // namespace strata::testing
