#include "proto/convert.h"

#include <chrono>
#include <string>

#include <google/protobuf/timestamp.pb.h>

#include "base/utf8.h"

namespace strata {
namespace {

constexpr int64_t kMicros = 1'000'000;
// What a Timestamp may hold: 0001-01-01 to 9999-12-31, in seconds since 1970.
constexpr int64_t kMinSeconds = -62'135'596'800;
constexpr int64_t kMaxSeconds = 253'402'300'799;

void SetTimestamp(TimeMicros time, google::protobuf::Timestamp* out) {
  int64_t seconds = time / kMicros;
  int64_t micros = time % kMicros;
  if (micros < 0) {
    micros += kMicros;
    --seconds;
  }
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(micros * 1000));
}

TimeMicros Micros(const google::protobuf::Timestamp& time) {
  return time.seconds() * kMicros + time.nanos() / 1000;
}

// All but the policy, which is checked where it comes from a client.
RetentionOverrides LimitsOf(const v1::RetentionOverrides& retention) {
  RetentionOverrides out;
  if (retention.has_retention_time_micros()) out.retention_time = retention.retention_time_micros();
  if (retention.has_retention_size_bytes()) out.retention_size = retention.retention_size_bytes();
  if (retention.has_max_messages()) out.max_messages = retention.max_messages();
  return out;
}

bool IsKnown(v1::RetentionPolicy policy) {
  return policy >= v1::RETENTION_POLICY_ACKED && policy <= v1::RETENTION_POLICY_TRUNCATED;
}

// Fields of the status that are about limits, retention and compression.
void SpaceToProto(const BrokerStatus& status, v1::GetStatusResponse* out) {
  out->set_space_state(status.space_state);
  out->set_write_buffer_limit(status.write_buffer_limit);
  out->set_tail_cache_limit(status.tail_cache_limit);
  out->set_block_cache_limit(status.block_cache_limit);
  out->set_pending_limit(status.pending_limit);
  out->set_disk_budget_bytes(status.disk_budget_bytes);
  out->set_soft_mark_bytes(status.soft_mark_bytes);
  out->set_hard_mark_bytes(status.hard_mark_bytes);
  out->set_ballast_bytes(status.ballast_bytes);
  out->set_sweeps(status.sweeps);
  out->set_trimmed_pages(status.trimmed_pages);
  out->set_trimmed_bytes(status.trimmed_bytes);
  out->set_dropped_strata(status.dropped_strata);
  out->set_rewritten_strata(status.rewritten_strata);
  out->set_rewrite_read_bytes(status.rewrite_read_bytes);
  out->set_rewrite_written_bytes(status.rewrite_written_bytes);
  out->set_compressed_strata(status.compressed_strata);
  out->set_compressed_raw_bytes(status.compressed_raw_bytes);
  out->set_compressed_file_bytes(status.compressed_file_bytes);
  for (const QuarantinedStratum& each : status.quarantined) {
    v1::QuarantinedStratum* stratum = out->add_quarantined();
    stratum->set_number(each.number);
    stratum->set_live_bytes(each.live_bytes);
    stratum->set_why(ToValidUtf8(each.why));
  }
}

void SpaceFromProto(const v1::GetStatusResponse& status, BrokerStatus* result) {
  BrokerStatus& out = *result;
  out.space_state = status.space_state();
  out.write_buffer_limit = status.write_buffer_limit();
  out.tail_cache_limit = status.tail_cache_limit();
  out.block_cache_limit = status.block_cache_limit();
  out.pending_limit = status.pending_limit();
  out.disk_budget_bytes = status.disk_budget_bytes();
  out.soft_mark_bytes = status.soft_mark_bytes();
  out.hard_mark_bytes = status.hard_mark_bytes();
  out.ballast_bytes = status.ballast_bytes();
  out.sweeps = status.sweeps();
  out.trimmed_pages = status.trimmed_pages();
  out.trimmed_bytes = status.trimmed_bytes();
  out.dropped_strata = status.dropped_strata();
  out.rewritten_strata = status.rewritten_strata();
  out.rewrite_read_bytes = status.rewrite_read_bytes();
  out.rewrite_written_bytes = status.rewrite_written_bytes();
  out.compressed_strata = status.compressed_strata();
  out.compressed_raw_bytes = status.compressed_raw_bytes();
  out.compressed_file_bytes = status.compressed_file_bytes();
  for (const v1::QuarantinedStratum& each : status.quarantined()) {
    out.quarantined.push_back({each.number(), each.live_bytes(), each.why()});
  }
}

}  // namespace

void ToProto(const RetentionOverrides& retention, v1::RetentionOverrides* out) {
  if (retention.policy) out->set_policy(static_cast<v1::RetentionPolicy>(*retention.policy));
  if (retention.retention_time) out->set_retention_time_micros(*retention.retention_time);
  if (retention.retention_size) out->set_retention_size_bytes(*retention.retention_size);
  if (retention.max_messages) out->set_max_messages(*retention.max_messages);
}

Result<RetentionOverrides> FromProto(const v1::RetentionOverrides& retention) {
  RetentionOverrides out = LimitsOf(retention);
  if (!retention.has_policy()) return out;
  if (!IsKnown(retention.policy())) {
    return Status(Reason::INVALID_ARGUMENT,
                  "retention.policy is " + std::to_string(retention.policy()) +
                      "; it takes ACKED (1), LIMITS (2) or TRUNCATED (3)");
  }
  out.policy = static_cast<RetentionPolicy>(retention.policy());
  return out;
}

void ToProto(const ChannelOptions& options, v1::ChannelOptions* out) {
  out->set_first_id(options.first_id);
  if (options.retention != RetentionOverrides()) {
    ToProto(options.retention, out->mutable_retention());
  }
}

Result<ChannelOptions> FromProto(const v1::ChannelOptions& options) {
  ChannelOptions out;
  if (options.first_id() < 0) {
    return Status(Reason::INVALID_ARGUMENT, "options.first_id is " +
                                                std::to_string(options.first_id()) +
                                                "; the first id of a channel is at least 1");
  }
  if (options.first_id() > 0) out.first_id = options.first_id();
  STRATA_ASSIGN_OR_RETURN(out.retention, FromProto(options.retention()));
  return out;
}

void ToProto(const ChannelInfo& info, v1::ChannelInfo* out) {
  out->set_name(info.name);
  out->set_number(info.number);
  ToProto(info.options, out->mutable_options());
  SetTimestamp(info.created_at, out->mutable_created_at());
  out->set_first_available_id(info.first_available);
  out->set_next_id(info.next_id);
  out->set_last_append_time_micros(info.last_append_time);
  out->set_truncated_through(info.truncated_through);
  out->set_pages(info.pages);
  out->set_bytes(info.bytes);
  out->set_exclusive_term(info.exclusive_term);
  out->set_exclusive_holder(info.exclusive_holder);
}

ChannelInfo FromProto(const v1::ChannelInfo& info) {
  ChannelInfo out;
  out.name = info.name();
  out.number = info.number();
  out.options.first_id = info.options().first_id();
  const v1::RetentionOverrides& retention = info.options().retention();
  out.options.retention = LimitsOf(retention);
  // One of a newer server is left out.
  if (IsKnown(retention.policy())) {
    out.options.retention.policy = static_cast<RetentionPolicy>(retention.policy());
  }
  out.created_at = Micros(info.created_at());
  out.first_available = info.first_available_id();
  out.next_id = info.next_id();
  out.last_append_time = info.last_append_time_micros();
  out.truncated_through = info.truncated_through();
  out.pages = info.pages();
  out.bytes = info.bytes();
  out.exclusive_term = info.exclusive_term();
  out.exclusive_holder = info.exclusive_holder();
  return out;
}

void ToProto(const SubscriptionInfo& info, v1::SubscriptionInfo* out) {
  out->set_channel(info.channel);
  out->set_name(info.name);
  out->set_cursor(info.cursor);
  out->set_backlog(info.backlog);
  out->set_holder(info.holder);
  out->set_standby(info.standby);
  SetTimestamp(info.created_at, out->mutable_created_at());
  SetTimestamp(info.active_at, out->mutable_active_at());
}

SubscriptionInfo FromProto(const v1::SubscriptionInfo& info) {
  SubscriptionInfo out;
  out.channel = info.channel();
  out.name = info.name();
  out.cursor = info.cursor();
  out.backlog = info.backlog();
  out.holder = info.holder();
  out.standby = info.standby();
  out.created_at = Micros(info.created_at());
  out.active_at = Micros(info.active_at());
  return out;
}

void ToProto(const ProducerInfo& info, v1::ProducerInfo* out) {
  out->set_channel(info.channel);
  out->set_name(info.name);
  out->set_term(info.term);
  out->set_last_sequence(info.last_sequence);
  SetTimestamp(info.created_at, out->mutable_created_at());
  SetTimestamp(info.active_at, out->mutable_active_at());
  out->set_open(info.open);
}

ProducerInfo FromProto(const v1::ProducerInfo& info) {
  ProducerInfo out;
  out.channel = info.channel();
  out.name = info.name();
  out.term = info.term();
  out.last_sequence = info.last_sequence();
  out.created_at = Micros(info.created_at());
  out.active_at = Micros(info.active_at());
  out.open = info.open();
  return out;
}

void ToProto(const StartPosition& position, v1::StartPosition* out) {
  switch (position.kind) {
    case StartPosition::Kind::kEarliest:
      out->mutable_earliest();
      return;
    case StartPosition::Kind::kLatest:
      out->mutable_latest();
      return;
    case StartPosition::Kind::kAtId:
      out->set_id(position.id);
      return;
    case StartPosition::Kind::kAfterId:
      out->set_after_id(position.id);
      return;
    case StartPosition::Kind::kAtTime:
      SetTimestamp(position.time, out->mutable_time());
      return;
  }
}

Result<StartPosition> FromProto(const v1::StartPosition& position) {
  switch (position.position_case()) {
    case v1::StartPosition::kLatest:
      return StartPosition::Latest();
    case v1::StartPosition::kId:
      return StartPosition::At(position.id());
    case v1::StartPosition::kAfterId:
      return StartPosition::After(position.after_id());
    case v1::StartPosition::kTime: {
      const auto& time = position.time();
      if (time.seconds() < kMinSeconds || time.seconds() > kMaxSeconds || time.nanos() < 0 ||
          time.nanos() >= 1'000'000'000) {
        return Status(Reason::INVALID_ARGUMENT,
                      "the start position's time is not a valid Timestamp (" +
                          std::to_string(time.seconds()) + " seconds, " +
                          std::to_string(time.nanos()) + " nanos)");
      }
      // "At or after": a time between two microseconds begins at the next one.
      return StartPosition::AtTime(Micros(time) + (time.nanos() % 1000 > 0 ? 1 : 0));
    }
    case v1::StartPosition::kEarliest:
    case v1::StartPosition::POSITION_NOT_SET:
      return StartPosition::Earliest();
  }
  return StartPosition::Earliest();
}

void ToProto(const AppendResult& result, v1::AppendResult* out) {
  out->set_first_id(result.first_id);
  out->set_count(result.count);
  out->set_append_time_micros(result.append_time);
}

AppendResult FromProto(const v1::AppendResult& result) {
  return {result.first_id(), result.count(), result.append_time_micros()};
}

void ToProto(const Gap& gap, v1::Gap* out) {
  out->set_first_id(gap.first);
  out->set_last_id(gap.last);
  out->set_reason(static_cast<v1::GapReason>(gap.reason));
}

Gap FromProto(const v1::Gap& gap) {
  return {gap.first_id(), gap.last_id(), static_cast<GapReason>(gap.reason())};
}

void ToProto(const ServerInfo& info, v1::GetServerInfoResponse* out) {
  out->set_version(info.version);
  out->set_store_id(info.store_id);
  out->set_sync(info.sync);
  SetTimestamp(info.started_at, out->mutable_started_at());
  auto* limits = out->mutable_limits();
  limits->set_max_payload(info.max_payload);
  limits->set_max_batch(info.max_batch);
  limits->set_max_batch_messages(info.max_batch_messages);
  limits->set_max_pending(info.max_pending);
  limits->set_max_pending_total(info.max_pending_total);
}

ServerInfo FromProto(const v1::GetServerInfoResponse& info) {
  ServerInfo out;
  out.version = info.version();
  out.store_id = info.store_id();
  out.sync = info.sync();
  out.started_at = Micros(info.started_at());
  out.max_payload = info.limits().max_payload();
  out.max_batch = info.limits().max_batch();
  out.max_batch_messages = info.limits().max_batch_messages();
  out.max_pending = info.limits().max_pending();
  out.max_pending_total = info.limits().max_pending_total();
  return out;
}

void ToProto(const ChannelSpaceInfo& info, v1::ChannelSpace* out) {
  out->set_channel(info.channel);
  out->set_pages(info.pages);
  out->set_bytes(info.bytes);
  out->set_messages(info.messages);
  out->set_oldest_first_id(info.oldest_first_id);
  out->set_oldest_last_id(info.oldest_last_id);
  out->set_oldest_bytes(info.oldest_bytes);
  out->set_oldest_time_micros(info.oldest_time);
  out->set_held_by(static_cast<v1::HeldBy>(info.held_by));
  out->set_subscription(info.subscription);
  out->set_until_micros(info.until);
  out->set_policy(static_cast<v1::RetentionPolicy>(info.policy));
  out->set_retention_time_micros(info.retention_time);
  out->set_retention_size_bytes(info.retention_size);
  out->set_max_messages(info.max_messages);
}

ChannelSpaceInfo FromProto(const v1::ChannelSpace& info) {
  ChannelSpaceInfo out;
  out.channel = info.channel();
  out.pages = info.pages();
  out.bytes = info.bytes();
  out.messages = info.messages();
  out.oldest_first_id = info.oldest_first_id();
  out.oldest_last_id = info.oldest_last_id();
  out.oldest_bytes = info.oldest_bytes();
  out.oldest_time = info.oldest_time_micros();
  out.held_by = static_cast<HeldBy>(info.held_by());
  out.subscription = info.subscription();
  out.until = info.until_micros();
  out.policy = static_cast<RetentionPolicy>(info.policy());
  out.retention_time = info.retention_time_micros();
  out.retention_size = info.retention_size_bytes();
  out.max_messages = info.max_messages();
  return out;
}

void ToProto(const CompactionInfo& info, v1::CompactionInfo* out) {
  out->set_running(info.running);
  out->set_started_at_micros(info.started_at);
  out->set_finished_at_micros(info.finished_at);
  out->set_strata_total(info.strata_total);
  out->set_strata_done(info.strata_done);
  out->set_bytes_before(info.bytes_before);
  out->set_bytes_after(info.bytes_after);
  out->set_error(ToValidUtf8(info.error));
}

CompactionInfo FromProto(const v1::CompactionInfo& info) {
  CompactionInfo out;
  out.running = info.running();
  out.started_at = info.started_at_micros();
  out.finished_at = info.finished_at_micros();
  out.strata_total = info.strata_total();
  out.strata_done = info.strata_done();
  out.bytes_before = info.bytes_before();
  out.bytes_after = info.bytes_after();
  out.error = info.error();
  return out;
}

void ToProto(const BrokerStatus& status, v1::GetStatusResponse* out) {
  out->set_accepts_appends(status.accepts_appends);
  out->set_state(status.state);
  out->set_failure(status.failure);
  out->set_uptime_micros(static_cast<uint64_t>(status.uptime.count()));
  out->set_channels(status.channels);
  out->set_subscriptions(status.subscriptions);
  out->set_readers(status.readers);
  out->set_messages_appended(status.messages_appended);
  out->set_bytes_appended(status.bytes_appended);
  out->set_batches_appended(status.batches_appended);
  out->set_groups(status.groups);
  out->set_syncs(status.syncs);
  out->set_cache_hits(status.cache_hits);
  out->set_storage_reads(status.storage_reads);
  out->set_pending_bytes(status.pending_bytes);
  out->set_tail_cache_bytes(status.tail_cache_bytes);
  out->set_memtable_bytes(status.memtable_bytes);
  out->set_block_cache_bytes(status.block_cache_bytes);
  out->set_resident_bytes(status.resident_bytes);
  out->set_strata(status.strata);
  out->set_pages(status.pages);
  out->set_live_bytes(status.live_bytes);
  out->set_disk_bytes(status.disk_bytes);
  out->set_disk_free_bytes(status.disk_free_bytes);
  SpaceToProto(status, out);
}

BrokerStatus FromProto(const v1::GetStatusResponse& status) {
  BrokerStatus out;
  out.accepts_appends = status.accepts_appends();
  out.state = status.state();
  out.failure = status.failure();
  out.uptime = std::chrono::microseconds(status.uptime_micros());
  out.channels = status.channels();
  out.subscriptions = status.subscriptions();
  out.readers = status.readers();
  out.messages_appended = status.messages_appended();
  out.bytes_appended = status.bytes_appended();
  out.batches_appended = status.batches_appended();
  out.groups = status.groups();
  out.syncs = status.syncs();
  out.cache_hits = status.cache_hits();
  out.storage_reads = status.storage_reads();
  out.pending_bytes = status.pending_bytes();
  out.tail_cache_bytes = status.tail_cache_bytes();
  out.memtable_bytes = status.memtable_bytes();
  out.block_cache_bytes = status.block_cache_bytes();
  out.resident_bytes = status.resident_bytes();
  out.strata = status.strata();
  out.pages = status.pages();
  out.live_bytes = status.live_bytes();
  out.disk_bytes = status.disk_bytes();
  out.disk_free_bytes = status.disk_free_bytes();
  SpaceFromProto(status, &out);
  return out;
}

}  // namespace strata
