// LogHistory: what clients did to channels at the same time and what they were told, and the check of it
// against the rules of a log.
//
//   LogHistory history;                        // each thread its own, for the same Ticks
//   LogHistory::Attempt attempt{.channel = "c", .payloads = {"x"}, .sent = ticks.Next()};
//   ... the append ...
//   attempt.answered = ticks.Next();
//   history.attempts.push_back(attempt);
//   ...
//   CHECK(CheckHistory(history) == std::vector<std::string>{});
//
// Every payload occurs in one batch only, in the whole history: by it the checker knows what is where. It
// does not search for an order that would explain the history: ids tell the order, so that each rule can
// be checked as it is written, in one pass, for as many appends as one likes.
//
// Knows nothing of clients or brokers; the broker's own tests and those over clients share it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/types.h"

namespace strata::testing {

// The order of events, of all threads. A call that returned before another one began has the lower
// ticks.
class Ticks {
 public:
  uint64_t Next() { return last_.fetch_add(1) + 1; }

 private:
  std::atomic<uint64_t> last_{0};
};

struct LogHistory {
  static constexpr uint64_t kNever = UINT64_MAX;

  // One sending of one batch.
  struct Attempt {
    std::string channel;
    std::vector<std::string> payloads = {};
    // Of a named producer. The same sequence again is the same batch again.
    std::string producer = {};
    int64_t term = 0;
    uint64_t sequence = 0;
    MessageId expected_next_id = 0;  // 0: any
    // Of somebody who does not wait for answers: its turn among his, which their ids follow.
    std::string sender = {};
    uint64_t turn = 0;
    int together = 0;  // all attempts of this number, or none; 0: by itself
    uint64_t sent = 0;
    uint64_t answered = kNever;
    enum class Outcome { kAcknowledged, kNotAppended, kUnknown } outcome = Outcome::kUnknown;
    MessageId first_id = 0;        // kAcknowledged
    MessageId actual_next_id = 0;  // that a mismatch told, 0: none
  };
  struct Got {
    MessageId id = 0;
    std::string payload;
    uint64_t at = 0;
  };
  // What one reader received, in this order. A seek begins another reading.
  struct Reading {
    std::string reader;
    std::string channel;
    MessageId from = 0;  // where it had to begin; 0: wherever it did
    std::vector<Got> got = {};
    // Of one consumer of a subscription, while it held it.
    std::string subscription = {};
    MessageId acknowledged_before = 0;  // by anybody, answered before it was opened
  };
  // Of a channel's exclusive producer.
  struct Hold {
    std::string channel;
    std::string producer;
    int64_t term = 0;
    uint64_t asked = 0;
    uint64_t opened = kNever;
    uint64_t closing = kNever;  // when it began to let go
  };
  // Somebody asked where a channel ends.
  struct End {
    std::string channel;
    uint64_t asked = 0;
    uint64_t answered = kNever;
    MessageId next_id = 0;
  };

  std::vector<Attempt> attempts;
  std::vector<Reading> readings;
  std::vector<Hold> holds;
  std::vector<End> ends;
  // Every message of a channel as it was at the end, when nobody wrote any more.
  std::map<std::string, std::vector<Got>> log;

  void Add(const LogHistory& other);
  // For a power cut at this moment: what was answered later may not have been, and was not read.
  void ForgetAnswersAfter(uint64_t tick);
};

// A sentence for each breach of a rule:
//  - The log is dense from 1 and has no message twice; nothing is in it that nobody appended.
//  - A reading is the log from where it began, without a hole and without anything twice.
//  - What was acknowledged is in the log once, under the ids that its sender was told; all attempts of one
//    sequence were told the same. What every attempt was told not to be appended is not there. Batches
//    are there whole, and those that go together all or none.
//  - Real time: what was acknowledged or read before another batch was first sent has the lower id;
//    nothing is read before it was sent. Whoever asks for the end afterwards finds it behind.
//  - What one sender sent is there in the order of its turns, some of it missing perhaps.
//  - A producer's batches are there in the order of their sequences, from 1, without a hole.
//  - No batch of a term follows one of a higher term of the same producer or, where there were holds, of
//    the channel; while a hold lasts nobody else is acknowledged.
//  - expected_next_id: who was acknowledged got that id; who was refused was told an end that had been
//    reached, and another one than what he demanded.
//  - A subscription skips nothing: each of its consumers begins at or below the end of what was received
//    before, and above what was acknowledged before it was opened.
std::vector<std::string> CheckHistory(const LogHistory& history);

}  // namespace strata::testing
