// Retention as a client sees it: a channel's own rules, what keeps its pages, compaction by hand.
#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/contract/place.h"

namespace strata::testing {
namespace {

constexpr int64_t kDay = 86'400'000'000;

const RetentionOverrides kRules{.policy = RetentionPolicy::kLimits,
                                .retention_time = 3 * kDay,
                                .retention_size = 1 << 30,
                                .max_messages = kNoLimit};

// Rules by which every page goes once its newest message is acknowledged.
RetentionOverrides NothingIsKept() {
  RetentionOverrides rules;
  rules.policy = RetentionPolicy::kAcked;
  rules.retention_time = 0;
  return rules;
}

ChannelSpaceInfo SpaceOf(Client& client, const std::string& channel) {
  const std::vector<ChannelSpaceInfo> infos = Get(client.DescribeSpace(channel));
  REQUIRE(infos.size() == 1);
  return infos.front();
}

TEST_CASE("A channel is created with its own retention rules, which count as its options") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  const ChannelOptions options{.first_id = 1, .retention = kRules};
  const ChannelInfo created = Get(client.CreateChannel("c", options));
  CHECK(created.options == options);
  CHECK(Get(client.DescribeChannel("c")).options == options);
  CHECK(Get(client.ListChannels()).front().options == options);
  CHECK(Get(client.OpenChannel("c", true)).options == options);
  CHECK(Get(client.CreateChannel("c", options)).number == created.number);

  ChannelOptions other = options;
  other.retention.max_messages.reset();
  CHECK(Why(client.CreateChannel("c", other)) == "CHANNEL_EXISTS");
  CHECK(Why(client.CreateChannel("c")) == "CHANNEL_EXISTS");
}

TEST_CASE("Altering replaces all of a channel's rules and nothing else") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Get(client.CreateChannel("c", {.first_id = 7, .retention = kRules}));
  Append(client, "c", {"a", "b"});
  RetentionOverrides other;
  other.max_messages = 0;
  const ChannelInfo altered = Get(client.AlterChannel("c", other));
  CHECK(altered.options.retention == other);
  CHECK(altered.options.first_id == 7);
  CHECK(altered.next_id == 9);
  CHECK(Get(client.DescribeChannel("c")).options.retention == other);
  // It counts as created with them.
  CHECK(Get(client.CreateChannel("c", {.first_id = 7, .retention = other})).number ==
        altered.number);
  CHECK(Why(client.CreateChannel("c", {.first_id = 7, .retention = kRules})) == "CHANNEL_EXISTS");

  CHECK(Get(client.AlterChannel("c", {})).options.retention == RetentionOverrides());
  CHECK(Get(client.CreateChannel("c", {.first_id = 7, .retention = {}})).number == altered.number);
}

TEST_CASE("A channel's rules are durable when they are answered") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Get(place.client().CreateChannel("created", {.first_id = 1, .retention = kRules}));
  Create(place.client(), "altered");
  Get(place.client().AlterChannel("altered", kRules));
  Create(place.client(), "plain");
  place.Restart();
  const auto rules = [&](const std::string& channel) {
    return Get(place.client().DescribeChannel(channel)).options.retention;
  };
  CHECK(rules("created") == kRules);
  CHECK(rules("altered") == kRules);
  CHECK(rules("plain") == RetentionOverrides());
}

TEST_CASE("A limit below -1 is refused and changes nothing") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Get(client.CreateChannel("c", {.first_id = 1, .retention = kRules}));
  for (auto limit : {&RetentionOverrides::retention_time, &RetentionOverrides::retention_size,
                     &RetentionOverrides::max_messages}) {
    RetentionOverrides wrong;
    wrong.*limit = -2;
    CHECK(Why(client.CreateChannel("d", {.first_id = 1, .retention = wrong})) ==
          "INVALID_ARGUMENT");
    CHECK(Why(client.AlterChannel("c", wrong)) == "INVALID_ARGUMENT");
  }
  CHECK(Get(client.DescribeChannel("c")).options.retention == kRules);
  CHECK(Why(client.DescribeChannel("d")) == "CHANNEL_NOT_FOUND");
}

TEST_CASE("Space shows the rules in force, a channel's own before the broker's") {
  Place place(GENERATE(EVERY_TRANSPORT),
              {"rocksmq.retentionTimeInMinutes=60", "rocksmq.retentionSizeInMB=100",
               "retention.maxMsgs=1000", "retention.policy=limits"});
  Client& client = place.client();
  Create(client, "c");
  const ChannelSpaceInfo defaults = SpaceOf(client, "c");
  CHECK(defaults.policy == RetentionPolicy::kLimits);
  CHECK(defaults.retention_time == int64_t{3'600} * 1'000'000);
  CHECK(defaults.retention_size == int64_t{100} << 20);
  CHECK(defaults.max_messages == 1'000);

  RetentionOverrides some;
  some.policy = RetentionPolicy::kTruncated;
  some.max_messages = kNoLimit;
  Get(client.AlterChannel("c", some));
  const ChannelSpaceInfo altered = SpaceOf(client, "c");
  CHECK(altered.policy == RetentionPolicy::kTruncated);
  CHECK(altered.retention_time == int64_t{3'600} * 1'000'000);
  CHECK(altered.max_messages == kNoLimit);
}

TEST_CASE("Space names the subscription that is furthest behind") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Get(client.CreateChannel("c", {.first_id = 1, .retention = NothingIsKept()}));
  for (const char* name : {"fast", "slow", "slower"}) {
    Get(client.CreateSubscription("c", name, StartPosition::Earliest()));
  }
  Append(client, "c", {"a", "b", "c"});
  Ok(client.Acknowledge("c", "fast", 3));
  Ok(client.Acknowledge("c", "slow", 2));
  Ok(client.Acknowledge("c", "slower", 1));
  const ChannelSpaceInfo info = SpaceOf(client, "c");
  CHECK(info.channel == "c");
  CHECK(info.pages == 1);
  CHECK(info.messages == 3);
  CHECK(info.bytes > 0);
  CHECK(info.oldest_first_id == 1);
  CHECK(info.oldest_last_id == 3);
  CHECK(info.oldest_bytes == info.bytes);
  CHECK(info.oldest_time == Get(client.DescribeChannel("c")).last_append_time);
  CHECK(info.held_by == HeldBy::kSubscription);
  CHECK(info.subscription == "slower");

  // The one that is left holds it alone.
  Ok(client.Acknowledge("c", "slower", 3));
  CHECK(SpaceOf(client, "c").subscription == "slow");
}

TEST_CASE("Space tells rules that wait, rules that are off, and a policy that only truncates") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  RetentionOverrides off{.policy = RetentionPolicy::kAcked,
                         .retention_time = kNoLimit,
                         .retention_size = kNoLimit,
                         .max_messages = kNoLimit};
  Get(client.CreateChannel("c", {.first_id = 1, .retention = off}));
  CHECK(SpaceOf(client, "c").held_by == HeldBy::kNothing);
  Append(client, "c", {"a"});
  CHECK(SpaceOf(client, "c").held_by == HeldBy::kNoRule);

  RetentionOverrides waiting = off;
  waiting.retention_time = kDay;
  Get(client.AlterChannel("c", waiting));
  const ChannelSpaceInfo info = SpaceOf(client, "c");
  CHECK(info.held_by == HeldBy::kRules);
  CHECK(info.until == info.oldest_time + kDay);

  RetentionOverrides truncated = waiting;
  truncated.policy = RetentionPolicy::kTruncated;
  Get(client.AlterChannel("c", truncated));
  CHECK(SpaceOf(client, "c").held_by == HeldBy::kPolicy);
}

TEST_CASE("Space is told of all channels by name") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  CHECK(Get(client.DescribeSpace()).empty());
  for (const char* name : {"b", "a", "c"}) Create(client, name);
  Strings names;
  for (const ChannelSpaceInfo& info : Get(client.DescribeSpace())) names.push_back(info.channel);
  CHECK(names == Strings{"a", "b", "c"});
}

TEST_CASE("A compaction runs to its end in the background and changes nothing for readers") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  CHECK(Get(client.DescribeCompaction()).started_at == 0);
  Create(client, "c");
  Append(client, "c", {"a", "b", "c"});
  const CompactionInfo started = Get(client.StartCompaction());
  CHECK(started.started_at > 0);
  CompactionInfo info = started;
  const auto deadline = std::chrono::steady_clock::now() + kSoon;
  while (info.running && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
    info = Get(client.DescribeCompaction());
  }
  CHECK_FALSE(info.running);
  CHECK(info.error.empty());
  CHECK(info.started_at == started.started_at);
  CHECK(info.finished_at >= info.started_at);
  CHECK(info.strata_done == info.strata_total);
  CHECK(Take(*Read(client, "c"), 3) == Strings{"1:a", "2:b", "3:c"});
  CHECK(Append(client, "c", {"d"}).first_id == 4);
}

// Not in memory: there is neither a write buffer nor a block cache, and no tail cache by default.
TEST_CASE("Status has the budgets of memory and the state of space") {
  Place place(GENERATE(STORE_TRANSPORTS));
  const BrokerStatus status = Get(place.client().GetStatus());
  CHECK(status.space_state == "normal");
  CHECK(status.tail_cache_limit == 32u << 20);
  CHECK(status.pending_limit == 64u << 20);
  CHECK(status.write_buffer_limit > 0);
  CHECK(status.block_cache_limit > 0);
  CHECK(status.quarantined.empty());
}

TEST_CASE("After Close() what is asked about space is refused") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  client.Close();
  CHECK(Why(client.AlterChannel("c", {})) == "CLIENT_CLOSED");
  CHECK(Why(client.DescribeSpace("c")) == "CLIENT_CLOSED");
  CHECK(Why(client.StartCompaction()) == "CLIENT_CLOSED");
  CHECK(Why(client.DescribeCompaction()) == "CLIENT_CLOSED");
}

}  // namespace
}  // namespace strata::testing
