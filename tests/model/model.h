// Model: what a broker answers, by the rules of the contract, in the smallest form that has them all:
// maps, a list of batches, and no threads, disk or network.
//
// Each call returns what the real call has to bring, in the words of Place: "7+2" for an append of two
// messages that got the ids 7 and 8, "FENCED not" for a refusal with the fate of its data. What a broker
// is free to choose, the append time, is told to the model. What it is free to do in its own time, such
// as deliver what was on its way when the channel was truncated, is a set of answers: Receivable().
//
// A Flaw is one rule that the model has wrong. It then disagrees with every correct broker, and a test
// that does not notice has never come near that rule.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/types.h"

namespace strata::testing {

// Formatted by hand: clang-format never comes to rest with it.
// clang-format off
#define STRATA_MODEL_FLAWS(FLAW) \
  FLAW(TruncateIsExclusive) FLAW(TruncateIsNotClamped) FLAW(TruncateMovesBack) \
  FLAW(RecreatedGoesOn) FLAW(RecreatedIsTheSame) FLAW(OptionsDoNotMatter) \
  FLAW(AlterKeepsWhatIsUnset) FLAW(DuplicateIsStored) FLAW(DuplicateNeedsItsId) \
  FLAW(ContentDoesNotMatter) FLAW(WindowIsShorter) FLAW(WindowIsLonger) FLAW(JumpIsTaken) \
  FLAW(SequencesEndWithTheTerm) FLAW(EqualTermIsFenced) FLAW(LowerTermIsLetIn) \
  FLAW(TermFencesOtherNames) FLAW(ExclusiveLetsPlainIn) FLAW(ReleaseLetsLowerIn) \
  FLAW(RestartReleases) FLAW(TakenOverGoesOn) FLAW(RefusedGoesOn) FLAW(AnyIdWillDo) \
  FLAW(MultiStoresAPart) FLAW(MultiTakesAMixture) FLAW(EarliestHasAGap) FLAW(LatestIsTheLast) \
  FLAW(AfterIsAt) FLAW(TimeIsStrict) FLAW(NoGapWhenTrimmed) FLAW(AckMovesBack) \
  FLAW(AckBeyondTheEnd) FLAW(SeekOnlyForward) FLAW(StartCountsAgain) \
  FLAW(SecondHolderIsLetIn) FLAW(StandbyStartsAgain) FLAW(OldAckCounts) \
  FLAW(RestartForgetsAcks) FLAW(RestartForgetsTerms)
// clang-format on

enum class Flaw {
  kNone,
#define FLAW(name) k##name,
  STRATA_MODEL_FLAWS(FLAW)
#undef FLAW
};

class Model {
 public:
  explicit Model(Flaw flaw = Flaw::kNone) : flaw_(flaw) {}

  // --- Channels ---
  std::string CreateChannel(const std::string& name, const ChannelOptions& options);
  std::string OpenChannel(const std::string& name, bool create_if_missing);
  std::string DescribeChannel(const std::string& name) const;
  std::string ListChannels(const std::string& prefix) const;
  std::string TruncateChannel(const std::string& name, MessageId through);
  std::string AlterChannel(const std::string& name, const RetentionOverrides& retention);
  std::string DeleteChannel(const std::string& name);
  // After it nothing that was opened is there; what is durable is.
  void Restart();

  // --- Appending ---
  struct Part {
    std::string channel;
    std::vector<std::string> payloads;
    // channel_number is the channel's place in the order of creation, from 1.
    AppendOptions options = {};
    TimeMicros time = 0;  // that the broker gave to it, if it took it
  };
  std::string Append(const Part& part);
  std::string AppendMulti(const std::vector<Part>& parts);

  // `slot` is where the caller keeps what it opens, free before.
  std::string OpenProducer(int slot, const std::string& channel, const ProducerOptions& options);
  // One message, as a batch of its own, awaited.
  std::string Send(int slot, const std::string& payload, TimeMicros time);
  std::string CloseProducer(int slot);
  void DropProducer(int slot);
  bool HasProducer(int slot) const { return producers_.contains(slot); }
  std::string ListProducers(const std::string& channel) const;

  // --- Reading ---
  std::string Fetch(const std::string& channel, const StartPosition& start, bool one_batch) const;
  std::string OpenReader(int slot, const std::string& channel, const StartPosition& start);
  std::string OpenConsumer(int slot, const std::string& channel, const std::string& subscription,
                           const ConsumerOptions& options);
  // What a receive, of one message or of a batch, may answer now. With TIMEOUT only if nothing has
  // to come, however long the caller waits.
  std::vector<std::string> Receivable(int slot, bool whole_batch) const;
  // It was this, one of Receivable().
  void Receive(int slot, bool whole_batch, const std::string& what);
  std::string SeekReader(int slot, const StartPosition& to);
  // Of a consumer: its subscription was deleted, whatever became of the channel.
  bool LostItsSubscription(int slot) const;
  // Where it stands; nothing if that depends on what was on its way.
  std::optional<MessageId> Position(int slot) const;
  void CloseReader(int slot);
  bool HasReader(int slot) const { return readers_.contains(slot); }
  // Its subscription is gone, and another one has its names.
  bool IsReplaced(int slot) const;
  // A consumer whose turn has come by what was done since the last call.
  std::optional<int> TakePromoted();
  // Nothing if it depends on whether a seek by somebody else has reached it.
  std::optional<std::string> ConsumerAcknowledge(int slot, MessageId through);

  // --- Subscriptions ---
  std::string CreateSubscription(const std::string& channel, const std::string& name,
                                 const StartPosition& start);
  std::string DescribeSubscription(const std::string& channel, const std::string& name) const;
  std::string ListSubscriptions(const std::string& channel) const;
  std::string SeekSubscription(const std::string& channel, const std::string& name,
                               const StartPosition& to);
  std::string DeleteSubscription(const std::string& channel, const std::string& name);
  std::string Acknowledge(const std::string& channel, const std::string& name, MessageId through);

  // --- For choosing what to do next: all 0 or empty if there is no such thing ---
  MessageId FirstAvailable(const std::string& channel) const;
  MessageId NextId(const std::string& channel) const;
  uint64_t Number(const std::string& channel) const;
  uint64_t LastSequence(const std::string& channel, const std::string& producer) const;
  std::vector<std::string> PayloadsOf(const std::string& channel, const std::string& producer,
                                      uint64_t sequence) const;
  // Of the batch that is the n-th last.
  TimeMicros TimeOf(const std::string& channel, size_t n) const;

 private:
  using Payloads = std::vector<std::string>;
  struct Batch {
    MessageId first = 0;
    Payloads payloads;
    TimeMicros time = 0;

    MessageId next() const { return first + static_cast<MessageId>(payloads.size()); }
  };
  struct Named {
    int64_t term = 0;
    uint64_t last = 0;
    std::map<uint64_t, Batch> stored;  // by sequence, all that ever were
    bool durable = false;              // it has said something that a restart keeps
    int session = 0;                   // the one in force, 0: none
    bool open = false;                 // and somebody has it
  };
  struct Subscription {
    std::string name;
    MessageId cursor = 0;
    MessageId start = 0;
    std::vector<int> consumers;  // slots; the first holds it
    std::map<int, std::string> holders;
    bool deleted = false;
  };
  struct Channel {
    std::string name;
    uint64_t number = 0;
    ChannelOptions options;
    std::vector<Batch> batches;  // also those that are trimmed
    MessageId next = 1;
    MessageId first = 1;  // available
    MessageId mark = 0;
    int64_t exclusive_term = 0;
    std::string exclusive_holder;
    std::map<std::string, Named> producers;
    std::map<std::string, std::shared_ptr<Subscription>> subscriptions;
    bool deleted = false;

    TimeMicros last_time() const { return batches.empty() ? 0 : batches.back().time; }
  };
  using ChannelPtr = std::shared_ptr<Channel>;
  struct OpenProducerState {
    ChannelPtr channel;
    std::string name;
    int64_t term = 0;
    int session = 0;
    uint64_t next_sequence = 0;
    std::string refused = {};  // why; then so is all that follows
  };
  // Where a reader may stand.
  struct Place {
    MessageId at = 0;
    TimeMicros not_before = 0;
    // Sent before a truncation or the end, and perhaps on its way: messages below `sent`, and gaps that
    // end before one of `firsts`.
    MessageId sent = 0;
    std::vector<MessageId> firsts = {};

    friend bool operator==(const Place&, const Place&) = default;
  };
  // The present place, and those of seeks by others, in their order, that it will hear of.
  using Places = std::deque<Place>;
  struct ReaderState {
    ChannelPtr channel;
    std::shared_ptr<Subscription> subscription = {};
    std::vector<Places> places = {};  // one of these
    std::string ended = {};
    bool received_since_seek = false;  // by somebody else
  };
  using Answers = std::vector<std::pair<std::string, Place>>;

  bool Is(Flaw flaw) const { return flaw_ == flaw; }
  ChannelPtr Find(const std::string& name) const;
  std::string Info(const Channel& channel) const;
  std::string Info(const Channel& channel, const Subscription& subscription) const;
  MessageId Resolve(const Channel& channel, const StartPosition& start) const;
  Place PlaceOf(const Channel& channel, const StartPosition& start, bool of_reader) const;

  // "" if it may, else why not. `producer` as the exclusive one sees it: "" if it has no name of its own.
  std::string PassExclusive(const Channel& channel, const std::string& producer,
                            int64_t term) const;
  std::string CheckPart(const Part& part) const;
  // Whether it was stored before: *stored. Changes nothing.
  std::string Judge(const Channel& channel, const Part& part, const Batch** stored) const;
  std::string Store(Channel& channel, const Part& part, const Batch* stored);
  std::string CheckSession(const OpenProducerState& producer) const;
  void EndSession(OpenProducerState& producer, bool in_peace);

  static Place Passed(const Channel& channel, Place place);
  Answers AnswersAt(const ReaderState& reader, Place place, bool whole_batch) const;
  std::string MessagesAt(const Channel& channel, MessageId at, bool whole_batch,
                         MessageId* next) const;
  std::vector<std::pair<std::string, Places>> Outcomes(int slot, bool whole_batch) const;
  void NoteOnItsWay(const ChannelPtr& channel, const std::shared_ptr<Subscription>& of);
  void NoteMovedCursor(const Subscription& subscription);
  bool StandsBy(int slot) const;
  void Leave(int slot);

  const Flaw flaw_;
  uint64_t last_number_ = 0;
  int last_session_ = 0;
  std::map<std::string, ChannelPtr> channels_;
  std::map<std::string, ChannelPtr> graves_;  // the last one of a name that was deleted
  std::map<int, OpenProducerState> producers_;
  std::map<int, ReaderState> readers_;
  std::optional<int> promoted_;
};

}  // namespace strata::testing
