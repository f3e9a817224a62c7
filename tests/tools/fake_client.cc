#include "tests/tools/fake_client.h"

#include <algorithm>

namespace strata::tools {
namespace {

MessageId Position(const FakeClient::Channel& channel, const StartPosition& start) {
  switch (start.kind) {
    case StartPosition::Kind::kLatest:
      return channel.info.next_id;
    case StartPosition::Kind::kAtId:
      return std::max(start.id, channel.info.first_available);
    case StartPosition::Kind::kAfterId:
      return std::max(start.id + 1, channel.info.first_available);
    case StartPosition::Kind::kEarliest:
    case StartPosition::Kind::kAtTime:
      break;
  }
  return channel.info.first_available;
}

class FakeProducer final : public Producer {
 public:
  FakeProducer(FakeClient& client, std::string channel)
      : client_(client), channel_(std::move(channel)) {}

  Status Send(const Message& message, Callback done) override {
    uint64_t size = message.payload.size();
    for (const auto& [name, value] : message.properties) size += name.size() + value.size();
    if (size > client_.server.max_payload) {
      return Status(Reason::MESSAGE_TOO_LARGE, "it has " + std::to_string(size) + " bytes");
    }
    if (failed_) return client_.append_error.WithFate(DataFate::kNotAppended);
    if (client_.appends_until_error == 0) {
      failed_ = true;
      done(client_.append_error);
      return Status::Ok();
    }
    --client_.appends_until_error;
    client_.Put(channel_, {message});
    done(client_.channels[channel_].info.next_id - 1);
    return Status::Ok();
  }
  Status Send(std::string_view payload, Callback done) override {
    return Send(Message{std::string(payload), {}}, std::move(done));
  }
  Status Flush(std::chrono::milliseconds) override {
    return failed_ ? client_.append_error : Status::Ok();
  }
  Status Close() override { return Flush({}); }
  ChannelNumber channel_number() const override { return client_.channels[channel_].info.number; }
  const std::string& name() const override { return channel_; }
  MessageId end_at_open() const override { return 0; }

 private:
  FakeClient& client_;
  const std::string channel_;
  bool failed_ = false;
};

class FakeConsumer final : public Consumer {
 public:
  FakeConsumer(FakeClient& client, std::string channel, MessageId position)
      : client_(client),
        channel_(std::move(channel)),
        position_(position),
        end_at_open_(client.channels[channel_].info.next_id) {}

  Result<Received> Receive(std::chrono::milliseconds) override {
    return Status(Reason::NOT_SUPPORTED, "the fake receives batches");
  }
  Result<ReceivedBatch> ReceiveBatch(std::chrono::milliseconds timeout) override {
    const FakeClient::Channel& channel = client_.channels[channel_];
    for (const Gap& gap : channel.gaps) {
      if (position_ < gap.first || position_ > gap.last) continue;
      position_ = gap.last + 1;
      return ReceivedBatch(gap);
    }
    if (position_ >= channel.info.next_id) {
      if (timeout.count() > 0 && client_.on_wait) client_.on_wait();
      return Status(Reason::TIMEOUT, "nothing came");
    }
    BatchBuilder builder;
    MessageId id = position_;
    while (id < channel.info.next_id && builder.count() < client_.messages_per_batch) {
      builder.Add(channel.messages[static_cast<size_t>(id++ - channel.info.options.first_id)]);
    }
    const uint32_t count = builder.count();
    ReceivedBatch batch(builder.Take(), position_, count, 0, client_.append_time);
    position_ = id;
    return batch;
  }
  Status Seek(const StartPosition& to) override {
    position_ = Position(client_.channels[channel_], to);
    return Status::Ok();
  }
  MessageId position() const override { return position_; }
  void Close() override {}
  ChannelNumber channel_number() const override { return client_.channels[channel_].info.number; }
  MessageId end_at_open() const override { return end_at_open_; }
  Status Acknowledge(MessageId through) override {
    client_.acknowledged.push_back(through);
    return Status::Ok();
  }
  Status AcknowledgeAsync(MessageId through) override { return Acknowledge(through); }
  bool active() const override { return true; }

 private:
  FakeClient& client_;
  const std::string channel_;
  MessageId position_;
  const MessageId end_at_open_;
};

}  // namespace

Result<FakeClient::Channel*> FakeClient::Find(const std::string& name) {
  const auto found = channels.find(name);
  if (found == channels.end()) {
    return Status(Reason::CHANNEL_NOT_FOUND, "there is no channel '" + name + "'");
  }
  return &found->second;
}

void FakeClient::Put(const std::string& channel, std::vector<Message> messages) {
  Channel& to = channels[channel];
  to.info.name = channel;
  to.info.last_append_time = append_time;
  for (Message& message : messages) {
    to.info.bytes += message.payload.size();
    to.messages.push_back(std::move(message));
    ++to.info.next_id;
  }
}

std::vector<std::string> FakeClient::Payloads(const std::string& channel) const {
  std::vector<std::string> payloads;
  for (const Message& message : channels.at(channel).messages) payloads.push_back(message.payload);
  return payloads;
}

Result<ChannelInfo> FakeClient::CreateChannel(const std::string& name,
                                              const ChannelOptions& options) {
  if (channels.count(name) > 0) {
    return Status(Reason::CHANNEL_EXISTS, "channel '" + name + "' exists");
  }
  ChannelInfo& info = channels[name].info;
  info.name = name;
  info.number = channels.size();
  info.options = options;
  info.first_available = info.next_id = options.first_id;
  info.created_at = append_time;
  return info;
}

Result<ChannelInfo> FakeClient::OpenChannel(const std::string& name, bool create_if_missing) {
  if (create_if_missing && channels.count(name) == 0) return CreateChannel(name, {});
  return DescribeChannel(name);
}

Result<ChannelInfo> FakeClient::DescribeChannel(const std::string& name) {
  STRATA_ASSIGN_OR_RETURN(const Channel* channel, Find(name));
  return channel->info;
}

Result<std::vector<ChannelInfo>> FakeClient::ListChannels(const std::string& prefix) {
  std::vector<ChannelInfo> list;
  for (const auto& [name, channel] : channels) {
    if (name.starts_with(prefix)) list.push_back(channel.info);
  }
  return list;
}

Result<ChannelInfo> FakeClient::TruncateChannel(const std::string& name, MessageId through) {
  STRATA_ASSIGN_OR_RETURN(Channel * channel, Find(name));
  channel->info.truncated_through = through;
  channel->info.first_available = through + 1;
  return channel->info;
}

Result<ChannelInfo> FakeClient::AlterChannel(const std::string& name,
                                             const RetentionOverrides& retention) {
  STRATA_ASSIGN_OR_RETURN(Channel * channel, Find(name));
  channel->info.options.retention = retention;
  return channel->info;
}

Status FakeClient::DeleteChannel(const std::string& name) {
  STRATA_ASSIGN_OR_RETURN([[maybe_unused]] const Channel* channel, Find(name));
  channels.erase(name);
  return Status::Ok();
}

Result<AppendResult> FakeClient::Append(const std::string& channel,
                                        const std::vector<Message>& messages,
                                        const AppendOptions&) {
  Put(channel, messages);
  const MessageId next = channels[channel].info.next_id;
  return AppendResult{next - static_cast<MessageId>(messages.size()),
                      static_cast<uint32_t>(messages.size()), append_time};
}

Result<AppendResult> FakeClient::Append(const std::string&, const Buffer&, const AppendOptions&) {
  return Status(Reason::NOT_SUPPORTED, "the fake takes messages");
}

Result<std::vector<AppendResult>> FakeClient::AppendMulti(const std::vector<ChannelAppend>&) {
  return Status(Reason::NOT_SUPPORTED, "the fake takes messages");
}

Result<std::vector<ProducerInfo>> FakeClient::ListProducers(const std::string&) {
  return std::vector<ProducerInfo>();
}

Result<std::unique_ptr<Producer>> FakeClient::OpenProducer(const std::string& channel,
                                                           const ProducerOptions& options) {
  STRATA_RETURN_IF_ERROR(OpenChannel(channel, options.create_if_missing).status());
  return std::unique_ptr<Producer>(std::make_unique<FakeProducer>(*this, channel));
}

Result<std::unique_ptr<Reader>> FakeClient::OpenReader(const std::string& channel,
                                                       const StartPosition& start,
                                                       const ReaderOptions&) {
  STRATA_ASSIGN_OR_RETURN(const Channel* found, Find(channel));
  return std::unique_ptr<Reader>(
      std::make_unique<FakeConsumer>(*this, channel, Position(*found, start)));
}

Result<std::unique_ptr<Consumer>> FakeClient::OpenConsumer(const std::string& channel,
                                                           const std::string& subscription,
                                                           const ConsumerOptions& options) {
  if (subscriptions.count({channel, subscription}) == 0) {
    STRATA_RETURN_IF_ERROR(CreateSubscription(channel, subscription, options.start).status());
  }
  return std::unique_ptr<Consumer>(std::make_unique<FakeConsumer>(
      *this, channel, subscriptions[{channel, subscription}].cursor));
}

Result<FetchResult> FakeClient::Fetch(const std::string&, const StartPosition&,
                                      const FetchOptions&) {
  return Status(Reason::NOT_SUPPORTED, "the fake fetches nothing");
}

Result<SubscriptionInfo> FakeClient::CreateSubscription(const std::string& channel,
                                                        const std::string& subscription,
                                                        const StartPosition& start) {
  STRATA_ASSIGN_OR_RETURN(const Channel* found, Find(channel));
  SubscriptionInfo& info = subscriptions[{channel, subscription}];
  info.channel = channel;
  info.name = subscription;
  info.cursor = Position(*found, start);
  info.backlog = static_cast<uint64_t>(found->info.next_id - info.cursor);
  info.created_at = append_time;
  return info;
}

Result<SubscriptionInfo> FakeClient::DescribeSubscription(const std::string& channel,
                                                          const std::string& subscription) {
  const auto found = subscriptions.find({channel, subscription});
  if (found != subscriptions.end()) return found->second;
  return Status(Reason::SUBSCRIPTION_NOT_FOUND, "there is no subscription '" + subscription + "'");
}

Result<std::vector<SubscriptionInfo>> FakeClient::ListSubscriptions(const std::string& channel) {
  std::vector<SubscriptionInfo> list;
  for (const auto& [key, info] : subscriptions) {
    if (channel.empty() || key.first == channel) list.push_back(info);
  }
  return list;
}

Result<SubscriptionInfo> FakeClient::SeekSubscription(const std::string& channel,
                                                      const std::string& subscription,
                                                      const StartPosition& to) {
  STRATA_RETURN_IF_ERROR(DescribeSubscription(channel, subscription).status());
  return CreateSubscription(channel, subscription, to);
}

Status FakeClient::DeleteSubscription(const std::string& channel, const std::string& subscription) {
  STRATA_RETURN_IF_ERROR(DescribeSubscription(channel, subscription).status());
  subscriptions.erase({channel, subscription});
  return Status::Ok();
}

Status FakeClient::Acknowledge(const std::string&, const std::string&, MessageId through) {
  acknowledged.push_back(through);
  return Status::Ok();
}

Result<ServerInfo> FakeClient::GetServerInfo() { return server; }

Result<BrokerStatus> FakeClient::GetStatus() {
  if (on_status) on_status();
  return status;
}

Result<std::vector<ChannelSpaceInfo>> FakeClient::DescribeSpace(const std::string& channel) {
  std::vector<ChannelSpaceInfo> list;
  for (const auto& [name, unused] : channels) {
    if (!channel.empty() && name != channel) continue;
    ChannelSpaceInfo info = spaces[name];
    info.channel = name;
    list.push_back(std::move(info));
  }
  return list;
}

Result<CompactionInfo> FakeClient::StartCompaction() {
  compaction_answers_ = 0;
  return DescribeCompaction();
}

Result<CompactionInfo> FakeClient::DescribeCompaction() {
  if (compaction_answers_ == compactions.size() && !compaction_error.ok()) return compaction_error;
  const size_t answer = std::min(compaction_answers_, compactions.size() - 1);
  compaction_answers_ = answer + 1;
  return compactions.at(answer);
}

}  // namespace strata::tools
