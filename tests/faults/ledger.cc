// Keeping the books; ledger_check.cc compares them with a broker.
#include "tests/faults/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/batch.h"
#include "tests/faults/scene.h"

namespace strata::testing {

namespace {

// "<tag> <index> " and bytes that no other message has at this place.
std::string PayloadOf(uint64_t tag, size_t index, size_t size) {
  std::string payload = fmt::format("{} {} ", tag, index);
  uint64_t mixed = tag * 0x9e3779b97f4a7c15 + index;
  payload.reserve(payload.size() + size);
  for (size_t i = 0; i < size; ++i) {
    if (i % 8 == 0) mixed = mixed * 6364136223846793005 + 1442695040888963407;
    payload.push_back(static_cast<char>(mixed >> (8 * (i % 8))));
  }
  return payload;
}

}  // namespace

Buffer SentBatch::Encoded() const { return MakeBatch(payloads); }

Ledger::Ledger(std::vector<ChannelPlan> plans, SyncPolicy sync)
    : plans_(std::move(plans)),
      creation_asked_(plans_.size()),
      ids_jump_(sync != SyncPolicy::kAlways),
      synced_(sync == SyncPolicy::kAlways ? kAlways : 0) {}

void Ledger::CreationAsked(size_t plan) {
  MutexLock lock(mu_);
  creation_asked_[plan] = true;
}

void Ledger::Created(size_t plan, ChannelNumber number) {
  MutexLock lock(mu_);
  const auto known = channels_.find(number);
  if (known != channels_.end() && known->second.deleted_at == 0) {
    known->second.deletion_asked = false;  // a deletion that failed
    return;
  }
  if (!channels_.empty() && number <= channels_.rbegin()->first)
    violations_.push_back(fmt::format("channel number {} comes again", number));
  Channel& channel = channels_[number];
  channel.plan = plan;
  channel.created_at = Now();
  creation_asked_[plan] = false;
}

ChannelNumber Ledger::Current(size_t plan) const {
  MutexLock lock(mu_);
  for (auto at = channels_.rbegin(); at != channels_.rend(); ++at) {
    if (at->second.plan == plan) return at->second.deletion_asked ? 0 : at->first;
  }
  return 0;
}

void Ledger::DeletionAsked(ChannelNumber number) {
  MutexLock lock(mu_);
  channels_[number].deletion_asked = true;
}

bool Ledger::IsDeletionOpen(ChannelNumber number) const {
  MutexLock lock(mu_);
  const auto at = channels_.find(number);
  return at != channels_.end() && at->second.deletion_asked;
}

void Ledger::Deleted(ChannelNumber number) {
  MutexLock lock(mu_);
  channels_[number].deleted_at = Now();
}

void Ledger::TruncationAsked(ChannelNumber number, MessageId through) {
  MutexLock lock(mu_);
  MessageId& asked = channels_[number].truncation_asked;
  asked = std::max(asked, through);
}

void Ledger::Truncated(ChannelNumber number, MessageId through) {
  MutexLock lock(mu_);
  channels_[number].truncated.Rise(through, Now());
}

void Ledger::AckAsked(ChannelNumber number, const std::string& subscription, MessageId through) {
  MutexLock lock(mu_);
  MessageId& asked = channels_[number].acks_asked[subscription];
  asked = std::max(asked, through);
  Cursor& cursor = channels_[number].cursors[subscription];
  cursor.highest = std::max(cursor.highest, through + 1);
}

void Ledger::Acked(ChannelNumber number, const std::string& subscription, MessageId through) {
  MutexLock lock(mu_);
  Cursor& cursor = channels_[number].cursors[subscription];
  cursor.position = std::max(cursor.position, through + 1);
}

void Ledger::SeekAsked(ChannelNumber number, const std::string& subscription, MessageId to) {
  MutexLock lock(mu_);
  Cursor& cursor = channels_[number].cursors[subscription];
  cursor.lowest = std::min(cursor.lowest, to);
  cursor.highest = std::max(cursor.highest, to);
  MessageId& asked = channels_[number].acks_asked[subscription];
  asked = std::max(asked, to - 1);
}

void Ledger::Sought(ChannelNumber number, const std::string& subscription, MessageId to) {
  MutexLock lock(mu_);
  Cursor& cursor = channels_[number].cursors[subscription];
  cursor.position = to;
  if (synced_ == kAlways) cursor.lowest = cursor.highest = to;
}

uint64_t Ledger::NewMulti() {
  MutexLock lock(mu_);
  return ++last_multi_;
}

SentBatch Ledger::Sending(ChannelNumber number, const std::vector<size_t>& sizes,
                          const std::string& producer, uint64_t sequence, uint64_t multi) {
  MutexLock lock(mu_);
  Batch batch;
  batch.sent = {++last_tag_, number, {}, producer, sequence, multi};
  for (size_t i = 0; i < sizes.size(); ++i)
    batch.sent.payloads.push_back(PayloadOf(last_tag_, i, sizes[i]));
  Channel& channel = channels_[number];
  batch.floor = channel.highest;
  channel.tags.push_back(last_tag_);
  if (!producer.empty()) channel.producers[producer].tags[sequence] = last_tag_;
  return batches_.emplace(last_tag_, std::move(batch)).first->second.sent;
}

std::optional<SentBatch> Ledger::SendingAgain(ChannelNumber number, const std::string& producer,
                                              uint64_t sequence) {
  MutexLock lock(mu_);
  const auto& tags = channels_[number].producers[producer].tags;
  const auto tag = tags.find(sequence);
  if (tag == tags.end()) return std::nullopt;
  Batch& batch = batches_[tag->second];
  batch.again = true;
  if (batch.state != State::kStored) batch.state = State::kOpen;
  return batch.sent;
}

void Ledger::NoteStored(Batch* batch, MessageId first_id) {
  if (batch->state == State::kStored) {
    if (batch->first_id != first_id) {
      violations_.push_back(fmt::format("batch {} of channel {} has id {} and id {}",
                                        batch->sent.tag, batch->sent.channel, batch->first_id,
                                        first_id));
    }
    return;
  }
  if (batch->state != State::kOpen)
    violations_.push_back(fmt::format("batch {} was not appended, and is", batch->sent.tag));
  batch->state = State::kStored;
  batch->first_id = first_id;
  batch->at = Now();
  Channel& channel = channels_[batch->sent.channel];
  channel.highest = std::max(channel.highest, batch->last_id());
}

void Ledger::Answered(const SentBatch& sent, const Status& status, MessageId first_id) {
  MutexLock lock(mu_);
  Batch& batch = batches_[sent.tag];
  if (!status.ok()) {
    if (status.fate() != DataFate::kNotAppended || batch.again) return;
    if (batch.state == State::kStored)
      violations_.push_back(
          fmt::format("batch {} was shown, and: {}", sent.tag, status.ToString()));
    batch.state = State::kRefused;
    return;
  }
  // Whoever was answered before this one was sent has a smaller id.
  if (!batch.again && first_id <= batch.floor) {
    violations_.push_back(
        fmt::format("batch {} got id {}, {} was known before", sent.tag, first_id, batch.floor));
  }
  if (batch.state != State::kStored) acknowledged_ += sent.payloads.size();
  NoteStored(&batch, first_id);
}

void Ledger::Shown(ChannelNumber number, const storage::StoredBatch& batch) {
  MutexLock lock(mu_);
  if (std::string wrong = CheckBatch(number, batch); !wrong.empty())
    violations_.push_back("a reader was shown what " + wrong);
}

void Ledger::TermAsked(ChannelNumber number, const std::string& producer, int64_t term,
                       bool exclusive) {
  MutexLock lock(mu_);
  Channel& channel = channels_[number];
  int64_t& asked = channel.producers[producer].term_asked;
  asked = std::max(asked, term);
  if (!exclusive) return;
  channel.exclusive_asked = std::max(channel.exclusive_asked, term);
  channel.holder_sure = false;
}

void Ledger::TermGranted(ChannelNumber number, const std::string& producer, int64_t term,
                         bool exclusive) {
  MutexLock lock(mu_);
  Channel& channel = channels_[number];
  channel.producers[producer].term.Rise(term, Now());
  if (!exclusive) return;
  channel.exclusive.Rise(term, Now());
  channel.holder = producer;
  channel.held_at = Now();
  channel.holder_sure = true;
}

void Ledger::ReleaseAsked(ChannelNumber number) {
  MutexLock lock(mu_);
  channels_[number].holder_sure = false;
}

void Ledger::Released(ChannelNumber number) {
  MutexLock lock(mu_);
  Channel& channel = channels_[number];
  channel.holder.clear();
  channel.held_at = Now();
  channel.holder_sure = true;
}

void Ledger::SyncEnded(uint64_t began) {
  uint64_t synced = synced_;
  while (synced < began && !synced_.compare_exchange_weak(synced, began)) {
  }
}

void Ledger::Violation(std::string what) {
  MutexLock lock(mu_);
  violations_.push_back(std::move(what));
}

std::vector<std::pair<ChannelNumber, MessageId>> Ledger::NextIds() const {
  MutexLock lock(mu_);
  std::vector<std::pair<ChannelNumber, MessageId>> ids;
  for (const auto& [number, channel] : channels_) {
    if (!channel.deletion_asked) ids.emplace_back(number, channel.highest + 1);
  }
  return ids;
}

size_t Ledger::announced() const {
  MutexLock lock(mu_);
  return announced_;
}

size_t Ledger::acknowledged() const {
  MutexLock lock(mu_);
  return acknowledged_;
}

}  // namespace strata::testing
