#include "proto/convert.h"

#include "tests/support/catch.h"

namespace strata {
namespace {

template <typename Proto, typename T, typename Back = T>
Back Through(const T& value) {
  Proto proto;
  ToProto(value, &proto);
  Proto received;
  REQUIRE(received.ParseFromString(proto.SerializeAsString()));
  return FromProto(received);
}

TEST_CASE("a channel comes through field by field") {
  ChannelInfo info;
  info.name = "logs";
  info.number = 17;
  info.options.first_id = 1000;
  info.options.retention = {.policy = RetentionPolicy::kLimits,
                            .retention_time = 1,
                            .retention_size = kNoLimit,
                            .max_messages = 0};
  info.created_at = 1'700'000'000'123'456;
  info.first_available = 1003;
  info.next_id = 2000;
  info.last_append_time = 1'700'000'001'000'001;
  info.truncated_through = 1002;
  info.pages = 3;
  info.bytes = 4'000'000'000;
  info.exclusive_term = 12;
  info.exclusive_holder = "writer";
  const ChannelInfo got = Through<v1::ChannelInfo>(info);
  CHECK(got.name == info.name);
  CHECK(got.number == info.number);
  CHECK(got.options == info.options);
  CHECK(got.created_at == info.created_at);
  CHECK(got.first_available == info.first_available);
  CHECK(got.next_id == info.next_id);
  CHECK(got.last_append_time == info.last_append_time);
  CHECK(got.truncated_through == info.truncated_through);
  CHECK(got.pages == info.pages);
  CHECK(got.bytes == info.bytes);
  CHECK(got.exclusive_term == 12);
  CHECK(got.exclusive_holder == "writer");
}

TEST_CASE("a producer comes through field by field") {
  ProducerInfo info;
  info.channel = "logs";
  info.name = "writer";
  info.term = -7;
  info.last_sequence = 1ull << 60;
  info.created_at = 1'700'000'000'000'001;
  info.active_at = 1'700'000'000'999'999;
  for (const bool open : {false, true}) {
    info.open = open;
    const ProducerInfo got = Through<v1::ProducerInfo>(info);
    CHECK(got.channel == info.channel);
    CHECK(got.name == info.name);
    CHECK(got.term == info.term);
    CHECK(got.last_sequence == info.last_sequence);
    CHECK(got.created_at == info.created_at);
    CHECK(got.active_at == info.active_at);
    CHECK(got.open == open);
  }
}

TEST_CASE("a subscription comes through field by field") {
  SubscriptionInfo info;
  info.channel = "logs";
  info.name = "s";
  info.cursor = 7;
  info.backlog = 99;
  info.holder = "host:1";
  info.standby = 2;
  info.created_at = 1'700'000'000'000'001;
  info.active_at = 1'700'000'000'999'999;
  const SubscriptionInfo got = Through<v1::SubscriptionInfo>(info);
  CHECK(got.channel == info.channel);
  CHECK(got.name == info.name);
  CHECK(got.cursor == info.cursor);
  CHECK(got.backlog == info.backlog);
  CHECK(got.holder == info.holder);
  CHECK(got.standby == 2);
  CHECK(got.created_at == info.created_at);
  CHECK(got.active_at == info.active_at);
}

TEST_CASE("append results, gaps and the server's description come through") {
  const AppendResult result = Through<v1::AppendResult>(AppendResult{5, 3, 1'700'000'000'000'000});
  CHECK(result.first_id == 5);
  CHECK(result.count == 3);
  CHECK(result.append_time == 1'700'000'000'000'000);
  for (const GapReason reason : {GapReason::kTrimmed, GapReason::kCorrupt, GapReason::kLost}) {
    CHECK(Through<v1::Gap>(Gap{1, 9, reason}) == Gap{1, 9, reason});
  }
  ServerInfo info{"1.2.3", "abc", "interval", 1'700'000'000'000'007, 1, 2, 3, 4, 5};
  const ServerInfo got = Through<v1::GetServerInfoResponse>(info);
  CHECK(got.version == "1.2.3");
  CHECK(got.store_id == "abc");
  CHECK(got.sync == "interval");
  CHECK(got.started_at == info.started_at);
  CHECK(got.max_payload == 1);
  CHECK(got.max_batch == 2);
  CHECK(got.max_batch_messages == 3);
  CHECK(got.max_pending == 4);
  CHECK(got.max_pending_total == 5);
}

TEST_CASE("a status comes through with every counter in its place") {
  BrokerStatus status;
  status.accepts_appends = true;
  status.state = "serving";
  status.failure = "none";
  status.space_state = "pressure";
  status.quarantined = {{7, 8, "why"}, {9, 10, "where \xff"}};
  status.uptime = std::chrono::microseconds(42);
  uint64_t* const counters[] = {&status.channels,
                                &status.subscriptions,
                                &status.readers,
                                &status.messages_appended,
                                &status.bytes_appended,
                                &status.batches_appended,
                                &status.groups,
                                &status.syncs,
                                &status.cache_hits,
                                &status.storage_reads,
                                &status.pending_bytes,
                                &status.tail_cache_bytes,
                                &status.memtable_bytes,
                                &status.block_cache_bytes,
                                &status.resident_bytes,
                                &status.strata,
                                &status.pages,
                                &status.live_bytes,
                                &status.disk_bytes,
                                &status.disk_free_bytes,
                                &status.write_buffer_limit,
                                &status.tail_cache_limit,
                                &status.block_cache_limit,
                                &status.pending_limit,
                                &status.disk_budget_bytes,
                                &status.soft_mark_bytes,
                                &status.hard_mark_bytes,
                                &status.ballast_bytes,
                                &status.sweeps,
                                &status.trimmed_pages,
                                &status.trimmed_bytes,
                                &status.dropped_strata,
                                &status.rewritten_strata,
                                &status.rewrite_read_bytes,
                                &status.rewrite_written_bytes,
                                &status.compressed_strata,
                                &status.compressed_raw_bytes,
                                &status.compressed_file_bytes};
  uint64_t next = 100;
  for (uint64_t* counter : counters) *counter = next++;
  const BrokerStatus got = Through<v1::GetStatusResponse>(status);
  CHECK(got.accepts_appends);
  CHECK(got.state == "serving");
  CHECK(got.failure == "none");
  CHECK(got.space_state == "pressure");
  REQUIRE(got.quarantined.size() == 2);
  CHECK(got.quarantined[0].number == 7);
  CHECK(got.quarantined[0].live_bytes == 8);
  CHECK(got.quarantined[0].why == "why");
  // Whatever bytes a message has, the answer can be read.
  CHECK(got.quarantined[1].why == "where ?");
  CHECK(got.uptime == status.uptime);
  const uint64_t read[] = {got.channels,
                           got.subscriptions,
                           got.readers,
                           got.messages_appended,
                           got.bytes_appended,
                           got.batches_appended,
                           got.groups,
                           got.syncs,
                           got.cache_hits,
                           got.storage_reads,
                           got.pending_bytes,
                           got.tail_cache_bytes,
                           got.memtable_bytes,
                           got.block_cache_bytes,
                           got.resident_bytes,
                           got.strata,
                           got.pages,
                           got.live_bytes,
                           got.disk_bytes,
                           got.disk_free_bytes,
                           got.write_buffer_limit,
                           got.tail_cache_limit,
                           got.block_cache_limit,
                           got.pending_limit,
                           got.disk_budget_bytes,
                           got.soft_mark_bytes,
                           got.hard_mark_bytes,
                           got.ballast_bytes,
                           got.sweeps,
                           got.trimmed_pages,
                           got.trimmed_bytes,
                           got.dropped_strata,
                           got.rewritten_strata,
                           got.rewrite_read_bytes,
                           got.rewrite_written_bytes,
                           got.compressed_strata,
                           got.compressed_raw_bytes,
                           got.compressed_file_bytes};
  uint64_t expected = 100;
  for (const uint64_t value : read) CHECK(value == expected++);
}

TEST_CASE("where a channel's space goes comes through field by field") {
  ChannelSpaceInfo info;
  info.channel = "logs";
  info.pages = 1;
  info.bytes = 2;
  info.messages = 3;
  info.oldest_first_id = 4;
  info.oldest_last_id = 5;
  info.oldest_bytes = 6;
  info.oldest_time = 1'700'000'000'000'007;
  info.subscription = "slow";
  info.until = 1'700'000'000'000'008;
  info.policy = RetentionPolicy::kTruncated;
  info.retention_time = 9;
  info.retention_size = 10;
  info.max_messages = kNoLimit;
  for (const HeldBy held_by :
       {HeldBy::kNothing, HeldBy::kRules, HeldBy::kNoRule, HeldBy::kSubscription, HeldBy::kPolicy,
        HeldBy::kGrace, HeldBy::kSweep}) {
    info.held_by = held_by;
    const ChannelSpaceInfo got = Through<v1::ChannelSpace>(info);
    CHECK(got.held_by == held_by);
    CHECK(got.channel == "logs");
    CHECK(got.pages == 1);
    CHECK(got.bytes == 2);
    CHECK(got.messages == 3);
    CHECK(got.oldest_first_id == 4);
    CHECK(got.oldest_last_id == 5);
    CHECK(got.oldest_bytes == 6);
    CHECK(got.oldest_time == info.oldest_time);
    CHECK(got.subscription == "slow");
    CHECK(got.until == info.until);
    CHECK(got.policy == RetentionPolicy::kTruncated);
    CHECK(got.retention_time == 9);
    CHECK(got.retention_size == 10);
    CHECK(got.max_messages == kNoLimit);
  }
}

TEST_CASE("a compaction comes through field by field") {
  CompactionInfo info{true, 1'700'000'000'000'001, 1'700'000'000'000'002, 3, 4, 5, 6, "full"};
  const CompactionInfo got = Through<v1::CompactionInfo>(info);
  CHECK(got.running);
  CHECK(got.started_at == info.started_at);
  CHECK(got.finished_at == info.finished_at);
  CHECK(got.strata_total == 3);
  CHECK(got.strata_done == 4);
  CHECK(got.bytes_before == 5);
  CHECK(got.bytes_after == 6);
  CHECK(got.error == "full");
}

RetentionOverrides ThroughOverrides(const RetentionOverrides& overrides) {
  const auto got =
      Through<v1::RetentionOverrides, RetentionOverrides, Result<RetentionOverrides>>(overrides);
  REQUIRE(got.ok());
  return *got;
}

TEST_CASE("retention rules come through set or not set, each for itself") {
  CHECK(ThroughOverrides({}) == RetentionOverrides());
  for (const RetentionPolicy policy :
       {RetentionPolicy::kAcked, RetentionPolicy::kLimits, RetentionPolicy::kTruncated}) {
    RetentionOverrides one;
    one.policy = policy;
    CHECK(ThroughOverrides(one) == one);
  }
  for (const int64_t limit : {kNoLimit, int64_t{0}, INT64_MAX}) {
    for (auto field : {&RetentionOverrides::retention_time, &RetentionOverrides::retention_size,
                       &RetentionOverrides::max_messages}) {
      RetentionOverrides one;
      one.*field = limit;
      CHECK(ThroughOverrides(one) == one);
    }
  }
}

TEST_CASE("a retention policy that is not known is refused from a client, ignored from a server") {
  for (const int number : {0, 4}) {
    v1::ChannelInfo info;
    v1::RetentionOverrides* retention = info.mutable_options()->mutable_retention();
    retention->set_policy(static_cast<v1::RetentionPolicy>(number));
    retention->set_max_messages(7);
    const auto refused = FromProto(info.options());
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.status().reason() == Reason::INVALID_ARGUMENT);
    CHECK(refused.status().message().find("retention.policy is " + std::to_string(number)) == 0);
    CHECK_FALSE(FromProto(info).options.retention.policy.has_value());
    CHECK(FromProto(info).options.retention.max_messages == 7);
  }
}

StartPosition ThroughPosition(const StartPosition& position) {
  v1::StartPosition proto;
  ToProto(position, &proto);
  const auto got = FromProto(proto);
  REQUIRE(got.ok());
  return *got;
}

TEST_CASE("every start position comes through, and none set means earliest") {
  using Kind = StartPosition::Kind;
  CHECK(ThroughPosition(StartPosition::Earliest()).kind == Kind::kEarliest);
  CHECK(ThroughPosition(StartPosition::Latest()).kind == Kind::kLatest);
  CHECK(ThroughPosition(StartPosition::At(-5)).id == -5);
  CHECK(ThroughPosition(StartPosition::At(0)).kind == Kind::kAtId);
  CHECK(ThroughPosition(StartPosition::After(12)).kind == Kind::kAfterId);
  CHECK(ThroughPosition(StartPosition::After(12)).id == 12);
  for (const TimeMicros time : {int64_t{0}, int64_t{-1}, int64_t{1'700'000'000'123'456}}) {
    const StartPosition got = ThroughPosition(StartPosition::AtTime(time));
    CHECK(got.kind == Kind::kAtTime);
    CHECK(got.time == time);
  }
  CHECK(FromProto(v1::StartPosition())->kind == Kind::kEarliest);
}

TEST_CASE("a time between two microseconds starts at the next one") {
  v1::StartPosition position;
  position.mutable_time()->set_seconds(1);
  position.mutable_time()->set_nanos(1001);
  CHECK(FromProto(position)->time == 1'000'002);
  position.mutable_time()->set_nanos(1000);
  CHECK(FromProto(position)->time == 1'000'001);
}

TEST_CASE("a time that no Timestamp may have is refused") {
  const struct {
    int64_t seconds;
    int32_t nanos;
  } rows[] = {{0, -1}, {0, 1'000'000'000}, {INT64_MAX, 0}, {INT64_MIN, 0}, {253'402'300'800, 0}};
  for (const auto& row : rows) {
    v1::StartPosition position;
    position.mutable_time()->set_seconds(row.seconds);
    position.mutable_time()->set_nanos(row.nanos);
    const auto got = FromProto(position);
    REQUIRE_FALSE(got.ok());
    CHECK(got.status().reason() == Reason::INVALID_ARGUMENT);
  }
}

TEST_CASE("channel options: 0 is the default first id, below is refused") {
  v1::ChannelOptions options;
  CHECK(FromProto(options)->first_id == kFirstMessageId);
  options.set_first_id(500);
  CHECK(FromProto(options)->first_id == 500);
  options.set_first_id(-1);
  CHECK(FromProto(options).status().reason() == Reason::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace strata
