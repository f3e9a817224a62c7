// Stored bytes that went bad: gaps over exactly the ids that cannot be read, neighbours readable, and verify finds
// all of it.
#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <functional>

#include "storage/codec.h"
#include "storage/verify.h"
#include "tests/storage/raw_database.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

using testing::FaultFileSystem;

constexpr size_t kPayload = 1000;
constexpr MessageId kEnd = 2001;

// A closed store with 400 batches of 5 messages of 1,000 bytes in channel 1, in pages of 512 KiB: some 8 blocks each.
struct Scene {
  std::shared_ptr<FaultFileSystem> fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);

  Scene() {
    options.page_size = 512u << 10;
    options.write_buffer = 16u << 20;
    auto store = MustOpen(options);
    Scribe scribe(*store);
    REQUIRE(scribe.Create(*store, 1, "logs").ok());
    REQUIRE(scribe.Create(*store, 2, "audit").ok());
    for (MessageId id = 1; id < kEnd; id += 5) {
      REQUIRE(scribe.Append(*store, 1, 5, kPayload).ok());
      REQUIRE(scribe.Append(*store, 2, 1, 10).ok());
    }
    REQUIRE(store->Close().ok());
  }

  // Flips a bit in the stored payload of a message of channel 1.
  void Rot(MessageId id) {
    for (const std::string& file : fs->Files()) {
      if (!file.ends_with(".sst")) continue;
      const size_t at = fs->Contents(file)->find(PayloadOf(1, id, kPayload));
      if (at == std::string::npos) continue;
      REQUIRE(fs->Corrupt(file, at + kPayload / 2, 0x40));
      return;
    }
    FAIL("message " << id << " is in no table file");
  }

  VerifyReport MustVerify() {
    auto report = Verify(options);
    INFO(report.status().ToString());
    REQUIRE(report.ok());
    return std::move(report).value();
  }
};

// Every id is read or inside a gap, exactly once.
void CheckComplete(const ReadBack& back, MessageId from, MessageId end) {
  CHECK(back.wrong == "");
  std::vector<MessageId> ids = back.ids;
  for (const Gap& gap : back.gaps) {
    CHECK(gap.reason == GapReason::kCorrupt);
    for (MessageId id = gap.first; id <= gap.last; ++id) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  CHECK(ids == Ids(from, end));
}

TEST_CASE("a rotten block is a gap, and its neighbours stay readable", "[damage]") {
  Scene scene;
  scene.Rot(1003);
  auto store = MustOpen(scene.options);
  const ReadBack back = ReadAll(*store, 1, 1, kEnd);
  CheckComplete(back, 1, kEnd);
  REQUIRE(back.gaps.size() == 1);
  const Gap gap = back.gaps[0];
  CHECK(gap.first <= 1003);
  CHECK(gap.last >= 1003);
  CHECK(gap.last - gap.first < 100);  // a block of 64 KiB has 60 to 70 such messages
  // Whole batches are lost, not parts.
  CHECK(gap.first % 5 == 1);
  CHECK(gap.last % 5 == 0);
  // Other channels do not notice.
  CHECK(ReadAll(*store, 2, 1, 401).ids == Ids(1, 401));
  CHECK_FALSE(store->failed());

  SECTION("wherever reading starts, the same ids are missing") {
    for (MessageId from = gap.first - 12; from <= gap.last + 12; ++from) {
      INFO("from " << from);
      const ReadBack part = ReadAll(*store, 1, from, kEnd, 3000);
      REQUIRE(part.wrong == "");
      REQUIRE(part.gaps.size() == (from <= gap.last ? 1 : 0));
      if (from <= gap.last)
        REQUIRE(part.gaps[0] == Gap{std::max(from, gap.first), gap.last, GapReason::kCorrupt});
    }
  }
  SECTION("a read that ends inside the damage cuts the gap there") {
    const ReadBack part = ReadAll(*store, 1, gap.first - 5, gap.last - 1);
    REQUIRE(part.gaps.size() == 1);
    CHECK(part.gaps[0] == Gap{gap.first, gap.last - 2, GapReason::kCorrupt});
  }
  SECTION("verify names channel and ids") {
    store.reset();
    const VerifyReport report = scene.MustVerify();
    CHECK_FALSE(report.ok());
    const std::string where = fmt::format("channel 'logs' (1), ids {}..{}", gap.first, gap.last);
    CHECK(std::any_of(report.problems.begin(), report.problems.end(),
                      [&](const VerifyProblem& problem) { return problem.where == where; }));
    CHECK(std::any_of(report.problems.begin(), report.problems.end(),
                      [](const VerifyProblem& problem) {
                        return problem.where.find(".sst") != std::string::npos;
                      }));
  }
}

TEST_CASE("several rotten blocks are several gaps", "[damage]") {
  Scene scene;
  // Neighbouring blocks, the very first and the very last message.
  for (const MessageId id : {1, 500, 565, 900, 1500, 2000}) scene.Rot(id);
  auto store = MustOpen(scene.options);
  const ReadBack back = ReadAll(*store, 1, 1, kEnd);
  CheckComplete(back, 1, kEnd);
  CHECK(back.gaps.size() >= 5);
  CHECK(back.ids.size() > 1400);
}

TEST_CASE("a rotten block does not hide what other files hold of the same channel", "[damage]") {
  // One block with the batches of two channels: behind the last one of the first channel it goes on.
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  options.page_size = 1u << 20;
  auto store = MustOpen(options);
  Scribe before(*store);
  REQUIRE(before.Create(*store, 1, "logs").ok());
  REQUIRE(before.Create(*store, 2, "audit").ok());
  for (int i = 0; i < 4; ++i) REQUIRE(before.Append(*store, 1, 5, 500).ok());
  REQUIRE(before.Append(*store, 2, 1, 500).ok());
  REQUIRE(store->Close().ok());
  store.reset();
  for (const std::string& file : fs->Files()) {
    const size_t at = fs->Contents(file)->find(PayloadOf(1, 3, 500));
    if (file.ends_with(".sst") && at != std::string::npos) REQUIRE(fs->Corrupt(file, at + 9, 1));
  }
  store = MustOpen(options);
  Scribe after(*store);
  for (int i = 0; i < 3; ++i) REQUIRE(after.Append(*store, 1, 5, 500).ok());
  const auto check = [&] {
    for (MessageId from = 1; from < 36; ++from) {
      INFO("from " << from);
      const ReadBack back = ReadAll(*store, 1, from, 36);
      CHECK(back.wrong == "");
      CHECK(back.ids == Ids(from <= 21 ? 21 : (from - 1) / 5 * 5 + 1, 36));
      CHECK(back.gaps.size() == (from < 21 ? 1 : 0));
    }
  };
  check();  // new ones in memory
  REQUIRE(store->Close().ok());
  store = MustOpen(options);
  check();  // in a file of their own
}

TEST_CASE("a row with a wrong checksum, a missing row and a misplaced one are gaps", "[damage]") {
  Scene scene;
  {
    RawDatabase raw(scene.fs);
    raw.Change(1, 101, [](std::string* value) { (*value)[60] ^= 1; });  // ids 101..105
    raw.Delete(1, 201);                                                 // 206 is there again
    raw.Copy(1, 301, 1, 306);  // 306 holds the bytes of 301
    raw.Change(1, 401, [](std::string* value) { value->resize(20); });
    raw.Change(1, 501, [](std::string* value) { value->clear(); });
    raw.Change(1, 506, [](std::string* value) { (*value)[0] = 9; });  // and 501 joins it
  }
  auto store = MustOpen(scene.options);
  const ReadBack back = ReadAll(*store, 1, 1, kEnd);
  CheckComplete(back, 1, kEnd);
  const std::vector<Gap> expected = {{101, 105, GapReason::kCorrupt},
                                     {201, 205, GapReason::kCorrupt},
                                     {306, 310, GapReason::kCorrupt},
                                     {401, 405, GapReason::kCorrupt},
                                     {501, 510, GapReason::kCorrupt}};
  CHECK(back.gaps == expected);
  // Starting inside a damaged batch.
  CHECK(ReadAll(*store, 1, 103, 120).gaps == std::vector<Gap>{{103, 105, GapReason::kCorrupt}});
  store.reset();
  const VerifyReport report = scene.MustVerify();
  for (const char* ids : {"101..105", "201..205", "306..310", "401..405", "501..510"}) {
    const std::string where = fmt::format("channel 'logs' (1), ids {}", ids);
    INFO(where);
    CHECK(std::any_of(report.problems.begin(), report.problems.end(),
                      [&](const VerifyProblem& problem) { return problem.where == where; }));
  }
}

TEST_CASE("a time is found although batches around it are damaged", "[damage]") {
  Scene scene;
  auto clean = MustOpen(scene.options);
  const auto first = clean->Read(1, 1, kEnd, 1);
  REQUIRE(first.ok());
  const TimeMicros start = std::get<StoredBatch>(first->front()).append_time;
  clean.reset();
  scene.Rot(1003);
  auto store = MustOpen(scene.options);
  const ReadBack back = ReadAll(*store, 1, 1, kEnd);
  REQUIRE(back.gaps.size() == 1);
  // Batches of channel 1 are 2,000 microseconds apart.
  for (MessageId id = 1; id < kEnd; id += 5) {
    const TimeMicros time = start + (id - 1) / 5 * 2000;
    const auto found = store->FindTime(1, time, 1, kEnd);
    REQUIRE(found.ok());
    const bool damaged = back.gaps[0].first <= id && id <= back.gaps[0].last;
    REQUIRE(*found == (damaged ? back.gaps[0].last + 1 : id));
  }
}

TEST_CASE("a sound store has no problem", "[damage]") {
  Scene scene;
  uint64_t last_progress = 0;
  const auto report = Verify(scene.options, [&](uint64_t bytes) { last_progress = bytes; });
  REQUIRE(report.ok());
  for (const VerifyProblem& problem : report->problems)
    FAIL_CHECK(problem.where << ": " << problem.what);
  CHECK(report->ok());
  CHECK(report->channels == 2);
  CHECK(report->messages == 2400);
  CHECK(report->batches == 800);
  CHECK(report->pages >= 5);
  CHECK(report->strata >= 1);
  CHECK(last_progress > 2'000'000);
}

TEST_CASE("verify finds what does not fit together in the catalog", "[damage]") {
  Scene scene;
  {
    RawDatabase raw(scene.fs);
    raw.DeleteCatalogRow(
        std::string("C\0\0\0\0\0\0\0\2", 9));  // the row of channel 2, not its pages
    raw.PutCatalogRow(std::string("U\0\0\0\0\0\0\0\1late", 13), "\x08\x90\x4e");  // cursor 10,000
    raw.PutCatalogRow(std::string("U\0\0\0\0\0\0\0\7lost", 13), "\x08\x01");
    raw.PutCatalogRow(std::string("C\0\0\0\0\0\0\0\3", 9), "garbage");
  }
  const VerifyReport report = scene.MustVerify();
  const auto found = [&report](const std::string& part) {
    return std::any_of(
        report.problems.begin(), report.problems.end(), [&](const VerifyProblem& problem) {
          return (problem.where + ": " + problem.what).find(part) != std::string::npos;
        });
  };
  CHECK(found("channel 2: has"));
  CHECK(
      found("subscription 'late' of channel 1: its cursor is at 10000, the channel ends at 2001"));
  CHECK(found("subscription 'lost' of channel 7: belongs to no channel"));
  CHECK(found("catalog row 430000000000000003: not a channel row"));
}

TEST_CASE("verify changes nothing and finds a table file that cannot be opened", "[damage]") {
  Scene scene;
  std::string table;
  for (const std::string& file : scene.fs->Files()) {
    if (file.ends_with(".sst")) table = file;
  }
  const size_t size = scene.fs->Contents(table)->size();
  REQUIRE(scene.fs->Corrupt(table, size - 3, 0xff));  // the magic number at the very end
  std::map<std::string, std::string> before;
  for (const std::string& file : scene.fs->Files()) before[file] = *scene.fs->Contents(file);
  const VerifyReport report = scene.MustVerify();
  CHECK_FALSE(report.ok());
  REQUIRE_FALSE(report.problems.empty());
  CHECK(report.problems[0].where.find(table.substr(table.rfind('/') + 1)) != std::string::npos);
  std::map<std::string, std::string> after;
  for (const std::string& file : scene.fs->Files()) after[file] = *scene.fs->Contents(file);
  CHECK(before == after);
}

TEST_CASE("a store that is open is not verified", "[damage]") {
  const auto fs = NewFaultFs();
  const auto store = MustOpen(TinyOptions(fs));
  CHECK(Verify(TinyOptions(fs)).status().reason() == Reason::STORE_LOCKED);
}

}  // namespace
}  // namespace strata::storage
