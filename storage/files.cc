#include "storage/files.h"

#include <algorithm>
#include <memory>

#include "storage/rocks.h"

namespace strata::storage {

using rocksdb::FileOptions;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

Result<std::vector<std::string>> ListDirectory(rocksdb::FileSystem& fs, const std::string& path,
                                               bool* exists) {
  std::vector<std::string> names;
  const IOStatus status = fs.GetChildren(path, IOOptions(), &names, nullptr);
  *exists = status.ok();
  if (status.IsNotFound() || status.IsPathNotFound()) return std::vector<std::string>{};
  STRATA_RETURN_IF_ERROR(FromRocks(status, "listing " + path));
  std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
  std::sort(names.begin(), names.end());
  return names;
}

Result<bool> FileExists(rocksdb::FileSystem& fs, const std::string& path) {
  const IOStatus status = fs.FileExists(path, IOOptions(), nullptr);
  if (status.IsNotFound() || status.IsPathNotFound()) return false;
  STRATA_RETURN_IF_ERROR(FromRocks(status, "looking for " + path));
  return true;
}

bool IsDirectory(rocksdb::FileSystem& fs, const std::string& path) {
  bool is_directory = false;
  return fs.IsDirectory(path, IOOptions(), &is_directory, nullptr).ok() && is_directory;
}

Result<std::string> ReadFile(rocksdb::FileSystem& fs, const std::string& path) {
  std::string contents;
  STRATA_RETURN_IF_ERROR(
      FromRocks(rocksdb::ReadFileToString(&fs, path, &contents), "reading " + path));
  return contents;
}

Status ReplaceFile(rocksdb::FileSystem& fs, const std::string& directory, const std::string& name,
                   std::string_view contents) {
  const std::string path = directory + "/" + name;
  const std::string temporary = path + ".tmp";
  std::unique_ptr<rocksdb::FSWritableFile> file;
  STRATA_RETURN_IF_ERROR(FromRocks(fs.NewWritableFile(temporary, FileOptions(), &file, nullptr),
                                   "creating " + temporary));
  IOStatus status = file->Append(SliceOf(contents), IOOptions(), nullptr);
  if (status.ok()) status = file->Fsync(IOOptions(), nullptr);
  if (status.ok()) status = file->Close(IOOptions(), nullptr);
  STRATA_RETURN_IF_ERROR(FromRocks(status, "writing " + temporary));
  STRATA_RETURN_IF_ERROR(FromRocks(fs.RenameFile(temporary, path, IOOptions(), nullptr),
                                   "renaming " + temporary + " to " + path));
  return SyncDirectory(fs, directory);
}

Status CreateDirectory(rocksdb::FileSystem& fs, const std::string& path) {
  return FromRocks(fs.CreateDirIfMissing(path, IOOptions(), nullptr), "creating " + path);
}

Status SyncDirectory(rocksdb::FileSystem& fs, const std::string& path) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  IOStatus status = fs.NewDirectory(path, IOOptions(), &directory, nullptr);
  if (status.ok()) status = directory->Fsync(IOOptions(), nullptr);
  return FromRocks(status, "syncing the directory " + path);
}

uint64_t DirectoryBytes(rocksdb::FileSystem& fs, const std::string& path) {
  bool exists = false;
  const auto names = ListDirectory(fs, path, &exists);
  if (!names.ok()) return 0;
  uint64_t bytes = 0;
  for (const std::string& name : *names) {
    const std::string child = path + "/" + name;
    uint64_t size = 0;
    if (IsDirectory(fs, child)) {
      bytes += DirectoryBytes(fs, child);
    } else if (fs.GetFileSize(child, IOOptions(), &size, nullptr).ok()) {
      bytes += size;
    }
  }
  return bytes;
}

std::string ParentOf(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  const size_t slash = path.find_last_of('/', end);
  if (end == std::string::npos || slash == 0) return "/";
  if (slash == std::string::npos) return ".";
  return path.substr(0, slash);
}

}  // namespace strata::storage
