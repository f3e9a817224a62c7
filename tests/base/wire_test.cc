#include "base/wire.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata::wire {
namespace {

using testing::InPieces;
using testing::Random;
using testing::TestSeed;

constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();

std::string Varint(uint64_t value) {
  std::string out;
  AppendVarint(&out, value);
  return out;
}

bool ReadsVarint(const std::string& bytes, uint64_t* value) {
  const Buffer buffer(bytes);
  Cursor cursor(buffer);
  return cursor.ReadVarint(value) && cursor.AtEnd();
}

bool ReadsTag(const std::string& bytes) {
  const Buffer buffer(bytes);
  Cursor cursor(buffer);
  Tag tag;
  return cursor.ReadTag(&tag);
}

TEST_CASE("a varint comes back as it was written, in the size that was foretold") {
  std::vector<uint64_t> values = {0, 1, 150, kMax64, kMax64 - 1};
  for (int shift = 1; shift < 64; ++shift) {
    values.push_back(uint64_t{1} << shift);
    values.push_back((uint64_t{1} << shift) - 1);
  }
  for (const uint64_t value : values) {
    INFO(value);
    const std::string bytes = Varint(value);
    CHECK(bytes.size() == VarintSize(value));
    uint64_t read = ~value;
    CHECK(ReadsVarint(bytes, &read));
    CHECK(read == value);
    for (size_t length = 0; length < bytes.size(); ++length) {
      CHECK_FALSE(ReadsVarint(bytes.substr(0, length), &read));
    }
  }
}

TEST_CASE("a varint of more than 64 bits is refused instead of losing some") {
  uint64_t value = 0;
  const std::string nine(9, '\xff');
  CHECK(ReadsVarint(nine + '\x01', &value));
  CHECK(value == kMax64);
  CHECK_FALSE(ReadsVarint(nine + '\x02', &value));
  CHECK_FALSE(ReadsVarint(nine + '\x7f', &value));
  CHECK_FALSE(ReadsVarint(nine + "\x81\x01", &value));
  CHECK_FALSE(ReadsVarint(std::string(10, '\x80') + '\x01', &value));
}

TEST_CASE("a varint with needless bytes is read as protobuf reads it") {
  uint64_t value = 0;
  CHECK(ReadsVarint(std::string("\x85\x80\x00", 3), &value));
  CHECK(value == 5);
}

TEST_CASE("a tag has a field above 0 and one of the four wire types in use") {
  for (uint64_t type = 0; type < 8; ++type) {
    INFO("wire type " << type);
    const bool in_use = type == 0 || type == 1 || type == 2 || type == 5;
    CHECK(ReadsTag(Varint(uint64_t{1} << 3 | type)) == in_use);
    CHECK_FALSE(ReadsTag(Varint(type)));
  }
  CHECK(ReadsTag(Varint(0xffff'fffau)));
  CHECK_FALSE(ReadsTag(Varint(uint64_t{1} << 32 | 0x0a)));
}

TEST_CASE("a tag or length of more than five bytes is refused, as protobuf's own parsers do") {
  const auto reads_length = [](const std::string& bytes) {
    const Buffer buffer(bytes + "abc");
    Cursor cursor(buffer);
    size_t length = 0;
    return cursor.ReadLength(&length) && length == 3;
  };
  CHECK(ReadsTag(std::string("\x8a\x80\x80\x80\x00", 5)));
  CHECK_FALSE(ReadsTag(std::string("\x8a\x80\x80\x80\x80\x00", 6)));
  CHECK(reads_length(std::string("\x83\x80\x80\x80\x00", 5)));
  CHECK_FALSE(reads_length(std::string("\x83\x80\x80\x80\x80\x00", 6)));
}

TEST_CASE("a length beyond the bytes that are left is refused, up to the largest") {
  for (const uint64_t length : {uint64_t{4}, uint64_t{1} << 31, uint64_t{1} << 32, kMax64}) {
    const Buffer buffer(Varint(length) + "abc");
    Cursor cursor(buffer);
    size_t read = 0;
    CHECK_FALSE(cursor.ReadLength(&read));
  }
  const Buffer buffer(Varint(3) + "abc");
  Cursor cursor(buffer);
  size_t read = 0;
  CHECK(cursor.ReadLength(&read));
  CHECK(read == 3);
  CHECK_FALSE(cursor.Skip(4));
  CHECK(cursor.Skip(3));
  CHECK(cursor.AtEnd());
  CHECK(cursor.Skip(0));
  CHECK_FALSE(cursor.Skip(1));
}

TEST_CASE("a cursor over no bytes is at its end and reads nothing") {
  const std::vector<std::string_view> empty_pieces(3);
  for (const Buffer& buffer : {Buffer(), Buffer(empty_pieces, nullptr)}) {
    Cursor cursor(buffer);
    CHECK(cursor.AtEnd());
    uint64_t value = 0;
    std::string scratch;
    std::string_view bytes;
    CHECK_FALSE(cursor.ReadVarint(&value));
    CHECK(cursor.ReadBytes(0, &scratch, &bytes));
    CHECK_FALSE(cursor.ReadBytes(1, &scratch, &bytes));
  }
}

TEST_CASE("bytes inside a piece are a view of it, across pieces a copy") {
  const std::string a = "abc";
  const std::string b = "def";
  const Buffer buffer({a, std::string_view(), b}, nullptr);
  Cursor cursor(buffer);
  std::string scratch;
  std::string_view bytes;
  REQUIRE(cursor.ReadBytes(2, &scratch, &bytes));
  CHECK(bytes == "ab");
  CHECK(bytes.data() == a.data());
  REQUIRE(cursor.ReadBytes(2, &scratch, &bytes));
  CHECK(bytes == "cd");
  REQUIRE(cursor.ReadBytes(2, &scratch, &bytes));
  CHECK(bytes == "ef");
  CHECK(bytes.data() == b.data() + 1);
  CHECK(cursor.AtEnd());
}

TEST_CASE("a value of each wire type is skipped whole, and not when it is cut short") {
  const std::vector<std::pair<WireType, std::string>> values = {
      {WireType::kVarint, Varint(300)},
      {WireType::kFixed64, "12345678"},
      {WireType::kFixed32, "1234"},
      {WireType::kBytes, Varint(3) + "abc"}};
  for (const auto& [type, bytes] : values) {
    INFO("wire type " << static_cast<int>(type));
    for (size_t length = 0; length <= bytes.size(); ++length) {
      const Buffer buffer(bytes.substr(0, length));
      Cursor cursor(buffer);
      CHECK(cursor.SkipValue(type) == (length == bytes.size()));
    }
  }
  const Buffer buffer(std::string("x"));
  CHECK_FALSE(Cursor(buffer).SkipValue(static_cast<WireType>(3)));
}

// A field of a random type with a number other than 15, encoded.
std::string RandomField(Random* random) {
  std::string out;
  const uint32_t field = 1 + static_cast<uint32_t>(random->Below(14)) + (random->OneIn(4) ? 15 : 0);
  switch (random->Below(4)) {
    case 0:
      AppendTag(&out, field, WireType::kVarint);
      AppendVarint(&out, random->Below(kMax64) >> random->Below(64));
      return out;
    case 1:
      AppendTag(&out, field, WireType::kFixed64);
      return out + random->Bytes(8);
    case 2:
      AppendTag(&out, field, WireType::kFixed32);
      return out + random->Bytes(4);
    default:
      AppendBytes(&out, field, random->Bytes(random->Below(200)));
      return out;
  }
}

struct Request {
  std::string bytes;
  std::string rest;
  std::string nested;
  std::vector<size_t> borders;  // offsets between fields
};

Request RandomRequest(Random* random) {
  Request request;
  const size_t before = random->Below(4);
  const size_t after = random->Below(4);
  request.nested = random->Bytes(random->Below(500));
  const auto add = [&](const std::string& field, bool rest) {
    request.borders.push_back(request.bytes.size());
    request.bytes += field;
    if (rest) request.rest += field;
  };
  for (size_t i = 0; i < before; ++i) add(RandomField(random), true);
  std::string nested;
  AppendBytes(&nested, 15, request.nested);
  add(nested, false);
  for (size_t i = 0; i < after; ++i) add(RandomField(random), true);
  request.borders.push_back(request.bytes.size());
  return request;
}

TEST_CASE("a request splits into its batch and the rest, however its bytes came in pieces") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < 1'000; ++round) {
    const Request request = RandomRequest(&random);
    const Buffer message = InPieces(request.bytes, &random, 1 + random.Below(20));
    const Result<Split> split = SplitNested(message, 15);
    REQUIRE(split.ok());
    REQUIRE(split->rest == request.rest);
    REQUIRE(split->nested.has_value());
    REQUIRE(split->nested->ToString() == request.nested);
    REQUIRE(split->nested->owner() == message.owner());
  }
}

TEST_CASE("a request that is cut short is refused, unless it was cut between two fields") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < 50; ++round) {
    const Request request = RandomRequest(&random);
    size_t border = 0;
    for (size_t length = 0; length < request.bytes.size(); ++length) {
      const bool whole_fields = length == request.borders[border];
      if (whole_fields) ++border;
      const Buffer message = InPieces(request.bytes.substr(0, length), &random, 4);
      INFO("cut to " << length << " of " << request.bytes.size() << " bytes");
      const Result<Split> split = SplitNested(message, 15);
      REQUIRE(split.ok() == whole_fields);
      if (!split.ok()) REQUIRE(split.status().reason() == Reason::INVALID_ARGUMENT);
    }
  }
}

TEST_CASE("a request without its batch has none, and an empty batch is one") {
  std::string other;
  AppendBytes(&other, 1, "logs");
  const Result<Split> without = SplitNested(Buffer(other), 15);
  REQUIRE(without.ok());
  CHECK_FALSE(without->nested.has_value());
  CHECK(without->rest == other);

  std::string empty = other;
  AppendBytes(&empty, 15, "");
  const Result<Split> with = SplitNested(Buffer(empty), 15);
  REQUIRE(with.ok());
  REQUIRE(with->nested.has_value());
  CHECK(with->nested->empty());
  CHECK(with->rest == other);

  const Result<Split> nothing = SplitNested(Buffer(), 15);
  REQUIRE(nothing.ok());
  CHECK_FALSE(nothing->nested.has_value());
}

TEST_CASE("a request with two batches is refused, because protobuf would merge them") {
  std::string bytes;
  AppendBytes(&bytes, 15, "a");
  AppendBytes(&bytes, 1, "logs");
  AppendBytes(&bytes, 15, "b");
  const Result<Split> split = SplitNested(Buffer(bytes), 15);
  REQUIRE_FALSE(split.ok());
  CHECK(split.status().reason() == Reason::INVALID_ARGUMENT);
  CHECK(split.status().message().find("given twice") != std::string::npos);
}

TEST_CASE("the batch's number with another wire type belongs to the rest") {
  std::string bytes;
  AppendTag(&bytes, 15, WireType::kVarint);
  AppendVarint(&bytes, 7);
  const Result<Split> split = SplitNested(Buffer(bytes), 15);
  REQUIRE(split.ok());
  CHECK_FALSE(split->nested.has_value());
  CHECK(split->rest == bytes);
}

TEST_CASE("the rest of a request is limited to the byte, in one field or in many") {
  std::string one;
  AppendBytes(&one, 1, std::string(97, 'x'));
  REQUIRE(one.size() == 99);
  AppendBytes(&one, 15, std::string(5'000, 'y'));
  CHECK(SplitNested(Buffer(one), 15, 99).ok());
  CHECK_FALSE(SplitNested(Buffer(one), 15, 98).ok());

  std::string many;
  for (int i = 0; i < 50; ++i) many += std::string("\x08\x01", 2);
  CHECK(SplitNested(Buffer(many), 15, 100).ok());
  const Result<Split> refused = SplitNested(Buffer(many), 15, 99);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().message().find("more than 99 bytes") != std::string::npos);
}

TEST_CASE("a request's bytes are walked once, even as many small fields in many small pieces") {
  // 524,288 fields in as many pieces: walking from the first piece for each would be 10^11 steps.
  std::string bytes;
  for (int i = 0; i < 1 << 19; ++i) bytes += std::string("\x08\x01", 2);
  std::vector<std::string_view> pieces;
  for (size_t at = 0; at < bytes.size(); at += 2) pieces.emplace_back(bytes.data() + at, 2);
  const Result<Split> split = SplitNested(Buffer(std::move(pieces), nullptr), 15);
  REQUIRE(split.ok());
  CHECK(split->rest == bytes);
}

}  // namespace
}  // namespace strata::wire
