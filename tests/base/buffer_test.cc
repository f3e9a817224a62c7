#include "base/buffer.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/random.h"

namespace strata {
namespace {

using testing::InPieces;
using testing::Random;
using testing::TestSeed;

TEST_CASE("an empty buffer has no bytes, however it was made") {
  const std::vector<std::string_view> two_empty_pieces(2);
  for (const Buffer& buffer :
       {Buffer(), Buffer(std::string()), Buffer(std::string_view(), nullptr),
        Buffer(std::vector<std::string_view>(), nullptr), Buffer(two_empty_pieces, nullptr)}) {
    CHECK(buffer.empty());
    CHECK(buffer.ToString().empty());
    CHECK(buffer.Slice(0, 0).empty());
    CHECK(buffer.Contiguous().view().empty());
  }
}

TEST_CASE("a slice has the bytes that it was cut from, whatever the pieces") {
  const uint64_t seed = TestSeed();
  INFO("STRATA_TEST_SEED=" << seed);
  Random random(seed);
  for (int round = 0; round < 200; ++round) {
    const std::string bytes = random.Bytes(random.Below(60));
    const Buffer whole = InPieces(bytes, &random, 1 + random.Below(12));
    REQUIRE(whole.size() == bytes.size());
    REQUIRE(whole.ToString() == bytes);
    for (int i = 0; i < 20; ++i) {
      const size_t offset = random.Below(bytes.size() + 1);
      const size_t length = random.Below(bytes.size() - offset + 1);
      const Buffer slice = whole.Slice(offset, length);
      REQUIRE(slice.size() == length);
      REQUIRE(slice.ToString() == bytes.substr(offset, length));
      REQUIRE(slice.Contiguous().view() == bytes.substr(offset, length));
      const size_t inner = random.Below(length + 1);
      REQUIRE(slice.Slice(inner, length - inner).ToString() ==
              bytes.substr(offset + inner, length - inner));
    }
  }
}

TEST_CASE("a slice shares the memory of its buffer") {
  const Buffer whole(std::string("hello world"));
  const Buffer slice = whole.Slice(6, 5);
  CHECK(slice.view() == "world");
  CHECK(slice.view().data() == whole.view().data() + 6);
  CHECK(slice.owner() == whole.owner());
}

TEST_CASE("a buffer in one piece is contiguous as it is") {
  const Buffer one(std::string("abc"));
  CHECK(one.Contiguous().view().data() == one.view().data());
  const std::string a = "ab";
  const std::string b = "cd";
  const Buffer two({a, b}, nullptr);
  CHECK(two.Contiguous().view() == "abcd");
  CHECK(two.Contiguous().view().data() != a.data());
}

TEST_CASE("the owner lives as long as the last buffer on its memory") {
  auto owner = std::make_shared<const std::string>("payload");
  const std::weak_ptr<const std::string> watch = owner;
  Buffer whole(*owner, owner);
  owner.reset();
  Buffer slice = whole.Slice(3, 4);
  Buffer copy = slice;
  whole = Buffer();
  slice = Buffer();
  CHECK_FALSE(watch.expired());
  CHECK(copy.view() == "load");
  const Buffer moved = std::move(copy);
  copy = Buffer();
  CHECK(moved.view() == "load");
  CHECK_FALSE(watch.expired());
  CHECK(Buffer(moved).Contiguous().view() == "load");
}

TEST_CASE("a buffer appends itself to what is there") {
  const std::string a = "ab";
  const std::string b = "c";
  std::string out = ">";
  Buffer({a, std::string_view(), b}, nullptr).AppendTo(&out);
  CHECK(out == ">abc");
}

}  // namespace
}  // namespace strata
