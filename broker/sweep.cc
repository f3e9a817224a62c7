// What the sweeper sees of the broker, and how pages go: planned on a snapshot, looked at once more in the write
// role, gone for readers once durable, then for the store.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "broker/broker.h"
#include "broker/channel.h"
#include "broker/committer.h"
#include "broker/shared_state.h"

namespace strata::broker {

class Broker::Swept final : public retention::SweptLog {
 public:
  explicit Swept(Broker* broker) : broker_(broker) {}

  std::vector<retention::ChannelView> View() override {
    std::vector<retention::ChannelView> views;
    for (const ChannelPtr& channel : broker_->AllChannels()) {
      views.push_back(broker_->ViewOf(*channel));
    }
    return views;
  }

  Status Trim(const std::vector<retention::Trim>& trims) override;

  Status Commit(std::vector<storage::CatalogChange> changes) override {
    return broker_->CommitAhead(
        [&](storage::WriteGroup* group) {
          for (storage::CatalogChange& change : changes)
            group->changes.push_back(std::move(change));
          return Status::Ok();
        },
        [] {});
  }

  uint64_t AppendedBytes() const override {
    return broker_->bytes_appended_.load(std::memory_order_relaxed);
  }
  uint64_t PendingBytes() const override { return broker_->pending_bytes_.load(); }

 private:
  struct Trimmed {
    ChannelPtr channel;
    MessageId through = 0;
  };
  // What of a trim may still go, now that nothing else can change the channel.
  void PrepareTrim(const ChannelPtr& channel, const retention::Trim& trim,
                   storage::WriteGroup* group, std::vector<Trimmed>* trimmed);

  Broker* const broker_;
};

void Broker::Swept::PrepareTrim(const ChannelPtr& channel, const retention::Trim& trim,
                                storage::WriteGroup* group, std::vector<Trimmed>* trimmed) {
  Channel::WriteFace& face = channel->write_face();
  if (face.deleted) return;
  const MessageId eligible_end =
      channel->EligibleEnd(broker_->RulesOf(*channel), broker_->options_.clock->WallMicros());
  // Truncation frees whatever the policy says.
  const MessageId limit =
      std::min(trim.through, std::max(eligible_end - 1, face.record.truncated_through));
  Trimmed done{channel, 0};
  for (const storage::Page& page : broker_->store_->Pages(channel->number())) {
    if (page.next - 1 > limit) break;
    done.through = page.next - 1;
  }
  if (done.through == 0) return;
  face.first_available = done.through + 1;
  // Without pages the row alone knows where ids and append times go on.
  face.record.next_id = std::max(face.record.next_id, face.next_id);
  face.record.last_append_time = face.last_append_time;
  group->changes.emplace_back(storage::TrimPages{channel->number(), done.through});
  group->changes.emplace_back(storage::PutChannel{face.record});
  trimmed->push_back(std::move(done));
}

Status Broker::Swept::Trim(const std::vector<retention::Trim>& trims) {
  std::unordered_map<ChannelNumber, ChannelPtr> by_number;
  for (ChannelPtr& channel : broker_->AllChannels()) {
    const ChannelNumber number = channel->number();
    by_number.emplace(number, std::move(channel));
  }
  std::vector<Trimmed> trimmed;
  return broker_->CommitAhead(
      [&](storage::WriteGroup* group) {
        for (const retention::Trim& trim : trims) {
          const auto channel = by_number.find(trim.channel);
          if (channel != by_number.end()) PrepareTrim(channel->second, trim, group, &trimmed);
        }
        return Status::Ok();
      },
      [&] {
        // Readers first: who looks for a row that is gone has to find it explained.
        for (const Trimmed& each : trimmed) {
          // Not simply behind `through`: the newest page stays if it has grown by the same group.
          const std::vector<storage::Page> left = broker_->store_->Pages(each.channel->number());
          each.channel->PublishTrim(left.empty() ? each.through + 1 : left.front().first);
          broker_->store_->ForgetPages(each.channel->number(), each.through);
        }
      });
}

void Broker::StartSweeping() {
  retention::SweeperOptions options = options_.sweeper;
  options.clock = options_.clock;
  options.log = options_.log;
  swept_ = std::make_unique<Swept>(this);
  sweeper_ = std::make_unique<retention::Sweeper>(options, store_.get(), swept_.get(), &budget_);
  sweeper_->Start();
}

retention::Rules Broker::RulesOf(const Channel& channel) const {
  MutexLock lock(retention_mu_);
  return retention::Effective(retention_, channel.retention());
}

void Broker::SetRetention(const retention::Rules& rules) {
  {
    MutexLock lock(retention_mu_);
    retention_ = rules;
  }
  sweeper_->Kick();
}

retention::ChannelView Broker::ViewOf(const Channel& channel) const {
  const ChannelInfo info = channel.Info();
  retention::ChannelView view;
  view.number = info.number;
  view.name = info.name;
  view.rules = RulesOf(channel);
  view.pages = store_->Pages(info.number);
  const Channel::TruncationMark mark =
      channel.TruncationInForce(view.rules.truncate_grace, options_.clock->WallMicros(),
                                view.pages.empty() ? info.next_id : view.pages.front().next - 1);
  view.truncated_through = mark.through;
  view.truncated_at = mark.at;
  view.cursors = channel.Cursors();
  return view;
}

Result<std::vector<ChannelSpaceInfo>> Broker::DescribeSpace(const std::string& name) const {
  std::vector<ChannelPtr> channels;
  if (name.empty()) {
    channels = AllChannels();
  } else {
    STRATA_ASSIGN_OR_RETURN(ChannelPtr channel, FindChannel(name));
    channels.push_back(std::move(channel));
  }
  const StoreGate::Pass pass(shared_->gate);
  if (pass.store() == nullptr) return Status(Reason::SHUTTING_DOWN, "the broker is closed");
  const TimeMicros now = options_.clock->WallMicros();
  std::vector<ChannelSpaceInfo> infos;
  infos.reserve(channels.size());
  for (const ChannelPtr& channel : channels) {
    infos.push_back(retention::DescribeSpace(ViewOf(*channel), now));
  }
  return infos;
}

Status Broker::AdmitToDisk(uint64_t bytes) {
  // What a batch of one byte takes besides it: key, header, page row, and their frames in the log.
  constexpr uint64_t kPerBatch = 256;
  bool measure = false;
  Status status = budget_.Admit(bytes + kPerBatch, &measure);
  if (!measure) return status;
  {
    // One walk for all who ask at once.
    MutexLock lock(measure_mu_);
    status = budget_.Admit(bytes + kPerBatch, &measure);
    if (!measure) return status;
    sweeper_->Measure();
    status = budget_.Admit(bytes + kPerBatch, &measure);
  }
  if (!status.ok()) sweeper_->Kick();
  return status;
}

Status Broker::Sweep() {
  const StoreGate::Pass pass(shared_->gate);
  if (pass.store() == nullptr) return Status(Reason::SHUTTING_DOWN, "the broker is closed");
  return sweeper_->Sweep();
}

Status Broker::RewriteDue() {
  const StoreGate::Pass pass(shared_->gate);
  if (pass.store() == nullptr) return Status(Reason::SHUTTING_DOWN, "the broker is closed");
  for (;;) {
    STRATA_ASSIGN_OR_RETURN(const bool rewritten, sweeper_->RewriteNext());
    if (!rewritten) return Status::Ok();
  }
}

CompactionInfo Broker::StartCompaction() {
  const StoreGate::Pass pass(shared_->gate);
  return pass.store() == nullptr ? sweeper_->compaction() : sweeper_->StartCompaction();
}

CompactionInfo Broker::DescribeCompaction() const { return sweeper_->compaction(); }

}  // namespace strata::broker
