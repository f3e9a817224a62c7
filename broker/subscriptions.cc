// The broker's durable cursors: created, sought and deleted through the committer; acknowledgements
// ride along.
#include <algorithm>
#include <utility>

#include "broker/broker.h"
#include "broker/channel.h"
#include "broker/committer.h"
#include "broker/shared_state.h"
#include "broker/standby.h"

namespace strata::broker {

using storage::SubscriptionRecord;

namespace {

Status NotFound(const std::string& channel, const std::string& subscription) {
  return Status(Reason::SUBSCRIPTION_NOT_FOUND,
                "the channel '" + channel + "' has no subscription '" + subscription + "'");
}

// The one of this name as the write role knows it, which may be newer than the one that is
// published: deleted and created again by groups on their way to disk. Null if it is deleted.
std::shared_ptr<Subscription> FindWritten(Channel& channel, const std::string& name) {
  const Channel::WriteFace& face = channel.write_face();
  const auto it = face.subscriptions.find(name);
  return face.deleted || it == face.subscriptions.end() ? nullptr : it->second;
}

}  // namespace

Result<std::pair<Broker::ChannelPtr, std::shared_ptr<Subscription>>> Broker::FindSubscription(
    const std::string& channel_name, const std::string& name) const {
  STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannel(channel_name));
  std::shared_ptr<Subscription> subscription = channel->FindSubscription(name);
  if (subscription == nullptr) return NotFound(channel_name, name);
  return std::make_pair(std::move(channel), std::move(subscription));
}

Result<SubscriptionRecord> Broker::NewSubscription(const ChannelPtr& channel,
                                                   const std::string& name,
                                                   const StartPosition& start) {
  if (!IsValidName(name)) {
    return Status(
        Reason::INVALID_ARGUMENT,
        "'" + name.substr(0, 300) + "' is not a subscription name: 1 to 249 of A-Z a-z 0-9 . _ -");
  }
  SubscriptionRecord record;
  record.channel = channel->number();
  record.name = name;
  STRATA_ASSIGN_OR_RETURN(record.cursor, ResolveStart(*shared_, *channel, start));
  record.created_at = options_.clock->WallMicros();
  record.active_at = record.created_at;
  return record;
}

Result<SubscriptionInfo> Broker::CreateSubscription(const std::string& channel_name,
                                                    const std::string& name,
                                                    const StartPosition& start) {
  STRATA_ASSIGN_OR_RETURN(const ChannelPtr channel, FindChannel(channel_name));
  const auto subscription = std::make_shared<Subscription>();
  STRATA_ASSIGN_OR_RETURN(subscription->record, NewSubscription(channel, name, start));
  STRATA_RETURN_IF_ERROR(Commit(
      [&](storage::WriteGroup* group) {
        Channel::WriteFace& face = channel->write_face();
        if (face.deleted) {
          return Status(Reason::CHANNEL_DELETED, "the channel '" + channel_name + "' was deleted");
        }
        if (!face.subscriptions.try_emplace(name, subscription).second) {
          return Status(
              Reason::SUBSCRIPTION_EXISTS,
              "the channel '" + channel_name + "' has a subscription '" + name + "' already");
        }
        // A trim that is not published yet must not be this subscription's first gap.
        MessageId& cursor = subscription->record.cursor;
        if (start.kind == StartPosition::Kind::kEarliest) {
          cursor = std::max(cursor, face.first_available);
        }
        group->changes.emplace_back(storage::PutSubscription{subscription->record});
        return Status::Ok();
      },
      [&] { channel->PublishSubscription(subscription); }));
  return channel->Describe(*subscription);
}

Result<SubscriptionInfo> Broker::DescribeSubscription(const std::string& channel_name,
                                                      const std::string& name) const {
  STRATA_ASSIGN_OR_RETURN(const auto found, FindSubscription(channel_name, name));
  return found.first->Describe(*found.second);
}

Result<std::vector<SubscriptionInfo>> Broker::ListSubscriptions(
    const std::string& channel_name) const {
  std::vector<ChannelPtr> channels;
  if (!channel_name.empty()) {
    STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannel(channel_name));
    channels.push_back(std::move(channel));
  } else {
    STRATA_ASSIGN_OR_RETURN(const std::vector<ChannelInfo> all, ListChannels());
    for (const ChannelInfo& info : all) {
      Result<ChannelPtr> channel = FindChannel(info.name);
      if (channel.ok()) channels.push_back(*std::move(channel));
    }
  }
  std::vector<SubscriptionInfo> infos;
  for (const ChannelPtr& channel : channels) {
    for (const auto& subscription : channel->Subscriptions())
      infos.push_back(channel->Describe(*subscription));
  }
  return infos;
}

Result<Moved> Broker::CommitSeek(Channel& channel, const StartPosition& to,
                                 const PickSubscription& pick) {
  STRATA_ASSIGN_OR_RETURN(const MessageId cursor, ResolveStart(*shared_, channel, to));
  const TimeMicros now = options_.clock->WallMicros();
  std::shared_ptr<Subscription> subscription;
  Moved moved{cursor, 0};
  STRATA_RETURN_IF_ERROR(Commit(
      [&](storage::WriteGroup* group) {
        STRATA_ASSIGN_OR_RETURN(subscription, pick(channel));
        SubscriptionRecord record = channel.BeginSeek(*subscription, cursor, now);
        moved.seek = record.seeks;
        group->changes.emplace_back(storage::PutSubscription{std::move(record)});
        return Status::Ok();
      },
      [&] { channel.PublishSeek(*subscription, cursor, now); }));
  return moved;
}

Result<SubscriptionInfo> Broker::SeekSubscription(const std::string& channel_name,
                                                  const std::string& name,
                                                  const StartPosition& to) {
  STRATA_ASSIGN_OR_RETURN(const auto found, FindSubscription(channel_name, name));
  const ChannelPtr& channel = found.first;
  std::shared_ptr<Subscription> subscription;
  const auto pick = [&](Channel& its) -> Result<std::shared_ptr<Subscription>> {
    subscription = FindWritten(its, name);
    if (subscription == nullptr) return NotFound(channel_name, name);
    return subscription;
  };
  STRATA_RETURN_IF_ERROR(CommitSeek(*channel, to, pick).status());
  return channel->Describe(*subscription);
}

Result<Moved> Broker::Seek(Reader* reader, const StartPosition& to) {
  if (!reader->has_subscription()) {
    STRATA_RETURN_IF_ERROR(reader->Seek(to));
    return Moved{reader->position(), 0};
  }
  const Attachment& attached = reader->attached_;
  const auto pick = [&](Channel& channel) -> Result<std::shared_ptr<Subscription>> {
    STRATA_RETURN_IF_ERROR(channel.CheckHold(attached));
    const std::string& name = attached.subscription->record.name;
    // Its deletion may be on its way to disk.
    if (FindWritten(channel, name) != attached.subscription) return NotFound(channel.name(), name);
    return attached.subscription;
  };
  STRATA_ASSIGN_OR_RETURN(const Moved moved, CommitSeek(*reader->channel_, to, pick));
  reader->GoTo(moved);
  return moved;
}

Status Broker::DeleteSubscription(const std::string& channel_name, const std::string& name) {
  STRATA_ASSIGN_OR_RETURN(const auto found, FindSubscription(channel_name, name));
  const ChannelPtr& channel = found.first;
  return Commit(
      [&](storage::WriteGroup* group) {
        Channel::WriteFace& face = channel->write_face();
        const auto it = face.subscriptions.find(name);
        if (face.deleted || it == face.subscriptions.end()) return NotFound(channel_name, name);
        channel->BeginSubscriptionDeletion(*it->second);
        face.subscriptions.erase(it);
        group->changes.emplace_back(storage::DropSubscription{channel->number(), name});
        return Status::Ok();
      },
      [&] { channel->PublishSubscriptionDeletion(name); });
}

Status Broker::Acknowledge(const std::string& channel_name, const std::string& name,
                           MessageId through, std::optional<uint64_t> seek,
                           ChannelNumber channel_number) {
  // The number first: another channel has other subscriptions.
  STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannel(channel_name));
  STRATA_RETURN_IF_ERROR(CheckNumber(*channel, channel_number));
  std::shared_ptr<Subscription> subscription = channel->FindSubscription(name);
  if (subscription == nullptr) return NotFound(channel_name, name);
  bool changed = false;
  STRATA_RETURN_IF_ERROR(
      channel->Acknowledge(*subscription, through, seek, options_.clock->WallMicros(), &changed));
  if (changed) shared_->changed_cursors.Add(std::move(channel), std::move(subscription));
  return Status::Ok();
}

Result<std::unique_ptr<Standby>> Broker::Enter(const SubscriptionOpen& open, bool wait) {
  const std::string& name = open.subscription;
  Result<std::pair<ChannelPtr, std::shared_ptr<Subscription>>> found =
      FindSubscription(open.channel, name);
  // One that comes again had it: it was deleted meanwhile, and stays so.
  const bool create = open.resume_at == 0;
  if (create && found.status().reason() == Reason::SUBSCRIPTION_NOT_FOUND) {
    const Result<SubscriptionInfo> created = CreateSubscription(open.channel, name, open.start);
    // Created by another consumer at the same moment: then `start` is that one's.
    if (!created.ok() && created.status().reason() != Reason::SUBSCRIPTION_EXISTS)
      return created.status();
    found = FindSubscription(open.channel, name);
  }
  if (!found.ok()) return found.status();
  auto& [channel, subscription] = *found;
  const auto claim = std::make_shared<Claim>();
  claim->holder = open.holder.empty() ? "an unnamed consumer" : open.holder;
  claim->instance = open.instance;
  claim->news = open.news;
  std::string held_by;
  STRATA_RETURN_IF_ERROR(channel->Enter(*subscription, claim, wait, &held_by));
  return std::make_unique<Standby>(shared_, channel, Attachment{subscription, claim},
                                   std::move(held_by), open.resume_at, open.resume_seek);
}

Result<std::unique_ptr<Reader>> Broker::OpenSubscription(const SubscriptionOpen& open) {
  STRATA_ASSIGN_OR_RETURN(const std::unique_ptr<Standby> holding, Enter(open, /*wait=*/false));
  return holding->Take();
}

Result<std::unique_ptr<Standby>> Broker::StandBy(const SubscriptionOpen& open) {
  return Enter(open, /*wait=*/true);
}

void Broker::AddChangedCursors(storage::WriteGroup* group) {
  if (!shared_->changed_cursors.any()) return;
  for (const auto& [channel, subscription] : shared_->changed_cursors.Take()) {
    if (channel->write_face().deleted) continue;
    std::optional<SubscriptionRecord> record = channel->TakeChanged(*subscription);
    if (record.has_value())
      group->changes.emplace_back(storage::PutSubscription{*std::move(record)});
  }
}

}  // namespace strata::broker
