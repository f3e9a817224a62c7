// strata.v1.Admin on a broker: channels, subscriptions, state. Each call waits for its change to be
// durable, on the `admin` executor.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "server/call_context.h"
#include "strata/v1/admin.grpc.pb.h"

namespace strata::server {

class AdminService final : public v1::Admin::CallbackService {
 public:
  explicit AdminService(std::shared_ptr<CallContext> context) : context_(std::move(context)) {}

  using Call = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* GetServerInfo(Call*, const v1::GetServerInfoRequest*,
                         v1::GetServerInfoResponse*) override;
  Reactor* GetStatus(Call*, const v1::GetStatusRequest*, v1::GetStatusResponse*) override;

  Reactor* CreateChannel(Call*, const v1::CreateChannelRequest*, v1::ChannelInfo*) override;
  Reactor* OpenChannel(Call*, const v1::OpenChannelRequest*, v1::ChannelInfo*) override;
  Reactor* DescribeChannel(Call*, const v1::DescribeChannelRequest*, v1::ChannelInfo*) override;
  Reactor* ListChannels(Call*, const v1::ListChannelsRequest*, v1::ListChannelsResponse*) override;
  Reactor* TruncateChannel(Call*, const v1::TruncateChannelRequest*, v1::ChannelInfo*) override;
  Reactor* AlterChannel(Call*, const v1::AlterChannelRequest*, v1::ChannelInfo*) override;
  Reactor* DeleteChannel(Call*, const v1::DeleteChannelRequest*,
                         v1::DeleteChannelResponse*) override;

  Reactor* CreateSubscription(Call*, const v1::CreateSubscriptionRequest*,
                              v1::SubscriptionInfo*) override;
  Reactor* DescribeSubscription(Call*, const v1::DescribeSubscriptionRequest*,
                                v1::SubscriptionInfo*) override;
  Reactor* ListSubscriptions(Call*, const v1::ListSubscriptionsRequest*,
                             v1::ListSubscriptionsResponse*) override;
  Reactor* SeekSubscription(Call*, const v1::SeekSubscriptionRequest*,
                            v1::SubscriptionInfo*) override;
  Reactor* DeleteSubscription(Call*, const v1::DeleteSubscriptionRequest*,
                              v1::DeleteSubscriptionResponse*) override;

  Reactor* ListProducers(Call*, const v1::ListProducersRequest*,
                         v1::ListProducersResponse*) override;

  Reactor* DescribeSpace(Call*, const v1::DescribeSpaceRequest*,
                         v1::DescribeSpaceResponse*) override;
  Reactor* StartCompaction(Call*, const v1::StartCompactionRequest*, v1::CompactionInfo*) override;
  Reactor* DescribeCompaction(Call*, const v1::DescribeCompactionRequest*,
                              v1::CompactionInfo*) override;

 private:
  // Answers the call with what `work` returns, on the executor.
  Reactor* Run(Call* call, std::function<Status(broker::Broker&)> work);

  const std::shared_ptr<CallContext> context_;
};

}  // namespace strata::server
