#include "storage/catalog.h"

#include <fmt/format.h>

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
      {"46", "0801"},
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

}  // namespace
}  // namespace strata::storage
