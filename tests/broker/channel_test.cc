// Channels: created, described, truncated, deleted, and found again.
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using testing::Answers;
using testing::BatchOf;
using testing::Eventually;
using testing::Lines;
using testing::ReadToEnd;
using testing::TestBroker;

ChannelOptions FirstId(MessageId first_id) {
  ChannelOptions options;
  options.first_id = first_id;
  return options;
}

std::vector<std::string> Names(TestBroker* broker) {
  std::vector<std::string> names;
  const auto infos = (*broker)->ListChannels();
  for (const ChannelInfo& info : *infos) names.push_back(info.name);
  return names;
}

TEST_CASE("a closed broker answers nothing from what it knew") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker->CreateSubscription("logs", "s", StartPosition::Earliest()).ok());
  broker->Close();
  // Another broker may have this directory by now, and more in it.
  CHECK(broker->DescribeChannel("logs").status().reason() == Reason::SHUTTING_DOWN);
  CHECK(broker->DescribeChannel("none").status().reason() == Reason::SHUTTING_DOWN);
  CHECK(broker->ListChannels().status().reason() == Reason::SHUTTING_DOWN);
  CHECK(broker->DescribeSubscription("logs", "s").status().reason() == Reason::SHUTTING_DOWN);
  CHECK(broker->ListSubscriptions("").status().reason() == Reason::SHUTTING_DOWN);
  CHECK(broker->OpenReader("logs", StartPosition::Earliest()).status().reason() ==
        Reason::SHUTTING_DOWN);
}

TEST_CASE("a new channel is empty, has a number and says when it was created") {
  TestBroker broker;
  const Result<ChannelInfo> info = broker->CreateChannel("logs", {});
  REQUIRE(info.ok());
  CHECK(info->name == "logs");
  CHECK(info->number == 1);
  CHECK(info->created_at == broker.clock().WallMicros());
  CHECK(info->first_available == 1);
  CHECK(info->next_id == 1);
  CHECK(info->last_append_time == 0);
  CHECK(info->truncated_through == 0);
  CHECK(broker->CreateChannel("more", {})->number == 2);
}

TEST_CASE(
    "creating a channel again with equal options changes nothing, with others it is refused") {
  TestBroker broker;
  const ChannelInfo first = *broker->CreateChannel("logs", FirstId(5));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  const Result<ChannelInfo> again = broker->CreateChannel("logs", FirstId(5));
  REQUIRE(again.ok());
  CHECK(again->number == first.number);
  CHECK(again->next_id == 6);
  const Status other = broker->CreateChannel("logs", FirstId(7)).status();
  CHECK(other.reason() == Reason::CHANNEL_EXISTS);
  CHECK(other.message() == "the channel 'logs' exists with first_id 5, not 7");
}

TEST_CASE("the first id is the one that was asked for, from 1 to 2^61") {
  TestBroker broker;
  for (const MessageId bad : {MessageId{0}, MessageId{-1}, (MessageId{1} << 61) + 1}) {
    CHECK(broker->CreateChannel("logs", FirstId(bad)).status().reason() ==
          Reason::INVALID_ARGUMENT);
  }
  const MessageId highest = MessageId{1} << 61;
  REQUIRE(broker->CreateChannel("high", FirstId(highest)).ok());
  CHECK(broker.Append("high", {"a"})->first_id == highest);
  REQUIRE(broker->CreateChannel("logs", FirstId(1'000)).ok());
  CHECK(broker.Append("logs", {"a", "b"})->first_id == 1'000);
  CHECK(broker.Read("logs") == Lines{"1000 a", "1001 b"});
  CHECK(broker.Read("logs", StartPosition::At(0)) == Lines{"1000 a", "1001 b"});
}

TEST_CASE("a name that is none is refused and quoted") {
  TestBroker broker;
  for (const std::string& name : {std::string(), std::string(".."), std::string("a/b"),
                                  std::string("a b"), std::string(250, 'x')}) {
    const Status status = broker->CreateChannel(name, {}).status();
    CHECK(status.reason() == Reason::INVALID_CHANNEL_NAME);
    CHECK(status.message().find("'" + name + "'") != std::string::npos);
    CHECK(broker->OpenChannel(name, true).status().reason() == Reason::INVALID_CHANNEL_NAME);
    CHECK(broker->OpenChannel(name, false).status().reason() == Reason::CHANNEL_NOT_FOUND);
  }
  CHECK(broker->CreateChannel(std::string(100'000, 'x'), {}).status().message().size() < 500);
  CHECK(broker->ListChannels()->empty());
}

TEST_CASE("opening creates a channel only when asked, and takes one with any options") {
  TestBroker broker;
  CHECK(broker->OpenChannel("logs", false).status().reason() == Reason::CHANNEL_NOT_FOUND);
  const Result<ChannelInfo> created = broker->OpenChannel("logs", true);
  REQUIRE(created.ok());
  CHECK(broker->OpenChannel("logs", false)->number == created->number);
  CHECK(broker->OpenChannel("logs", true)->number == created->number);
  REQUIRE(broker->CreateChannel("high", FirstId(9)).ok());
  CHECK(broker->OpenChannel("high", true)->options.first_id == 9);
}

TEST_CASE("channels are listed by name with what they hold") {
  TestBroker broker;
  for (const char* name : {"b", "c", "a", "B"}) REQUIRE(broker.Create(name));
  CHECK(Names(&broker) == std::vector<std::string>{"B", "a", "b", "c"});
  REQUIRE(broker.Append("b", {"payload"}).ok());
  CHECK(broker->ListChannels()->at(2).next_id == 2);
  CHECK(broker->DescribeChannel("b")->bytes == BatchOf({"payload"}).size());
  CHECK(broker->Stats().channels == 4);
}

TEST_CASE("many who create one channel at once get the same one") {
  for (int round = 0; round < 20; ++round) {
    TestBroker broker;
    std::vector<Result<ChannelInfo>> results(6, Status(Reason::INTERNAL, "not run"));
    std::vector<std::thread> threads;
    for (auto& result : results) {
      threads.emplace_back([&broker, &result] { result = broker->CreateChannel("logs", {}); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& result : results) {
      REQUIRE(result.ok());
      REQUIRE(result->number == 1);
    }
    CHECK(broker.disk().Recover().channels.size() == 1);
  }
}

TEST_CASE("of many who create one channel with different options at once, one succeeds") {
  for (int round = 0; round < 20; ++round) {
    TestBroker broker;
    std::vector<Result<ChannelInfo>> results(4, Status(Reason::INTERNAL, "not run"));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < results.size(); ++i) {
      threads.emplace_back([&broker, &result = results[i], i] {
        result = broker->CreateChannel("logs", FirstId(1 + static_cast<MessageId>(i)));
      });
    }
    for (std::thread& thread : threads) thread.join();
    int created = 0;
    for (const auto& result : results) {
      if (result.ok()) {
        ++created;
        REQUIRE(broker->DescribeChannel("logs")->options == result->options);
      } else {
        REQUIRE(result.status().reason() == Reason::CHANNEL_EXISTS);
      }
    }
    CHECK(created == 1);
  }
}

TEST_CASE("a channel is there for others once it is durable, not before") {
  TestBroker broker;
  broker.store().syncs.Close();
  Result<ChannelInfo> first = Status(Reason::INTERNAL, "not run");
  Result<ChannelInfo> second = first;
  std::thread creator([&] { first = broker->CreateChannel("logs", {}); });
  broker.store().syncs.AwaitWaiting(1);
  std::thread other([&] { second = broker->CreateChannel("logs", {}); });
  CHECK(broker->DescribeChannel("logs").status().reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker.Append("logs", {"a"}).status().reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker->ListChannels()->empty());
  broker.store().syncs.Open();
  creator.join();
  other.join();
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  CHECK(second->number == first->number);
}

TEST_CASE("a deleted channel is gone with its messages, and its number is not given again") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  const ChannelNumber old_number = broker.Number("logs");
  REQUIRE(broker->DeleteChannel("logs").ok());
  CHECK(broker->DescribeChannel("logs").status().reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker.Append("logs", {"b"}).status().reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker->DeleteChannel("logs").reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker->TruncateChannel("logs", 1).status().reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker->Stats().tail_cache_bytes == 0);

  REQUIRE(broker->CreateChannel("logs", FirstId(50)).ok());
  CHECK(broker.Number("logs") > old_number);
  CHECK(broker.Read("logs") == Lines{});
  CHECK(broker.Append("logs", {"c"})->first_id == 50);
}

TEST_CASE("an append for the channel that a name used to be is refused") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const ChannelNumber old_number = broker.Number("logs");
  CHECK(broker->Append({"logs", BatchOf({"a"}), old_number}).ok());
  REQUIRE(broker->DeleteChannel("logs").ok());
  REQUIRE(broker.Create("logs"));
  const Status status = broker->Append({"logs", BatchOf({"b"}), old_number}).status();
  CHECK(status.reason() == Reason::CHANNEL_RECREATED);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(broker->Append({"logs", BatchOf({"c"}), broker.Number("logs")}).ok());
  CHECK(broker.Read("logs") == Lines{"1 c"});
}

TEST_CASE("an append that was let in before a deletion is stored, one behind it is not appended") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {"before"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  const size_t groups = broker.disk().groups();
  Status deleted;
  std::thread deleter([&] { deleted = broker->DeleteChannel("logs"); });
  REQUIRE(Eventually([&] { return broker.disk().groups() == groups + 1; }));
  // Still there for everybody, until the deletion is durable.
  CHECK(broker->DescribeChannel("logs").ok());
  broker.AppendAsync("logs", {"behind"}, &answers);
  Result<AppendResult> blocking = Status(Reason::INTERNAL, "not run");
  std::thread appender([&] { blocking = broker.Append("logs", {"behind, too"}); });
  broker.store().syncs.Open();
  deleter.join();
  appender.join();
  CHECK(deleted.ok());
  const auto results = answers.Await(2);
  CHECK(results[0].ok());
  CHECK(results[1].status().reason() == Reason::CHANNEL_DELETED);
  CHECK(results[1].status().fate() == DataFate::kNotAppended);
  // By the time it got there, the name may have been gone for everybody.
  CHECK_FALSE(blocking.ok());
  CHECK(blocking.status().fate() == DataFate::kNotAppended);
  CHECK(broker->Stats().pending_bytes == 0);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("many who create and delete one name at once leave one channel or none, new each time") {
  TestBroker broker;
  std::vector<std::thread> threads;
  std::vector<std::vector<ChannelNumber>> numbers(4);
  std::vector<Lines> unexpected(4);
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const Result<ChannelInfo> created = broker->CreateChannel("logs", {});
        if (created.ok()) {
          numbers[t].push_back(created->number);
        } else if (created.status().reason() != Reason::CHANNEL_DELETED) {
          unexpected[t].push_back(created.status().ToString());
        }
        const Status deleted = broker->DeleteChannel("logs");
        if (!deleted.ok() && deleted.reason() != Reason::CHANNEL_NOT_FOUND) {
          unexpected[t].push_back(deleted.ToString());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Lines& lines : unexpected) CHECK(lines == Lines{});
  for (const auto& mine : numbers) {
    for (size_t i = 1; i < mine.size(); ++i) REQUIRE(mine[i] > mine[i - 1]);
  }
  CHECK(broker->ListChannels()->empty());
  CHECK(broker.disk().Recover().channels.empty());
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("channels, ids and numbers go on after a restart, also those of deleted channels") {
  TestBroker before;
  REQUIRE(before->CreateChannel("logs", FirstId(10)).ok());
  REQUIRE(before.Append("logs", {"a", "b"}).ok());
  REQUIRE(before.Create("gone"));
  const ChannelNumber gone = before.Number("gone");
  REQUIRE(before->DeleteChannel("gone").ok());
  const ChannelInfo was = *before->DescribeChannel("logs");

  TestBroker after = before.AfterPowerCut();
  const ChannelInfo is = *after->DescribeChannel("logs");
  CHECK(is.number == was.number);
  CHECK(is.options == was.options);
  CHECK(is.created_at == was.created_at);
  CHECK(is.next_id == 12);
  CHECK(is.last_append_time == was.last_append_time);
  CHECK(after.Read("logs") == Lines{"10 a", "11 b"});
  CHECK(after.Append("logs", {"c"})->first_id == 12);
  CHECK(after->CreateChannel("logs", FirstId(10)).ok());
  REQUIRE(after.Create("gone"));
  CHECK(after.Number("gone") > gone);
}

TEST_CASE("a deletion that was not durable is undone by a power cut") {
  TestBroker before;
  REQUIRE(before.Create("logs"));
  REQUIRE(before.Append("logs", {"a"}).ok());
  before.store().syncs.Close();
  std::thread deleter([&] { (void)before->DeleteChannel("logs"); });
  before.store().syncs.AwaitWaiting(1);
  {
    TestBroker after = before.AfterPowerCut();
    CHECK(after.Read("logs") == Lines{"1 a"});
    TestBroker lucky = before.AfterPowerCut(1);
    CHECK(lucky->DescribeChannel("logs").status().reason() == Reason::CHANNEL_NOT_FOUND);
  }
  before.store().syncs.Open();
  deleter.join();
}

TEST_CASE("truncating is inclusive, exact for readers at once, and never goes back") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a", "b", "c", "d"}).ok());
  const Result<ChannelInfo> info = broker->TruncateChannel("logs", 2);
  REQUIRE(info.ok());
  CHECK(info->truncated_through == 2);
  CHECK(info->first_available == 3);
  CHECK(info->next_id == 5);
  CHECK(broker.Read("logs") == Lines{"3 c", "4 d"});
  const size_t groups = broker.disk().groups();
  for (const MessageId back : {MessageId{1}, MessageId{2}, MessageId{0}, MessageId{-5}}) {
    CHECK(broker->TruncateChannel("logs", back)->truncated_through == 2);
  }
  // A mark that does not move is not written.
  CHECK(broker.disk().groups() == groups);
}

TEST_CASE("a truncation is clamped to the durable end, and later messages stay readable") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  CHECK(broker->TruncateChannel("logs", 100)->truncated_through == 0);
  REQUIRE(broker.Append("logs", {"a", "b"}).ok());
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendAsync("logs", {"c"}, &answers);
  broker.store().syncs.AwaitWaiting(1);
  Result<ChannelInfo> truncated = Status(Reason::INTERNAL, "not run");
  const size_t groups = broker.disk().groups();
  std::thread truncator([&] { truncated = broker->TruncateChannel("logs", 1'000'000); });
  REQUIRE(Eventually([&] { return broker.disk().groups() == groups + 1; }));
  CHECK(broker.Read("logs") == Lines{"1 a", "2 b"});
  broker.store().syncs.Open();
  truncator.join();
  REQUIRE(truncated.ok());
  CHECK(truncated->truncated_through == 2);
  CHECK(broker.Read("logs") == Lines{"3 c"});
  CHECK(broker->TruncateChannel("logs", 3)->first_available == 4);
  CHECK(broker.Append("logs", {"d"})->first_id == 4);
  CHECK(broker.Read("logs") == Lines{"4 d"});
}

TEST_CASE("a truncation survives a power cut, with the ids of an emptied channel") {
  TestBroker before;
  REQUIRE(before.Create("logs"));
  REQUIRE(before.Append("logs", {"a", "b", "c"}).ok());
  REQUIRE(before->TruncateChannel("logs", 3).ok());
  TestBroker after = before.AfterPowerCut();
  const ChannelInfo info = *after->DescribeChannel("logs");
  CHECK(info.truncated_through == 3);
  CHECK(info.first_available == 4);
  CHECK(info.next_id == 4);
  CHECK(after.Read("logs") == Lines{});
  CHECK(after->TruncateChannel("logs", 2)->truncated_through == 3);
  CHECK(after.Append("logs", {"d"})->first_id == 4);
  CHECK(after.Read("logs", StartPosition::At(1)) == Lines{"gap 1 to 3 TRIMMED", "4 d"});
}

}  // namespace
}  // namespace strata
