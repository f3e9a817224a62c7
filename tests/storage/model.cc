#include "tests/storage/model.h"

#include <fmt/format.h>

#include "tests/storage/store_harness.h"

namespace strata::storage {

void Model::ApplyBatch(const BatchRecord& batch) {
  Channel& channel = channels_[batch.channel];
  channel.batches.emplace_back(batch.first_id, batch.first_id + batch.count);
  channel.next_id = batch.first_id + batch.count;
  channel.last_append_time = batch.append_time;
  if (batch.producer == 0) return;
  std::vector<ProducerResult>& results = producers_[{batch.channel, batch.producer}].results;
  results.push_back(ResultOf(batch));
  if (results.size() > kProducerWindow) results.erase(results.begin());
}

void Model::ApplyProducers(const CatalogChange& change) {
  if (const auto* put = std::get_if<PutProducer>(&change)) {
    producers_[{put->producer.channel, put->producer.number}].record = put->producer;
  } else if (const auto* drop = std::get_if<DropProducer>(&change)) {
    producers_.erase({drop->channel, drop->number});
  } else if (const auto* channel = std::get_if<DropChannel>(&change)) {
    std::erase_if(producers_,
                  [&](const auto& each) { return each.first.first == channel->channel; });
  }
}

void Model::Apply(const WriteGroup& group) {
  commit_ = group.commit;
  for (const BatchRecord& batch : group.batches) ApplyBatch(batch);
  for (const CatalogChange& change : group.changes) {
    ApplyProducers(change);
    if (const auto* put = std::get_if<PutChannel>(&change)) {
      Channel& channel = channels_[put->channel.number];
      channel.record = put->channel;
      channel.next_id = std::max(channel.next_id, put->channel.next_id);
    } else if (const auto* put_subscription = std::get_if<PutSubscription>(&change)) {
      const SubscriptionRecord& subscription = put_subscription->subscription;
      subscriptions_[{subscription.channel, subscription.name}] = subscription;
    } else if (const auto* drop = std::get_if<DropChannel>(&change)) {
      channels_.erase(drop->channel);
      std::erase_if(subscriptions_,
                    [drop](const auto& each) { return each.first.first == drop->channel; });
    } else if (const auto* drop_subscription = std::get_if<DropSubscription>(&change)) {
      subscriptions_.erase({drop_subscription->channel, drop_subscription->name});
    }
  }
}

BatchRecord Model::NextBatch(ChannelNumber number, uint32_t count, size_t size) const {
  const Channel& channel = channels_.at(number);
  BatchRecord batch;
  batch.channel = number;
  batch.first_id = channel.next_id;
  batch.count = count;
  batch.append_time = channel.last_append_time + 1;
  BatchBuilder builder;
  for (uint32_t i = 0; i < count; ++i) builder.Add(PayloadOf(number, batch.first_id + i, size));
  batch.bytes = builder.Take();
  return batch;
}

uint64_t Model::NextSequence(ChannelNumber channel, uint64_t producer) const {
  const auto found = producers_.find({channel, producer});
  if (found == producers_.end() || found->second.results.empty()) return 1;
  return found->second.results.back().sequence + 1;
}

ChannelNumber Model::RandomChannel(std::mt19937_64& random) const {
  if (channels_.empty()) return 0;
  auto channel = channels_.begin();
  std::advance(channel, random() % channels_.size());
  return channel->first;
}

MessageId Model::next_id(ChannelNumber channel) const {
  const auto found = channels_.find(channel);
  return found == channels_.end() ? 0 : found->second.next_id;
}

std::map<ChannelNumber, MessageId> Model::next_ids() const {
  std::map<ChannelNumber, MessageId> next;
  for (const auto& [number, channel] : channels_) next[number] = channel.next_id;
  return next;
}

std::string Model::AdoptChannel(Store& store, const RecoveredChannel& recovered, bool may_jump) {
  const ChannelNumber number = recovered.record.number;
  Channel& channel = channels_.at(number);
  if (may_jump && recovered.next_id != channel.next_id) {
    const Gap gap{channel.next_id, recovered.next_id - 1, GapReason::kLost};
    const Gap* last = recovered.record.lost.empty() ? nullptr : &recovered.record.lost.back();
    if (last == nullptr || last->reason != gap.reason || last->last != gap.last ||
        last->first > gap.first) {
      return fmt::format("channel {}: ids jumped to {} without a LOST gap", number,
                         recovered.next_id);
    }
    channel.next_id = recovered.next_id;
    channel.record = recovered.record;
  }
  if (recovered.record != channel.record || recovered.next_id != channel.next_id) {
    return fmt::format("channel {}: goes on at {} instead of {}, or has another row", number,
                       recovered.next_id, channel.next_id);
  }
  if (recovered.last_append_time != channel.last_append_time) {
    return fmt::format("channel {}: was last appended to at {}, not {}", number,
                       channel.last_append_time, recovered.last_append_time);
  }
  std::vector<MessageId> ids;
  for (const auto& [first, next] : channel.batches) {
    for (MessageId id = first; id < next; ++id) ids.push_back(id);
  }
  const ReadBack back = ReadAll(store, number, 1, recovered.next_id);
  if (!back.wrong.empty()) return back.wrong;
  if (!back.gaps.empty())
    return fmt::format("channel {}: a CORRUPT gap at {}", number, back.gaps[0].first);
  if (back.ids != ids) {
    return fmt::format("channel {}: {} messages read, {} were written", number, back.ids.size(),
                       ids.size());
  }
  return "";
}

std::string Model::AdoptProducers(const Recovered& recovered) const {
  if (recovered.producers.size() != producers_.size()) {
    return fmt::format("{} producers instead of {}", recovered.producers.size(), producers_.size());
  }
  for (const RecoveredProducer& each : recovered.producers) {
    const auto found = producers_.find({each.record.channel, each.record.number});
    if (found == producers_.end() || found->second != each) {
      return fmt::format("producer {} of channel {} has another row or other results",
                         each.record.number, each.record.channel);
    }
  }
  return "";
}

std::string Model::Adopt(Store& store, const Recovered& recovered, bool may_jump) {
  commit_ = recovered.commit;
  if (recovered.channels.size() != channels_.size()) {
    return fmt::format("{} channels instead of {}", recovered.channels.size(), channels_.size());
  }
  for (const RecoveredChannel& each : recovered.channels) {
    if (!channels_.contains(each.record.number)) {
      return fmt::format("channel {} is there and should not", each.record.number);
    }
    if (each.record.number >= recovered.next_channel)
      return "a channel number would be given out twice";
    const std::string wrong = AdoptChannel(store, each, may_jump);
    if (!wrong.empty()) return wrong;
  }
  if (recovered.subscriptions.size() != subscriptions_.size()) {
    return fmt::format("{} subscriptions instead of {}", recovered.subscriptions.size(),
                       subscriptions_.size());
  }
  for (const SubscriptionRecord& each : recovered.subscriptions) {
    const auto found = subscriptions_.find({each.channel, each.name});
    if (found == subscriptions_.end() || found->second != each) {
      return fmt::format("subscription '{}' of channel {} differs", each.name, each.channel);
    }
  }
  return AdoptProducers(recovered);
}

}  // namespace strata::storage
