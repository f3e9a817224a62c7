// RawDatabase: a closed store's RocksDB, to plant damage in its rows.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/codec.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace strata::storage {

class RawDatabase {
 public:
  explicit RawDatabase(const std::shared_ptr<testing::FaultFileSystem>& fs)
      : env_(rocksdb::NewCompositeEnv(fs)) {
    rocksdb::Options options;
    options.env = env_.get();
    options.max_open_files = 100;
    options.compression =
        rocksdb::kNoCompression;  // RocksDB's default is one that Strata never uses
    const std::string path = std::string(kStorePath) + "/db";
    std::vector<std::string> names;
    REQUIRE(rocksdb::DB::ListColumnFamilies(options, path, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, options);
    rocksdb::DB* db = nullptr;
    REQUIRE(rocksdb::DB::Open(options, path, families, &handles_, &db).ok());
    db_.reset(db);
  }
  ~RawDatabase() {
    for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }

  // Of the batch of `channel` that starts at `id`, in whichever stratum it is.
  void Change(ChannelNumber channel, MessageId id,
              const std::function<void(std::string*)>& change) {
    std::string value;
    auto* family = Find(channel, id, &value);
    change(&value);
    REQUIRE(db_->Put({}, family, Key(channel, id), value).ok());
  }
  void Delete(ChannelNumber channel, MessageId id) {
    std::string value;
    auto* family = Find(channel, id, &value);
    REQUIRE(db_->Delete({}, family, Key(channel, id)).ok());
  }
  void DropFamily(const std::string& name) {
    for (auto* handle : handles_) {
      if (handle->GetName() == name) REQUIRE(db_->DropColumnFamily(handle).ok());
    }
  }
  // Puts the bytes of one batch in the place of another.
  void Copy(ChannelNumber channel, MessageId id, ChannelNumber to_channel, MessageId to_id) {
    std::string value;
    Find(channel, id, &value);
    std::string replaced;
    auto* family = Find(to_channel, to_id, &replaced);
    REQUIRE(db_->Put({}, family, Key(to_channel, to_id), value).ok());
  }

  void PutCatalogRow(const std::string& key, const std::string& value) {
    REQUIRE(db_->Put({}, key, value).ok());
  }
  void DeleteCatalogRow(const std::string& key) { REQUIRE(db_->Delete({}, key).ok()); }
  std::map<std::string, std::string> CatalogRows() {
    std::map<std::string, std::string> rows;
    const std::unique_ptr<rocksdb::Iterator> row(db_->NewIterator({}));
    for (row->SeekToFirst(); row->Valid(); row->Next())
      rows[row->key().ToString()] = row->value().ToString();
    return rows;
  }

  // In how many families the batch is.
  int Copies(ChannelNumber channel, MessageId id) {
    int copies = 0;
    std::string value;
    for (auto* handle : handles_) {
      copies +=
          handle->GetName() != "default" && db_->Get({}, handle, Key(channel, id), &value).ok();
    }
    return copies;
  }
  std::vector<std::string> Families() const {
    std::vector<std::string> names;
    for (const auto* handle : handles_) names.push_back(handle->GetName());
    return names;
  }

 private:
  static std::string Key(ChannelNumber channel, MessageId id) {
    const MessageKey key = EncodeMessageKey(channel, id);
    return std::string(key.data(), key.size());
  }

  rocksdb::ColumnFamilyHandle* Find(ChannelNumber channel, MessageId id, std::string* value) {
    for (auto* handle : handles_) {
      if (handle->GetName() != "default" && db_->Get({}, handle, Key(channel, id), value).ok())
        return handle;
    }
    FAIL("no batch of channel " << channel << " at " << id);
    return nullptr;
  }

  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

}  // namespace strata::storage
