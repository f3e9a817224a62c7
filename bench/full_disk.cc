// Appends that go on whatever happens, and whether what they were told is true, as `strata-bench full-disk-load` and
// `full-disk-verify`. bench/disk-full drives them.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "bench/space.h"

namespace strata::bench {
namespace {

constexpr uint64_t kMessagesPerAppend = 8;
constexpr SizeRange kSizes{8, 32u << 10};
// Between attempts while the store is full or away.
constexpr std::chrono::milliseconds kPause{20};

std::atomic<bool> stop_asked = false;

std::string ChannelName(int number) { return fmt::format("full-{}", number); }

uint64_t Hash(std::string_view bytes) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// Lines "channel id hash", one per acknowledged message, written after its acknowledgement only.
class Record {
 public:
  explicit Record(const std::string& path) : file_(std::fopen(path.c_str(), "a")) {
    if (file_ == nullptr) Die("cannot write " + path);
  }
  ~Record() { std::fclose(file_); }
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  void Acknowledged(int channel, MessageId first, const std::vector<uint64_t>& hashes) {
    MutexLock lock(mu_);
    for (size_t i = 0; i < hashes.size(); ++i)
      std::fprintf(file_, "%d %lld %llx\n", channel,
                   static_cast<long long>(first) + static_cast<long long>(i),  // NOLINT: %lld
                   static_cast<unsigned long long>(hashes[i]));                // NOLINT: %llx
    std::fflush(file_);
  }

 private:
  Mutex mu_;
  std::FILE* const file_ STRATA_PT_GUARDED_BY(mu_);
};

struct Counters {
  std::atomic<uint64_t> acknowledged = 0;  // messages
  std::atomic<uint64_t> full = 0;          // appends refused with DISK_FULL
  std::atomic<uint64_t> other = 0;         // appends that failed otherwise
};

// A connection, tried for as long as it takes; null when the end was asked for.
std::unique_ptr<Client> ConnectAtLast(const std::string& address) {
  while (!stop_asked) {
    strata::Result<std::unique_ptr<Client>> client = Connect(address);
    if (client.ok()) return std::move(client).value();
    std::this_thread::sleep_for(kPause);
  }
  return nullptr;
}

void AppendWithoutEnd(const FullDiskOptions& options, int channel, Record* record,
                      Counters* counters) {
  // What differs from run to run, so that a record that was continued never matches by accident.
  CheckedPayloads payloads(static_cast<uint64_t>(getpid()) * 1000 + static_cast<uint64_t>(channel),
                           kSizes);
  std::unique_ptr<Client> client = ConnectAtLast(options.address);
  uint64_t number = 0;
  while (!stop_asked) {
    BatchBuilder batch;
    std::vector<uint64_t> hashes;
    for (uint64_t i = 0; i < kMessagesPerAppend; ++i) {
      const std::string_view payload = payloads.Make(++number);
      batch.Add(payload);
      hashes.push_back(Hash(payload));
    }
    const strata::Result<AppendResult> appended =
        client->Append(ChannelName(channel), batch.Take());
    if (appended.ok()) {
      record->Acknowledged(channel, appended->first_id, hashes);
      counters->acknowledged += kMessagesPerAppend;
      continue;
    }
    const Reason reason = appended.status().reason();
    if (reason == Reason::DISK_FULL) {
      if (counters->full++ == 0) fmt::print("{}\n", appended.status().ToString());
    } else {
      if (counters->other++ < 10) fmt::print("{}\n", appended.status().ToString());
      if (reason == Reason::CONNECTION_LOST) client = ConnectAtLast(options.address);
    }
    std::this_thread::sleep_for(kPause);
  }
}

using Recorded = std::map<int, std::map<MessageId, uint64_t>>;
Recorded ReadRecord(const std::string& path) {
  std::ifstream file(path);
  if (!file) Die("cannot read " + path);
  Recorded recorded;
  int channel = 0;
  MessageId id = 0;
  uint64_t hash = 0;
  while (file >> std::dec >> channel >> id >> std::hex >> hash) {
    if (!recorded[channel].emplace(id, hash).second)
      Die(fmt::format("channel {}: id {} was acknowledged twice", channel, id));
  }
  return recorded;
}

// Takes out of `due` what the channel holds, and checks it.
uint64_t Compare(Client& client, const std::string& channel, MessageId end,
                 std::map<MessageId, uint64_t>* due) {
  auto reader =
      ValueOrDie(client.OpenReader(channel, StartPosition::Earliest()), "open the reader");
  uint64_t compared = 0;
  while (reader->position() < end) {
    const ReceivedBatch batch =
        ValueOrDie(reader->ReceiveBatch(std::chrono::seconds(60)), "receive");
    if (batch.is_gap()) continue;  // what was due in it stays due
    for (const MessageView& message : batch) {
      const auto found = due->find(message.id);
      if (found == due->end()) continue;  // stored, but the answer was lost
      if (found->second != Hash(message.payload))
        Die(fmt::format("{}: message {} is not what was acknowledged", channel, message.id));
      due->erase(found);
      ++compared;
    }
  }
  return compared;
}

}  // namespace

void FullDiskLoad(const FullDiskOptions& options) {
  std::signal(SIGTERM, [](int) { stop_asked = true; });
  {
    auto client = ValueOrDie(Connect(options.address), "connect");
    for (int i = 0; i < options.channels; ++i)
      ValueOrDie(client->CreateChannel(ChannelName(i)), "create a channel");
  }
  Record record(options.record);
  Counters counters;
  std::vector<std::thread> threads;
  for (int i = 0; i < options.channels; ++i)
    threads.emplace_back([&, i] { AppendWithoutEnd(options, i, &record, &counters); });
  const auto start = SteadyClock::now();
  while (!stop_asked) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    fmt::print("acknowledged {} refused {} failed {}\n", counters.acknowledged.load(),
               counters.full.load(), counters.other.load());
    std::fflush(stdout);
    if (options.seconds > 0 && SecondsSince(start) > options.seconds) stop_asked = true;
  }
  for (std::thread& thread : threads) thread.join();
  fmt::print("acknowledged {} refused {} failed {}\n", counters.acknowledged.load(),
             counters.full.load(), counters.other.load());
}

void FullDiskVerify(const FullDiskOptions& options) {
  auto client = ValueOrDie(Connect(options.address), "connect");
  uint64_t recorded_messages = 0;
  uint64_t compared = 0;
  uint64_t truncated = 0;
  for (auto& [number, due] : ReadRecord(options.record)) {
    const std::string channel = ChannelName(number);
    const ChannelInfo info = ValueOrDie(client->DescribeChannel(channel), "describe the channel");
    recorded_messages += due.size();
    // Gone on purpose.
    while (!due.empty() && due.begin()->first <= info.truncated_through) {
      due.erase(due.begin());
      ++truncated;
    }
    compared += Compare(*client, channel, info.next_id, &due);
    if (!due.empty()) {
      Die(fmt::format(
          "{}: {} acknowledged messages are missing, the first is {}; ids {} to {} are "
          "available",
          channel, due.size(), due.begin()->first, info.first_available, info.next_id - 1));
    }
  }
  if (compared == 0) Die("there was nothing to compare");
  fmt::print("of {} acknowledged messages {} were truncated and {} read back as they were sent\n",
             recorded_messages, truncated, compared);
}

}  // namespace strata::bench
