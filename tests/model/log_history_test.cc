// The checker itself: a good history passes, and each kind of bad one is found.
#include "tests/support/log_history.h"

#include <functional>

#include "tests/support/catch.h"

namespace strata::testing {
namespace {

using Attempt = LogHistory::Attempt;
using Outcome = Attempt::Outcome;
using Strings = std::vector<std::string>;

Attempt Plain(const std::string& payload, uint64_t sent, uint64_t answered, MessageId id) {
  return {.channel = "c",
          .payloads = {payload},
          .sent = sent,
          .answered = answered,
          .outcome = Outcome::kAcknowledged,
          .first_id = id};
}

Attempt By(const std::string& producer, int64_t term, uint64_t sequence, Attempt attempt) {
  attempt.producer = producer;
  attempt.term = term;
  attempt.sequence = sequence;
  return attempt;
}

void SetLog(LogHistory* history, const std::string& channel, const Strings& payloads) {
  auto& log = history->log[channel];
  log.clear();
  for (const std::string& payload : payloads) {
    log.push_back({static_cast<MessageId>(log.size()) + 1, payload, 1'000});
  }
}

// In the order of ids: a plain append, a producer's batch of two, sent twice because its first answer
// was lost, one that demanded its id, an append together with one of "d", a read one that nobody
// acknowledged, and the producer's second.
LogHistory Good() {
  LogHistory history;
  history.attempts = {
      Plain("a", 1, 2, 1),
      By("p", 0, 1, {.channel = "c", .payloads = {"b1", "b2"}, .sent = 3}),
      By("p", 0, 1, Plain("b1", 5, 6, 2)),
      Plain("e", 7, 8, 4),
      Plain("late", 9, 12, 0),
      Plain("t", 13, 16, 5),
      Plain("u", 13, 16, 1),
      {.channel = "c", .payloads = {"r"}, .sent = 17},
      By("p", 0, 2, Plain("b3", 20, 22, 7)),
  };
  history.attempts[2].payloads = {"b1", "b2"};
  history.attempts[3].expected_next_id = 4;
  history.attempts[4].expected_next_id = 4;
  history.attempts[4].outcome = Outcome::kNotAppended;
  history.attempts[4].actual_next_id = 5;
  history.attempts[5].together = history.attempts[6].together = 1;
  history.attempts[6].channel = "d";
  SetLog(&history, "c", {"a", "b1", "b2", "e", "t", "r", "b3"});
  SetLog(&history, "d", {"u"});
  history.readings = {
      {"reader", "c", 1, {{1, "a", 4}, {2, "b1", 5}, {3, "b2", 6}, {4, "e", 18}, {5, "t", 18}}},
      {"tail", "c", 6, {{6, "r", 19}, {7, "b3", 25}}},
      {"one", "c", 0, {{1, "a", 4}, {2, "b1", 5}}, "s"},
      {"two", "c", 0, {{2, "b1", 9}, {3, "b2", 9}, {4, "e", 9}}, "s", 1},
  };
  history.ends = {{"c", 10, 11, 5}, {"c", 23, 24, 8}};
  return history;
}

// "c" held by "one" with term 1, then by "two" with term 2, then by nobody.
LogHistory Held() {
  LogHistory history;
  history.attempts = {By("one", 1, 1, Plain("a", 3, 4, 1)), By("two", 2, 1, Plain("b", 7, 8, 2)),
                      By("one", 1, 2, Plain("late", 9, 10, 0)), Plain("free", 13, 14, 3)};
  history.attempts[2].outcome = Outcome::kNotAppended;
  history.holds = {{"c", "one", 1, 1, 2, LogHistory::kNever}, {"c", "two", 2, 5, 6, 11}};
  SetLog(&history, "c", {"a", "b", "free"});
  return history;
}

// That it is found, and by the rule that is meant.
void Found(LogHistory history, const std::function<void(LogHistory&)>& spoil,
           const std::string& said) {
  spoil(history);
  const Strings wrong = CheckHistory(history);
  std::string all;
  for (const std::string& line : wrong) all += line + "\n";
  INFO(said << "\n" << all);
  CHECK(all.find(said) != std::string::npos);
}

TEST_CASE("A history that keeps all rules passes the checker") {
  CHECK(CheckHistory(Good()) == Strings{});
  CHECK(CheckHistory(Held()) == Strings{});
  CHECK(CheckHistory(LogHistory()) == Strings{});
}

TEST_CASE("A log with a hole, a repetition, a stranger or half a batch is found") {
  Found(
      Good(), [](LogHistory& h) { h.log["c"].erase(h.log["c"].begin()); }, "instead of 1");
  Found(
      Good(), [](LogHistory& h) { h.log["c"][3].id = 5; }, "has id 5 instead of 4");
  Found(
      Good(),
      [](LogHistory& h) {
        h.log["c"].push_back({8, "a", 0});
      },
      "has 'a' twice");
  Found(
      Good(),
      [](LogHistory& h) {
        h.log["c"].push_back({8, "x", 0});
      },
      "begins no batch");
  Found(
      Good(), [](LogHistory& h) { h.log["c"][2].payload = "x"; }, "is there in part");
}

TEST_CASE("A reader that misses, repeats, reorders or sees what is not there is found") {
  Found(
      Good(), [](LogHistory& h) { h.readings[0].got.erase(h.readings[0].got.begin() + 1); },
      "reader received 3 'b2' of c instead of 2");
  Found(
      Good(),
      [](LogHistory& h) {
        h.readings[0].got.insert(h.readings[0].got.begin(), {1, "a", 4});
      },
      "reader received 1 'a' of c instead of 2");
  Found(
      Good(), [](LogHistory& h) { h.readings[0].from = 2; }, "instead of 2");
  Found(
      Good(), [](LogHistory& h) { h.readings[1].got[0].payload = "x"; },
      "which is not there in the end");
  Found(
      Good(),
      [](LogHistory& h) {
        h.readings[1].got.push_back({8, "late", 30});
      },
      "which is not there in the end");
  Found(
      Good(), [](LogHistory& h) { h.readings[0].got[1].at = 2; }, "before it was sent");
}

TEST_CASE(
    "An acknowledged append that is gone, elsewhere or twice is found, and a refused one that "
    "came") {
  Found(
      Good(), [](LogHistory& h) { h.log["c"].resize(6); }, "acknowledged and is gone");
  Found(
      Good(), [](LogHistory& h) { h.attempts[0].first_id = 2; }, "was told id 2 and is at 1");
  Found(
      Good(),
      [](LogHistory& h) {
        h.attempts.push_back(h.attempts[2]);
        h.attempts.back().first_id = 9;
      },
      "was told id 9 and is at 2");
  Found(
      Good(), [](LogHistory& h) { h.attempts[7].outcome = Outcome::kNotAppended; },
      "told to be not appended and is at 6");
  // One of several attempts at the same batch says nothing of the others.
  LogHistory again = Good();
  again.attempts[1].outcome = Outcome::kNotAppended;
  CHECK(CheckHistory(again) == Strings{});
}

TEST_CASE("Half of an append to several channels is found") {
  Found(
      Good(),
      [](LogHistory& h) {
        h.log["d"].clear();
        h.attempts[6].outcome = h.attempts[5].outcome = Outcome::kUnknown;
      },
      "of the appends together number 1 1 are there and 1 are not");
}

TEST_CASE("An append below one that was acknowledged or read before it was sent is found") {
  // "r" was read at 19; "b3", sent at 20, goes below it.
  Found(
      Good(),
      [](LogHistory& h) {
        SetLog(&h, "c", {"a", "b1", "b2", "e", "t", "b3", "r"});
        h.attempts[8].first_id = 6;
        h.readings[1] = {"tail", "c", 7, {{7, "r", 19}}};
      },
      "and was sent when 'r' of c was known to be at 7");
  // "a" was acknowledged at 2; the batch that was sent at 3 goes below it.
  Found(
      Good(),
      [](LogHistory& h) {
        SetLog(&h, "c", {"b1", "b2", "a", "e", "t", "r", "b3"});
        h.attempts[0].first_id = 3;
        h.attempts[2].first_id = 1;
        h.readings.clear();
      },
      "and was sent when 'a' of c was known to be at 3");
  Found(
      Good(), [](LogHistory& h) { h.ends[0].next_id = 4; },
      "c was told to end at 4 when 'e' of c was known to be at 4");
}

TEST_CASE("What one sender sent and is there in another order is found") {
  Found(
      Good(),
      [](LogHistory& h) {
        h.attempts[0].sender = h.attempts[7].sender = "w";
        h.attempts[0].turn = 2;
        h.attempts[7].turn = 1;
      },
      "was sent after 'r' of c and is before it");
}

TEST_CASE("What was answered after a power cut is asked for no more") {
  LogHistory history = Good();
  history.log["c"].resize(6);
  history.readings[1].got[1].at = 25;
  CHECK_FALSE(CheckHistory(history).empty());
  history.ForgetAnswersAfter(21);
  history.ends.pop_back();
  CHECK(CheckHistory(history) == Strings{});
}

TEST_CASE(
    "A producer's batch that is out of order, missing before another one or replaced is found") {
  Found(
      Good(),
      [](LogHistory& h) {
        h.attempts[1].sequence = h.attempts[2].sequence = 2;
        h.attempts[8].sequence = 1;
      },
      "is before the sequence before it");
  Found(
      Good(), [](LogHistory& h) { h.attempts[8].sequence = 3; }, "is there without sequence 2");
  Found(
      Good(), [](LogHistory& h) { h.attempts[8].sequence = 1; },
      "another batch of the same sequence");
}

TEST_CASE(
    "A writer that goes on after a higher term, or while another one holds the channel, is found") {
  Found(
      Held(),
      [](LogHistory& h) {
        h.attempts[2].outcome = Outcome::kUnknown;
        SetLog(&h, "c", {"a", "b", "late", "free"});
        h.attempts[3].first_id = 4;
      },
      "'late' (one term 1 sequence 2) of c follows 'b' (two term 2 sequence 1) of c of a higher "
      "term");
  Found(
      Held(), [](LogHistory& h) { h.holds[1].closing = LogHistory::kNever; },
      "'free' of c was acknowledged while two held the channel with term 2");
  // Terms of one name alone.
  Found(
      Good(), [](LogHistory& h) { h.attempts[1].term = h.attempts[2].term = 1; },
      "of a higher term");
}

TEST_CASE("A wrong answer to a demanded id is found") {
  Found(
      Good(), [](LogHistory& h) { h.attempts[3].expected_next_id = 3; }, "demanded id 3 and got 4");
  Found(
      Good(), [](LogHistory& h) { h.attempts[4].actual_next_id = 4; },
      "was refused for 4 with the end at 4");
  Found(
      Good(), [](LogHistory& h) { h.attempts[4].actual_next_id = 9; },
      "was refused for 4 with the end at 9");
  Found(
      Good(), [](LogHistory& h) { h.attempts[4].actual_next_id = 3; }, "with the end at 3 when");
}

TEST_CASE("A subscription that skips, or goes back behind what was acknowledged, is found") {
  Found(
      Good(),
      [](LogHistory& h) {
        h.readings[3].got.erase(h.readings[3].got.begin(), h.readings[3].got.begin() + 2);
      },
      "two began at 4, but of s nobody had received 3");
  Found(
      Good(), [](LogHistory& h) { h.readings[3].acknowledged_before = 2; },
      "two began at 2, but 2 of s was acknowledged before");
}

}  // namespace
}  // namespace strata::testing
