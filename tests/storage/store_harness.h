// A small vocabulary for tests of the store: a fault file system or a temporary folder, a writer that keeps count of
// commits and ids, and reading everything back.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/batch.h"
#include "base/log.h"
#include "base/mutex.h"
#include "storage/store.h"
#include "tests/support/fault_fs.h"

namespace strata::storage {

// Collects log lines.
class LogLines {
 public:
  Logger logger(LogLevel minimum = LogLevel::kInfo);
  std::string text() const;
  bool Contains(std::string_view part) const;

 private:
  struct Lines {
    Mutex mu;
    std::string text STRATA_GUARDED_BY(mu);
  };
  std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
};

// A folder of the real file system that vanishes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline constexpr char kStorePath[] = "/data/store";

// Options for a store at kStorePath in `fs`, all sizes tiny: pages of 4 KiB, strata of 16 KiB, write buffers of 64 KiB.
// `fs` may be null: then set the path to a folder of the real file system.
StoreOptions TinyOptions(std::shared_ptr<testing::FaultFileSystem> fs);
// A fault file system with the folder that TinyOptions wants.
std::shared_ptr<testing::FaultFileSystem> NewFaultFs();

// Opens or fails the test, saying why.
std::unique_ptr<Store> MustOpen(const StoreOptions& options);

// The payload of message `id` of `channel`: `size` bytes that differ from those of any other.
std::string PayloadOf(ChannelNumber channel, MessageId id, size_t size);

ChannelRecord MakeChannel(ChannelNumber number, std::string name);
ProducerRecord MakeProducer(ChannelNumber channel, uint64_t number, std::string name);
// What a store has to keep of a batch of a producer.
ProducerResult ResultOf(const BatchRecord& batch);

// Builds groups with the commit numbers and ids that a store expects next.
class Scribe {
 public:
  Scribe() = default;
  // Goes on after what the store recovered; takes that over.
  explicit Scribe(Store& store);

  // Starts a group.
  Scribe& Begin();
  // A batch of `count` messages of `size` bytes each.
  Scribe& Batch(ChannelNumber channel, uint32_t count = 1, size_t size = 100);
  // The same as batch `sequence` of a producer.
  Scribe& Produce(ChannelNumber channel, uint64_t producer, uint64_t sequence, uint32_t count = 1,
                  size_t size = 100);
  Scribe& Change(CatalogChange change);
  const WriteGroup& group() const { return group_; }

  // Creates a channel by a group of its own.
  Status Create(Store& store, ChannelNumber number, std::string name);
  // Begin, one batch, Write.
  Status Append(Store& store, ChannelNumber channel, uint32_t count = 1, size_t size = 100);

  MessageId next_id(ChannelNumber channel) {
    return next_ids_.try_emplace(channel, 1).first->second;
  }
  uint64_t commit() const { return commit_; }
  TimeMicros now = 1'000'000;  // append time of the next batch; + 1,000 each

  Recovered recovered;

 private:
  uint64_t commit_ = 0;
  std::map<ChannelNumber, MessageId> next_ids_;
  WriteGroup group_;
};

// Everything in [from, end): batches' messages checked against PayloadOf, gaps as they come. `wrong` says what is
// wrong in a sentence, or is empty.
struct ReadBack {
  std::vector<MessageId> ids;
  std::vector<Gap> gaps;
  std::string wrong;
};
ReadBack ReadAll(Store& store, ChannelNumber channel, MessageId from, MessageId end,
                 size_t max_bytes = 1u << 20);
// Waits for what another thread does, of which there is nothing else to see.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// first, first + 1, ..., next - 1
std::vector<MessageId> Ids(MessageId first, MessageId next);

}  // namespace strata::storage
