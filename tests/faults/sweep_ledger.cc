#include "tests/faults/sweep_ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/batch.h"
#include "tests/faults/scene.h"

namespace strata::testing {

void SweepLedger::Created(size_t plan, ChannelNumber number) {
  MutexLock lock(mu_);
  if (!channels_.empty() && number <= channels_.rbegin()->first) {
    const auto known = channels_.find(number);
    if (known == channels_.end() || known->second.plan != plan || known->second.deleted)
      violations_.push_back(fmt::format("channel number {} was given out before", number));
  }
  channels_[number].plan = plan;
}

ChannelNumber SweepLedger::Current(size_t plan) const {
  MutexLock lock(mu_);
  ChannelNumber current = 0;
  for (const auto& [number, channel] : channels_) {
    if (channel.plan == plan) current = channel.deletion_asked ? 0 : number;
  }
  return current;
}

void SweepLedger::DeletionAsked(ChannelNumber number) {
  MutexLock lock(mu_);
  channels_[number].deletion_asked = true;
}

void SweepLedger::Deleted(ChannelNumber number) {
  MutexLock lock(mu_);
  channels_[number].deleted = true;
}

void SweepLedger::TruncationAsked(ChannelNumber number, MessageId through) {
  MutexLock lock(mu_);
  Channel& channel = channels_[number];
  channel.truncation_asked = std::max(channel.truncation_asked, through);
}

void SweepLedger::Truncated(ChannelNumber number, MessageId through) {
  MutexLock lock(mu_);
  Channel& channel = channels_[number];
  channel.truncated = std::max(channel.truncated, through);
}

void SweepLedger::AckAsked(ChannelNumber number, const std::string& subscription,
                           MessageId through) {
  MutexLock lock(mu_);
  MessageId& asked = channels_[number].acks_asked[subscription];
  asked = std::max(asked, through);
}

void SweepLedger::Promised(ChannelNumber number, MessageId first_id,
                           const std::vector<std::string>& payloads) {
  MutexLock lock(mu_);
  auto& promised = channels_[number].promised;
  for (const std::string& payload : payloads) {
    const auto [at, fresh] = promised.emplace(first_id++, payload);
    if (!fresh && at->second != payload)
      violations_.push_back(fmt::format("channel {}: id {} was two messages", number, at->first));
  }
}

void SweepLedger::Violation(std::string what) {
  MutexLock lock(mu_);
  violations_.push_back(std::move(what));
}

size_t SweepLedger::promised() const {
  MutexLock lock(mu_);
  size_t count = 0;
  for (const auto& [number, channel] : channels_) count += channel.promised.size();
  return count;
}

std::vector<std::string> SweepLedger::Check(broker::Broker& broker) {
  MutexLock lock(mu_);
  std::vector<std::string> violations = violations_;
  for (size_t plan = 0; plan < plans_.size(); ++plan) CheckPlan(broker, plan, &violations);
  return violations;
}

void SweepLedger::CheckPlan(broker::Broker& broker, size_t plan,
                            std::vector<std::string>* violations) STRATA_NO_THREAD_SAFETY_ANALYSIS {
  const std::string& name = plans_[plan].name;
  const Result<ChannelInfo> found = broker.DescribeChannel(name);
  ChannelNumber newest = 0;
  for (auto& [number, channel] : channels_) {
    if (channel.plan == plan) newest = number;
  }
  if (newest == 0) return;
  if (!found.ok()) {
    if (!channels_[newest].deletion_asked)
      violations->push_back(fmt::format("channel {} is gone: {}", name, found.status().ToString()));
    return;
  }
  const auto known = channels_.find(found->number);
  if (known == channels_.end()) {
    // Created, and never answered: nobody can have appended to it.
    if (found->number < channels_.rbegin()->first || !channels_[newest].deletion_asked)
      violations->push_back(fmt::format("channel {} has number {}", name, found->number));
    if (found->next_id != kFirstMessageId)
      violations->push_back(fmt::format("channel {} is new and goes to {}", name, found->next_id));
    return;
  }
  if (known->first != newest || known->second.deleted)
    return violations->push_back(fmt::format("channel {} ({}) was deleted", name, known->first));
  CheckChannel(broker, *found, &known->second, violations);
  CheckCursors(broker, name, known->second, violations);
}

MessageId SweepLedger::MayBeGone(const Channel& channel) const {
  const ChannelPlan& plan = plans_[channel.plan];
  const auto policy = plan.retention.policy.value_or(RetentionPolicy::kAcked);
  if (policy == RetentionPolicy::kLimits) return std::numeric_limits<MessageId>::max();
  if (policy == RetentionPolicy::kTruncated) return channel.truncation_asked;
  MessageId slowest = std::numeric_limits<MessageId>::max();
  for (const std::string& subscription : plan.subscriptions) {
    const auto asked = channel.acks_asked.find(subscription);
    slowest = std::min(slowest, asked == channel.acks_asked.end() ? 0 : asked->second);
  }
  return std::max(slowest, channel.truncation_asked);
}

void SweepLedger::CheckChannel(broker::Broker& broker, const ChannelInfo& info, Channel* channel,
                               std::vector<std::string>* violations) {
  const std::string& name = info.name;
  const auto violation = [&](const std::string& what) {
    violations->push_back(fmt::format("channel {} ({}): {}", name, info.number, what));
  };
  const MessageId may_be_gone = MayBeGone(*channel);
  // Not may_be_gone + 1: where everything may go it is the largest id there is.
  if (info.first_available - 1 > may_be_gone && may_be_gone < info.next_id)
    violation(fmt::format("starts at {}, only {} may go", info.first_available, may_be_gone));
  // By policy `limits` pages go only as long as more than the limit is left.
  const auto limit = plans_[channel->plan].retention.retention_size;
  if (limit && info.first_available > channel->truncation_asked + 1 &&
      info.bytes <= static_cast<uint64_t>(*limit)) {
    violation(fmt::format("starts at {} and has {} bytes, {} are to stay", info.first_available,
                          info.bytes, *limit));
  }
  if (info.truncated_through < channel->truncated)
    violation(fmt::format("truncated to {}, not {}", info.truncated_through, channel->truncated));

  auto reader = broker.OpenReader(name, StartPosition::Earliest());
  if (!reader.ok()) return violation(reader.status().ToString());
  MessageId next = info.first_available;
  auto due = channel->promised.lower_bound(next);
  for (;;) {
    const broker::Reader::Item item = (*reader)->Next();
    if (std::holds_alternative<broker::Reader::AtEnd>(item)) break;
    if (const auto* status = std::get_if<Status>(&item)) return violation(status->ToString());
    if (const auto* gap = std::get_if<Gap>(&item)) {
      return violation(
          fmt::format("a {} gap over {}..{}", GapReasonName(gap->reason), gap->first, gap->last));
    }
    const auto& batch = std::get<broker::Delivery>(item).batch;
    const Buffer bytes = batch.bytes.Contiguous();
    BatchIterator it(bytes.view(), batch.first_id, batch.append_time);
    for (MessageView message; it.Next(&message);) {
      if (message.id < next) continue;  // skipped part of the first batch
      if (message.id != next) violation(fmt::format("id {} follows {}", message.id, next - 1));
      next = message.id + 1;
      if (due == channel->promised.end() || due->first != message.id) continue;
      if (due->second != message.payload)
        violation(fmt::format("id {} holds another message", message.id));
      ++due;
    }
  }
  if (due != channel->promised.end() && due->first >= info.first_available)
    violation(fmt::format("id {} was promised, the channel ends before {}", due->first, next));
  if (next != info.next_id) violation(fmt::format("ends at {}, not {}", next, info.next_id));
  // Ids go on, above all that were ever given out and answered, also where everything is gone.
  const Result<AppendResult> appended = broker.Append({name, MakeBatch({"after"})});
  if (!appended.ok()) return violation("does not take appends: " + appended.status().ToString());
  if (!channel->promised.empty() && appended->first_id <= channel->promised.rbegin()->first)
    violation(fmt::format("id {} is reused", appended->first_id));
  if (appended->first_id != info.next_id)
    violation(fmt::format("id {} follows {}", appended->first_id, info.next_id - 1));
  channel->promised[appended->first_id] = "after";
}

void SweepLedger::CheckCursors(broker::Broker& broker, const std::string& name,
                               const Channel& channel, std::vector<std::string>* violations) {
  for (const std::string& subscription : plans_[channel.plan].subscriptions) {
    const auto asked = channel.acks_asked.find(subscription);
    if (asked == channel.acks_asked.end()) continue;
    const Result<SubscriptionInfo> info = broker.DescribeSubscription(name, subscription);
    if (!info.ok()) {
      violations->push_back(info.status().ToString());
    } else if (info->cursor > asked->second + 1) {
      violations->push_back(fmt::format("subscription {} of {} is at {}, acknowledged were {}",
                                        subscription, name, info->cursor, asked->second));
    }
  }
}

}  // namespace strata::testing
