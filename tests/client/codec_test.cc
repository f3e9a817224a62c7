#include "client/grpc/codec.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "proto/opaque.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

Buffer Batch(const std::vector<std::string>& payloads) {
  BatchBuilder builder;
  for (const std::string& payload : payloads) builder.Add(payload);
  return builder.Take();
}

std::string Bytes(const grpc::ByteBuffer& message) { return ToBuffer(message).ToString(); }

// The same bytes in pieces of `size`, as gRPC may bring them.
Buffer InPieces(const std::string& bytes, size_t size) {
  auto owner = std::make_shared<const std::string>(bytes);
  std::vector<std::string_view> pieces;
  for (size_t at = 0; at < bytes.size(); at += size) {
    pieces.push_back(std::string_view(*owner).substr(at, size));
  }
  return Buffer(std::move(pieces), std::move(owner));
}

v1::Delivery DeliveryOf(const Buffer& batch, MessageId first_id, uint32_t count, uint32_t skip) {
  v1::Delivery delivery;
  delivery.set_first_id(first_id);
  delivery.set_count(count);
  delivery.set_skip(skip);
  delivery.set_append_time_micros(1234);
  REQUIRE(delivery.mutable_batch()->ParseFromString(batch.ToString()));
  return delivery;
}

TEST_CASE("A request put together from its head and its batch is what the generated class reads") {
  for (const size_t size : {0, 10, 2000, 100'000}) {
    const Buffer batch = Batch({std::string(size, 'x'), "second"});
    v1::AppendRequest head;
    head.set_channel("logs");
    head.set_channel_number(7);
    v1::AppendRequest whole;
    REQUIRE(whole.ParseFromString(Bytes(ToByteBuffer(head, batch))));
    CHECK(whole.channel() == "logs");
    CHECK(whole.channel_number() == 7);
    REQUIRE(whole.batch().messages_size() == 2);
    CHECK(whole.batch().messages(0).payload() == std::string(size, 'x'));

    v1::AppendRequest split;
    std::optional<Buffer> found;
    REQUIRE(SplitOpaque(InPieces(whole.SerializeAsString(), 777), &split, &found).ok());
    CHECK(split.SerializeAsString() == head.SerializeAsString());
    REQUIRE(found.has_value());
    CHECK(found->ToString() == whole.batch().SerializeAsString());
  }
}

TEST_CASE("The slices of a request keep its batch alive") {
  auto owner = std::make_shared<const std::string>(Batch({std::string(5000, 'x')}).ToString());
  const std::weak_ptr<const std::string> watched = owner;
  grpc::ByteBuffer request =
      ToByteBuffer(v1::ProduceRequest(), Buffer(std::string_view(*owner), owner));
  owner.reset();
  CHECK_FALSE(watched.expired());
  v1::ProduceRequest parsed;
  REQUIRE(parsed.ParseFromString(Bytes(request)));
  CHECK(parsed.batch().messages(0).payload().size() == 5000);
  request.Clear();
  CHECK(watched.expired());
}

TEST_CASE("A delivery is read in one piece, whatever the slices it came in") {
  const Buffer batch = Batch({"skipped", std::string(50'000, 'x'), ""});
  v1::ConsumeResponse response;
  *response.mutable_delivery() = DeliveryOf(batch, 10, 3, 1);
  for (const size_t piece : {1, 100, 1'000'000}) {
    const auto event = ParseConsumeResponse(InPieces(response.SerializeAsString(), piece));
    REQUIRE(event.ok());
    const auto& received = std::get<ReceivedBatch>(*event);
    CHECK(received.first_id() == 11);
    CHECK(received.size() == 2);
    CHECK(received.append_time() == 1234);
    CHECK(received.bytes().view() == response.delivery().batch().SerializeAsString());
    CHECK(received.begin()->payload == std::string(50'000, 'x'));
  }
}

TEST_CASE("The other events of a Consume stream") {
  v1::ConsumeResponse response;
  response.mutable_opened()->set_position(5);
  auto event = ParseConsumeResponse(Buffer(response.SerializeAsString()));
  REQUIRE(event.ok());
  CHECK(std::get<v1::ConsumeResponse>(*event).opened().position() == 5);

  response.mutable_sought()->set_position(6);
  event = ParseConsumeResponse(Buffer(response.SerializeAsString()));
  REQUIRE(event.ok());
  CHECK(std::get<v1::ConsumeResponse>(*event).sought().position() == 6);

  response.mutable_gap()->set_first_id(3);
  response.mutable_gap()->set_last_id(4);
  response.mutable_gap()->set_reason(v1::GAP_REASON_LOST);
  event = ParseConsumeResponse(Buffer(response.SerializeAsString()));
  REQUIRE(event.ok());
  CHECK(std::get<ReceivedBatch>(*event).gap() == Gap{3, 4, GapReason::kLost});
}

TEST_CASE("What is not an event is an error and not a crash") {
  v1::ConsumeResponse no_messages;
  *no_messages.mutable_delivery() = DeliveryOf(Batch({"a"}), 1, 1, 1);
  v1::ConsumeResponse no_batch;
  no_batch.mutable_delivery()->set_count(1);
  for (const std::string& bytes : {std::string(), std::string("\xff\xff"), std::string("\x12\x05"),
                                   std::string("\x0a\x01\xff"), no_messages.SerializeAsString(),
                                   no_batch.SerializeAsString()}) {
    const auto event = ParseConsumeResponse(Buffer(bytes));
    REQUIRE_FALSE(event.ok());
    CHECK(event.status().reason() == Reason::INTERNAL);
  }
}

TEST_CASE("Ids that no broker gives are an error, and not counted on from") {
  constexpr MessageId kMost = std::numeric_limits<MessageId>::max();
  const auto delivery = [](MessageId first_id) {
    v1::ConsumeResponse response;
    *response.mutable_delivery() = DeliveryOf(Batch({"a", "b"}), first_id, 2, 0);
    return ParseConsumeResponse(Buffer(response.SerializeAsString())).status().reason();
  };
  CHECK(delivery(1) == Reason::OK);
  CHECK(delivery(kMost - 2) == Reason::OK);
  for (const MessageId first_id : {MessageId{0}, MessageId{-1}, kMost - 1, kMost}) {
    CHECK(delivery(first_id) == Reason::INTERNAL);
  }
  const auto gap = [](MessageId first_id, MessageId last_id) {
    v1::ConsumeResponse response;
    response.mutable_gap()->set_first_id(first_id);
    response.mutable_gap()->set_last_id(last_id);
    v1::FetchResponse fetch;
    *fetch.add_items()->mutable_gap() = response.gap();
    const auto item = ParseFetchResponse(Buffer(fetch.SerializeAsString()));
    const auto event = ParseConsumeResponse(Buffer(response.SerializeAsString()));
    CHECK(item.status().reason() == event.status().reason());
    return event.status().reason();
  };
  CHECK(gap(3, 3) == Reason::OK);
  CHECK(gap(3, 2) == Reason::INTERNAL);
  CHECK(gap(3, kMost) == Reason::INTERNAL);
}

TEST_CASE("A fetch's items come in order, gaps in their place") {
  v1::FetchResponse response;
  *response.add_items()->mutable_delivery() = DeliveryOf(Batch({"a", "b"}), 1, 2, 0);
  response.add_items()->mutable_gap()->set_first_id(3);
  response.mutable_items(1)->mutable_gap()->set_last_id(8);
  response.mutable_items(1)->mutable_gap()->set_reason(v1::GAP_REASON_TRIMMED);
  *response.add_items()->mutable_delivery() = DeliveryOf(Batch({"c"}), 9, 1, 0);
  response.set_next_position(10);
  response.set_next_id(20);
  response.set_first_available_id(9);
  const auto result = ParseFetchResponse(InPieces(response.SerializeAsString(), 3));
  REQUIRE(result.ok());
  REQUIRE(result->batches.size() == 3);
  CHECK(result->batches[0].last_id() == 2);
  CHECK(result->batches[1].gap() == Gap{3, 8, GapReason::kTrimmed});
  CHECK(result->batches[2].begin()->payload == "c");
  CHECK(result->next_position == 10);
  CHECK(result->next_id == 20);
  CHECK(result->first_available == 9);

  CHECK(ParseFetchResponse(Buffer()).ok());
  CHECK_FALSE(ParseFetchResponse(Buffer("\x0a\x7f")).ok());
  CHECK_FALSE(ParseFetchResponse(Buffer(std::string("\x0a\x00", 2))).ok());
}

}  // namespace
}  // namespace strata
