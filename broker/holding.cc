// Who holds a subscription: the part of Channel that lets one consumer at a time have it.
//
// A subscription without a holder has nobody standing by: whoever lets go makes the first in the
// queue the holder under the same lock. So an exclusive consumer can come only when nobody waits.
#include <algorithm>
#include <utility>

#include "broker/channel.h"
#include "broker/wakes.h"

namespace strata::broker {

using storage::SubscriptionRecord;

namespace {

std::string Described(const std::string& channel, const Subscription& subscription) {
  return "the subscription '" + subscription.record.name + "' of channel '" + channel + "'";
}

}  // namespace

Status Channel::Enter(Subscription& subscription, const std::shared_ptr<Claim>& claim, bool wait,
                      std::string* held_by) {
  Wakes wakes;
  MutexLock lock(mu_);
  STRATA_RETURN_IF_ERROR(GoneLocked(subscription));
  const auto same = [&claim](const std::shared_ptr<Claim>& other) {
    return claim->instance != 0 && other->instance == claim->instance;
  };
  const auto lose = [&](Claim* old) {
    old->lost = Status(Reason::SUBSCRIPTION_HELD, Described(name_, subscription) +
                                                      " was opened again by the same consumer, " +
                                                      claim->holder + ", which has it now");
    wakes.Add(old->news);
  };
  std::shared_ptr<Claim>& holder = subscription.holder;
  if (holder == nullptr || same(holder)) {
    if (holder != nullptr) {
      lose(holder.get());
      for (Waiter& waiter : std::exchange(waiters_, {})) wakes.Add(std::move(waiter.wake));
    }
    holder = claim;
    return Status::Ok();
  }
  *held_by = holder->holder;
  auto& queue = subscription.standby;
  const auto place = std::find_if(queue.begin(), queue.end(), same);
  if (place != queue.end()) {
    lose(place->get());
    if (wait) {
      *place = claim;  // the same consumer keeps its place
    } else {
      queue.erase(place);
    }
  } else if (wait) {
    queue.push_back(claim);
  }
  if (wait) return Status::Ok();
  return Status(Reason::SUBSCRIPTION_HELD,
                Described(name_, subscription) + " is held by " + *held_by);
}

void Channel::Leave(Subscription& subscription, const std::shared_ptr<Claim>& claim) {
  Wakes wakes;
  MutexLock lock(mu_);
  auto& queue = subscription.standby;
  if (subscription.holder != claim) {
    const auto place = std::find(queue.begin(), queue.end(), claim);
    if (place != queue.end()) queue.erase(place);
    return;
  }
  subscription.holder.reset();
  if (queue.empty()) return;
  subscription.holder = std::move(queue.front());
  queue.pop_front();
  wakes.Add(subscription.holder->news);
}

Result<bool> Channel::Begin(Attachment* attached, TimeMicros now, MessageId* cursor) {
  MutexLock lock(mu_);
  STRATA_RETURN_IF_ERROR(LostLocked(*attached));
  if (attached->subscription->holder != attached->claim) return false;
  SubscriptionRecord& record = attached->subscription->record;
  record.active_at = now;
  attached->seeks = record.seeks;
  *cursor = record.cursor;
  return true;
}

Status Channel::CheckHold(const Attachment& attached) const {
  MutexLock lock(mu_);
  return LostLocked(attached);
}

std::optional<Moved> Channel::Follow(Attachment* attached, Status* status) const {
  MutexLock lock(mu_);
  *status = LostLocked(*attached);
  const SubscriptionRecord& record = attached->subscription->record;
  if (!status->ok() || record.seeks == attached->seeks) return std::nullopt;
  attached->seeks = record.seeks;
  return Moved{record.cursor, record.seeks};
}

bool Channel::HasNews(const Attachment& attached) const {
  MutexLock lock(mu_);
  return HasNewsLocked(attached);
}

bool Channel::HasNewsLocked(const Attachment& attached) const {
  return !LostLocked(attached).ok() || attached.subscription->record.seeks != attached.seeks;
}

Status Channel::GoneLocked(const Subscription& subscription) const {
  if (!end_status_.ok()) return end_status_;
  if (!subscription.deleted) return Status::Ok();
  return Status(Reason::SUBSCRIPTION_NOT_FOUND, Described(name_, subscription) + " was deleted");
}

Status Channel::LostLocked(const Attachment& attached) const {
  STRATA_RETURN_IF_ERROR(GoneLocked(*attached.subscription));
  return attached.claim->lost;
}

void Channel::TellLocked(const Subscription& subscription, Wakes* wakes) const {
  if (subscription.holder != nullptr) wakes->Add(subscription.holder->news);
}

void Channel::TellAllLocked(const Subscription& subscription, Wakes* wakes) const {
  TellLocked(subscription, wakes);
  for (const std::shared_ptr<Claim>& claim : subscription.standby) wakes->Add(claim->news);
}

}  // namespace strata::broker
