// The promise, tried: whatever instant the power goes, what a Sync() has covered is there afterwards, what is there is
// a prefix of what was written, catalog and messages agree, and no id is given out twice.
//
// Each seed is one history of random groups over many channels, with Write() and Sync() on two threads, tiny pages,
// strata and write buffers, and the power cut at a random call that changes the disk: also during creation, recovery
// and closing. STRATA_POWER_CUT_SEEDS sets how many seeds are run (default 200), STRATA_POWER_CUT_FIRST the first.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/storage/model.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {
namespace {

using testing::FaultFileSystem;

constexpr int kRounds = 3;           // lives of the store per seed
constexpr int kMaxGroups = 120;      // written in one life
constexpr uint64_t kMaxCutAt = 500;  // about as many calls as a life makes
constexpr uint64_t kProducers = 3;   // of each channel
constexpr uint64_t kNever = ~uint64_t{0} / 2;

// Files of one kind are never synced, although they are told so: ".log" is what a Store without SyncWAL would be,
// ".body" one that does not sync its bodies.
class NoSync final : public rocksdb::FileSystemWrapper {
 public:
  NoSync(std::shared_ptr<rocksdb::FileSystem> base, std::string suffix)
      : FileSystemWrapper(std::move(base)), suffix_(std::move(suffix)) {}
  const char* Name() const override { return "NoSync"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* dbg) override {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status = target()->NewWritableFile(path, options, &file, dbg);
    if (!status.ok() || !path.ends_with(suffix_)) {
      *result = std::move(file);
    } else {
      *result = std::make_unique<File>(std::move(file));
    }
    return status;
  }

 private:
  class File final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;
    rocksdb::IOStatus Sync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
      return rocksdb::IOStatus::OK();
    }
    rocksdb::IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override {
      return rocksdb::IOStatus::OK();
    }
  };

  const std::string suffix_;
};

class History {
 public:
  // `unsynced`: the suffix of files whose syncs are ignored; empty: of none.
  History(uint64_t seed, const std::string& unsynced) : seed_(seed), random_(seed) {
    FaultFileSystem::Options disk;
    disk.file_sync_keeps_name = seed % 3 == 0;
    fs_ = FaultFileSystem::Create(disk);
    fs_->CreateDir("/data", rocksdb::IOOptions(), nullptr).PermitUncheckedError();
    fs_->SyncAll();
    options_ = TinyOptions(fs_);
    options_.write_buffer = (48u << 10) << (seed % 4);
    options_.sync = seed % 5 == 4 ? SyncPolicy::kNone : SyncPolicy::kAlways;
    // Of every other seed nearly all bodies lie in files of their own, of the rest only the largest.
    options_.separate_bytes = seed % 2 == 0 ? 100 : 4000;
    if (!unsynced.empty()) options_.file_system = std::make_shared<NoSync>(fs_, unsynced);
  }

  // What was violated, or nothing.
  std::string Run() {
    for (round_ = 0; round_ <= kRounds && wrong_.empty(); ++round_) {
      const bool last = round_ == kRounds;
      if (!last && Below(3) == 0) fs_->CutAfterNextWrites(1 + Below(150));
      auto opened = Store::Open(options_);
      if (!fs_->PowerIsOff()) fs_->CutAfterNextWrites(kNever);
      if (opened.ok()) {
        const std::unique_ptr<Store> store = std::move(opened).value();
        // Off again already: what is there will be seen at the next open.
        if (!fs_->PowerIsOff()) CheckRecovered(*store);
        if (wrong_.empty() && !last) Live(*store);
      } else if (!fs_->PowerIsOff()) {
        return Wrong("the store does not open: " + opened.status().ToString());
      }
      if (last) break;
      fs_->CutAfterNextWrites(0);
      fs_->PowerCut(seed_ * 100 + static_cast<uint64_t>(round_));
      options_.boot_id = fmt::format("boot-{}", round_ + 2);
    }
    return wrong_;
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }

  std::string Wrong(const std::string& what) {
    wrong_ = fmt::format("seed {} round {}: {}", seed_, round_, what);
    return wrong_;
  }

  void CheckRecovered(Store& store) {
    const Recovered recovered = store.TakeRecovered();
    if (recovered.commit < synced_ || recovered.commit > tip_.commit()) {
      Wrong(fmt::format("recovered up to group {}, synced up to {}, written up to {}",
                        recovered.commit, synced_, tip_.commit()));
      return;
    }
    // The groups up to the recovered one, and nothing else, are what there is.
    for (const WriteGroup& group : unsynced_) {
      if (group.commit <= recovered.commit) durable_.Apply(group);
    }
    unsynced_.clear();
    const bool may_jump = options_.sync == SyncPolicy::kNone;
    if (const std::string wrong = durable_.Adopt(store, recovered, may_jump); !wrong.empty()) {
      Wrong(fmt::format("{} (recovered up to group {}, synced up to {}, written up to {})", wrong,
                        recovered.commit, synced_, tip_.commit()));
      return;
    }
    for (const auto& [channel, next] : tip_.next_ids()) {
      const MessageId now = durable_.next_id(channel);
      // Without sync, what Write() acknowledged may be gone, but its ids must not come again.
      if (may_jump && now != 0 && now < next) {
        Wrong(fmt::format("channel {}: ids go on at {} although {} was given out", channel, now,
                          next - 1));
        return;
      }
    }
    tip_ = durable_;
    synced_ = tip_.commit();
  }

  // Writes until the power goes, or for a while.
  void Live(Store& store) {
    if (fs_->PowerIsOff()) return;
    fs_->CutAfterNextWrites(1 + Below(kMaxCutAt));
    std::atomic<uint64_t> written{tip_.commit()};
    std::atomic<uint64_t> synced{synced_};
    std::atomic<bool> stop{false};
    std::thread syncer([&] {
      while (!stop) {
        const uint64_t commit = written;
        if (!store.Sync().ok()) break;
        synced = commit;
      }
    });
    for (int i = 0; i < kMaxGroups; ++i) {
      WriteGroup group = RandomGroup();
      tip_.Apply(group);
      unsynced_.push_back(group);
      if (!store.Write(group).ok()) break;
      written = group.commit;
      if (Below(16) == 0) store.NoteAcknowledged({{1, tip_.next_id(1)}});
    }
    stop = true;
    syncer.join();
    if (Below(4) == 0 && store.Close().ok()) synced = written.load();
    synced_ = synced;
  }

  WriteGroup RandomGroup() {
    WriteGroup group;
    group.commit = tip_.commit() + 1;
    Model next = tip_;  // batches of one group build on each other
    const uint64_t batches = tip_.channels().empty() ? 0 : Below(6);
    for (uint64_t i = 0; i < batches; ++i) {
      const size_t size = Below(20) == 0 ? 6000 : Below(500);
      group.batches.push_back(
          next.NextBatch(next.RandomChannel(random_), 1 + static_cast<uint32_t>(Below(3)), size));
      if (Below(2) == 0) MakeProduced(next, &group);
      next.ApplyBatch(group.batches.back());
    }
    if (tip_.channels().size() < 3 || Below(12) == 0) {
      const ChannelNumber number = next_channel_++;
      ChannelRecord channel = MakeChannel(number, fmt::format("channel-{}", number));
      channel.next_producer = kProducers + 1;
      group.changes.push_back(PutChannel{channel});
    } else if (Below(10) == 0) {
      group.changes.push_back(
          PutSubscription{{next.RandomChannel(random_), fmt::format("s{}", Below(3)),
                           static_cast<MessageId>(1 + Below(100)), 1, 2}});
    } else if (Below(40) == 0) {
      group.changes.push_back(DropChannel{next.RandomChannel(random_)});
    }
    return group;
  }

  // The batch just added becomes one of a producer, which may be new.
  void MakeProduced(const Model& next, WriteGroup* group) {
    BatchRecord& batch = group->batches.back();
    batch.producer = 1 + Below(kProducers);
    batch.sequence = next.NextSequence(batch.channel, batch.producer);
    batch.content = ContentHash(batch.bytes);
    const bool known = tip_.HasProducer(batch.channel, batch.producer);
    if (known && Below(10) != 0) return;
    ProducerRecord producer =
        MakeProducer(batch.channel, batch.producer, fmt::format("p{}", batch.producer));
    producer.term = static_cast<int64_t>(batch.sequence);
    group->changes.push_back(PutProducer{producer});
    if (known && Below(3) == 0) {
      group->changes.push_back(DropProducer{batch.channel, batch.producer});
    }
  }

  const uint64_t seed_;
  std::mt19937_64 random_;
  std::shared_ptr<FaultFileSystem> fs_;
  StoreOptions options_;
  int round_ = 0;
  std::string wrong_;

  Model durable_;                     // at the last recovery
  Model tip_;                         // with everything written since
  std::vector<WriteGroup> unsynced_;  // since the last recovery
  uint64_t synced_ = 0;               // groups up to it must be found again
  ChannelNumber next_channel_ = 1;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST_CASE("power cuts at random instants lose nothing that was synced", "[power-cut]") {
  const uint64_t first = FromEnvironment("STRATA_POWER_CUT_FIRST", 1);
  const uint64_t seeds = FromEnvironment("STRATA_POWER_CUT_SEEDS", 200);
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const std::string wrong = History(seed, "").Run();
    INFO(wrong);
    REQUIRE(wrong.empty());
  }
}

TEST_CASE("a store that does not sync its log or its bodies is found out by the power cuts",
          "[power-cut]") {
  const std::string unsynced = GENERATE(".log", ".body");
  std::string wrong;
  uint64_t seed = 1;
  for (; wrong.empty() && seed <= 20; ++seed) wrong = History(seed, unsynced).Run();
  INFO("no violation in " << seed - 1 << " seeds");
  REQUIRE_FALSE(wrong.empty());
}

}  // namespace
}  // namespace strata::storage
