// Space: strata that go, the ballast, what the directory takes.
#include <fmt/format.h>

#include <algorithm>

#include "storage/files.h"
#include "storage/store_impl.h"

namespace strata::storage {
namespace {

constexpr const char* kBallastFile = "BALLAST";
constexpr size_t kBallastPiece = 1u << 20;

std::string BallastPath(const StoreOptions& options) { return options.path + "/" + kBallastFile; }

uint64_t FreeSpace(rocksdb::FileSystem& fs, const std::string& path) {
  uint64_t free = 0;
  const rocksdb::IOStatus status = fs.GetFreeSpace(path, rocksdb::IOOptions(), &free, nullptr);
  return status.ok() ? free : 0;
}

}  // namespace

DiskUsage MeasureDirectory(const std::string& path,
                           const std::shared_ptr<rocksdb::FileSystem>& file_system) {
  rocksdb::FileSystem& fs = file_system ? *file_system : *rocksdb::FileSystem::Default();
  const bool exists = IsDirectory(fs, path);
  return {exists ? DirectoryBytes(fs, path) : 0, FreeSpace(fs, exists ? path : ParentOf(path))};
}

void Store::Impl::ForgetPages(ChannelNumber channel, MessageId through) {
  pages_.Forget(channel, through);
}

std::vector<StratumInfo> Store::Impl::DescribeStrata() {
  std::vector<StratumInfo> strata = strata_->Describe();
  const auto live = pages_.LiveByStratum();
  for (StratumInfo& stratum : strata) {
    if (stratum.sealed_at == 0) stratum.raw_bytes = current_bytes_.load(std::memory_order_relaxed);
    const auto found = live.find(stratum.number);
    if (found == live.end()) continue;
    stratum.live_pages = found->second.pages;
    stratum.live_bytes = found->second.bytes;
  }
  return strata;
}

Result<size_t> Store::Impl::DropEmptyStrata() {
  const std::vector<StratumInfo> strata = DescribeStrata();
  std::vector<uint32_t> empty;
  {
    MutexLock lock(adopt_mu_);
    const auto live = pages_.LiveByStratum();
    for (const StratumInfo& stratum : strata) {
      if (stratum.sealed_at > 0 && !live.contains(stratum.number)) empty.push_back(stratum.number);
    }
  }
  if (empty.empty()) return size_t{0};
  // The drop is durable at once. The rows that say that nobody needs the stratum have to be so before: otherwise a
  // power cut would bring back pages whose batches are gone. Once empty and sealed it stays empty, so a sync that
  // begins now covers what made it so.
  if (synced_commit_.load(std::memory_order_acquire) <
      written_commit_.load(std::memory_order_acquire)) {
    STRATA_RETURN_IF_ERROR(Sync());
  }
  if (latch_->failed()) return Failed(DataFate::kNotApplicable);
  if (const Status dropped = strata_->Drop(empty); !dropped.ok()) {
    latch_->Fail(dropped.message());
    return Failed(DataFate::kNotApplicable);
  }
  MutexLock lock(space_mu_);
  rowless_.insert(rowless_.end(), empty.begin(), empty.end());
  return empty.size();
}

DiskUsage Store::Impl::Usage() const {
  return {DirectoryBytes(*base_fs_, options_.path), FreeSpace(*base_fs_, options_.path)};
}

uint64_t Store::Impl::BallastBytes() const {
  uint64_t bytes = 0;
  const rocksdb::IOStatus status =
      base_fs_->GetFileSize(BallastPath(options_), rocksdb::IOOptions(), &bytes, nullptr);
  return status.ok() ? bytes : 0;
}

void Store::Impl::ReleaseBallast() {
  const rocksdb::IOStatus status =
      base_fs_->DeleteFile(BallastPath(options_), rocksdb::IOOptions(), nullptr);
  if (status.ok()) options_.log.Warning("{}: released the ballast", options_.path);
}

Status Store::Impl::RestoreBallast() {
  if (options_.ballast == 0) return Status::Ok();
  const std::string path = BallastPath(options_);
  const rocksdb::IOOptions io;
  const auto fill = [&]() -> rocksdb::IOStatus {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status =
        scratch_fs_->NewWritableFile(path, rocksdb::FileOptions(), &file, nullptr);
    if (!status.ok()) return status;
    // Blocks without writing them, where the file system can; a file with holes would be no ballast.
    const uint64_t free = FreeSpace(*base_fs_, options_.path);
    const bool allocated = file->Allocate(0, options_.ballast, io, nullptr).ok() &&
                           FreeSpace(*base_fs_, options_.path) + options_.ballast / 2 < free;
    if (allocated) {
      status = file->Truncate(options_.ballast, io, nullptr);
    } else {
      const std::string zeros(std::min<uint64_t>(options_.ballast, kBallastPiece), '\0');
      for (uint64_t done = 0; status.ok() && done < options_.ballast; done += zeros.size()) {
        status = file->Append(zeros, io, nullptr);
      }
    }
    const rocksdb::IOStatus closed = file->Close(io, nullptr);
    return status.ok() ? closed : status;
  };
  const rocksdb::IOStatus filled = fill();
  if (filled.ok()) return Status::Ok();
  // Part of a ballast only takes the space that somebody else may need.
  base_fs_->DeleteFile(path, io, nullptr).PermitUncheckedError();
  return FromRocks(filled, "making the ballast " + path);
}

bool Store::Impl::MadeRoomForOpening() {
  // A store of another process is not ours to make room in.
  if (!lock_ || BallastBytes() == 0) return false;
  const bool full = latch_->status().message().find("No space") != std::string::npos ||
                    FreeSpace(*base_fs_, options_.path) < options_.write_buffer;
  if (!full) return false;
  options_.log.Warning("{}: the disk is full; opening again without the ballast", options_.path);
  ReleaseBallast();
  return true;
}

}  // namespace strata::storage
