// A broker over a real store over a disk that can fail, and the promise it is held to.
//
//   Scene scene(seed);
//   auto broker = scene.Open();                    // on scene.disk()
//   ... append, read, note what was acknowledged and seen in scene.witness() ...
//   broker.reset();
//   scene.disk()->PowerCut(seed);
//   scene.Check();                                 // opens again: every violation as a sentence
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"
#include "storage/store.h"
#include "tests/support/fault_fs.h"

namespace strata::testing {

// What a client and a reader may rely on after the power went: what was acknowledged, and what was
// seen. Thread-safe.
class Witness {
 public:
  void Acknowledged(const std::string& channel, MessageId first_id,
                    const std::vector<std::string>& payloads);
  void Seen(const std::string& channel, MessageId id, const std::string& payload);
  void Truncated(const std::string& channel, MessageId through);

  struct Channel {
    std::map<MessageId, std::string> promised;  // acknowledged or seen
    MessageId truncated_through = 0;            // acknowledged
  };
  std::map<std::string, Channel> channels() const;
  size_t promised() const;

 private:
  mutable Mutex mu_;
  std::map<std::string, Channel> channels_ STRATA_GUARDED_BY(mu_);
};

class Scene {
 public:
  // Wraps the store that a broker gets: how a test removes a sync.
  using Wrap =
      std::function<std::unique_ptr<storage::LogStore>(std::unique_ptr<storage::LogStore>)>;

  explicit Scene(SyncPolicy sync = SyncPolicy::kAlways, Wrap wrap = nullptr);

  const std::shared_ptr<FaultFileSystem>& disk() { return disk_; }
  Witness& witness() { return witness_; }
  // Small pages and buffers, so that a short history has many flushes and strata.
  storage::StoreOptions store_options() const;
  Result<std::unique_ptr<broker::Broker>> Open();
  // After the disk came back: opens the store and compares it with the witness. Violations, empty
  // if the promise was kept.
  std::vector<std::string> Check();

 private:
  void CheckChannel(broker::Broker& broker, const std::string& name,
                    const Witness::Channel& expected, std::vector<std::string>* violations);

  const SyncPolicy sync_;
  const Wrap wrap_;
  const std::shared_ptr<FaultFileSystem> disk_;
  Witness witness_;
};

// Encodes payloads as one batch.
Buffer MakeBatch(const std::vector<std::string>& payloads);

}  // namespace strata::testing
