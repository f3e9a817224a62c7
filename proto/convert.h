// The values of base/api.h as messages of strata.v1 and back, for server and client.
//
// ToProto fills an empty message. FromProto of what a server sends cannot fail: a field that a
// peer left out is the type's zero. FromProto of what a client sends is checked, and refuses with
// INVALID_ARGUMENT.
#pragma once

#include "base/api.h"
#include "base/status.h"
#include "base/types.h"
#include "strata/v1/admin.pb.h"
#include "strata/v1/log.pb.h"
#include "strata/v1/types.pb.h"

namespace strata {

void ToProto(const RetentionOverrides& retention, v1::RetentionOverrides* out);
// INVALID_ARGUMENT for a policy that this version does not know. Limits are the broker's to check.
Result<RetentionOverrides> FromProto(const v1::RetentionOverrides& retention);

void ToProto(const ChannelOptions& options, v1::ChannelOptions* out);
// first_id 0 is the default; below, or retention as above: INVALID_ARGUMENT.
Result<ChannelOptions> FromProto(const v1::ChannelOptions& options);

void ToProto(const ChannelInfo& info, v1::ChannelInfo* out);
ChannelInfo FromProto(const v1::ChannelInfo& info);

void ToProto(const SubscriptionInfo& info, v1::SubscriptionInfo* out);
SubscriptionInfo FromProto(const v1::SubscriptionInfo& info);

void ToProto(const ProducerInfo& info, v1::ProducerInfo* out);
ProducerInfo FromProto(const v1::ProducerInfo& info);

void ToProto(const StartPosition& position, v1::StartPosition* out);
// No field set means EARLIEST. INVALID_ARGUMENT for a time that no Timestamp may have.
Result<StartPosition> FromProto(const v1::StartPosition& position);

void ToProto(const AppendResult& result, v1::AppendResult* out);
AppendResult FromProto(const v1::AppendResult& result);

void ToProto(const Gap& gap, v1::Gap* out);
Gap FromProto(const v1::Gap& gap);

void ToProto(const ServerInfo& info, v1::GetServerInfoResponse* out);
ServerInfo FromProto(const v1::GetServerInfoResponse& info);

void ToProto(const ChannelSpaceInfo& info, v1::ChannelSpace* out);
ChannelSpaceInfo FromProto(const v1::ChannelSpace& info);

void ToProto(const CompactionInfo& info, v1::CompactionInfo* out);
CompactionInfo FromProto(const v1::CompactionInfo& info);

void ToProto(const BrokerStatus& status, v1::GetStatusResponse* out);
BrokerStatus FromProto(const v1::GetStatusResponse& status);

}  // namespace strata
