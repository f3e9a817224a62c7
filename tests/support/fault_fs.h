// FaultFileSystem: a file system in memory that loses what a power cut would lose, and fails on
// demand.
//
// It exists to ask one question of the store: does it keep every promise, whatever instant the
// power goes? No real file is touched. Give it to RocksDB through NewImpatientEnv or
// NewCompositeEnv.
//
// What survives PowerCut(seed)
//   - Bytes that a finished Sync or Fsync of the file covers. A sync covers what was written before
//     it began. RangeSync, Flush and Close promise nothing.
//   - Bytes appended and not synced: nothing, all, a prefix, or a prefix with holes (blocks of 512
//     bytes or 4 KiB that read as zeros). The size of the file follows.
//   - Bytes overwritten in place and not synced: each 512-byte sector for itself holds the old
//     content, the new one, or any in between, so a record across two sectors can be torn. A
//     truncation survives, or it is lost with all that followed it.
//   - A name created, renamed, linked or deleted: for sure only after a sync of its *directory*,
//     even if the bytes of the file were synced. In half of the seeds a directory keeps a prefix of
//     its unsynced operations (a journal), in the other half each one for itself. A rename changes
//     both names or neither.
//   - After a sync that a Fault failed, what it would have covered stays in doubt, even if a later
//     sync succeeds, until it is written again: Linux marks pages clean when write-back fails.
// The same history and seed leave the same disk; the choices for one file depend on its path and
// the seed alone. With threads the history itself varies: print the seed, but it may not repeat.
//
// A test in four lines
//   auto fs = FaultFileSystem::Create();
//   fs->CutAfterNextWrites(n);  // ... run the store until its calls fail, then destroy it ...
//   fs->PowerCut(seed);         // open files are dead, locks released, the power is on
//   ...                         // open the store again and check what it promised
// Destroy the old store before PowerCut: what it asks for by path would act on the new disk. To try
// many cuts of one history, cut Clone()s instead. ProcessKill() is the milder end: the page cache
// survives.
//
// Thread-safe: one mutex, held no longer than a call. Paths are absolute or relative to "/".
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata::testing {

// What a call does, as bits so that a fault can name several.
enum Op : uint32_t {
  kAppend = 1 << 0,
  kOverwrite = 1 << 1,  // FSRandomRWFile::Write
  kTruncate = 1 << 2,
  kSync = 1 << 3,     // of a file
  kDirSync = 1 << 4,  // of a directory
  kCreate = 1 << 5,   // a file (also when it replaces one), a hard link, a directory
  kRename = 1 << 6,
  kDelete = 1 << 7,
  kOpen = 1 << 8,  // an existing file
  kRead = 1 << 9,
  kLook = 1 << 10,           // a listing, a size, whether something is there
  kMutation = (1 << 8) - 1,  // all that change the disk
};

// Makes matching calls fail with `status` and without effect.
struct Fault {
  static constexpr uint64_t kSticky = std::numeric_limits<uint64_t>::max();

  uint32_t ops = 0;       // bits of Op
  std::string name = {};  // part of the path, ".log" or "WATERMARK"; empty = every path
  // Code, retryable, data loss and scope are kept; the text becomes "injected: ...". Codes:
  // NoSpace, PathNotFound, Corruption, NotSupported, everything else is an IOError.
  rocksdb::IOStatus status = rocksdb::IOStatus::IOError("");
  uint64_t skip = 0;   // matching calls that succeed first
  uint64_t count = 1;  // calls that fail then; kSticky = all, until ClearFaults()
  // Above 1: a matching call fails by chance, one in so many. The same calls and seed fail alike.
  uint64_t one_in = 1;
  uint64_t seed = 0;
  // So much of a failing write is written all the same, as a short write(2) leaves it.
  uint64_t partial_bytes = 0;
};

// A call, reported when it starts and when it ends. Between the two reports of a sync its coverage
// is already fixed and nothing is durable yet, so a test that blocks in the first report can write
// beside the sync.
struct Event {
  Op op;
  bool done;
  const std::string& path;   // "from -> to" for a rename or link
  uint64_t bytes;            // written or asked for
  rocksdb::IOStatus status;  // OK until done
};

class FaultFileSystem : public rocksdb::FileSystem {
 public:
  struct Options {
    // A sync of a file also makes its name durable, as ext4 and XFS do beyond POSIX.
    bool file_sync_keeps_name = false;
  };
  using EventCallback = std::function<void(const Event&)>;

  // Open files keep the file system alive.
  static std::shared_ptr<FaultFileSystem> Create() { return Create(Options()); }
  static std::shared_ptr<FaultFileSystem> Create(Options options);
  // A copy of the disk and of what waits to become durable. Faults, callback, counters, locks, open
  // files stay here.
  virtual std::shared_ptr<FaultFileSystem> Clone() const = 0;

  // Takes the power away: the n-th mutating call (kMutation) from now on and *every* call after it
  // fail with "power is off", and nothing more becomes durable. 0 = at once. PowerCut decides what
  // is left of what was written until then.
  virtual void CutAfterNextWrites(uint64_t n) = 0;
  virtual bool PowerIsOff() const = 0;
  // Mutating calls so far: the measure for CutAfterNextWrites.
  virtual uint64_t Mutations() const = 0;
  // The state after reboot: the power is on, open files are dead (IOError), locks are free. Faults
  // stay.
  virtual void PowerCut(uint64_t seed) = 0;
  // The same for a killed process on a machine that keeps running: nothing is lost, the unsynced
  // stays unsynced.
  virtual void ProcessKill() = 0;
  // As sync(2): everything is durable. To set a scene.
  virtual void SyncAll() = 0;

  virtual void FailNext(Fault fault) = 0;
  virtual void ClearFaults() = 0;
  // Calls that a Fault failed, to prove that it was met.
  virtual uint64_t InjectedErrors() const = 0;
  static bool IsInjected(const rocksdb::Status& status);
  // From now on `bytes` more fit (deleting gives back). A write beyond gets in what fits and fails
  // with NoSpace.
  virtual void SetFreeSpace(uint64_t bytes) = 0;
  virtual void SetUnlimitedSpace() = 0;

  // Called without the mutex, on the thread that makes the call; it may block and may use this
  // object.
  virtual void SetEventCallback(EventCallback callback) = 0;
  // Successful calls of these kinds on paths that contain `name`.
  virtual uint64_t Count(uint32_t ops, std::string_view name) const = 0;
  uint64_t SyncCount(std::string_view name) const { return Count(kSync, name); }

  // Behind the store's back: no fault, no event, durable at once, works without power. False or
  // nothing if there is no such file (Corrupt: no such byte; Put: no such directory).
  virtual std::vector<std::string> Files() const = 0;  // full paths, sorted
  virtual std::optional<std::string> Contents(const std::string& path) const = 0;
  virtual bool Corrupt(const std::string& path, uint64_t offset, uint8_t xor_mask) = 0;
  virtual bool Remove(const std::string& path) = 0;
  virtual bool Put(const std::string& path, std::string_view contents) = 0;

  // Of rocksdb::FileSystem everything RocksDB needs, as its Posix twin does it, except: NewLogger
  // gives a logger that says nothing (the writes of a LOG would shift the cut points), modification
  // times count writes, direct I/O and mmap are not offered.
  const char* Name() const override { return "FaultFileSystem"; }
};

// An Env over `fs` in which RocksDB's waits (a second after each failed flush, which closing waits
// for) take at most a millisecond. As with rocksdb::NewCompositeEnv: destroy it after the database.
std::unique_ptr<rocksdb::Env> NewImpatientEnv(const std::shared_ptr<rocksdb::FileSystem>& fs);

}  // namespace strata::testing
