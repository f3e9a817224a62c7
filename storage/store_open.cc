// Opening and closing: whose directory it is, the lock, RocksDB, and the order in which all of it is let go.
#include <fmt/format.h>

#include "storage/files.h"
#include "storage/manifest.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

std::string DatabasePath(const std::string& store) { return store + "/" + kDatabaseFolder; }

}  // namespace

Store::Impl::Impl(StoreOptions options)
    : options_(std::move(options)),
      latch_(std::make_shared<FailLatch>(options_.log)),
      base_fs_(options_.file_system ? options_.file_system : rocksdb::FileSystem::Default()),
      db_path_(DatabasePath(options_.path)),
      deleter_(options_.clock) {
  scratch_fs_ = NewLatchedFileSystem(base_fs_, latch_, "", OnFailure::kReport);
  kept_reads_ = std::make_shared<KeptReads>(NewPacedFileSystem(
      NewLatchedFileSystem(base_fs_, latch_, db_path_ + "/" + kLockFile), scratch_fs_, &deleter_));
  fs_ = kept_reads_;
}

Store::Impl::~Impl() {
  if (open_) {
    const Status status = Close();
    if (!status.ok()) options_.log.Error("closing {}: {}", options_.path, status.ToString());
  } else {
    ReleaseDatabase();
  }
}

Status Store::Impl::Open() {
  const Status opened = TryToOpen();
  if (opened.reason() != Reason::CORRUPTION && opened.reason() != Reason::ACKNOWLEDGED_DATA_LOST) {
    return opened;
  }
  const bool lost = opened.reason() == Reason::ACKNOWLEDGED_DATA_LOST;
  return Status(opened.reason(),
                fmt::format("{}. Nothing was changed. Restore a backup; or let `strata repair {}` "
                            "save what is readable into another directory{}; `strata verify {}` "
                            "lists what is damaged",
                            opened.message(), options_.path,
                            lost ? "; or start once with --accept-loss" : "", options_.path));
}

Status Store::Impl::TryToOpen() {
  STRATA_RETURN_IF_ERROR(ClaimDirectory());
  STRATA_RETURN_IF_ERROR(DeleteScratchFiles());
  STRATA_RETURN_IF_ERROR(OpenDatabase());
  STRATA_RETURN_IF_ERROR(Recover());
  if (!identity_.ready) STRATA_RETURN_IF_ERROR(FinishCreation());
  if (identity_.format < kStoreFormat) {
    // Before the first row that an older version would take for damage.
    options_.log.Info("{}: from format {} to {}; older versions do not open it any more",
                      options_.path, identity_.format, kStoreFormat);
    identity_.format = kStoreFormat;
    STRATA_RETURN_IF_ERROR(WriteIdentity(*fs_, options_.path, identity_));
  }
  open_ = true;
  return Status::Ok();
}

Status Store::Impl::ClaimDirectory() {
  const std::string& path = options_.path;
  STRATA_ASSIGN_OR_RETURN(DirectoryState state, InspectDirectory(*base_fs_, path, &identity_));
  if (state != DirectoryState::kStore && !options_.create_if_missing) {
    return Status(Reason::IO_ERROR, path + " holds no store and none is to be created");
  }
  if (state == DirectoryState::kMissing) {
    const std::string parent = ParentOf(path);
    if (!IsDirectory(*base_fs_, parent)) {
      return Status(
          Reason::IO_ERROR,
          fmt::format("cannot create {}: {} is not a directory; create it first", path, parent));
    }
    STRATA_RETURN_IF_ERROR(CreateDirectory(*fs_, path));
    STRATA_RETURN_IF_ERROR(SyncDirectory(*fs_, parent));
  }
  const bool complete = state == DirectoryState::kStore && identity_.ready;
  if (complete && !IsDirectory(*base_fs_, db_path_)) {
    return Status(Reason::CORRUPTION,
                  fmt::format("{} is a store whose folder {} is missing; restore it from a backup",
                              path, db_path_));
  }
  if (!complete) STRATA_RETURN_IF_ERROR(CreateDirectory(*fs_, db_path_));
  STRATA_ASSIGN_OR_RETURN(lock_, StoreLock::Acquire(base_fs_, db_path_ + "/" + kLockFile,
                                                    options_.lock_timeout, options_.clock));
  // Another process may have created the store, or finished doing so, while this one waited.
  STRATA_ASSIGN_OR_RETURN(state, InspectDirectory(*base_fs_, path, &identity_));
  if (state != DirectoryState::kStore) {
    identity_ = {kStoreFormat, NewStoreId(), /*ready=*/false};
    STRATA_RETURN_IF_ERROR(WriteIdentity(*fs_, path, identity_));
  }
  return Status::Ok();
}

Status Store::Impl::ListFamilies(std::vector<rocksdb::ColumnFamilyDescriptor>* families) const {
  std::vector<std::string> names = {rocksdb::kDefaultColumnFamilyName};
  if (identity_.ready) {
    names.clear();
    STRATA_RETURN_IF_ERROR(FromRocks(rocksdb::DB::ListColumnFamilies(rocks_.db, db_path_, &names),
                                     "reading the list of strata of " + db_path_));
  }
  for (const std::string& name : names) {
    const bool is_catalog = name == rocksdb::kDefaultColumnFamilyName;
    families->emplace_back(name, is_catalog ? rocks_.catalog : rocks_.stratum);
  }
  return Status::Ok();
}

Status Store::Impl::OpenFamilies(const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                                 std::vector<rocksdb::ColumnFamilyHandle*>* handles) {
  Status unanswered;
  if (identity_.ready) {
    ReplayLimits limits;
    STRATA_RETURN_IF_ERROR(Rehearse(families, &limits));
    replay_ = NewReplay(families, limits, OnBody::kWriteAgain, &unanswered);
    rocks_.db.wal_filter = replay_.get();
  }
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(rocks_.db, db_path_, families, handles, &db);
  db_.reset(db);
  rocks_.db.wal_filter = nullptr;  // has done its work
  if (unanswered.ok()) return FromRocks(status, "opening the database " + db_path_);
  for (rocksdb::ColumnFamilyHandle* handle : *handles) {
    db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  handles->clear();
  db_.reset();
  return unanswered;
}

Status Store::Impl::OpenDatabase() {
  bodies_ = std::make_unique<BodyWriter>(fs_, db_path_);
  rocks_ = MakeRocksSetup(options_, fs_, latch_, [this] {
    if (const Status synced = bodies_->Sync(); !synced.ok()) latch_->Fail(synced.message());
  });
  if (!identity_.ready) {
    // A creation that was interrupted: nothing was ever acknowledged from it.
    bool exists = false;
    STRATA_ASSIGN_OR_RETURN(const auto leftovers, ListDirectory(*base_fs_, db_path_, &exists));
    for (const std::string& name : leftovers) {
      if (name == kLockFile) continue;
      const std::string file = db_path_ + "/" + name;
      STRATA_RETURN_IF_ERROR(FromRocks(fs_->DeleteFile(file, rocksdb::IOOptions(), nullptr),
                                       "deleting what an interrupted creation left, " + file));
    }
    rocks_.db.create_if_missing = true;
  }
  if (identity_.ready) STRATA_RETURN_IF_ERROR(CheckCurrent(*base_fs_, db_path_));
  // Replay makes rows durable; a killed process may have left their bodies to the operating system.
  STRATA_RETURN_IF_ERROR(bodies_->SyncAll());
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  Status listed = ListFamilies(&families);
  if (listed.reason() == Reason::CORRUPTION) {
    STRATA_ASSIGN_OR_RETURN(const std::optional<uint64_t> cut,
                            CutTornManifest(options_, fs_, latch_, db_path_));
    if (cut) {
      options_.log.Warning(
          "{}: the last {} bytes of the MANIFEST were torn by a power cut and are cut off",
          db_path_, *cut);
      listed = ListFamilies(&families);
    }
  }
  STRATA_RETURN_IF_ERROR(listed);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  Status opened = OpenFamilies(families, &handles);
  if (!opened.ok() && identity_.ready && !latch_->failed()) {
    STRATA_RETURN_IF_ERROR(SetBrokenStrataAside(opened, families));
    families.clear();
    STRATA_RETURN_IF_ERROR(ListFamilies(&families));
    opened = OpenFamilies(families, &handles);
  }
  STRATA_RETURN_IF_ERROR(opened);
  if (replay_ && replay_->without_body()) {
    options_.log.Warning(
        "{}: a large message of group {} was never synced; that group and what follows, of which "
        "nobody was told, are "
        "dropped",
        db_path_, *replay_->without_body());
  }
  if (replay_ && replay_->behind_hole()) {
    options_.log.Warning(
        "{}: the log goes on with group {} after group {}; what follows was never synced and is "
        "dropped",
        db_path_, *replay_->behind_hole(), replay_->last());
  }
  catalog_family_ = db_->DefaultColumnFamily();
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    uint32_t number = 0;
    if (ParseStratumName(handle->GetName(), &number)) {
      found_strata_.emplace(number, handle);
      continue;
    }
    if (handle->GetName() != rocksdb::kDefaultColumnFamilyName) {
      options_.log.Warning("{}: the column family '{}' is not known and left alone", db_path_,
                           handle->GetName());
    }
    other_families_.push_back(handle);
  }
  DeleteStrayBodies();
  return Status::Ok();
}

// Of strata that were dropped just before the end of the last run.
void Store::Impl::DeleteStrayBodies() {
  bool exists = false;
  const auto names = ListDirectory(*base_fs_, db_path_, &exists);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    uint32_t stratum = 0;
    if (!ParseBodyName(name, &stratum) || found_strata_.contains(stratum)) continue;
    scratch_fs_->DeleteFile(db_path_ + "/" + name, rocksdb::IOOptions(), nullptr)
        .PermitUncheckedError();
  }
}

Status Store::Impl::FinishCreation() {
  // The format row in a table file: not even a lost log makes this look like another database.
  STRATA_RETURN_IF_ERROR(
      FromRocks(db_->Flush(rocksdb::FlushOptions(), catalog_family_), "writing the first catalog"));
  identity_.ready = true;
  STRATA_RETURN_IF_ERROR(WriteIdentity(*fs_, options_.path, identity_));
  options_.log.Info("created the store {} ({})", options_.path, identity_.id);
  return Status::Ok();
}

Status Store::Impl::Close() {
  if (!open_) return Status::Ok();
  open_ = false;
  Status status = latch_->failed() ? latch_->status() : MarkClean();
  // Whatever went wrong above, everything is let go.
  ReleaseDatabase();
  if (status.ok()) options_.log.Info("closed the store {}", options_.path);
  return status;
}

Status Store::Impl::MarkClean() {
  // Nothing may seal or create while the last state is written.
  maintenance_->Stop();
  std::vector<rocksdb::ColumnFamilyHandle*> families = {catalog_family_};
  if (current_) families.push_back(current_->handle);
  rocksdb::FlushOptions flush;
  flush.allow_write_stall = true;
  STRATA_RETURN_IF_ERROR(bodies_->Sync());
  STRATA_RETURN_IF_ERROR(FromRocks(db_->Flush(flush, families), "flushing " + db_path_));
  rocksdb::WriteBatch batch;
  rows_->PutRun(&batch, {boot_id_, options_.sync, /*clean=*/true, options_.clock->WallMicros()});
  rows_->PutCommit(&batch, written_commit_);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  STRATA_RETURN_IF_ERROR(FromRocks(db_->Write(synced, &batch), "marking the end of " + db_path_));
  if (latch_->failed()) return latch_->status();
  STRATA_RETURN_IF_ERROR(watermark_->NoteDurable(written_commit_));
  return watermark_->Sync();
}

void Store::Impl::ReleaseDatabase() {
  // First what may still hold a stratum; the others are then released on this thread.
  deleter_.Stop();
  if (maintenance_) maintenance_->Stop();
  if (releasing_) releasing_->Stop();
  current_.reset();
  sealed_.reset();
  {
    MutexLock lock(space_mu_);
    rewritten_.reset();
  }
  strata_.reset();
  maintenance_.reset();
  releasing_.reset();
  if (db_) {
    for (const auto& [number, handle] : found_strata_) {
      db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
    }
    for (rocksdb::ColumnFamilyHandle* handle : other_families_) {
      db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
    }
    const rocksdb::Status status = db_->Close();
    if (!status.ok()) options_.log.Warning("closing {}: {}", db_path_, status.ToString());
  }
  found_strata_.clear();
  other_families_.clear();
  db_.reset();
  bodies_.reset();
  watermark_.reset();
  lock_.reset();
}

}  // namespace strata::storage
