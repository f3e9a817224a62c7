// What a repair reads: the catalog and the batches of a damaged store, from whatever files are there. Internal to
// storage; the story is in repair.h.
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/bodies.h"
#include "storage/catalog.h"
#include "storage/directory.h"
#include "storage/salvage.h"
#include "storage/watermark.h"

namespace strata::storage {

// An intact batch, with its body.
struct SalvagedBatch {
  BatchView row;
  Buffer body;
};

// One thread.
class RepairSource {
 public:
  using Problem = std::function<void(std::string where, std::string what)>;

  RepairSource(std::shared_ptr<rocksdb::FileSystem> fs, std::string path, Problem problem)
      : fs_(std::move(fs)),
        path_(std::move(path)),
        db_path_(path_ + "/" + kDatabaseFolder),
        problem_(std::move(problem)) {}

  // Reads everything but the batches in table files. An error is one of the disk.
  Status Open();

  const std::optional<Identity>& identity() const { return identity_; }
  const std::optional<WatermarkContents>& watermark() const { return watermark_; }
  const Catalog& catalog() const { return catalog_; }
  // No row of it is missing.
  bool catalog_whole() const { return catalog_whole_; }

  // Calls `take` for each intact batch in the order of channels and ids; of several under one key for the one in the
  // stratum that its page is in, or else for any. `take` ends it by an error.
  Status ForEachBatch(const std::function<Status(const SalvagedBatch&)>& take);

 private:
  struct Table {
    uint64_t number = 0;
    std::string name;
    TableLayout layout;
    uint32_t stratum = 0;  // 0: unknown
    bool catalog = false;
  };
  // The newest version of a row.
  struct Version {
    uint64_t sequence = 0;
    bool deleted = false;
    std::string value;
  };
  using Rows = std::map<std::string, Version>;
  class Cursor;

  void ReadIdentity();
  void ReadWatermark();
  void ReadManifestFile(const std::vector<std::string>& names);
  void ReadTables(const std::vector<std::string>& names);
  void ReadCatalogRows(const Table& table, std::string_view file, Rows* rows);
  void ReadLogs(const std::vector<std::string>& names, Rows* rows);
  void CheckListedFiles();
  void BuildCatalog(Rows rows);
  void AddVersion(Rows* rows, std::string_view key, uint64_t sequence, bool deleted,
                  std::string_view value) const;
  bool IsListed(const Table& table) const;
  Result<bool> TakeBest(std::string_view key, std::vector<std::pair<uint32_t, std::string>> values,
                        const std::function<Status(const SalvagedBatch&)>& take);

  const std::shared_ptr<rocksdb::FileSystem> fs_;
  const std::string path_;
  const std::string db_path_;
  const Problem problem_;

  std::optional<Identity> identity_;
  std::optional<WatermarkContents> watermark_;
  std::optional<ManifestContents> manifest_;  // only a whole one
  std::vector<Table> tables_;
  // Of the catalog, from table files: those that the MANIFEST lists, and all.
  Rows listed_rows_;
  Rows all_rows_;
  std::map<std::string, std::string> log_batches_;  // by key: rows of batches in logs
  bool catalog_damaged_ = false;  // a block, table file or record that may have held rows of it
  Catalog catalog_;
  bool catalog_whole_ = false;
  std::map<uint32_t, std::unique_ptr<BodyReader>> bodies_;
};

}  // namespace strata::storage
