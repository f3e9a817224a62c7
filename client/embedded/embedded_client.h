// EmbeddedClient: the Client over a broker in this process. Calls go straight to the broker on the
// calling thread.
//
// The broker is shared with other clients of the directory and with what was opened from this one;
// each lets go of it when it is closed or destroyed, and the last one closes the store.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "broker/broker.h"
#include "client/client.h"
#include "client/open_set.h"
#include "client/partial_gate.h"

namespace strata {

class EmbeddedClient final : public Client {
 public:
  explicit EmbeddedClient(std::shared_ptr<broker::Broker> broker) : broker_(std::move(broker)) {}
  ~EmbeddedClient() override { EmbeddedClient::Close(); }

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
  using BrokerPtr = std::shared_ptr<broker::Broker>;
  // CLIENT_CLOSED after Close(). The caller's share keeps the broker open during the call.
  Result<BrokerPtr> Open() const;
  // A call that appends nothing.
  template <typename Call>
  auto Ask(Call call) const -> decltype(call(std::declval<broker::Broker&>()));

  OpenSet open_;
  const std::shared_ptr<PartialGate> gate_ = std::make_shared<PartialGate>();
  mutable Mutex mu_;
  BrokerPtr broker_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata
