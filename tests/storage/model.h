// Model: what a store should hold, as plain maps.
#pragma once

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace strata::storage {

class Model {
 public:
  struct Channel {
    ChannelRecord record;
    std::vector<std::pair<MessageId, MessageId>> batches;  // [first, next) of each, ascending
    MessageId next_id = kFirstMessageId;
    TimeMicros last_append_time = 0;
  };

  void Apply(const WriteGroup& group);
  void ApplyBatch(const BatchRecord& batch);

  // A batch that continues `channel`.
  BatchRecord NextBatch(ChannelNumber channel, uint32_t count, size_t size) const;
  // The next sequence of a producer of `channel`.
  uint64_t NextSequence(ChannelNumber channel, uint64_t producer) const;
  bool HasProducer(ChannelNumber channel, uint64_t producer) const {
    return producers_.contains({channel, producer});
  }
  ChannelNumber RandomChannel(std::mt19937_64& random) const;  // 0 if there is none

  // Compares with what `store` recovered and reads back, and says the first difference. With `may_jump`, ids may go on
  // higher behind a LOST gap; the model then takes them over.
  std::string Adopt(Store& store, const Recovered& recovered, bool may_jump);

  uint64_t commit() const { return commit_; }
  const std::map<ChannelNumber, Channel>& channels() const { return channels_; }
  MessageId next_id(ChannelNumber channel) const;  // 0 if there is no such channel
  std::map<ChannelNumber, MessageId> next_ids() const;

 private:
  // A group that names a producer has its batches before the producer's row.
  void ApplyProducers(const CatalogChange& change);
  std::string AdoptProducers(const Recovered& recovered) const;
  std::string AdoptChannel(Store& store, const RecoveredChannel& recovered, bool may_jump);

  uint64_t commit_ = 0;
  std::map<ChannelNumber, Channel> channels_;
  std::map<std::pair<ChannelNumber, std::string>, SubscriptionRecord> subscriptions_;
  std::map<std::pair<ChannelNumber, uint64_t>, RecoveredProducer> producers_;
};

}  // namespace strata::storage
