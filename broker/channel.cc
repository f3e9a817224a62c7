#include "broker/channel.h"

#include <algorithm>
#include <utility>

namespace strata::broker {

using storage::SubscriptionRecord;

namespace {

Status SubscriptionGone(const std::string& channel, const std::string& name) {
  return Status(Reason::SUBSCRIPTION_NOT_FOUND,
                "the subscription '" + name + "' of channel '" + channel + "' was deleted");
}

// REQUIRES: the channel's mu_.
retention::CursorView ViewOf(const Subscription& subscription) {
  const SubscriptionRecord& record = subscription.record;
  return {record.name, record.cursor, record.active_at, !subscription.holder.empty()};
}

}  // namespace

Channel::Channel(const storage::RecoveredChannel& recovered, std::optional<MessageId> oldest)
    : number_(recovered.record.number),
      name_(recovered.record.name),
      created_at_(recovered.record.created_at),
      lost_(recovered.record.lost),
      options_(recovered.record.options),
      next_id_(recovered.next_id),
      last_append_time_(recovered.last_append_time),
      truncated_through_(recovered.record.truncated_through),
      marks_({{recovered.record.truncated_through, recovered.record.truncated_at}}) {
  write_.record = recovered.record;
  write_.next_id = recovered.next_id;
  write_.last_append_time = recovered.last_append_time;
  // Without a page all that was stored is gone, up to the end, or to the LOST hole that is the end.
  MessageId first = next_id_;
  if (!lost_.empty() && lost_.back().last + 1 == next_id_) first = lost_.back().first;
  first_available_ = std::max(oldest.value_or(first), truncated_through_ + 1);
}

Channel::Range Channel::range() const {
  MutexLock lock(mu_);
  return {first_available_, next_id_, deleting_, end_status_};
}

ChannelInfo Channel::Info() const {
  MutexLock lock(mu_);
  ChannelInfo info;
  info.name = name_;
  info.number = number_;
  info.options = options_;
  info.created_at = created_at_;
  info.first_available = first_available_;
  info.next_id = next_id_;
  info.last_append_time = last_append_time_;
  info.truncated_through = truncated_through_;
  return info;
}

Gap Channel::LostAtOrAfter(MessageId id) const {
  for (const Gap& gap : lost_) {
    if (id <= gap.last) return gap;
  }
  return {0, -1, GapReason::kLost};
}

void Channel::PublishAppend(MessageId next_id, TimeMicros append_time) {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    next_id_ = next_id;
    last_append_time_ = append_time;
    wakes.swap(waiters_);
  }
  Wake(std::move(wakes));
}

void Channel::PublishTruncation(MessageId through, TimeMicros now) {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    truncated_through_ = through;
    // So many as a grace of some minutes needs; beyond it every second one has to do.
    constexpr size_t kMaxMarks = 256;
    if (marks_.size() == kMaxMarks) {
      for (size_t i = 0; i < kMaxMarks / 2; ++i) marks_[i] = marks_[2 * i];
      marks_.resize(kMaxMarks / 2);
    }
    marks_.push_back({through, now});
    first_available_ = std::max(first_available_, through + 1);
    wakes.swap(waiters_);
  }
  Wake(std::move(wakes));
}

void Channel::PublishTrim(MessageId first_available) {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    first_available_ = std::max(first_available_, first_available);
    wakes.swap(waiters_);
  }
  Wake(std::move(wakes));
}

void Channel::PublishOptions(const ChannelOptions& options) {
  MutexLock lock(mu_);
  options_ = options;
}

RetentionOverrides Channel::retention() const {
  MutexLock lock(mu_);
  return options_.retention;
}

Channel::TruncationMark Channel::TruncationInForce(int64_t grace, TimeMicros now,
                                                   MessageId oldest) const {
  MutexLock lock(mu_);
  TruncationMark in_force = marks_.front();
  for (const TruncationMark& mark : marks_) {
    if (now - mark.at >= grace) in_force = mark;
  }
  if (in_force.through >= oldest) return in_force;
  for (const TruncationMark& mark : marks_) {
    if (mark.through >= oldest) return mark;
  }
  return in_force;
}

std::vector<retention::CursorView> Channel::Cursors() const {
  MutexLock lock(mu_);
  std::vector<retention::CursorView> cursors;
  for (const auto& [name, subscription] : subscriptions_) cursors.push_back(ViewOf(*subscription));
  return cursors;
}

MessageId Channel::EligibleEnd(const retention::Rules& rules, TimeMicros now) {
  retention::ChannelView view;
  view.rules = rules;
  MutexLock lock(mu_);
  for (const auto& [name, subscription] : write_.subscriptions) {
    if (subscription->frozen > 0) return 0;
    view.cursors.push_back(ViewOf(*subscription));
  }
  // Never what is not published: a message that is not acknowledged yet is not retention's.
  return std::min(retention::EligibleEnd(view, now), next_id_);
}

void Channel::BeginDeletion() {
  MutexLock lock(mu_);
  deleting_ = true;
}

void Channel::End(const Status& status) {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    if (end_status_.ok()) end_status_ = status;
    wakes.swap(waiters_);
  }
  Wake(std::move(wakes));
}

bool Channel::AddWaiter(const Reader* reader, std::function<void()> wake, MessageId position,
                        const Subscription* subscription, uint64_t seeks) {
  RemoveWaiter(reader);
  MutexLock lock(mu_);
  if (!end_status_.ok() || position < first_available_) return false;
  // A reader that is told to wait although there should be more has missed rows of a channel that
  // is being deleted.
  if (position < next_id_ && !deleting_) return false;
  if (subscription != nullptr && (subscription->deleted || subscription->seeks != seeks))
    return false;
  waiters_.push_back({reader, std::move(wake)});
  return true;
}

void Channel::RemoveWaiter(const Reader* reader) {
  Wakes removed;  // a wake may own things whose destructors must not run under the lock
  MutexLock lock(mu_);
  const auto it = std::find_if(waiters_.begin(), waiters_.end(),
                               [reader](const Waiter& waiter) { return waiter.reader == reader; });
  if (it == waiters_.end()) return;
  removed.push_back(std::move(*it));
  waiters_.erase(it);
}

void Channel::WakeAll() {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    wakes.swap(waiters_);
  }
  Wake(std::move(wakes));
}

void Channel::Wake(Wakes wakes) {
  for (Waiter& waiter : wakes) waiter.wake();
}

std::shared_ptr<Subscription> Channel::FindSubscription(std::string_view name) const {
  MutexLock lock(mu_);
  const auto it = subscriptions_.find(name);
  return it == subscriptions_.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<Subscription>> Channel::Subscriptions() const {
  MutexLock lock(mu_);
  std::vector<std::shared_ptr<Subscription>> out;
  for (const auto& [name, subscription] : subscriptions_) out.push_back(subscription);
  return out;
}

void Channel::PublishSubscription(std::shared_ptr<Subscription> subscription) {
  MutexLock lock(mu_);
  std::string name = subscription->record.name;
  subscriptions_[std::move(name)] = std::move(subscription);
}

void Channel::PublishSeek(Subscription& subscription, MessageId cursor, TimeMicros now) {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    subscription.record.cursor = cursor;
    subscription.record.active_at = now;
    ++subscription.seeks;
    --subscription.frozen;
    wakes.swap(waiters_);
  }
  Wake(std::move(wakes));
}

void Channel::PublishSubscriptionDeletion(const std::string& name) {
  Wakes wakes;
  {
    MutexLock lock(mu_);
    const auto it = subscriptions_.find(name);
    if (it == subscriptions_.end()) return;
    it->second->deleted = true;
    subscriptions_.erase(it);
    wakes.swap(waiters_);
  }
  Wake(std::move(wakes));
}

SubscriptionInfo Channel::Describe(const Subscription& subscription) const {
  MutexLock lock(mu_);
  const SubscriptionRecord& record = subscription.record;
  SubscriptionInfo info;
  info.channel = name_;
  info.name = record.name;
  info.cursor = record.cursor;
  const MessageId from = std::max(record.cursor, first_available_);
  info.backlog = from < next_id_ ? static_cast<uint64_t>(next_id_ - from) : 0;
  info.holder = subscription.holder;
  info.created_at = record.created_at;
  info.active_at = record.active_at;
  return info;
}

Status Channel::Acknowledge(Subscription& subscription, MessageId through, TimeMicros now,
                            bool* changed) {
  MutexLock lock(mu_);
  *changed = false;
  if (!end_status_.ok()) return end_status_;
  if (subscription.deleted) return SubscriptionGone(name_, subscription.record.name);
  if (through >= next_id_) {
    return Status(Reason::ACK_BEYOND_END, "id " + std::to_string(through) +
                                              " was acknowledged, but the last message of '" +
                                              name_ + "' is " + std::to_string(next_id_ - 1));
  }
  subscription.record.active_at = now;
  if (through < subscription.record.cursor) return Status::Ok();
  subscription.record.cursor = through + 1;
  *changed = !std::exchange(subscription.changed, true);
  return Status::Ok();
}

Status Channel::Attach(Subscription& subscription, const std::string& holder, TimeMicros now,
                       MessageId* cursor, uint64_t* seeks) {
  MutexLock lock(mu_);
  if (!end_status_.ok()) return end_status_;
  if (subscription.deleted) return SubscriptionGone(name_, subscription.record.name);
  if (!subscription.holder.empty()) {
    return Status(Reason::SUBSCRIPTION_HELD, "the subscription '" + subscription.record.name +
                                                 "' of channel '" + name_ + "' is held by " +
                                                 subscription.holder);
  }
  subscription.holder = holder.empty() ? "an unnamed consumer" : holder;
  subscription.record.active_at = now;
  *cursor = subscription.record.cursor;
  *seeks = subscription.seeks;
  return Status::Ok();
}

void Channel::Detach(Subscription& subscription) {
  MutexLock lock(mu_);
  subscription.holder.clear();
}

SubscriptionRecord Channel::Freeze(Subscription& subscription) {
  MutexLock lock(mu_);
  ++subscription.frozen;
  return subscription.record;
}

std::optional<SubscriptionRecord> Channel::TakeChanged(Subscription& subscription) {
  MutexLock lock(mu_);
  subscription.changed = false;
  if (subscription.frozen > 0 || subscription.deleted) return std::nullopt;
  return subscription.record;
}

bool Channel::FollowSubscription(const Subscription& subscription, uint64_t* seeks,
                                 MessageId* position, Status* status) const {
  MutexLock lock(mu_);
  if (subscription.deleted) {
    *status = SubscriptionGone(name_, subscription.record.name);
    return true;
  }
  if (subscription.seeks == *seeks) return false;
  *seeks = subscription.seeks;
  *position = subscription.record.cursor;
  return true;
}

}  // namespace strata::broker
