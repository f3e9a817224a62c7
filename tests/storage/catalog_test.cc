#include "storage/catalog.h"

#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/write_batch.h>

#include <memory>
#include <string>
#include <utility>

#include "tests/storage/raw_database.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return hex;
}

TEST_CASE("the rows of the documented example never change", "[catalog]") {
  // docs/formats/catalog.md, "Worked example".
  const auto fs = NewFaultFs();
  StoreOptions options = TinyOptions(fs);
  ManualClock clock(1'700'000'000'000'000);
  options.clock = &clock;
  auto store = MustOpen(options);
  Scribe scribe(*store);
  ChannelRecord channel = MakeChannel(1, "logs");
  channel.created_at = 1'699'999'999'000'000;
  REQUIRE(store->Write(scribe.Begin().Change(PutChannel{channel}).group()).ok());
  BatchBuilder builder;
  builder.Add("hi");
  WriteGroup group;
  group.commit = 2;
  group.batches.push_back({1, 1, 1, 1'700'000'000'000'000, 0, 0, builder.Take()});
  REQUIRE(store->Write(group).ok());
  // The run row as of an open store, so without closing it.
  fs->CutAfterNextWrites(0);
  store.reset();
  fs->ProcessKill();
  const std::map<std::string, std::string> rows = RawDatabase(fs).CatalogRows();

  std::map<std::string, std::string> hex;
  for (const auto& [key, value] : rows) hex[Hex(key)] = Hex(value);
  const std::string created = "c0fbbbc0c1c48203";   // varint of 1699999999000000
  const std::string appended = "8080f9c0c1c48203";  // varint of 1700000000000000
  const std::map<std::string, std::string> expected = {
      {"43"
       "0000000000000001",
       "0a046c6f6773"
       "1001"
       "18" +
           created + "2001"},
      {"46", "0802"},
      {"47", "0000000000000001"},
      {"4d", "0802"},
      {"50"
       "0000000000000001"
       "0000000000000001",
       "0802"
       "103e"
       "1801"
       "20" +
           appended + "28" + appended +
           "3001"
           "3802"},
      {"52",
       "0a06626f6f742d31"
       "1001"
       "1801"
       "20" +
           appended},
      {"53"
       "00000001",
       "08" + appended},
  };
  for (const auto& [key, value] : expected) {
    INFO("row " << key);
    CHECK(hex[key] == value);
  }
  CHECK(hex.size() == expected.size());
}

// Creates "logs" with these rules in one store and returns what the next one finds.
RetentionOverrides Reopened(const RetentionOverrides& retention) {
  const auto fs = NewFaultFs();
  {
    auto store = MustOpen(TinyOptions(fs));
    Scribe scribe(*store);
    ChannelRecord channel = MakeChannel(1, "logs");
    channel.options.retention = retention;
    REQUIRE(store->Write(scribe.Begin().Change(PutChannel{channel}).group()).ok());
  }
  auto store = MustOpen(TinyOptions(fs));
  const Recovered recovered = store->TakeRecovered();
  REQUIRE(recovered.channels.size() == 1);
  return recovered.channels.front().record.options.retention;
}

TEST_CASE("a channel's own retention rules are kept, set or not set", "[catalog]") {
  CHECK(Reopened({}) == RetentionOverrides());
  const RetentionOverrides all{.policy = RetentionPolicy::kTruncated,
                               .retention_time = 3 * 86'400'000'000,
                               .retention_size = kNoLimit,
                               .max_messages = 0};
  CHECK(Reopened(all) == all);
  RetentionOverrides one;
  one.retention_size = 0;
  CHECK(Reopened(one) == one);
}

TEST_CASE("a channel's rules that cannot be are damage", "[catalog]") {
  // ChannelRow{name: "c", first_id: 1, next_id: 1} and one more field.
  const std::string row(
      "\x0a\x01"
      "c\x10\x01\x20\x01");
  const std::pair<std::string, std::string> rows[] = {
      {std::string("\x40\x00", 2), "unknown retention policy"},
      {std::string("\x40\x04", 2), "unknown retention policy"},
      // -2 as a varint.
      {"\x48\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "impossible retention rule"},
      {"\x50\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "impossible retention rule"},
      {"\x58\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "impossible retention rule"},
  };
  for (const auto& [field, what] : rows) {
    const auto fs = NewFaultFs();
    MustOpen(TinyOptions(fs)).reset();
    RawDatabase(fs).PutCatalogRow("C" + std::string(7, '\0') + "\1", row + field);
    const auto store = Store::Open(TinyOptions(fs));
    INFO(what);
    REQUIRE_FALSE(store.ok());
    CHECK(store.status().reason() == Reason::CORRUPTION);
    CHECK(store.status().message().find(what) != std::string::npos);
  }
}

// Writes `stratum` into an empty database and reads it back.
StratumRecord ReadBack(const StratumRecord& stratum) {
  const std::unique_ptr<rocksdb::Env> env(rocksdb::NewMemEnv(rocksdb::Env::Default()));
  rocksdb::Options options;
  options.create_if_missing = true;
  options.env = env.get();
  rocksdb::DB* opened = nullptr;
  REQUIRE(rocksdb::DB::Open(options, "/catalog", &opened).ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  CatalogWriter writer(db->DefaultColumnFamily());
  rocksdb::WriteBatch batch;
  writer.PutStratum(&batch, stratum);
  REQUIRE(db->Write({}, &batch).ok());
  std::string bad;
  const auto catalog =
      LoadCatalog(db.get(), db->DefaultColumnFamily(),
                  [&](const std::string& where, const std::string& what) { bad = where + what; });
  REQUIRE(catalog.ok());
  CHECK(bad.empty());
  REQUIRE(catalog->strata.size() == 1);
  return catalog->strata.front();
}

TEST_CASE("a stratum's row says whether and why it is quarantined", "[catalog]") {
  const StratumRecord sound = ReadBack({3, 10, 20, ""});
  CHECK(sound.number == 3);
  CHECK(sound.created_at == 10);
  CHECK(sound.sealed_at == 20);
  CHECK(sound.quarantined.empty());
  CHECK(ReadBack({3, 10, 20, "block 7 fails its checksum"}).quarantined ==
        "block 7 fails its checksum");
  // Names of files may be of any bytes; the row has to be read again.
  CHECK(ReadBack({3, 10, 20, "/data/\xe4/000012.sst"}).quarantined == "/data/?/000012.sst");
}

TEST_CASE("a group's number is found in its rows", "[catalog]") {
  std::string commit(8, '\0');
  commit[7] = 9;
  CHECK(CommitOfRow("G", commit) == 9);
  CHECK_FALSE(CommitOfRow("G", "short").has_value());
  CHECK_FALSE(CommitOfRow("F", "\x08\x01").has_value());
  CHECK_FALSE(CommitOfRow("", "").has_value());
  // PageRow{next_id: 2, batches: 1, commit: 7}
  const std::string key = "P" + std::string(7, '\0') + "\1" + std::string(7, '\0') + "\1";
  CHECK(CommitOfRow(key, "\x08\x02\x18\x01\x38\x07") == 7);
}

TEST_CASE("rows of a kind that is not known are left alone, with a warning", "[catalog]") {
  const auto fs = NewFaultFs();
  MustOpen(TinyOptions(fs)).reset();
  RawDatabase(fs).PutCatalogRow("Zebra", "1");
  LogLines lines;
  StoreOptions options = TinyOptions(fs);
  options.log = lines.logger();
  MustOpen(options).reset();
  CHECK(lines.Contains("1 catalog rows are of a kind that is not known"));
  CHECK(RawDatabase(fs).CatalogRows().contains("Zebra"));
}

TEST_CASE("a row that cannot be read keeps the store from opening, and is named", "[catalog]") {
  const auto fs = NewFaultFs();
  MustOpen(TinyOptions(fs)).reset();
  RawDatabase(fs).PutCatalogRow("M", "garbage");
  const auto store = Store::Open(TinyOptions(fs));
  REQUIRE_FALSE(store.ok());
  CHECK(store.status().reason() == Reason::CORRUPTION);
  CHECK(store.status().message().find("catalog row 4D: not a meta row") != std::string::npos);
}

// It would be read in the place of the real one, and stay when that is written again.
TEST_CASE("a row that there is once is not read from a longer key", "[catalog]") {
  for (const std::string kind : {"R", "G", "M"}) {
    const auto fs = NewFaultFs();
    {
      auto store = MustOpen(TinyOptions(fs));
      Scribe scribe(*store);
      REQUIRE(scribe.Create(*store, 1, "logs").ok());  // writes G and M, which a new store has not
    }
    const std::string value = RawDatabase(fs).CatalogRows()[kind];
    INFO("kind " << kind);
    REQUIRE_FALSE(value.empty());
    RawDatabase(fs).PutCatalogRow(kind + "x", value);
    const auto store = Store::Open(TinyOptions(fs));
    REQUIRE_FALSE(store.ok());
    CHECK(store.status().message().find("78: not a ") != std::string::npos);
  }
}

}  // namespace
}  // namespace strata::storage
