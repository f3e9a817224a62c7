// What goes in comes out, what was broken does not: the batch codec over valid and damaged bytes.
#include "base/batch.h"

#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "base/wire.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using testing::InPieces;
using testing::Random;
using testing::TestSeed;

const BatchLimits kLimits;

// A string of one to four byte characters.
std::string RandomText(Random* random) {
  const std::vector<std::string> characters = {"a", "Z", "\xc3\xa9", "\xe2\x82\xac",
                                               "\xf0\x9d\x84\x9e"};
  std::string text;
  for (uint64_t i = random->Below(6); i > 0; --i) {
    text += characters[random->Below(characters.size())];
  }
  return text;
}

Message RandomMessage(Random* random) {
  Message message;
  message.payload = random->Bytes(random->OneIn(5) ? 0 : random->Below(300));
  for (uint64_t i = random->OneIn(2) ? 0 : random->Below(5); i > 0; --i) {
    message.properties[RandomText(random)] = RandomText(random);
  }
  return message;
}

std::vector<Message> RandomMessages(Random* random, size_t most) {
  std::vector<Message> messages;
  for (uint64_t i = 1 + random->Below(most); i > 0; --i) messages.push_back(RandomMessage(random));
  return messages;
}

uint64_t DataBytes(const std::vector<Message>& messages) {
  uint64_t bytes = 0;
  for (const Message& message : messages) {
    bytes += message.payload.size();
    for (const auto& [key, value] : message.properties) bytes += key.size() + value.size();
  }
  return bytes;
}

std::string Encode(const std::vector<Message>& messages) {
  BatchBuilder builder;
  for (const Message& message : messages) builder.Add(message);
  return builder.Take().ToString();
}

TEST_CASE("messages come back from a batch as they went in") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < 300; ++round) {
    const std::vector<Message> messages = RandomMessages(&random, 20);
    const std::string bytes = Encode(messages);
    const Result<BatchShape> shape =
        CheckBatch(InPieces(bytes, &random, 1 + random.Below(10)), kLimits);
    REQUIRE(shape.ok());
    REQUIRE(shape->count == messages.size());
    REQUIRE(shape->data_bytes == DataBytes(messages));

    BatchIterator it(bytes, 1'000, 77);
    MessageView view;
    for (size_t i = 0; i < messages.size(); ++i) {
      REQUIRE(it.Next(&view));
      REQUIRE(view.id == 1'000 + static_cast<MessageId>(i));
      REQUIRE(view.append_time == 77);
      REQUIRE(view.payload == messages[i].payload);
      REQUIRE(view.has_properties() == !messages[i].properties.empty());
      REQUIRE(view.ToMessage() == messages[i]);
    }
    REQUIRE_FALSE(it.Next(&view));
    REQUIRE(it.ok());
  }
}

TEST_CASE("a builder foretells the bytes that a message adds, and starts anew once taken") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  BatchBuilder builder;
  CHECK(builder.empty());
  size_t expected = 0;
  for (uint32_t i = 1; i <= 50; ++i) {
    const Message message = RandomMessage(&random);
    expected += BatchBuilder::EncodedSize(message.payload.size(), message.properties);
    builder.Add(message);
    REQUIRE(builder.bytes() == expected);
    REQUIRE(builder.count() == i);
  }
  // Lengths on both sides of one, two and three bytes.
  for (const size_t size : {120, 125, 127, 128, 16'380, 16'384, 2'097'140, 2'097'152}) {
    expected += BatchBuilder::EncodedSize(size, {});
    builder.Add(std::string(size, 'x'));
    REQUIRE(builder.bytes() == expected);
  }
  CHECK(builder.Take().size() == expected);
  CHECK(builder.empty());
  CHECK(builder.bytes() == 0);
  builder.Add("again");
  CHECK(CheckBatch(builder.Take(), kLimits)->count == 1);
}

TEST_CASE("the properties of a message come in the order in which they are stored") {
  BatchBuilder builder;
  builder.Add("payload", {{"b", "2"}, {"a", "1"}, {"", "none"}});
  const Buffer batch = builder.Take();
  BatchIterator it(batch.view(), 1, 0);
  MessageView view;
  REQUIRE(it.Next(&view));
  const std::vector<std::pair<std::string_view, std::string_view>> expected = {
      {"", "none"}, {"a", "1"}, {"b", "2"}};
  CHECK(view.properties() == expected);
  CHECK(view.properties() == expected);
}

TEST_CASE("fields may come in another order, as other encoders write them") {
  std::string entry;
  wire::AppendBytes(&entry, 2, "value");
  wire::AppendBytes(&entry, 1, "key");
  std::string message;
  wire::AppendBytes(&message, 2, entry);
  wire::AppendBytes(&message, 1, "payload");
  wire::AppendBytes(&message, 2, std::string());
  std::string batch;
  wire::AppendBytes(&batch, 1, message);
  const Result<BatchShape> shape = CheckBatch(Buffer(batch), kLimits);
  REQUIRE(shape.ok());
  CHECK(shape->data_bytes == 15);
  BatchIterator it(batch, 1, 0);
  MessageView view;
  REQUIRE(it.Next(&view));
  CHECK(view.ToMessage() == Message{"payload", {{"key", "value"}, {"", ""}}});
}

TEST_CASE("a message of no bytes at all is an empty payload without properties") {
  const std::string batch("\x0a\x00", 2);
  REQUIRE(CheckBatch(Buffer(batch), kLimits).ok());
  BatchIterator it(batch, 5, 0);
  MessageView view;
  view.payload = "left over";
  REQUIRE(it.Next(&view));
  CHECK(view.payload.empty());
  CHECK_FALSE(view.has_properties());
  CHECK(view.properties().empty());
  CHECK_FALSE(it.Next(&view));
  CHECK(it.ok());
}

// What CheckBatch let pass must be what every reader then finds. Empty if so.
std::string Contradiction(const std::string& bytes, const BatchShape& shape) {
  BatchIterator it(bytes, 1, 0);
  MessageView view;
  uint32_t count = 0;
  uint64_t data_bytes = 0;
  while (it.Next(&view)) {
    ++count;
    data_bytes += view.payload.size();
    const auto properties = view.properties();
    for (const auto& [key, value] : properties) {
      data_bytes += key.size() + value.size();
      if (!IsValidUtf8(key) || !IsValidUtf8(value)) return "a property is not UTF-8";
    }
    if (view.ToMessage().properties.size() != properties.size()) return "a property twice";
    if (view.has_properties() != !properties.empty()) return "has_properties is wrong";
  }
  if (!it.ok()) return "the iterator finds malformed bytes";
  if (count != shape.count) return "another number of messages";
  if (data_bytes != shape.data_bytes) return "another number of bytes";
  return "";
}

TEST_CASE("a batch that is cut short is refused, or is a smaller batch of its first messages") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < 20; ++round) {
    const std::vector<Message> messages = RandomMessages(&random, 5);
    std::vector<size_t> borders;  // where each message ends
    size_t end = 0;
    for (const Message& message : messages) {
      end += BatchBuilder::EncodedSize(message.payload.size(), message.properties);
      borders.push_back(end);
    }
    const std::string bytes = Encode(messages);
    size_t whole = 0;
    for (size_t length = 0; length < bytes.size(); ++length) {
      if (length == borders[whole]) ++whole;
      const bool at_border = whole > 0 && length == borders[whole - 1];
      const std::string cut = bytes.substr(0, length);
      const Result<BatchShape> shape = CheckBatch(InPieces(cut, &random, 3), kLimits);
      INFO("cut to " << length << " of " << bytes.size() << " bytes");
      REQUIRE(shape.ok() == at_border);
      if (shape.ok()) {
        REQUIRE(shape->count == whole);
        REQUIRE(Contradiction(cut, *shape).empty());
      } else {
        REQUIRE(shape.status().reason() == Reason::INVALID_BATCH);
        REQUIRE(shape.status().fate() == DataFate::kNotAppended);
      }
    }
  }
}

TEST_CASE("damaged bytes are refused, or every reader finds what the check counted") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = Encode(RandomMessages(&random, 3));
    for (uint64_t i = 1 + random.Below(3); i > 0; --i) {
      const size_t at = random.Below(bytes.size());
      switch (random.Below(4)) {
        case 0:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Below(8)));
          break;
        case 1:
          bytes[at] = static_cast<char>(random.Below(256));
          break;
        case 2:
          bytes.insert(at, random.Bytes(1 + random.Below(3)));
          break;
        default:
          bytes.erase(at, 1 + random.Below(3));
          if (bytes.empty()) bytes = "x";
      }
    }
    const Result<BatchShape> shape = CheckBatch(InPieces(bytes, &random, 5), kLimits);
    ++(shape.ok() ? accepted : refused);
    if (shape.ok()) REQUIRE(Contradiction(bytes, *shape) == "");
    // Whatever the bytes are, reading them ends without reading beyond them.
    BatchIterator it(bytes, 1, 0);
    for (MessageView view; it.Next(&view);) (void)view.ToMessage();
  }
  CHECK(accepted > 100);
  CHECK(refused > 100);
}

TEST_CASE("bytes that are no batch stop the iterator, and it says so") {
  for (const std::string& bytes : {std::string("\x0a\x05xx"), std::string("\x12\x00", 2),
                                   std::string("\x0a\x02\x0a\x05"), std::string("\x80")}) {
    BatchIterator it(bytes, 1, 0);
    MessageView view;
    CHECK_FALSE(it.Next(&view));
    CHECK_FALSE(it.ok());
    CHECK_FALSE(it.Next(&view));
  }
}

}  // namespace
}  // namespace strata
