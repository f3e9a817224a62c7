// Named producers: sequences, duplicates, and what is remembered of them across a power cut.
#include "broker/producers.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "tests/broker/fixture.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using broker::OpenedProducer;
using broker::ResultWindow;
using testing::Answers;
using testing::BatchOf;
using testing::Lines;
using testing::TestBroker;

OpenedProducer OpenAs(TestBroker& broker, const std::string& producer, int64_t term = 0) {
  Result<OpenedProducer> opened =
      broker->OpenProducer({.channel = "logs", .producer = producer, .term = term});
  REQUIRE(opened.ok());
  return *std::move(opened);
}

bool Same(const AppendResult& a, const AppendResult& b) {
  return a.first_id == b.first_id && a.count == b.count && a.append_time == b.append_time;
}

TEST_CASE("a window keeps the newest results and says which it does not have") {
  ResultWindow window;
  CHECK(window.last_sequence() == 0);
  CHECK(window.Find(0) == nullptr);
  CHECK(window.Find(1) == nullptr);
  for (const uint64_t first : {1u, 40u}) {
    ResultWindow filled;
    for (uint64_t sequence = first; sequence < first + 200; ++sequence) {
      filled.Add({sequence, static_cast<MessageId>(sequence * 10), 1, 0, sequence});
      const uint64_t kept = std::min<uint64_t>(sequence - first + 1, kProducerWindow);
      REQUIRE(filled.last_sequence() == sequence);
      for (uint64_t each = sequence - kept + 1; each <= sequence; ++each) {
        REQUIRE(filled.Find(each) != nullptr);
        REQUIRE(filled.Find(each)->sequence == each);
      }
      REQUIRE(filled.Find(sequence - kept) == nullptr);
      REQUIRE(filled.Find(sequence + 1) == nullptr);
    }
  }
}

TEST_CASE("a batch that is sent again is answered with its first result and stored once") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto first = broker.AppendAs("p", 0, 1, "a");
  REQUIRE(first.ok());
  REQUIRE(broker.AppendAs("p", 0, 2, "b").ok());
  broker.clock().Advance(std::chrono::seconds(5));
  const auto before = broker->Stats();
  const size_t groups = broker.disk().groups();
  const auto again = broker.AppendAs("p", 0, 1, "a");
  REQUIRE(again.ok());
  CHECK(Same(*again, *first));
  CHECK(broker.disk().groups() == groups);
  const auto after = broker->Stats();
  CHECK(after.messages_appended == before.messages_appended);
  CHECK(after.bytes_appended == before.bytes_appended);
  CHECK(after.batches_appended == before.batches_appended);
  CHECK(after.tail_cache_bytes == before.tail_cache_bytes);
  CHECK(after.pending_bytes == 0);
  CHECK(broker.Read("logs") == Lines{"1 a", "2 b"});
}

TEST_CASE("the same sequence with different content is refused, and nothing of it is stored") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.AppendAs("p", 0, 1, "a").ok());
  const Status status = broker.AppendAs("p", 0, 1, "other").status();
  CHECK(status.reason() == Reason::INVALID_ARGUMENT);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(status.message().find("different content") != std::string::npos);
  CHECK(broker.Read("logs") == Lines{"1 a"});
}

TEST_CASE("content is the bytes of a batch, however they are cut into pieces") {
  const std::string bytes = BatchOf({"some", "messages"}).ToString();
  const Buffer whole{std::string(bytes)};
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const std::string_view view = whole.view();
    const Buffer cut_in_two({view.substr(0, cut), view.substr(cut)}, whole.owner());
    REQUIRE(ContentHash(cut_in_two) == ContentHash(whole));
  }
  CHECK(ContentHash(Buffer()) == ContentHash(Buffer(std::string())));
  CHECK(ContentHash(BatchOf({"a"})) != ContentHash(BatchOf({"b"})));
}

TEST_CASE("a sequence that leaves one out is refused, naming what was sent and what was expected") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  Status status = broker.AppendAs("p", 0, 2, "b").status();
  CHECK(status.reason() == Reason::OUT_OF_SEQUENCE);
  CHECK(status.message() == "producer 'p' of channel 'logs' sent sequence 2; the next one is 1");
  REQUIRE(broker.AppendAs("p", 0, 1, "a").ok());
  status = broker.AppendAs("p", 0, 3, "c").status();
  CHECK(status.reason() == Reason::OUT_OF_SEQUENCE);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(broker.AppendAs("p", 0, 2, "b").ok());
  CHECK(broker.Read("logs") == Lines{"1 a", "2 b"});
}

TEST_CASE("the last 64 results are known, and older ones are known to be stored") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  for (uint64_t i = 1; i <= 70; ++i) {
    REQUIRE(broker.AppendAs("p", 0, i, std::to_string(i)).ok());
  }
  const auto check = [](TestBroker& on) {
    for (uint64_t i = 7; i <= 70; ++i) {
      const auto again = on.AppendAs("p", 0, i, std::to_string(i));
      REQUIRE(again.ok());
      REQUIRE(again->first_id == static_cast<MessageId>(i));
    }
    for (uint64_t i = 1; i <= 6; ++i) {
      const Status status = on.AppendAs("p", 0, i, std::to_string(i)).status();
      REQUIRE(status.reason() == Reason::DUPLICATE_UNKNOWN_ID);
      REQUIRE(status.fate() == DataFate::kAppended);
    }
    CHECK(on.NextId("logs") == 71);
  };
  check(broker);
  TestBroker after = broker.AfterPowerCut();
  check(after);
  CHECK(after.AppendAs("p", 0, 71, "71")->first_id == 71);
}

TEST_CASE("producers of one channel, and a name in two channels, count for themselves") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Create("other"));
  CHECK(broker.AppendAs("p", 0, 1, "a")->first_id == 1);
  CHECK(broker.AppendAs("q", 0, 1, "a")->first_id == 2);
  CHECK(broker.AppendAs("p", 0, 1, "a", "other")->first_id == 1);
  CHECK(broker.AppendAs("p", 0, 2, "b")->first_id == 3);
  CHECK(broker.AppendAs("p", 0, 1, "a")->first_id == 1);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("plain appends are stored as often as they are sent") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  REQUIRE(broker.Append("logs", {"a"}).ok());
  REQUIRE(broker.Append("logs", {"a"}).ok());
  CHECK(broker.Read("logs") == Lines{"1 a", "2 a"});
  CHECK(broker.disk().Recover().producers.empty());
}

TEST_CASE("requests that make no sense are refused with nothing stored") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto reason = [&](broker::AppendRequest request) {
    request.channel = "logs";
    request.batch = BatchOf({"a"});
    return broker->Append(std::move(request)).status().reason();
  };
  CHECK(reason({.producer = "p", .sequence = 0}) == Reason::INVALID_ARGUMENT);
  CHECK(reason({.sequence = 1}) == Reason::INVALID_ARGUMENT);
  CHECK(reason({.term = 1}) == Reason::INVALID_ARGUMENT);
  CHECK(reason({.producer = "p", .term = -1, .sequence = 1}) == Reason::INVALID_ARGUMENT);
  CHECK(reason({.producer = "no spaces", .sequence = 1}) == Reason::INVALID_ARGUMENT);
  const OpenedProducer opened = OpenAs(broker, "p");
  CHECK(reason({.producer = "p", .sequence = 1, .session = opened.session}) ==
        Reason::INVALID_ARGUMENT);

  const auto open = [&](broker::ProducerOpen request) {
    request.channel = "logs";
    return broker->OpenProducer(request).status().reason();
  };
  CHECK(open({.term = 1}) == Reason::INVALID_ARGUMENT);
  CHECK(open({.producer = "p", .term = -1}) == Reason::INVALID_ARGUMENT);
  CHECK(open({.producer = "no spaces"}) == Reason::INVALID_ARGUMENT);
  CHECK(open({.producer = "p", .term = 0, .exclusive = true}) == Reason::INVALID_ARGUMENT);
  CHECK(open({.term = 0, .exclusive = true}) == Reason::INVALID_ARGUMENT);
  CHECK(open({.channel_number = 7, .producer = "p"}) == Reason::CHANNEL_RECREATED);
  CHECK(broker->OpenProducer({.channel = "none"}).status().reason() == Reason::CHANNEL_NOT_FOUND);
  CHECK(broker.NextId("logs") == 1);
  CHECK(broker->Stats().pending_bytes == 0);
}

TEST_CASE("opening tells the last sequence, the channel's end and its number") {
  TestBroker broker;
  const auto created =
      broker->OpenProducer({.channel = "logs", .create_if_missing = true, .producer = "p"});
  REQUIRE(created.ok());
  CHECK(created->last_sequence == 0);
  CHECK(created->next_id == 1);
  CHECK(created->channel_number == broker.Number("logs"));
  REQUIRE(broker.AppendBy(*created, 1, "a").ok());
  REQUIRE(broker.AppendBy(*created, 2, "b").ok());
  REQUIRE(broker.Append("logs", {"plain"}).ok());
  const OpenedProducer again = OpenAs(broker, "p");
  CHECK(again.last_sequence == 2);
  CHECK(again.next_id == 4);
  CHECK(OpenAs(broker, "").last_sequence == 0);
  CHECK(OpenAs(broker, "q").last_sequence == 0);
}

TEST_CASE("opening a new producer without a term writes nothing; its first batch brings the row") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const size_t groups = broker.disk().groups();
  const OpenedProducer opened = OpenAs(broker, "p");
  CHECK(broker.disk().groups() == groups);
  CHECK(broker.disk().Recover().producers.empty());
  REQUIRE(broker.AppendBy(opened, 1, "a").ok());
  CHECK(broker.disk().groups() == groups + 1);
  const auto recovered = broker.disk().Recover();
  REQUIRE(recovered.producers.size() == 1);
  CHECK(recovered.producers[0].record.name == "p");
  CHECK(recovered.producers[0].record.number == 1);
  CHECK(recovered.channels[0].record.next_producer == 2);
  REQUIRE(recovered.producers[0].results.size() == 1);
  CHECK(recovered.producers[0].results[0].first_id == 1);
  CHECK(broker.disk().breaches() == Lines{});
}

TEST_CASE("what was acknowledged before a power cut is known as a duplicate after it") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const OpenedProducer opened = OpenAs(broker, "p", 3);
  for (uint64_t i = 1; i <= 5; ++i) REQUIRE(broker.AppendBy(opened, i, std::to_string(i)).ok());
  TestBroker after = broker.AfterPowerCut();
  const OpenedProducer again = OpenAs(after, "p", 3);
  CHECK(again.last_sequence == 5);
  CHECK(after.AppendBy(again, 4, "4")->first_id == 4);
  CHECK(after.AppendBy(again, 6, "6")->first_id == 6);
  CHECK(after.Read("logs") == Lines{"1 1", "2 2", "3 3", "4 4", "5 5", "6 6"});
}

TEST_CASE(
    "a batch that a power cut took is stored when it is sent again, one that it left is not") {
  for (const size_t survives : {0u, 1u, 2u}) {
    TestBroker broker;
    REQUIRE(broker.Create("logs"));
    const OpenedProducer opened = OpenAs(broker, "p");
    REQUIRE(broker.AppendBy(opened, 1, "a").ok());
    broker.store().syncs.Close();
    Answers answers;
    broker.AppendByAsync(opened, 2, "b", &answers);
    broker.store().syncs.AwaitWaiting(1);
    broker.AppendByAsync(opened, 3, "c", &answers);
    REQUIRE(testing::Eventually([&] { return broker.disk().groups() == 4; }));
    TestBroker after = broker.AfterPowerCut(survives);
    const OpenedProducer again = OpenAs(after, "p");
    CHECK(again.last_sequence == 1 + survives);
    CHECK(after.AppendBy(again, 2, "b")->first_id == 2);
    CHECK(after.AppendBy(again, 3, "c")->first_id == 3);
    CHECK(after.Read("logs") == Lines{"1 a", "2 b", "3 c"});
    CHECK(after.disk().breaches() == Lines{});
  }
}

TEST_CASE("the answer to a duplicate waits for the sync of what it repeats") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const OpenedProducer opened = OpenAs(broker, "p");
  broker.store().syncs.Close();
  Answers answers;
  broker.AppendByAsync(opened, 1, "a", &answers);
  broker.store().syncs.AwaitWaiting(1);
  Answers again;
  broker.AppendByAsync(opened, 1, "a", &again);
  // One behind it in another group, so that the duplicate is past the write role.
  broker.AppendByAsync(opened, 2, "b", &answers);
  REQUIRE(testing::Eventually([&] { return broker.disk().groups() == 3; }));
  CHECK(again.count() == 0);
  broker.store().syncs.Open();
  REQUIRE(again.Await(1)[0].ok());
  CHECK(again.Await(1)[0]->first_id == 1);
}

TEST_CASE("a duplicate of what was never synced may be lost, and is not called stored") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const OpenedProducer opened = OpenAs(broker, "p");
  broker.store().syncs.Close();
  Answers answers;
  for (uint64_t i = 1; i <= 70; ++i) {
    broker.AppendByAsync(opened, i, "x", &answers);
  }
  Answers again;
  broker->AppendAsync({.channel = "logs", .batch = BatchOf({"x"}), .producer = "p", .sequence = 70},
                      again.Callback());
  broker->AppendAsync({.channel = "logs", .batch = BatchOf({"x"}), .producer = "p", .sequence = 1},
                      again.Callback());
  // When this one is written, they have been judged, and wait for the sync of what they rest on.
  broker.AppendByAsync(opened, 71, "x", &answers);
  REQUIRE(testing::Eventually([&] {
    const auto batches = broker.disk().batches_per_group();
    return std::accumulate(batches.begin(), batches.end(), size_t{0}) == 71;
  }));
  broker.disk().FailNextSync();
  broker.store().syncs.Open();
  for (const auto& answer : again.Await(2)) {
    CHECK(answer.status().reason() == Reason::STORE_FAILED);
    CHECK(answer.status().fate() != DataFate::kAppended);
  }
}

TEST_CASE("an expected id must be the one that the batch gets") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto append = [&](MessageId expected) {
    return broker->Append(
        {.channel = "logs", .batch = BatchOf({"x"}), .expected_next_id = expected});
  };
  REQUIRE(append(1).ok());
  const Status status = append(1).status();
  CHECK(status.reason() == Reason::ID_MISMATCH);
  CHECK(status.fate() == DataFate::kNotAppended);
  CHECK(status.actual_next_id() == 2);
  CHECK(append(3).status().actual_next_id() == 2);
  CHECK(append(2).ok());
  CHECK(append(0).ok());
  CHECK(broker.NextId("logs") == 4);
}

TEST_CASE("a mismatch is told once the ids that it rests on are durable") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  broker.store().syncs.Close();
  Answers first;
  broker.AppendAsync("logs", {"a"}, &first);
  broker.store().syncs.AwaitWaiting(1);
  Answers mismatch;
  broker->AppendAsync({.channel = "logs", .batch = BatchOf({"b"}), .expected_next_id = 1},
                      mismatch.Callback());
  broker.AppendAsync("logs", {"c"}, &first);
  REQUIRE(testing::Eventually([&] { return broker.disk().groups() == 3; }));
  CHECK(mismatch.count() == 0);
  broker.store().syncs.Open();
  CHECK(mismatch.Await(1)[0].status().actual_next_id() == 2);
}

TEST_CASE("a duplicate is answered as one before its expected id is looked at") {
  TestBroker broker;
  REQUIRE(broker.Create("logs"));
  const auto append = [&](uint64_t sequence, MessageId expected) {
    return broker->Append({.channel = "logs",
                           .batch = BatchOf({"x"}),
                           .producer = "p",
                           .sequence = sequence,
                           .expected_next_id = expected});
  };
  REQUIRE(append(1, 1).ok());
  REQUIRE(append(2, 2).ok());
  CHECK(append(1, 1)->first_id == 1);
  CHECK(append(3, 1).status().reason() == Reason::ID_MISMATCH);
  CHECK(append(3, 3)->first_id == 3);
}

}  // namespace
}  // namespace strata
