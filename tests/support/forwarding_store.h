// ForwardingStore: a LogStore that passes every call on, for tests that change one or two of them.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "storage/log_store.h"

namespace strata::testing {

class ForwardingStore : public storage::LogStore {
 public:
  explicit ForwardingStore(std::shared_ptr<storage::LogStore> to) : to_(std::move(to)) {}

  Status Write(const storage::WriteGroup& group) override { return to_->Write(group); }
  Status Sync() override { return to_->Sync(); }
  Result<std::vector<storage::ReadItem>> Read(ChannelNumber channel, MessageId from, MessageId end,
                                              size_t max_bytes) override {
    return to_->Read(channel, from, end, max_bytes);
  }
  Result<MessageId> FindTime(ChannelNumber channel, TimeMicros time, MessageId from,
                             MessageId end) override {
    return to_->FindTime(channel, time, from, end);
  }
  std::optional<MessageId> OldestId(ChannelNumber channel) override {
    return to_->OldestId(channel);
  }
  std::vector<storage::Page> Pages(ChannelNumber channel) const override {
    return to_->Pages(channel);
  }
  void ForgetPages(ChannelNumber channel, MessageId through) override {
    to_->ForgetPages(channel, through);
  }
  std::vector<storage::StratumInfo> DescribeStrata() const override {
    return to_->DescribeStrata();
  }
  Result<size_t> DropEmptyStrata() override { return to_->DropEmptyStrata(); }
  Result<storage::RewriteResult> Rewrite(const storage::RewriteRequest& request) override {
    return to_->Rewrite(request);
  }
  void AbandonRewrite(const storage::RewriteResult& result) override {
    to_->AbandonRewrite(result);
  }
  void SetDeletionRate(uint64_t bytes_per_second) override {
    to_->SetDeletionRate(bytes_per_second);
  }
  storage::DiskUsage Usage() const override { return to_->Usage(); }
  uint64_t BallastBytes() const override { return to_->BallastBytes(); }
  void ReleaseBallast() override { to_->ReleaseBallast(); }
  Status RestoreBallast() override { return to_->RestoreBallast(); }
  void NoteAcknowledged(const std::vector<std::pair<ChannelNumber, MessageId>>& next_ids) override {
    to_->NoteAcknowledged(next_ids);
  }
  Status Close() override { return to_->Close(); }
  bool failed() const override { return to_->failed(); }
  Status failure() const override { return to_->failure(); }
  storage::StoreStats Stats() const override { return to_->Stats(); }
  storage::ChannelSpace Space(ChannelNumber channel) const override { return to_->Space(channel); }

 protected:
  const std::shared_ptr<storage::LogStore> to_;
};

}  // namespace strata::testing
