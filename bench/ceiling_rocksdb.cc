// RocksDB by itself, as Strata's strata use it and without anything around it.
#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>

#include "bench/ceiling.h"

namespace strata::bench {
namespace {

constexpr uint64_t kChannel = 1;

// A channel and a number, big-endian, so that they sort.
using Key = std::array<char, 16>;
Key KeyOf(uint64_t channel, uint64_t number) {
  Key key;
  for (size_t i = 0; i < 8; ++i) {
    key[i] = static_cast<char>(channel >> (56 - 8 * i));
    key[8 + i] = static_cast<char>(number >> (56 - 8 * i));
  }
  return key;
}
rocksdb::Slice SliceOf(const Key& key) { return {key.data(), key.size()}; }

void DieUnlessRocksOk(const rocksdb::Status& status) {
  if (!status.ok()) Die("RocksDB: " + status.ToString());
}

// Those of storage/rocks.cc that bear upon speed, with the shipped 64 MiB of limits.writeBuffer.
rocksdb::Options TunedOptions() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.allow_concurrent_memtable_write = false;
  options.enable_write_thread_adaptive_yield = false;
  options.max_background_jobs = 3;
  options.bytes_per_sync = 1u << 20;
  options.stats_dump_period_sec = 0;
  options.disable_auto_compactions = true;
  options.level0_slowdown_writes_trigger = 1 << 30;
  options.level0_stop_writes_trigger = 1 << 30;
  options.soft_pending_compaction_bytes_limit = 0;
  options.hard_pending_compaction_bytes_limit = 0;
  options.write_buffer_size = (64u << 20) / 3;
  options.max_write_buffer_number = 3;
  options.compression = rocksdb::kNoCompression;
  options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(8));
  rocksdb::BlockBasedTableOptions table;
  table.block_size = 64u << 10;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

class Measured {
 public:
  Measured(const std::string& path, size_t size, uint64_t count) : payloads_(size), count_(count) {
    rocksdb::DB* db = nullptr;
    DieUnlessRocksOk(rocksdb::DB::Open(TunedOptions(), path, &db));
    db_.reset(db);
  }

  // Seconds until everything is written and read.
  double Run() {
    const auto start = SteadyClock::now();
    std::thread reader([this] { ReadAll(); });
    WriteAll();
    reader.join();
    return SecondsSince(start);
  }

 private:
  void WriteAll() {
    rocksdb::WriteBatch batch;
    for (uint64_t i = 0; i < count_; ++i) {
      batch.Clear();
      const std::string_view payload = payloads_.Make(i);
      const Key key = KeyOf(kChannel, i);
      DieUnlessRocksOk(batch.Put(SliceOf(key), {payload.data(), payload.size()}));
      DieUnlessRocksOk(db_->Write(rocksdb::WriteOptions(), &batch));
      written_.store(i + 1, std::memory_order_release);
      written_.notify_one();
    }
  }

  // What has come since the last look is read with one iterator: nothing is copied.
  void ReadAll() {
    const Key end = KeyOf(kChannel + 1, 0);
    const rocksdb::Slice upper_bound = SliceOf(end);
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &upper_bound;
    for (uint64_t next = 0; next < count_;) {
      written_.wait(next, std::memory_order_acquire);
      const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options));
      const Key from = KeyOf(kChannel, next);
      for (it->Seek(SliceOf(from)); it->Valid(); it->Next(), ++next) {
        const rocksdb::Slice value = it->value();
        if (Payloads::NumberOf({value.data(), value.size()}) != next) {
          Die(fmt::format("RocksDB: value {} is not where it was written", next));
        }
      }
      DieUnlessRocksOk(it->status());
    }
  }

  Payloads payloads_;
  const uint64_t count_;
  std::unique_ptr<rocksdb::DB> db_;
  std::atomic<uint64_t> written_ = 0;
};

}  // namespace

double RawRocksDb(const std::string& directory, size_t size, uint64_t count) {
  const TemporaryDirectory folder(directory);
  Measured measured(folder.path(), size, count);
  const double megabytes = static_cast<double>(size) * static_cast<double>(count) / 1e6;
  return megabytes / measured.Run();
}

}  // namespace strata::bench
