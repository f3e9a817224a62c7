// Ledger: what a channel must contain, checked against what it does contain after each kill.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/client.h"
#include "tests/crash/load.h"

namespace strata::crash {

// One channel. Every check returns what is wrong, in a sentence, or "".
class Ledger {
 public:
  explicit Ledger(std::string channel) : channel_(std::move(channel)) {}

  const std::string& channel() const { return channel_; }
  // Messages known to be in it; their ids are 1 to size().
  size_t size() const { return stamps_.size(); }

  // Reads what the last load added and checks it against the producers' accounts (those of other
  // channels are skipped):
  //   - ids go on densely, payloads are whole, and all come from these producers;
  //   - of each producer there is a prefix of what it sent, in order, nothing twice;
  //   - what was acknowledged is there, under the id that was told;
  //   - what was said not to be appended is not there.
  std::string AddRound(Client& client, const std::vector<Account>& accounts);

  // What a consumer received while the broker lived is in the log, under its id.
  std::string CheckReceived(const std::vector<std::pair<MessageId, Stamp>>& received) const;

  // Reads all of it again: exactly what was there after each round.
  std::string CheckWhole(Client& client) const;

 private:
  std::string Read(Client& client, MessageId from, std::vector<Stamp>* stamps) const;
  // All that is known of a message, for a report.
  std::string Describe(Stamp stamp, const std::vector<Account>& accounts,
                       const std::vector<Stamp>& added) const;
  std::string CheckAccount(const Account& account, const std::vector<MessageId>& ids) const;

  const std::string channel_;
  std::vector<Stamp> stamps_;  // of id 1, 2, ...
};

}  // namespace strata::crash
