// Broker: the whole product without a network. Channels, appends, readers and subscriptions over
// one store.
//
// Append path:  Broker::Append -> Committer (committer.h) -> storage::LogStore, and back:
//               into the TailCache, wake readers, answer
// Read path:    Reader (reader.h) -> TailCache, else storage::LogStore, else wait
//
// What an append promises: its batch is stored as one, with dense ids, after everything that was
// acknowledged before it was sent; when its callback runs with OK it is durable under the
// configured policy, and only then can any reader, position or answer show it.
//
// Fail-stop: after the first failed write or sync of the store, appends and every other change get
// STORE_FAILED (those in flight: may have been appended), reads go on, and only a new broker on the
// same directory clears it.
//
// Threads: everything may be called from any thread. Callbacks run on a thread of the committer, or
// on the caller's own before the call returns; they must be quick and must not call a blocking
// function of the broker.
// Ownership: readers stay valid after Close() and after the broker's end; they only say
// SHUTTING_DOWN then.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "broker/options.h"
#include "broker/reader.h"
#include "broker/types.h"
#include "retention/disk_budget.h"
#include "retention/sweeper.h"
#include "storage/log_store.h"

namespace strata::broker {

class BatchOnItsWay;
class Channel;
class ChannelWait;
class Committer;
class Standby;
struct SharedState;
struct Subscription;

class Broker {
 public:
  // Over a store that the broker owns from now on. `recovered` is what the store found when it was
  // opened. For a broker on a directory see open.h.
  Broker(BrokerOptions options, std::unique_ptr<storage::LogStore> store,
         storage::Recovered recovered);
  // Calls Close().
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // Wakes every reader with SHUTTING_DOWN, waits for what is in flight, persists cursors, refuses
  // everything after, closes the store. Idempotent; blocking, for a second caller too.
  void Close();

  // --- Channels. Blocking until the change is durable. ---
  // CHANNEL_EXISTS if it exists with other options; its info, unchanged, if with equal ones.
  Result<ChannelInfo> CreateChannel(const std::string& name, const ChannelOptions& options);
  // The channel's info; created with default options if missing and asked for, else
  // CHANNEL_NOT_FOUND.
  Result<ChannelInfo> OpenChannel(const std::string& name, bool create_if_missing);
  Result<ChannelInfo> DescribeChannel(const std::string& name) const;
  Result<std::vector<ChannelInfo>> ListChannels() const;  // by name
  // Everything up to and including `through` becomes unreadable; clamped to the durable end and
  // never moved back. Returns the info afterwards. Exact for readers at once; the space is given
  // back later.
  Result<ChannelInfo> TruncateChannel(const std::string& name, MessageId through);
  // Replaces the channel's own retention rules; what is not set follows the broker's again.
  Result<ChannelInfo> AlterChannel(const std::string& name, const RetentionOverrides& retention);
  // The name is free afterwards. Readers and consumers of the channel get CHANNEL_DELETED.
  Status DeleteChannel(const std::string& name);

  // --- Appending ---
  // Stores `request.batch` as one and calls `done` exactly once, perhaps before returning. Every
  // error says what happened to the data. Does not wait for a sync; without one (kInterval, kNone) a
  // small append that finds the broker idle is written to the page cache on the calling thread.
  void AppendAsync(AppendRequest request, AppendCallback done);
  // The same on the calling thread: when nothing else is being written it does the write and the
  // sync itself, so that a lone writer pays for no hand-over between threads.
  Result<AppendResult> Append(AppendRequest request);

  // Batches for several channels, each at most once: all are stored or none, in one write. Their
  // bytes together are at most those of one batch. The first error speaks for all. Without sessions.
  // If all were stored before, as their producers' sequences tell, the first results are the answer;
  // if only some were, INVALID_ARGUMENT, nothing stored. So only what has a producer in every part
  // can be sent again safely.
  void AppendMultiAsync(std::vector<AppendRequest> requests, AppendMultiCallback done);
  Result<std::vector<AppendResult>> AppendMulti(std::vector<AppendRequest> requests);

  // --- Producers (producers.h). Blocking until the change is durable. ---
  // Begins to produce: with a name as that producer, whose older instances are fenced as
  // strata.v1.ProduceOpen says. FENCED, CHANNEL_NOT_FOUND, CHANNEL_RECREATED, INVALID_ARGUMENT.
  Result<OpenedProducer> OpenProducer(const ProducerOpen& open);
  // Its end in peace, after its last append was answered: what it held exclusively is released, and
  // every later append of it gets CLIENT_CLOSED. A session that is only dropped releases nothing. OK
  // with nothing changed if another one has taken over, or it is closed already.
  Status CloseProducer(const std::shared_ptr<ProducerSession>& session);
  // Of one channel, or of all if `channel` is empty; by channel, then name. As durable; so after
  // fail-stop, when nothing becomes durable any more, STORE_FAILED.
  Result<std::vector<ProducerInfo>> ListProducers(const std::string& channel) const;

  // False if an append of `bytes` would be let in now (see max_pending_total). Otherwise true, and
  // `wake` runs once, on some thread, when there is room for it, at the broker's end at the latest:
  // then try again. It must only schedule.
  [[nodiscard]] bool WakeWhenRoom(uint64_t bytes, std::function<void()> wake);

  // --- Reading (reader.h) ---
  Result<std::unique_ptr<Reader>> OpenReader(const std::string& channel,
                                             const StartPosition& start);
  // Takes hold of the subscription, creating it if it does not exist. One consumer has it at a time:
  // SUBSCRIPTION_HELD names the present holder, unless that is the same consumer, whose old reader
  // ends then. Destroying the reader lets go of it.
  Result<std::unique_ptr<Reader>> OpenSubscription(const SubscriptionOpen& open);
  // The same, but waits its turn if somebody else has it.
  Result<std::unique_ptr<Standby>> StandBy(const SubscriptionOpen& open);
  // Goes on from there. With a subscription it moves the cursor, durably before it returns;
  // SUBSCRIPTION_HELD if this reader holds it no more. Blocking.
  Result<Moved> Seek(Reader* reader, const StartPosition& to);
  // For who opens a channel that may not exist yet. Null: it exists. Otherwise `wake` is called
  // once, from some thread, when it may: ask again then. It must only schedule; destroying what is
  // returned takes it back, unless it is on its way. INVALID_CHANNEL_NAME, SHUTTING_DOWN.
  Result<std::unique_ptr<ChannelWait>> WaitForChannel(const std::string& name,
                                                      std::function<void()> wake);

  // --- Subscriptions ---
  Result<SubscriptionInfo> CreateSubscription(const std::string& channel,
                                              const std::string& subscription,
                                              const StartPosition& start);
  Result<SubscriptionInfo> DescribeSubscription(const std::string& channel,
                                                const std::string& subscription) const;
  // Of one channel, or of all if `channel` is empty; by channel, then name.
  Result<std::vector<SubscriptionInfo>> ListSubscriptions(const std::string& channel) const;
  // Moves the cursor, forward or backward. An attached consumer goes on from there.
  Result<SubscriptionInfo> SeekSubscription(const std::string& channel,
                                            const std::string& subscription,
                                            const StartPosition& to);
  Status DeleteSubscription(const std::string& channel, const std::string& subscription);
  // Cumulative: all up to and including `through` is done with. An id below the cursor changes
  // nothing; above the durable end: ACK_BEYOND_END. Not blocking: the cursor reaches the disk with
  // the next group, within one second. Changes nothing, too, if a seek has come since `through` was
  // delivered, which was behind seek number `seek` (nothing: it counts as it comes).
  // CHANNEL_RECREATED unless the channel has this number; 0: any.
  Status Acknowledge(const std::string& channel, const std::string& subscription, MessageId through,
                     std::optional<uint64_t> seek = {}, ChannelNumber channel_number = 0);

  // --- Space ---
  // Where the space of a channel goes, or of all by name if `channel` is empty.
  Result<std::vector<ChannelSpaceInfo>> DescribeSpace(const std::string& channel) const;
  // Removes what may go and gives its space back, now, on the calling thread; it happens by itself
  // every few seconds.
  Status Sweep();
  // Rewrites the strata for which it is due, now, on the calling thread; that, too, happens by itself.
  Status RewriteDue();
  // Rewrites every stratum that is not yet as small as it can be, in the background.
  CompactionInfo StartCompaction();
  CompactionInfo DescribeCompaction() const;
  // What channels without rules of their own follow from now on. A sweep goes by it at once.
  void SetRetention(const retention::Rules& rules);

  // --- State ---
  BrokerStats Stats() const;
  // Of Stats(), without its cost: to be asked often.
  retention::SpaceState space_state() const { return budget_.state(); }
  Status failure() const;  // OK, or why the store stopped writing (fail-stop)
  // As given at the start; of retention see SetRetention().
  const BrokerOptions& options() const { return options_; }
  const std::string& store_id() const { return store_id_; }
  TimeMicros started_at() const { return started_at_; }
  storage::StoreStats StoreStats() const;

 private:
  using ChannelPtr = std::shared_ptr<Channel>;

  // --- Lookup ---
  Result<ChannelPtr> FindChannel(const std::string& name) const;
  Result<std::pair<ChannelPtr, std::shared_ptr<Subscription>>> FindSubscription(
      const std::string& channel, const std::string& subscription) const;
  ChannelInfo InfoOf(const Channel& channel) const;  // with pages and bytes

  // --- Appending ---
  Result<ChannelPtr> FindChannelOf(const AppendRequest& request) const;
  static Status CheckNumber(const Channel& channel, ChannelNumber number);
  // Checks a request, which it takes apart.
  Result<BatchOnItsWay> Check(AppendRequest* request);
  // Lets so many bytes in; given back by ReleasePending.
  Status Reserve(uint64_t bytes);
  // Both; and a session whose append is refused gets no other one in.
  Result<BatchOnItsWay> Admit(AppendRequest request);
  Result<std::vector<BatchOnItsWay>> AdmitMulti(std::vector<AppendRequest> requests,
                                                uint64_t* bytes);
  bool HasRoom(uint64_t bytes) const;
  void ReleasePending(uint64_t bytes);

  // --- Changes of the catalog ---
  using Prepare = std::function<Status(storage::WriteGroup*)>;
  using Publish = std::function<void()>;
  // Takes a change through the committer on the calling thread; returns when it is durable.
  Status Commit(Prepare prepare, Publish publish) const;
  Status CommitAhead(Prepare prepare, Publish publish);  // of appends that are queued
  Result<storage::SubscriptionRecord> NewSubscription(const ChannelPtr& channel,
                                                      const std::string& subscription,
                                                      const StartPosition& start);
  // Its place in the queue, or at once its hold.
  Result<std::unique_ptr<Standby>> Enter(const SubscriptionOpen& open, bool wait);
  // Moves the cursor of the subscription that `pick` finds with the write role.
  using PickSubscription = std::function<Result<std::shared_ptr<Subscription>>(Channel&)>;
  Result<Moved> CommitSeek(Channel& channel, const StartPosition& to, const PickSubscription& pick);

  // --- Retention (sweep.cc) ---
  class Swept;  // the sweeper's view of this broker
  void StartSweeping();
  retention::Rules RulesOf(const Channel& channel) const;
  retention::ChannelView ViewOf(const Channel& channel) const;
  std::vector<ChannelPtr> AllChannels() const;
  // DISK_FULL if the store's disk budget does not allow for so many bytes.
  Status AdmitToDisk(uint64_t bytes);

  // --- Maintenance ---
  void AddChangedCursors(storage::WriteGroup* group);  // write role: the committer's rider
  void MaintenanceLoop();
  void ForgetIdleProducers();
  Clock::Duration BetweenProducerChecks() const;
  void EndChannels();
  void NoteAcknowledged();

  const BrokerOptions options_;
  const std::unique_ptr<storage::LogStore> store_;
  const std::string store_id_;
  const TimeMicros started_at_;
  const std::shared_ptr<SharedState> shared_;

  // The write role's: channels as they will be once everything written is durable.
  std::unordered_map<std::string, ChannelPtr> write_channels_;
  ChannelNumber next_channel_;

  mutable Mutex channels_mu_;  // before a channel's mu_
  std::unordered_map<std::string, ChannelPtr> channels_ STRATA_GUARDED_BY(channels_mu_);
  bool closed_ STRATA_GUARDED_BY(channels_mu_) = false;

  std::atomic<uint64_t> pending_bytes_{0};
  std::atomic<bool> room_wanted_{false};
  Mutex room_mu_;  // leaf
  struct RoomWaiter {
    uint64_t bytes;
    std::function<void()> wake;
  };
  std::deque<RoomWaiter> room_waiters_ STRATA_GUARDED_BY(room_mu_);

  std::atomic<uint64_t> messages_appended_{0};
  std::atomic<uint64_t> bytes_appended_{0};
  std::atomic<uint64_t> batches_appended_{0};

  std::unique_ptr<Committer> committer_;

  retention::DiskBudget budget_;
  mutable Mutex retention_mu_;
  retention::Rules retention_ STRATA_GUARDED_BY(retention_mu_);
  Mutex measure_mu_;  // held while the disk is measured for an append
  std::unique_ptr<retention::SweptLog> swept_;
  std::unique_ptr<retention::Sweeper> sweeper_;

  Mutex close_mu_;  // held for all of Close(); before every other
  Mutex maintenance_mu_;
  CondVar maintenance_wake_;
  bool closing_ STRATA_GUARDED_BY(maintenance_mu_) = false;
  uint64_t noted_messages_ =
      0;  // the maintenance thread's: messages_appended_ when ids were last noted
  Clock::Duration next_producer_check_;  // the maintenance thread's
  std::thread maintenance_;

  friend class AppendOperation;
  friend class BatchOnItsWay;
  friend class MultiAppendOperation;
};

}  // namespace strata::broker
