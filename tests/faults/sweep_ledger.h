// What clients may rely on when pages go while the power does: who was promised what, and what may be gone.
//
// Kept by channel number, so that a channel created again under its old name is another one. What was asked for is
// noted before the call, what was answered after it: in between either may be on disk.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"

namespace strata::testing {

// How a channel of the history lets go of its messages.
struct ChannelPlan {
  std::string name;
  RetentionOverrides retention;
  std::vector<std::string> subscriptions;
};

// Thread-safe.
class SweepLedger {
 public:
  explicit SweepLedger(std::vector<ChannelPlan> plans) : plans_(std::move(plans)) {}

  const std::vector<ChannelPlan>& plans() const { return plans_; }

  void Created(size_t plan, ChannelNumber number);
  // Of the plan's newest channel; 0 while it is deleted.
  ChannelNumber Current(size_t plan) const;
  void DeletionAsked(ChannelNumber number);
  void Deleted(ChannelNumber number);
  void TruncationAsked(ChannelNumber number, MessageId through);
  void Truncated(ChannelNumber number, MessageId through);
  void AckAsked(ChannelNumber number, const std::string& subscription, MessageId through);
  // Acknowledged, or shown to a reader.
  void Promised(ChannelNumber number, MessageId first_id, const std::vector<std::string>& payloads);
  // What a history did wrong while the power was on.
  void Violation(std::string what);

  size_t promised() const;
  // Every breach that `broker` shows after the power came back, as a sentence. Appends a message to each channel.
  std::vector<std::string> Check(broker::Broker& broker);

 private:
  struct Channel {
    size_t plan = 0;
    std::map<MessageId, std::string> promised;
    MessageId truncation_asked = 0;
    MessageId truncated = 0;
    std::map<std::string, MessageId> acks_asked;
    bool deletion_asked = false;
    bool deleted = false;
  };

  void CheckPlan(broker::Broker& broker, size_t plan, std::vector<std::string>* violations);
  void CheckChannel(broker::Broker& broker, const ChannelInfo& info, Channel* channel,
                    std::vector<std::string>* violations);
  void CheckCursors(broker::Broker& broker, const std::string& name, const Channel& channel,
                    std::vector<std::string>* violations);
  // The ids up to this may be gone, by what was asked for; the largest one for policy `limits`.
  MessageId MayBeGone(const Channel& channel) const;

  const std::vector<ChannelPlan> plans_;
  mutable Mutex mu_;
  std::map<ChannelNumber, Channel> channels_ STRATA_GUARDED_BY(mu_);
  std::vector<std::string> violations_ STRATA_GUARDED_BY(mu_);
};

}  // namespace strata::testing
