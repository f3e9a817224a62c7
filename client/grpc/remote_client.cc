#include "client/grpc/remote_client.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "client/batch_reader.h"
#include "client/batching_producer.h"
#include "client/calls.h"
#include "client/deadline.h"
#include "client/grpc/codec.h"
#include "client/grpc/consume_stream.h"
#include "client/grpc/produce_stream.h"
#include "proto/convert.h"
#include "proto/opaque.h"

namespace strata {
namespace {

using Stub = v1::Admin::Stub;

constexpr char kAppend[] = "/strata.v1.Log/Append";
constexpr char kFetch[] = "/strata.v1.Log/Fetch";
constexpr char kAcknowledge[] = "/strata.v1.Log/Acknowledge";

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
  return Admin(&Stub::CreateChannel, request);
}

Result<ChannelInfo> RemoteClient::OpenChannel(const std::string& name, bool create_if_missing) {
  v1::OpenChannelRequest request;
  request.set_name(name);
  request.set_create_if_missing(create_if_missing);
  return Admin(&Stub::OpenChannel, request);
}

Result<ChannelInfo> RemoteClient::DescribeChannel(const std::string& name) {
  v1::DescribeChannelRequest request;
  request.set_name(name);
  return Admin(&Stub::DescribeChannel, request);
}

Result<std::vector<ChannelInfo>> RemoteClient::ListChannels(const std::string& prefix) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::ListChannelsRequest request;
  request.set_prefix(prefix);
  STRATA_ASSIGN_OR_RETURN(const v1::ListChannelsResponse response,
                          connection_->Call(&Stub::ListChannels, request));
  std::vector<ChannelInfo> channels;
  for (const v1::ChannelInfo& channel : response.channels()) channels.push_back(FromProto(channel));
  return channels;
}

Result<ChannelInfo> RemoteClient::TruncateChannel(const std::string& name, MessageId through) {
  v1::TruncateChannelRequest request;
  request.set_name(name);
  request.set_through_id(through);
  return Admin(&Stub::TruncateChannel, request);
}

Result<ChannelInfo> RemoteClient::AlterChannel(const std::string& name,
                                               const RetentionOverrides& retention) {
  v1::AlterChannelRequest request;
  request.set_name(name);
  ToProto(retention, request.mutable_retention());
  return Admin(&Stub::AlterChannel, request);
}

Status RemoteClient::DeleteChannel(const std::string& name) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::DeleteChannelRequest request;
  request.set_name(name);
  return connection_->Call(&Stub::DeleteChannel, request).status();
}

Result<AppendResult> RemoteClient::Append(const std::string& channel,
                                          const std::vector<Message>& messages) {
  BatchBuilder builder;
  for (const Message& message : messages) builder.Add(message);
  return Append(channel, builder.Take());
}

Result<AppendResult> RemoteClient::Append(const std::string& channel, const Buffer& batch) {
  STRATA_RETURN_IF_ERROR(CheckOpen().WithFate(DataFate::kNotAppended));
  v1::AppendRequest request;
  request.set_channel(channel);
  STRATA_ASSIGN_OR_RETURN(
      const Buffer bytes,
      connection_->CallRaw(kAppend, ToByteBuffer(request, batch), DataFate::kMayHaveBeenAppended));
  v1::AppendResponse response;
  if (const Status parsed = ParseOpaque(bytes, &response); !parsed.ok()) {
    return Status(Reason::INTERNAL, "the daemon's answer is malformed: " + parsed.message())
        .WithFate(DataFate::kAppended);
  }
  return FromProto(response.result());
}

Result<std::unique_ptr<Producer>> RemoteClient::OpenProducer(const std::string& channel,
                                                             const ProducerOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<ProduceStream> stream,
                          ProduceStream::Open(connection_, channel, options));
  const ChannelNumber number = stream->channel_number();
  auto producer = std::make_unique<BatchingProducer>(
      options, BatchLimits{connection_->server().max_payload}, number,
      std::make_unique<ProduceTransport>(std::move(stream)));
  open_.Add(producer->inner());
  return std::unique_ptr<Producer>(std::move(producer));
}

Result<std::unique_ptr<Reader>> RemoteClient::OpenReader(const std::string& channel,
                                                         const StartPosition& start,
                                                         const ReaderOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  STRATA_ASSIGN_OR_RETURN(
      std::shared_ptr<ConsumeStream> stream,
      ConsumeStream::Open(connection_, {channel, "", start, options.read_ahead, ""}));
  open_.Add(stream);
  const OpenedAt opened = stream->opened_at();
  return std::unique_ptr<Reader>(std::make_unique<BatchReader>(std::move(stream), opened));
}

Result<std::unique_ptr<Consumer>> RemoteClient::OpenConsumer(const std::string& channel,
                                                             const std::string& subscription,
                                                             const ConsumerOptions& options) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  // Without a name the daemon would open a reader.
  STRATA_RETURN_IF_ERROR(CheckSubscriptionName(subscription));
  STRATA_ASSIGN_OR_RETURN(
      std::shared_ptr<ConsumeStream> stream,
      ConsumeStream::Open(connection_, {channel, subscription, options.start, options.read_ahead,
                                        HolderOrDefault(options.holder)}));
  open_.Add(stream);
  const OpenedAt opened = stream->opened_at();
  return std::unique_ptr<Consumer>(std::make_unique<BatchReader>(std::move(stream), opened));
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
  STRATA_ASSIGN_OR_RETURN(const Buffer bytes, connection_->CallRaw(kFetch, ToByteBuffer(request),
                                                                   DataFate::kNotApplicable, wait));
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
  return Admin(&Stub::DescribeSubscription, request);
}

Result<std::vector<SubscriptionInfo>> RemoteClient::ListSubscriptions(const std::string& channel) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::ListSubscriptionsRequest request;
  request.set_channel(channel);
  STRATA_ASSIGN_OR_RETURN(const v1::ListSubscriptionsResponse response,
                          connection_->Call(&Stub::ListSubscriptions, request));
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
  return Admin(&Stub::SeekSubscription, request);
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
  return connection_->CallRaw(kAcknowledge, ToByteBuffer(request), DataFate::kNotApplicable)
      .status();
}

Result<ServerInfo> RemoteClient::GetServerInfo() {
  return Admin(&Stub::GetServerInfo, v1::GetServerInfoRequest());
}

Result<BrokerStatus> RemoteClient::GetStatus() {
  return Admin(&Stub::GetStatus, v1::GetStatusRequest());
}

Result<std::vector<ChannelSpaceInfo>> RemoteClient::DescribeSpace(const std::string& channel) {
  STRATA_RETURN_IF_ERROR(CheckOpen());
  v1::DescribeSpaceRequest request;
  request.set_channel(channel);
  STRATA_ASSIGN_OR_RETURN(const v1::DescribeSpaceResponse response,
                          connection_->Call(&Stub::DescribeSpace, request));
  std::vector<ChannelSpaceInfo> infos;
  for (const v1::ChannelSpace& info : response.channels()) infos.push_back(FromProto(info));
  return infos;
}

Result<CompactionInfo> RemoteClient::StartCompaction() {
  return Admin(&Stub::StartCompaction, v1::StartCompactionRequest());
}

Result<CompactionInfo> RemoteClient::DescribeCompaction() {
  return Admin(&Stub::DescribeCompaction, v1::DescribeCompactionRequest());
}

void RemoteClient::Close() {
  closed_.store(true, std::memory_order_relaxed);
  open_.EndAll();
}

}  // namespace strata
