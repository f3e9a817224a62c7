#include "proto/opaque.h"

#include <optional>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/wire.h"
#include "proto/convert.h"
#include "server/delivery_codec.h"
#include "strata/v1/log.pb.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata::server {
namespace {

using testing::InPieces;
using testing::Random;
using testing::TestSeed;

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  CHECK(buffer.Dump(&slices).ok());
  std::string out;
  for (const grpc::Slice& slice : slices) {
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

// As it may come from the network: cut into slices anywhere.
grpc::ByteBuffer Received(const std::string& bytes, Random* random) {
  const Buffer pieces = InPieces(bytes, random, 1 + random->Below(8));
  std::vector<grpc::Slice> slices;
  for (const std::string_view piece : pieces.pieces()) {
    slices.emplace_back(piece.data(), piece.size());
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

template <typename Head>
struct Parts {
  Head head;
  std::optional<Buffer> batch;
};

template <typename Head>
Result<Parts<Head>> Split(const grpc::ByteBuffer& request) {
  Parts<Head> parts;
  STRATA_RETURN_IF_ERROR(SplitOpaque(ToBuffer(request), &parts.head, &parts.batch));
  return parts;
}

v1::MessageBatch RandomBatch(Random* random) {
  v1::MessageBatch batch;
  const uint64_t count = random->Below(5);
  for (uint64_t i = 0; i < count; ++i) {
    v1::Message* message = batch.add_messages();
    message->set_payload(random->Bytes(random->Below(random->OneIn(4) ? 30'000 : 50)));
    if (random->OneIn(2)) (*message->mutable_properties())["k"] = "v";
  }
  return batch;
}

// Fields in another order, and one that nobody knows, as another client's encoder may write them.
std::string Shuffled(const v1::AppendRequest& request, const std::string& batch, Random* random) {
  v1::AppendRequest head = request;
  head.clear_batch();
  std::string before;
  std::string after;
  std::string& unknown = random->OneIn(2) ? before : after;
  wire::AppendBytes(&unknown, 1000, "from the future");
  std::string& known = random->OneIn(2) ? before : after;
  known += head.SerializeAsString();
  wire::AppendBytes(&before, kBatchField, batch);
  return before + after;
}

TEST_CASE("a request comes apart into its head and its batch, however it is cut and ordered") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int i = 0; i < 500; ++i) {
    v1::AppendRequest request;
    request.set_channel("channel-" + std::to_string(random.Below(1000)));
    request.set_channel_number(random.Below(3));
    if (random.OneIn(3)) request.set_expected_next_id(-1);
    *request.mutable_batch() = RandomBatch(&random);
    const std::string batch = request.batch().SerializeAsString();
    const std::string bytes =
        random.OneIn(2) ? request.SerializeAsString() : Shuffled(request, batch, &random);

    const auto parts = Split<v1::AppendRequest>(Received(bytes, &random));
    REQUIRE(parts.ok());
    REQUIRE(parts->batch.has_value());
    CHECK(parts->batch->ToString() == batch);
    v1::AppendRequest head = parts->head;
    head.DiscardUnknownFields();
    request.clear_batch();
    CHECK(head.SerializeAsString() == request.SerializeAsString());
  }
}

TEST_CASE("a request without a batch and one with an empty batch are told apart") {
  v1::AppendRequest request;
  request.set_channel("c");
  auto parts = Split<v1::AppendRequest>(ToByteBuffer(request));
  REQUIRE(parts.ok());
  CHECK_FALSE(parts->batch.has_value());
  request.mutable_batch();
  parts = Split<v1::AppendRequest>(ToByteBuffer(request));
  REQUIRE(parts.ok());
  REQUIRE(parts->batch.has_value());
  CHECK(parts->batch->empty());
  CHECK(Split<v1::AppendRequest>(grpc::ByteBuffer()).ok());
}

TEST_CASE("no cut of a request and no flipped bit is taken for something else, or crashes") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  v1::ProduceRequest request;
  request.set_sequence(300);
  *request.mutable_batch() = RandomBatch(&random);
  const std::string bytes = request.SerializeAsString();
  for (size_t length = 0; length < bytes.size(); length += 1 + random.Below(50)) {
    const auto cut = Split<v1::ProduceRequest>(Received(bytes.substr(0, length), &random));
    // Between two fields a cut is a shorter request; inside one it is an error.
    if (cut.ok()) CHECK_FALSE(cut->batch.has_value());
  }
  for (int i = 0; i < 300; ++i) {
    std::string damaged = bytes;
    damaged[random.Below(damaged.size())] ^= static_cast<char>(1u << random.Below(8));
    const auto got = Split<v1::ProduceRequest>(Received(damaged, &random));
    if (!got.ok()) CHECK(got.status().reason() == Reason::INVALID_ARGUMENT);
  }
}

TEST_CASE("a second batch, endless varints and too much beside the batch are refused") {
  std::string twice;
  wire::AppendBytes(&twice, kBatchField, "");
  wire::AppendBytes(&twice, kBatchField, "");
  std::string beside;
  wire::AppendBytes(&beside, 1000, std::string(2u << 20, 'x'));
  for (const std::string& bytes :
       {twice, beside, std::string(11, '\xff'), std::string("\x7a\xff\xff\xff\xff\x0f"),
        std::string("\x0b"), std::string("\x00", 1)}) {
    const grpc::Slice slice(bytes);
    const auto got = Split<v1::AppendRequest>(grpc::ByteBuffer(&slice, 1));
    REQUIRE_FALSE(got.ok());
    CHECK(got.status().reason() == Reason::INVALID_ARGUMENT);
    CHECK(got.status().fate() == DataFate::kNotAppended);
  }
}

TEST_CASE("the parts of a request come in order, share its memory, and keep their batches") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int i = 0; i < 200; ++i) {
    v1::AppendMultiRequest request;
    const uint64_t count = random.Below(6);
    for (uint64_t part = 0; part < count; ++part) {
      v1::AppendRequest* append = request.add_appends();
      append->set_channel("channel-" + std::to_string(part));
      append->set_sequence(random.Below(1000));
      *append->mutable_batch() = RandomBatch(&random);
    }
    std::string bytes = request.SerializeAsString();
    if (random.OneIn(2)) wire::AppendBytes(&bytes, 1000, "from the future");
    const Buffer message = InPieces(bytes, &random, 1 + random.Below(20));
    const auto parts = SplitRepeated(message, v1::AppendMultiRequest::kAppendsFieldNumber);
    REQUIRE(parts.ok());
    REQUIRE(parts->size() == count);
    for (size_t part = 0; part < count; ++part) {
      v1::AppendRequest append = request.appends(static_cast<int>(part));
      CHECK((*parts)[part].ToString() == append.SerializeAsString());
      CHECK((*parts)[part].owner() == message.owner());
      v1::AppendRequest head;
      std::optional<Buffer> batch;
      REQUIRE(SplitOpaque((*parts)[part], &head, &batch).ok());
      REQUIRE(batch.has_value());
      CHECK(batch->ToString() == append.batch().SerializeAsString());
      append.clear_batch();
      CHECK(head.SerializeAsString() == append.SerializeAsString());
    }
  }
  CHECK(SplitRepeated(Buffer(), 1)->empty());
}

TEST_CASE("parts that are cut short, or too many of them, are refused") {
  const auto refused = [](const std::string& bytes) {
    const auto parts = SplitRepeated(Buffer(bytes), 1);
    return !parts.ok() && parts.status().reason() == Reason::INVALID_ARGUMENT &&
           parts.status().fate() == DataFate::kNotAppended;
  };
  CHECK(refused("\x0a\x02x"));
  CHECK(refused("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
  CHECK(refused(std::string(11, '\xff')));
  CHECK(refused("\x0b"));
  std::string many;
  for (size_t i = 0; i < kMaxRepeated; ++i) wire::AppendBytes(&many, 1, "");
  CHECK(SplitRepeated(Buffer(many), 1)->size() == kMaxRepeated);
  wire::AppendBytes(&many, 1, "");
  CHECK(refused(many));
}

TEST_CASE("many parts in as many pieces take no time to tell apart") {
  // 65,536 parts in 786,432 pieces: 25 billion steps, if each part were sought from the first piece.
  std::string bytes;
  for (size_t i = 0; i < kMaxRepeated; ++i) wire::AppendBytes(&bytes, 1, "0123456789");
  auto owner = std::make_shared<const std::string>(bytes);
  std::vector<std::string_view> pieces;
  for (size_t i = 0; i < owner->size(); ++i)
    pieces.push_back(std::string_view(*owner).substr(i, 1));
  const auto parts = SplitRepeated(Buffer(std::move(pieces), owner), 1);
  REQUIRE(parts.ok());
  CHECK(parts->size() == kMaxRepeated);
  CHECK(parts->back().ToString() == "0123456789");
}

TEST_CASE("a head and its batch come together as the generated classes would write them") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int i = 0; i < 100; ++i) {
    v1::ProduceRequest request;
    request.set_sequence(random.Below(1000));
    const std::string head = request.SerializeAsString();
    *request.mutable_batch() = RandomBatch(&random);
    const Buffer batch = InPieces(request.batch().SerializeAsString(), &random, 6);
    v1::ProduceRequest alone;
    REQUIRE(alone.ParseFromString(head));
    CHECK(Bytes(ToByteBuffer(alone, batch)) == request.SerializeAsString());
  }
}

TEST_CASE("a large message shares gRPC's memory, a small one does not hold it") {
  const std::string large(16u << 10, 'L');
  const grpc::Slice slice(large);
  const grpc::ByteBuffer message(&slice, 1);
  const Buffer shared = ToBuffer(message);
  CHECK(shared.view().data() == reinterpret_cast<const char*>(slice.begin()));
  const grpc::Slice part = slice.sub(0, 100);
  const Buffer copied = ToBuffer(grpc::ByteBuffer(&part, 1));
  CHECK(copied.ToString() == large.substr(0, 100));
  CHECK(copied.view().data() != reinterpret_cast<const char*>(slice.begin()));
}

TEST_CASE("short slices of a large message are found after the slices were moved") {
  // gRPC keeps up to 23 bytes inside the slice object itself.
  std::vector<grpc::Slice> slices;
  std::string bytes;
  for (int i = 0; i < 2000; ++i) {
    const std::string piece(1 + static_cast<size_t>(i % 20), static_cast<char>('a' + i % 26));
    bytes += piece;
    slices.emplace_back(piece);
  }
  const Buffer buffer = ToBuffer(grpc::ByteBuffer(slices.data(), slices.size()));
  REQUIRE(bytes.size() > (16u << 10));
  CHECK(buffer.ToString() == bytes);
}

broker::Delivery RandomDelivery(Random* random, std::string* batch) {
  *batch = RandomBatch(random).SerializeAsString();
  broker::Delivery delivery;
  delivery.batch.first_id = static_cast<MessageId>(1 + random->Below(1'000'000));
  delivery.batch.count = static_cast<uint32_t>(1 + random->Below(10));
  delivery.batch.append_time = 1'700'000'000'000'000;
  delivery.batch.bytes = InPieces(*batch, random, 1 + random->Below(5));
  delivery.skip = static_cast<uint32_t>(random->Below(2));
  return delivery;
}

void Fill(const broker::Delivery& delivery, const std::string& batch, v1::Delivery* out) {
  out->set_first_id(delivery.batch.first_id);
  out->set_skip(delivery.skip);
  out->set_count(delivery.batch.count);
  out->set_append_time_micros(delivery.batch.append_time);
  REQUIRE(out->mutable_batch()->ParseFromString(batch));
}

TEST_CASE("a delivery is byte for byte what the generated classes write") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int i = 0; i < 300; ++i) {
    std::string batch;
    const broker::Delivery delivery = RandomDelivery(&random, &batch);
    v1::ConsumeResponse response;
    Fill(delivery, batch, response.mutable_delivery());
    CHECK(Bytes(EncodeConsumeDelivery(delivery)) == response.SerializeAsString());
  }
}

TEST_CASE("a fetch response is what the generated classes write, gaps between deliveries") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int i = 0; i < 100; ++i) {
    FetchResponseBuilder builder;
    v1::FetchResponse expected;
    size_t bytes = 0;
    const uint64_t items = random.Below(5);
    for (uint64_t item = 0; item < items; ++item) {
      if (random.OneIn(3)) {
        const Gap gap{5, 9, GapReason::kCorrupt};
        builder.Add(gap);
        ToProto(gap, expected.add_items()->mutable_gap());
        continue;
      }
      std::string batch;
      const broker::Delivery delivery = RandomDelivery(&random, &batch);
      builder.Add(delivery);
      Fill(delivery, batch, expected.add_items()->mutable_delivery());
      bytes += batch.size();
    }
    CHECK(builder.batch_bytes() == bytes);
    CHECK(builder.empty() == (items == 0));
    v1::FetchResponse tail;
    tail.set_next_position(77);
    tail.set_next_id(80);
    expected.set_next_position(77);
    expected.set_next_id(80);
    CHECK(Bytes(builder.Finish(tail)) == expected.SerializeAsString());
    CHECK(builder.empty());
  }
}

TEST_CASE("the bytes of a delivery live as long as the reply, not longer") {
  auto memory = std::make_shared<std::string>(100'000, 'p');
  std::weak_ptr<std::string> alive = memory;
  broker::Delivery delivery;
  delivery.batch.count = 1;
  delivery.batch.bytes = Buffer(std::string_view(*memory), memory);
  memory.reset();
  grpc::ByteBuffer reply = EncodeConsumeDelivery(delivery);
  delivery = {};
  CHECK_FALSE(alive.expired());
  CHECK(Bytes(reply).size() > 100'000);
  reply.Clear();
  CHECK(alive.expired());
}

}  // namespace
}  // namespace strata::server
