#include "storage/codec.h"

#include <fmt/format.h>

#include <limits>

#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

BatchRecord SomeBatch(Buffer bytes) {
  BatchRecord batch;
  batch.channel = 7;
  batch.first_id = 1'000'000'000'001;
  batch.count = 3;
  batch.append_time = 1'700'000'000'123'456;
  batch.producer = 42;
  batch.sequence = 99;
  batch.bytes = std::move(bytes);
  return batch;
}

struct Row {
  std::string key;
  std::string value;
};

Row Encode(const BatchRecord& batch) {
  const MessageKey key = EncodeMessageKey(batch.channel, batch.first_id);
  const BatchHeader header = EncodeBatchHeader(key, batch);
  return {std::string(key.data(), key.size()),
          std::string(header.data(), header.size()) + batch.bytes.ToString()};
}

TEST_CASE("a batch survives encoding and decoding", "[codec]") {
  const Row row = Encode(SomeBatch(Buffer(std::string("the body"))));
  CHECK(row.value.size() == kBatchHeaderBytes + 8);
  BatchView view;
  REQUIRE(DecodeBatch(row.key, row.value, &view) == nullptr);
  CHECK(view.channel == 7);
  CHECK(view.first_id == 1'000'000'000'001);
  CHECK(view.next_id() == 1'000'000'000'004);
  CHECK(view.append_time == 1'700'000'000'123'456);
  CHECK(view.producer == 42);
  CHECK(view.sequence == 99);
  CHECK(view.body == "the body");
}

TEST_CASE("a row with ids that cannot be is damaged, whatever its checksum says", "[codec]") {
  constexpr MessageId kMost = std::numeric_limits<MessageId>::max();
  const auto decodes = [](MessageId first_id) {
    BatchRecord batch = SomeBatch(Buffer(std::string("the body")));
    batch.first_id = first_id;
    const Row row = Encode(batch);
    BatchView view;
    return DecodeBatch(row.key, row.value, &view) == nullptr;
  };
  CHECK(decodes(1));
  CHECK(decodes(kMost - 3));
  for (const MessageId first_id : {MessageId{0}, MessageId{-1}, kMost - 2, kMost}) {
    CHECK_FALSE(decodes(first_id));
  }
}

TEST_CASE("a body in pieces has the same bytes as one in a single piece", "[codec]") {
  const auto text =
      std::make_shared<const std::string>("a body that came in over the network in three pieces");
  const std::string_view all = *text;
  const Buffer pieces({all.substr(0, 5), all.substr(5, 30), all.substr(35)}, text);
  CHECK(Encode(SomeBatch(pieces)).value == Encode(SomeBatch(Buffer(*text))).value);
}

TEST_CASE("every flipped bit of a row is noticed", "[codec]") {
  const Row good = Encode(SomeBatch(Buffer(std::string("sixteen bytes...."))));
  BatchView view;
  int noticed = 0;
  for (size_t bit = 0; bit < (good.key.size() + good.value.size()) * 8; ++bit) {
    Row row = good;
    std::string& bytes = bit / 8 < row.key.size() ? row.key : row.value;
    const size_t at = bit / 8 < row.key.size() ? bit / 8 : bit / 8 - row.key.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit % 8));
    noticed += DecodeBatch(row.key, row.value, &view) != nullptr;
  }
  CHECK(noticed == static_cast<int>((good.key.size() + good.value.size()) * 8));
}

TEST_CASE("a row that is cut short is noticed", "[codec]") {
  const Row good = Encode(SomeBatch(Buffer(std::string("the body"))));
  BatchView view;
  for (size_t length = 0; length < good.value.size(); ++length) {
    REQUIRE(DecodeBatch(good.key, good.value.substr(0, length), &view) != nullptr);
  }
  CHECK(DecodeBatch(good.key.substr(1), good.value, &view) != nullptr);
}

TEST_CASE("the bytes of the documented example never change", "[codec]") {
  // docs/formats/batch.md, "Worked example".
  BatchBuilder builder;
  builder.Add("hi");
  BatchRecord batch;
  batch.channel = 3;
  batch.first_id = 17;
  batch.count = 1;
  batch.append_time = 1'700'000'000'000'000;
  batch.bytes = builder.Take();
  const Row row = Encode(batch);
  std::string hex;
  for (const char c : row.key + row.value) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  CHECK(hex ==
        "0000000000000003"
        "0000000000000011"
        "02000000"
        "01000000"
        "00401e18240a0600"
        "0000000000000000"
        "0000000000000000"
        "25c92a139e3b9a4c"
        "0a040a026869");
}

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

TEST_CASE("a batch of version 1 is read as ever", "[codec]") {
  const std::string key = FromHex("00000000000000030000000000000011");
  const std::string value = FromHex(
      "0100000001000000"
      "00401e18240a0600"
      "0000000000000000"
      "0000000000000000"
      "1135361ea339871a"
      "0a040a026869");
  BatchView view;
  REQUIRE(DecodeBatch(key, value, &view) == nullptr);
  CHECK(view.first_id == 17);
  CHECK(view.body == FromHex("0a040a026869"));
  std::string damaged = value;
  damaged.back() ^= 1;
  CHECK(DecodeBatch(key, damaged, &view) != nullptr);
}

TEST_CASE("a row may say where its body is", "[codec]") {
  BatchRecord batch;
  batch.channel = 3;
  batch.first_id = 17;
  batch.count = 2;
  batch.append_time = 5;
  const BodyReference where{42, 1'000'000, 65'536, 0x0123456789abcdef};
  const EncodedReference reference = EncodeReference(where);
  const MessageKey key = EncodeMessageKey(3, 17);
  const BatchHeader header = EncodeBatchHeader(key, batch, reference);
  const std::string row_key(key.data(), key.size());
  std::string value(header.data(), header.size());
  value.append(reference.data(), reference.size());
  BatchView view;
  REQUIRE(DecodeBatch(row_key, value, &view) == nullptr);
  REQUIRE(view.elsewhere);
  CHECK(view.elsewhere->stratum == 42);
  CHECK(view.elsewhere->offset == 1'000'000);
  CHECK(view.elsewhere->length == 65'536);
  CHECK(view.elsewhere->content == 0x0123456789abcdef);
  CHECK(view.body_bytes() == 65'536);
  CHECK(view.body.empty());
  CHECK(view.count == 2);
  for (size_t i = 0; i < value.size(); ++i) {
    std::string damaged = value;
    damaged[i] ^= 0x10;
    CHECK(DecodeBatch(row_key, damaged, &view) != nullptr);
  }
}

TEST_CASE("keys sort by channel and then by id", "[codec]") {
  const auto key = [](ChannelNumber channel, MessageId id) {
    const MessageKey bytes = EncodeMessageKey(channel, id);
    return std::string(bytes.data(), bytes.size());
  };
  CHECK(key(1, 255) < key(1, 256));
  CHECK(key(1, kLostIdJump) < key(2, 1));
  CHECK(key(255, 1) < key(256, 1));
}

}  // namespace
}  // namespace strata::storage
