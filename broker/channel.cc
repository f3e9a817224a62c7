#include "broker/channel.h"

#include <algorithm>
#include <utility>

#include "broker/wakes.h"

namespace strata::broker {

using storage::SubscriptionRecord;

namespace {

// REQUIRES: the channel's mu_.
retention::CursorView ViewOf(const Subscription& subscription) {
  const SubscriptionRecord& record = subscription.record;
  return {record.name, record.cursor, record.active_at, subscription.holder != nullptr};
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
      marks_({{recovered.record.truncated_through, recovered.record.truncated_at}}),
      exclusive_term_(recovered.record.exclusive_term),
      exclusive_holder_(recovered.record.exclusive_holder) {
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
  info.exclusive_term = exclusive_term_;
  info.exclusive_holder = exclusive_holder_;
  return info;
}

Gap Channel::LostAtOrAfter(MessageId id) const {
  for (const Gap& gap : lost_) {
    if (id <= gap.last) return gap;
  }
  return {0, -1, GapReason::kLost};
}

void Channel::PublishAppend(MessageId next_id, TimeMicros append_time) {
  Waiters woken;
  {
    MutexLock lock(mu_);
    next_id_ = next_id;
    last_append_time_ = append_time;
    woken.swap(waiters_);
  }
  Wake(std::move(woken));
}

void Channel::PublishTruncation(MessageId through, TimeMicros now) {
  Waiters woken;
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
    woken.swap(waiters_);
  }
  Wake(std::move(woken));
}

void Channel::PublishTrim(MessageId first_available) {
  Waiters woken;
  {
    MutexLock lock(mu_);
    first_available_ = std::max(first_available_, first_available);
    woken.swap(waiters_);
  }
  Wake(std::move(woken));
}

void Channel::PublishOptions(const ChannelOptions& options) {
  MutexLock lock(mu_);
  options_ = options;
}

void Channel::PublishExclusive(int64_t term, const std::string& holder) {
  MutexLock lock(mu_);
  exclusive_term_ = term;
  exclusive_holder_ = holder;
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
  Waiters woken;
  {
    MutexLock lock(mu_);
    if (end_status_.ok()) end_status_ = status;
    for (const auto& [name, subscription] : subscriptions_) TellAllLocked(*subscription, &wakes);
    woken.swap(waiters_);
  }
  Wake(std::move(woken));
}

bool Channel::AddWaiter(const Reader* reader, std::function<void()> wake, MessageId position,
                        const Attachment& attached) {
  RemoveWaiter(reader);
  MutexLock lock(mu_);
  if (!end_status_.ok() || position < first_available_) return false;
  // A reader that is told to wait although there should be more has missed rows of a channel that
  // is being deleted.
  if (position < next_id_ && !deleting_) return false;
  if (attached.subscription != nullptr && HasNewsLocked(attached)) return false;
  waiters_.push_back({reader, std::move(wake)});
  return true;
}

void Channel::RemoveWaiter(const Reader* reader) {
  Waiters removed;  // a wake may own things whose destructors must not run under the lock
  MutexLock lock(mu_);
  const auto it = std::find_if(waiters_.begin(), waiters_.end(),
                               [reader](const Waiter& waiter) { return waiter.reader == reader; });
  if (it == waiters_.end()) return;
  removed.push_back(std::move(*it));
  waiters_.erase(it);
}

void Channel::WakeAll() {
  Waiters woken;
  {
    MutexLock lock(mu_);
    woken.swap(waiters_);
  }
  Wake(std::move(woken));
}

void Channel::Wake(Waiters waiters) {
  for (Waiter& waiter : waiters) waiter.wake();
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
  Waiters woken;
  {
    MutexLock lock(mu_);
    subscription.record.cursor = cursor;
    subscription.record.active_at = now;
    ++subscription.record.seeks;
    --subscription.frozen;
    TellLocked(subscription, &wakes);
    woken.swap(waiters_);
  }
  Wake(std::move(woken));
}

void Channel::PublishSubscriptionDeletion(const std::string& name) {
  Wakes wakes;
  Waiters woken;
  {
    MutexLock lock(mu_);
    const auto it = subscriptions_.find(name);
    if (it == subscriptions_.end()) return;
    it->second->deleted = true;
    TellAllLocked(*it->second, &wakes);
    subscriptions_.erase(it);
    woken.swap(waiters_);
  }
  Wake(std::move(woken));
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
  if (subscription.holder != nullptr) info.holder = subscription.holder->holder;
  info.standby = static_cast<uint32_t>(subscription.standby.size());
  info.created_at = record.created_at;
  info.active_at = record.active_at;
  return info;
}

Status Channel::Acknowledge(Subscription& subscription, MessageId through,
                            std::optional<uint64_t> seek, TimeMicros now, bool* changed) {
  MutexLock lock(mu_);
  *changed = false;
  STRATA_RETURN_IF_ERROR(GoneLocked(subscription));
  STRATA_RETURN_IF_ERROR(CheckAcknowledgedLocked(through));
  subscription.record.active_at = now;
  // What was delivered before a seek says nothing about what lies behind it.
  const uint64_t seeks = subscription.record.seeks;
  if (seek.value_or(seeks) == seeks) AdvanceLocked(subscription, through, changed);
  return Status::Ok();
}

Status Channel::Acknowledge(const Attachment& attached, MessageId through,
                            std::optional<uint64_t> seek, TimeMicros now, bool* changed) {
  MutexLock lock(mu_);
  *changed = false;
  STRATA_RETURN_IF_ERROR(LostLocked(attached));
  STRATA_RETURN_IF_ERROR(CheckAcknowledgedLocked(through));
  Subscription& subscription = *attached.subscription;
  subscription.record.active_at = now;
  if (seek.value_or(attached.seeks) == subscription.record.seeks) {
    AdvanceLocked(subscription, through, changed);
  }
  return Status::Ok();
}

Status Channel::CheckAcknowledgedLocked(MessageId through) const {
  if (through < next_id_) return Status::Ok();
  return Status(Reason::ACK_BEYOND_END, "id " + std::to_string(through) +
                                            " was acknowledged, but the last message of '" + name_ +
                                            "' is " + std::to_string(next_id_ - 1));
}

void Channel::AdvanceLocked(Subscription& subscription, MessageId through, bool* changed) {
  if (through < subscription.record.cursor) return;
  subscription.record.cursor = through + 1;
  *changed = !std::exchange(subscription.changed, true);
}

SubscriptionRecord Channel::BeginSeek(Subscription& subscription, MessageId cursor,
                                      TimeMicros now) {
  MutexLock lock(mu_);
  ++subscription.frozen;
  SubscriptionRecord record = subscription.record;
  record.cursor = cursor;
  record.active_at = now;
  // All that are on their way are seeks: nothing follows a deletion.
  record.seeks += static_cast<uint64_t>(subscription.frozen);
  return record;
}

void Channel::BeginSubscriptionDeletion(Subscription& subscription) {
  MutexLock lock(mu_);
  ++subscription.frozen;
}

std::optional<SubscriptionRecord> Channel::TakeChanged(Subscription& subscription) {
  MutexLock lock(mu_);
  subscription.changed = false;
  if (subscription.frozen > 0 || subscription.deleted) return std::nullopt;
  return subscription.record;
}

}  // namespace strata::broker
