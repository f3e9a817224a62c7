// How operations are chosen and compared, and those of channels and appends. Those that read are in
// player_read.cc.
#include "tests/model/player.h"

#include <algorithm>
#include <limits>

namespace strata::testing {
namespace {

// Not the default, whose ballast file would be most of the work of a short test.
const Strings kSettings = {"limits.maxFileStore=1GB", "limits.writeBuffer=4MiB"};

constexpr std::chrono::milliseconds kShort{50};

// Those that take nothing in a test's time, and one that is wrong.
RetentionOverrides AnyRetention(Random& random) {
  RetentionOverrides rules;
  switch (random.Below(6)) {
    case 0:
      rules.max_messages = 1'000'000;
      break;
    case 1:
      rules.policy = RetentionPolicy::kTruncated;
      rules.retention_time = kNoLimit;
      break;
    case 2:
      rules.retention_size = int64_t{1} << 40;
      break;
    case 3:
      if (random.OneIn(4)) rules.max_messages = -2;
      break;
    default:
      break;
  }
  return rules;
}

Buffer Encoded(const Strings& payloads) {
  BatchBuilder builder;
  for (const std::string& payload : payloads) builder.Add(payload);
  return builder.Take();
}

std::string Text(const RetentionOverrides& rules) {
  std::string text;
  if (rules.policy.has_value()) text += " policy";
  if (rules.retention_time.has_value()) text += " time";
  if (rules.retention_size.has_value()) text += " size";
  if (rules.max_messages.has_value()) text += " count " + std::to_string(*rules.max_messages);
  return text;
}

std::string Call(const Model::Part& part) {
  std::string text = part.channel + " {";
  for (const std::string& payload : part.payloads) text += payload + " ";
  if (part.payloads.size() > 0) text.pop_back();
  text += "}";
  const AppendOptions& options = part.options;
  if (options.channel_number != 0) text += " in #" + std::to_string(options.channel_number);
  if (!options.producer.empty() || options.term != 0 || options.sequence != 0) {
    text += " as " + options.producer + " term " + std::to_string(options.term) + " sequence " +
            std::to_string(options.sequence);
  }
  if (options.expected_next_id != 0) {
    text += " expecting " + std::to_string(options.expected_next_id);
  }
  return text;
}

}  // namespace

const std::vector<Player::Kind>& Player::Kinds() {
  static const std::vector<Kind> kKinds = {{&Player::CreateChannel, 6},
                                           {&Player::OpenChannel, 2},
                                           {&Player::DescribeChannel, 4},
                                           {&Player::TruncateChannel, 5},
                                           {&Player::AlterChannel, 2},
                                           {&Player::DeleteChannel, 2},
                                           {&Player::AppendPlain, 14},
                                           {&Player::AppendAs, 16},
                                           {&Player::AppendMany, 1},
                                           {&Player::AppendMulti, 7},
                                           {&Player::OpenProducer, 9},
                                           {&Player::Send, 12},
                                           {&Player::CloseProducer, 5},
                                           {&Player::ListProducers, 3},
                                           {&Player::Fetch, 7},
                                           {&Player::OpenReader, 5},
                                           {&Player::OpenConsumer, 9},
                                           {&Player::Receive, 20},
                                           {&Player::SeekReader, 5},
                                           {&Player::CloseReader, 5},
                                           {&Player::ConsumerAcknowledge, 6},
                                           {&Player::CreateSubscription, 3},
                                           {&Player::DescribeSubscription, 4},
                                           {&Player::SeekSubscription, 4},
                                           {&Player::DeleteSubscription, 2},
                                           {&Player::Acknowledge, 4},
                                           {&Player::Restart, 1}};
  return kKinds;
}

Player::Player(Transport transport, Flaw flaw)
    : patience_(flaw == Flaw::kNone ? std::chrono::milliseconds(kSoon) : kShort),
      transport_(transport),
      place_(transport, transport == Transport::kInMemory ? Strings() : kSettings),
      model_(flaw) {
  for (auto& client : clients_) client = place_.NewClient();
}

void Player::Compare(const std::string& call, const std::string& brought,
                     const std::string& expected) {
  if (!agrees_) return;
  calls_.push_back(call + " -> " + brought);
  if (brought == expected) return;
  calls_.push_back("the model: " + expected);
  agrees_ = false;
}

void Player::DropEverything() {
  consumers_.clear();
  readers_.clear();
  producers_.clear();
  for (auto& client : clients_) client.reset();
}

void Player::Restart(Random& random) {
  calls_.push_back("restart");
  DropEverything();
  model_.Restart();
  if (transport_ == Transport::kInMemory) {
    place_.Restart();
  } else {
    // A directory is the same for all of them.
    constexpr Transport kTransports[] = {STORE_TRANSPORTS};
    if (random.OneIn(2)) transport_ = kTransports[random.Below(3)];
    place_.Down();
    place_.Up(transport_);
  }
  for (auto& client : clients_) client = place_.NewClient();
}

void Player::LookAtEverything() {
  for (uint64_t seed = 0; seed < 2; ++seed) {
    Client& client = *clients_[seed];
    const auto channels = client.ListChannels();
    std::string text = channels.ok() ? "" : Why(channels);
    for (const ChannelInfo& info : channels.ok() ? *channels : std::vector<ChannelInfo>()) {
      text += Text(Result<ChannelInfo>(info)) + "; ";
    }
    Compare("ListChannels", text, model_.ListChannels(""));
    const auto subscriptions = client.ListSubscriptions();
    text = subscriptions.ok() ? "" : Why(subscriptions);
    for (const auto& info : subscriptions.ok() ? *subscriptions : std::vector<SubscriptionInfo>()) {
      text += Text(info) + "; ";
    }
    Compare("ListSubscriptions", text, model_.ListSubscriptions(""));
  }
  Random random(1);
  ListProducers(random);
  for (int i = 0; i < 8; ++i) Fetch(random);
}

// --- Choices ---

std::string Player::AnyChannel(Random& random) {
  if (random.OneIn(40)) return random.OneIn(2) ? ".." : "no spaces";
  return random.OneIn(2) ? "a" : random.OneIn(3) ? "c" : "b";
}

std::string Player::AnySubscription(Random& random) {
  if (random.OneIn(40)) return random.OneIn(2) ? "" : "no/slash";
  return random.OneIn(3) ? "t" : "s";
}

std::string Player::AnyProducer(Random& random) {
  if (random.OneIn(40)) return "no spaces";
  return random.OneIn(3) ? "q" : "p";
}

MessageId Player::AnyId(Random& random, const std::string& channel) const {
  const auto little = static_cast<MessageId>(random.Below(6)) - 2;
  switch (random.Below(8)) {
    case 0:
      return little;
    case 1:
      return random.OneIn(4) ? std::numeric_limits<MessageId>::max() : 40;
    case 2:
    case 3:
    case 4:
      return model_.FirstAvailable(channel) + little;
    default:
      return model_.NextId(channel) + little - 1;
  }
}

StartPosition Player::AnyStart(Random& random, const std::string& channel) const {
  switch (random.Below(7)) {
    case 0:
      return StartPosition::Earliest();
    case 1:
      return StartPosition::Latest();
    case 2:
      return StartPosition::After(AnyId(random, channel));
    case 3:
    case 4: {
      const TimeMicros time = model_.TimeOf(channel, random.Below(5));
      const auto little = static_cast<TimeMicros>(random.Below(3)) - 1;
      return StartPosition::AtTime(random.OneIn(10) ? time + 1'000'000'000'000 : time + little);
    }
    default:
      return StartPosition::At(AnyId(random, channel));
  }
}

Strings Player::NewPayloads(Random& random) {
  Strings payloads;
  if (random.OneIn(60)) return payloads;
  for (uint64_t i = random.Between(1, 3); i > 0; --i) {
    payloads.push_back("m" + std::to_string(++payloads_));
  }
  return payloads;
}

Model::Part Player::PlainPart(Random& random) {
  Model::Part part;
  part.channel = AnyChannel(random);
  part.payloads = NewPayloads(random);
  if (random.OneIn(5)) part.options.expected_next_id = AnyId(random, part.channel);
  if (random.OneIn(8)) {
    part.options.channel_number = std::max<uint64_t>(1, model_.Number(part.channel));
    if (random.OneIn(3) && part.options.channel_number > 1) --part.options.channel_number;
  }
  // A term or a sequence that is nobody's.
  if (random.OneIn(60)) part.options.term = 1;
  if (random.OneIn(60)) part.options.sequence = 1;
  return part;
}

Model::Part Player::NamedPart(Random& random) {
  Model::Part part = PlainPart(random);
  const std::string producer = AnyProducer(random);
  const uint64_t last = model_.LastSequence(part.channel, producer);
  part.options.producer = producer;
  part.options.term = static_cast<int64_t>(random.Below(3));
  if (random.OneIn(30)) part.options.term = -1;
  part.options.sequence = last + 1;
  if (random.OneIn(15)) part.options.sequence = last + 2;
  if (random.OneIn(30)) part.options.sequence = 0;
  if (last > 0 && random.OneIn(3)) {
    // Again, as far back as results are kept, and a little further.
    const uint64_t back[] = {0, 1, 2, kProducerWindow - 1, kProducerWindow};
    part.options.sequence = last - std::min(last - 1, back[random.Below(5)]);
    const Strings first = model_.PayloadsOf(part.channel, producer, part.options.sequence);
    if (!random.OneIn(5) && !first.empty()) part.payloads = first;
  }
  return part;
}

// --- Texts ---

std::string Player::Number(ChannelNumber number) {
  const auto [it, fresh] = numbers_.try_emplace(number, numbers_.size() + 1);
  return "#" + std::to_string(it->second);
}

std::string Player::Text(const Result<ChannelInfo>& result) {
  if (!result.ok()) return Why(result);
  const ChannelInfo& info = *result;
  const auto limit = [](const std::optional<int64_t>& value) {
    return value.has_value() ? " " + std::to_string(*value) : " -";
  };
  const RetentionOverrides& rules = info.options.retention;
  return info.name + Number(info.number) + " [" + std::to_string(info.first_available) + "," +
         std::to_string(info.next_id) + ") mark " + std::to_string(info.truncated_through) +
         " last " + std::to_string(info.last_append_time) + " from " +
         std::to_string(info.options.first_id) + " rules " +
         (rules.policy.has_value() ? std::to_string(static_cast<int>(*rules.policy)) : "-") +
         limit(rules.retention_time) + limit(rules.retention_size) + limit(rules.max_messages) +
         " term " + std::to_string(info.exclusive_term) + " " + info.exclusive_holder;
}

std::string Player::Text(const Result<AppendResult>& result) {
  if (result.ok()) return std::to_string(result->first_id) + "+" + std::to_string(result->count);
  const auto next = result.status().actual_next_id();
  if (!next.has_value()) return Why(result);
  return "ID_MISMATCH next " + std::to_string(*next) +
         (Why(result).ends_with(" not") ? " not" : "");
}

// --- Channels ---

void Player::CreateChannel(Random& random) {
  const std::string name = AnyChannel(random);
  ChannelOptions options;
  constexpr MessageId kFirst[] = {1, 7, 0, (MessageId{1} << 61) + 1};
  if (random.OneIn(4)) options.first_id = kFirst[random.Below(4)];
  if (random.OneIn(4)) options.retention = AnyRetention(random);
  // Not two faults at a time, of which either may be told.
  if (!IsValidName(name)) options = {};
  const auto created = AnyClient(random).CreateChannel(name, options);
  Compare("CreateChannel " + name + " from " + std::to_string(options.first_id) +
              testing::Text(options.retention),
          Text(created), model_.CreateChannel(name, options));
}

void Player::OpenChannel(Random& random) {
  const std::string name = AnyChannel(random);
  const bool create = random.OneIn(2);
  Compare(std::string("OpenChannel ") + name + (create ? " or create it" : ""),
          Text(AnyClient(random).OpenChannel(name, create)), model_.OpenChannel(name, create));
}

void Player::DescribeChannel(Random& random) {
  const std::string name = AnyChannel(random);
  Compare("DescribeChannel " + name, Text(AnyClient(random).DescribeChannel(name)),
          model_.DescribeChannel(name));
}

void Player::TruncateChannel(Random& random) {
  const std::string name = AnyChannel(random);
  const MessageId through = AnyId(random, name);
  Compare("TruncateChannel " + name + " " + std::to_string(through),
          Text(AnyClient(random).TruncateChannel(name, through)),
          model_.TruncateChannel(name, through));
}

void Player::AlterChannel(Random& random) {
  const std::string name = AnyChannel(random);
  const RetentionOverrides rules = AnyRetention(random);
  Compare("AlterChannel " + name + testing::Text(rules),
          Text(AnyClient(random).AlterChannel(name, rules)), model_.AlterChannel(name, rules));
}

void Player::DeleteChannel(Random& random) {
  const std::string name = AnyChannel(random);
  Compare("DeleteChannel " + name, Text(AnyClient(random).DeleteChannel(name)),
          model_.DeleteChannel(name));
}

// --- Appending ---

AppendOptions Player::Real(const AppendOptions& options) {
  AppendOptions real = options;
  real.channel_number = 0;
  for (const auto& [number, seen] : numbers_) {
    if (seen == options.channel_number) real.channel_number = number;
  }
  return real;
}

void Player::AppendPart(Client& client, Model::Part part) {
  const AppendOptions options = Real(part.options);
  const auto result = client.Append(part.channel, Encoded(part.payloads), options);
  if (result.ok()) part.time = result->append_time;
  const std::string text = Text(result);
  Compare("Append " + Call(part), text, model_.Append(part));
}

void Player::AppendPlain(Random& random) {
  const Model::Part part = PlainPart(random);
  AppendPart(AnyClient(random), part);
}

void Player::AppendAs(Random& random) {
  const Model::Part part = NamedPart(random);
  AppendPart(AnyClient(random), part);
}

// More than results are kept of.
void Player::AppendMany(Random& random) {
  Model::Part part = NamedPart(random);
  Client& client = AnyClient(random);
  part.options.expected_next_id = 0;
  part.options.sequence = model_.LastSequence(part.channel, part.options.producer) + 1;
  for (uint32_t i = 0; i < kProducerWindow + 2 && agrees_; ++i, ++part.options.sequence) {
    part.payloads = {"m" + std::to_string(++payloads_)};
    AppendPart(client, part);
    if (!calls_.back().ends_with("+1")) return;
  }
  // The oldest result that is kept, and the newest one that is not.
  const uint64_t last = part.options.sequence - 1;
  for (const uint64_t back : {kProducerWindow - 1, kProducerWindow}) {
    if (!agrees_) return;
    part.options.sequence = last - back;
    part.payloads = model_.PayloadsOf(part.channel, part.options.producer, part.options.sequence);
    AppendPart(client, part);
  }
}

void Player::AppendMulti(Random& random) {
  std::vector<Model::Part> parts;
  std::vector<ChannelAppend> appends;
  std::string call = "AppendMulti";
  if (!random.OneIn(30)) {
    for (uint64_t i = random.Between(1, 3); i > 0; --i) {
      parts.push_back(random.OneIn(3) ? NamedPart(random) : PlainPart(random));
      // Mostly one for each channel.
      if (random.OneIn(6)) continue;
      for (size_t j = 0; j + 1 < parts.size(); ++j) {
        if (parts[j].channel == parts.back().channel) {
          parts.pop_back();
          break;
        }
      }
    }
  }
  for (const Model::Part& part : parts) {
    appends.push_back({part.channel, Encoded(part.payloads), Real(part.options)});
    call += " " + Call(part);
  }
  const auto results = AnyClient(random).AppendMulti(appends);
  std::string text;
  if (!results.ok()) {
    text = Text(Result<AppendResult>(results.status()));
  } else {
    for (size_t i = 0; i < results->size() && i < parts.size(); ++i) {
      parts[i].time = (*results)[i].append_time;
      text += Text(Result<AppendResult>((*results)[i])) + " ";
    }
  }
  Compare(call, text, model_.AppendMulti(parts));
}

void Player::OpenProducer(Random& random) {
  const auto slot = static_cast<int>(random.Below(kSlots));
  const std::string channel = AnyChannel(random);
  ProducerOptions options;
  options.create_if_missing = random.OneIn(4);
  if (!random.OneIn(4)) {
    options.name = AnyProducer(random);
    options.term = static_cast<int64_t>(random.Below(4));
    options.exclusive = random.OneIn(3);
  } else if (random.OneIn(10)) {
    options.term = 1;
  }
  if (random.OneIn(40)) options.term = -1;
  Client& client = AnyClient(random);
  if (producers_.contains(slot)) {
    calls_.push_back("drop producer " + std::to_string(slot));
    producers_.erase(slot);
    model_.DropProducer(slot);
  }
  auto opened = client.OpenProducer(channel, options);
  std::string text = Why(opened);
  if (opened.ok()) {
    text = Number((*opened)->channel_number()) + " end " + std::to_string((*opened)->end_at_open());
    producers_[slot] = *std::move(opened);
    producer_channels_[slot] = channel;
  }
  Compare("OpenProducer " + std::to_string(slot) + " of " + channel +
              (options.create_if_missing ? " or create it" : "") + " as '" + options.name +
              "' term " + std::to_string(options.term) + (options.exclusive ? " exclusive" : ""),
          text, model_.OpenProducer(slot, channel, options));
}

void Player::Send(Random& random) {
  const std::optional<int> slot = AnySlot(random, producers_);
  if (!slot.has_value()) return;
  for (uint64_t i = random.Between(1, 3); i > 0 && agrees_; --i) {
    const std::string payload = "m" + std::to_string(++payloads_);
    const Result<MessageId> id = producers_.at(*slot)->Send(Message{payload, {}}).get();
    std::string text = Why(id);
    TimeMicros time = 0;
    if (id.ok()) {
      text = std::to_string(*id) + "+1";
      // The callback does not tell it.
      const auto stored = clients_[0]->Fetch(producer_channels_.at(*slot), StartPosition::At(*id),
                                             {.max_bytes = 1});
      if (stored.ok() && stored->batches.size() == 1) time = stored->batches[0].append_time();
    }
    Compare("Send " + std::to_string(*slot) + " " + payload, text,
            model_.Send(*slot, payload, time));
  }
}

void Player::CloseProducer(Random& random) {
  const std::optional<int> slot = AnySlot(random, producers_);
  if (!slot.has_value()) return;
  if (random.OneIn(4)) {
    calls_.push_back("drop producer " + std::to_string(*slot));
    model_.DropProducer(*slot);
  } else {
    const Status status = producers_.at(*slot)->Close();
    const std::string text = status.ok() ? "OK" : GetErrorInfo(status.reason()).name;
    Compare("Close producer " + std::to_string(*slot), text, model_.CloseProducer(*slot));
  }
  producers_.erase(*slot);
}

std::string Player::ListProducersText(Client& client, const std::string& channel) {
  const auto producers = client.ListProducers(channel);
  std::string text = producers.ok() ? "" : Why(producers);
  for (const ProducerInfo& info : producers.ok() ? *producers : std::vector<ProducerInfo>()) {
    // A name that a transport makes up for a producer that has none.
    if (info.name.starts_with("anonymous.")) continue;
    text += info.channel + "/" + info.name + " term " + std::to_string(info.term) + " last " +
            std::to_string(info.last_sequence) + "; ";
  }
  return text;
}

void Player::ListProducers(Random& random) {
  const std::string channel = random.OneIn(2) ? "" : AnyChannel(random);
  Client& client = AnyClient(random);
  const std::string expected = model_.ListProducers(channel);
  std::string text = ListProducersText(client, channel);
  // A daemon hears of a producer that was dropped a little later.
  const auto deadline = std::chrono::steady_clock::now() + kSoon;
  while (remote() && text != expected && std::chrono::steady_clock::now() < deadline) {
    text = ListProducersText(client, channel);
  }
  Compare("ListProducers " + channel, text, expected);
}

}  // namespace strata::testing
