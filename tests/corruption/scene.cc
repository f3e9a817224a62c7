#include "tests/corruption/scene.h"

#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/batch.h"
#include "tests/corruption/child.h"
#include "tests/support/fault_fs.h"

namespace strata::corruption {
namespace {

using storage::PutChannel;
using storage::PutProducer;
using storage::PutSubscription;
using storage::SealStratum;
using storage::Store;
using storage::WriteGroup;
using testing::FaultFileSystem;

constexpr const char* kPath = "/data/store";

void Must(const Status& status, const char* what) {
  if (!status.ok()) throw std::runtime_error(std::string(what) + ": " + status.ToString());
}

// Hex digits, so that a rewritten stratum is really compressed.
std::string Payload(ChannelNumber channel, MessageId id, size_t size) {
  std::string payload = fmt::format("{}/{}/", channel, id);
  uint64_t state = channel * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(id);
  while (payload.size() < size) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    payload.push_back("0123456789abcdef"[state >> 60]);
  }
  return payload;
}

// Fills a store, group by group.
class Author {
 public:
  Author(Store& store, Scene* scene) : store_(store), scene_(scene) {
    commit_ = store.TakeRecovered().commit;
  }

  void Change(storage::CatalogChange change) {
    WriteGroup group;
    group.commit = ++commit_;
    group.changes.push_back(std::move(change));
    Must(store_.Write(group), "writing a change");
  }
  void Changes(std::vector<storage::CatalogChange> changes) {
    WriteGroup group;
    group.commit = ++commit_;
    group.changes = std::move(changes);
    Must(store_.Write(group), "writing changes");
  }
  void CreateChannel(ChannelNumber number, const std::string& name, int64_t term) {
    storage::ChannelRecord channel;
    channel.number = number;
    channel.name = name;
    channel.created_at = now_;
    channel.next_producer = 2;
    channel.exclusive_term = term;
    Change(PutChannel{channel});
    storage::ProducerRecord producer;
    producer.channel = number;
    producer.number = 1;
    producer.name = "writer";
    producer.term = 3;
    producer.created_at = producer.opened_at = now_;
    Change(PutProducer{producer});
    next_[number] = 1;
  }
  void Append(ChannelNumber channel, uint32_t count, size_t size, bool produce) {
    MessageId& next = next_[channel];
    BatchBuilder builder;
    for (uint32_t i = 0; i < count; ++i) builder.Add(Payload(channel, next + i, size));
    storage::BatchRecord batch;
    batch.channel = channel;
    batch.first_id = next;
    batch.count = count;
    batch.append_time = now_ += 1000;
    batch.bytes = builder.Take();
    batch.content = ContentHash(batch.bytes);
    if (produce) {
      batch.producer = 1;
      batch.sequence = ++sequence_[channel];
    }
    scene_->written[{channel, next}] = {count, batch.append_time, batch.content};
    WriteGroup group;
    group.commit = ++commit_;
    next += count;
    group.batches.push_back(std::move(batch));
    Must(store_.Write(group), "writing a batch");
  }
  void Fill(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      Append(1, 5, 300, true);
      Append(2, 1, 1200, false);
      if (i % 8 == 0) Append(3, 2, 6000, i % 16 == 0);  // large bodies
    }
  }
  MessageId next(ChannelNumber channel) const { return next_.at(channel); }

 private:
  Store& store_;
  Scene* const scene_;
  uint64_t commit_ = 0;
  TimeMicros now_ = 1'700'000'000'000'000;
  std::map<ChannelNumber, MessageId> next_;
  std::map<ChannelNumber, uint64_t> sequence_;
};

void Rewrite(Store& store, Author* author, uint32_t stratum) {
  const auto rewritten = store.Rewrite({{stratum}, [](uint64_t) { return true; }});
  Must(rewritten.status(), "rewriting");
  if (rewritten->changes.empty()) throw std::runtime_error("nothing was rewritten");
  author->Changes(rewritten->changes);
}

void Subscribe(Author* author, ChannelNumber channel, const std::string& name, MessageId cursor) {
  storage::SubscriptionRecord subscription;
  subscription.channel = channel;
  subscription.name = name;
  subscription.cursor = cursor;
  subscription.created_at = subscription.active_at = 1'700'000'000'000'000;
  author->Change(PutSubscription{subscription});
}

void Populate(Store& store, Scene* scene, SceneKind kind) {
  Author author(store, scene);
  author.CreateChannel(1, "logs", 0);
  author.CreateChannel(2, "audit", 7);
  author.CreateChannel(3, "frames", 0);
  for (int stratum = 0; stratum < 4; ++stratum) {
    author.Fill(120);
    Subscribe(&author, 1, fmt::format("reader-{}", stratum), author.next(1) / 2);
    author.Change(SealStratum{});
  }
  author.Fill(40);
  Must(store.Sync(), "syncing");
  // The first stratum has lost its oldest pages, the second one is rewritten.
  author.Change(storage::TrimPages{1, author.next(1) / 10});
  Must(store.Sync(), "syncing");
  store.ForgetPages(1, author.next(1) / 10);
  const auto strata = store.DescribeStrata();
  Rewrite(store, &author, strata.at(1).number);
  Must(store.Sync(), "syncing");
  Must(store.DropEmptyStrata().status(), "dropping");
  if (kind == SceneKind::kRunning) author.Fill(60);
  Must(store.Sync(), "syncing");
  for (const ChannelNumber channel : {1, 2, 3}) scene->ends[channel] = author.next(channel);
  store.NoteAcknowledged({{1, author.next(1)}, {2, author.next(2)}, {3, author.next(3)}});
}

std::map<std::string, std::string> FilesOf(const FaultFileSystem& fs) {
  std::map<std::string, std::string> files;
  for (const std::string& path : fs.Files()) {
    files[path.substr(std::string(kPath).size() + 1)] = *fs.Contents(path);
  }
  return files;
}

// A copy of the disk at a moment when nothing is flushed in the background.
std::shared_ptr<FaultFileSystem> Settled(const FaultFileSystem& fs) {
  uint64_t before = 0;
  int quiet = 0;
  while (quiet < 20) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    quiet = fs.Mutations() == before ? quiet + 1 : 0;
    before = fs.Mutations();
  }
  return fs.Clone();
}

// What a reader gets is the expectation: trimmed pages are not in it.
void KeepReadable(Store& store, Scene* scene) {
  for (const auto& [channel, end] : scene->ends) {
    for (const storage::Page& page : store.Pages(channel)) {
      const auto first = scene->written.lower_bound({channel, page.first});
      const auto last = scene->written.lower_bound({channel, page.next});
      scene->batches.insert(first, last);
    }
  }
}

Scene Build(SceneKind kind) {
  Scene scene;
  const auto fs = FaultFileSystem::Create();
  fs->CreateDir("/data", rocksdb::IOOptions(), nullptr).PermitUncheckedError();
  storage::StoreOptions options = SceneOptions(kPath, fs);
  auto store = Store::Open(options);
  Must(store.status(), "creating");
  Populate(**store, &scene, kind);
  KeepReadable(**store, &scene);
  if (kind == SceneKind::kClosed) Must((*store)->Close(), "closing");
  const auto copy = Settled(*fs);
  scene.files = FilesOf(*copy);
  copy->ProcessKill();
  if (kind == SceneKind::kClosed) store->reset();
  options.file_system = copy;
  auto again = Store::Open(options);
  Must(again.status(), "opening");
  scene.catalog = DescribeCatalog((*again)->TakeRecovered());
  return scene;
}

void Put(std::string* out, std::string_view bytes) {
  out->append(fmt::format("{}\n", bytes.size())).append(bytes);
}

std::string Take(std::string_view* in) {
  const size_t line = in->find('\n');
  const size_t size = std::strtoull(std::string(in->substr(0, line)).c_str(), nullptr, 10);
  std::string bytes(in->substr(line + 1, size));
  in->remove_prefix(line + 1 + size);
  return bytes;
}

uint64_t TakeNumber(std::string_view* in) { return std::strtoull(Take(in).c_str(), nullptr, 10); }

void PutNumber(std::string* out, uint64_t number) { Put(out, fmt::format("{}", number)); }

std::string Encode(const Scene& scene) {
  std::string out;
  PutNumber(&out, scene.files.size());
  for (const auto& [path, bytes] : scene.files) {
    Put(&out, path);
    Put(&out, bytes);
  }
  PutNumber(&out, scene.written.size());
  for (const auto& [key, batch] : scene.written) {
    for (const uint64_t number : {key.first, static_cast<uint64_t>(key.second),
                                  uint64_t{batch.count}, static_cast<uint64_t>(batch.append_time),
                                  batch.content, uint64_t{scene.batches.contains(key)}}) {
      PutNumber(&out, number);
    }
  }
  PutNumber(&out, scene.ends.size());
  for (const auto& [channel, end] : scene.ends) {
    PutNumber(&out, channel);
    PutNumber(&out, static_cast<uint64_t>(end));
  }
  Put(&out, scene.catalog);
  return out;
}

Scene Decode(std::string_view in) {
  Scene scene;
  for (uint64_t left = TakeNumber(&in); left > 0; --left) {
    const std::string path = Take(&in);
    scene.files[path] = Take(&in);
  }
  for (uint64_t left = TakeNumber(&in); left > 0; --left) {
    const ChannelNumber channel = TakeNumber(&in);
    const auto first = static_cast<MessageId>(TakeNumber(&in));
    Batch& batch = scene.written[{channel, first}];
    batch.count = static_cast<uint32_t>(TakeNumber(&in));
    batch.append_time = static_cast<TimeMicros>(TakeNumber(&in));
    batch.content = TakeNumber(&in);
    if (TakeNumber(&in) != 0) scene.batches[{channel, first}] = batch;
  }
  for (uint64_t left = TakeNumber(&in); left > 0; --left) {
    const ChannelNumber channel = TakeNumber(&in);
    scene.ends[channel] = static_cast<MessageId>(TakeNumber(&in));
  }
  scene.catalog = Take(&in);
  return scene;
}

}  // namespace

storage::StoreOptions SceneOptions(const std::string& path,
                                   std::shared_ptr<rocksdb::FileSystem> file_system) {
  storage::StoreOptions options;
  options.path = path;
  options.page_size = 64u << 10;
  options.write_buffer = 768u << 10;
  options.separate_bytes = 4u << 10;
  options.block_cache = 1u << 20;
  options.lock_timeout = std::chrono::milliseconds(0);
  options.boot_id = "boot-1";
  options.file_system = std::move(file_system);
  return options;
}

std::string DescribeCatalog(const storage::Recovered& recovered) {
  std::string text;
  for (const auto& [record, next_id, last_append_time] : recovered.channels) {
    text += fmt::format(
        "channel {} {} created {} next {} truncated {} term {} '{}' producer {} last {}",
        record.number, record.name, record.created_at, next_id, record.truncated_through,
        record.exclusive_term, record.exclusive_holder, record.next_producer, last_append_time);
    for (const Gap& gap : record.lost) text += fmt::format(" lost {}..{}", gap.first, gap.last);
    text += "\n";
  }
  for (const auto& each : recovered.subscriptions) {
    text += fmt::format("subscription {} {} cursor {} created {} seeks {}\n", each.channel,
                        each.name, each.cursor, each.created_at, each.seeks);
  }
  for (const auto& [record, results] : recovered.producers) {
    text += fmt::format("producer {} {} {} term {}", record.channel, record.number, record.name,
                        record.term);
    for (const auto& each : results) {
      text += fmt::format(" {}:{}+{}/{:x}", each.sequence, each.first_id, each.count, each.content);
    }
    text += "\n";
  }
  return text;
}

const Scene& GetScene(SceneKind kind) {
  static std::map<SceneKind, Scene> scenes;
  const auto found = scenes.find(kind);
  if (found != scenes.end()) return found->second;
  const ChildEnd end = InChild([kind] { return Encode(Build(kind)); }, std::chrono::seconds(60));
  if (!end.ok()) throw std::runtime_error("building a scene: " + end.Describe());
  return scenes.emplace(kind, Decode(end.answer)).first->second;
}

}  // namespace strata::corruption
