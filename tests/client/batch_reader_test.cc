#include "client/batch_reader.h"

#include <deque>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace strata {
namespace {

using std::chrono::milliseconds;

ReceivedBatch Batch(MessageId first_id, const std::vector<std::string>& payloads, uint32_t skip) {
  BatchBuilder builder;
  for (const std::string& payload : payloads) builder.Add(payload);
  const uint32_t count = builder.count();
  return ReceivedBatch(builder.Take(), first_id, count, skip, 1000 + first_id);
}

// Gives what the test has put into it.
class FakeSource final : public BatchSource {
 public:
  Result<ReceivedBatch> Next(milliseconds) override {
    if (items.empty()) return Status(Reason::TIMEOUT, "nothing");
    ReceivedBatch next = items.front();
    items.pop_front();
    at = next.is_gap() ? next.gap().last + 1 : next.last_id() + 1;
    return next;
  }
  Result<MessageId> Seek(const StartPosition& to) override { return to.id; }
  Status Acknowledge(MessageId through) override {
    acknowledged = through;
    return Status::Ok();
  }
  Status AcknowledgeAsync(MessageId through) override { return Acknowledge(through); }
  bool active() const override { return true; }
  MessageId position() const override { return at; }
  OpenedAt opened_at() override { return {}; }
  void End(const Status&) override { ++ended; }
  void Close() override { ++closed; }

  std::deque<ReceivedBatch> items;
  MessageId at = 0;
  MessageId acknowledged = 0;
  int ended = 0;
  int closed = 0;
};

struct Fixture {
  std::shared_ptr<FakeSource> source = std::make_shared<FakeSource>();
  BatchReader reader{source, OpenedAt{5, 10, 100}};

  // "id:payload", "gap first-last" or the reason.
  std::string Receive() {
    const Result<Received> received = reader.Receive(milliseconds(0));
    if (!received.ok()) return GetErrorInfo(received.status().reason()).name;
    if (received->is_gap()) {
      return "gap " + std::to_string(received->gap().first) + "-" +
             std::to_string(received->gap().last);
    }
    return std::to_string(received->message().id) + ":" + std::string(received->message().payload);
  }
};

TEST_CASE("Messages come one by one out of batches, without the skipped ones") {
  Fixture f;
  f.source->items = {Batch(9, {"x", "a", "b"}, 1), Batch(12, {"c"}, 0)};
  CHECK(f.reader.position() == 10);
  CHECK(f.Receive() == "10:a");
  CHECK(f.reader.position() == 11);
  CHECK(f.Receive() == "11:b");
  CHECK(f.Receive() == "12:c");
  CHECK(f.Receive() == "TIMEOUT");
  CHECK(f.reader.position() == 13);
  CHECK(f.reader.channel_number() == 5);
  CHECK(f.reader.end_at_open() == 100);
}

TEST_CASE("A received message outlives its reader") {
  auto source = std::make_shared<FakeSource>();
  source->items = {Batch(1, {"alive"}, 0)};
  auto reader = std::make_unique<BatchReader>(source, OpenedAt{});
  const Result<Received> received = reader->Receive(milliseconds(0));
  reader.reset();
  source.reset();
  REQUIRE(received.ok());
  CHECK(received->message().payload == "alive");
  CHECK(received->message().append_time == 1001);
}

TEST_CASE("Gaps come in their place and move the position") {
  Fixture f;
  f.source->items = {ReceivedBatch(Gap{10, 19, GapReason::kTrimmed}), Batch(20, {"a"}, 0)};
  CHECK(f.Receive() == "gap 10-19");
  CHECK(f.reader.position() == 20);
  CHECK(f.Receive() == "20:a");
}

TEST_CASE("A batch receive gives the rest of the present batch, then whole ones") {
  Fixture f;
  f.source->items = {Batch(9, {"x", "a", "b", "c"}, 1), Batch(13, {"d", "e"}, 0),
                     ReceivedBatch(Gap{15, 15, GapReason::kCorrupt})};
  CHECK(f.Receive() == "10:a");
  const Result<ReceivedBatch> rest = f.reader.ReceiveBatch(milliseconds(0));
  REQUIRE(rest.ok());
  CHECK(rest->size() == 2);
  CHECK(rest->first_id() == 11);
  CHECK(rest->last_id() == 12);
  std::vector<std::string> seen;
  for (const MessageView& message : *rest) {
    seen.push_back(std::to_string(message.id) + std::string(message.payload));
  }
  CHECK(seen == std::vector<std::string>{"11b", "12c"});
  CHECK(f.reader.position() == 13);
  const Result<ReceivedBatch> whole = f.reader.ReceiveBatch(milliseconds(0));
  REQUIRE(whole.ok());
  CHECK(whole->size() == 2);
  CHECK(f.reader.position() == 15);
  const Result<ReceivedBatch> gap = f.reader.ReceiveBatch(milliseconds(0));
  REQUIRE(gap.ok());
  CHECK(gap->is_gap());
  CHECK(gap->size() == 0);
  CHECK(gap->begin() == gap->end());
  CHECK(f.reader.position() == 16);
}

TEST_CASE("A seek drops the rest of the batch and sets the position") {
  Fixture f;
  f.source->items = {Batch(10, {"a", "b"}, 0), Batch(3, {"c"}, 0)};
  CHECK(f.Receive() == "10:a");
  REQUIRE(f.reader.Seek(StartPosition::At(3)).ok());
  CHECK(f.reader.position() == 3);
  CHECK(f.Receive() == "3:c");
}

TEST_CASE("A closed reader gives nothing more, not even what it had, and lets go of its source") {
  Fixture f;
  f.source->items = {Batch(10, {"a", "b"}, 0)};
  CHECK(f.Receive() == "10:a");
  f.reader.Close();
  CHECK(f.Receive() == "CLIENT_CLOSED");
  CHECK(f.reader.ReceiveBatch(milliseconds(0)).status().reason() == Reason::CLIENT_CLOSED);
  CHECK(f.source->closed == 1);
}

TEST_CASE("A batch with fewer messages than announced is an error, not an end") {
  Fixture f;
  BatchBuilder builder;
  builder.Add("a");
  f.source->items = {ReceivedBatch(builder.Take(), 10, 2, 0, 0)};
  CHECK(f.Receive() == "10:a");
  CHECK(f.Receive() == "CORRUPTION");
}

TEST_CASE("An acknowledgement goes to the source") {
  Fixture f;
  CHECK(f.reader.Acknowledge(42).ok());
  CHECK(f.source->acknowledged == 42);
}

}  // namespace
}  // namespace strata
