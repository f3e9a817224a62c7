// DiskImage: what a disk under a page cache holds, and what of it a power cut leaves.
//
// The model behind FaultFileSystem (fault_fs.h explains its rules to users): pure values without
// locks, handles or RocksDB, so that a whole history is copied by copying one object. Nothing here
// is thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace strata::testing {

// SplitMix64: the same choices for a seed everywhere, which the standard's distributions do not
// promise.
class CutRandom {
 public:
  explicit CutRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  uint64_t Below(uint64_t n) { return n == 0 ? 0 : Next() % n; }
  bool Coin() { return Below(2) == 0; }

 private:
  uint64_t state_;
};

// The content of one file: as a reader sees it, and enough of its past to say what the disk may
// hold.
//
// Appends need no past: the disk has [0, durable size) for sure, the rest is in doubt. A change
// *below* that size (an overwrite, a truncation) first keeps the old content of each 512-byte
// sector as a version. An epoch counts the syncs that began; a version remembers the epoch in which
// it was replaced, so a sync that ends later than it began still covers exactly what was written
// before it began.
class FileImage {
 public:
  static constexpr uint64_t kSector = 512;

  // What one sync promises once it ends.
  struct Cover {
    uint64_t epoch;
    uint64_t size;
  };

  const std::string& data() const { return data_; }
  // A write beyond the end fills the gap with zeros.
  void Write(uint64_t offset, std::string_view bytes);
  void Truncate(uint64_t size);

  // BeginSync fixes what is covered; EndSync makes that much durable, FailSync puts it in doubt
  // until it is written again: Linux marks pages clean when their write-back fails, so a second
  // fsync succeeds without writing them.
  Cover BeginSync();
  void EndSync(const Cover& cover);
  void FailSync(const Cover& cover);

  // Becomes what the disk holds after the power came back, all of it durable.
  void PowerCut(CutRandom& random);
  // Flips bits on the medium, in every version. REQUIRES: offset < data().size().
  void Flip(uint64_t offset, uint8_t mask);

 private:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
  struct Version {
    std::string bytes;
    // Epoch. kNever: no sync promises anything about the sector until it is written again.
    uint64_t replaced_at;
  };

  std::string Sector(uint64_t sector) const;
  void Retain(uint64_t from, uint64_t to);
  void AppendSurvivors(std::string& image, CutRandom& random) const;

  std::string data_;
  uint64_t epoch_ = 1;
  uint64_t synced_epoch_ = 0;
  uint64_t durable_size_ = 0;
  // Versions are kept below this: the durable size, or what a sync on its way will make durable.
  uint64_t guarded_ = 0;
  // By sector, oldest first; the front is what is surely on disk.
  std::map<uint64_t, std::vector<Version>> versions_;
  std::map<uint64_t, uint64_t> truncations_;  // epoch -> the shortest size the file had in it
};

using NodeId = uint64_t;  // 0 = none

// A tree of directories and files. Every change of a directory is an operation that waits for a
// sync of the directory.
class DiskImage {
 public:
  using Entries = std::map<std::string, NodeId>;

  DiskImage();

  // Paths are absolute or relative to the root; empty and "." components do not count.
  static std::string Normalize(const std::string& path);
  NodeId Find(const std::string& path) const;
  // The directory that holds (or would hold) the last component, and that component. 0 if there is
  // no such directory.
  NodeId FindParent(const std::string& path, std::string* name) const;

  bool IsDir(NodeId node) const { return nodes_.at(node).is_dir; }
  const Entries& Children(NodeId dir) const { return nodes_.at(dir).now; }
  FileImage& File(NodeId file) { return nodes_.at(file).file; }
  const FileImage& File(NodeId file) const { return nodes_.at(file).file; }
  uint64_t Links(NodeId file) const;
  uint64_t& ModificationTime(NodeId node) { return nodes_.at(node).mtime; }
  std::vector<std::string> Files() const;
  uint64_t LiveBytes() const;

  // Visible at once, durable after SyncDir (or SyncEntriesOf).
  NodeId Add(NodeId dir, const std::string& name, bool is_dir);
  void Link(NodeId dir, const std::string& name, NodeId node);
  void Unlink(NodeId dir, const std::string& name);
  void Rename(NodeId from_dir, const std::string& from, NodeId to_dir, const std::string& to);

  void SyncDir(NodeId dir);
  void SyncEntriesOf(NodeId node);
  void SyncAll();
  // Durable at once, whatever else waits: as if the entry had never been there, or always.
  void Erase(NodeId dir, const std::string& name);
  void Place(NodeId dir, const std::string& name, std::string_view contents);

  // An open file stays readable after its last name is gone.
  void Pin(NodeId node) { ++nodes_.at(node).pins; }
  void Unpin(NodeId node);
  void UnpinAll();

  void PowerCut(uint64_t seed);

 private:
  struct Node {
    bool is_dir = false;
    FileImage file;
    Entries now, durable;
    uint64_t pins = 0;
    uint64_t mtime = 0;
  };
  struct Change {
    NodeId dir;
    std::string name;
    NodeId node;  // 0 = the name goes
  };
  // All of it survives, or nothing. A rename has two changes.
  using Operation = std::vector<Change>;

  static std::set<NodeId> Dirs(const Operation& operation);
  void Do(Operation operation);
  static void Apply(const Operation& operation, Entries Node::*side, std::map<NodeId, Node>& nodes);
  void Commit(std::set<NodeId> dirs, size_t first);
  std::vector<bool> Survivors(CutRandom& random) const;
  void Collect();
  template <typename Visitor>
  void Walk(NodeId dir, const std::string& path, const Visitor& visit) const;

  static constexpr NodeId kRoot = 1;
  std::map<NodeId, Node> nodes_;
  NodeId next_node_ = kRoot + 1;
  std::vector<Operation> pending_;  // in the order they were made
};

}  // namespace strata::testing
