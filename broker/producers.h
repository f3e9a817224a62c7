// Producers: who may write to a channel, and which batches were stored before.
//
// The rules alone: no locks, no store, no committer. One object belongs to each channel's write
// face (channel.h), so every decision is made by the holder of the write role, in the order in which
// groups are written. A decision may therefore rest on a batch or a term that is written and not yet
// synced; the committer answers in commit order, after the sync that covers what the answer rests on.
//
//     name  ->  row (ProducerRecord)     its number and its term, durable
//               the last 64 results      durable, each in the group of its batch
//               the session in force     memory only, as are instances: after a restart terms decide
//
// A channel may have one exclusive producer. Its term and its name are in the channel's own row,
// because the term outlives the producer: lower ones stay fenced when the name is long forgotten.
//
// A producer that is opened with term 0 gets its row with its first batch, in the same group, so
// that opening costs no write. A term above 0 is written when it is first seen.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "broker/types.h"
#include "storage/records.h"

namespace strata::broker {

class Channel;

// The newest results of one producer: at most kProducerWindow, of sequences without holes. 40 bytes
// each, 2.5 KiB for a producer that has filled it.
class ResultWindow {
 public:
  // Of the newest result; 0: there is none.
  uint64_t last_sequence() const { return last_; }
  // Null: never stored, or too long ago.
  const storage::ProducerResult* Find(uint64_t sequence) const;
  // REQUIRES: it follows the last one, or is the first.
  void Add(const storage::ProducerResult& result);

 private:
  std::vector<storage::ProducerResult> ring_;
  uint64_t base_ = 0;  // the sequence that went to ring_[0] first
  uint64_t last_ = 0;
};

// One named producer. The write role's.
struct ProducerState {
  storage::ProducerRecord record;  // number 0: it has no row yet
  ResultWindow results;
  TimeMicros active_at = 0;  // last opened or appended
  // The session in force; 0: none, then whoever has the term may append.
  uint64_t session_number = 0;
  std::weak_ptr<ProducerSession> session;  // expired: nobody has it open
  // The newest attempt of each program that opened it lately.
  std::vector<std::pair<uint64_t, uint64_t>> attempts;
  bool forgotten = false;
};

// A producer that somebody has open, from Broker::OpenProducer. Its user appends in one order: from
// one thread at a time.
class ProducerSession {
 public:
  ProducerSession(std::shared_ptr<Channel> channel, const ProducerOpen& open);
  ProducerSession(const ProducerSession&) = delete;
  ProducerSession& operator=(const ProducerSession&) = delete;

  const std::shared_ptr<Channel>& channel() const { return channel_; }
  const std::string& producer() const { return producer_; }  // empty: a plain one

  // --- Before an append is queued: any thread ---
  // Not OK once one was refused: then so are all later ones, while those that are queued already
  // go on.
  Status admission() const;
  void RefuseFromHere(const Status& status);

  // --- In the order of commits: the write role ---
  // The first refusal stays.
  void Refuse(const Status& status);

 private:
  friend class Producers;

  const std::shared_ptr<Channel> channel_;
  const std::string producer_;
  const int64_t term_;
  const bool forget_when_closed_;

  // The write role's.
  std::shared_ptr<ProducerState> state_;  // null: a plain one
  uint64_t number_ = 0;                   // in its channel
  Status refused_;
  bool closed_ = false;

  std::atomic<bool> admits_none_{false};
  mutable Mutex mu_;  // leaf
  Status first_refusal_ STRATA_GUARDED_BY(mu_);
};

// Who appends a batch, and what it demands.
struct Sender {
  std::shared_ptr<ProducerSession> session;
  std::string producer;  // of an append without a session; empty: a plain one
  int64_t term = 0;
  uint64_t sequence = 0;
  MessageId expected_next_id = 0;
  uint64_t content = 0;  // ContentHash of the batch

  const std::string& name() const { return session ? session->producer() : producer; }
  bool named() const { return !name().empty(); }
};

// What is wrong with a request, whatever the channel's state.
Status CheckProducerName(std::string_view name);
Status CheckSender(const Sender& sender);
Status CheckOpen(const ProducerOpen& open);

class Producers {
 public:
  // What Judge() found. Valid until anything changes.
  struct Verdict {
    ProducerState* state = nullptr;                         // null: plain, or new to the channel
    const storage::ProducerResult* duplicate_of = nullptr;  // null: to be stored
  };

  // From what the store recovered.
  void Recover(const storage::RecoveredProducer& recovered);

  // Whether `sender` may append a batch, which would get the id `next_id`. Changes nothing.
  // FENCED, OUT_OF_SEQUENCE, DUPLICATE_UNKNOWN_ID, ID_MISMATCH, INVALID_ARGUMENT; or what its
  // session was refused with before.
  Status Judge(const storage::ChannelRecord& channel, const Sender& sender, MessageId next_id,
               Verdict* verdict) const;
  // Takes what Judge() let pass: gives the producer its row and its term, if it lacks them, by rows
  // in `changes`. A batch that is to be stored is added to the returned state's results; null for a
  // plain sender.
  ProducerState* Accept(storage::ChannelRecord* channel, const Sender& sender,
                        const Verdict& verdict, TimeMicros now,
                        std::vector<storage::CatalogChange>* changes);

  // Opens: `session` is in force from here on. FENCED with nothing changed.
  Status Open(storage::ChannelRecord* channel, const ProducerOpen& open,
              const std::shared_ptr<ProducerSession>& session, TimeMicros now,
              std::vector<storage::CatalogChange>* changes);
  // What `session` holds is released, and forgotten if that was asked for; nothing if another one
  // has taken over. It appends no more.
  void Close(storage::ChannelRecord* channel, ProducerSession* session,
             std::vector<storage::CatalogChange>* changes);
  // Forgets who was neither open nor used since `before`, and whoever is not open and has no row.
  // The exclusive holder stays. Producers that are open count as used `now`.
  void ForgetIdle(const storage::ChannelRecord& channel, TimeMicros before, TimeMicros now,
                  std::vector<storage::CatalogChange>* changes);

  // The last sequence of the session's producer; 0 if it is plain or new.
  static uint64_t LastSequence(const ProducerSession& session);
  void Describe(const std::string& channel, std::vector<ProducerInfo>* infos) const;

 private:
  using States = std::unordered_map<std::string, std::shared_ptr<ProducerState>>;

  ProducerState* Find(const std::string& name) const;
  static Status CheckTerm(const storage::ChannelRecord& channel, const ProducerState& state,
                          int64_t term);
  static Status CheckSession(const storage::ChannelRecord& channel, const ProducerSession& session);
  static Status CheckSequence(const storage::ChannelRecord& channel, const Sender& sender,
                              const ProducerState* state, Verdict* verdict);
  Status CheckOpening(const storage::ChannelRecord& channel, const ProducerOpen& open) const;
  const std::shared_ptr<ProducerState>& FindOrAdd(const storage::ChannelRecord& channel,
                                                  const std::string& name, TimeMicros now);
  // Brings the state's row up to `term`; written if it is new or the term is.
  static void PutRow(storage::ChannelRecord* channel, ProducerState* state, int64_t term,
                     TimeMicros now, std::vector<storage::CatalogChange>* changes);
  // Its row and everything in memory; the map's entry is the caller's.
  static void Forget(ProducerState* state, std::vector<storage::CatalogChange>* changes);

  States by_name_;
  uint64_t last_session_ = 0;
};

}  // namespace strata::broker
