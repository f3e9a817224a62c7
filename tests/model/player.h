// Player: two clients of one place, and the model beside them.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/contract/place.h"
#include "tests/model/model.h"
#include "tests/support/random.h"

namespace strata::testing {

class Player {
 public:
  Player(Transport transport, Flaw flaw);
  ~Player() { DropEverything(); }

  // One operation, of one or several calls. Draws are from `random`.
  using Do = void (Player::*)(Random& random);
  struct Kind {
    Do action;
    int weight;  // how often it is drawn
  };
  static const std::vector<Kind>& Kinds();
  // Everything that can be seen, before and after a restart.
  void LookAtEverything();
  void Restart(Random& random);

  bool agrees() const { return agrees_; }
  // Calls and what they brought; at last, if !agrees(), what the model says instead.
  const Strings& calls() const { return calls_; }

 private:
  static constexpr int kClients = 2;
  static constexpr int kSlots = 3;  // for producers, and as many for readers

  // --- Operations ---
  void CreateChannel(Random& random);
  void OpenChannel(Random& random);
  void DescribeChannel(Random& random);
  void TruncateChannel(Random& random);
  void AlterChannel(Random& random);
  void DeleteChannel(Random& random);
  void AppendPlain(Random& random);
  void AppendAs(Random& random);
  void AppendMany(Random& random);
  void AppendMulti(Random& random);
  void OpenProducer(Random& random);
  void Send(Random& random);
  void CloseProducer(Random& random);
  void ListProducers(Random& random);
  void Fetch(Random& random);
  void OpenReader(Random& random);
  void OpenConsumer(Random& random);
  void Receive(Random& random);
  void SeekReader(Random& random);
  void CloseReader(Random& random);
  void ConsumerAcknowledge(Random& random);
  void CreateSubscription(Random& random);
  void DescribeSubscription(Random& random);
  void SeekSubscription(Random& random);
  void DeleteSubscription(Random& random);
  void Acknowledge(Random& random);

  // --- Choices ---
  Client& AnyClient(Random& random) { return *clients_[random.Below(kClients)]; }
  static std::string AnyChannel(Random& random);
  static std::string AnySubscription(Random& random);
  static std::string AnyProducer(Random& random);
  // Near what is there, mostly.
  MessageId AnyId(Random& random, const std::string& channel) const;
  StartPosition AnyStart(Random& random, const std::string& channel) const;
  Strings NewPayloads(Random& random);
  Model::Part PlainPart(Random& random);
  Model::Part NamedPart(Random& random);
  // A slot with something in it, if there is one.
  template <typename Map>
  static std::optional<int> AnySlot(Random& random, const Map& opened) {
    const auto found = opened.lower_bound(static_cast<int>(random.Below(kSlots)));
    if (found != opened.end()) return found->first;
    return opened.empty() ? std::nullopt : std::optional(opened.begin()->first);
  }

  // --- Doing and comparing ---
  void Compare(const std::string& call, const std::string& brought, const std::string& expected);
  void AppendPart(Client& client, Model::Part part);
  AppendOptions Real(const AppendOptions& options);
  void ReceiveOnce(int slot, bool whole_batch);
  void ComparePosition(int slot);
  // And waits until the one whose turn has come by it knows.
  void CloseSlot(int slot);
  void DropEverything();
  std::string ListProducersText(Client& client, const std::string& channel);
  bool remote() const { return transport_ == Transport::kTcp || transport_ == Transport::kUnix; }

  // --- Texts, in the model's words ---
  std::string Number(ChannelNumber number);
  std::string Text(const Result<ChannelInfo>& info);
  std::string Text(const Result<AppendResult>& result);
  static std::string Text(const SubscriptionInfo& info);
  static std::string Text(const Result<SubscriptionInfo>& info);
  static std::string Text(const Status& status) { return Why(status); }

  // A wrong model waits for what never comes.
  const std::chrono::milliseconds patience_;
  Transport transport_;
  Place place_;
  Model model_;
  std::array<std::unique_ptr<Client>, kClients> clients_;
  std::map<int, std::unique_ptr<Producer>> producers_;  // by slot
  std::map<int, std::string> producer_channels_;
  std::map<int, std::unique_ptr<Reader>> readers_;
  std::map<int, std::string> reader_channels_;
  std::map<int, Consumer*> consumers_;         // those of readers_ that are
  std::map<ChannelNumber, uint64_t> numbers_;  // in the order in which they were seen
  int payloads_ = 0;
  Strings calls_;
  bool agrees_ = true;
};

}  // namespace strata::testing
