// Operations that read, and those of subscriptions.
#include <algorithm>

#include "tests/model/player.h"

namespace strata::testing {
namespace {

std::string Text(const StartPosition& start) {
  switch (start.kind) {
    case StartPosition::Kind::kEarliest:
      return " earliest";
    case StartPosition::Kind::kLatest:
      return " latest";
    case StartPosition::Kind::kAtId:
      return " at " + std::to_string(start.id);
    case StartPosition::Kind::kAfterId:
      return " after " + std::to_string(start.id);
    case StartPosition::Kind::kAtTime:
      return " at time " + std::to_string(start.time);
  }
  return "";
}

std::string Text(const ReceivedBatch& batch) {
  if (batch.is_gap()) return Describe(Received(batch.gap()));
  std::string text;
  for (const MessageView& message : batch) {
    text +=
        (text.empty() ? "" : " ") + std::to_string(message.id) + ":" + std::string(message.payload);
  }
  return text;
}

}  // namespace

std::string Player::Text(const SubscriptionInfo& info) {
  const std::string text = info.channel + "/" + info.name + " cursor " +
                           std::to_string(info.cursor) + " backlog " + std::to_string(info.backlog);
  if (info.holder.empty() && info.standby == 0) return text;
  return text + " held by " + info.holder + " before " + std::to_string(info.standby);
}

std::string Player::Text(const Result<SubscriptionInfo>& info) {
  return info.ok() ? Text(*info) : Why(info);
}

void Player::Fetch(Random& random) {
  const std::string channel = AnyChannel(random);
  const StartPosition start = AnyStart(random, channel);
  const bool one = random.OneIn(3);
  const auto fetched =
      AnyClient(random).Fetch(channel, start, {.max_bytes = one ? uint64_t{1} : uint64_t{1} << 20});
  std::string text = Why(fetched);
  if (fetched.ok()) {
    text.clear();
    for (const ReceivedBatch& batch : fetched->batches) text += testing::Text(batch) + " ";
    text += "then " + std::to_string(fetched->next_position) + " of [" +
            std::to_string(fetched->first_available) + "," + std::to_string(fetched->next_id) + ")";
  }
  Compare("Fetch " + channel + testing::Text(start) + (one ? ", one batch" : ""), text,
          model_.Fetch(channel, start, one));
}

void Player::OpenReader(Random& random) {
  const auto slot = static_cast<int>(random.Below(kSlots));
  const std::string channel = AnyChannel(random);
  const StartPosition start = AnyStart(random, channel);
  Client& client = AnyClient(random);
  CloseSlot(slot);
  auto opened = client.OpenReader(channel, start, {.read_ahead = random.OneIn(2) ? 1u : 1u << 20});
  std::string text = Why(opened);
  if (opened.ok()) {
    text = Number((*opened)->channel_number()) + " end " + std::to_string((*opened)->end_at_open());
    readers_[slot] = *std::move(opened);
    reader_channels_[slot] = channel;
  }
  Compare("OpenReader " + std::to_string(slot) + " of " + channel + testing::Text(start), text,
          model_.OpenReader(slot, channel, start));
  if (agrees_ && readers_.contains(slot)) ComparePosition(slot);
}

void Player::OpenConsumer(Random& random) {
  const auto slot = static_cast<int>(random.Below(kSlots));
  const std::string channel = AnyChannel(random);
  const std::string subscription = AnySubscription(random);
  ConsumerOptions options;
  options.start = AnyStart(random, channel);
  options.read_ahead = random.OneIn(2) ? 1u : 1u << 20;
  options.holder = "h" + std::to_string(slot);
  if (random.OneIn(2)) options.mode = ConsumerOptions::Mode::kFailover;
  Client& client = AnyClient(random);
  CloseSlot(slot);
  auto opened = client.OpenConsumer(channel, subscription, options);
  std::string text = Why(opened);
  if (opened.ok()) {
    Consumer& consumer = **opened;
    text = Number(consumer.channel_number()) +
           (consumer.active() ? " end " + std::to_string(consumer.end_at_open()) : " stands by");
    consumers_[slot] = &consumer;
    readers_[slot] = *std::move(opened);
    reader_channels_[slot] = channel;
  }
  const bool failover = options.mode == ConsumerOptions::Mode::kFailover;
  Compare("OpenConsumer " + std::to_string(slot) + " of " + channel + "/" + subscription +
              testing::Text(options.start) + (failover ? " failover" : ""),
          text, model_.OpenConsumer(slot, channel, subscription, options));
  if (agrees_ && readers_.contains(slot)) ComparePosition(slot);
}

void Player::ComparePosition(int slot) {
  const std::optional<MessageId> position = model_.Position(slot);
  if (!position.has_value()) return;
  const MessageId real = readers_.at(slot)->position();
  if (real == *position) return;
  Compare("position of " + std::to_string(slot), std::to_string(real), std::to_string(*position));
}

void Player::ReceiveOnce(int slot, bool whole_batch) {
  const Strings expected = model_.Receivable(slot, whole_batch);
  const bool may_wait = std::find(expected.begin(), expected.end(), "TIMEOUT") != expected.end();
  const std::chrono::milliseconds timeout = may_wait ? kNow : patience_;
  std::string text;
  if (whole_batch) {
    const auto received = readers_.at(slot)->ReceiveBatch(timeout);
    text = received.ok() ? testing::Text(*received) : Why(received);
  } else {
    const auto received = readers_.at(slot)->Receive(timeout);
    text = received.ok() ? Describe(*received) : Why(received);
  }
  const std::string call = (whole_batch ? "ReceiveBatch " : "Receive ") + std::to_string(slot);
  if (std::find(expected.begin(), expected.end(), text) != expected.end()) {
    Compare(call, text, text);
    model_.Receive(slot, whole_batch, text);
    ComparePosition(slot);
    return;
  }
  std::string either;
  for (const std::string& each : expected) either += (either.empty() ? "" : " | ") + each;
  Compare(call, text, either);
}

void Player::Receive(Random& random) {
  const std::optional<int> slot = AnySlot(random, readers_);
  if (!slot.has_value()) return;
  for (uint64_t i = random.Between(1, 4); i > 0 && agrees_; --i) {
    ReceiveOnce(*slot, random.OneIn(3));
  }
}

void Player::SeekReader(Random& random) {
  const std::optional<int> slot = AnySlot(random, readers_);
  if (!slot.has_value()) return;
  const StartPosition to = AnyStart(random, reader_channels_.at(*slot));
  const std::string text = Text(readers_.at(*slot)->Seek(to));
  std::string expected = model_.SeekReader(*slot, to);
  // Which of the two it hears of first is open.
  if (expected == "CHANNEL_DELETED" && text == "SUBSCRIPTION_NOT_FOUND" &&
      model_.LostItsSubscription(*slot)) {
    expected = text;
  }
  Compare("Seek " + std::to_string(*slot) + testing::Text(to), text, expected);
  if (agrees_) ComparePosition(*slot);
}

void Player::CloseSlot(int slot) {
  if (!readers_.contains(slot)) return;
  calls_.push_back("close reader " + std::to_string(slot));
  consumers_.erase(slot);
  readers_.erase(slot);
  model_.CloseReader(slot);
  const std::optional<int> promoted = model_.TakePromoted();
  if (!promoted.has_value()) return;
  // Its turn comes in the client's own time, by a receive at the latest.
  const auto deadline = std::chrono::steady_clock::now() + patience_;
  while (agrees_ && !consumers_.at(*promoted)->active() &&
         std::chrono::steady_clock::now() < deadline) {
    const auto received = readers_.at(*promoted)->Receive(kNow);
    const std::string text = received.ok() ? Describe(*received) : Why(received);
    const Strings expected = model_.Receivable(*promoted, false);
    if (text == "TIMEOUT") continue;
    const bool fits = std::find(expected.begin(), expected.end(), text) != expected.end();
    Compare("Receive " + std::to_string(*promoted), text, fits ? text : expected.front());
    if (fits) model_.Receive(*promoted, false, text);
    return;
  }
  Compare("turn of " + std::to_string(*promoted),
          consumers_.at(*promoted)->active() ? "has come" : "has not come", "has come");
}

void Player::CloseReader(Random& random) {
  const std::optional<int> slot = AnySlot(random, readers_);
  if (slot.has_value()) CloseSlot(*slot);
}

void Player::ConsumerAcknowledge(Random& random) {
  const std::optional<int> slot = AnySlot(random, consumers_);
  if (!slot.has_value()) return;
  const std::string& channel = reader_channels_.at(*slot);
  const MessageId through =
      random.OneIn(3) ? AnyId(random, channel) : consumers_.at(*slot)->position() - 1;
  // Over a network the call goes by the subscription's name.
  if (remote() && model_.IsReplaced(*slot)) return;
  const std::optional<std::string> expected = model_.ConsumerAcknowledge(*slot, through);
  if (!expected.has_value()) return;
  std::string text = Text(consumers_.at(*slot)->Acknowledge(through));
  const bool gone = text == "CHANNEL_NOT_FOUND" || text == "CHANNEL_RECREATED";
  if (remote() && gone && *expected == "CHANNEL_DELETED") text = *expected;
  Compare("Acknowledge by " + std::to_string(*slot) + " " + std::to_string(through), text,
          *expected);
}

void Player::CreateSubscription(Random& random) {
  const std::string channel = AnyChannel(random);
  const std::string name = AnySubscription(random);
  const StartPosition start = AnyStart(random, channel);
  Compare("CreateSubscription " + channel + "/" + name + testing::Text(start),
          Text(AnyClient(random).CreateSubscription(channel, name, start)),
          model_.CreateSubscription(channel, name, start));
}

void Player::DescribeSubscription(Random& random) {
  const std::string channel = AnyChannel(random);
  const std::string name = AnySubscription(random);
  Compare("DescribeSubscription " + channel + "/" + name,
          Text(AnyClient(random).DescribeSubscription(channel, name)),
          model_.DescribeSubscription(channel, name));
}

void Player::SeekSubscription(Random& random) {
  const std::string channel = AnyChannel(random);
  const std::string name = AnySubscription(random);
  const StartPosition to = AnyStart(random, channel);
  Compare("SeekSubscription " + channel + "/" + name + testing::Text(to),
          Text(AnyClient(random).SeekSubscription(channel, name, to)),
          model_.SeekSubscription(channel, name, to));
}

void Player::DeleteSubscription(Random& random) {
  const std::string channel = AnyChannel(random);
  const std::string name = AnySubscription(random);
  Compare("DeleteSubscription " + channel + "/" + name,
          Text(AnyClient(random).DeleteSubscription(channel, name)),
          model_.DeleteSubscription(channel, name));
}

void Player::Acknowledge(Random& random) {
  const std::string channel = AnyChannel(random);
  const std::string name = AnySubscription(random);
  const MessageId through = AnyId(random, channel);
  Compare("Acknowledge " + channel + "/" + name + " " + std::to_string(through),
          Text(AnyClient(random).Acknowledge(channel, name, through)),
          model_.Acknowledge(channel, name, through));
}

}  // namespace strata::testing
