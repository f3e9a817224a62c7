#include "broker/broker.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "broker/channel.h"
#include "broker/committer.h"
#include "broker/operations.h"
#include "broker/shared_state.h"
#include "broker/wakes.h"

namespace strata::broker {
namespace {

// Cursors of an idle store reach the disk, and the watermark learns the ids, within this.
constexpr std::chrono::seconds kMaintenanceInterval{1};

// Room above a channel's first id for more messages than any disk holds.
constexpr MessageId kMaxFirstId = MessageId{1} << 61;

// A limit is kNoLimit or not negative; what is not set is fine.
Status CheckRetention(const std::string& channel, const RetentionOverrides& retention) {
  const std::pair<const char*, const std::optional<int64_t>&> limits[] = {
      {"retention_time", retention.retention_time},
      {"retention_size", retention.retention_size},
      {"max_messages", retention.max_messages}};
  for (const auto& [name, limit] : limits) {
    if (!limit || *limit >= kNoLimit) continue;
    return Status(Reason::INVALID_ARGUMENT, std::string(name) + " " + std::to_string(*limit) +
                                                " of channel '" + channel +
                                                "': it takes 0 or more, or -1 for off");
  }
  return Status::Ok();
}

Status BrokerClosed() { return Status(Reason::SHUTTING_DOWN, "the broker is closed"); }

Status CheckChannelName(const std::string& name) {
  if (IsValidName(name)) return Status::Ok();
  return Status(
      Reason::INVALID_CHANNEL_NAME,
      "'" + name.substr(0, 300) + "' is not a channel name: 1 to 249 of A-Z a-z 0-9 . _ -");
}

Status ChannelNotFound(const std::string& name) {
  return Status(Reason::CHANNEL_NOT_FOUND, "there is no channel '" + name + "'");
}

}  // namespace

Broker::Broker(BrokerOptions options, std::unique_ptr<storage::LogStore> store,
               storage::Recovered recovered)
    : options_(std::move(options)),
      store_(std::move(store)),
      store_id_(recovered.store_id),
      started_at_(options_.clock->WallMicros()),
      shared_(std::make_shared<SharedState>(store_.get(), options_.tail_cache, options_.clock)),
      next_channel_(recovered.next_channel),
      budget_(options_.disk_budget, options_.disk_reserve, options_.clock),
      retention_(options_.retention),
      // Not at once: who was open when the broker ended gets the time to come back.
      next_producer_check_(options_.clock->Monotonic() + BetweenProducerChecks()) {
  std::unordered_map<ChannelNumber, Channel*> by_number;
  for (const storage::RecoveredChannel& found : recovered.channels) {
    auto channel = std::make_shared<Channel>(found, store_->OldestId(found.record.number));
    by_number[found.record.number] = channel.get();
    write_channels_[found.record.name] = channel;
    MutexLock lock(channels_mu_);
    channels_[found.record.name] = std::move(channel);
  }
  for (const storage::SubscriptionRecord& record : recovered.subscriptions) {
    const auto channel = by_number.find(record.channel);
    if (channel == by_number.end()) continue;
    auto subscription = std::make_shared<Subscription>();
    subscription->record = record;
    channel->second->write_face().subscriptions[record.name] = subscription;
    channel->second->PublishSubscription(std::move(subscription));
  }
  for (const storage::RecoveredProducer& producer : recovered.producers) {
    const auto channel = by_number.find(producer.record.channel);
    if (channel != by_number.end()) channel->second->write_face().producers.Recover(producer);
  }
  committer_ =
      std::make_unique<Committer>(options_, store_.get(), recovered.commit,
                                  [this](storage::WriteGroup* group) { AddChangedCursors(group); });
  StartSweeping();
  maintenance_ = std::thread([this] { MaintenanceLoop(); });
  pthread_setname_np(maintenance_.native_handle(), "strata-tick");
}

Broker::~Broker() { Close(); }

void Broker::Close() {
  MutexLock close(close_mu_);
  {
    MutexLock lock(maintenance_mu_);
    if (closing_) return;
    closing_ = true;
    maintenance_wake_.NotifyAll();
  }
  maintenance_.join();
  sweeper_->Stop();
  // Before the last cursors are persisted, so that none is acknowledged afterwards; and again for
  // channels that are still being created.
  EndChannels();
  // The rider adds the last cursors; after fail-stop they stay what they were.
  (void)Commit([](storage::WriteGroup*) { return Status::Ok(); }, [] {});
  committer_->Stop();
  NoteAcknowledged();
  EndChannels();
  {
    // A broker that has been opened on the same directory since may know more than this one.
    MutexLock lock(channels_mu_);
    closed_ = true;
  }
  ReleasePending(0);
  shared_->gate.Close();
  if (const Status status = store_->Close(); !status.ok()) {
    options_.log.Error("the store was not closed cleanly: {}", status.message());
  }
}

void Broker::EndChannels() {
  for (const ChannelPtr& channel : AllChannels()) channel->End(BrokerClosed());
  shared_->channel_waits.End();
}

Result<Broker::ChannelPtr> Broker::FindChannel(const std::string& name) const {
  MutexLock lock(channels_mu_);
  if (closed_) return BrokerClosed();
  const auto it = channels_.find(name);
  if (it == channels_.end()) return ChannelNotFound(name);
  return it->second;
}

Status Broker::Commit(Prepare prepare, Publish publish) const {
  CatalogOperation operation(std::move(prepare), std::move(publish));
  committer_->Run(&operation);
  return operation.Wait();
}

Status Broker::CommitAhead(Prepare prepare, Publish publish) {
  CatalogOperation operation(std::move(prepare), std::move(publish));
  committer_->RunAhead(&operation);
  return operation.Wait();
}

ChannelInfo Broker::InfoOf(const Channel& channel) const {
  ChannelInfo info = channel.Info();
  const StoreGate::Pass pass(shared_->gate);
  if (pass.store() != nullptr) {
    const storage::ChannelSpace space = pass.store()->Space(channel.number());
    info.pages = space.pages;
    info.bytes = space.bytes;
  }
  return info;
}

Result<ChannelInfo> Broker::CreateChannel(const std::string& name, const ChannelOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckChannelName(name));
  if (options.first_id < kFirstMessageId || options.first_id > kMaxFirstId) {
    return Status(Reason::INVALID_ARGUMENT, "first_id " + std::to_string(options.first_id) +
                                                " of channel '" + name + "' is not in 1 to 2^61");
  }
  STRATA_RETURN_IF_ERROR(CheckRetention(name, options.retention));
  // A name that is found taken and then gone was deleted meanwhile: one more attempt settles it, a
  // third would mean that others keep creating and deleting it.
  for (int attempt = 0; attempt < 3; ++attempt) {
    ChannelPtr created;
    const Status status = Commit(
        [&](storage::WriteGroup* group) {
          if (write_channels_.contains(name)) return Status(Reason::CHANNEL_EXISTS, "");
          storage::RecoveredChannel fresh;
          fresh.record.number = next_channel_++;
          fresh.record.name = name;
          fresh.record.options = options;
          fresh.record.created_at = options_.clock->WallMicros();
          fresh.record.next_id = options.first_id;
          fresh.next_id = options.first_id;
          created = std::make_shared<Channel>(fresh, std::nullopt);
          write_channels_[name] = created;
          group->changes.emplace_back(storage::PutChannel{fresh.record});
          return Status::Ok();
        },
        [&] {
          Wakes wakes;
          MutexLock lock(channels_mu_);
          channels_[name] = created;
          shared_->channel_waits.Take(name, &wakes);
        });
    if (status.ok()) return InfoOf(*created);
    if (status.reason() != Reason::CHANNEL_EXISTS) return status;
    const Result<ChannelPtr> existing = FindChannel(name);
    if (!existing.ok()) continue;  // was deleted meanwhile
    const ChannelInfo info = InfoOf(**existing);
    if (info.options == options) return info;
    if (info.options.first_id == options.first_id) {
      return Status(Reason::CHANNEL_EXISTS, "the channel '" + name +
                                                "' exists with other retention rules; alter them, "
                                                "or create it with the same ones");
    }
    return Status(Reason::CHANNEL_EXISTS, "the channel '" + name + "' exists with first_id " +
                                              std::to_string(info.options.first_id) + ", not " +
                                              std::to_string(options.first_id));
  }
  return Status(Reason::CHANNEL_DELETED,
                "the channel '" + name + "' keeps being created and deleted by others");
}

Result<ChannelInfo> Broker::OpenChannel(const std::string& name, bool create_if_missing) {
  Result<ChannelInfo> info = DescribeChannel(name);
  if (info.ok() || !create_if_missing) return info;
  info = CreateChannel(name, ChannelOptions());
  // Somebody else created it at the same time with other options: opening does not ask for any.
  if (!info.ok() && info.status().reason() == Reason::CHANNEL_EXISTS) return DescribeChannel(name);
  return info;
}

Result<ChannelInfo> Broker::DescribeChannel(const std::string& name) const {
  STRATA_ASSIGN_OR_RETURN(const ChannelPtr channel, FindChannel(name));
  return InfoOf(*channel);
}

std::vector<Broker::ChannelPtr> Broker::AllChannels() const {
  std::vector<ChannelPtr> channels;
  {
    MutexLock lock(channels_mu_);
    channels.reserve(channels_.size());
    for (const auto& [name, channel] : channels_) channels.push_back(channel);
  }
  std::sort(channels.begin(), channels.end(),
            [](const ChannelPtr& a, const ChannelPtr& b) { return a->name() < b->name(); });
  return channels;
}

Result<std::vector<ChannelInfo>> Broker::ListChannels() const {
  {
    MutexLock lock(channels_mu_);
    if (closed_) return BrokerClosed();
  }
  const std::vector<ChannelPtr> channels = AllChannels();
  std::vector<ChannelInfo> infos;
  infos.reserve(channels.size());
  for (const ChannelPtr& channel : channels) infos.push_back(InfoOf(*channel));
  return infos;
}

Result<ChannelInfo> Broker::TruncateChannel(const std::string& name, MessageId through) {
  STRATA_ASSIGN_OR_RETURN(const ChannelPtr channel, FindChannel(name));
  MessageId mark = 0;
  TimeMicros now = 0;
  STRATA_RETURN_IF_ERROR(Commit(
      [&](storage::WriteGroup* group) {
        Channel::WriteFace& face = channel->write_face();
        if (face.deleted) return ChannelNotFound(name);
        mark = std::min(through, channel->range().next_id - 1);
        if (mark <= face.record.truncated_through) {
          mark = 0;
          return Status::Ok();
        }
        face.record.truncated_through = mark;
        now = options_.clock->WallMicros();
        face.record.truncated_at = now;
        group->changes.emplace_back(storage::PutChannel{face.record});
        return Status::Ok();
      },
      [&] {
        if (mark > 0) channel->PublishTruncation(mark, now);
      }));
  if (mark > 0) sweeper_->Kick();
  return InfoOf(*channel);
}

Result<ChannelInfo> Broker::AlterChannel(const std::string& name,
                                         const RetentionOverrides& retention) {
  STRATA_RETURN_IF_ERROR(CheckRetention(name, retention));
  STRATA_ASSIGN_OR_RETURN(const ChannelPtr channel, FindChannel(name));
  ChannelOptions altered;
  STRATA_RETURN_IF_ERROR(Commit(
      [&](storage::WriteGroup* group) {
        Channel::WriteFace& face = channel->write_face();
        if (face.deleted) return ChannelNotFound(name);
        face.record.options.retention = retention;
        altered = face.record.options;
        group->changes.emplace_back(storage::PutChannel{face.record});
        return Status::Ok();
      },
      [&] { channel->PublishOptions(altered); }));
  sweeper_->Kick();
  return InfoOf(*channel);
}

Status Broker::DeleteChannel(const std::string& name) {
  ChannelPtr channel;
  const Status status = Commit(
      [&](storage::WriteGroup* group) {
        const auto it = write_channels_.find(name);
        if (it == write_channels_.end()) return ChannelNotFound(name);
        channel = it->second;
        write_channels_.erase(it);
        channel->write_face().deleted = true;
        channel->BeginDeletion();
        group->changes.emplace_back(storage::DropChannel{channel->number()});
        return Status::Ok();
      },
      [&] {
        {
          MutexLock lock(channels_mu_);
          channels_.erase(name);
        }
        channel->End(Status(Reason::CHANNEL_DELETED, "the channel '" + name + "' was deleted"));
        shared_->cache.Drop(channel->number());
      });
  // Whether a deletion that failed will have happened after a restart is open, and so is what its
  // readers would find.
  if (!status.ok() && channel != nullptr) channel->End(status);
  if (status.ok()) sweeper_->Kick();
  return status;
}

Result<std::unique_ptr<Reader>> Broker::OpenReader(const std::string& name,
                                                   const StartPosition& start) {
  STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannel(name));
  STRATA_ASSIGN_OR_RETURN(const MessageId position, ResolveStart(*shared_, *channel, start));
  return std::make_unique<Reader>(shared_, std::move(channel), start, position);
}

Result<std::unique_ptr<ChannelWait>> Broker::WaitForChannel(const std::string& name,
                                                            std::function<void()> wake) {
  STRATA_RETURN_IF_ERROR(CheckChannelName(name));
  auto wait = std::make_unique<ChannelWait>(shared_);
  MutexLock lock(channels_mu_);
  if (channels_.contains(name)) return std::unique_ptr<ChannelWait>();
  if (!shared_->channel_waits.Add(wait.get(), name, std::move(wake))) return BrokerClosed();
  return wait;
}

void Broker::MaintenanceLoop() {
  MutexLock lock(maintenance_mu_);
  while (!closing_) {
    const Clock::Duration deadline = options_.clock->Monotonic() + kMaintenanceInterval;
    while (!closing_ && options_.clock->Monotonic() < deadline) {
      options_.clock->WaitUntil(maintenance_mu_, maintenance_wake_, deadline);
    }
    if (closing_) return;
    lock.Unlock();
    // An operation without rows of its own: the committer's rider adds the cursors.
    if (shared_->changed_cursors.any()) {
      (void)Commit([](storage::WriteGroup*) { return Status::Ok(); }, [] {});
    }
    NoteAcknowledged();
    ForgetIdleProducers();
    lock.Lock();
  }
}

void Broker::NoteAcknowledged() {
  const uint64_t appended = messages_appended_.load(std::memory_order_relaxed);
  if (appended == noted_messages_) return;
  noted_messages_ = appended;
  std::vector<std::pair<ChannelNumber, MessageId>> next_ids;
  {
    MutexLock lock(channels_mu_);
    next_ids.reserve(channels_.size());
    for (const auto& [name, channel] : channels_)
      next_ids.emplace_back(channel->number(), channel->range().next_id);
  }
  store_->NoteAcknowledged(next_ids);
}

BrokerStats Broker::Stats() const {
  BrokerStats stats;
  const std::vector<ChannelPtr> channels = AllChannels();
  stats.channels = channels.size();
  for (const ChannelPtr& channel : channels) stats.subscriptions += channel->Subscriptions().size();
  stats.channel_waits = shared_->channel_waits.size();
  stats.readers = shared_->readers.load(std::memory_order_relaxed);
  stats.messages_appended = messages_appended_.load(std::memory_order_relaxed);
  stats.bytes_appended = bytes_appended_.load(std::memory_order_relaxed);
  stats.batches_appended = batches_appended_.load(std::memory_order_relaxed);
  stats.cache_hits = shared_->cache_hits.load(std::memory_order_relaxed);
  stats.storage_reads = shared_->storage_reads.load(std::memory_order_relaxed);
  stats.pending_bytes = pending_bytes_.load(std::memory_order_relaxed);
  stats.tail_cache_bytes = shared_->cache.bytes();
  stats.swept = sweeper_->counters();
  stats.space_state = budget_.state();
  if (options_.disk_budget > 0) stats.space_marks = budget_.marks();
  return stats;
}

storage::StoreStats Broker::StoreStats() const {
  const StoreGate::Pass pass(shared_->gate);
  return pass.store() == nullptr ? storage::StoreStats() : pass.store()->Stats();
}

// The store may have failed where no append has met it: while it seals, or makes a spare.
Status Broker::failure() const {
  Status failure = committer_->failure();
  return failure.ok() ? store_->failure() : failure;
}

}  // namespace strata::broker
