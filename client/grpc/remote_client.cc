#include "client/grpc/remote_client.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "client/batch_reader.h"
#include "client/batching_producer.h"
#include "client/calls.h"
#include "client/deadline.h"
#include "client/grpc/codec.h"
#include "client/grpc/reconnecting_producer.h"
#include "client/grpc/reconnecting_source.h"
#include "proto/convert.h"
#include "proto/opaque.h"

namespace strata {
namespace {

using Stub = v1::Admin::Stub;

constexpr char kAppend[] = "/strata.v1.Log/Append";
constexpr char kAppendMulti[] = "/strata.v1.Log/AppendMulti";
constexpr char kFetch[] = "/strata.v1.Log/Fetch";
constexpr char kAcknowledge[] = "/strata.v1.Log/Acknowledge";

// Of a request, without its batch.
v1::AppendRequest AppendHead(const std::string& channel, const AppendOptions& options) {
  v1::AppendRequest head;
  head.set_channel(channel);
  head.set_channel_number(options.channel_number);
  head.set_producer(options.producer);
  head.set_term(options.term);
  head.set_sequence(options.sequence);
  head.set_expected_next_id(options.expected_next_id);
  return head;
}

Status MalformedAnswer(const Status& parsed) {
  return Status(Reason::INTERNAL, "the daemon's answer is malformed: " + parsed.message())
      .WithFate(DataFate::kAppended);
}

}  // namespace

Status RemoteClient::CheckOpen() const {
  if (!closed_.load(std::memory_order_relaxed)) return Status::Ok();
  return NothingAppended(OpenSet::Closed());
}

template <typename Request, typename Response>
auto RemoteClient::Admin(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                         const Request& request)
    -> Result<decltype(FromProto(std::declval<const Response&>()))> {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  STRATA_ASSIGN_OR_RETURN(const Response response, connection_->Call(method, request));
  return FromProto(response);
}

template <typename Request, typename Response>
auto RemoteClient::AdminAgain(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                      const Request&, Response*),
                              const Request& request)
    -> Result<decltype(FromProto(std::declval<const Response&>()))> {
  return connection_->Persist([&] { return Admin(method, request); });
}

Result<ChannelInfo> RemoteClient::CreateChannel(const std::string& name,
                                                const ChannelOptions& options) {
  // On the wire 0 is a field that was left out, and means the default.
  if (options.first_id == 0) {
    return NothingAppended(
        Status(Reason::INVALID_ARGUMENT, "first_id 0 of channel '" + name + "' is below 1"));
  }
  v1::CreateChannelRequest request;
  request.set_name(name);
  ToProto(options, request.mutable_options());
  return AdminAgain(&Stub::CreateChannel, request);
}

Result<ChannelInfo> RemoteClient::OpenChannel(const std::string& name, bool create_if_missing) {
  v1::OpenChannelRequest request;
  request.set_name(name);
  request.set_create_if_missing(create_if_missing);
  return AdminAgain(&Stub::OpenChannel, request);
}

Result<ChannelInfo> RemoteClient::DescribeChannel(const std::string& name) {
  v1::DescribeChannelRequest request;
  request.set_name(name);
  return AdminAgain(&Stub::DescribeChannel, request);
}

Result<std::vector<ChannelInfo>> RemoteClient::ListChannels(const std::string& prefix) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::ListChannelsRequest request;
  request.set_prefix(prefix);
  STRATA_ASSIGN_OR_RETURN(const v1::ListChannelsResponse response, connection_->Persist([&] {
    return connection_->Call(&Stub::ListChannels, request);
  }));
  std::vector<ChannelInfo> channels;
  for (const v1::ChannelInfo& channel : response.channels()) channels.push_back(FromProto(channel));
  return channels;
}

Result<ChannelInfo> RemoteClient::TruncateChannel(const std::string& name, MessageId through) {
  v1::TruncateChannelRequest request;
  request.set_name(name);
  request.set_through_id(through);
  return AdminAgain(&Stub::TruncateChannel, request);
}

Result<ChannelInfo> RemoteClient::AlterChannel(const std::string& name,
                                               const RetentionOverrides& retention) {
  v1::AlterChannelRequest request;
  request.set_name(name);
  ToProto(retention, request.mutable_retention());
  return AdminAgain(&Stub::AlterChannel, request);
}

Status RemoteClient::DeleteChannel(const std::string& name) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::DeleteChannelRequest request;
  request.set_name(name);
  return connection_->Call(&Stub::DeleteChannel, request).status();
}

Result<AppendResult> RemoteClient::Append(const std::string& channel,
                                          const std::vector<Message>& messages,
                                          const AppendOptions& options) {
  BatchBuilder builder;
  for (const Message& message : messages) builder.Add(message);
  return Append(channel, builder.Take(), options);
}

Result<AppendResult> RemoteClient::Append(const std::string& channel, const Buffer& batch,
                                          const AppendOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen().WithFate(DataFate::kNotAppended));
  const v1::AppendRequest request = AppendHead(channel, options);
  STRATA_ASSIGN_OR_RETURN(
      const Buffer bytes,
      connection_->CallRaw(kAppend, ToByteBuffer(request, batch), DataFate::kMayHaveBeenAppended));
  v1::AppendResponse response;
  if (const Status parsed = ParseOpaque(bytes, &response); !parsed.ok()) {
    return MalformedAnswer(parsed);
  }
  return FromProto(response.result());
}

Result<std::vector<AppendResult>> RemoteClient::AppendMulti(
    const std::vector<ChannelAppend>& appends) {
  STRATA_RETURN_IF_ERROR(CheckOpen().WithFate(DataFate::kNotAppended));
  std::vector<grpc::Slice> slices;
  for (const ChannelAppend& append : appends) {
    const v1::AppendRequest head = AppendHead(append.channel, append.options);
    std::string start = head.SerializeAsString();
    start += NestedHeader(kBatchField, append.batch.size());
    slices.emplace_back(NestedHeader(v1::AppendMultiRequest::kAppendsFieldNumber,
                                     start.size() + append.batch.size()) +
                        start);
    AppendSlices(append.batch, &slices);
  }
  STRATA_ASSIGN_OR_RETURN(
      const Buffer bytes,
      connection_->CallRaw(kAppendMulti, grpc::ByteBuffer(slices.data(), slices.size()),
                           DataFate::kMayHaveBeenAppended));
  v1::AppendMultiResponse response;
  if (const Status parsed = ParseOpaque(bytes, &response); !parsed.ok()) {
    return MalformedAnswer(parsed);
  }
  std::vector<AppendResult> results;
  for (const v1::AppendResult& result : response.results()) results.push_back(FromProto(result));
  return results;
}

Result<std::unique_ptr<Producer>> RemoteClient::OpenProducer(const std::string& channel,
                                                             const ProducerOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<ReconnectingProducer> transport,
                          ReconnectingProducer::Open(connection_, channel, options));
  BatchingProducer::Opened opened = transport->opened();
  auto producer =
      std::make_unique<BatchingProducer>(options, BatchLimits{connection_->server().max_payload},
                                         std::move(opened), std::move(transport), gate_);
  open_.Add(producer->inner());
  return std::unique_ptr<Producer>(std::move(producer));
}

Result<std::unique_ptr<Reader>> RemoteClient::OpenReader(const std::string& channel,
                                                         const StartPosition& start,
                                                         const ReaderOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  ReconnectingSource::Options wanted;
  wanted.channel = channel;
  wanted.start = start;
  wanted.read_ahead = options.read_ahead;
  wanted.wait_for_channel = options.wait_for_channel;
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<ReconnectingSource> source,
                          ReconnectingSource::Open(connection_, wanted, &open_));
  const OpenedAt opened = source->opened_at();
  return std::unique_ptr<Reader>(std::make_unique<BatchReader>(std::move(source), opened));
}

Result<std::unique_ptr<Consumer>> RemoteClient::OpenConsumer(const std::string& channel,
                                                             const std::string& subscription,
                                                             const ConsumerOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  // Without a name the daemon would open a reader.
  STRATA_RETURN_IF_ERROR(CheckSubscriptionName(subscription));
  ReconnectingSource::Options wanted;
  wanted.channel = channel;
  wanted.subscription = subscription;
  wanted.start = options.start;
  wanted.read_ahead = options.read_ahead;
  wanted.holder = HolderOrDefault(options.holder);
  wanted.failover = options.mode == ConsumerOptions::Mode::kFailover;
  wanted.wait_for_channel = options.wait_for_channel;
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<ReconnectingSource> source,
                          ReconnectingSource::Open(connection_, wanted, &open_));
  const OpenedAt opened = source->opened_at();
  return std::unique_ptr<Consumer>(std::make_unique<BatchReader>(std::move(source), opened));
}

Result<FetchResult> RemoteClient::Fetch(const std::string& channel, const StartPosition& start,
                                        const FetchOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::FetchRequest request;
  request.set_channel(channel);
  ToProto(start, request.mutable_start());
  request.set_max_bytes(options.max_bytes);
  const auto wait = std::max(options.max_wait, std::chrono::milliseconds(0));
  request.set_max_wait_micros(
      static_cast<uint64_t>(std::chrono::microseconds(BoundedTimeout(wait)).count()));
  const grpc::ByteBuffer message = ToByteBuffer(request);
  STRATA_ASSIGN_OR_RETURN(const Buffer bytes, connection_->Persist([&] {
    return connection_->CallRaw(kFetch, message, DataFate::kNotApplicable, wait);
  }));
  return ParseFetchResponse(bytes);
}

Result<SubscriptionInfo> RemoteClient::CreateSubscription(const std::string& channel,
                                                          const std::string& subscription,
                                                          const StartPosition& start) {
  v1::CreateSubscriptionRequest request;
  request.set_channel(channel);
  request.set_subscription(subscription);
  ToProto(start, request.mutable_start());
  return Admin(&Stub::CreateSubscription, request);
}

Result<SubscriptionInfo> RemoteClient::DescribeSubscription(const std::string& channel,
                                                            const std::string& subscription) {
  v1::DescribeSubscriptionRequest request;
  request.set_channel(channel);
  request.set_subscription(subscription);
  return AdminAgain(&Stub::DescribeSubscription, request);
}

Result<std::vector<SubscriptionInfo>> RemoteClient::ListSubscriptions(const std::string& channel) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::ListSubscriptionsRequest request;
  request.set_channel(channel);
  STRATA_ASSIGN_OR_RETURN(const v1::ListSubscriptionsResponse response, connection_->Persist([&] {
    return connection_->Call(&Stub::ListSubscriptions, request);
  }));
  std::vector<SubscriptionInfo> subscriptions;
  for (const v1::SubscriptionInfo& subscription : response.subscriptions()) {
    subscriptions.push_back(FromProto(subscription));
  }
  return subscriptions;
}

Result<SubscriptionInfo> RemoteClient::SeekSubscription(const std::string& channel,
                                                        const std::string& subscription,
                                                        const StartPosition& to) {
  v1::SeekSubscriptionRequest request;
  request.set_channel(channel);
  request.set_subscription(subscription);
  ToProto(to, request.mutable_to());
  return AdminAgain(&Stub::SeekSubscription, request);
}

Status RemoteClient::DeleteSubscription(const std::string& channel,
                                        const std::string& subscription) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::DeleteSubscriptionRequest request;
  request.set_channel(channel);
  request.set_subscription(subscription);
  return connection_->Call(&Stub::DeleteSubscription, request).status();
}

Status RemoteClient::Acknowledge(const std::string& channel, const std::string& subscription,
                                 MessageId through) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::AcknowledgeRequest request;
  request.set_channel(channel);
  request.set_subscription(subscription);
  request.set_through_id(through);
  const grpc::ByteBuffer message = ToByteBuffer(request);
  return connection_->Persist([&] {
    return connection_->CallRaw(kAcknowledge, message, DataFate::kNotApplicable).status();
  });
}

Result<std::vector<ProducerInfo>> RemoteClient::ListProducers(const std::string& channel) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::ListProducersRequest request;
  request.set_channel(channel);
  STRATA_ASSIGN_OR_RETURN(const v1::ListProducersResponse response, connection_->Persist([&] {
    return connection_->Call(&Stub::ListProducers, request);
  }));
  std::vector<ProducerInfo> producers;
  for (const v1::ProducerInfo& producer : response.producers()) {
    producers.push_back(FromProto(producer));
  }
  return producers;
}

Result<ServerInfo> RemoteClient::GetServerInfo() {
  return AdminAgain(&Stub::GetServerInfo, v1::GetServerInfoRequest());
}

Result<BrokerStatus> RemoteClient::GetStatus() {
  return AdminAgain(&Stub::GetStatus, v1::GetStatusRequest());
}

Result<std::vector<ChannelSpaceInfo>> RemoteClient::DescribeSpace(const std::string& channel) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::DescribeSpaceRequest request;
  request.set_channel(channel);
  STRATA_ASSIGN_OR_RETURN(const v1::DescribeSpaceResponse response, connection_->Persist([&] {
    return connection_->Call(&Stub::DescribeSpace, request);
  }));
  std::vector<ChannelSpaceInfo> infos;
  for (const v1::ChannelSpace& info : response.channels()) infos.push_back(FromProto(info));
  return infos;
}

Result<CompactionInfo> RemoteClient::StartCompaction() {
  return AdminAgain(&Stub::StartCompaction, v1::StartCompactionRequest());
}

Result<CompactionInfo> RemoteClient::DescribeCompaction() {
  return AdminAgain(&Stub::DescribeCompaction, v1::DescribeCompactionRequest());
}

void RemoteClient::Close() {
  closed_.store(true, std::memory_order_relaxed);
  connection_->Interrupt();
  open_.EndAll();
}

}  // namespace strata
