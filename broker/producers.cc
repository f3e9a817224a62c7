#include "broker/producers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace strata::broker {

using storage::CatalogChange;
using storage::ChannelRecord;
using storage::ProducerResult;

namespace {

// Programs whose attempts are remembered for one name. More than one at a time is an accident, and
// who is pushed out of the list is merely not protected from its own late requests.
constexpr size_t kMaxInstances = 8;

std::string NameOf(const ChannelRecord& channel, std::string_view producer) {
  if (producer.empty())
    return fmt::format("an append without a producer to channel '{}'", channel.name);
  return fmt::format("producer '{}' of channel '{}'", producer, channel.name);
}

// A name that was made up for duplicate detection alone stands for nobody: exclusive producers fence
// it as they fence a plain append, while they hold the channel.
bool IsFleeting(bool forget_when_closed, int64_t term) { return forget_when_closed && term == 0; }

// Whether a writer of this name and term gets past the channel's exclusive producer, the present one
// and those that were.
Status CheckExclusive(const ChannelRecord& channel, std::string_view producer, int64_t term) {
  if (!channel.exclusive_holder.empty()) {
    if (producer == channel.exclusive_holder && term == channel.exclusive_term) return Status::Ok();
    return Status(
        Reason::FENCED,
        fmt::format("{}: producer '{}' holds the channel with term {} until it is closed; "
                    "nobody else may append",
                    NameOf(channel, producer), channel.exclusive_holder, channel.exclusive_term));
  }
  if (!producer.empty() && term < channel.exclusive_term) {
    return Status(
        Reason::FENCED,
        fmt::format("{} has term {}: an exclusive producer had term {}, which fences every "
                    "lower one for good",
                    NameOf(channel, producer), term, channel.exclusive_term));
  }
  return Status::Ok();
}

Status CheckExclusiveOpening(const ChannelRecord& channel, const ProducerOpen& open) {
  if (open.term > channel.exclusive_term) return Status::Ok();
  if (open.term == channel.exclusive_term &&
      (channel.exclusive_holder.empty() || channel.exclusive_holder == open.producer)) {
    return Status::Ok();
  }
  if (channel.exclusive_holder.empty()) {
    return Status(
        Reason::FENCED,
        fmt::format("{} has term {}: an exclusive producer had term {}; take a higher one",
                    NameOf(channel, open.producer), open.term, channel.exclusive_term));
  }
  return Status(Reason::FENCED,
                fmt::format("{} has term {}: producer '{}' holds the channel with term {} until it "
                            "is closed; only a higher term takes it over",
                            NameOf(channel, open.producer), open.term, channel.exclusive_holder,
                            channel.exclusive_term));
}

// An attempt that a newer one of the same program has overtaken on the way must not take over from
// it.
Status CheckAttempt(const ChannelRecord& channel, const ProducerState& state,
                    const ProducerOpen& open) {
  for (const auto& [instance, attempt] : state.attempts) {
    if (open.instance == 0 || instance != open.instance || open.attempt >= attempt) continue;
    return Status(
        Reason::FENCED,
        fmt::format("attempt {} to open {} came late: the same program has opened it with "
                    "attempt {}",
                    open.attempt, NameOf(channel, open.producer), attempt));
  }
  return Status::Ok();
}

void NoteAttempt(ProducerState* state, const ProducerOpen& open) {
  if (open.instance == 0) return;
  auto& attempts = state->attempts;
  std::erase_if(attempts, [&](const auto& each) { return each.first == open.instance; });
  if (attempts.size() == kMaxInstances) attempts.erase(attempts.begin());
  attempts.emplace_back(open.instance, open.attempt);
}

}  // namespace

// --- ResultWindow ---

const ProducerResult* ResultWindow::Find(uint64_t sequence) const {
  if (sequence > last_ || last_ - sequence >= ring_.size()) return nullptr;
  return &ring_[(sequence - base_) % kProducerWindow];
}

void ResultWindow::Add(const ProducerResult& result) {
  assert(ring_.empty() || result.sequence == last_ + 1);
  if (ring_.empty()) base_ = result.sequence;
  last_ = result.sequence;
  if (ring_.size() < kProducerWindow) {
    ring_.push_back(result);
  } else {
    ring_[(result.sequence - base_) % kProducerWindow] = result;
  }
}

// --- ProducerSession ---

ProducerSession::ProducerSession(std::shared_ptr<Channel> channel, const ProducerOpen& open)
    : channel_(std::move(channel)),
      producer_(open.producer),
      term_(open.term),
      forget_when_closed_(open.forget_when_closed) {}

Status ProducerSession::admission() const {
  if (!admits_none_.load(std::memory_order_acquire)) return Status::Ok();
  MutexLock lock(mu_);
  return first_refusal_;
}

void ProducerSession::RefuseFromHere(const Status& status) {
  MutexLock lock(mu_);
  if (!first_refusal_.ok()) return;
  first_refusal_ = status.WithFate(DataFate::kNotAppended);
  admits_none_.store(true, std::memory_order_release);
}

void ProducerSession::Refuse(const Status& status) {
  if (refused_.ok()) refused_ = status.WithFate(DataFate::kNotAppended);
}

// --- Requests ---

Status CheckProducerName(std::string_view name) {
  if (IsValidName(name)) return Status::Ok();
  return Status(Reason::INVALID_ARGUMENT,
                fmt::format("'{}' is not a producer name: 1 to 249 of A-Z a-z 0-9 . _ -",
                            name.substr(0, 300)));
}

Status CheckSender(const Sender& sender) {
  if (sender.session != nullptr && (!sender.producer.empty() || sender.term != 0)) {
    return Status(Reason::INVALID_ARGUMENT,
                  "an append with a session has its producer and term from there, not its own");
  }
  if (!sender.named()) {
    if (sender.term == 0 && sender.sequence == 0) return Status::Ok();
    return Status(Reason::INVALID_ARGUMENT,
                  fmt::format("sequence {} and term {} without a producer; give its name, or 0 for "
                              "both",
                              sender.sequence, sender.term));
  }
  if (sender.session == nullptr) STRATA_RETURN_IF_ERROR(CheckProducerName(sender.producer));
  if (sender.term < 0) {
    return Status(Reason::INVALID_ARGUMENT,
                  fmt::format("term {} of producer '{}' is below 0", sender.term, sender.name()));
  }
  if (sender.sequence > 0) return Status::Ok();
  return Status(
      Reason::INVALID_ARGUMENT,
      fmt::format("a batch of producer '{}' has sequence 0; they count from 1", sender.name()));
}

Status CheckOpen(const ProducerOpen& open) {
  if (open.term < 0) {
    return Status(Reason::INVALID_ARGUMENT, fmt::format("term {} is below 0", open.term));
  }
  if (!open.producer.empty()) {
    STRATA_RETURN_IF_ERROR(CheckProducerName(open.producer));
  } else if (open.term > 0) {
    return Status(Reason::INVALID_ARGUMENT,
                  fmt::format("term {} without a producer: a term needs a name", open.term));
  }
  if (open.exclusive && (open.producer.empty() || open.term == 0)) {
    return Status(Reason::INVALID_ARGUMENT,
                  "an exclusive producer needs a name and a term above 0");
  }
  return Status::Ok();
}

// --- Producers ---

void Producers::Recover(const storage::RecoveredProducer& recovered) {
  auto state = std::make_shared<ProducerState>();
  state->record = recovered.record;
  state->active_at = recovered.record.opened_at;
  for (const ProducerResult& result : recovered.results) {
    state->results.Add(result);
    state->active_at = std::max(state->active_at, result.append_time);
  }
  by_name_[recovered.record.name] = std::move(state);
}

ProducerState* Producers::Find(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second.get();
}

Status Producers::CheckTerm(const ChannelRecord& channel, const ProducerState& state,
                            int64_t term) {
  if (term >= state.record.term) return Status::Ok();
  return Status(Reason::FENCED,
                fmt::format("{} has term {}: a newer instance has term {}",
                            NameOf(channel, state.record.name), term, state.record.term));
}

Status Producers::CheckSession(const ChannelRecord& channel, const ProducerSession& session) {
  const ProducerState& state = *session.state_;
  STRATA_RETURN_IF_ERROR(CheckTerm(channel, state, session.term_));
  if (!state.forgotten && state.session_number == session.number_) return Status::Ok();
  return Status(Reason::FENCED, fmt::format("{} was opened again with the same term, {}: the newer "
                                            "one has taken over",
                                            NameOf(channel, session.producer_), session.term_));
}

Status Producers::CheckSequence(const ChannelRecord& channel, const Sender& sender,
                                const ProducerState* state, Verdict* verdict) {
  const uint64_t last = state == nullptr ? 0 : state->results.last_sequence();
  if (sender.sequence == last + 1) return Status::Ok();
  if (sender.sequence > last) {
    return Status(Reason::OUT_OF_SEQUENCE,
                  fmt::format("{} sent sequence {}; the next one is {}",
                              NameOf(channel, sender.name()), sender.sequence, last + 1));
  }
  verdict->duplicate_of = state->results.Find(sender.sequence);
  if (verdict->duplicate_of == nullptr) {
    return Status(
        Reason::DUPLICATE_UNKNOWN_ID,
        fmt::format("{} sent sequence {}, which was stored before; its ids are known only "
                    "for the last {} up to {}",
                    NameOf(channel, sender.name()), sender.sequence, kProducerWindow, last));
  }
  if (verdict->duplicate_of->content == sender.content) return Status::Ok();
  return Status(Reason::INVALID_ARGUMENT,
                fmt::format("{} sent sequence {} before, with different content, and that was "
                            "stored; one number is for one batch",
                            NameOf(channel, sender.name()), sender.sequence));
}

Status Producers::Judge(const ChannelRecord& channel, const Sender& sender, MessageId next_id,
                        Verdict* verdict) const {
  *verdict = {};
  const ProducerSession* session = sender.session.get();
  if (session != nullptr && !session->refused_.ok()) return session->refused_;
  const std::string& name = sender.name();
  const int64_t term = session != nullptr ? session->term_ : sender.term;
  const bool fleeting = session != nullptr && IsFleeting(session->forget_when_closed_, term);
  STRATA_RETURN_IF_ERROR(
      CheckExclusive(channel, fleeting ? std::string_view() : std::string_view(name), term));
  if (!name.empty()) {
    if (session != nullptr) {
      STRATA_RETURN_IF_ERROR(CheckSession(channel, *session));
      verdict->state = session->state_.get();
    } else if (verdict->state = Find(name); verdict->state != nullptr) {
      STRATA_RETURN_IF_ERROR(CheckTerm(channel, *verdict->state, sender.term));
    }
    STRATA_RETURN_IF_ERROR(CheckSequence(channel, sender, verdict->state, verdict));
    if (verdict->duplicate_of != nullptr) return Status::Ok();
  }
  if (sender.expected_next_id == 0 || sender.expected_next_id == next_id) return Status::Ok();
  return Status(Reason::ID_MISMATCH,
                fmt::format("the next message of channel '{}' gets id {}, not {} as expected",
                            channel.name, next_id, sender.expected_next_id))
      .WithActualNextId(next_id);
}

const std::shared_ptr<ProducerState>& Producers::FindOrAdd(const ChannelRecord& channel,
                                                           const std::string& name,
                                                           TimeMicros now) {
  std::shared_ptr<ProducerState>& state = by_name_[name];
  if (state == nullptr) {
    state = std::make_shared<ProducerState>();
    state->record.channel = channel.number;
    state->record.name = name;
    state->record.created_at = now;
    state->record.opened_at = now;
  }
  return state;
}

void Producers::PutRow(ChannelRecord* channel, ProducerState* state, int64_t term, TimeMicros now,
                       std::vector<CatalogChange>* changes) {
  const bool fresh = state->record.number == 0;
  if (!fresh && term <= state->record.term) return;
  if (fresh) {
    state->record.number = channel->next_producer++;
    changes->emplace_back(storage::PutChannel{*channel});
  }
  if (term > state->record.term) {
    state->record.term = term;
    state->record.opened_at = now;
  }
  changes->emplace_back(storage::PutProducer{state->record});
}

ProducerState* Producers::Accept(ChannelRecord* channel, const Sender& sender,
                                 const Verdict& verdict, TimeMicros now,
                                 std::vector<CatalogChange>* changes) {
  if (!sender.named()) return nullptr;
  ProducerState* state = verdict.state;
  if (state == nullptr) state = FindOrAdd(*channel, sender.name(), now).get();
  state->active_at = now;
  if (sender.session != nullptr) {
    PutRow(channel, state, state->record.term, now, changes);
    return state;
  }
  // As an open would: what is open with a lower term is fenced, whether this batch is stored now or
  // was before.
  if (sender.term > state->record.term) {
    state->session_number = 0;
    state->session.reset();
  }
  PutRow(channel, state, sender.term, now, changes);
  return state;
}

Status Producers::CheckOpening(const ChannelRecord& channel, const ProducerOpen& open) const {
  if (open.exclusive) {
    STRATA_RETURN_IF_ERROR(CheckExclusiveOpening(channel, open));
  } else {
    const bool fleeting = IsFleeting(open.forget_when_closed, open.term);
    STRATA_RETURN_IF_ERROR(CheckExclusive(
        channel, fleeting ? std::string_view() : std::string_view(open.producer), open.term));
  }
  if (open.producer.empty()) return Status::Ok();
  const ProducerState* state = Find(open.producer);
  if (state == nullptr) return Status::Ok();
  STRATA_RETURN_IF_ERROR(CheckTerm(channel, *state, open.term));
  return CheckAttempt(channel, *state, open);
}

Status Producers::Open(ChannelRecord* channel, const ProducerOpen& open,
                       const std::shared_ptr<ProducerSession>& session, TimeMicros now,
                       std::vector<CatalogChange>* changes) {
  STRATA_RETURN_IF_ERROR(CheckOpening(*channel, open));
  session->number_ = ++last_session_;
  if (open.producer.empty()) return Status::Ok();
  const std::shared_ptr<ProducerState>& state = FindOrAdd(*channel, open.producer, now);
  if (open.term > 0) PutRow(channel, state.get(), open.term, now, changes);
  if (open.exclusive &&
      (channel->exclusive_term != open.term || channel->exclusive_holder != open.producer)) {
    channel->exclusive_term = open.term;
    channel->exclusive_holder = open.producer;
    changes->emplace_back(storage::PutChannel{*channel});
  }
  NoteAttempt(state.get(), open);
  state->active_at = now;
  state->session_number = session->number_;
  state->session = session;
  session->state_ = state;
  return Status::Ok();
}

void Producers::Close(ChannelRecord* channel, ProducerSession* session,
                      std::vector<CatalogChange>* changes) {
  if (std::exchange(session->closed_, true)) return;
  session->Refuse(Status(Reason::CLIENT_CLOSED,
                         fmt::format("{} was closed", NameOf(*channel, session->producer_))));
  ProducerState* state = session->state_.get();
  if (state == nullptr || state->forgotten || state->session_number != session->number_) return;
  state->session_number = 0;
  state->session.reset();
  if (channel->exclusive_holder == session->producer_ &&
      channel->exclusive_term == session->term_) {
    channel->exclusive_holder.clear();
    changes->emplace_back(storage::PutChannel{*channel});
  }
  if (!session->forget_when_closed_ && state->record.number != 0) return;
  Forget(state, changes);
  by_name_.erase(session->producer_);
}

void Producers::Forget(ProducerState* state, std::vector<CatalogChange>* changes) {
  state->forgotten = true;
  if (state->record.number == 0) return;
  changes->emplace_back(storage::DropProducer{state->record.channel, state->record.number});
}

void Producers::ForgetIdle(const ChannelRecord& channel, TimeMicros before, TimeMicros now,
                           std::vector<CatalogChange>* changes) {
  std::erase_if(by_name_, [&](const States::value_type& entry) {
    ProducerState* state = entry.second.get();
    if (!state->session.expired()) {
      // Its time begins when it is no longer open.
      state->active_at = now;
      return false;
    }
    if (entry.first == channel.exclusive_holder) return false;
    if (state->record.number != 0 && state->active_at >= before) return false;
    Forget(state, changes);
    return true;
  });
}

uint64_t Producers::LastSequence(const ProducerSession& session) {
  return session.state_ == nullptr ? 0 : session.state_->results.last_sequence();
}

void Producers::Describe(const std::string& channel, std::vector<ProducerInfo>* infos) const {
  const size_t first = infos->size();
  for (const auto& [name, state] : by_name_) {
    ProducerInfo& info = infos->emplace_back();
    info.channel = channel;
    info.name = name;
    info.term = state->record.term;
    info.last_sequence = state->results.last_sequence();
    info.created_at = state->record.created_at;
    info.active_at = state->active_at;
    info.open = !state->session.expired();
    // A name that was opened and dropped before its first batch has left nothing.
    if (state->record.number == 0 && !info.open) infos->pop_back();
  }
  std::sort(infos->begin() + static_cast<std::ptrdiff_t>(first), infos->end(),
            [](const ProducerInfo& a, const ProducerInfo& b) { return a.name < b.name; });
}

}  // namespace strata::broker
