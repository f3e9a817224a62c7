// What CheckBatch refuses: shapes that are not a batch, and sizes beyond the limits.
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/wire.h"
#include "tests/support/catch.h"

namespace strata {
namespace {

using wire::WireType;

BatchLimits Limit(uint64_t max_payload) {
  BatchLimits limits;
  limits.max_payload = max_payload;
  return limits;
}

Status Check(const std::string& bytes, const BatchLimits& limits = {}) {
  return CheckBatch(Buffer(bytes), limits).status();
}

// A batch of one message with these bytes.
std::string BatchOf(const std::string& message) {
  std::string batch;
  wire::AppendBytes(&batch, 1, message);
  return batch;
}

std::string Field(uint32_t field, const std::string& content) {
  std::string out;
  wire::AppendBytes(&out, field, content);
  return out;
}

std::string Property(const std::string& key, const std::string& value) {
  return Field(2, Field(1, key) + Field(2, value));
}

TEST_CASE("unknown fields are refused at every level") {
  const std::vector<std::string> unknown = {
      Field(2, ""), Field(16, "x"), BatchOf(Field(3, "key")),  // kept for a message key
      BatchOf(Field(1, "payload") + Field(9, "")), BatchOf(Field(2, Field(3, "x")))};
  for (size_t i = 0; i < unknown.size(); ++i) {
    INFO("case " << i);
    CHECK(Check(unknown[i]).reason() == Reason::INVALID_BATCH);
  }
}

TEST_CASE("known fields of another wire type are refused at every level") {
  for (const WireType type : {WireType::kVarint, WireType::kFixed64, WireType::kFixed32}) {
    std::string value;
    wire::AppendTag(&value, 1, type);
    value += type == WireType::kVarint ? "1" : type == WireType::kFixed32 ? "1234" : "12345678";
    CHECK(Check(value).reason() == Reason::INVALID_BATCH);
    CHECK(Check(BatchOf(value)).reason() == Reason::INVALID_BATCH);
    CHECK(Check(BatchOf(Field(2, value))).reason() == Reason::INVALID_BATCH);
  }
}

TEST_CASE("a length that reaches out of its message or property is refused") {
  // Each would be well inside the bytes that follow.
  const std::string follower = BatchOf(Field(1, std::string(100, 'x')));
  std::string message;
  wire::AppendTag(&message, 1, WireType::kBytes);
  wire::AppendVarint(&message, 1);
  CHECK(Check(BatchOf(message) + follower).reason() == Reason::INVALID_BATCH);
  std::string entry;
  wire::AppendTag(&entry, 1, WireType::kBytes);
  wire::AppendVarint(&entry, 3);
  CHECK(Check(BatchOf(Field(2, entry)) + follower).reason() == Reason::INVALID_BATCH);
  CHECK(Check(BatchOf(Field(2, entry) + Field(1, "abc")) + follower).reason() ==
        Reason::INVALID_BATCH);
  // Tags and lengths whose own bytes reach out.
  CHECK(Check(BatchOf("\x8a") + follower).reason() == Reason::INVALID_BATCH);
  CHECK(Check(BatchOf("\x0a") + follower).reason() == Reason::INVALID_BATCH);
  CHECK(Check(BatchOf(Field(2, "\x0a")) + follower).reason() == Reason::INVALID_BATCH);
}

// A client in another language reads it with protobuf's own parser, which knows no longer ones.
TEST_CASE("a batch with a tag or a length of six bytes is refused") {
  const std::string message("\x0a\x00", 2);
  const auto refused = [&](const std::string& bytes) {
    return CheckBatch(Buffer(bytes), BatchLimits()).status().reason() == Reason::INVALID_BATCH;
  };
  CHECK_FALSE(refused(std::string("\x0a\x82\x80\x80\x80\x00", 6) + message));
  CHECK(refused(std::string("\x0a\x82\x80\x80\x80\x80\x00", 7) + message));
  CHECK(refused(std::string("\x8a\x80\x80\x80\x80\x00\x02", 7) + message));
}

TEST_CASE("a message with two payloads is refused") {
  CHECK(Check(BatchOf(Field(1, "a") + Field(1, "a"))).reason() == Reason::INVALID_BATCH);
  CHECK(Check(BatchOf(Field(1, "") + Field(1, ""))).reason() == Reason::INVALID_BATCH);
}

TEST_CASE("a property may stand once in a message, and in each message") {
  const std::string one = BatchOf(Property("a", "1") + Property("b", "1"));
  CHECK(Check(one + one).ok());
  const Status twice = Check(BatchOf(Property("a", "1") + Property("b", "2") + Property("a", "1")));
  CHECK(twice.reason() == Reason::INVALID_BATCH);
  CHECK(twice.message().find("'a' twice") != std::string::npos);
  // A key that is absent is the empty one.
  CHECK(Check(BatchOf(Property("", "1") + Field(2, Field(2, "2")))).reason() ==
        Reason::INVALID_BATCH);
  CHECK(Check(BatchOf(Field(2, "") + Field(2, ""))).reason() == Reason::INVALID_BATCH);
}

TEST_CASE("a property with two keys or two values is refused") {
  CHECK(Check(BatchOf(Field(2, Field(1, "a") + Field(1, "b")))).reason() == Reason::INVALID_BATCH);
  CHECK(Check(BatchOf(Field(2, Field(2, "a") + Field(2, "a")))).reason() == Reason::INVALID_BATCH);
}

TEST_CASE("a repeated property is found early, before a hostile batch has cost much memory") {
  std::string message;
  for (int i = 0; i < 1'000'000; ++i) message += Field(2, "");
  const Status status = Check(BatchOf(message));
  CHECK(status.reason() == Reason::INVALID_BATCH);
  const size_t near = status.message().find("near byte ");
  REQUIRE(near != std::string::npos);
  CHECK(std::stoul(status.message().substr(near + 10)) < 10'000);
}

TEST_CASE("keys and values of properties are UTF-8, payloads are any bytes") {
  for (const std::string& bad :
       {std::string("\xff"), std::string("\xc0\x80"), std::string("\xed\xa0\x80"),
        std::string("\xf4\x90\x80\x80"), std::string("abc\xe2\x82")}) {
    CHECK(Check(BatchOf(Property(bad, "value"))).reason() == Reason::INVALID_BATCH);
    CHECK(Check(BatchOf(Property("key", bad))).reason() == Reason::INVALID_BATCH);
    CHECK(Check(BatchOf(Field(1, bad))).ok());
  }
  CHECK(Check(BatchOf(Property("gr\xc3\xb6\xc3\x9f"
                               "e",
                               "\xe2\x82\xac")))
            .ok());
  CHECK(Check(BatchOf(Property(std::string("\0", 1), std::string("\0", 1)))).ok());
}

TEST_CASE("an error says which message is wrong and where") {
  const std::string good = BatchOf(Field(1, "payload"));
  const Status status = Check(good + good + BatchOf(Field(7, "")));
  CHECK(status.message().find("message 2 ") != std::string::npos);
  CHECK(status.message().find("near byte ") != std::string::npos);
}

TEST_CASE("a batch has at least one message") {
  CHECK(Check("").reason() == Reason::INVALID_BATCH);
  CHECK(CheckBatch(Buffer(), {}).status().reason() == Reason::INVALID_BATCH);
}

TEST_CASE("a batch has at most 65,536 messages") {
  std::string bytes;
  for (uint32_t i = 0; i < kMaxBatchMessages; ++i) bytes += std::string("\x0a\x00", 2);
  const Result<BatchShape> most = CheckBatch(Buffer(bytes), {});
  REQUIRE(most.ok());
  CHECK(most->count == 65'536);
  CHECK(most->data_bytes == 0);
  CHECK(Check(bytes + std::string("\x0a\x00", 2)).reason() == Reason::BATCH_TOO_LARGE);
}

TEST_CASE("a payload may be empty, and as large as limits.maxPayload to the byte") {
  const BatchLimits limits = Limit(1'000);
  CHECK(Check(BatchOf(Field(1, "")), limits).ok());
  CHECK(Check(BatchOf(Field(1, std::string(1'000, 'x'))), limits).ok());
  const Status over = Check(BatchOf(Field(1, std::string(1'001, 'x'))), limits);
  CHECK(over.reason() == Reason::MESSAGE_TOO_LARGE);
  CHECK(over.message().find("1001 bytes") != std::string::npos);
  // In the default, too.
  CHECK(Check(BatchOf(Field(1, std::string(16u << 20, 'x')))).ok());
  CHECK(Check(BatchOf(Field(1, std::string((16u << 20) + 1, 'x')))).reason() ==
        Reason::MESSAGE_TOO_LARGE);
}

TEST_CASE("keys and values of properties count against limits.maxPayload") {
  const BatchLimits limits = Limit(1'000);
  const std::string rest(993, 'x');
  CHECK(Check(BatchOf(Field(1, rest) + Property("key", "text")), limits).ok());
  CHECK(Check(BatchOf(Field(1, rest) + Property("key", "texts")), limits).reason() ==
        Reason::MESSAGE_TOO_LARGE);
  CHECK(Check(BatchOf(Field(1, rest) + Property("keys", "text")), limits).reason() ==
        Reason::MESSAGE_TOO_LARGE);
}

TEST_CASE("limits.maxPayload holds for each message of a batch by itself") {
  const BatchLimits limits = Limit(1'000);
  const std::string full = BatchOf(Field(1, std::string(1'000, 'x')));
  std::string many;
  for (int i = 0; i < 60; ++i) many += full;
  CHECK(Check(many, limits).ok());
  CHECK(Check(many + BatchOf(Field(1, std::string(1'001, 'x'))), limits).reason() ==
        Reason::MESSAGE_TOO_LARGE);
}

TEST_CASE("a batch has at most limits.maxPayload and 64 KiB, to the byte") {
  const BatchLimits limits = Limit(100'000);
  const std::string first = BatchOf(Field(1, std::string(100'000, 'x')));
  // The second message fills the batch up to the limit, or exceeds it by one byte.
  const size_t left = 100'000 + (64u << 10) - first.size();
  const size_t payload = left - BatchBuilder::EncodedSize(left, {}) + left;
  const std::string second = BatchOf(Field(1, std::string(payload, 'y')));
  REQUIRE(first.size() + second.size() == limits.max_batch());
  CHECK(Check(first + second, limits).ok());
  CHECK(Check(first + BatchOf(Field(1, std::string(payload + 1, 'y'))), limits).reason() ==
        Reason::BATCH_TOO_LARGE);
}

}  // namespace
}  // namespace strata
