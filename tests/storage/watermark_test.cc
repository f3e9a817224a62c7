#include "storage/watermark.h"

#include <random>

#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

constexpr char kPath[] = "/data/WATERMARK";
constexpr char kId[] = "0123456789abcdef0123456789abcdef";
constexpr char kOtherId[] = "ffffffffffffffffffffffffffffffff";

std::optional<WatermarkContents> MustRead(rocksdb::FileSystem& fs, std::string* absent) {
  auto contents = Watermark::Read(fs, kPath, kId, absent);
  REQUIRE(contents.ok());
  return std::move(contents).value();
}

std::unique_ptr<Watermark> MustOpenForWriting(rocksdb::FileSystem& fs) {
  std::string absent;
  const auto contents = MustRead(fs, &absent);
  REQUIRE(contents.has_value());
  auto watermark = Watermark::Open(fs, kPath, kId, *contents);
  REQUIRE(watermark.ok());
  return std::move(watermark).value();
}

NextIds Table(size_t channels, MessageId next) {
  NextIds table;
  for (size_t i = 1; i <= channels; ++i) table.emplace_back(i, next + static_cast<MessageId>(i));
  return table;
}

TEST_CASE("a watermark gives back the last commit and table", "[watermark]") {
  const auto fs = NewFaultFs();
  std::string absent;
  CHECK_FALSE(MustRead(*fs, &absent).has_value());
  CHECK(absent.find("missing") != std::string::npos);
  REQUIRE(Watermark::Create(*fs, kPath, kId).ok());
  CHECK(MustRead(*fs, &absent)->commit == 0);
  // 0, one block exactly, several blocks, then fewer again.
  for (const size_t channels : {0, 1, 254, 255, 10'000, 3}) {
    const auto watermark = MustOpenForWriting(*fs);
    REQUIRE(watermark->NoteDurable(channels + 7).ok());
    REQUIRE(watermark->NoteAcknowledged(Table(channels, 100)).ok());
    const auto contents = MustRead(*fs, &absent);
    CHECK(contents->commit == channels + 7);
    CHECK(contents->next_ids == Table(channels, 100));
  }
}

TEST_CASE("a watermark that the disk does not tell of is an error, not a missing one",
          "[watermark]") {
  const auto fs = NewFaultFs();
  REQUIRE(Watermark::Create(*fs, kPath, kId).ok());
  const uint32_t call = GENERATE(testing::kLook, testing::kOpen, testing::kRead);
  fs->FailNext({.ops = call, .name = "WATERMARK"});
  std::string absent;
  CHECK(Watermark::Read(*fs, kPath, kId, &absent).status().reason() == Reason::IO_ERROR);
  CHECK(fs->InjectedErrors() == 1);
}

TEST_CASE("a watermark of another store does not count", "[watermark]") {
  const auto fs = NewFaultFs();
  REQUIRE(Watermark::Create(*fs, kPath, kOtherId).ok());
  std::string absent;
  CHECK_FALSE(MustRead(*fs, &absent).has_value());
  CHECK(absent.find("another store") != std::string::npos);
}

TEST_CASE("whatever a power cut leaves of a watermark is one of the states it had", "[watermark]") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const auto fs = NewFaultFs();
    REQUIRE(Watermark::Create(*fs, kPath, kId).ok());
    fs->SyncAll();
    uint64_t commit = 0;
    MessageId next = 0;
    {
      const auto watermark = MustOpenForWriting(*fs);
      for (int i = 0; i < 20; ++i) {
        REQUIRE(watermark->NoteDurable(++commit).ok());
        if (random() % 3 == 0) REQUIRE(watermark->NoteAcknowledged(Table(600, ++next * 1000)).ok());
      }
    }
    fs->PowerCut(seed);
    std::string absent;
    const auto contents = MustRead(*fs, &absent);
    INFO("seed " << seed << " " << absent);
    REQUIRE(contents.has_value());
    REQUIRE(contents->commit <= commit);
    if (!contents->next_ids.empty()) {
      REQUIRE(contents->next_ids == Table(600, contents->next_ids.front().second - 1));
    }
  }
}

TEST_CASE("a damaged slot leaves the one before it, damaged headers leave none", "[watermark]") {
  const auto fs = NewFaultFs();
  REQUIRE(Watermark::Create(*fs, kPath, kId).ok());
  {
    const auto watermark = MustOpenForWriting(*fs);
    REQUIRE(watermark->NoteDurable(1).ok());  // sequence 2, slot 0
    REQUIRE(watermark->NoteDurable(2).ok());  // sequence 3, slot 1
  }
  std::string absent;
  REQUIRE(fs->Corrupt(kPath, 512 + 41, 0xff));
  CHECK(MustRead(*fs, &absent)->commit == 1);
  REQUIRE(fs->Corrupt(kPath, 41, 0xff));
  CHECK_FALSE(MustRead(*fs, &absent).has_value());
  CHECK(absent.find("no readable header") != std::string::npos);
}

TEST_CASE("a damaged table leaves the one before it", "[watermark]") {
  const auto fs = NewFaultFs();
  REQUIRE(Watermark::Create(*fs, kPath, kId).ok());
  {
    const auto watermark = MustOpenForWriting(*fs);
    REQUIRE(watermark->NoteAcknowledged(Table(300, 10))
                .ok());  // sequence 1, region 1: blocks at 8192, 16384
    REQUIRE(watermark->NoteAcknowledged(Table(300, 20))
                .ok());  // sequence 2, region 0: blocks at 4096, 12288
  }
  std::string absent;
  CHECK(MustRead(*fs, &absent)->next_ids == Table(300, 20));
  REQUIRE(fs->Corrupt(kPath, 12288 + 40, 1));
  CHECK(MustRead(*fs, &absent)->next_ids == Table(300, 10));
  REQUIRE(fs->Corrupt(kPath, 8192 + 40, 1));
  CHECK(MustRead(*fs, &absent)->next_ids.empty());
}

}  // namespace
}  // namespace strata::storage
