// PacedDeleter: gives the space of large files back in steps.
//
// Deleting a gigabyte at once holds up the syncs of the log: on a file system mounted with `discard`, as virtual
// machines often are, the journal's next commits discard all of it. Measured beside 2,000 appends of 1 KB with
// fdatasync a second (p99 0.6 ms undisturbed), 1 GiB in files of 22 MB: at once p99 152 ms; file by file at 256 MiB/s
// 4.0 ms; cut shorter by 4 MiB at a time 1.3 ms, by 512 KiB 0.9 ms, and at 96 MiB/s 0.5 ms. So a table file is first
// cut shorter, kStep at a time, with pauses that make the rate asked for.
//
// Only on threads that say so (Scope): the one that lets go of dropped strata. A file with another hard link is another
// one's too, a backup's perhaps, and is only unlinked.
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"

namespace strata::storage {

// Thread-safe. Outlives the file systems that use it.
class PacedDeleter {
 public:
  static constexpr uint64_t kStep = 512u << 10;

  explicit PacedDeleter(Clock* clock) : clock_(clock) {}

  // Bytes per second; 0: at once. Counts for deletions under way, too.
  void SetRate(uint64_t bytes_per_second);
  // At once from now on, whatever is asked for.
  void Stop();

  // Makes deletions on this thread paced while it lives.
  class Scope {
   public:
    Scope();
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  // Cuts `path` down to at most kStep, if the thread is in a Scope. Failures do not matter: whoever deletes the file
  // finds out.
  void Shrink(rocksdb::FileSystem& fs, const std::string& path);

 private:
  // False once there is no pace to keep.
  bool Pause(uint64_t bytes);

  Clock* const clock_;
  Mutex mu_;
  CondVar changed_;
  uint64_t rate_ STRATA_GUARDED_BY(mu_) = 0;
  bool stopped_ STRATA_GUARDED_BY(mu_) = false;
  Clock::Duration free_at_ STRATA_GUARDED_BY(mu_){0};
};

// `base`, with Shrink() through `scratch` in front of the deletion of a table or body file.
std::shared_ptr<rocksdb::FileSystem> NewPacedFileSystem(
    std::shared_ptr<rocksdb::FileSystem> base, std::shared_ptr<rocksdb::FileSystem> scratch,
    PacedDeleter* deleter);

}  // namespace strata::storage
