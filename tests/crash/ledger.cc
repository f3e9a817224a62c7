#include "tests/crash/ledger.h"

#include <fmt/format.h>

#include <chrono>
#include <map>

namespace strata::crash {

std::string Ledger::Read(Client& client, MessageId from, std::vector<Stamp>* stamps) const {
  auto reader = client.OpenReader(channel_, StartPosition::At(from));
  if (!reader.ok()) return reader.status().ToString();
  MessageId next = from;
  while (next < (*reader)->end_at_open()) {
    const auto batch = (*reader)->ReceiveBatch(std::chrono::seconds(30));
    if (!batch.ok()) return fmt::format("reading from id {}: {}", next, batch.status().ToString());
    if (batch->is_gap()) {
      return fmt::format("a gap: ids {}..{}", batch->gap().first, batch->gap().last);
    }
    for (const MessageView& message : *batch) {
      Stamp stamp;
      if (message.id != next) return fmt::format("id {} where {} is next", message.id, next);
      if (!ReadStamp(message.payload, &stamp)) {
        return fmt::format("id {} has a payload of {} bytes that nobody sent", next,
                           message.payload.size());
      }
      stamps->push_back(stamp);
      ++next;
    }
  }
  return "";
}

std::string Ledger::AddRound(Client& client, const std::vector<Account>& accounts) {
  const auto first = static_cast<MessageId>(stamps_.size()) + 1;
  std::vector<Stamp> added;
  if (std::string problem = Read(client, first, &added); !problem.empty()) return problem;

  std::map<uint32_t, std::vector<MessageId>> ids;  // by producer; in it by counter
  for (const Account& account : accounts) {
    if (account.channel == channel_) ids[account.producer];
  }
  for (size_t i = 0; i < added.size(); ++i) {
    const Stamp stamp = added[i];
    const MessageId id = first + static_cast<MessageId>(i);
    const auto of_producer = ids.find(stamp.producer);
    if (of_producer == ids.end()) {
      return fmt::format("id {} is of producer {}, who does not write now", id, stamp.producer);
    }
    const auto next = static_cast<uint32_t>(of_producer->second.size());
    if (stamp.counter != next) {
      return fmt::format("id {} is message {} of producer {}, whose message {} is next; {}; {}", id,
                         stamp.counter, stamp.producer, next,
                         Describe({stamp.producer, stamp.counter}, accounts, added),
                         Describe({stamp.producer, next}, accounts, added));
    }
    of_producer->second.push_back(id);
  }
  for (const Account& account : accounts) {
    if (account.channel != channel_) continue;
    if (std::string problem = CheckAccount(account, ids[account.producer]); !problem.empty()) {
      return problem;
    }
  }
  stamps_.insert(stamps_.end(), added.begin(), added.end());
  return "";
}

std::string Ledger::Describe(Stamp stamp, const std::vector<Account>& accounts,
                             const std::vector<Stamp>& added) const {
  std::string text = fmt::format("message {} of {}", stamp.counter, stamp.producer);
  for (const Account& account : accounts) {
    if (account.producer != stamp.producer) continue;
    if (stamp.counter >= account.entries.size()) return text + " was never sent";
    const Account::Entry& entry = account.entries[stamp.counter];
    text += fmt::format(" has fate {}, was told id {}, its producer {}",
                        static_cast<int>(entry.fate), entry.id, account.first_error.ToString());
  }
  for (size_t i = 0; i < added.size(); ++i) {
    if (added[i] == stamp) text += fmt::format(", is at id {}", stamps_.size() + 1 + i);
  }
  return text;
}

std::string Ledger::CheckAccount(const Account& account, const std::vector<MessageId>& ids) const {
  if (ids.size() > account.entries.size()) {
    return fmt::format("producer {} sent {} messages, {} are there", account.producer,
                       account.entries.size(), ids.size());
  }
  for (size_t counter = 0; counter < account.entries.size(); ++counter) {
    const Account::Entry& entry = account.entries[counter];
    const bool there = counter < ids.size();
    const auto say = [&](const char* what) {
      return fmt::format("message {} of producer {} {}; told id {}; there are {} of {} ({})",
                         counter, account.producer, what, entry.id, ids.size(),
                         account.entries.size(), account.first_error.ToString());
    };
    if (entry.fate == DataFate::kAppended && !there) return say("was acknowledged and is lost");
    if (entry.fate == DataFate::kAppended && entry.id != ids[counter]) return say("has another id");
    if (entry.fate == DataFate::kNotAppended && there) return say("is there in spite of its error");
  }
  return "";
}

std::string Ledger::CheckReceived(const std::vector<std::pair<MessageId, Stamp>>& received) const {
  for (const auto& [id, stamp] : received) {
    if (id < 1 || static_cast<size_t>(id) > stamps_.size()) {
      return fmt::format("id {} was delivered and is lost", id);
    }
    if (stamps_[static_cast<size_t>(id) - 1] != stamp) {
      return fmt::format("id {} was delivered as another message", id);
    }
  }
  return "";
}

std::string Ledger::CheckWhole(Client& client) const {
  std::vector<Stamp> all;
  if (std::string problem = Read(client, 1, &all); !problem.empty()) return problem;
  if (all != stamps_) {
    return fmt::format("{} messages are there, {} were, or their order changed", all.size(),
                       stamps_.size());
  }
  return "";
}

}  // namespace strata::crash
