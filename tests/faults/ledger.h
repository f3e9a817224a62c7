// What clients may rely on when the power goes, a disk fails or a process is killed: who was promised what, and what
// may be gone.
//
// Kept by channel number, so that a channel created again under its old name is another one. What is asked for is
// noted before the call, what was answered after it: in between either may be on disk. Under SyncPolicy::kAlways an
// answer is a promise; under kInterval and kNone it becomes one when a sync that began later has ended, and until then
// a power cut may take it, but nothing else may.
//
// Every message says which batch it belongs to, so a batch is known again wherever it is read: whole, byte for byte, at
// the id that was told, once.
#pragma once

#include <atomic>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"

namespace strata::testing {

// How a channel of the history lets go of its messages.
struct ChannelPlan {
  std::string name;
  RetentionOverrides retention = {};
  std::vector<std::string> subscriptions = {};
};

// A batch that somebody sends.
struct SentBatch {
  uint64_t tag = 0;  // tells it from every other one
  ChannelNumber channel = 0;
  std::vector<std::string> payloads = {};
  std::string producer = {};  // empty: a plain append
  uint64_t sequence = 0;
  uint64_t multi = 0;  // equal for the batches of one AppendMulti; 0: none of them

  Buffer Encoded() const;
};

// How a life of the broker ended. kDamaged: it was killed, and files were damaged; what is missing has to be announced
// by CORRUPT gaps. kLossAccepted: the same, and it was opened with accept_loss.
enum class Ending { kClean, kKilled, kPowerCut, kDamaged, kLossAccepted };

// Thread-safe.
class Ledger {
 public:
  explicit Ledger(std::vector<ChannelPlan> plans, SyncPolicy sync = SyncPolicy::kAlways);

  const std::vector<ChannelPlan>& plans() const { return plans_; }

  // --- Channels ---
  void CreationAsked(size_t plan);
  void Created(size_t plan, ChannelNumber number);
  // Of the plan's newest channel; 0 while it is deleted.
  ChannelNumber Current(size_t plan) const;
  void DeletionAsked(ChannelNumber number);
  // Asked, and no answer has said that it did not happen.
  bool IsDeletionOpen(ChannelNumber number) const;
  void Deleted(ChannelNumber number);
  void TruncationAsked(ChannelNumber number, MessageId through);
  void Truncated(ChannelNumber number, MessageId through);

  // --- Subscriptions: of each, one caller at a time ---
  void AckAsked(ChannelNumber number, const std::string& subscription, MessageId through);
  void Acked(ChannelNumber number, const std::string& subscription, MessageId through);
  void SeekAsked(ChannelNumber number, const std::string& subscription, MessageId to);
  void Sought(ChannelNumber number, const std::string& subscription, MessageId to);

  // --- Appends ---
  uint64_t NewMulti();
  SentBatch Sending(ChannelNumber number, const std::vector<size_t>& sizes,
                    const std::string& producer = "", uint64_t sequence = 0, uint64_t multi = 0);
  // The batch of that sequence, to be sent again, unless its sequence is free.
  std::optional<SentBatch> SendingAgain(ChannelNumber number, const std::string& producer,
                                        uint64_t sequence);
  void Answered(const SentBatch& sent, const Status& status, MessageId first_id);
  // A reader was shown it.
  void Shown(ChannelNumber number, const storage::StoredBatch& batch);

  // --- Terms: `producer` is to have, and has got, this term ---
  void TermAsked(ChannelNumber number, const std::string& producer, int64_t term, bool exclusive);
  void TermGranted(ChannelNumber number, const std::string& producer, int64_t term, bool exclusive);
  void ReleaseAsked(ChannelNumber number);
  void Released(ChannelNumber number);

  // --- Syncs of the store, around each: what was answered before it began is a promise once it has ended ---
  // Both may be called while Check() appends.
  uint64_t SyncBegins() const { return clock_; }
  void SyncEnded(uint64_t began);

  // What a history did wrong while the power was on.
  void Violation(std::string what);

  size_t acknowledged() const;  // messages
  size_t announced()
      const;  // messages that a Check() found missing, and a CORRUPT gap in their place
  // One above the largest id that anybody was told, of each channel there is.
  std::vector<std::pair<ChannelNumber, MessageId>> NextIds() const;
  // Every breach that `broker`, the first one after that ending, shows, as a sentence. Appends to each channel.
  std::vector<std::string> Check(broker::Broker& broker, Ending ending);

 private:
  enum class State {
    kOpen,     // not answered, or it may have been appended
    kStored,   // acknowledged, shown to a reader, or found
    kRefused,  // not appended
    kGone,     // was not there after an ending
  };
  static constexpr uint64_t kAlways = std::numeric_limits<uint64_t>::max();

  struct Batch {
    SentBatch sent;
    State state = State::kOpen;
    MessageId first_id = 0;  // of kStored
    uint64_t at = 0;         // when it was acknowledged
    MessageId floor = 0;     // the largest id that was known of its channel when it was sent
    bool again = false;      // sent more than once

    MessageId last_id() const {
      return first_id + static_cast<MessageId>(sent.payloads.size()) - 1;
    }
  };
  // A number that only rises, with when it did.
  class Rising {
   public:
    void Rise(int64_t value, uint64_t at) { steps_.emplace_back(at, value); }
    int64_t Promised(uint64_t synced) const {
      int64_t value = 0;
      for (const auto& [at, step] : steps_) value = at <= synced ? std::max(value, step) : value;
      return value;
    }

   private:
    std::vector<std::pair<uint64_t, int64_t>> steps_;
  };
  struct Cursor {
    MessageId lowest = 1, highest = 1;  // where it may be after any ending
    MessageId position = 1;             // after a clean one
  };
  struct Producer {
    std::map<uint64_t, uint64_t> tags;  // by sequence
    int64_t term_asked = 0;
    Rising term;
  };
  struct Channel {
    size_t plan = 0;
    uint64_t created_at = 0;
    bool deletion_asked = false;
    uint64_t deleted_at = 0;  // 0: it is not
    MessageId truncation_asked = 0;
    Rising truncated;
    std::map<std::string, Cursor> cursors;
    std::map<std::string, MessageId> acks_asked;
    std::map<std::string, Producer> producers;
    std::vector<uint64_t> tags;
    MessageId highest = 0;  // the largest id that anybody was told
    int64_t exclusive_asked = 0;
    Rising exclusive;
    std::string holder;       // granted last
    uint64_t held_at = 0;     // when
    bool holder_sure = true;  // no opening or release is under way, or of unknown end
  };
  // What one look at all channels found.
  struct Look {
    broker::Broker& broker;
    Ending ending;
    std::set<uint64_t> found;                   // tags
    std::map<ChannelNumber, MessageId> starts;  // first available id, of each channel there is
    std::vector<Gap> corrupt = {};              // of the channel that is looked at
    std::vector<std::string> violations;
  };

  uint64_t PromisedUpTo(Ending ending) const;
  bool IsPromise(uint64_t at, Ending ending) const;
  uint64_t Now() { return ++clock_; }
  void NoteStored(Batch* batch, MessageId first_id) STRATA_REQUIRES(mu_);

  void CheckPlan(size_t plan, Look* look) STRATA_REQUIRES(mu_);
  void CheckGone(size_t plan, ChannelNumber except, Look* look) STRATA_REQUIRES(mu_);
  void CheckChannel(const ChannelInfo& info, Channel* channel, Look* look) STRATA_REQUIRES(mu_);
  void CheckRange(const ChannelInfo& info, Channel* channel, Look* look) STRATA_REQUIRES(mu_);
  MessageId ReadAll(const ChannelInfo& info, Look* look) STRATA_REQUIRES(mu_);
  std::string CheckBatch(ChannelNumber number, const storage::StoredBatch& batch)
      STRATA_REQUIRES(mu_);
  void CheckMissing(const ChannelInfo& info, Channel* channel, Look* look) STRATA_REQUIRES(mu_);
  void CheckCursors(const ChannelInfo& info, Channel* channel, Look* look) STRATA_REQUIRES(mu_);
  void CheckProducers(const ChannelInfo& info, Channel* channel, Look* look) STRATA_REQUIRES(mu_);
  void CheckDuplicates(const ChannelInfo& info, const std::string& name, const Producer& producer,
                       const ProducerInfo& found, Look* look) STRATA_REQUIRES(mu_);
  void CheckExclusive(const ChannelInfo& info, Channel* channel, Look* look) STRATA_REQUIRES(mu_);
  void CheckGoesOn(ChannelNumber number, Look* look) STRATA_REQUIRES(mu_);
  void CheckMultis(Look* look) STRATA_REQUIRES(mu_);
  // The ids up to this may be gone, by what was asked for; the largest one for policy `limits`.
  MessageId MayBeGone(const Channel& channel) const STRATA_REQUIRES(mu_);

  const std::vector<ChannelPlan> plans_;
  mutable Mutex mu_;
  std::map<ChannelNumber, Channel> channels_ STRATA_GUARDED_BY(mu_);
  std::vector<bool> creation_asked_ STRATA_GUARDED_BY(mu_);  // by plan
  std::map<uint64_t, Batch> batches_ STRATA_GUARDED_BY(mu_);
  bool ids_jump_ STRATA_GUARDED_BY(mu_);  // LOST gaps are to be expected
  std::vector<std::string> violations_ STRATA_GUARDED_BY(mu_);
  uint64_t last_tag_ STRATA_GUARDED_BY(mu_) = 0;
  uint64_t last_multi_ STRATA_GUARDED_BY(mu_) = 0;
  size_t acknowledged_ STRATA_GUARDED_BY(mu_) = 0;
  size_t announced_ STRATA_GUARDED_BY(mu_) = 0;
  std::atomic<uint64_t> clock_{1};  // +1 per answer
  std::atomic<uint64_t> synced_;    // what was answered up to here is a promise
};

}  // namespace strata::testing
