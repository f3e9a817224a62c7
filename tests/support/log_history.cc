#include "tests/support/log_history.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

namespace strata::testing {
namespace {

using Attempt = LogHistory::Attempt;
using Outcome = Attempt::Outcome;
using Got = LogHistory::Got;
using Reading = LogHistory::Reading;

std::string Text(const Attempt& attempt) {
  std::string text = "'" + attempt.payloads.front() + "'";
  if (!attempt.producer.empty()) {
    text += " (" + attempt.producer + " term " + std::to_string(attempt.term) + " sequence " +
            std::to_string(attempt.sequence) + ")";
  }
  return text + " of " + attempt.channel;
}

std::string Text(MessageId id) { return std::to_string(id); }

// All attempts of one batch.
struct Batch {
  std::vector<const Attempt*> attempts;
  uint64_t sent = LogHistory::kNever;   // first
  uint64_t known = LogHistory::kNever;  // first acknowledged or read
  MessageId id = 0;                     // in the log, 0: it is not there
  bool acknowledged = false;
  bool refused = true;  // every attempt

  const Attempt& any() const { return *attempts.front(); }
};

class Checker {
 public:
  explicit Checker(const LogHistory& history) : history_(history) {}

  std::vector<std::string> Run() {
    for (const Attempt& attempt : history_.attempts) AddAttempt(attempt);
    for (const auto& [channel, log] : history_.log) PlaceLog(channel, log);
    for (const Reading& reading : history_.readings) CheckReading(reading);
    for (const auto& [key, batch] : batches_) CheckBatch(batch);
    CheckTogether();
    CheckRealTime();
    CheckSenders();
    CheckProducers();
    for (const auto& [channel, log] : history_.log) CheckTerms(channel);
    for (const LogHistory::Hold& hold : history_.holds) CheckHold(hold);
    CheckSubscriptions();
    return std::move(wrong_);
  }

 private:
  using Key = std::pair<std::string, std::string>;  // channel, first payload

  void Wrong(const std::string& what) { wrong_.push_back(what); }

  void AddAttempt(const Attempt& attempt) {
    Batch& batch = batches_[{attempt.channel, attempt.payloads.front()}];
    batch.attempts.push_back(&attempt);
    batch.sent = std::min(batch.sent, attempt.sent);
    if (attempt.outcome != Outcome::kNotAppended) batch.refused = false;
    if (attempt.outcome != Outcome::kAcknowledged) return;
    batch.acknowledged = true;
    batch.known = std::min(batch.known, attempt.answered);
  }

  // The log itself, and where each batch is in it.
  void PlaceLog(const std::string& channel, const std::vector<Got>& log) {
    std::set<std::string> seen;
    for (size_t i = 0; i < log.size(); ++i) {
      const auto id = static_cast<MessageId>(i) + 1;
      if (log[i].id != id) {
        return Wrong(channel + " has id " + Text(log[i].id) + " instead of " + Text(id));
      }
      if (!seen.insert(log[i].payload).second) {
        Wrong(channel + " has '" + log[i].payload + "' twice");
      }
    }
    for (size_t i = 0; i < log.size();) {
      const auto found = batches_.find({channel, log[i].payload});
      if (found == batches_.end()) {
        Wrong(channel + " has '" + log[i].payload + "' at " + Text(log[i].id) +
              ", which begins no batch that was appended");
        ++i;
        continue;
      }
      Batch& batch = found->second;
      if (batch.id == 0) batch.id = log[i].id;
      for (const std::string& payload : batch.any().payloads) {
        if (i < log.size() && log[i].payload == payload) {
          ++i;
          continue;
        }
        Wrong(Text(batch.any()) + " is there in part");
        ++i;
        break;
      }
    }
  }

  const std::vector<Got>* LogOf(const std::string& channel) const {
    const auto found = history_.log.find(channel);
    return found == history_.log.end() ? nullptr : &found->second;
  }

  void CheckReading(const Reading& reading) {
    const std::vector<Got>* log = LogOf(reading.channel);
    MessageId expected = reading.from;
    for (const Got& got : reading.got) {
      const std::string what = reading.reader + " received " + Text(got.id) + " '" + got.payload +
                               "' of " + reading.channel;
      if (expected != 0 && got.id != expected) Wrong(what + " instead of " + Text(expected));
      expected = got.id + 1;
      const bool there = log != nullptr && got.id >= 1 &&
                         got.id <= static_cast<MessageId>(log->size()) &&
                         (*log)[static_cast<size_t>(got.id) - 1].payload == got.payload;
      if (!there) Wrong(what + ", which is not there in the end");
      const auto found = batches_.find({reading.channel, got.payload});
      if (found == batches_.end()) continue;
      if (got.at < found->second.sent) Wrong(what + " before it was sent");
      found->second.known = std::min(found->second.known, got.at);
    }
  }

  void CheckBatch(const Batch& batch) {
    const Attempt& any = batch.any();
    if (batch.acknowledged && batch.id == 0) Wrong(Text(any) + " was acknowledged and is gone");
    if (batch.refused && batch.id != 0) {
      Wrong(Text(any) + " was told to be not appended and is at " + Text(batch.id));
    }
    const std::vector<Got>* log = LogOf(any.channel);
    for (const Attempt* attempt : batch.attempts) {
      if (attempt->outcome == Outcome::kAcknowledged) {
        if (batch.id != 0 && attempt->first_id != batch.id) {
          Wrong(Text(any) + " was told id " + Text(attempt->first_id) + " and is at " +
                Text(batch.id));
        }
        const MessageId expected = attempt->expected_next_id;
        if (expected != 0 && attempt->first_id != expected) {
          Wrong(Text(any) + " demanded id " + Text(expected) + " and got " +
                Text(attempt->first_id));
        }
      }
      if (attempt->actual_next_id == 0) continue;
      const auto end = static_cast<MessageId>(log == nullptr ? 0 : log->size()) + 1;
      if (attempt->actual_next_id > end || attempt->actual_next_id == attempt->expected_next_id) {
        Wrong(Text(any) + " was refused for " + Text(attempt->expected_next_id) +
              " with the end at " + Text(attempt->actual_next_id));
      }
    }
  }

  void CheckTogether() {
    std::map<int, std::pair<int, int>> parts;  // there, not there
    for (const auto& [key, batch] : batches_) {
      if (batch.any().together == 0) continue;
      auto& [there, missing] = parts[batch.any().together];
      ++(batch.id != 0 ? there : missing);
    }
    for (const auto& [number, part] : parts) {
      if (part.first > 0 && part.second > 0) {
        Wrong("of the appends together number " + std::to_string(number) + " " +
              std::to_string(part.first) + " are there and " + std::to_string(part.second) +
              " are not");
      }
    }
  }

  // In the order of time: what is known by then, and what began after it.
  void CheckRealTime() {
    struct Event {
      uint64_t at;
      bool known;  // else begun
      const Batch* batch;
      const LogHistory::End* end = nullptr;
      const Attempt* mismatch = nullptr;
    };
    std::map<std::string, std::vector<Event>> events;
    for (const auto& [key, batch] : batches_) {
      auto& of = events[batch.any().channel];
      for (const Attempt* attempt : batch.attempts) {
        if (attempt->actual_next_id != 0)
          of.push_back({attempt->sent, false, nullptr, nullptr, attempt});
      }
      if (batch.id == 0) continue;
      of.push_back({batch.sent, false, &batch});
      if (batch.known != LogHistory::kNever) of.push_back({batch.known, true, &batch});
    }
    for (const LogHistory::End& end : history_.ends) {
      events[end.channel].push_back({end.asked, false, nullptr, &end});
    }
    for (auto& [channel, of] : events) {
      std::sort(of.begin(), of.end(), [](const Event& a, const Event& b) {
        return std::tie(a.at, a.known) < std::tie(b.at, b.known);
      });
      const Batch* newest = nullptr;
      for (const Event& event : of) {
        if (event.known) {
          if (newest == nullptr || event.batch->id > newest->id) newest = event.batch;
        } else if (newest == nullptr) {
          continue;
        } else if (event.batch != nullptr && event.batch->id < newest->id) {
          Wrong(Text(event.batch->any()) + " is at " + Text(event.batch->id) +
                " and was sent when " + Text(newest->any()) + " was known to be at " +
                Text(newest->id));
        } else if (event.end != nullptr && event.end->next_id <= LastOf(*newest)) {
          Wrong(channel + " was told to end at " + Text(event.end->next_id) + " when " +
                Text(newest->any()) + " was known to be at " + Text(newest->id));
        } else if (event.mismatch != nullptr && event.mismatch->actual_next_id <= LastOf(*newest)) {
          Wrong(Text(event.mismatch->payloads.empty() ? newest->any() : *event.mismatch) +
                " was refused with the end at " + Text(event.mismatch->actual_next_id) + " when " +
                Text(newest->any()) + " was known to be at " + Text(newest->id));
        }
      }
    }
  }

  static MessageId LastOf(const Batch& batch) {
    return batch.id + static_cast<MessageId>(batch.any().payloads.size()) - 1;
  }

  void CheckSenders() {
    std::map<std::pair<std::string, std::string>, std::map<uint64_t, const Batch*>> senders;
    for (const auto& [key, batch] : batches_) {
      const Attempt& any = batch.any();
      if (!any.sender.empty() && batch.id != 0) {
        senders[{any.channel, any.sender}][any.turn] = &batch;
      }
    }
    for (const auto& [name, batches] : senders) {
      const Batch* last = nullptr;
      for (const auto& [turn, batch] : batches) {
        if (last != nullptr && batch->id < last->id) {
          Wrong(Text(batch->any()) + " was sent after " + Text(last->any()) + " and is before it");
        }
        last = batch;
      }
    }
  }

  void CheckProducers() {
    std::map<std::pair<std::string, std::string>, std::map<uint64_t, const Batch*>> producers;
    for (const auto& [key, batch] : batches_) {
      const Attempt& any = batch.any();
      if (!any.producer.empty() && batch.id != 0) {
        const auto [it, fresh] =
            producers[{any.channel, any.producer}].try_emplace(any.sequence, &batch);
        if (!fresh) Wrong(Text(any) + " is there with another batch of the same sequence");
      }
    }
    for (const auto& [name, batches] : producers) {
      uint64_t expected = 1;
      MessageId last = 0;
      for (const auto& [sequence, batch] : batches) {
        if (sequence != expected) {
          Wrong(Text(batch->any()) + " is there without sequence " + std::to_string(expected));
        }
        if (batch->id < last) Wrong(Text(batch->any()) + " is before the sequence before it");
        expected = sequence + 1;
        last = batch->id;
      }
    }
  }

  void CheckTerms(const std::string& channel) {
    std::map<MessageId, const Batch*> in_order;
    for (const auto& [key, batch] : batches_) {
      const Attempt& any = batch.any();
      if (any.channel == channel && batch.id != 0 && !any.producer.empty())
        in_order[batch.id] = &batch;
    }
    const bool held = std::any_of(history_.holds.begin(), history_.holds.end(),
                                  [&](const auto& hold) { return hold.channel == channel; });
    std::map<std::string, const Batch*> highest;
    for (const auto& [id, batch] : in_order) {
      const Batch*& high = highest[held ? "" : batch->any().producer];
      if (high != nullptr && batch->any().term < high->any().term) {
        Wrong(Text(batch->any()) + " follows " + Text(high->any()) + " of a higher term");
      }
      if (high == nullptr || batch->any().term > high->any().term) high = batch;
    }
  }

  void CheckHold(const LogHistory::Hold& hold) {
    if (hold.opened == LogHistory::kNever) return;
    uint64_t until = hold.closing;
    for (const LogHistory::Hold& other : history_.holds) {
      const bool after =
          other.channel == hold.channel && &other != &hold && other.term >= hold.term;
      if (after) until = std::min(until, std::max(other.asked, hold.asked));
    }
    for (const Attempt& attempt : history_.attempts) {
      const bool own = attempt.producer == hold.producer && attempt.term == hold.term;
      if (own || attempt.channel != hold.channel || attempt.outcome != Outcome::kAcknowledged) {
        continue;
      }
      if (attempt.sent > hold.opened && attempt.answered < until) {
        Wrong(Text(attempt) + " was acknowledged while " + hold.producer +
              " held the channel with term " + std::to_string(hold.term));
      }
    }
  }

  void CheckSubscriptions() {
    std::map<std::pair<std::string, std::string>, std::vector<const Reading*>> consumers;
    for (const Reading& reading : history_.readings) {
      if (reading.subscription.empty() || reading.got.empty()) continue;
      consumers[{reading.channel, reading.subscription}].push_back(&reading);
    }
    for (auto& [subscription, readings] : consumers) {
      std::sort(readings.begin(), readings.end(), [](const Reading* a, const Reading* b) {
        return a->got.front().at < b->got.front().at;
      });
      MessageId received = 0;
      for (const Reading* reading : readings) {
        const MessageId first = reading->got.front().id;
        if (first > received + 1) {
          Wrong(reading->reader + " began at " + Text(first) + ", but of " + subscription.second +
                " nobody had received " + Text(received + 1));
        }
        if (first <= reading->acknowledged_before) {
          Wrong(reading->reader + " began at " + Text(first) + ", but " +
                Text(reading->acknowledged_before) + " of " + subscription.second +
                " was acknowledged before");
        }
        received = std::max(received, reading->got.back().id);
      }
    }
  }

  const LogHistory& history_;
  std::map<Key, Batch> batches_;
  std::vector<std::string> wrong_;
};

}  // namespace

void LogHistory::Add(const LogHistory& other) {
  const auto append = [](auto* to, const auto& from) {
    to->insert(to->end(), from.begin(), from.end());
  };
  append(&attempts, other.attempts);
  append(&readings, other.readings);
  append(&holds, other.holds);
  append(&ends, other.ends);
  for (const auto& [channel, messages] : other.log) append(&log[channel], messages);
}

void LogHistory::ForgetAnswersAfter(uint64_t tick) {
  for (Attempt& attempt : attempts) {
    if (attempt.answered != kNever && attempt.answered > tick) {
      attempt.answered = kNever;
      attempt.outcome = Outcome::kUnknown;
    }
  }
  for (Reading& reading : readings) {
    std::erase_if(reading.got, [tick](const Got& got) { return got.at > tick; });
  }
}

std::vector<std::string> CheckHistory(const LogHistory& history) { return Checker(history).Run(); }

}  // namespace strata::testing
