#include "client/embedded/embedded_client.h"

#include <algorithm>
#include <utility>

#include "broker/open.h"
#include "client/batch_reader.h"
#include "client/batching_producer.h"
#include "client/calls.h"
#include "client/deadline.h"
#include "client/embedded/channel_waiting.h"
#include "client/embedded/embedded_source.h"
#include "client/embedded/embedded_transport.h"

namespace strata {
namespace {

// Those of a daemon, so that a program behaves the same over every address.
constexpr uint64_t kDefaultFetchBytes = 1u << 20;
constexpr uint64_t kMostFetchBytes = 16u << 20;
constexpr std::chrono::milliseconds kMostFetchWait = std::chrono::seconds(60);

const char* SyncName(SyncPolicy policy) {
  switch (policy) {
    case SyncPolicy::kAlways:
      return "always";
    case SyncPolicy::kInterval:
      return "interval";
    case SyncPolicy::kNone:
      return "none";
  }
  return "unknown";
}

broker::AppendRequest RequestOf(const std::string& channel, const Buffer& batch,
                                const AppendOptions& options) {
  return {.channel = channel,
          .batch = batch,
          .channel_number = options.channel_number,
          .producer = options.producer,
          .term = options.term,
          .sequence = options.sequence,
          .expected_next_id = options.expected_next_id,
          .session = nullptr};
}

// Everything in a channel that had to be waited for is later than the call.
StartPosition StartBehind(bool waited, const StartPosition& start) {
  return waited && start.kind == StartPosition::Kind::kLatest ? StartPosition::Earliest() : start;
}

}  // namespace

Result<EmbeddedClient::BrokerPtr> EmbeddedClient::Open() const {
  MutexLock lock(mu_);
  if (broker_ == nullptr) return NothingAppended(OpenSet::Closed());
  return broker_;
}

template <typename Call>
auto EmbeddedClient::Ask(Call call) const -> decltype(call(std::declval<broker::Broker&>())) {
  const Result<BrokerPtr> broker = Open();
  if (!broker.ok()) return NothingAppended(broker.status());
  return NothingAppended(call(**broker));
}

Result<ChannelInfo> EmbeddedClient::CreateChannel(const std::string& name,
                                                  const ChannelOptions& options) {
  return Ask([&](broker::Broker& broker) { return broker.CreateChannel(name, options); });
}

Result<ChannelInfo> EmbeddedClient::OpenChannel(const std::string& name, bool create_if_missing) {
  return Ask([&](broker::Broker& broker) { return broker.OpenChannel(name, create_if_missing); });
}

Result<ChannelInfo> EmbeddedClient::DescribeChannel(const std::string& name) {
  return Ask([&](broker::Broker& broker) { return broker.DescribeChannel(name); });
}

Result<std::vector<ChannelInfo>> EmbeddedClient::ListChannels(const std::string& prefix) {
  STRATA_ASSIGN_OR_RETURN(std::vector<ChannelInfo> channels,
                          Ask([](broker::Broker& broker) { return broker.ListChannels(); }));
  std::erase_if(channels,
                [&](const ChannelInfo& channel) { return !channel.name.starts_with(prefix); });
  return channels;
}

Result<ChannelInfo> EmbeddedClient::TruncateChannel(const std::string& name, MessageId through) {
  return Ask([&](broker::Broker& broker) { return broker.TruncateChannel(name, through); });
}

Result<ChannelInfo> EmbeddedClient::AlterChannel(const std::string& name,
                                                 const RetentionOverrides& retention) {
  return Ask([&](broker::Broker& broker) { return broker.AlterChannel(name, retention); });
}

Status EmbeddedClient::DeleteChannel(const std::string& name) {
  return Ask([&](broker::Broker& broker) { return broker.DeleteChannel(name); });
}

Result<AppendResult> EmbeddedClient::Append(const std::string& channel,
                                            const std::vector<Message>& messages,
                                            const AppendOptions& options) {
  BatchBuilder builder;
  size_t size = 0;
  for (const Message& message : messages) {
    size += BatchBuilder::EncodedSize(message.payload.size(), message.properties);
  }
  builder.Reserve(size);
  for (const Message& message : messages) builder.Add(message);
  return Append(channel, builder.Take(), options);
}

Result<AppendResult> EmbeddedClient::Append(const std::string& channel, const Buffer& batch,
                                            const AppendOptions& options) {
  const Result<BrokerPtr> broker = Open();
  if (!broker.ok()) return broker.status().WithFate(DataFate::kNotAppended);
  return (*broker)->Append(RequestOf(channel, batch, options));
}

Result<std::unique_ptr<Producer>> EmbeddedClient::OpenProducer(const std::string& channel,
                                                               const ProducerOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  broker::ProducerOpen open;
  open.channel = channel;
  open.create_if_missing = options.create_if_missing;
  // Here no connection breaks, so a producer without a name needs none.
  open.producer = options.name;
  open.term = options.term;
  open.exclusive = options.exclusive;
  open.instance = RandomNumber();
  open.attempt = 1;
  STRATA_ASSIGN_OR_RETURN(const broker::OpenedProducer opened,
                          NothingAppended(broker->OpenProducer(open)));
  auto producer = std::make_unique<BatchingProducer>(
      options, broker->options().limits,
      BatchingProducer::Opened{opened.channel_number, options.name, opened.next_id},
      std::make_unique<EmbeddedTransport>(broker, opened, channel, !options.name.empty()), gate_);
  open_.Add(producer->inner());
  return std::unique_ptr<Producer>(std::move(producer));
}

Result<std::unique_ptr<Reader>> EmbeddedClient::OpenReader(const std::string& channel,
                                                           const StartPosition& start,
                                                           const ReaderOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  STRATA_ASSIGN_OR_RETURN(const bool waited,
                          AwaitChannel(*broker, channel, options.wait_for_channel, &open_));
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<broker::Reader> reader,
                          NothingAppended(broker->OpenReader(channel, StartBehind(waited, start))));
  auto source = std::make_shared<EmbeddedSource>(broker, std::move(reader));
  open_.Add(source);
  const OpenedAt opened = source->opened_at();
  return std::unique_ptr<Reader>(std::make_unique<BatchReader>(std::move(source), opened));
}

Result<std::unique_ptr<Consumer>> EmbeddedClient::OpenConsumer(const std::string& channel,
                                                               const std::string& subscription,
                                                               const ConsumerOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  STRATA_RETURN_IF_ERROR(CheckSubscriptionName(subscription));
  STRATA_ASSIGN_OR_RETURN(const bool waited,
                          AwaitChannel(*broker, channel, options.wait_for_channel, &open_));
  STRATA_ASSIGN_OR_RETURN(
      std::shared_ptr<EmbeddedSource> source,
      EmbeddedSource::Subscribe(broker,
                                {.channel = channel,
                                 .subscription = subscription,
                                 .start = StartBehind(waited, options.start),
                                 .holder = HolderOrDefault(options.holder)},
                                options.mode == ConsumerOptions::Mode::kFailover));
  open_.Add(source);
  const OpenedAt opened = source->opened_at();
  return std::unique_ptr<Consumer>(std::make_unique<BatchReader>(std::move(source), opened));
}

Result<FetchResult> EmbeddedClient::Fetch(const std::string& channel, const StartPosition& start,
                                          const FetchOptions& options) {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<broker::Reader> reader,
                          NothingAppended(broker->OpenReader(channel, start)));
  const uint64_t limit =
      options.max_bytes == 0 ? kDefaultFetchBytes : std::min(options.max_bytes, kMostFetchBytes);
  const auto source = std::make_shared<EmbeddedSource>(broker, std::move(reader));
  open_.Add(source);
  FetchResult result;
  auto wait = std::min(options.max_wait, kMostFetchWait);
  for (uint64_t bytes = 0; bytes < limit;) {
    Result<ReceivedBatch> batch = source->Next(wait);
    wait = std::chrono::milliseconds(0);
    if (!batch.ok()) {
      // What was read before an error is still good; the next fetch meets the error again.
      if (batch.status().reason() == Reason::TIMEOUT || !result.batches.empty()) break;
      return batch.status();
    }
    bytes += batch->bytes().size();
    result.batches.push_back(std::move(batch).value());
  }
  STRATA_ASSIGN_OR_RETURN(const ChannelInfo info, source->Describe(&result.next_position));
  result.first_available = info.first_available;
  result.next_id = info.next_id;
  return result;
}

Result<SubscriptionInfo> EmbeddedClient::CreateSubscription(const std::string& channel,
                                                            const std::string& subscription,
                                                            const StartPosition& start) {
  return Ask([&](broker::Broker& broker) {
    return broker.CreateSubscription(channel, subscription, start);
  });
}

Result<SubscriptionInfo> EmbeddedClient::DescribeSubscription(const std::string& channel,
                                                              const std::string& subscription) {
  return Ask(
      [&](broker::Broker& broker) { return broker.DescribeSubscription(channel, subscription); });
}

Result<std::vector<SubscriptionInfo>> EmbeddedClient::ListSubscriptions(
    const std::string& channel) {
  return Ask([&](broker::Broker& broker) { return broker.ListSubscriptions(channel); });
}

Result<SubscriptionInfo> EmbeddedClient::SeekSubscription(const std::string& channel,
                                                          const std::string& subscription,
                                                          const StartPosition& to) {
  return Ask(
      [&](broker::Broker& broker) { return broker.SeekSubscription(channel, subscription, to); });
}

Status EmbeddedClient::DeleteSubscription(const std::string& channel,
                                          const std::string& subscription) {
  return Ask(
      [&](broker::Broker& broker) { return broker.DeleteSubscription(channel, subscription); });
}

Status EmbeddedClient::Acknowledge(const std::string& channel, const std::string& subscription,
                                   MessageId through) {
  return Ask(
      [&](broker::Broker& broker) { return broker.Acknowledge(channel, subscription, through); });
}

Result<std::vector<AppendResult>> EmbeddedClient::AppendMulti(
    const std::vector<ChannelAppend>& appends) {
  const Result<BrokerPtr> broker = Open();
  if (!broker.ok()) return broker.status().WithFate(DataFate::kNotAppended);
  std::vector<broker::AppendRequest> requests;
  requests.reserve(appends.size());
  for (const ChannelAppend& append : appends) {
    requests.push_back(RequestOf(append.channel, append.batch, append.options));
  }
  return (*broker)->AppendMulti(std::move(requests));
}

Result<std::vector<ProducerInfo>> EmbeddedClient::ListProducers(const std::string& channel) {
  return Ask([&](broker::Broker& broker) { return broker.ListProducers(channel); });
}

Result<ServerInfo> EmbeddedClient::GetServerInfo() {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  const broker::BrokerOptions& options = broker->options();
  ServerInfo info;
  info.version = STRATA_VERSION;
  info.store_id = broker->store_id();
  info.sync = SyncName(options.sync);
  info.started_at = broker->started_at();
  info.max_payload = options.limits.max_payload;
  info.max_batch = options.limits.max_batch();
  info.max_batch_messages = kMaxBatchMessages;
  info.max_pending = options.max_pending_total;
  info.max_pending_total = options.max_pending_total;
  return info;
}

Result<BrokerStatus> EmbeddedClient::GetStatus() {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  return broker::DescribeStatus(*broker);
}

Result<std::vector<ChannelSpaceInfo>> EmbeddedClient::DescribeSpace(const std::string& channel) {
  return Ask([&](broker::Broker& broker) { return broker.DescribeSpace(channel); });
}

Result<CompactionInfo> EmbeddedClient::StartCompaction() {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  return broker->StartCompaction();
}

Result<CompactionInfo> EmbeddedClient::DescribeCompaction() {
  STRATA_ASSIGN_OR_RETURN(const BrokerPtr broker, Open());
  return broker->DescribeCompaction();
}

void EmbeddedClient::Close() {
  open_.EndAll();
  BrokerPtr broker;
  MutexLock lock(mu_);
  broker.swap(broker_);
  lock.Unlock();
  broker.reset();
  lock.Lock();
}

}  // namespace strata
