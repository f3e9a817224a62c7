#include "tests/faults/scene.h"

#include <fmt/format.h>

#include <utility>

#include "base/batch.h"

namespace strata::testing {

void Witness::Acknowledged(const std::string& channel, MessageId first_id,
                           const std::vector<std::string>& payloads) {
  MutexLock lock(mu_);
  for (const std::string& payload : payloads) channels_[channel].promised[first_id++] = payload;
}

void Witness::Seen(const std::string& channel, MessageId id, const std::string& payload) {
  MutexLock lock(mu_);
  channels_[channel].promised[id] = payload;
}

void Witness::Truncated(const std::string& channel, MessageId through) {
  MutexLock lock(mu_);
  channels_[channel].truncated_through = std::max(channels_[channel].truncated_through, through);
}

std::map<std::string, Witness::Channel> Witness::channels() const {
  MutexLock lock(mu_);
  return channels_;
}

size_t Witness::promised() const {
  MutexLock lock(mu_);
  size_t count = 0;
  for (const auto& [name, channel] : channels_) count += channel.promised.size();
  return count;
}

Scene::Scene(SyncPolicy sync, Wrap wrap)
    : sync_(sync), wrap_(std::move(wrap)), disk_(FaultFileSystem::Create()) {
  // The folder in which the store is made, as an administrator left it.
  (void)disk_->CreateDirIfMissing("/var", rocksdb::IOOptions(), nullptr);
  disk_->SyncAll();
}

storage::StoreOptions Scene::store_options() const {
  storage::StoreOptions options;
  options.path = "/var/strata";
  options.sync = sync_;
  options.page_size = 8u << 10;
  options.write_buffer = 128u << 10;
  options.block_cache = 1u << 20;
  options.lock_timeout = std::chrono::milliseconds(0);
  options.file_system = disk_;
  options.boot_id = "boot";
  return options;
}

Result<std::unique_ptr<broker::Broker>> Scene::Open() {
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<storage::Store> store,
                          storage::Store::Open(store_options()));
  storage::Recovered recovered = store->TakeRecovered();
  std::unique_ptr<storage::LogStore> log = std::move(store);
  if (wrap_) log = wrap_(std::move(log));
  broker::BrokerOptions options;
  options.sync = sync_;
  // Smaller than the histories, so that readers also read from storage.
  options.tail_cache = 16u << 10;
  options.group_bytes = 8u << 10;
  return std::make_unique<broker::Broker>(options, std::move(log), std::move(recovered));
}

std::vector<std::string> Scene::Check() {
  std::vector<std::string> violations;
  Result<std::unique_ptr<broker::Broker>> broker = Open();
  if (!broker.ok()) {
    violations.push_back("does not open: " + broker.status().ToString());
    return violations;
  }
  for (const auto& [name, expected] : witness_.channels())
    CheckChannel(**broker, name, expected, &violations);
  return violations;
}

void Scene::CheckChannel(broker::Broker& broker, const std::string& name,
                         const Witness::Channel& expected, std::vector<std::string>* violations) {
  const auto violation = [&](std::string what) {
    violations->push_back(fmt::format("channel {}: {}", name, what));
  };
  auto reader = broker.OpenReader(name, StartPosition::Earliest());
  if (!reader.ok()) return violation(reader.status().ToString());
  const ChannelInfo info = (*reader)->channel();
  if (info.truncated_through < expected.truncated_through) {
    violation(fmt::format("truncated through {}, {} was acknowledged", info.truncated_through,
                          expected.truncated_through));
  }
  auto due = expected.promised.lower_bound(info.first_available);
  MessageId next = info.first_available;
  for (;;) {
    broker::Reader::Item item = (*reader)->Next();
    if (std::holds_alternative<broker::Reader::AtEnd>(item)) break;
    if (const auto* status = std::get_if<Status>(&item)) return violation(status->ToString());
    if (const auto* gap = std::get_if<Gap>(&item)) {
      return violation(
          fmt::format("a {} gap over {}..{}", GapReasonName(gap->reason), gap->first, gap->last));
    }
    const auto& batch = std::get<broker::Delivery>(item).batch;
    const Buffer bytes = batch.bytes.Contiguous();
    BatchIterator it(bytes.view(), batch.first_id, batch.append_time);
    for (MessageView message; it.Next(&message);) {
      if (message.id < next) continue;  // skipped part of the first batch
      if (message.id != next) violation(fmt::format("id {} follows {}", message.id, next - 1));
      next = message.id + 1;
      if (due == expected.promised.end() || due->first != message.id) continue;
      if (due->second != message.payload)
        violation(fmt::format("id {} holds another message", message.id));
      ++due;
    }
  }
  if (due != expected.promised.end()) {
    violation(fmt::format("ids {}..{} were promised, the channel ends before {}", due->first,
                          expected.promised.rbegin()->first, next));
  }
  // The next id is a new one, and the channel goes on.
  const Result<AppendResult> appended = broker.Append({name, MakeBatch({"after"})});
  if (!appended.ok()) return violation("does not take appends: " + appended.status().ToString());
  if (expected.promised.contains(appended->first_id))
    violation(fmt::format("id {} is reused", appended->first_id));
}

Buffer MakeBatch(const std::vector<std::string>& payloads) {
  BatchBuilder builder;
  for (const std::string& payload : payloads) builder.Add(payload);
  return builder.Take();
}

}  // namespace strata::testing
