// The model's readers and subscriptions.
#include <algorithm>
#include <limits>

#include "tests/model/model.h"

namespace strata::testing {

MessageId Model::Resolve(const Channel& channel, const StartPosition& start) const {
  using Kind = StartPosition::Kind;
  const auto at = [&](MessageId id) { return id <= 0 ? channel.first : id; };
  switch (start.kind) {
    case Kind::kEarliest:
      return Is(Flaw::kEarliestHasAGap) ? channel.options.first_id : channel.first;
    case Kind::kLatest:
      return Is(Flaw::kLatestIsTheLast) ? std::max(channel.first, channel.next - 1) : channel.next;
    case Kind::kAtId:
      return at(start.id);
    case Kind::kAfterId:
      if (Is(Flaw::kAfterIsAt)) return at(start.id);
      return start.id == std::numeric_limits<MessageId>::max() ? start.id : at(start.id + 1);
    case Kind::kAtTime:
      for (const Batch& batch : channel.batches) {
        const bool late =
            Is(Flaw::kTimeIsStrict) ? batch.time > start.time : batch.time >= start.time;
        if (late && batch.next() > channel.first) return std::max(batch.first, channel.first);
      }
      return channel.next;
  }
  return 0;
}

Model::Place Model::PlaceOf(const Channel& channel, const StartPosition& start,
                            bool of_reader) const {
  const bool by_time = of_reader && start.kind == StartPosition::Kind::kAtTime;
  return {.at = Resolve(channel, start), .not_before = by_time ? start.time : 0};
}

std::string Model::MessagesAt(const Channel& channel, MessageId at, bool whole_batch,
                              MessageId* next) const {
  for (const Batch& batch : channel.batches) {
    if (at < batch.first || at >= batch.next()) continue;
    std::string text;
    *next = whole_batch ? batch.next() : at + 1;
    for (; at < *next; ++at) {
      text += (text.empty() ? "" : " ") + std::to_string(at) + ":" +
              batch.payloads[static_cast<size_t>(at - batch.first)];
    }
    return text;
  }
  return "";
}

// A start in the future passes over what is appended before that time.
Model::Place Model::Passed(const Channel& channel, Place place) {
  for (const Batch& batch : channel.batches) {
    const bool here = place.at >= batch.first && place.at < batch.next();
    if (here && place.at >= channel.first && batch.time < place.not_before) place.at = batch.next();
  }
  return place;
}

Model::Answers Model::AnswersAt(const ReaderState& reader, Place place, bool whole_batch) const {
  const Channel& channel = *reader.channel;
  place = Passed(channel, std::move(place));
  Answers answers;
  const auto add = [&](const std::string& text, MessageId next) {
    answers.emplace_back(text, place);
    answers.back().second.at = next;
  };
  const auto add_gap = [&](MessageId next) {
    add("gap " + std::to_string(place.at) + "-" + std::to_string(next - 1) + " TRIMMED", next);
  };
  MessageId next = 0;
  const std::string message = MessagesAt(channel, place.at, whole_batch, &next);
  if (place.at < place.sent && !message.empty()) add(message, next);
  for (const MessageId first : place.firsts) {
    if (first > place.at) add_gap(first);
  }
  const auto& subscription = reader.subscription;
  if (subscription != nullptr && subscription->deleted) add("SUBSCRIPTION_NOT_FOUND", place.at);
  if (channel.deleted) add("CHANNEL_DELETED", place.at);
  if (channel.deleted || (subscription != nullptr && subscription->deleted)) return answers;
  const MessageId at = std::max(place.at, channel.first);
  if (place.at < channel.first && !Is(Flaw::kNoGapWhenTrimmed)) {
    add_gap(channel.first);
  } else if (at >= channel.next) {
    add("TIMEOUT", place.at);
  } else {
    const std::string present = MessagesAt(channel, at, whole_batch, &next);
    add(present, next);
  }
  return answers;
}

std::vector<std::pair<std::string, Model::Places>> Model::Outcomes(int slot,
                                                                   bool whole_batch) const {
  const ReaderState& reader = readers_.at(slot);
  if (!reader.ended.empty()) return {{reader.ended, reader.places.front()}};
  if (StandsBy(slot) && !reader.subscription->deleted && !reader.channel->deleted) {
    return {{"TIMEOUT", reader.places.front()}};
  }
  std::vector<std::pair<std::string, Places>> outcomes;
  for (const Places& places : reader.places) {
    // It hears of the last seek in the end, so nothing but what is there keeps it waiting.
    bool may_wait = false;
    for (const auto& [text, after] : AnswersAt(reader, places.back(), whole_batch)) {
      may_wait = may_wait || text == "TIMEOUT";
    }
    for (size_t i = 0; i < places.size(); ++i) {
      for (const auto& [text, after] : AnswersAt(reader, places[i], whole_batch)) {
        if (text == "TIMEOUT" && !may_wait) continue;
        Places left(places.begin() + static_cast<std::ptrdiff_t>(i), places.end());
        left.front() = after;
        outcomes.emplace_back(text, left);
      }
    }
  }
  return outcomes;
}

std::vector<std::string> Model::Receivable(int slot, bool whole_batch) const {
  std::vector<std::string> texts;
  for (const auto& [text, places] : Outcomes(slot, whole_batch)) {
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  return texts;
}

void Model::Receive(int slot, bool whole_batch, const std::string& what) {
  ReaderState& reader = readers_.at(slot);
  std::vector<Places> after;
  for (auto& [text, places] : Outcomes(slot, whole_batch)) {
    // Append times do not decrease: behind the first message nothing is passed over.
    if (text == what && text.find(':') != std::string::npos) places.front().not_before = 0;
    if (text == what && std::find(after.begin(), after.end(), places) == after.end()) {
      after.push_back(places);
    }
  }
  // Who asked without waiting may not have heard of a seek yet.
  for (const Places& places : reader.places) {
    if (what == "TIMEOUT" && places.size() > 1 &&
        std::find(after.begin(), after.end(), places) == after.end()) {
      after.push_back(places);
    }
  }
  reader.places = after;
  reader.received_since_seek = true;
  if (what == "CHANNEL_DELETED" || what == "SUBSCRIPTION_NOT_FOUND") reader.ended = what;
}

std::string Model::OpenReader(int slot, const std::string& name, const StartPosition& start) {
  const ChannelPtr channel = Find(name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  readers_[slot] = {.channel = channel, .places = {{PlaceOf(*channel, start, true)}}};
  return "#" + std::to_string(channel->number) + " end " + std::to_string(channel->next);
}

std::string Model::OpenConsumer(int slot, const std::string& name, const std::string& subscription,
                                const ConsumerOptions& options) {
  if (!IsValidName(subscription)) return "INVALID_ARGUMENT";
  const ChannelPtr channel = Find(name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  const bool existed = channel->subscriptions.contains(subscription);
  if (!existed) (void)CreateSubscription(name, subscription, options.start);
  const auto state = channel->subscriptions.at(subscription);
  if (existed && Is(Flaw::kStartCountsAgain)) state->cursor = Resolve(*channel, options.start);
  const bool exclusive = options.mode == ConsumerOptions::Mode::kExclusive;
  const bool held = !state->consumers.empty();
  if (held && exclusive && !Is(Flaw::kSecondHolderIsLetIn)) return "SUBSCRIPTION_HELD";
  state->consumers.push_back(slot);
  state->holders[slot] = options.holder;
  readers_[slot] = {
      .channel = channel, .subscription = state, .places = {{Place{.at = state->cursor}}}};
  return "#" + std::to_string(channel->number) +
         (held ? " stands by" : " end " + std::to_string(channel->next));
}

bool Model::IsReplaced(int slot) const {
  const ReaderState& reader = readers_.at(slot);
  const ChannelPtr channel = Find(reader.channel->name);
  if (channel == nullptr || reader.subscription == nullptr) return false;
  const auto found = channel->subscriptions.find(reader.subscription->name);
  return found != channel->subscriptions.end() && found->second != reader.subscription;
}

bool Model::StandsBy(int slot) const {
  const auto& subscription = readers_.at(slot).subscription;
  return subscription != nullptr && subscription->consumers.front() != slot;
}

std::string Model::SeekReader(int slot, const StartPosition& to) {
  ReaderState& reader = readers_.at(slot);
  const auto& subscription = reader.subscription;
  if (!reader.ended.empty()) return reader.ended;
  if (StandsBy(slot)) return "SUBSCRIPTION_HELD";
  if (reader.channel->deleted) return "CHANNEL_DELETED";
  if (subscription != nullptr && subscription->deleted) return "SUBSCRIPTION_NOT_FOUND";
  const Place place = PlaceOf(*reader.channel, to, subscription == nullptr);
  if (subscription != nullptr) subscription->cursor = place.at;
  reader.places = {{place}};
  reader.received_since_seek = false;
  return "OK";
}

bool Model::LostItsSubscription(int slot) const {
  const auto& subscription = readers_.at(slot).subscription;
  return subscription != nullptr && subscription->deleted;
}

std::optional<MessageId> Model::Position(int slot) const {
  const ReaderState& reader = readers_.at(slot);
  const auto& subscription = reader.subscription;
  if (!reader.ended.empty() || reader.channel->deleted) return std::nullopt;
  if (subscription != nullptr && subscription->deleted) return std::nullopt;
  if (StandsBy(slot)) return 0;
  if (reader.places.size() != 1 || reader.places.front().size() != 1) return std::nullopt;
  const Place& place = reader.places.front().front();
  return place.not_before == 0 ? std::optional(place.at) : std::nullopt;
}

void Model::Leave(int slot) {
  const ReaderState& reader = readers_.at(slot);
  if (reader.subscription == nullptr) return;
  Subscription& subscription = *reader.subscription;
  // Nobody's turn comes any more.
  if (subscription.deleted || reader.channel->deleted) return;
  const bool held = !StandsBy(slot);
  std::erase(subscription.consumers, slot);
  if (!held || subscription.consumers.empty()) return;
  promoted_ = subscription.consumers.front();
  const MessageId from = Is(Flaw::kStandbyStartsAgain) ? subscription.start : subscription.cursor;
  readers_.at(*promoted_).places = {{Place{.at = from}}};
}

void Model::CloseReader(int slot) {
  Leave(slot);
  readers_.erase(slot);
}

std::optional<int> Model::TakePromoted() { return std::exchange(promoted_, std::nullopt); }

void Model::NoteOnItsWay(const ChannelPtr& channel, const std::shared_ptr<Subscription>& of) {
  for (auto& [slot, reader] : readers_) {
    if (reader.channel != channel || (of != nullptr && reader.subscription != of)) continue;
    // Whether it has passed over something by now is its own affair.
    Places passed = reader.places.front();
    passed.front() = Passed(*channel, passed.front());
    if (passed != reader.places.front()) reader.places.push_back(passed);
    for (Places& places : reader.places) {
      for (Place& place : places) {
        place.sent = channel->next;
        if (std::find(place.firsts.begin(), place.firsts.end(), channel->first) ==
            place.firsts.end()) {
          place.firsts.push_back(channel->first);
        }
      }
    }
  }
}

std::string Model::Fetch(const std::string& name, const StartPosition& start,
                         bool one_batch) const {
  const ChannelPtr channel = Find(name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  const ReaderState reader{.channel = channel};
  Place place = PlaceOf(*channel, start, true);
  std::string text;
  while (true) {
    const auto [what, after] = AnswersAt(reader, place, true).front();
    place = after;
    if (what == "TIMEOUT") break;
    text += what + " ";
    if (one_batch && !what.starts_with("gap")) break;
  }
  return text + "then " + std::to_string(place.at) + " of [" + std::to_string(channel->first) +
         "," + std::to_string(channel->next) + ")";
}

// --- Subscriptions ---

std::string Model::Info(const Channel& channel, const Subscription& subscription) const {
  const MessageId from = std::max(subscription.cursor, channel.first);
  std::string text = channel.name + "/" + subscription.name + " cursor " +
                     std::to_string(subscription.cursor) + " backlog " +
                     std::to_string(std::max<MessageId>(0, channel.next - from));
  const auto& consumers = subscription.consumers;
  if (consumers.empty()) return text;
  return text + " held by " + subscription.holders.at(consumers.front()) + " before " +
         std::to_string(consumers.size() - 1);
}

std::string Model::CreateSubscription(const std::string& channel_name, const std::string& name,
                                      const StartPosition& start) {
  const ChannelPtr channel = Find(channel_name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  if (!IsValidName(name)) return "INVALID_ARGUMENT";
  if (channel->subscriptions.contains(name)) return "SUBSCRIPTION_EXISTS";
  auto subscription = std::make_shared<Subscription>();
  subscription->name = name;
  subscription->cursor = subscription->start = Resolve(*channel, start);
  channel->subscriptions[name] = subscription;
  return Info(*channel, *subscription);
}

std::string Model::DescribeSubscription(const std::string& channel_name,
                                        const std::string& name) const {
  const ChannelPtr channel = Find(channel_name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  const auto found = channel->subscriptions.find(name);
  if (found == channel->subscriptions.end()) return "SUBSCRIPTION_NOT_FOUND";
  return Info(*channel, *found->second);
}

std::string Model::ListSubscriptions(const std::string& channel_name) const {
  if (!channel_name.empty() && Find(channel_name) == nullptr) return "CHANNEL_NOT_FOUND";
  std::string text;
  for (const auto& [name, channel] : channels_) {
    if (!channel_name.empty() && name != channel_name) continue;
    for (const auto& [subscription, state] : channel->subscriptions) {
      text += Info(*channel, *state) + "; ";
    }
  }
  return text;
}

std::string Model::SeekSubscription(const std::string& channel_name, const std::string& name,
                                    const StartPosition& to) {
  const std::string found = DescribeSubscription(channel_name, name);
  if (found.ends_with("NOT_FOUND")) return found;
  const ChannelPtr channel = Find(channel_name);
  Subscription& subscription = *channel->subscriptions.at(name);
  const MessageId cursor = Resolve(*channel, to);
  if (cursor < subscription.cursor && Is(Flaw::kSeekOnlyForward)) {
    return Info(*channel, subscription);
  }
  subscription.cursor = cursor;
  if (!subscription.consumers.empty()) {
    ReaderState& holder = readers_.at(subscription.consumers.front());
    for (Places& places : holder.places) places.push_back(Place{.at = cursor});
    holder.received_since_seek = false;
  }
  return Info(*channel, subscription);
}

std::string Model::DeleteSubscription(const std::string& channel_name, const std::string& name) {
  const std::string found = DescribeSubscription(channel_name, name);
  if (found.ends_with("NOT_FOUND")) return found;
  const ChannelPtr channel = Find(channel_name);
  const auto subscription = channel->subscriptions.at(name);
  NoteOnItsWay(channel, subscription);
  subscription->deleted = true;
  channel->subscriptions.erase(name);
  return "OK";
}

std::string Model::Acknowledge(const std::string& channel_name, const std::string& name,
                               MessageId through) {
  const std::string found = DescribeSubscription(channel_name, name);
  if (found.ends_with("NOT_FOUND")) return found;
  const ChannelPtr channel = Find(channel_name);
  if (through >= channel->next && !Is(Flaw::kAckBeyondTheEnd)) return "ACK_BEYOND_END";
  Subscription& subscription = *channel->subscriptions.at(name);
  if (through >= subscription.cursor || Is(Flaw::kAckMovesBack)) {
    subscription.cursor = through + 1;
    NoteMovedCursor(subscription);
  }
  return "OK";
}

// A holder that has not heard of a seek yet goes to where the cursor is when it does.
void Model::NoteMovedCursor(const Subscription& subscription) {
  if (subscription.consumers.empty()) return;
  ReaderState& holder = readers_.at(subscription.consumers.front());
  std::vector<Places> later;
  for (const Places& places : holder.places) {
    if (places.size() < 2 || places.back().at >= subscription.cursor) continue;
    later.push_back(places);
    later.back().back() = Place{.at = subscription.cursor};
  }
  holder.places.insert(holder.places.end(), later.begin(), later.end());
}

std::optional<std::string> Model::ConsumerAcknowledge(int slot, MessageId through) {
  const ReaderState& reader = readers_.at(slot);
  if (!reader.ended.empty()) return reader.ended;
  if (StandsBy(slot)) return "SUBSCRIPTION_HELD";
  if (reader.channel->deleted) return "CHANNEL_DELETED";
  Subscription& subscription = *reader.subscription;
  if (subscription.deleted) return "SUBSCRIPTION_NOT_FOUND";
  bool followed = true;
  for (const Places& places : reader.places) followed = followed && places.size() == 1;
  if (!followed && reader.received_since_seek) return std::nullopt;
  if (through >= reader.channel->next) return "ACK_BEYOND_END";
  if (!followed && !Is(Flaw::kOldAckCounts)) return "OK";
  return Acknowledge(reader.channel->name, subscription.name, through);
}

// --- For choosing what to do next ---

MessageId Model::FirstAvailable(const std::string& name) const {
  const ChannelPtr channel = Find(name);
  return channel == nullptr ? 0 : channel->first;
}

MessageId Model::NextId(const std::string& name) const {
  const ChannelPtr channel = Find(name);
  return channel == nullptr ? 0 : channel->next;
}

uint64_t Model::Number(const std::string& name) const {
  const ChannelPtr channel = Find(name);
  return channel == nullptr ? 0 : channel->number;
}

uint64_t Model::LastSequence(const std::string& name, const std::string& producer) const {
  const ChannelPtr channel = Find(name);
  if (channel == nullptr || !channel->producers.contains(producer)) return 0;
  return channel->producers.at(producer).last;
}

std::vector<std::string> Model::PayloadsOf(const std::string& name, const std::string& producer,
                                           uint64_t sequence) const {
  const ChannelPtr channel = Find(name);
  if (channel == nullptr || !channel->producers.contains(producer)) return {};
  const auto& stored = channel->producers.at(producer).stored;
  const auto found = stored.find(sequence);
  return found == stored.end() ? Payloads() : found->second.payloads;
}

TimeMicros Model::TimeOf(const std::string& name, size_t n) const {
  const ChannelPtr channel = Find(name);
  if (channel == nullptr || n >= channel->batches.size()) return 0;
  return channel->batches[channel->batches.size() - 1 - n].time;
}

}  // namespace strata::testing
