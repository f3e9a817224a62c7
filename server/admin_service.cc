#include "server/admin_service.h"

#include "broker/open.h"
#include "proto/convert.h"
#include "proto/status_mapping.h"

namespace strata::server {
namespace {

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

ServerInfo DescribeServer(const CallContext& context) {
  const broker::BrokerOptions& options = context.broker->options();
  ServerInfo info;
  info.version = STRATA_VERSION;
  info.store_id = context.broker->store_id();
  info.sync = SyncName(options.sync);
  info.started_at = context.started_at;
  info.max_payload = options.limits.max_payload;
  info.max_batch = options.limits.max_batch();
  info.max_batch_messages = kMaxBatchMessages;
  info.max_pending = context.config.server.max_pending;
  info.max_pending_total = options.max_pending_total;
  return info;
}

// Fills the reply from a Result, or hands its status on.
template <typename T, typename Proto>
Status Reply(const Result<T>& result, Proto* out) {
  if (result.ok()) ToProto(*result, out);
  return result.status();
}

}  // namespace

AdminService::Reactor* AdminService::Run(Call* call, std::function<Status(broker::Broker&)> work) {
  Reactor* reactor = call->DefaultReactor();
  const bool accepted =
      context_->admin.Submit([context = context_, reactor, work = std::move(work)] {
        const Status status = work(*context->broker);
        if (!status.ok()) context->health->NoteError(status);
        reactor->Finish(ToGrpc(status));
      });
  if (!accepted) reactor->Finish(ToGrpc(Draining()));
  return reactor;
}

AdminService::Reactor* AdminService::GetServerInfo(Call* call, const v1::GetServerInfoRequest*,
                                                   v1::GetServerInfoResponse* out) {
  ToProto(DescribeServer(*context_), out);
  Reactor* reactor = call->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

AdminService::Reactor* AdminService::GetStatus(Call* call, const v1::GetStatusRequest*,
                                               v1::GetStatusResponse* out) {
  return Run(call, [out, health = context_->health](broker::Broker& broker) {
    BrokerStatus status = broker::DescribeStatus(broker);
    if (health->state() == Health::State::kDraining) {
      status.accepts_appends = false;
      if (status.state != "failed") status.state = "draining";
    }
    ToProto(status, out);
    return Status();
  });
}

AdminService::Reactor* AdminService::CreateChannel(Call* call,
                                                   const v1::CreateChannelRequest* request,
                                                   v1::ChannelInfo* out) {
  return Run(call, [=](broker::Broker& broker) -> Status {
    STRATA_ASSIGN_OR_RETURN(const ChannelOptions options, FromProto(request->options()));
    return Reply(broker.CreateChannel(request->name(), options), out);
  });
}

AdminService::Reactor* AdminService::OpenChannel(Call* call, const v1::OpenChannelRequest* request,
                                                 v1::ChannelInfo* out) {
  return Run(call, [=](broker::Broker& broker) {
    return Reply(broker.OpenChannel(request->name(), request->create_if_missing()), out);
  });
}

AdminService::Reactor* AdminService::DescribeChannel(Call* call,
                                                     const v1::DescribeChannelRequest* request,
                                                     v1::ChannelInfo* out) {
  return Run(call, [=](broker::Broker& broker) {
    return Reply(broker.DescribeChannel(request->name()), out);
  });
}

AdminService::Reactor* AdminService::ListChannels(Call* call,
                                                  const v1::ListChannelsRequest* request,
                                                  v1::ListChannelsResponse* out) {
  return Run(call, [=](broker::Broker& broker) {
    STRATA_ASSIGN_OR_RETURN(const std::vector<ChannelInfo> channels, broker.ListChannels());
    for (const ChannelInfo& info : channels) {
      if (info.name.starts_with(request->prefix())) ToProto(info, out->add_channels());
    }
    return Status();
  });
}

AdminService::Reactor* AdminService::TruncateChannel(Call* call,
                                                     const v1::TruncateChannelRequest* request,
                                                     v1::ChannelInfo* out) {
  return Run(call, [=](broker::Broker& broker) {
    return Reply(broker.TruncateChannel(request->name(), request->through_id()), out);
  });
}

AdminService::Reactor* AdminService::AlterChannel(Call* call,
                                                  const v1::AlterChannelRequest* request,
                                                  v1::ChannelInfo* out) {
  return Run(call, [=](broker::Broker& broker) -> Status {
    STRATA_ASSIGN_OR_RETURN(const RetentionOverrides retention, FromProto(request->retention()));
    return Reply(broker.AlterChannel(request->name(), retention), out);
  });
}

AdminService::Reactor* AdminService::DeleteChannel(Call* call,
                                                   const v1::DeleteChannelRequest* request,
                                                   v1::DeleteChannelResponse*) {
  return Run(call, [=](broker::Broker& broker) { return broker.DeleteChannel(request->name()); });
}

AdminService::Reactor* AdminService::CreateSubscription(
    Call* call, const v1::CreateSubscriptionRequest* request, v1::SubscriptionInfo* out) {
  return Run(call, [=](broker::Broker& broker) -> Status {
    STRATA_ASSIGN_OR_RETURN(const StartPosition start, FromProto(request->start()));
    return Reply(broker.CreateSubscription(request->channel(), request->subscription(), start),
                 out);
  });
}

AdminService::Reactor* AdminService::DescribeSubscription(
    Call* call, const v1::DescribeSubscriptionRequest* request, v1::SubscriptionInfo* out) {
  return Run(call, [=](broker::Broker& broker) {
    return Reply(broker.DescribeSubscription(request->channel(), request->subscription()), out);
  });
}

AdminService::Reactor* AdminService::ListSubscriptions(Call* call,
                                                       const v1::ListSubscriptionsRequest* request,
                                                       v1::ListSubscriptionsResponse* out) {
  return Run(call, [=](broker::Broker& broker) -> Status {
    STRATA_ASSIGN_OR_RETURN(const auto subscriptions, broker.ListSubscriptions(request->channel()));
    for (const SubscriptionInfo& info : subscriptions) ToProto(info, out->add_subscriptions());
    return Status();
  });
}

AdminService::Reactor* AdminService::SeekSubscription(Call* call,
                                                      const v1::SeekSubscriptionRequest* request,
                                                      v1::SubscriptionInfo* out) {
  return Run(call, [=](broker::Broker& broker) -> Status {
    STRATA_ASSIGN_OR_RETURN(const StartPosition to, FromProto(request->to()));
    return Reply(broker.SeekSubscription(request->channel(), request->subscription(), to), out);
  });
}

AdminService::Reactor* AdminService::DeleteSubscription(
    Call* call, const v1::DeleteSubscriptionRequest* request, v1::DeleteSubscriptionResponse*) {
  return Run(call, [=](broker::Broker& broker) {
    return broker.DeleteSubscription(request->channel(), request->subscription());
  });
}

AdminService::Reactor* AdminService::ListProducers(Call* call,
                                                   const v1::ListProducersRequest* request,
                                                   v1::ListProducersResponse* out) {
  return Run(call, [=](broker::Broker& broker) -> Status {
    STRATA_ASSIGN_OR_RETURN(const auto producers, broker.ListProducers(request->channel()));
    for (const ProducerInfo& info : producers) ToProto(info, out->add_producers());
    return Status();
  });
}

AdminService::Reactor* AdminService::DescribeSpace(Call* call,
                                                   const v1::DescribeSpaceRequest* request,
                                                   v1::DescribeSpaceResponse* out) {
  return Run(call, [=](broker::Broker& broker) -> Status {
    STRATA_ASSIGN_OR_RETURN(const auto channels, broker.DescribeSpace(request->channel()));
    for (const ChannelSpaceInfo& info : channels) ToProto(info, out->add_channels());
    return Status();
  });
}

AdminService::Reactor* AdminService::StartCompaction(Call* call, const v1::StartCompactionRequest*,
                                                     v1::CompactionInfo* out) {
  return Run(call, [=](broker::Broker& broker) {
    ToProto(broker.StartCompaction(), out);
    return Status();
  });
}

AdminService::Reactor* AdminService::DescribeCompaction(Call* call,
                                                        const v1::DescribeCompactionRequest*,
                                                        v1::CompactionInfo* out) {
  return Run(call, [=](broker::Broker& broker) {
    ToProto(broker.DescribeCompaction(), out);
    return Status();
  });
}

}  // namespace strata::server
