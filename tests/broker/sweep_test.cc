// Retention through the broker: each rule, what readers and subscriptions see of it, and a full disk.
#include <chrono>
#include <thread>

#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata::testing {
namespace {

using std::chrono::seconds;

constexpr int64_t kSecond = 1'000'000;

broker::BrokerOptions WithRules(retention::Rules rules) {
  broker::BrokerOptions options;
  options.retention = rules;
  return options;
}

// What is old enough goes; a message of `OldAndNew` is, the other is not.
const retention::Rules kTenSeconds{.retention_time = 10 * kSecond};

Result<AppendResult> AppendOld(TestBroker& broker, const std::vector<std::string>& payloads) {
  Result<AppendResult> result = AppendResult();
  for (const std::string& payload : payloads) result = broker.Append("c", {payload});
  broker.clock().Advance(seconds(11));
  return result;
}

RetentionOverrides Count(int64_t messages) {
  RetentionOverrides retention;
  retention.max_messages = messages;
  return retention;
}

// Lets a test step in while the sweeper looks at a channel, and know that it has.
class WatchedStore final : public GatedStore {
 public:
  using GatedStore::GatedStore;
  std::atomic<int> looks{0};
  std::function<void()> on_look;  // runs once, after the pages have been listed

  std::vector<storage::Page> Pages(ChannelNumber channel) const override {
    std::vector<storage::Page> pages = GatedStore::Pages(channel);
    auto* self = const_cast<WatchedStore*>(this);
    ++self->looks;
    if (const auto hook = std::exchange(self->on_look, nullptr)) hook();
    return pages;
  }
};

struct Watched {
  explicit Watched(retention::Rules rules) : Watched(rules, std::make_shared<MemoryStore>()) {}
  Watched(retention::Rules rules, std::shared_ptr<MemoryStore> disk)
      : Watched(rules, disk, std::make_unique<WatchedStore>(disk)) {}
  Watched(retention::Rules rules, std::shared_ptr<MemoryStore> disk,
          std::unique_ptr<WatchedStore> watched)
      : store(watched.get()), broker(WithRules(rules), disk, std::move(watched), disk->Recover()) {}

  WatchedStore* store;
  TestBroker broker;
};

TEST_CASE("the time rule takes what is older, and only that") {
  TestBroker broker(WithRules(kTenSeconds));
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a", "b"}).ok());
  REQUIRE(broker.Append("c", {"c"}).ok());
  CHECK(broker.Read("c") == Lines{"1 a", "2 b", "3 c"});
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c") == Lines{"3 c"});
  CHECK(broker.Read("c", StartPosition::At(1)) == Lines{"gap 1 to 2 TRIMMED", "3 c"});
  CHECK(broker.Read("c", StartPosition::At(2)) == Lines{"gap 2 to 2 TRIMMED", "3 c"});
  CHECK(broker->DescribeChannel("c")->first_available == 3);
  CHECK(broker.disk().Pages(broker.Number("c")).size() == 1);
  CHECK(broker.disk().breaches().empty());
}

TEST_CASE(
    "rules that change while it runs count for channels without their own, from the next sweep "
    "on") {
  TestBroker broker(WithRules({}));
  REQUIRE(broker.Create("c"));
  REQUIRE(broker.Create("own"));
  REQUIRE(broker->AlterChannel("own", Count(100)).ok());
  for (const char* channel : {"c", "own"}) {
    for (const char* payload : {"a", "b", "c"}) REQUIRE(broker.Append(channel, {payload}).ok());
  }
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c").size() == 3);
  broker->SetRetention({.max_messages = 1});
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c") == Lines{"2 b", "3 c"});
  CHECK(broker.Read("own").size() == 3);
}

TEST_CASE("the count and the size rule keep as much as they say") {
  TestBroker broker;
  REQUIRE(broker.Create("c"));
  for (const char* payload : {"a", "b", "c", "d", "e"}) REQUIRE(broker.Append("c", {payload}).ok());
  RetentionOverrides retention = Count(2);
  SECTION("by count") {}
  SECTION("by size") {
    const uint64_t each = broker.disk().Pages(broker.Number("c"))[0].bytes;
    retention = RetentionOverrides();
    retention.retention_size = static_cast<int64_t>(2 * each);
  }
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c").size() == 5);
  // Altering takes effect with the next sweep, and by itself takes nothing.
  REQUIRE(broker->AlterChannel("c", retention).ok());
  CHECK(broker.Read("c").size() == 5);
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c") == Lines{"3 c", "4 d", "5 e"});
  REQUIRE(broker->AlterChannel("c", {}).ok());
  REQUIRE(broker.Append("c", {"f"}).ok());
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c").size() == 4);
}

TEST_CASE("a truncation frees its pages once its grace is over, whatever the policy") {
  TestBroker broker(WithRules({.policy = RetentionPolicy::kTruncated,
                               .retention_time = 0,
                               .truncate_grace = 10 * kSecond}));
  REQUIRE(broker.Create("c"));
  REQUIRE(broker.Append("c", {"a", "b"}).ok());
  REQUIRE(AppendOld(broker, {"c", "d"}).ok());
  const ChannelNumber number = broker.Number("c");
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.disk().Pages(number).size() == 3);
  REQUIRE(broker->TruncateChannel("c", 3).ok());
  CHECK(broker.Read("c") == Lines{"4 d"});
  broker.clock().Advance(seconds(9));
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.disk().Pages(number).size() == 3);
  broker.clock().Advance(seconds(1));
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.disk().Pages(number).size() == 1);
  // A page goes as a whole: with all but its last message truncated it stays.
  REQUIRE(broker.Append("c", {"e", "f"}).ok());
  REQUIRE(broker->TruncateChannel("c", 5).ok());
  broker.clock().Advance(seconds(10));
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.disk().Pages(number).size() == 1);
  CHECK(broker.Read("c", StartPosition::At(1)) == Lines{"gap 1 to 5 TRIMMED", "6 f"});
}

TEST_CASE("under pressure the oldest eligible pages go, across channels") {
  broker::BrokerOptions options;
  options.disk_budget = 100'000;
  TestBroker broker(options);
  const std::vector<std::string> payload = {std::string(400, 'x')};
  for (const char* channel : {"a", "b", "held"}) REQUIRE(broker.Create(channel));
  REQUIRE(broker->CreateSubscription("held", "s", {}).ok());
  for (const char* channel : {"held", "b", "a", "b", "a"}) {
    REQUIRE(broker.Append(channel, payload).ok());
    broker.clock().Advance(seconds(1));
  }
  // Above the soft mark by one page and a bit: two go, of those that nobody holds.
  broker.disk().SetUsage({85'500, 1u << 30});
  REQUIRE(broker->Sweep().ok());
  CHECK(broker->Stats().space_state == retention::SpaceState::kPressure);
  CHECK(broker->DescribeChannel("held")->first_available == 1);
  CHECK(broker->DescribeChannel("b")->first_available == 2);
  CHECK(broker->DescribeChannel("a")->first_available == 2);
  broker.disk().SetUsage({85'000, 1u << 30});
  REQUIRE(broker->Sweep().ok());
  CHECK(broker->DescribeChannel("b")->first_available == 2);
}

TEST_CASE("policy acked keeps what the slowest subscription has not acknowledged") {
  TestBroker broker(WithRules(kTenSeconds));
  REQUIRE(broker.Create("c"));
  for (const char* name : {"fast", "slow"}) REQUIRE(broker->CreateSubscription("c", name, {}).ok());
  REQUIRE(AppendOld(broker, {"a", "b", "c"}).ok());
  REQUIRE(broker->Acknowledge("c", "fast", 3).ok());
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c") == Lines{"1 a", "2 b", "3 c"});
  REQUIRE(broker->Acknowledge("c", "slow", 2).ok());
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c") == Lines{"3 c"});
  REQUIRE(broker->DeleteSubscription("c", "slow").ok());
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c").empty());
}

TEST_CASE("policy limits asks nobody, and policy truncated lets no rule take anything") {
  retention::Rules rules = kTenSeconds;
  rules.policy = GENERATE(RetentionPolicy::kLimits, RetentionPolicy::kTruncated);
  TestBroker broker(WithRules(rules));
  REQUIRE(broker.Create("c"));
  REQUIRE(broker->CreateSubscription("c", "s", {}).ok());
  REQUIRE(AppendOld(broker, {"a"}).ok());
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c") == (rules.policy == RetentionPolicy::kLimits ? Lines{} : Lines{"1 a"}));
}

TEST_CASE("an idle subscription expires, but not while somebody is attached") {
  retention::Rules rules = kTenSeconds;
  rules.subscription_expiry = 20 * kSecond;
  TestBroker broker(WithRules(rules));
  REQUIRE(broker.Create("c"));
  auto consumer = broker.Hold("c", "s", {}, "me");
  REQUIRE(consumer.ok());
  REQUIRE(AppendOld(broker, {"a"}).ok());
  broker.clock().Advance(seconds(100));
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c") == Lines{"1 a"});
  consumer->reset();
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c").empty());
  // It is there all the same, and is told what it missed.
  consumer = broker.Hold("c", "s", {}, "me");
  REQUIRE(broker.Append("c", {"b"}).ok());
  CHECK(ReadToEnd(consumer->get()) == Lines{"gap 1 to 1 TRIMMED", "2 b"});
}

TEST_CASE("a reader in the middle of what goes is told so, and goes on") {
  broker::BrokerOptions options = WithRules(kTenSeconds);
  options.tail_cache = GENERATE(uint64_t{0}, uint64_t{1} << 20);
  TestBroker broker(options);
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a", "b", "c"}).ok());
  REQUIRE(broker.Append("c", {"d"}).ok());
  const auto reader = broker.Open("c");
  CHECK(ToLines(reader->Next()) == Lines{"1 a"});
  REQUIRE(broker->Sweep().ok());
  CHECK(ReadToEnd(reader.get()) == Lines{"gap 2 to 3 TRIMMED", "4 d"});
}

TEST_CASE("a read from storage that loses its pages on the way is told of a trim, not of damage") {
  broker::BrokerOptions options = WithRules(kTenSeconds);
  options.tail_cache = 0;
  TestBroker broker(options);
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a", "b"}).ok());
  const bool more = GENERATE(true, false);
  if (more) REQUIRE(broker.Append("c", {"c"}).ok());
  const auto reader = broker.Open("c");
  broker.store().reads.Close();
  Lines lines;
  std::thread thread([&] { lines = ReadToEnd(reader.get()); });
  broker.store().reads.AwaitWaiting(1);
  REQUIRE(broker->Sweep().ok());
  broker.store().reads.Open();
  thread.join();
  CHECK(lines == (more ? Lines{"gap 1 to 2 TRIMMED", "3 c"} : Lines{"gap 1 to 2 TRIMMED"}));
}

TEST_CASE("a reader that waits at the end of what goes is woken by the next message") {
  TestBroker broker(WithRules(kTenSeconds));
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a"}).ok());
  const auto reader = broker.Open("c", StartPosition::Latest());
  Bell bell;
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  REQUIRE(broker->Sweep().ok());
  // Woken or not, there is nothing for it.
  CHECK(ReadToEnd(reader.get()).empty());
  const int before = bell.rings();
  REQUIRE(reader->WakeWhenReady(bell.Ringer()));
  REQUIRE(broker.Append("c", {"b"}).ok());
  CHECK(bell.Await(before + 1));
  CHECK(ReadToEnd(reader.get()) == Lines{"2 b"});
}

TEST_CASE("nobody sees that pages went before that is durable") {
  TestBroker broker(WithRules(kTenSeconds));
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a"}).ok());
  broker.store().syncs.Close();
  Status swept;
  std::thread thread([&] { swept = broker->Sweep(); });
  broker.store().syncs.AwaitWaiting(1);
  CHECK(broker.Read("c") == Lines{"1 a"});
  CHECK(broker.AfterPowerCut().Read("c") == Lines{"1 a"});
  broker.store().syncs.Open();
  thread.join();
  CHECK(swept.ok());
  CHECK(broker.Read("c").empty());
  CHECK(broker.AfterPowerCut().Read("c").empty());
}

// Runs `change` up to its sync, a sweep that has planned without it beside it, and then lets both end.
void SweepBeside(Watched& scene, const std::function<Status()>& change) {
  scene.broker.store().syncs.Close();
  Status changed;
  std::thread changing([&] { changed = change(); });
  scene.broker.store().syncs.AwaitWaiting(1);
  const int looks = scene.store->looks;
  Status swept;
  std::thread sweeping([&] { swept = scene.broker->Sweep(); });
  // Once for the plan, and once more in the write role.
  CHECK(Eventually([&] { return scene.store->looks >= looks + 2; }));
  scene.broker.store().syncs.Open();
  changing.join();
  sweeping.join();
  CHECK(changed.ok());
  CHECK(swept.ok());
}

TEST_CASE(
    "a subscription that is created while a sweep has planned without it keeps its messages") {
  Watched scene(kTenSeconds);
  REQUIRE(scene.broker.Create("c"));
  REQUIRE(AppendOld(scene.broker, {"a", "b"}).ok());
  SweepBeside(scene, [&] { return scene.broker->CreateSubscription("c", "s", {}).status(); });
  const auto consumer = scene.broker.Hold("c", "s", {}, "me");
  CHECK(ReadToEnd(consumer->get()) == Lines{"1 a", "2 b"});
  REQUIRE(scene.broker->Acknowledge("c", "s", 2).ok());
  REQUIRE(scene.broker->Sweep().ok());
  CHECK(scene.broker.Read("c").empty());
}

TEST_CASE(
    "a subscription that is sought back while a sweep has planned without that keeps its "
    "messages") {
  Watched scene(kTenSeconds);
  REQUIRE(scene.broker.Create("c"));
  REQUIRE(AppendOld(scene.broker, {"a", "b"}).ok());
  REQUIRE(scene.broker->CreateSubscription("c", "s", StartPosition::Latest()).ok());
  SweepBeside(scene, [&] {
    return scene.broker->SeekSubscription("c", "s", StartPosition::Earliest()).status();
  });
  const auto consumer = scene.broker.Hold("c", "s", {}, "me");
  CHECK(ReadToEnd(consumer->get()) == Lines{"1 a", "2 b"});
}

TEST_CASE("a channel that is created again while its old pages are planned to go loses nothing") {
  Watched scene(kTenSeconds);
  REQUIRE(scene.broker.Create("c"));
  REQUIRE(AppendOld(scene.broker, {"old", "older"}).ok());
  const ChannelNumber old_number = scene.broker.Number("c");
  scene.store->on_look = [&] {
    REQUIRE(scene.broker->DeleteChannel("c").ok());
    REQUIRE(scene.broker.Create("c"));
    REQUIRE(scene.broker.Append("c", {"new"}).ok());
  };
  REQUIRE(scene.broker->Sweep().ok());
  CHECK(scene.broker.Number("c") > old_number);
  CHECK(scene.broker.Read("c") == Lines{"1 new"});
  CHECK(scene.broker.disk().breaches().empty());
}

TEST_CASE("ids go on after retention has emptied a channel, also after a restart") {
  TestBroker broker(WithRules(kTenSeconds));
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a", "b", "c"}).ok());
  REQUIRE(broker->Sweep().ok());
  CHECK(broker.Read("c").empty());
  CHECK(broker->DescribeChannel("c")->first_available == 4);
  CHECK(broker.Read("c", StartPosition::At(1)) == Lines{"gap 1 to 3 TRIMMED"});
  // Without a page only the channel's row tells.
  CHECK(broker.disk().Recover().channels[0].record.next_id == 4);
  TestBroker later = broker.AfterPowerCut(0, WithRules(kTenSeconds));
  CHECK(later->DescribeChannel("c")->first_available == 4);
  CHECK(later.Append("c", {"d"})->first_id == 4);
  CHECK(later.Read("c", StartPosition::At(2)) == Lines{"gap 2 to 3 TRIMMED", "4 d"});
  CHECK(broker.Append("c", {"d"})->first_id == 4);
  CHECK(broker.Read("c") == Lines{"4 d"});
}

TEST_CASE("a full disk refuses appends, which resume below the mark") {
  broker::BrokerOptions options;
  options.disk_budget = 100'000;
  TestBroker broker(options);
  REQUIRE(broker.Create("c"));
  REQUIRE(broker->CreateSubscription("c", "s", {}).ok());
  REQUIRE(broker.Append("c", {"a"}).ok());
  const auto check_refused = [&] {
    broker.clock().Advance(retention::DiskBudget::kMinMeasureInterval);
    const size_t groups = broker.disk().groups();
    const Status refused = broker.Append("c", {"b"}).status();
    CHECK(refused.reason() == Reason::DISK_FULL);
    CHECK(refused.fate() == DataFate::kNotAppended);
    Answers answers;
    broker.AppendAsync("c", {"b"}, &answers);
    const Status async = answers.Await(1)[0].status();
    CHECK(async.reason() == Reason::DISK_FULL);
    CHECK(async.fate() == DataFate::kNotAppended);
    CHECK(broker.disk().groups() == groups);
  };
  broker.disk().SetUsage({100'000, 1u << 30});
  REQUIRE(broker->Sweep().ok());
  CHECK(broker->Stats().space_state == retention::SpaceState::kFull);
  check_refused();
  CHECK(broker->Stats().pending_bytes == 0);
  CHECK(broker.Read("c") == Lines{"1 a"});
  CHECK(broker->Acknowledge("c", "s", 1).ok());
  CHECK(broker->TruncateChannel("c", 1).ok());
  CHECK(broker.Create("d"));
  CHECK(broker->DeleteChannel("d").ok());
  // A little below the mark is not enough, so that it does not go back and forth.
  broker.disk().SetUsage({95'000, 1u << 30});
  check_refused();
  broker.disk().SetUsage({94'999, 1u << 30});
  // Nor is the disk measured for every append.
  CHECK(broker.Append("c", {"b"}).status().reason() == Reason::DISK_FULL);
  broker.clock().Advance(retention::DiskBudget::kMinMeasureInterval);
  CHECK(broker.Append("c", {"b"})->first_id == 2);
  CHECK(broker->Stats().space_state == retention::SpaceState::kPressure);
}

TEST_CASE("a failed store ends the sweep with its failure") {
  TestBroker broker(WithRules(kTenSeconds));
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a"}).ok());
  broker.disk().FailNextSync();
  CHECK(broker->Sweep().reason() == Reason::STORE_FAILED);
  CHECK(broker.Read("c") == Lines{"1 a"});
  CHECK(broker->Sweep().reason() == Reason::STORE_FAILED);
  CHECK(broker.disk().breaches().empty());
}

TEST_CASE("a closed broker neither sweeps nor compacts") {
  TestBroker broker(WithRules(kTenSeconds));
  REQUIRE(broker.Create("c"));
  REQUIRE(AppendOld(broker, {"a"}).ok());
  broker->Close();
  const size_t groups = broker.disk().groups();
  CHECK(broker->Sweep().reason() == Reason::SHUTTING_DOWN);
  CHECK_FALSE(broker->StartCompaction().running);
  CHECK(broker.disk().groups() == groups);
}

}  // namespace
}  // namespace strata::testing
