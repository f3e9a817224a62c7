// Producers with an identity: what is sent twice is stored once, and who is not the writer any more is
// kept out.
#include <cstdlib>
#include <thread>

#include "base/mutex.h"
#include "tests/contract/place.h"

namespace strata::testing {
namespace {

std::vector<Message> One(const std::string& payload) { return {{payload, {}}}; }

Buffer Batch(const Strings& payloads) {
  BatchBuilder builder;
  for (const std::string& payload : payloads) builder.Add(payload);
  return builder.Take();
}

AppendOptions As(const std::string& producer, uint64_t sequence, int64_t term = 1) {
  AppendOptions options;
  options.producer = producer;
  options.term = term;
  options.sequence = sequence;
  return options;
}

AppendOptions Expecting(MessageId id) {
  AppendOptions options;
  options.expected_next_id = id;
  return options;
}

Strings All(Client& client, const std::string& channel) {
  return Fetched(Get(client.Fetch(channel, {}, {.max_bytes = 8u << 20})));
}

// "c", with a producer "p" of term 1 that the broker knows.
void CreateWithProducer(Client& client) {
  Create(client, "c");
  Ok(Produce(client, "c", {.name = "p", .term = 1})->Close());
}

std::string SendAndWait(Producer& producer, const std::string& payload) {
  const Result<MessageId> id = producer.Send(Message{payload, {}}).get();
  return id.ok() ? std::to_string(*id) : Why(id);
}

TEST_CASE("A batch that is sent twice is stored once and answered with its first result") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  CreateWithProducer(client);
  const AppendResult first = Get(client.Append("c", Batch({"a", "b"}), As("p", 1)));
  Append(client, "c", {"other"});
  const AppendResult again = Get(client.Append("c", Batch({"a", "b"}), As("p", 1)));
  CHECK(again.first_id == first.first_id);
  CHECK(again.count == 2);
  CHECK(again.append_time == first.append_time);
  place.Restart();
  CHECK(Get(place.client().Append("c", Batch({"a", "b"}), As("p", 1))).first_id == first.first_id);
  CHECK(All(place.client(), "c") == Strings{"1:a", "2:b", "3:other"});
}

TEST_CASE("Sequences start at 1, have no holes, and mean one content") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  CreateWithProducer(client);
  CHECK(Why(client.Append("c", One("a"), As("p", 2))) == "OUT_OF_SEQUENCE not");
  CHECK(Get(client.Append("c", One("a"), As("p", 1))).first_id == 1);
  CHECK(Why(client.Append("c", One("c"), As("p", 3))) == "OUT_OF_SEQUENCE not");
  CHECK(Why(client.Append("c", One("b"), As("p", 1))) == "INVALID_ARGUMENT not");
  CHECK(Get(client.Append("c", One("b"), As("p", 2))).first_id == 2);
  CHECK(All(client, "c") == Strings{"1:a", "2:b"});
}

TEST_CASE("The last 64 results of a producer are known, older ones only to be stored") {
  Place place(GENERATE(EVERY_TRANSPORT));
  CreateWithProducer(place.client());
  for (uint64_t sequence = 1; sequence <= kProducerWindow + 1; ++sequence) {
    const auto id = static_cast<MessageId>(sequence);
    CHECK(Get(place.client().Append("c", One("m"), As("p", sequence))).first_id == id);
  }
  for (const bool restarted : {false, true}) {
    if (restarted) place.Restart();
    CHECK(Get(place.client().Append("c", One("m"), As("p", 2))).first_id == 2);
    CHECK(Why(place.client().Append("c", One("m"), As("p", 1))) == "DUPLICATE_UNKNOWN_ID yes");
  }
}

TEST_CASE("A term fences older instances of its name, and nobody else") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto first = Produce(client, "c", {.name = "p", .term = 1});
  auto other = Produce(client, "c", {.name = "q", .term = 1});
  auto plain = Produce(client, "c");
  CHECK(SendAndWait(*first, "a") == "1");
  auto second = Produce(client, "c", {.name = "p", .term = 2});
  CHECK(SendAndWait(*second, "b") == "2");
  CHECK(SendAndWait(*first, "late") == "FENCED not");
  CHECK(Why(first->Send("later", nullptr)) == "FENCED not");
  CHECK(Why(client.OpenProducer("c", {.name = "p", .term = 1})) == "FENCED");
  CHECK(SendAndWait(*other, "c") == "3");
  CHECK(SendAndWait(*plain, "d") == "4");
  CHECK(Append(client, "c", {"e"}).first_id == 5);
}

TEST_CASE("An exclusive producer keeps everybody else out until it closes, lower terms for good") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  auto plain = Produce(client, "c");
  auto named = Produce(client, "c", {.name = "p", .term = 1});
  CHECK(SendAndWait(*plain, "a") == "1");
  auto owner = Produce(client, "c", {.name = "owner", .term = 5, .exclusive = true});
  CHECK(Get(client.DescribeChannel("c")).exclusive_term == 5);
  CHECK(Get(client.DescribeChannel("c")).exclusive_holder == "owner");
  CHECK(SendAndWait(*plain, "late") == "FENCED not");
  CHECK(SendAndWait(*named, "late") == "FENCED not");
  CHECK(Why(client.Append("c", One("late"))) == "FENCED not");
  CHECK(Why(client.OpenProducer("c", {.name = "x", .term = 4, .exclusive = true})) == "FENCED");
  CHECK(SendAndWait(*owner, "b") == "2");
  // Its end by itself releases nothing: a crash must not let an old writer in.
  place.Restart();
  CHECK(Why(place.client().Append("c", One("late"))) == "FENCED not");
  auto back = Produce(place.client(), "c", {.name = "owner", .term = 5, .exclusive = true});
  CHECK(SendAndWait(*back, "c") == "3");
  Ok(back->Close());
  CHECK(Get(place.client().DescribeChannel("c")).exclusive_holder.empty());
  CHECK(Append(place.client(), "c", {"d"}).first_id == 4);
  CHECK(Why(place.client().OpenProducer("c", {.name = "x", .term = 4, .exclusive = true})) ==
        "FENCED");
  CHECK(All(place.client(), "c") == Strings{"1:a", "2:b", "3:c", "4:d"});
}

TEST_CASE("An exclusive producer needs a name and a term above 0") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  CHECK(Why(client.OpenProducer("c", {.term = 1, .exclusive = true})) == "INVALID_ARGUMENT");
  CHECK(Why(client.OpenProducer("c", {.name = "p", .exclusive = true})) == "INVALID_ARGUMENT");
  CHECK(Why(client.OpenProducer("c", {.name = "p", .term = -1})) == "INVALID_ARGUMENT");
}

// $STRATA_RACES of them, also across restarts.
TEST_CASE(
    "Two terms race: once the newer one has stored something, the older one never does again") {
  const char* given = std::getenv("STRATA_RACES");
  const int races = given != nullptr && *given != '\0' ? std::atoi(given) : 20;
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  for (int race = 0; race < races; ++race) {
    INFO("race " << race);
    const int64_t older = 2 * race + 1;
    auto old_client = place.NewClient();
    auto old_owner = Produce(*old_client, "c", {.name = "owner", .term = older, .exclusive = true});
    std::thread old_writer([&] {
      // Without fencing it would come to its end, too.
      for (int i = 0; i < 2'000; ++i) {
        if (!old_owner->Send(Message{"old", {}}).get().ok()) return;
      }
    });
    auto owner =
        Produce(place.client(), "c", {.name = "owner", .term = older + 1, .exclusive = true});
    const Result<MessageId> taken = owner->Send(Message{"new", {}}).get();
    old_writer.join();
    const MessageId first = Get(taken);
    old_owner.reset();
    old_client.reset();
    if (race % 8 == 7) {
      owner.reset();
      place.Restart();
    }
    CHECK(Why(place.client().OpenProducer(
              "c", {.name = "owner", .term = older, .exclusive = true})) == "FENCED");
    CHECK(Fetched(Get(place.client().Fetch("c", StartPosition::At(first)))) ==
          Strings{std::to_string(first) + ":new"});
  }
}

TEST_CASE("An append may demand its id, and is told the right one") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  Create(client, "c");
  CHECK(Get(client.Append("c", One("a"), Expecting(1))).first_id == 1);
  for (const MessageId wrong : {1, 3, 1000}) {
    const Result<AppendResult> refused = client.Append("c", One("x"), Expecting(wrong));
    CHECK(Why(refused) == "ID_MISMATCH not");
    CHECK(refused.status().actual_next_id() == 2);
  }
  CHECK(Get(client.Append("c", One("b"), Expecting(2))).first_id == 2);
  CHECK(All(client, "c") == Strings{"1:a", "2:b"});
}

TEST_CASE(
    "Of many who demand the same id one gets it, and with the answer the others find theirs") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  constexpr int kWriters = 8;
  constexpr int kEach = 10;
  std::vector<std::string> wrong(kWriters);
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      MessageId next = 1;
      for (int done = 0; done < kEach;) {
        const auto result = place.client().Append("c", One("m"), Expecting(next));
        if (result.ok()) {
          ++done;
          next = result->first_id + 1;
        } else if (result.status().actual_next_id().has_value()) {
          next = *result.status().actual_next_id();
        } else {
          wrong[w] = result.status().ToString();
          return;
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  for (const std::string& what : wrong) CHECK(what == "");
  CHECK(Get(place.client().DescribeChannel("c")).next_id == kWriters * kEach + 1);
}

TEST_CASE("An append to several channels is stored in all of them, or in none") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  for (const char* channel : {"a", "b", "c"}) Create(client, channel);
  Append(client, "b", {"before"});
  const auto results =
      Get(client.AppendMulti({{"b", Batch({"x", "y"}), {}}, {"a", Batch({"z"}), {}}}));
  REQUIRE(results.size() == 2);
  CHECK(results[0].first_id == 2);
  CHECK(results[0].count == 2);
  CHECK(results[1].first_id == 1);

  CHECK(Why(client.AppendMulti({{"a", Batch({"no"}), {}}, {"missing", Batch({"no"}), {}}})) ==
        "CHANNEL_NOT_FOUND not");
  CHECK(Why(client.AppendMulti({{"a", Batch({"no"}), {}}, {"b", Batch({"no"}), Expecting(99)}})) ==
        "ID_MISMATCH not");
  CHECK(Why(client.AppendMulti({{"a", Batch({"no"}), {}}, {"c", Buffer("nonsense"), {}}})) ==
        "INVALID_BATCH not");
  CHECK(Why(client.AppendMulti({{"a", Batch({"no"}), {}}, {"a", Batch({"no"}), {}}})) ==
        "INVALID_ARGUMENT not");
  CHECK(Why(client.AppendMulti({})) == "INVALID_ARGUMENT not");
  auto owner = Produce(client, "c", {.name = "owner", .term = 1, .exclusive = true});
  CHECK(Why(client.AppendMulti({{"a", Batch({"no"}), {}}, {"c", Batch({"no"}), {}}})) ==
        "FENCED not");
  CHECK(All(client, "a") == Strings{"1:z"});
  CHECK(All(client, "b") == Strings{"1:before", "2:x", "3:y"});
  CHECK(All(client, "c").empty());
  place.Restart();
  CHECK(All(place.client(), "a") == Strings{"1:z"});
  CHECK(All(place.client(), "b") == Strings{"1:before", "2:x", "3:y"});
}

TEST_CASE("Named producers are listed, and one without a name is forgotten when it closes") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  for (const char* channel : {"b", "a"}) Create(client, channel);
  CHECK(Get(client.ListProducers()).empty());
  auto p = Produce(client, "b", {.name = "p", .term = 3});
  CHECK(p->name() == "p");
  CHECK(SendAndWait(*p, "x") == "1");
  auto q = Produce(client, "a", {.name = "q"});
  CHECK(SendAndWait(*q, "x") == "1");
  Ok(q->Close());
  auto unnamed = Produce(client, "a");
  // Where a connection may break it has a name that was made up.
  CHECK((place.server() == nullptr) == unnamed->name().empty());
  CHECK(SendAndWait(*unnamed, "y") == "2");
  Ok(unnamed->Close());

  const std::vector<ProducerInfo> all = Get(client.ListProducers());
  REQUIRE(all.size() == 2);
  CHECK(all[0].channel == "a");
  CHECK(all[0].name == "q");
  CHECK_FALSE(all[0].open);
  CHECK(all[1].channel == "b");
  CHECK(all[1].name == "p");
  CHECK(all[1].term == 3);
  CHECK(all[1].last_sequence == 1);
  CHECK(all[1].open);
  CHECK(all[1].created_at > 0);
  CHECK(all[1].active_at >= all[1].created_at);
  CHECK(Get(client.ListProducers("a")).size() == 1);
  CHECK(Why(client.ListProducers("missing")) == "CHANNEL_NOT_FOUND");
}

TEST_CASE("A producer's sequences go on across its terms, its closing and a restart") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Create(place.client(), "c");
  for (int64_t term = 1; term <= 3; ++term) {
    auto producer = Produce(place.client(), "c", {.name = "p", .term = term});
    CHECK(producer->end_at_open() == term);
    CHECK(SendAndWait(*producer, "m") == std::to_string(term));
    Ok(producer->Close());
    if (term == 2) place.Restart();
    CHECK(Get(place.client().ListProducers("c")).front().last_sequence ==
          static_cast<uint64_t>(term));
  }
}

TEST_CASE("A channel of a new number is refused by the number of the old one") {
  Place place(GENERATE(EVERY_TRANSPORT));
  Client& client = place.client();
  AppendOptions old;
  old.channel_number = Create(client, "c").number;
  Append(client, "c", {"a"});
  Ok(client.DeleteChannel("c"));
  Create(client, "c");
  CHECK(Why(client.Append("c", One("late"), old)) == "CHANNEL_RECREATED not");
  CHECK(All(client, "c").empty());
}

}  // namespace
}  // namespace strata::testing
