// Any bytes as a request, as the raw handlers of the server take it apart: proto/opaque.h against the
// parser that protobuf generates, and the values that are made of the fields. The first byte chooses
// the request.
#include <optional>
#include <string>
#include <vector>

#include "proto/convert.h"
#include "proto/opaque.h"
#include "strata/v1/admin.pb.h"
#include "strata/v1/log.pb.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/protobuf.h"

namespace strata {
namespace {

using fuzz::Deterministic;

// As it comes from the network, cut anywhere; small messages arrive in one piece, so both ways.
Buffer Received(const std::string& bytes, testing::Random* random) {
  const Buffer pieces = testing::InPieces(bytes, random, 2 + random->Below(8));
  if (random->OneIn(2)) return pieces;
  std::vector<grpc::Slice> slices;
  for (const std::string_view piece : pieces.pieces())
    slices.emplace_back(piece.data(), piece.size());
  return ToBuffer(grpc::ByteBuffer(slices.data(), slices.size()));
}

// True if these bytes are what protobuf itself writes for a message without unknown fields.
template <typename Request>
bool IsCanonical(const std::string& bytes) {
  Request typed;
  if (!typed.ParseFromString(bytes)) return false;
  typed.DiscardUnknownFields();
  return Deterministic(typed) == bytes;
}

// A message with a batch: the head and the batch are what the generated parser finds.
template <typename Request>
void CheckSplit(const std::string& bytes, testing::Random* random) {
  Request head;
  std::optional<Buffer> batch;
  const Status status = SplitOpaque(Buffer(bytes), &head, &batch);
  Request other_head;
  std::optional<Buffer> other_batch;
  const Status other = SplitOpaque(Received(bytes, random), &other_head, &other_batch);
  FUZZ_CHECK(status.ToString() == other.ToString());
  if (!status.ok()) {
    FUZZ_CHECK(status.reason() == Reason::INVALID_ARGUMENT);
    FUZZ_CHECK_SAY(!IsCanonical<Request>(bytes), status.ToString());
    return;
  }
  FUZZ_CHECK(Deterministic(head) == Deterministic(other_head));
  FUZZ_CHECK(batch.has_value() == other_batch.has_value());
  FUZZ_CHECK(!batch || batch->ToString() == other_batch->ToString());
  FUZZ_CHECK(!head.has_batch());

  Request whole = head;
  const bool batch_parses = !batch || whole.mutable_batch()->ParseFromString(batch->ToString());
  Request typed;
  FUZZ_CHECK(typed.ParseFromString(bytes) == batch_parses);
  FUZZ_CHECK(!batch_parses || Deterministic(whole) == Deterministic(typed));

  // Written, it comes apart the same way.
  if (!batch) return;
  Request again;
  std::optional<Buffer> same;
  FUZZ_CHECK(SplitOpaque(ToBuffer(ToByteBuffer(head, *batch)), &again, &same).ok());
  FUZZ_CHECK(Deterministic(again) == Deterministic(head));
  FUZZ_CHECK(same.has_value() && same->ToString() == batch->ToString());
}

void CheckMulti(const std::string& bytes, testing::Random* random) {
  constexpr uint32_t kField = v1::AppendMultiRequest::kAppendsFieldNumber;
  const auto parts = SplitRepeated(Received(bytes, random), kField);
  FUZZ_CHECK(SplitRepeated(Buffer(bytes), kField).status().ToString() == parts.status().ToString());
  if (!parts.ok()) {
    FUZZ_CHECK(parts.status().reason() == Reason::INVALID_ARGUMENT);
    FUZZ_CHECK_SAY(!IsCanonical<v1::AppendMultiRequest>(bytes), parts.status().ToString());
    return;
  }
  v1::AppendMultiRequest typed;
  if (typed.ParseFromString(bytes)) {
    FUZZ_CHECK(parts->size() == static_cast<size_t>(typed.appends_size()));
    for (size_t i = 0; i < parts->size(); ++i) {
      v1::AppendRequest part;
      FUZZ_CHECK(part.ParseFromString((*parts)[i].ToString()));
      FUZZ_CHECK(Deterministic(part) == Deterministic(typed.appends(static_cast<int>(i))));
    }
  }
  for (size_t i = 0; i < parts->size() && i < 16; ++i) {
    CheckSplit<v1::AppendRequest>((*parts)[i].ToString(), random);
  }
}

// A message without a batch. Returns it if the bytes are one.
template <typename Request>
std::optional<Request> CheckParse(const std::string& bytes, testing::Random* random) {
  Request parsed;
  Request typed;
  const Status status = ParseOpaque(Received(bytes, random), &parsed);
  FUZZ_CHECK(typed.ParseFromString(bytes) == status.ok());
  if (!status.ok()) {
    FUZZ_CHECK(status.reason() == Reason::INVALID_ARGUMENT);
    return std::nullopt;
  }
  FUZZ_CHECK(Deterministic(parsed) == Deterministic(typed));
  return parsed;
}

// What a field becomes is the same after a way over the wire and back, or was refused.
void CheckStart(const v1::StartPosition& start) {
  const auto position = FromProto(start);
  if (!position.ok()) {
    FUZZ_CHECK(position.status().reason() == Reason::INVALID_ARGUMENT);
    return;
  }
  v1::StartPosition sent;
  ToProto(*position, &sent);
  const auto back = FromProto(sent);
  FUZZ_CHECK(back.ok() && back->kind == position->kind && back->id == position->id &&
             back->time == position->time);
}

template <typename Value, typename Wire>
void CheckValue(const Wire& wire) {
  const Result<Value> value = FromProto(wire);
  if (!value.ok()) {
    FUZZ_CHECK(value.status().reason() == Reason::INVALID_ARGUMENT);
    return;
  }
  Wire sent;
  ToProto(*value, &sent);
  const Result<Value> back = FromProto(sent);
  FUZZ_CHECK(back.ok() && *back == *value);
}

}  // namespace
}  // namespace strata

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  fuzz::Input input(data, size);
  const uint8_t kind = input.Byte();
  const std::string bytes(input.rest());
  testing::Random random = fuzz::RandomOf(bytes);
  switch (kind % 7) {
    case 0:
      CheckSplit<v1::AppendRequest>(bytes, &random);
      break;
    case 1:
      CheckSplit<v1::ProduceRequest>(bytes, &random);
      break;
    case 2:
      CheckSplit<v1::Delivery>(bytes, &random);
      break;
    case 3:
      CheckMulti(bytes, &random);
      break;
    case 4:
      if (const auto request = CheckParse<v1::ConsumeRequest>(bytes, &random)) {
        CheckStart(request->open().start());
        CheckStart(request->seek());
      }
      break;
    case 5:
      if (const auto request = CheckParse<v1::FetchRequest>(bytes, &random)) {
        CheckStart(request->start());
      }
      break;
    default:
      if (const auto options = CheckParse<v1::ChannelOptions>(bytes, &random)) {
        CheckValue<ChannelOptions>(*options);
        CheckValue<RetentionOverrides>(options->retention());
      }
  }
  return 0;
}
