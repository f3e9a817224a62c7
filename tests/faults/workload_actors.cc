#include "tests/faults/workload_actors.h"

#include <fmt/format.h>

#include <algorithm>

#include "broker/producers.h"

namespace strata::testing {

void InFlight::Begin(int limit) {
  MutexLock lock(mu_);
  while (count_ >= limit) landed_.Wait(mu_);
  ++count_;
}

void InFlight::End() {
  MutexLock lock(mu_);
  --count_;
  landed_.NotifyAll();
}

void InFlight::WaitForAll() {
  MutexLock lock(mu_);
  while (count_ > 0) landed_.Wait(mu_);
}

void PlainAppender::Step() {
  const size_t plans[] = {kPlain, kPlain, kLimits, kPhoenix};
  const size_t plan = plans[random.Below(4)];
  const ChannelNumber number = work.ledger().Current(plan);
  if (number == 0) return;
  const SentBatch sent = work.ledger().Sending(number, work.RandomSizes(&random));
  broker::AppendRequest request{work.ledger().plans()[plan].name, sent.Encoded(), number};
  const auto answered = [this, sent](const Result<AppendResult>& result) {
    work.ledger().Answered(sent, result.status(), result.ok() ? result->first_id : 0);
    work.Note(result.status());
  };
  if (random.OneIn(3)) return answered(work.broker().Append(std::move(request)));
  in_flight_.Begin(8);
  work.broker().AppendAsync(std::move(request),
                            [this, answered](const Result<AppendResult>& result) {
                              answered(result);
                              in_flight_.End();
                            });
}

bool NamedAppender::Open() {
  const ChannelNumber number = work.ledger().Current(kNamed);
  if (number == 0) return false;
  broker::ProducerOpen open;
  open.channel = work.ledger().plans()[kNamed].name;
  open.channel_number = number;
  open.producer = name_;
  const Result<std::vector<ProducerInfo>> known = work.broker().ListProducers(open.channel);
  if (!work.Note(known.status()).ok()) return false;
  for (const ProducerInfo& each : *known) {
    if (each.name == name_) term_ = std::max(term_, each.term);
  }
  if (random.OneIn(2)) ++term_;
  open.term = term_;
  work.ledger().TermAsked(number, name_, term_, false);
  const Result<broker::OpenedProducer> opened = work.broker().OpenProducer(open);
  if (!work.Note(opened.status()).ok()) return false;
  work.ledger().TermGranted(number, name_, term_, false);
  last_ = opened->last_sequence;
  // Who has no session appends as whoever has the term.
  if (!work.Note(work.broker().CloseProducer(opened->session)).ok()) return false;
  open_ = true;
  return true;
}

void NamedAppender::Step() {
  if (!open_ && !Open()) return;
  const ChannelNumber number = work.ledger().Current(kNamed);
  if (number == 0) return;
  const bool again = last_ > 0 && random.OneIn(4);
  uint64_t sequence = last_ + 1;
  if (again) sequence = last_ - random.Below(std::min<uint64_t>(last_, kProducerWindow));
  std::optional<SentBatch> sent;
  // Of an earlier life, or one that got no answer.
  if (again || random.OneIn(2)) sent = work.ledger().SendingAgain(number, name_, sequence);
  if (!sent && again) return;
  if (!sent) sent = work.ledger().Sending(number, work.RandomSizes(&random), name_, sequence);
  broker::AppendRequest request{work.ledger().plans()[kNamed].name, sent->Encoded(), number};
  request.producer = name_;
  request.term = term_;
  request.sequence = sequence;
  const Result<AppendResult> result = work.broker().Append(std::move(request));
  work.ledger().Answered(*sent, result.status(), result.ok() ? result->first_id : 0);
  if (!work.Note(result.status()).ok()) {
    if (!work.over()) work.ledger().Violation(name_ + ": " + result.status().ToString());
    open_ = false;
    return;
  }
  last_ = std::max(last_, sequence);
  if (random.OneIn(20)) open_ = false;
}

bool SessionAppender::Open() {
  in_flight_.WaitForAll();
  const ChannelNumber number = work.ledger().Current(kNamed);
  if (number == 0) return false;
  broker::ProducerOpen open;
  open.channel = work.ledger().plans()[kNamed].name;
  open.producer = name_;
  open.term = term_;
  work.ledger().TermAsked(number, name_, term_, false);
  Result<broker::OpenedProducer> opened = work.broker().OpenProducer(open);
  if (opened.status().reason() == Reason::FENCED) ++term_;  // an earlier life had a higher one
  if (!work.Note(opened.status()).ok()) return false;
  work.ledger().TermGranted(number, name_, term_, false);
  session_ = std::move(opened->session);
  last_ = opened->last_sequence;
  refused_ = false;
  return true;
}

void SessionAppender::Step() {
  if ((session_ == nullptr || refused_) && !Open()) return;
  const ChannelNumber number = work.ledger().Current(kNamed);
  if (number == 0) return;
  const uint64_t sequence = last_ + 1;
  std::optional<SentBatch> sent;
  if (random.OneIn(2)) sent = work.ledger().SendingAgain(number, name_, sequence);
  if (!sent) sent = work.ledger().Sending(number, work.RandomSizes(&random), name_, sequence);
  broker::AppendRequest request;
  request.batch = sent->Encoded();
  request.channel_number = number;
  request.sequence = sequence;
  request.session = session_;
  if (random.OneIn(40)) request.expected_next_id = 1 + static_cast<MessageId>(random.Below(100));
  last_ = sequence;
  in_flight_.Begin(6);
  work.broker().AppendAsync(
      std::move(request), [this, sent = *sent](const Result<AppendResult>& result) {
        work.ledger().Answered(sent, result.status(), result.ok() ? result->first_id : 0);
        if (!work.Note(result.status()).ok()) refused_ = true;
        in_flight_.End();
      });
  if (random.OneIn(30)) {
    in_flight_.WaitForAll();
    if (random.OneIn(2)) work.Note(work.broker().CloseProducer(session_));
    if (random.OneIn(2)) ++term_;
    session_ = nullptr;
  }
}

std::optional<uint64_t> MultiAppender::NextSequence(size_t plan, ChannelNumber number) {
  const auto known = last_.find(number);
  if (known != last_.end()) return known->second + 1;
  const auto listed = work.broker().ListProducers(work.ledger().plans()[plan].name);
  if (!work.Note(listed.status()).ok()) return std::nullopt;
  uint64_t& last = last_[number];
  for (const ProducerInfo& each : *listed) {
    if (each.name == "multi") last = each.last_sequence;
  }
  return last + 1;
}

void MultiAppender::Step() {
  const std::string name = random.OneIn(2) ? "multi" : "";
  const uint64_t multi = work.ledger().NewMulti();
  std::vector<Part> parts;
  for (const size_t plan : {kPlain, kNamed, kPhoenix}) {
    if (random.OneIn(3)) continue;
    const ChannelNumber number = work.ledger().Current(plan);
    if (number == 0) continue;
    uint64_t sequence = 0;
    if (!name.empty()) {
      const std::optional<uint64_t> next = NextSequence(plan, number);
      if (!next) return;
      sequence = *next;
    }
    parts.push_back({plan, number, {}});
    parts.back().sent.sequence = sequence;
  }
  if (parts.empty()) return;
  for (Part& part : parts) {
    part.sent = work.ledger().Sending(part.number, work.RandomSizes(&random), name,
                                      part.sent.sequence, multi);
  }
  Send(std::move(parts), name);
}

void MultiAppender::Send(std::vector<Part> parts, const std::string& name) {
  std::vector<broker::AppendRequest> requests;
  for (const Part& part : parts) {
    broker::AppendRequest request{work.ledger().plans()[part.plan].name, part.sent.Encoded(),
                                  part.number};
    request.producer = name;
    request.sequence = part.sent.sequence;
    requests.push_back(std::move(request));
  }
  const Result<std::vector<AppendResult>> results = work.broker().AppendMulti(std::move(requests));
  work.Note(results.status());
  for (size_t i = 0; i < parts.size(); ++i) {
    work.ledger().Answered(parts[i].sent, results.status(),
                           results.ok() ? (*results)[i].first_id : 0);
    if (results.ok() && !name.empty()) last_[parts[i].number] = parts[i].sent.sequence;
  }
}

void ExclusiveAppender::Open() {
  number_ = work.ledger().Current(kHeld);
  const std::string& channel = work.ledger().plans()[kHeld].name;
  const Result<ChannelInfo> info = work.broker().DescribeChannel(channel);
  if (number_ == 0 || !info.ok()) return;
  term_ = info->exclusive_term + 1;
  broker::ProducerOpen open;
  open.channel = channel;
  open.producer = random.OneIn(2) ? "owner" : "heir";
  open.term = term_;
  open.exclusive = true;
  work.ledger().TermAsked(number_, open.producer, term_, true);
  Result<broker::OpenedProducer> opened = work.broker().OpenProducer(open);
  if (!work.Note(opened.status()).ok()) {
    if (!work.over()) work.ledger().Violation("held: " + opened.status().ToString());
    return;
  }
  work.ledger().TermGranted(number_, open.producer, term_, true);
  session_ = std::move(opened->session);
  last_ = opened->last_sequence;
}

void ExclusiveAppender::Append() {
  const uint64_t sequence = last_ + 1;
  const std::string& name = session_->producer();
  std::optional<SentBatch> sent = work.ledger().SendingAgain(number_, name, sequence);
  if (!sent) sent = work.ledger().Sending(number_, work.RandomSizes(&random), name, sequence);
  broker::AppendRequest request;
  request.batch = sent->Encoded();
  request.sequence = sequence;
  request.session = session_;
  const Result<AppendResult> result = work.broker().Append(std::move(request));
  work.ledger().Answered(*sent, result.status(), result.ok() ? result->first_id : 0);
  if (work.Note(result.status()).ok()) {
    ++last_;
    return;
  }
  session_ = nullptr;
  if (!work.over()) work.ledger().Violation("held: " + result.status().ToString());
}

void ExclusiveAppender::BeFenced() {
  broker::AppendRequest request{work.ledger().plans()[kHeld].name, {}, number_};
  const SentBatch sent = work.ledger().Sending(number_, {10});
  request.batch = sent.Encoded();
  const Result<AppendResult> result = work.broker().Append(std::move(request));
  work.ledger().Answered(sent, result.status(), result.ok() ? result->first_id : 0);
  if (work.Note(result.status()).reason() != Reason::FENCED && !work.over())
    work.ledger().Violation("a plain append beside the holder: " + result.status().ToString());
}

void ExclusiveAppender::Step() {
  if (session_ == nullptr) return Open();
  if (random.OneIn(15)) return BeFenced();
  if (random.OneIn(25)) {
    const bool release = random.OneIn(2);
    if (release) {
      work.ledger().ReleaseAsked(number_);
      if (work.Note(work.broker().CloseProducer(session_)).ok()) work.ledger().Released(number_);
    }
    session_ = nullptr;
    return;
  }
  Append();
}

void Administrator::Truncate(size_t plan) {
  const std::string& name = work.ledger().plans()[plan].name;
  const Result<ChannelInfo> before = work.broker().DescribeChannel(name);
  if (!before.ok() || before->next_id == before->first_available) return;
  // What a power cut has made of the ids: only up to the hole, or all of it.
  const auto there = static_cast<uint64_t>(before->next_id - before->first_available);
  const MessageId through = before->first_available +
                            static_cast<MessageId>(random.Below(std::min<uint64_t>(there, 200)));
  work.ledger().TruncationAsked(before->number, through);
  const Result<ChannelInfo> after = work.broker().TruncateChannel(name, through);
  if (after.ok() && after->number == before->number)
    work.ledger().Truncated(before->number, through);
  work.Note(after.status());
}

void Administrator::Recreate(size_t plan) {
  const ChannelNumber number = work.ledger().Current(plan);
  if (number != 0) {
    work.ledger().DeletionAsked(number);
    const Status deleted = work.broker().DeleteChannel(work.ledger().plans()[plan].name);
    if (!work.Note(deleted).ok()) return;
    work.ledger().Deleted(number);
  }
  work.Create(plan);
}

void Administrator::Step() {
  switch (random.Below(12)) {
    case 0:
    case 1:
      return Truncate(random.Below(kPhoenix));
    case 2:
      if (random.OneIn(3)) Recreate(kPhoenix);
      return;
    case 3:
      (void)work.broker().StartCompaction();  // seals, too
      return;
    case 4:
    case 5:
      (void)work.Note(work.broker().RewriteDue());
      return;
    case 6:
      (void)work.Note(work.broker().ListProducers("").status());
      return;
    default:
      (void)work.Note(work.broker().Sweep());
      return;
  }
}

void Consumer::Step() {
  const ChannelPlan& plan = work.ledger().plans()[kPlain];
  const ChannelNumber number = work.ledger().Current(kPlain);
  const std::string& name = plan.subscriptions[random.Below(plan.subscriptions.size())];
  const Result<SubscriptionInfo> info = work.broker().DescribeSubscription(plan.name, name);
  const Result<ChannelInfo> channel = work.broker().DescribeChannel(plan.name);
  if (number == 0 || !info.ok() || !channel.ok()) return;
  if (random.OneIn(16)) {
    const MessageId to = std::max(info->cursor / 2, channel->first_available);
    work.ledger().SeekAsked(number, name, to);
    const auto sought = work.broker().SeekSubscription(plan.name, name, StartPosition::At(to));
    if (work.Note(sought.status()).ok()) work.ledger().Sought(number, name, sought->cursor);
    return;
  }
  const auto behind = static_cast<uint64_t>(channel->next_id - info->cursor);
  if (info->cursor >= channel->next_id) return;
  const MessageId through = info->cursor + static_cast<MessageId>(random.Below(behind));
  work.ledger().AckAsked(number, name, through);
  if (work.Note(work.broker().Acknowledge(plan.name, name, through)).ok())
    work.ledger().Acked(number, name, through);
}

// Everything that a reader is shown is stored, in order, and a hole in it is retention's or a power cut's.
void Follower::Note(const broker::Reader::Item& item) {
  const std::string& name = work.ledger().plans()[plan_].name;
  if (const auto* gap = std::get_if<Gap>(&item)) {
    if (gap->reason == GapReason::kCorrupt) {
      work.ledger().Violation(fmt::format("{}: a reader met a {} gap over {}..{}", name,
                                          GapReasonName(gap->reason), gap->first, gap->last));
    }
    next_ = gap->last + 1;
  } else if (const auto* delivery = std::get_if<broker::Delivery>(&item)) {
    if (next_ != 0 && delivery->first_id() != next_)
      work.ledger().Violation(fmt::format("{}: a reader jumped to {}", name, delivery->first_id()));
    work.ledger().Shown(reader_->channel().number, delivery->batch);
    next_ = delivery->batch.next_id();
  }
}

void Follower::Step() {
  if (reader_ == nullptr) {
    plan_ = random.Below(kPlans);
    const MessageId from = static_cast<MessageId>(random.Below(50));
    auto opened =
        work.broker().OpenReader(work.ledger().plans()[plan_].name, StartPosition::At(from));
    if (!opened.ok()) return;
    reader_ = std::move(*opened);
    next_ = 0;
  }
  for (int i = 0; i < 8; ++i) {
    const broker::Reader::Item item = reader_->Next();
    if (const auto* status = std::get_if<Status>(&item)) {
      const bool fine = status->reason() == Reason::SHUTTING_DOWN ||
                        status->reason() == Reason::CHANNEL_DELETED ||
                        work.shape().reads_may_fail ||
                        status->message().find("power is off") != std::string::npos;
      if (!fine) work.ledger().Violation("a reader met " + status->ToString());
      reader_ = nullptr;
      return;
    }
    if (std::holds_alternative<broker::Reader::AtEnd>(item)) break;
    Note(item);
  }
  if (random.OneIn(10)) reader_ = nullptr;
}

}  // namespace strata::testing
