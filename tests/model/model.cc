// The model's channels and appends. What it reads is in model_read.cc.
#include "tests/model/model.h"

#include <algorithm>
#include <limits>

namespace strata::testing {
namespace {

constexpr MessageId kMostFirstId = MessageId{1} << 61;

std::string Text(const std::optional<int64_t>& limit) {
  return limit.has_value() ? std::to_string(*limit) : "-";
}

bool Valid(const RetentionOverrides& rules) {
  for (const auto& limit : {rules.retention_time, rules.retention_size, rules.max_messages}) {
    if (limit.has_value() && *limit < kNoLimit) return false;
  }
  return true;
}

}  // namespace

Model::ChannelPtr Model::Find(const std::string& name) const {
  const auto it = channels_.find(name);
  return it == channels_.end() ? nullptr : it->second;
}

std::string Model::Info(const Channel& channel) const {
  const RetentionOverrides& rules = channel.options.retention;
  std::string text =
      channel.name + "#" + std::to_string(channel.number) + " [" + std::to_string(channel.first) +
      "," + std::to_string(channel.next) + ") mark " + std::to_string(channel.mark) + " last " +
      std::to_string(channel.last_time()) + " from " + std::to_string(channel.options.first_id) +
      " rules " +
      (rules.policy.has_value() ? std::to_string(static_cast<int>(*rules.policy)) : "-");
  for (const auto& limit : {rules.retention_time, rules.retention_size, rules.max_messages}) {
    text += " " + Text(limit);
  }
  return text + " term " + std::to_string(channel.exclusive_term) + " " + channel.exclusive_holder;
}

std::string Model::CreateChannel(const std::string& name, const ChannelOptions& options) {
  if (!IsValidName(name)) return "INVALID_CHANNEL_NAME";
  if (options.first_id < 1 || options.first_id > kMostFirstId || !Valid(options.retention)) {
    return "INVALID_ARGUMENT";
  }
  if (const ChannelPtr existing = Find(name)) {
    const bool same = existing->options == options || Is(Flaw::kOptionsDoNotMatter);
    return same ? Info(*existing) : "CHANNEL_EXISTS";
  }
  const auto channel = std::make_shared<Channel>();
  channel->name = name;
  channel->options = options;
  channel->number = ++last_number_;
  channel->next = channel->first = options.first_id;
  if (const auto old = graves_.find(name); old != graves_.end()) {
    if (Is(Flaw::kRecreatedGoesOn)) channel->next = channel->first = old->second->next;
    if (Is(Flaw::kRecreatedIsTheSame)) channel->number = old->second->number;
  }
  channels_[name] = channel;
  return Info(*channel);
}

std::string Model::OpenChannel(const std::string& name, bool create_if_missing) {
  if (Find(name) == nullptr && create_if_missing) return CreateChannel(name, {});
  return DescribeChannel(name);
}

std::string Model::DescribeChannel(const std::string& name) const {
  const ChannelPtr channel = Find(name);
  return channel == nullptr ? "CHANNEL_NOT_FOUND" : Info(*channel);
}

std::string Model::ListChannels(const std::string& prefix) const {
  std::string text;
  for (const auto& [name, channel] : channels_) {
    if (name.starts_with(prefix)) text += Info(*channel) + "; ";
  }
  return text;
}

std::string Model::TruncateChannel(const std::string& name, MessageId through) {
  const ChannelPtr channel = Find(name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  if (Is(Flaw::kTruncateIsExclusive)) --through;
  const MessageId mark =
      std::min(through, channel->next - (Is(Flaw::kTruncateIsNotClamped) ? 0 : 1));
  if (mark > channel->mark || (Is(Flaw::kTruncateMovesBack) && mark > 0)) {
    NoteOnItsWay(channel, nullptr);
    channel->mark = mark;
    channel->first = std::max(mark + 1, Is(Flaw::kTruncateMovesBack) ? 1 : channel->first);
  }
  return Info(*channel);
}

std::string Model::AlterChannel(const std::string& name, const RetentionOverrides& retention) {
  if (!Valid(retention)) return "INVALID_ARGUMENT";
  const ChannelPtr channel = Find(name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  RetentionOverrides& rules = channel->options.retention;
  const RetentionOverrides before = rules;
  rules = retention;
  if (Is(Flaw::kAlterKeepsWhatIsUnset) && !rules.max_messages) {
    rules.max_messages = before.max_messages;
  }
  return Info(*channel);
}

std::string Model::DeleteChannel(const std::string& name) {
  const ChannelPtr channel = Find(name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  NoteOnItsWay(channel, nullptr);
  channel->deleted = true;
  graves_[name] = channel;
  channels_.erase(name);
  return "OK";
}

void Model::Restart() {
  producers_.clear();
  readers_.clear();
  promoted_.reset();
  for (const auto& [name, channel] : channels_) {
    std::erase_if(channel->producers, [](const auto& each) { return !each.second.durable; });
    for (auto& [producer, named] : channel->producers) {
      named.session = 0;
      named.open = false;
      if (Is(Flaw::kRestartForgetsTerms)) named.term = 0;
    }
    if (Is(Flaw::kRestartReleases)) channel->exclusive_holder.clear();
    for (const auto& [subscription, state] : channel->subscriptions) {
      state->consumers.clear();
      if (Is(Flaw::kRestartForgetsAcks)) state->cursor = state->start;
    }
  }
}

// --- Who may append ---

std::string Model::PassExclusive(const Channel& channel, const std::string& producer,
                                 int64_t term) const {
  if (!channel.exclusive_holder.empty()) {
    if (producer == channel.exclusive_holder && term == channel.exclusive_term) return "";
    return producer.empty() && Is(Flaw::kExclusiveLetsPlainIn) ? "" : "FENCED";
  }
  const bool lower = !producer.empty() && term < channel.exclusive_term;
  return lower && !Is(Flaw::kReleaseLetsLowerIn) ? "FENCED" : "";
}

std::string Model::CheckPart(const Part& part) const {
  const ChannelPtr channel = Find(part.channel);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  const AppendOptions& options = part.options;
  if (options.channel_number != 0 && options.channel_number != channel->number) {
    return "CHANNEL_RECREATED";
  }
  if (part.payloads.empty()) return "INVALID_BATCH";
  if (options.producer.empty()) {
    return options.term == 0 && options.sequence == 0 ? "" : "INVALID_ARGUMENT";
  }
  const bool valid = IsValidName(options.producer) && options.term >= 0 && options.sequence > 0;
  return valid ? "" : "INVALID_ARGUMENT";
}

std::string Model::Judge(const Channel& channel, const Part& part, const Batch** stored) const {
  const AppendOptions& options = part.options;
  *stored = nullptr;
  if (std::string why = PassExclusive(channel, options.producer, options.term); !why.empty()) {
    return why;
  }
  const bool mismatch = options.expected_next_id != 0 && options.expected_next_id != channel.next &&
                        !Is(Flaw::kAnyIdWillDo);
  const std::string wrong_id = mismatch ? "ID_MISMATCH next " + std::to_string(channel.next) : "";
  if (options.producer.empty()) return wrong_id;
  if (Is(Flaw::kTermFencesOtherNames)) {
    for (const auto& [name, other] : channel.producers) {
      if (options.term < other.term) return "FENCED";
    }
  }
  const auto found = channel.producers.find(options.producer);
  static const Named kNew;
  const Named& named = found == channel.producers.end() ? kNew : found->second;
  if (options.term < named.term && !Is(Flaw::kLowerTermIsLetIn)) return "FENCED";
  const bool anew = Is(Flaw::kSequencesEndWithTheTerm) && options.term > named.term;
  const uint64_t last = anew ? 0 : named.last;
  if (options.sequence > last) {
    if (options.sequence > last + 1 && !Is(Flaw::kJumpIsTaken)) return "OUT_OF_SEQUENCE";
    return wrong_id;
  }
  if (Is(Flaw::kDuplicateNeedsItsId) && mismatch) return wrong_id;
  const uint64_t window = Is(Flaw::kWindowIsShorter)  ? kProducerWindow - 1
                          : Is(Flaw::kWindowIsLonger) ? kProducerWindow + 1
                                                      : kProducerWindow;
  if (last - options.sequence >= window) return "DUPLICATE_UNKNOWN_ID";
  const auto found_first = named.stored.find(options.sequence);
  if (found_first == named.stored.end()) return "OUT_OF_SEQUENCE";
  const Batch& first = found_first->second;
  if (first.payloads != part.payloads && !Is(Flaw::kContentDoesNotMatter)) {
    return "INVALID_ARGUMENT";
  }
  if (!Is(Flaw::kDuplicateIsStored)) *stored = &first;
  return "";
}

namespace {

std::string Refused(const std::string& why) {
  return why + (why == "DUPLICATE_UNKNOWN_ID" ? " yes" : " not");
}

std::string Took(MessageId first, size_t count) {
  return std::to_string(first) + "+" + std::to_string(count);
}

}  // namespace

std::string Model::Store(Channel& channel, const Part& part, const Batch* stored) {
  const std::string& name = part.options.producer;
  Named* named = name.empty() ? nullptr : &channel.producers[name];
  if (named != nullptr) {
    named->durable = true;
    if (part.options.term > named->term) {
      named->term = part.options.term;
      named->session = 0;
      named->open = false;
    }
  }
  if (stored != nullptr) {
    const bool same = stored->time == part.time;
    return Took(stored->first, stored->payloads.size()) + (same ? "" : " at its first time");
  }
  const Batch batch{channel.next, part.payloads, part.time};
  const bool back = part.time < channel.last_time();
  channel.batches.push_back(batch);
  channel.next = batch.next();
  if (named != nullptr) {
    named->last = part.options.sequence;
    named->stored[part.options.sequence] = batch;
  }
  return Took(batch.first, batch.payloads.size()) + (back ? " not before the last one" : "");
}

std::string Model::Append(const Part& part) {
  if (std::string why = CheckPart(part); !why.empty()) return Refused(why);
  Channel& channel = *Find(part.channel);
  const Batch* stored = nullptr;
  if (std::string why = Judge(channel, part, &stored); !why.empty()) return Refused(why);
  return Store(channel, part, stored);
}

std::string Model::AppendMulti(const std::vector<Part>& parts) {
  if (parts.empty()) return "INVALID_ARGUMENT not";
  std::vector<std::string> names;
  for (const Part& part : parts) {
    if (std::string why = CheckPart(part); !why.empty()) return Refused(why);
    if (std::count(names.begin(), names.end(), part.channel) > 0) return "INVALID_ARGUMENT not";
    names.push_back(part.channel);
  }
  std::vector<const Batch*> stored(parts.size());
  size_t duplicates = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string why = Judge(*Find(parts[i].channel), parts[i], &stored[i]);
    if (stored[i] != nullptr) ++duplicates;
    if (why.empty()) continue;
    for (size_t j = 0; j < i && Is(Flaw::kMultiStoresAPart); ++j) {
      (void)Store(*Find(parts[j].channel), parts[j], stored[j]);
    }
    return Refused(why);
  }
  const bool mixture = duplicates > 0 && duplicates < parts.size();
  if (mixture && !Is(Flaw::kMultiTakesAMixture)) return "INVALID_ARGUMENT not";
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    text += Store(*Find(parts[i].channel), parts[i], stored[i]) + " ";
  }
  return text;
}

// --- Producers that are open ---

std::string Model::OpenProducer(int slot, const std::string& name, const ProducerOptions& options) {
  const bool named = !options.name.empty();
  if (options.term < 0 || (named && !IsValidName(options.name)) ||
      (!named && (options.term > 0 || options.exclusive)) ||
      (options.exclusive && options.term == 0)) {
    return "INVALID_ARGUMENT";
  }
  if (options.create_if_missing && Find(name) == nullptr) {
    if (!IsValidName(name)) return "INVALID_CHANNEL_NAME";
    (void)CreateChannel(name, {});
  }
  const ChannelPtr channel = Find(name);
  if (channel == nullptr) return "CHANNEL_NOT_FOUND";
  if (options.exclusive) {
    const bool own = channel->exclusive_holder.empty() || channel->exclusive_holder == options.name;
    const bool equal = options.term == channel->exclusive_term && own;
    if (options.term <= channel->exclusive_term && !equal && !Is(Flaw::kReleaseLetsLowerIn)) {
      return "FENCED";
    }
  } else if (std::string why = PassExclusive(*channel, options.name, options.term); !why.empty()) {
    return why;
  }
  OpenProducerState open{.channel = channel, .name = options.name, .term = options.term};
  if (named) {
    const auto found = channel->producers.find(options.name);
    if (found != channel->producers.end()) {
      const Named& before = found->second;
      if (options.term < before.term && !Is(Flaw::kLowerTermIsLetIn)) return "FENCED";
      const bool again = options.term == before.term && before.open;
      if (again && Is(Flaw::kEqualTermIsFenced)) return "FENCED";
    }
    Named& state = channel->producers[options.name];
    state.durable = state.durable || options.term > 0;
    state.term = options.term;
    state.session = open.session = ++last_session_;
    state.open = true;
    open.next_sequence = state.last + 1;
    if (options.exclusive) {
      channel->exclusive_term = options.term;
      channel->exclusive_holder = options.name;
    }
  }
  producers_[slot] = open;
  return "#" + std::to_string(channel->number) + " end " + std::to_string(channel->next);
}

std::string Model::CheckSession(const OpenProducerState& producer) const {
  const Channel& channel = *producer.channel;
  if (channel.deleted) return "CHANNEL_DELETED";
  if (std::string why = PassExclusive(channel, producer.name, producer.term); !why.empty()) {
    return why;
  }
  if (producer.name.empty()) return "";
  const auto found = channel.producers.find(producer.name);
  if (found == channel.producers.end()) return "FENCED";
  if (producer.term < found->second.term) return "FENCED";
  const bool in_force = found->second.session == producer.session;
  return in_force || Is(Flaw::kTakenOverGoesOn) ? "" : "FENCED";
}

std::string Model::Send(int slot, const std::string& payload, TimeMicros time) {
  OpenProducerState& producer = producers_.at(slot);
  if (!producer.refused.empty()) return producer.refused + " not";
  std::string why = CheckSession(producer);
  Part part{producer.channel->name, {payload}, {}, time};
  if (why.empty() && !producer.name.empty()) {
    part.options.producer = producer.name;
    part.options.term = producer.channel->producers.at(producer.name).term;
    part.options.sequence = producer.next_sequence++;
    const Batch* stored = nullptr;
    why = Judge(*producer.channel, part, &stored);
  }
  if (why.empty()) return Store(*producer.channel, part, nullptr);
  if (!Is(Flaw::kRefusedGoesOn)) producer.refused = why;
  return Refused(why);
}

void Model::EndSession(OpenProducerState& producer, bool in_peace) {
  Channel& channel = *producer.channel;
  const auto found = channel.producers.find(producer.name);
  if (found == channel.producers.end() || found->second.session != producer.session) return;
  found->second.open = false;
  if (!in_peace) return;
  found->second.session = 0;
  if (channel.exclusive_holder == producer.name && channel.exclusive_term == producer.term) {
    channel.exclusive_holder.clear();
  }
  if (!found->second.durable) channel.producers.erase(found);
}

std::string Model::CloseProducer(int slot) {
  OpenProducerState& producer = producers_.at(slot);
  EndSession(producer, producer.refused.empty());
  const std::string text = producer.refused.empty() ? "OK" : producer.refused;
  producers_.erase(slot);
  return text;
}

void Model::DropProducer(int slot) {
  EndSession(producers_.at(slot), false);
  producers_.erase(slot);
}

std::string Model::ListProducers(const std::string& channel) const {
  if (!channel.empty() && Find(channel) == nullptr) return "CHANNEL_NOT_FOUND";
  std::string text;
  for (const auto& [channel_name, state] : channels_) {
    if (!channel.empty() && channel_name != channel) continue;
    for (const auto& [name, named] : state->producers) {
      if (!named.durable && !named.open) continue;
      text += channel_name + "/" + name + " term " + std::to_string(named.term) + " last " +
              std::to_string(named.last) + "; ";
    }
  }
  return text;
}

}  // namespace strata::testing
