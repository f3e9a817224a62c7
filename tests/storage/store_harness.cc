#include "tests/storage/store_harness.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>

#include "tests/support/catch.h"

namespace strata::storage {

Logger LogLines::logger(LogLevel minimum) {
  return Logger(
      [lines = lines_](LogLevel, std::string_view message) {
        MutexLock lock(lines->mu);
        lines->text.append(message).append("\n");
      },
      minimum);
}

std::string LogLines::text() const {
  MutexLock lock(lines_->mu);
  return lines_->text;
}

bool LogLines::Contains(std::string_view part) const {
  return text().find(part) != std::string::npos;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "strata-test-").string() + std::string(6, 'X');
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

StoreOptions TinyOptions(std::shared_ptr<testing::FaultFileSystem> fs) {
  StoreOptions options;
  options.path = kStorePath;
  options.page_size = 4096;
  options.write_buffer = 192u << 10;
  options.block_cache = 1u << 20;
  options.lock_timeout = std::chrono::milliseconds(0);
  options.boot_id = "boot-1";
  options.file_system = std::move(fs);
  return options;
}

std::shared_ptr<testing::FaultFileSystem> NewFaultFs() {
  auto fs = testing::FaultFileSystem::Create();
  REQUIRE(fs->CreateDir("/data", rocksdb::IOOptions(), nullptr).ok());
  fs->SyncAll();
  return fs;
}

std::unique_ptr<Store> MustOpen(const StoreOptions& options) {
  auto store = Store::Open(options);
  INFO(store.status().ToString());
  REQUIRE(store.ok());
  return std::move(store).value();
}

std::string PayloadOf(ChannelNumber channel, MessageId id, size_t size) {
  std::string payload = fmt::format("{}/{}/", channel, id);
  uint64_t state = channel * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(id);
  while (payload.size() < size) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    payload.push_back(static_cast<char>(state >> 56));
  }
  payload.resize(size);
  return payload;
}

ChannelRecord MakeChannel(ChannelNumber number, std::string name) {
  ChannelRecord channel;
  channel.number = number;
  channel.name = std::move(name);
  channel.created_at = 1'000'000;
  return channel;
}

ProducerRecord MakeProducer(ChannelNumber channel, uint64_t number, std::string name) {
  ProducerRecord producer;
  producer.channel = channel;
  producer.number = number;
  producer.name = std::move(name);
  producer.created_at = 1'000'000;
  producer.opened_at = 1'000'000;
  return producer;
}

ProducerResult ResultOf(const BatchRecord& batch) {
  return {batch.sequence, batch.first_id, batch.count, batch.append_time, batch.content};
}

Scribe::Scribe(Store& store) : recovered(store.TakeRecovered()), commit_(recovered.commit) {
  for (const RecoveredChannel& channel : recovered.channels) {
    next_ids_[channel.record.number] = channel.next_id;
    now = std::max(now, channel.last_append_time + 1000);
  }
}

Scribe& Scribe::Begin() {
  group_.Clear();
  group_.commit = ++commit_;
  return *this;
}

Scribe& Scribe::Batch(ChannelNumber channel, uint32_t count, size_t size) {
  MessageId& next = next_ids_.try_emplace(channel, 1).first->second;
  BatchBuilder builder;
  BatchRecord batch;
  batch.channel = channel;
  batch.first_id = next;
  batch.count = count;
  batch.append_time = now;
  for (uint32_t i = 0; i < count; ++i) builder.Add(PayloadOf(channel, next + i, size));
  batch.bytes = builder.Take();
  group_.batches.push_back(std::move(batch));
  next += count;
  now += 1000;
  return *this;
}

Scribe& Scribe::Produce(ChannelNumber channel, uint64_t producer, uint64_t sequence, uint32_t count,
                        size_t size) {
  Batch(channel, count, size);
  BatchRecord& batch = group_.batches.back();
  batch.producer = producer;
  batch.sequence = sequence;
  batch.content = ContentHash(batch.bytes);
  return *this;
}

Scribe& Scribe::Change(CatalogChange change) {
  group_.changes.push_back(std::move(change));
  return *this;
}

Status Scribe::Create(Store& store, ChannelNumber number, std::string name) {
  Begin().Change(PutChannel{MakeChannel(number, std::move(name))});
  return store.Write(group_);
}

Status Scribe::Append(Store& store, ChannelNumber channel, uint32_t count, size_t size) {
  Begin().Batch(channel, count, size);
  return store.Write(group_);
}

namespace {

void CheckBatch(ChannelNumber channel, const StoredBatch& batch, ReadBack* back) {
  BatchIterator messages(batch.bytes.view(), batch.first_id, batch.append_time);
  uint32_t count = 0;
  for (MessageView message; messages.Next(&message); ++count) {
    if (message.payload != PayloadOf(channel, message.id, message.payload.size())) {
      back->wrong =
          fmt::format("channel {}: message {} has another's payload", channel, message.id);
    }
    back->ids.push_back(message.id);
  }
  if (!messages.ok() || count != batch.count) {
    back->wrong = fmt::format("channel {}: batch {} is malformed", channel, batch.first_id);
  }
}

}  // namespace

ReadBack ReadAll(Store& store, ChannelNumber channel, MessageId from, MessageId end,
                 size_t max_bytes) {
  ReadBack back;
  while (from < end && back.wrong.empty()) {
    auto items = store.Read(channel, from, end, max_bytes);
    if (!items.ok()) {
      back.wrong = items.status().ToString();
      break;
    }
    if (items->empty()) break;
    for (const ReadItem& item : *items) {
      if (const auto* gap = std::get_if<Gap>(&item)) {
        if (gap->first < from || gap->last < gap->first) back.wrong = "a gap out of order";
        back.gaps.push_back(*gap);
        from = gap->last + 1;
        continue;
      }
      const auto& batch = std::get<StoredBatch>(item);
      if (batch.next_id() <= from) back.wrong = fmt::format("batch {} came twice", batch.first_id);
      CheckBatch(channel, batch, &back);
      from = batch.next_id();
    }
  }
  return back;
}

std::vector<MessageId> Ids(MessageId first, MessageId next) {
  std::vector<MessageId> ids;
  for (MessageId id = first; id < next; ++id) ids.push_back(id);
  return ids;
}

}  // namespace strata::storage
