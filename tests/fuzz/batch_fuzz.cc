// Any bytes as a batch: CheckBatch against the parser that protobuf generates, BatchIterator against
// both.
#include <algorithm>
#include <string>
#include <vector>

#include "base/batch.h"
#include "strata/v1/types.pb.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/protobuf.h"

namespace strata {
namespace {

using fuzz::Deterministic;

constexpr BatchLimits kSmall{.max_payload = 40};

Message FromTyped(const v1::Message& typed) {
  return {typed.payload(), {typed.properties().begin(), typed.properties().end()}};
}

uint64_t DataBytes(const Message& message) {
  uint64_t bytes = message.payload.size();
  for (const auto& [key, value] : message.properties) bytes += key.size() + value.size();
  return bytes;
}

// Every reader finds what the generated parser finds, and what CheckBatch has counted.
void CheckContents(const std::string& bytes, const BatchShape& shape,
                   const v1::MessageBatch& typed) {
  FUZZ_CHECK(shape.count == static_cast<uint32_t>(typed.messages_size()));
  BatchIterator it(bytes, 1'000, 77);
  MessageView view;
  uint64_t data_bytes = 0;
  uint64_t largest = 0;
  for (int i = 0; i < typed.messages_size(); ++i) {
    FUZZ_CHECK(it.Next(&view));
    FUZZ_CHECK(view.id == 1'000 + i && view.append_time == 77);
    const Message message = view.ToMessage();
    FUZZ_CHECK(message == FromTyped(typed.messages(i)));
    FUZZ_CHECK(view.has_properties() == !message.properties.empty());
    FUZZ_CHECK(view.properties().size() == message.properties.size());
    data_bytes += DataBytes(message);
    largest = std::max(largest, DataBytes(message));
  }
  FUZZ_CHECK(!it.Next(&view) && it.ok());
  FUZZ_CHECK(data_bytes == shape.data_bytes);

  // The same batch under limits that it may exceed.
  const auto limited = CheckBatch(Buffer(bytes), kSmall);
  const Reason expected = bytes.size() > kSmall.max_batch() ? Reason::BATCH_TOO_LARGE
                          : largest > kSmall.max_payload    ? Reason::MESSAGE_TOO_LARGE
                                                            : Reason::OK;
  FUZZ_CHECK(limited.status().reason() == expected);
}

// What one encoder can say, the other says with bytes that are accepted.
void CheckEncoder(const v1::MessageBatch& typed) {
  BatchBuilder builder;
  for (const v1::Message& message : typed.messages()) builder.Add(FromTyped(message));
  const std::string bytes = builder.Take().ToString();
  const auto shape = CheckBatch(Buffer(bytes), BatchLimits());
  if (typed.messages_size() == 0) {
    FUZZ_CHECK(shape.status().reason() == Reason::INVALID_BATCH);
    return;
  }
  FUZZ_CHECK_SAY(shape.ok(), shape.status().ToString());
  v1::MessageBatch back;
  FUZZ_CHECK(back.ParseFromString(bytes));
  FUZZ_CHECK(Deterministic(back) == Deterministic(typed));
}

}  // namespace
}  // namespace strata

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  testing::Random random = fuzz::RandomOf(bytes);
  const auto shape = CheckBatch(Buffer(bytes), BatchLimits());

  const auto cut =
      CheckBatch(testing::InPieces(bytes, &random, 2 + random.Below(8)), BatchLimits());
  FUZZ_CHECK(cut.status().ToString() == shape.status().ToString());
  if (shape.ok()) {
    FUZZ_CHECK(cut->count == shape->count && cut->data_bytes == shape->data_bytes);
  }

  v1::MessageBatch typed;
  const bool parses = typed.ParseFromString(bytes);
  if (shape.ok()) {
    FUZZ_CHECK(parses);
    CheckContents(bytes, *shape, typed);
  }
  if (parses) {
    typed.DiscardUnknownFields();
    // Canonical bytes are what every encoder of a client may send.
    const bool canonical = typed.messages_size() > 0 && Deterministic(typed) == bytes;
    FUZZ_CHECK_SAY(shape.ok() || !canonical, shape.status().ToString());
    CheckEncoder(typed);
  }

  // Whatever they are, reading them ends.
  BatchIterator it(bytes, 1, 0);
  for (MessageView view; it.Next(&view);) static_cast<void>(view.ToMessage());
  return 0;
}
