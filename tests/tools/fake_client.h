// FakeClient: a broker in a few maps, for testing commands without one. Appends at once, can be
// told to fail, and remembers what was acknowledged.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"

namespace strata::tools {

class FakeClient final : public Client {
 public:
  FakeClient() {
    server.version = "9.9.9";
    server.store_id = "5107e";
    server.sync = "always";
    server.max_payload = 1'000;
  }

  struct Channel {
    ChannelInfo info;
    std::vector<Message> messages;  // the first has the id info.options.first_id
    std::vector<Gap> gaps;          // announced once a reader gets there
  };

  std::map<std::string, Channel> channels;
  std::map<std::pair<std::string, std::string>, SubscriptionInfo> subscriptions;
  std::map<std::string, ChannelSpaceInfo> spaces;  // what is not here has no page
  // The answers about a compaction, StartCompaction()'s first; the last one is given again.
  std::vector<CompactionInfo> compactions;
  Status compaction_error;  // once those are used up, if it is one
  ServerInfo server;
  BrokerStatus status;
  // All appended messages have this time.
  TimeMicros append_time = 1'795'168'800'000'000;  // 2026-11-20T10:00:00Z
  // Appends of a producer fail with `append_error` once it has stored this many messages.
  uint64_t appends_until_error = UINT64_MAX;
  Status append_error;
  // Runs when a reader has nothing more to give, instead of waiting.
  std::function<void()> on_wait;
  // Runs with each GetStatus().
  std::function<void()> on_status;
  size_t messages_per_batch = 3;  // of what readers get
  std::vector<MessageId> acknowledged;

  // Appends as another program would.
  void Put(const std::string& channel, std::vector<Message> messages);
  // The payloads of a channel.
  std::vector<std::string> Payloads(const std::string& channel) const;

  Result<ChannelInfo> CreateChannel(const std::string& name,
                                    const ChannelOptions& options) override;
  Result<ChannelInfo> OpenChannel(const std::string& name, bool create_if_missing) override;
  Result<ChannelInfo> DescribeChannel(const std::string& name) override;
  Result<std::vector<ChannelInfo>> ListChannels(const std::string& prefix) override;
  Result<ChannelInfo> TruncateChannel(const std::string& name, MessageId through) override;
  Result<ChannelInfo> AlterChannel(const std::string& name,
                                   const RetentionOverrides& retention) override;
  Status DeleteChannel(const std::string& name) override;

  Result<AppendResult> Append(const std::string& channel, const std::vector<Message>& messages,
                              const AppendOptions& options) override;
  Result<AppendResult> Append(const std::string& channel, const Buffer& batch,
                              const AppendOptions& options) override;
  Result<std::vector<AppendResult>> AppendMulti(const std::vector<ChannelAppend>& appends) override;
  Result<std::unique_ptr<Producer>> OpenProducer(const std::string& channel,
                                                 const ProducerOptions& options) override;

  Result<std::unique_ptr<Reader>> OpenReader(const std::string& channel, const StartPosition& start,
                                             const ReaderOptions& options) override;
  Result<std::unique_ptr<Consumer>> OpenConsumer(const std::string& channel,
                                                 const std::string& subscription,
                                                 const ConsumerOptions& options) override;
  Result<FetchResult> Fetch(const std::string& channel, const StartPosition& start,
                            const FetchOptions& options) override;

  Result<SubscriptionInfo> CreateSubscription(const std::string& channel,
                                              const std::string& subscription,
                                              const StartPosition& start) override;
  Result<SubscriptionInfo> DescribeSubscription(const std::string& channel,
                                                const std::string& subscription) override;
  Result<std::vector<SubscriptionInfo>> ListSubscriptions(const std::string& channel) override;
  Result<SubscriptionInfo> SeekSubscription(const std::string& channel,
                                            const std::string& subscription,
                                            const StartPosition& to) override;
  Status DeleteSubscription(const std::string& channel, const std::string& subscription) override;
  Status Acknowledge(const std::string& channel, const std::string& subscription,
                     MessageId through) override;

  Result<std::vector<ProducerInfo>> ListProducers(const std::string& channel) override;
  Result<ServerInfo> GetServerInfo() override;
  Result<BrokerStatus> GetStatus() override;
  Result<std::vector<ChannelSpaceInfo>> DescribeSpace(const std::string& channel) override;
  Result<CompactionInfo> StartCompaction() override;
  Result<CompactionInfo> DescribeCompaction() override;
  void Close() override {}

 private:
  Result<Channel*> Find(const std::string& name);

  size_t compaction_answers_ = 0;
};

}  // namespace strata::tools
