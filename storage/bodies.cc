#include "storage/bodies.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/files.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

constexpr std::string_view kSuffix = ".body";
// Pieces smaller than this are gathered into one write; larger ones are worth a call of their own.
constexpr size_t kGather = 64u << 10;

}  // namespace

std::string BodyPath(const std::string& db_path, uint32_t stratum) {
  return fmt::format("{}/{}{}", db_path, StratumName(stratum), kSuffix);
}

bool ParseBodyName(std::string_view name, uint32_t* stratum) {
  if (!name.ends_with(kSuffix)) return false;
  name.remove_suffix(kSuffix.size());
  return ParseStratumName(name, stratum);
}

Result<rocksdb::FSRandomAccessFile*> BodyReader::File() const {
  MutexLock lock(mu_);
  if (!file_) {
    const rocksdb::IOStatus opened =
        fs_->NewRandomAccessFile(path_, rocksdb::FileOptions(), &file_, nullptr);
    if (opened.IsNotFound() || opened.IsPathNotFound()) {
      return Status(Reason::CORRUPTION, path_ + " is missing");
    }
    STRATA_RETURN_IF_ERROR(FromRocks(opened, "opening " + path_));
  }
  return file_.get();
}

Result<Buffer> BodyReader::Read(const BodyReference& where) const {
  STRATA_ASSIGN_OR_RETURN(rocksdb::FSRandomAccessFile* const file, File());
  // Not a std::string: filling a megabyte with zeros first would cost a third of the read.
  const std::shared_ptr<char[]> bytes = std::make_shared_for_overwrite<char[]>(where.length);
  rocksdb::Slice read;
  const rocksdb::IOStatus status =
      file->Read(where.offset, where.length, rocksdb::IOOptions(), &read, bytes.get(), nullptr);
  STRATA_RETURN_IF_ERROR(FromRocks(status, "reading " + path_));
  if (read.size() != where.length) {
    return Status(Reason::CORRUPTION, path_ + " ends before the body does");
  }
  Buffer body(View(read), bytes);
  // A file system may answer with memory of its own.
  if (read.data() != bytes.get()) body = Buffer(read.ToString());
  if (ContentHash(body) != where.content) {
    return Status(Reason::CORRUPTION,
                  fmt::format("the body at {} of {} does not match its hash", where.offset, path_));
  }
  return body;
}

uint64_t BodyReader::Size() const {
  uint64_t size = 0;
  const rocksdb::IOStatus status = fs_->GetFileSize(path_, rocksdb::IOOptions(), &size, nullptr);
  return status.ok() ? size : 0;
}

void BodyReader::Delete() const {
  {
    MutexLock lock(mu_);
    file_.reset();
  }
  // Asked first: deleting what is not there is an error. One that is left goes at the next open.
  const Result<bool> exists = FileExists(*fs_, path_);
  if (exists.ok() && *exists) {
    fs_->DeleteFile(path_, rocksdb::IOOptions(), nullptr).PermitUncheckedError();
  }
}

Status BodyWriter::Open(uint32_t stratum) {
  const std::string path = BodyPath(db_path_, stratum);
  uint64_t size = 0;
  STRATA_ASSIGN_OR_RETURN(const bool exists, FileExists(*fs_, path));
  if (exists) {
    STRATA_RETURN_IF_ERROR(FromRocks(fs_->GetFileSize(path, rocksdb::IOOptions(), &size, nullptr),
                                     "looking at " + path));
  }
  std::unique_ptr<rocksdb::FSWritableFile> file;
  STRATA_RETURN_IF_ERROR(
      FromRocks(exists ? fs_->ReopenWritableFile(path, rocksdb::FileOptions(), &file, nullptr)
                       : fs_->NewWritableFile(path, rocksdb::FileOptions(), &file, nullptr),
                (exists ? "opening " : "creating ") + path));
  MutexLock lock(mu_);
  if (current_.file) sealed_.push_back(std::move(current_));
  current_ = {stratum, std::move(file), false};
  created_ |= !exists;
  size_ = size;
  return Status::Ok();
}

Status BodyWriter::AppendPieces(const Buffer& body) {
  std::shared_ptr<rocksdb::FSWritableFile> file;
  uint32_t stratum = 0;
  {
    MutexLock lock(mu_);
    file = current_.file;
    stratum = current_.stratum;
  }
  const auto write = [&](std::string_view bytes) {
    return FromRocks(file->Append(SliceOf(bytes), rocksdb::IOOptions(), nullptr),
                     "writing a body to " + BodyPath(db_path_, stratum));
  };
  gathered_.clear();
  for (const std::string_view piece : body.pieces()) {
    if (gathered_.size() + piece.size() > kGather && !gathered_.empty()) {
      STRATA_RETURN_IF_ERROR(write(gathered_));
      gathered_.clear();
    }
    if (piece.size() >= kGather) {
      STRATA_RETURN_IF_ERROR(write(piece));
    } else {
      gathered_.append(piece);
    }
  }
  return gathered_.empty() ? Status::Ok() : write(gathered_);
}

Status BodyWriter::Append(uint32_t stratum, const Buffer& body, uint64_t content,
                          BodyReference* where) {
  {
    MutexLock lock(mu_);
    if (!current_.file || current_.stratum != stratum) {
      lock.Unlock();
      STRATA_RETURN_IF_ERROR(Open(stratum));
    }
  }
  *where = {stratum, size_, body.size(), content};
  STRATA_RETURN_IF_ERROR(AppendPieces(body));
  size_ += body.size();
  MutexLock lock(mu_);
  current_.dirty = true;
  return Status::Ok();
}

void BodyWriter::Seal(uint32_t stratum) {
  MutexLock lock(mu_);
  if (!current_.file || current_.stratum != stratum) return;
  sealed_.push_back(std::move(current_));
  current_ = File();
}

Status BodyWriter::Sync() {
  MutexLock sync_lock(sync_mu_);
  std::vector<File> files;
  bool created = false;
  {
    MutexLock lock(mu_);
    files.swap(sealed_);
    if (current_.dirty) {
      files.push_back(current_);
      current_.dirty = false;
    }
    created = std::exchange(created_, false);
  }
  for (const File& each : files) {
    if (!each.dirty) continue;
    STRATA_RETURN_IF_ERROR(FromRocks(each.file->Sync(rocksdb::IOOptions(), nullptr),
                                     "syncing " + BodyPath(db_path_, each.stratum)));
  }
  return created ? SyncDirectory(*fs_, db_path_) : Status::Ok();
}

Status BodyWriter::SyncAll() {
  bool exists = false;
  STRATA_ASSIGN_OR_RETURN(const auto names, ListDirectory(*fs_, db_path_, &exists));
  bool any = false;
  for (const std::string& name : names) {
    uint32_t stratum = 0;
    if (!ParseBodyName(name, &stratum)) continue;
    any = true;
    const std::string path = db_path_ + "/" + name;
    std::unique_ptr<rocksdb::FSWritableFile> file;
    STRATA_RETURN_IF_ERROR(FromRocks(
        fs_->ReopenWritableFile(path, rocksdb::FileOptions(), &file, nullptr), "opening " + path));
    STRATA_RETURN_IF_ERROR(FromRocks(file->Sync(rocksdb::IOOptions(), nullptr), "syncing " + path));
    STRATA_RETURN_IF_ERROR(
        FromRocks(file->Close(rocksdb::IOOptions(), nullptr), "closing " + path));
  }
  return any ? SyncDirectory(*fs_, db_path_) : Status::Ok();
}

}  // namespace strata::storage
