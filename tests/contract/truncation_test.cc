// Truncation: logical, inclusive, exact for readers.
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

void Fill(Client& client) {
  Create(client, "c");
  Append(client, "c", {"a", "b", "c"});
  Append(client, "c", {"d"});
  Append(client, "c", {"e", "f"});
}

TEST_CASE("Truncation is inclusive and exact, inside a batch too") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  for (MessageId through = 1; through < 6; ++through) {
    const ChannelInfo info = Get(client.TruncateChannel("c", through));
    CHECK(info.truncated_through == through);
    CHECK(info.first_available == through + 1);
    CHECK(info.next_id == 7);
    const std::string payload(1, static_cast<char>('a' + through));
    CHECK(Take(*Read(client, "c"), 1) == Strings{std::to_string(through + 1) + ":" + payload});
  }
}

TEST_CASE("Of a channel that was emptied append times go on, too, after a restart") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  const ChannelInfo before = Get(client.TruncateChannel("c", 6));
  // Its pages go in the sweeper's time, soon.
  const auto deadline = std::chrono::steady_clock::now() + kSoon;
  while (Get(client.DescribeChannel("c")).pages > 0) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
  place.Restart();
  CHECK(Get(place.client().DescribeChannel("c")).last_append_time == before.last_append_time);
  CHECK(Append(place.client(), "c", {"g"}).append_time >= before.last_append_time);
}

TEST_CASE("Truncation is clamped to the durable end and never moves back") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  CHECK(Get(client.TruncateChannel("c", 0)).truncated_through == 0);
  CHECK(Get(client.TruncateChannel("c", -5)).truncated_through == 0);
  CHECK(Get(client.TruncateChannel("c", 4)).truncated_through == 4);
  CHECK(Get(client.TruncateChannel("c", 2)).truncated_through == 4);
  const ChannelInfo info = Get(client.TruncateChannel("c", 1'000'000));
  CHECK(info.truncated_through == 6);
  CHECK(info.first_available == 7);
  CHECK(info.next_id == 7);
}

TEST_CASE("Ids go on after everything was truncated, and never come back") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Fill(place.client());
  Get(place.client().TruncateChannel("c", 6));
  CHECK(Fetched(Get(place.client().Fetch("c", {}))).empty());
  CHECK(Append(place.client(), "c", {"g"}).first_id == 7);
  CHECK(Take(*Read(place.client(), "c"), 1) == Strings{"7:g"});
  Get(place.client().TruncateChannel("c", 7));
  place.Restart();
  CHECK(Get(place.client().DescribeChannel("c")).first_available == 8);
  CHECK(Append(place.client(), "c", {"h"}).first_id == 8);
}

TEST_CASE("A start below the first available id moves forward after a gap") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  Get(client.TruncateChannel("c", 4));
  const auto first_two = [&](const StartPosition& start) {
    return Take(*Read(client, "c", start), 2);
  };
  CHECK(first_two(StartPosition::At(1)) == Strings{"gap 1-4 TRIMMED", "5:e"});
  CHECK(first_two(StartPosition::At(4)) == Strings{"gap 4-4 TRIMMED", "5:e"});
  CHECK(first_two(StartPosition::After(1)) == Strings{"gap 2-4 TRIMMED", "5:e"});
  // No gap: nothing is missing after these.
  CHECK(first_two(StartPosition::Earliest()) == Strings{"5:e", "6:f"});
  CHECK(first_two(StartPosition::At(0)) == Strings{"5:e", "6:f"});
  CHECK(first_two(StartPosition::After(4)) == Strings{"5:e", "6:f"});
  CHECK(first_two(StartPosition::AtTime(0)) == Strings{"5:e", "6:f"});
  // A seek is a start.
  auto reader = Read(client, "c", StartPosition::At(6));
  Ok(reader->Seek(StartPosition::At(3)));
  CHECK(reader->position() == 3);
  CHECK(Take(*reader, 2) == Strings{"gap 3-4 TRIMMED", "5:e"});
  CHECK(reader->position() == 6);
}

TEST_CASE("A start below the first available id of an empty channel waits behind the gap") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Fill(client);
  Get(client.TruncateChannel("c", 6));
  auto reader = Read(client, "c", StartPosition::At(2));
  CHECK(Take(*reader, 1) == Strings{"gap 2-6 TRIMMED"});
  Append(client, "c", {"g"});
  CHECK(Take(*reader, 1) == Strings{"7:g"});
}

TEST_CASE("A truncation ahead of a reader becomes a gap at its place") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  for (int i = 0; i < 100; ++i) Append(client, "c", {std::string(10'000, 'x')});
  // At most the first two batches are received ahead.
  auto reader = Read(client, "c", {}, {.read_ahead = 1});
  CHECK(Get(reader->Receive(kSoon)).message().id == 1);
  Get(client.TruncateChannel("c", 60));
  MessageId next = 2;
  while (next <= 100) {
    const Received received = Get(reader->Receive(kSoon));
    if (received.is_gap()) {
      CHECK(received.gap() == Gap{next, 60, GapReason::kTrimmed});
      CHECK(next <= 4);
      next = 61;
    } else {
      REQUIRE(received.message().id == next);
      ++next;
    }
  }
}

TEST_CASE("A truncation is durable when it is answered") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Fill(place.client());
  Get(place.client().TruncateChannel("c", 2));
  place.Restart();
  const ChannelInfo info = Get(place.client().DescribeChannel("c"));
  CHECK(info.truncated_through == 2);
  CHECK(info.first_available == 3);
  CHECK(Take(*Read(place.client(), "c", StartPosition::At(1)), 2) ==
        Strings{"gap 1-2 TRIMMED", "3:c"});
}

}  // namespace
}  // namespace strata::testing
