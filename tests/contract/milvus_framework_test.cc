// What every write-ahead log of Milvus has to pass, as its own test framework does it: several logs in
// parallel, several terms of a writer each, scanners from everywhere while it is written.
#include <algorithm>
#include <thread>

#include "base/mutex.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

Result<std::unique_ptr<Producer>> OpenRw(Client& client, const std::string& channel, int64_t term) {
  return client.OpenProducer(
      channel,
      {.create_if_missing = true, .name = "streaming-node", .term = term, .exclusive = true});
}

// One term of a log's writer: `count` messages, the last of them a TimeTick, by five appenders at once.
// Runs on a thread of its own, so it returns what went wrong.
std::string WriteTerm(Client& client, const std::string& channel, int term, int count,
                      std::vector<std::pair<MessageId, Message>>* written) {
  const auto wal = OpenRw(client, channel, term);
  if (!wal.ok()) return "opening: " + wal.status().ToString();
  Mutex mu;
  std::string error;
  const auto append = [&](const Message& message) {
    const Result<MessageId> id = (*wal)->Send(message).get();
    MutexLock lock(mu);
    if (id.ok()) written->emplace_back(*id, message);
    if (!id.ok()) error = id.status().ToString();
  };
  std::vector<std::thread> appenders;
  for (int a = 0; a < 5; ++a) {
    appenders.emplace_back([&, a] {
      for (int i = a; i < count - 1; i += 5) {
        append({"insert", {{"id", std::to_string(i)}, {"const", "t"}}});
      }
    });
  }
  for (std::thread& appender : appenders) appender.join();
  append({"tick", {{"_wt", std::to_string(term)}}});
  std::sort(written->begin(), written->end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  if (!error.empty()) return error;
  const Status closed = (*wal)->Close();
  return closed.ok() ? "" : closed.ToString();
}

// What is wrong with a scan from `start`, which has to deliver `expected`.
std::string CheckScan(Client& client, const std::string& channel, const StartPosition& start,
                      std::vector<std::pair<MessageId, Message>> expected) {
  const auto scanner = client.OpenReader(channel, start, {.read_ahead = 8192});
  if (!scanner.ok()) return scanner.status().ToString();
  for (const auto& [id, message] : expected) {
    const Result<Received> received = (*scanner)->Receive(kSoon);
    if (!received.ok()) return received.status().ToString();
    if (received->is_gap()) return Describe(*received);
    if (received->message().id != id || !(received->message().ToMessage() == message)) {
      return "another message at id " + std::to_string(id);
    }
  }
  return "";
}

std::string LiveThroughTerms(Place& place, const std::string& channel) {
  constexpr int kMessages = 1000;
  std::vector<std::pair<MessageId, Message>> written;
  for (int term = 1; term <= 3; ++term) {
    const std::string where = channel + ", term " + std::to_string(term) + ": ";
    const auto connected = place.TryNewClient();
    if (!connected.ok()) return where + connected.status().ToString();
    const auto& client = *connected;
    // Two scanners from the start follow while it is written.
    const size_t total = static_cast<size_t>(kMessages) * static_cast<size_t>(term);
    std::vector<std::vector<MessageId>> seen(2);
    std::vector<std::thread> scanners;
    for (auto& ids : seen) {
      scanners.emplace_back([&] {
        const auto scanner = client->OpenReader(channel, {}, {.wait_for_channel = kSoon});
        while (scanner.ok() && ids.size() < total) {
          const auto received = (*scanner)->Receive(kSoon);
          if (!received.ok() || received->is_gap()) return;
          ids.push_back(received->message().id);
        }
      });
    }
    const std::string wrong = WriteTerm(*client, channel, term, kMessages, &written);
    for (std::thread& scanner : scanners) scanner.join();
    if (!wrong.empty()) return where + wrong;
    std::vector<MessageId> ids;
    for (const auto& [id, message] : written) ids.push_back(id);
    if (seen[0] != ids || seen[1] != ids) return where + "a scanner saw something else";
    const size_t middle = written.size() / 2;
    const auto from = [&](size_t index) {
      return std::vector(written.begin() + static_cast<ptrdiff_t>(index), written.end());
    };
    std::string error = CheckScan(*client, channel, {}, written);
    if (error.empty()) {
      error = CheckScan(*client, channel, StartPosition::At(written[middle].first), from(middle));
    }
    if (error.empty()) {
      error = CheckScan(*client, channel, StartPosition::After(written[middle].first),
                        from(middle + 1));
    }
    if (!error.empty()) return where + error;
  }
  return "";
}

TEST_CASE(
    "Milvus, the framework: three logs in parallel, three terms each, a thousand messages each") {
  Place place(GENERATE(EVERY_TRANSPORT));
  std::vector<std::string> wrong(3);
  std::vector<std::thread> logs;
  for (size_t i = 0; i < wrong.size(); ++i) {
    logs.emplace_back([&, i] { wrong[i] = LiveThroughTerms(place, "dml_" + std::to_string(i)); });
  }
  for (std::thread& log : logs) log.join();
  for (const std::string& what : wrong) CHECK(what == "");
  // A term more, a truncation, and the same term again.
  Client& client = place.client();
  auto wal = Get(OpenRw(client, "dml_0", 4));
  Get(client.TruncateChannel("dml_0", Get(wal->Send(Message{"m", {}}).get())));
  Ok(wal->Close());
  Ok(Get(OpenRw(client, "dml_0", 4))->Close());
}

}  // namespace
}  // namespace strata::testing
