// Scenes of the corruption tests: stores with all kinds of files in them, as bytes, and what has to be in them.
//
// They are built in a child process, so that the one that forks for every trial never has RocksDB's threads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/types.h"
#include "storage/store.h"

namespace strata::corruption {

struct Batch {
  uint32_t count = 0;
  TimeMicros append_time = 0;
  uint64_t content = 0;  // ContentHash of its bytes

  friend bool operator==(const Batch&, const Batch&) = default;
};

enum class SceneKind {
  kClosed,   // closed in order, with retention behind it: trimmed pages, a rewritten stratum
  kRunning,  // killed: rows that are in the log alone, two logs, a stratum that is half flushed
};
inline constexpr const char* kSceneNames[] = {"closed", "running"};

struct Scene {
  std::map<std::string, std::string> files;  // path below the store's directory -> bytes
  std::map<std::pair<ChannelNumber, MessageId>, Batch> written;
  std::map<std::pair<ChannelNumber, MessageId>, Batch>
      batches;                              // those that can be read: not trimmed
  std::map<ChannelNumber, MessageId> ends;  // the next id of each channel
  std::string catalog;  // channels, subscriptions, producers, as DescribeCatalog() gives it
};

// Built once per kind and process.
const Scene& GetScene(SceneKind kind);

// Options for a store at `path`: small sizes, so that there is much of everything.
storage::StoreOptions SceneOptions(const std::string& path,
                                   std::shared_ptr<rocksdb::FileSystem> file_system);

// One line for each channel, subscription and producer with its results.
std::string DescribeCatalog(const storage::Recovered& recovered);

}  // namespace strata::corruption
