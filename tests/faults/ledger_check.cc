// Comparing the books with the first broker after an ending.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/batch.h"
#include "tests/faults/ledger.h"
#include "tests/faults/scene.h"

namespace strata::testing {

// Of what was answered: all before this, and by it, is there after that ending.
uint64_t Ledger::PromisedUpTo(Ending ending) const {
  if (ending == Ending::kLossAccepted) return 0;
  return ending == Ending::kPowerCut ? synced_.load() : kAlways;
}

bool Ledger::IsPromise(uint64_t at, Ending ending) const {
  return at != 0 && at <= PromisedUpTo(ending);
}

std::vector<std::string> Ledger::Check(broker::Broker& broker, Ending ending) {
  MutexLock lock(mu_);
  Look look{broker, ending, {}, {}, {}, std::move(violations_)};
  violations_.clear();
  if (ending == Ending::kLossAccepted) ids_jump_ = true;
  for (size_t plan = 0; plan < plans_.size(); ++plan) CheckPlan(plan, &look);
  CheckMultis(&look);
  // What was found is what recovery has made durable.
  if (synced_ != kAlways) synced_ = clock_.load();
  for (const auto& [number, start] : look.starts) CheckGoesOn(number, &look);
  for (std::string& each : violations_) look.violations.push_back(std::move(each));
  violations_.clear();
  return std::move(look.violations);
}

void Ledger::CheckPlan(size_t plan, Look* look) {
  const std::string& name = plans_[plan].name;
  const Result<ChannelInfo> found = look->broker.DescribeChannel(name);
  const bool asked = creation_asked_[plan];
  creation_asked_[plan] = false;
  CheckGone(plan, found.ok() ? found->number : 0, look);
  if (!found.ok()) return;
  auto known = channels_.find(found->number);
  if (known == channels_.end()) {
    // Created, and never answered: nobody can have appended to it.
    if (!asked || (!channels_.empty() && found->number < channels_.rbegin()->first)) {
      look->violations.push_back(fmt::format("channel {} has number {}", name, found->number));
    }
    if (found->next_id != kFirstMessageId && !ids_jump_) {
      look->violations.push_back(
          fmt::format("channel {} is new and goes to {}", name, found->next_id));
    }
    known = channels_.try_emplace(found->number).first;
    known->second.plan = plan;
  }
  Channel& channel = known->second;
  if (channel.plan != plan || IsPromise(channel.deleted_at, look->ending)) {
    look->violations.push_back(fmt::format("channel {} ({}) was deleted", name, known->first));
    return;
  }
  channel.created_at = Now();
  channel.deletion_asked = false;
  channel.deleted_at = 0;
  CheckChannel(*found, &channel, look);
}

// The plan's channels but `except` are not there.
void Ledger::CheckGone(size_t plan, ChannelNumber except, Look* look) {
  for (auto& [number, channel] : channels_) {
    if (channel.plan != plan || number == except) continue;
    if (IsPromise(channel.created_at, look->ending) && !channel.deletion_asked)
      look->violations.push_back(fmt::format("channel {} ({}) is gone", plans_[plan].name, number));
    channel.deletion_asked = true;
    channel.deleted_at = channel.deleted_at == 0 ? 1 : channel.deleted_at;
  }
}

void Ledger::CheckChannel(const ChannelInfo& info, Channel* channel, Look* look) {
  look->corrupt.clear();
  look->starts[info.number] = info.first_available;
  CheckRange(info, channel, look);
  const MessageId end = ReadAll(info, look);
  if (end != info.next_id) {
    look->violations.push_back(fmt::format("channel {} ({}) ends at {}, not {}", info.name,
                                           info.number, end, info.next_id));
  }
  CheckMissing(info, channel, look);
  CheckCursors(info, channel, look);
  CheckProducers(info, channel, look);
  CheckExclusive(info, channel, look);
}

MessageId Ledger::MayBeGone(const Channel& channel) const {
  const ChannelPlan& plan = plans_[channel.plan];
  const auto policy = plan.retention.policy.value_or(RetentionPolicy::kAcked);
  if (policy == RetentionPolicy::kLimits) return std::numeric_limits<MessageId>::max();
  if (policy == RetentionPolicy::kTruncated) return channel.truncation_asked;
  MessageId slowest = std::numeric_limits<MessageId>::max();
  for (const std::string& subscription : plan.subscriptions) {
    const auto asked = channel.acks_asked.find(subscription);
    slowest = std::min(slowest, asked == channel.acks_asked.end() ? 0 : asked->second);
  }
  return std::max(slowest, channel.truncation_asked);
}

void Ledger::CheckRange(const ChannelInfo& info, Channel* channel, Look* look) {
  const auto violation = [&](const std::string& what) {
    look->violations.push_back(fmt::format("channel {} ({}): {}", info.name, info.number, what));
  };
  const uint64_t synced = PromisedUpTo(look->ending);
  const MessageId truncated = channel->truncated.Promised(synced);
  if (info.truncated_through < truncated)
    violation(fmt::format("truncated to {}, not {}", info.truncated_through, truncated));
  channel->truncated = Rising();
  channel->truncated.Rise(info.truncated_through, 1);
  if (ids_jump_) return;  // what is missing may have been lost
  const MessageId may_be_gone = MayBeGone(*channel);
  // Not may_be_gone + 1: where everything may go it is the largest id there is.
  if (info.first_available - 1 > may_be_gone && may_be_gone < info.next_id)
    violation(fmt::format("starts at {}, only {} may go", info.first_available, may_be_gone));
  // By policy `limits` pages go only as long as more than the limit is left.
  const auto limit = plans_[channel->plan].retention.retention_size;
  if (limit && info.first_available > channel->truncation_asked + 1 &&
      info.bytes <= static_cast<uint64_t>(*limit)) {
    violation(fmt::format("starts at {} and has {} bytes, {} are to stay", info.first_available,
                          info.bytes, *limit));
  }
}

// What is wrong with a batch that was read; takes note of where it is.
std::string Ledger::CheckBatch(ChannelNumber number, const storage::StoredBatch& batch) {
  const Buffer bytes = batch.bytes.Contiguous();
  BatchIterator it(bytes.view(), batch.first_id, batch.append_time);
  Batch* known = nullptr;
  size_t index = 0;
  for (MessageView message; it.Next(&message); ++index) {
    if (index == 0) {
      uint64_t tag = 0;
      std::from_chars(message.payload.data(), message.payload.data() + message.payload.size(), tag);
      const auto found = batches_.find(tag);
      if (found == batches_.end() || found->second.sent.channel != number)
        return fmt::format("nobody sent to channel {}: id {}", number, batch.first_id);
      known = &found->second;
    }
    if (index >= known->sent.payloads.size() || known->sent.payloads[index] != message.payload)
      return fmt::format("is another message of channel {}: id {}", number, message.id);
  }
  if (known == nullptr || index != known->sent.payloads.size() || batch.count != index)
    return fmt::format("is part of a batch of channel {}: from id {}", number, batch.first_id);
  NoteStored(known, batch.first_id);
  return "";
}

// From the first id on; where it ends.
MessageId Ledger::ReadAll(const ChannelInfo& info, Look* look) {
  MessageId next = info.first_available;
  const auto violation = [&](const std::string& what) {
    look->violations.push_back(fmt::format("channel {} ({}): {}", info.name, info.number, what));
    return next;
  };
  auto reader = look->broker.OpenReader(info.name, StartPosition::Earliest());
  if (!reader.ok()) return violation(reader.status().ToString());
  for (;;) {
    const broker::Reader::Item item = (*reader)->Next();
    if (std::holds_alternative<broker::Reader::AtEnd>(item)) return next;
    if (const auto* status = std::get_if<Status>(&item)) return violation(status->ToString());
    if (const auto* gap = std::get_if<Gap>(&item)) {
      const bool damaged = gap->reason == GapReason::kCorrupt && look->ending == Ending::kDamaged;
      if (damaged) look->corrupt.push_back(*gap);
      const bool legal = damaged || (gap->reason == GapReason::kLost && ids_jump_);
      if (!legal || gap->first != next) {
        violation(fmt::format("at {} a {} gap over {}..{}", next, GapReasonName(gap->reason),
                              gap->first, gap->last));
      }
      next = gap->last + 1;
      continue;
    }
    const auto& delivery = std::get<broker::Delivery>(item);
    if (delivery.first_id() != next)
      violation(fmt::format("id {} follows {}", delivery.first_id(), next - 1));
    next = delivery.batch.next_id();
    if (std::string wrong = CheckBatch(info.number, delivery.batch); !wrong.empty()) {
      violation("there is what " + wrong);
      continue;
    }
    BatchIterator it(delivery.batch.bytes.Contiguous().view(), 0, 0);
    MessageView message;
    uint64_t tag = 0;
    it.Next(&message);
    std::from_chars(message.payload.data(), message.payload.data() + message.payload.size(), tag);
    if (!look->found.insert(tag).second) violation(fmt::format("batch {} is there twice", tag));
  }
}

void Ledger::CheckMissing(const ChannelInfo& info, Channel* channel, Look* look) {
  for (const uint64_t tag : channel->tags) {
    Batch& batch = batches_[tag];
    if (look->found.contains(tag) || batch.state == State::kRefused) continue;
    if (batch.state == State::kStored) {
      const bool trimmed = batch.last_id() < info.first_available;
      if (trimmed && batch.last_id() <= MayBeGone(*channel)) continue;
      const bool announced =
          std::any_of(look->corrupt.begin(), look->corrupt.end(), [&](const Gap& gap) {
            return gap.first <= batch.first_id && batch.last_id() <= gap.last;
          });
      if (announced) {
        announced_ += batch.sent.payloads.size();
      } else if (IsPromise(batch.at, look->ending)) {
        look->violations.push_back(fmt::format(
            "channel {} ({}): ids {}..{} were acknowledged and are missing; there are {} to {}",
            info.name, info.number, batch.first_id, batch.last_id(), info.first_available,
            info.next_id - 1));
      }
    }
    batch.state = State::kGone;
  }
}

void Ledger::CheckCursors(const ChannelInfo& info, Channel* channel, Look* look) {
  for (auto& [name, cursor] : channel->cursors) {
    const Result<SubscriptionInfo> found = look->broker.DescribeSubscription(info.name, name);
    const bool sure = PromisedUpTo(look->ending) == kAlways;
    if (!found.ok()) {
      if (sure) look->violations.push_back(found.status().ToString());
      cursor = Cursor();
      continue;
    }
    const MessageId lowest = look->ending == Ending::kClean ? cursor.position : cursor.lowest;
    // A seek to what has been truncated meanwhile goes to what is there.
    // An accepted loss may be of a seek backwards.
    const MessageId asked =
        look->ending == Ending::kLossAccepted ? channel->acks_asked[name] + 1 : 0;
    const MessageId highest = std::max({cursor.highest, info.first_available, asked});
    if (found->cursor > highest || found->cursor > info.next_id ||
        (sure && found->cursor < lowest)) {
      look->violations.push_back(fmt::format(
          "subscription {} of {} is at {}, to be expected were {}..{}, the channel goes to {}",
          name, info.name, found->cursor, lowest, highest, info.next_id));
    }
    cursor = {found->cursor, found->cursor, found->cursor};
  }
}

void Ledger::CheckProducers(const ChannelInfo& info, Channel* channel, Look* look) {
  const auto violation = [&](const std::string& what) {
    look->violations.push_back(fmt::format("channel {} ({}): {}", info.name, info.number, what));
  };
  const Result<std::vector<ProducerInfo>> listed = look->broker.ListProducers(info.name);
  if (!listed.ok()) return violation(listed.status().ToString());
  const uint64_t synced = PromisedUpTo(look->ending);
  for (auto& [name, producer] : channel->producers) {
    ProducerInfo found;
    for (const ProducerInfo& each : *listed) {
      if (each.name == name) found = each;
    }
    if (found.term < producer.term.Promised(synced) || found.term > producer.term_asked)
      violation(fmt::format("producer {} has term {}", name, found.term));
    // A batch and its result are there, or neither; but where a loss was accepted the result may be left.
    if (look->ending == Ending::kDamaged || look->ending == Ending::kLossAccepted) {
      for (auto each = producer.tags.begin(); each != producer.tags.end();) {
        const bool gone = batches_[each->second].state == State::kGone;
        each = gone && each->first <= found.last_sequence ? producer.tags.erase(each) : ++each;
      }
    }
    for (const auto& [sequence, tag] : producer.tags) {
      const Batch& batch = batches_[tag];
      const bool trimmed = batch.floor + 1 < info.first_available;  // or may be
      if (batch.state == State::kStored && sequence > found.last_sequence) {
        violation(fmt::format("{} {} is stored, the producer is at {}", name, sequence,
                              found.last_sequence));
      } else if (batch.state == State::kGone && !trimmed && sequence <= found.last_sequence) {
        violation(fmt::format("{} {} is not there, and the producer is at {}", name, sequence,
                              found.last_sequence));
      }
    }
    if (channel->exclusive_asked == 0) CheckDuplicates(info, name, producer, found, look);
    producer.term = Rising();
    producer.term.Rise(found.term, 1);
  }
}

// What is stored is not stored again, and nothing is put in out of order.
void Ledger::CheckDuplicates(const ChannelInfo& info, const std::string& name,
                             const Producer& producer, const ProducerInfo& found, Look* look) {
  const auto violation = [&](const std::string& what) {
    look->violations.push_back(
        fmt::format("channel {} ({}), producer {}: {}", info.name, info.number, name, what));
  };
  const auto append = [&](const Buffer& bytes, int64_t term, uint64_t sequence) {
    return look->broker.Append({info.name, bytes, info.number, name, term, sequence});
  };
  const uint64_t last = found.last_sequence;
  const uint64_t oldest = last > kProducerWindow ? last - kProducerWindow + 1 : 1;
  for (const uint64_t sequence : std::set<uint64_t>{oldest, (oldest + last) / 2, last}) {
    const auto tag = producer.tags.find(sequence);
    if (tag == producer.tags.end()) continue;
    const Batch& batch = batches_[tag->second];
    if (batch.state != State::kStored) continue;
    const Result<AppendResult> again = append(batch.sent.Encoded(), found.term, sequence);
    if (!again.ok() || again->first_id != batch.first_id) {
      violation(fmt::format(
          "{} has id {}, sent again: {}", sequence, batch.first_id,
          again.ok() ? fmt::format("id {}", again->first_id) : again.status().ToString()));
    }
    const Result<AppendResult> other = append(MakeBatch({"other"}), found.term, sequence);
    if (other.status().reason() != Reason::INVALID_ARGUMENT)
      violation(fmt::format("{} with other content: {}", sequence, other.status().ToString()));
  }
  const Result<AppendResult> jump = append(MakeBatch({"jump"}), found.term, last + 2);
  if (jump.status().reason() != Reason::OUT_OF_SEQUENCE)
    violation(fmt::format("{} after {}: {}", last + 2, last, jump.status().ToString()));
  if (found.term < 1) return;
  const Result<AppendResult> old = append(MakeBatch({"old"}), found.term - 1, last + 1);
  if (old.status().reason() != Reason::FENCED)
    violation(
        fmt::format("term {} after {}: {}", found.term - 1, found.term, old.status().ToString()));
}

void Ledger::CheckExclusive(const ChannelInfo& info, Channel* channel, Look* look) {
  const uint64_t synced = PromisedUpTo(look->ending);
  const int64_t term = channel->exclusive.Promised(synced);
  const bool wrong_term =
      info.exclusive_term < term || info.exclusive_term > channel->exclusive_asked;
  const bool wrong_holder = channel->holder_sure && IsPromise(channel->held_at, look->ending) &&
                            info.exclusive_holder != channel->holder;
  if (wrong_term || wrong_holder) {
    look->violations.push_back(
        fmt::format("channel {} ({}) is held by '{}' with term {}, granted were '{}' and {} to {}",
                    info.name, info.number, info.exclusive_holder, info.exclusive_term,
                    channel->holder, term, channel->exclusive_asked));
  }
  channel->holder = info.exclusive_holder;
  channel->holder_sure = true;
  channel->held_at = 1;
  channel->exclusive = Rising();
  channel->exclusive.Rise(info.exclusive_term, 1);
  if (info.exclusive_term < 2) return;
  broker::ProducerOpen open;
  open.channel = info.name;
  open.producer = "late";
  open.term = info.exclusive_term - 1;
  open.exclusive = true;
  const Status late = look->broker.OpenProducer(open).status();
  if (late.reason() != Reason::FENCED) {
    look->violations.push_back(fmt::format("channel {} ({}): term {} after {}: {}", info.name,
                                           info.number, open.term, info.exclusive_term,
                                           late.ToString()));
  }
}

// Ids go on, above all that were ever given out and answered, also where everything is gone.
void Ledger::CheckGoesOn(ChannelNumber number, Look* look) {
  Channel* const channel = &channels_.at(number);
  const Result<ChannelInfo> found = look->broker.DescribeChannel(plans_[channel->plan].name);
  if (!found.ok()) return look->violations.push_back(found.status().ToString());
  const ChannelInfo& info = *found;
  const auto violation = [&](const std::string& what) {
    look->violations.push_back(fmt::format("channel {} ({}): {}", info.name, info.number, what));
  };
  Batch& batch = batches_[++last_tag_];
  batch.sent = {last_tag_, info.number, {fmt::format("{} 0 after", last_tag_)}};
  batch.floor = channel->highest;
  channel->tags.push_back(last_tag_);
  const Result<AppendResult> appended =
      look->broker.Append({info.name, batch.sent.Encoded(), info.number});
  if (!appended.ok()) {
    if (appended.status().fate() == DataFate::kNotAppended) batch.state = State::kRefused;
    const bool fenced = appended.status().reason() == Reason::FENCED;
    if (info.exclusive_holder.empty() || !fenced)
      violation("does not take appends: " + appended.status().ToString());
    return;
  }
  if (!info.exclusive_holder.empty()) violation("is held, and takes appends of others");
  if (appended->first_id <= channel->highest)
    violation(fmt::format("id {} is reused", appended->first_id));
  if (appended->first_id != info.next_id)
    violation(fmt::format("id {} follows {}", appended->first_id, info.next_id - 1));
  NoteStored(&batch, appended->first_id);
}

void Ledger::CheckMultis(Look* look) {
  std::map<uint64_t, std::pair<int, int>> parts;  // there and not there
  for (const auto& [tag, batch] : batches_) {
    if (batch.sent.multi == 0) continue;
    const auto start = look->starts.find(batch.sent.channel);
    if (start == look->starts.end()) continue;  // nobody can tell
    if (batch.state == State::kStored) {
      ++parts[batch.sent.multi].first;
    } else if (batch.floor + 1 >= start->second) {  // cannot have been trimmed
      ++parts[batch.sent.multi].second;
    }
  }
  const bool may_be_halves =
      look->ending == Ending::kDamaged || look->ending == Ending::kLossAccepted;
  std::set<uint64_t> halves;  // of which the rest has been announced
  for (const auto& [multi, there] : parts) {
    if (there.first > 0 && there.second > 0) {
      if (may_be_halves) {
        halves.insert(multi);
        continue;
      }
      look->violations.push_back(fmt::format("of AppendMulti {} {} batches are there, {} are not",
                                             multi, there.first, there.second));
    }
  }
  for (auto& [tag, batch] : batches_) {
    if (halves.contains(batch.sent.multi)) batch.sent.multi = 0;
  }
}

}  // namespace strata::testing
