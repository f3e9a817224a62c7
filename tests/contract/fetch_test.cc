// Fetch: a few batches from a position, without keeping anything open.
#include <thread>

#include "tests/contract/place.h"

namespace strata::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST_CASE("A fetch brings what is there and says where the next one goes on") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  Append(client, "c", {"a", "b"});
  Append(client, "c", {"c"});
  const FetchResult all = Get(client.Fetch("c", StartPosition::Earliest()));
  CHECK(Fetched(all) == Strings{"1:a", "2:b", "3:c"});
  CHECK(all.batches.size() == 2);
  CHECK(all.next_position == 4);
  CHECK(all.next_id == 4);
  CHECK(all.first_available == 1);
  const FetchResult inside = Get(client.Fetch("c", StartPosition::After(1)));
  CHECK(Fetched(inside) == Strings{"2:b", "3:c"});
}

TEST_CASE("A fetch with nothing to bring answers at once, empty, with its position") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  Append(client, "c", {"a"});
  const FetchResult nothing = Get(client.Fetch("c", StartPosition::Latest()));
  CHECK(nothing.batches.empty());
  CHECK(nothing.next_position == 2);
  CHECK(nothing.next_id == 2);
  const FetchResult beyond = Get(client.Fetch("c", StartPosition::At(10)));
  CHECK(beyond.batches.empty());
  CHECK(beyond.next_position == 10);
  CHECK(beyond.next_id == 2);
}

TEST_CASE("The byte limit of a fetch is soft by one batch") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  for (int i = 0; i < 5; ++i) Append(client, "c", {std::string(1000, 'x')});
  const auto batches = [&](uint64_t max_bytes) {
    return Get(client.Fetch("c", {}, {.max_bytes = max_bytes})).batches.size();
  };
  CHECK(batches(1) == 1);
  CHECK(batches(1000) == 1);
  CHECK(batches(1500) == 2);
  CHECK(batches(0) == 5);  // the default
  CHECK(batches(uint64_t{1} << 40) == 5);
}

TEST_CASE("Fetches from one position to the next read the whole channel once") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  Strings expected;
  for (int i = 0; i < 60; i += 3) {
    Append(client, "c", {"x", "y", "z"});
    for (int k = 1; k <= 3; ++k) {
      expected.push_back(std::to_string(i + k) + ":" + std::string(1, "xyz"[k - 1]));
    }
  }
  Strings read;
  StartPosition position;
  while (true) {
    const FetchResult some = Get(client.Fetch("c", position, {.max_bytes = 40}));
    if (some.batches.empty()) break;
    const Strings fetched = Fetched(some);
    read.insert(read.end(), fetched.begin(), fetched.end());
    position = StartPosition::At(some.next_position);
  }
  CHECK(read == expected);
}

TEST_CASE("A fetch waits as long as it may, and no longer than needed") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  CHECK(Get(client.Fetch("c", {}, {.max_wait = milliseconds(20)})).batches.empty());
  Result<FetchResult> fetched = Status(Reason::INTERNAL, "not fetched");
  std::thread waiting([&] { fetched = client.Fetch("c", {}, {.max_wait = hours(1)}); });
  Append(client, "c", {"a"});
  waiting.join();
  CHECK(Fetched(Get(std::move(fetched))) == Strings{"1:a"});
}

TEST_CASE("A fetch announces gaps in their place") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  Append(client, "c", {"a", "b", "c"});
  Get(client.TruncateChannel("c", 2));
  const FetchResult from_the_start = Get(client.Fetch("c", StartPosition::At(1)));
  CHECK(Fetched(from_the_start) == Strings{"gap 1-2 TRIMMED", "3:c"});
  CHECK(from_the_start.first_available == 3);
  CHECK(Fetched(Get(client.Fetch("c", StartPosition::Earliest()))) == Strings{"3:c"});
}

}  // namespace
}  // namespace strata::testing
