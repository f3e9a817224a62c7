// RemoteClient: the Client over gRPC. Every call is a request, an answer and the mapping between
// the values of base/api.h and the messages of strata.v1; appending and reading in bulk are in
// produce_stream.h and consume_stream.h.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/grpc/connection.h"
#include "client/open_set.h"
#include "client/partial_gate.h"
#include "proto/convert.h"

namespace strata {

class RemoteClient final : public Client {
 public:
  explicit RemoteClient(std::shared_ptr<Connection> connection)
      : connection_(std::move(connection)) {}
  ~RemoteClient() override { RemoteClient::Close(); }

  Result<ChannelInfo> CreateChannel(const std::string& name,
                                    const ChannelOptions& options) override;
  Result<ChannelInfo> OpenChannel(const std::string& name, bool create_if_missing) override;
  Result<ChannelInfo> DescribeChannel(const std::string& name) override;
  Result<std::vector<ChannelInfo>> ListChannels(const std::string& prefix) override;
  Result<ChannelInfo> TruncateChannel(const std::string& name, MessageId through) override;
  Result<ChannelInfo> AlterChannel(const std::string& name,
                                   const RetentionOverrides& retention) override;
  Status DeleteChannel(const std::string& name) override;

  Result<AppendResult> Append(const std::string& channel, const std::vector<Message>& messages,
                              const AppendOptions& options) override;
  Result<AppendResult> Append(const std::string& channel, const Buffer& batch,
                              const AppendOptions& options) override;
  Result<std::vector<AppendResult>> AppendMulti(const std::vector<ChannelAppend>& appends) override;
  Result<std::unique_ptr<Producer>> OpenProducer(const std::string& channel,
                                                 const ProducerOptions& options) override;

  Result<std::unique_ptr<Reader>> OpenReader(const std::string& channel, const StartPosition& start,
                                             const ReaderOptions& options) override;
  Result<std::unique_ptr<Consumer>> OpenConsumer(const std::string& channel,
                                                 const std::string& subscription,
                                                 const ConsumerOptions& options) override;
  Result<FetchResult> Fetch(const std::string& channel, const StartPosition& start,
                            const FetchOptions& options) override;

  Result<SubscriptionInfo> CreateSubscription(const std::string& channel,
                                              const std::string& subscription,
                                              const StartPosition& start) override;
  Result<SubscriptionInfo> DescribeSubscription(const std::string& channel,
                                                const std::string& subscription) override;
  Result<std::vector<SubscriptionInfo>> ListSubscriptions(const std::string& channel) override;
  Result<SubscriptionInfo> SeekSubscription(const std::string& channel,
                                            const std::string& subscription,
                                            const StartPosition& to) override;
  Status DeleteSubscription(const std::string& channel, const std::string& subscription) override;
  Status Acknowledge(const std::string& channel, const std::string& subscription,
                     MessageId through) override;

  Result<std::vector<ProducerInfo>> ListProducers(const std::string& channel) override;
  Result<ServerInfo> GetServerInfo() override;
  Result<BrokerStatus> GetStatus() override;
  Result<std::vector<ChannelSpaceInfo>> DescribeSpace(const std::string& channel) override;
  Result<CompactionInfo> StartCompaction() override;
  Result<CompactionInfo> DescribeCompaction() override;
  void Close() override;

 private:
  // CLIENT_CLOSED after Close().
  Status CheckOpen() const;
  // An administrative call whose answer is a value of base/api.h.
  template <typename Request, typename Response>
  auto Admin(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*, const Request&,
                                                     Response*),
             const Request& request)
      -> Result<decltype(FromProto(std::declval<const Response&>()))>;

  // The same for calls that may be made twice: again while the connection is broken.
  template <typename Request, typename Response>
  auto AdminAgain(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*, const Request&,
                                                          Response*),
                  const Request& request)
      -> Result<decltype(FromProto(std::declval<const Response&>()))>;

  const std::shared_ptr<Connection> connection_;
  OpenSet open_;
  const std::shared_ptr<PartialGate> gate_ = std::make_shared<PartialGate>();
  std::atomic<bool> closed_{false};
};

}  // namespace strata
