#include "storage/page_index.h"

#include "tests/support/catch.h"

namespace strata::storage {
namespace {

Page MakePage(MessageId first, MessageId next, TimeMicros first_time, TimeMicros last_time) {
  return Page{.first = first,
              .next = next,
              .bytes = 10,
              .batches = 1,
              .stratum = 1,
              .first_time = first_time,
              .last_time = last_time,
              .commit = 1};
}

TEST_CASE("the page with an id inside is found, or the first one after it", "[page-index]") {
  PageIndex index;
  index.Apply({{1, MakePage(5, 10, 100, 200)},
               {1, MakePage(10, 20, 200, 300)},
               {1, MakePage(50, 60, 400, 500)}});
  CHECK(index.Find(1, 1)->first == 5);
  CHECK(index.Find(1, 9)->first == 5);
  CHECK(index.Find(1, 10)->first == 10);
  CHECK(index.Find(1, 20)->first == 50);
  CHECK_FALSE(index.Find(1, 60).has_value());
  CHECK_FALSE(index.Find(2, 1).has_value());
  CHECK(index.Oldest(1)->first == 5);
  CHECK_FALSE(index.Oldest(2).has_value());
}

TEST_CASE("an update of the last page replaces it", "[page-index]") {
  PageIndex index;
  index.Apply({{1, MakePage(1, 2, 100, 100)}});
  Page grown = MakePage(1, 8, 100, 150);
  grown.bytes = 70;
  index.Apply({{1, grown}, {1, MakePage(8, 9, 160, 160)}});
  REQUIRE(index.Pages(1).size() == 2);
  CHECK(index.Pages(1)[0] == grown);
  CHECK(index.pages() == 2);
  CHECK(index.bytes() == 80);
}

TEST_CASE("a time finds the first page that still has something as new", "[page-index]") {
  PageIndex index;
  index.Apply({{1, MakePage(1, 10, 100, 200)},
               {1, MakePage(10, 20, 200, 300)},
               {1, MakePage(20, 30, 400, 500)}});
  CHECK(index.FindTime(1, 0, 1)->first == 1);
  CHECK(index.FindTime(1, 200, 1)->first == 1);
  CHECK(index.FindTime(1, 201, 1)->first == 10);
  CHECK(index.FindTime(1, 301, 1)->first == 20);
  CHECK(index.FindTime(1, 0, 15)->first == 10);
  CHECK_FALSE(index.FindTime(1, 501, 1).has_value());
}

TEST_CASE("a dropped channel takes its pages and bytes along", "[page-index]") {
  PageIndex index;
  index.Apply({{1, MakePage(1, 10, 1, 2)}, {17, MakePage(1, 10, 1, 2)}});
  index.DropChannel(1);
  CHECK(index.Pages(1).empty());
  CHECK(index.Pages(17).size() == 1);
  CHECK(index.pages() == 1);
  CHECK(index.bytes() == 10);
}

}  // namespace
}  // namespace strata::storage
