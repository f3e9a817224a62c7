#include "tests/support/fault_fs_disk.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace strata::testing {
namespace {

std::vector<std::string> Components(const std::string& path) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    std::string part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") parts.push_back(std::move(part));
    begin = end + 1;
  }
  return parts;
}

// FNV-1a, so that the choices for one file depend on its path and the seed, not on the other files.
uint64_t Hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// Puts `bytes` where `sector` lies, without making the image longer.
void Patch(std::string& image, uint64_t sector, std::string_view bytes) {
  const uint64_t start = sector * FileImage::kSector;
  if (start >= image.size()) return;
  const size_t n = std::min<uint64_t>(bytes.size(), image.size() - start);
  image.replace(start, n, bytes.substr(0, n));
}

}  // namespace

uint64_t CutRandom::Next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::string FileImage::Sector(uint64_t sector) const {
  const uint64_t start = sector * kSector;
  return start < data_.size() ? data_.substr(start, kSector) : std::string();
}

// Called before [from, to) changes.
void FileImage::Retain(uint64_t from, uint64_t to) {
  if (from >= to) return;
  const uint64_t last = (to - 1) / kSector;
  for (auto it = versions_.lower_bound(from / kSector); it != versions_.end() && it->first <= last;
       ++it) {
    for (Version& version : it->second) version.replaced_at = std::min(version.replaced_at, epoch_);
  }
  to = std::min(to, guarded_);
  for (uint64_t sector = from / kSector; sector * kSector < to && from < to; ++sector) {
    versions_[sector].push_back({Sector(sector), epoch_});
  }
}

void FileImage::Write(uint64_t offset, std::string_view bytes) {
  if (bytes.empty()) return;
  const uint64_t end = offset + bytes.size();
  Retain(std::min<uint64_t>(offset, data_.size()), end);
  if (data_.size() < offset) data_.resize(offset, '\0');
  data_.replace(offset, std::min<uint64_t>(bytes.size(), data_.size() - offset), bytes);
}

void FileImage::Truncate(uint64_t size) {
  if (size < data_.size()) {
    Retain(size, std::max<uint64_t>(guarded_, data_.size()));
    const auto it = truncations_.try_emplace(epoch_, size).first;
    it->second = std::min(it->second, size);
  }
  data_.resize(size, '\0');
}

FileImage::Cover FileImage::BeginSync() {
  guarded_ = std::max<uint64_t>(guarded_, data_.size());
  return {epoch_++, data_.size()};
}

void FileImage::EndSync(const Cover& cover) {
  if (cover.epoch <= synced_epoch_) return;  // a sync that began later has ended already
  synced_epoch_ = cover.epoch;
  durable_size_ = cover.size;
  truncations_.erase(truncations_.begin(), truncations_.upper_bound(cover.epoch));
  for (auto it = versions_.begin(); it != versions_.end();) {
    std::erase_if(it->second, [&](const Version& v) { return v.replaced_at <= cover.epoch; });
    it = it->second.empty() ? versions_.erase(it) : std::next(it);
  }
}

void FileImage::FailSync(const Cover& cover) {
  for (auto& [sector, versions] : versions_) {
    for (Version& version : versions) {
      if (version.replaced_at <= cover.epoch) version.replaced_at = kNever;
    }
  }
  const uint64_t end = std::min<uint64_t>(cover.size, data_.size());
  if (durable_size_ >= end) return;
  for (uint64_t sector = durable_size_ / kSector; sector * kSector < end; ++sector) {
    std::vector<Version>& versions = versions_[sector];
    const uint64_t length = Sector(sector).size();
    std::string bytes = versions.empty() ? Sector(sector) : versions.front().bytes;
    bytes.resize(std::max(durable_size_, sector * kSector) - sector * kSector);
    bytes.resize(length, '\0');
    versions.insert(versions.begin(), {std::move(bytes), kNever});
  }
}

void FileImage::PowerCut(CutRandom& random) {
  std::string image = data_;
  image.resize(durable_size_, '\0');
  for (const auto& [sector, versions] : versions_) Patch(image, sector, versions.front().bytes);

  uint64_t shortest = durable_size_;
  for (const auto& [epoch, size] : truncations_) shortest = std::min(shortest, size);
  // File systems order a truncation before the writes into the space it frees: lost together or not
  // at all.
  const bool truncation_lost = shortest < durable_size_ && random.Coin();
  if (!truncation_lost) {
    image.resize(shortest);
    for (const auto& [sector, versions] : versions_) {
      const uint64_t pick = random.Below(versions.size() + 1);
      Patch(image, sector, pick < versions.size() ? versions[pick].bytes : Sector(sector));
    }
    AppendSurvivors(image, random);
  }
  data_ = std::move(image);
  durable_size_ = guarded_ = data_.size();
  versions_.clear();
  truncations_.clear();
}

// What is left of the bytes behind the durable ones: nothing, all, a prefix, or a prefix with
// blocks that never reached the disk, which read as zeros.
void FileImage::AppendSurvivors(std::string& image, CutRandom& random) const {
  const uint64_t base = image.size();
  const uint64_t tail = data_.size() - base;
  const uint64_t kind = random.Below(4);
  if (tail == 0 || kind == 0) return;
  const bool all = kind == 1 || (kind == 3 && random.Coin());
  image.append(data_, base, all ? tail : random.Below(tail + 1));
  if (kind != 3) return;
  static constexpr uint64_t kHolePercent[] = {10, 50, 100};
  const uint64_t percent = kHolePercent[random.Below(std::size(kHolePercent))];
  const uint64_t block = random.Coin() ? kSector : 4096;
  for (uint64_t start = base / block * block; start < image.size(); start += block) {
    if (random.Below(100) >= percent) continue;
    const auto from = static_cast<ptrdiff_t>(std::max(start, base));
    const auto to = static_cast<ptrdiff_t>(std::min<uint64_t>(start + block, image.size()));
    std::fill(image.begin() + from, image.begin() + to, '\0');
  }
}

void FileImage::Flip(uint64_t offset, uint8_t mask) {
  data_[offset] = static_cast<char>(data_[offset] ^ mask);
  const auto it = versions_.find(offset / kSector);
  if (it == versions_.end()) return;
  for (Version& version : it->second) {
    const uint64_t at = offset % kSector;
    if (at < version.bytes.size()) version.bytes[at] = static_cast<char>(version.bytes[at] ^ mask);
  }
}

DiskImage::DiskImage() { nodes_[kRoot].is_dir = true; }

std::string DiskImage::Normalize(const std::string& path) {
  std::string normal;
  for (const std::string& part : Components(path)) normal += "/" + part;
  return normal.empty() ? "/" : normal;
}

NodeId DiskImage::Find(const std::string& path) const {
  NodeId node = kRoot;
  for (const std::string& part : Components(path)) {
    const auto it = nodes_.at(node).now.find(part);
    if (it == nodes_.at(node).now.end()) return 0;
    node = it->second;
  }
  return node;
}

NodeId DiskImage::FindParent(const std::string& path, std::string* name) const {
  const std::string normal = Normalize(path);
  const size_t slash = normal.rfind('/');
  *name = normal.substr(slash + 1);
  const NodeId dir = Find(normal.substr(0, slash));
  return dir != 0 && IsDir(dir) && !name->empty() ? dir : 0;
}

template <typename Visitor>
void DiskImage::Walk(NodeId dir, const std::string& path, const Visitor& visit) const {
  for (const auto& [name, node] : nodes_.at(dir).now) {
    const std::string child = path + "/" + name;
    visit(child, node);
    if (IsDir(node)) Walk(node, child, visit);
  }
}

std::vector<std::string> DiskImage::Files() const {
  std::vector<std::string> files;
  Walk(kRoot, "", [&](const std::string& path, NodeId node) {
    if (!IsDir(node)) files.push_back(path);
  });
  return files;
}

uint64_t DiskImage::Links(NodeId file) const {
  uint64_t links = 0;
  Walk(kRoot, "", [&](const std::string&, NodeId node) { links += node == file; });
  return links;
}

uint64_t DiskImage::LiveBytes() const {
  std::set<NodeId> live;
  for (const auto& [id, node] : nodes_) {
    if (node.pins > 0) live.insert(id);
  }
  Walk(kRoot, "", [&](const std::string&, NodeId node) { live.insert(node); });
  uint64_t bytes = 0;
  for (const NodeId id : live) bytes += File(id).data().size();
  return bytes;
}

void DiskImage::Apply(const Operation& operation, Entries Node::*side,
                      std::map<NodeId, Node>& nodes) {
  for (const Change& change : operation) {
    Entries& entries = nodes.at(change.dir).*side;
    if (change.node == 0) {
      entries.erase(change.name);
    } else {
      entries[change.name] = change.node;
    }
  }
}

std::set<NodeId> DiskImage::Dirs(const Operation& operation) {
  std::set<NodeId> dirs;
  for (const Change& change : operation) dirs.insert(change.dir);
  return dirs;
}

void DiskImage::Do(Operation operation) {
  Apply(operation, &Node::now, nodes_);
  pending_.push_back(std::move(operation));
}

NodeId DiskImage::Add(NodeId dir, const std::string& name, bool is_dir) {
  const NodeId node = next_node_++;
  nodes_[node].is_dir = is_dir;
  Do({{dir, name, node}});
  return node;
}

void DiskImage::Link(NodeId dir, const std::string& name, NodeId node) { Do({{dir, name, node}}); }

void DiskImage::Unlink(NodeId dir, const std::string& name) { Do({{dir, name, 0}}); }

void DiskImage::Rename(NodeId from_dir, const std::string& from, NodeId to_dir,
                       const std::string& to) {
  const NodeId node = nodes_.at(from_dir).now.at(from);
  Do({{from_dir, from, 0}, {to_dir, to, node}});
}

// Makes durable every one of the first `first` operations that touches `dirs`, and what those rest
// on: a rename between two directories drags along the earlier operations of the other one.
void DiskImage::Commit(std::set<NodeId> dirs, size_t first) {
  std::vector<bool> chosen(pending_.size());
  for (size_t i = first; i-- > 0;) {
    const std::set<NodeId> touched = Dirs(pending_[i]);
    chosen[i] =
        std::any_of(touched.begin(), touched.end(), [&](NodeId d) { return dirs.contains(d); });
    if (chosen[i]) dirs.insert(touched.begin(), touched.end());
  }
  std::vector<Operation> rest;
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (chosen[i]) {
      Apply(pending_[i], &Node::durable, nodes_);
    } else {
      rest.push_back(std::move(pending_[i]));
    }
  }
  pending_ = std::move(rest);
  Collect();
}

void DiskImage::SyncDir(NodeId dir) { Commit({dir}, pending_.size()); }

void DiskImage::SyncEntriesOf(NodeId node) {
  for (size_t i = pending_.size(); i-- > 0;) {
    for (const Change& change : pending_[i]) {
      if (change.node == node) return Commit({change.dir}, i + 1);
    }
  }
}

void DiskImage::SyncAll() {
  for (auto& [id, node] : nodes_) {
    node.durable = node.now;
    node.file.EndSync(node.file.BeginSync());
  }
  pending_.clear();
  Collect();
}

void DiskImage::Erase(NodeId dir, const std::string& name) {
  nodes_.at(dir).now.erase(name);
  nodes_.at(dir).durable.erase(name);
  for (Operation& operation : pending_) {
    std::erase_if(operation, [&](const Change& c) { return c.dir == dir && c.name == name; });
  }
  std::erase_if(pending_, [](const Operation& operation) { return operation.empty(); });
  Collect();
}

void DiskImage::Place(NodeId dir, const std::string& name, std::string_view contents) {
  Erase(dir, name);
  const NodeId node = next_node_++;
  FileImage& file = nodes_[node].file;
  file.Write(0, contents);
  file.EndSync(file.BeginSync());
  nodes_.at(dir).now[name] = nodes_.at(dir).durable[name] = node;
}

void DiskImage::Unpin(NodeId node) {
  if (--nodes_.at(node).pins == 0) Collect();
}

void DiskImage::UnpinAll() {
  for (auto& [id, node] : nodes_) node.pins = 0;
  Collect();
}

// Drops the nodes that nothing can reach any more, neither now nor after a power cut.
void DiskImage::Collect() {
  std::set<NodeId> live;
  std::vector<NodeId> todo = {kRoot};
  for (const auto& [id, node] : nodes_) {
    if (node.pins > 0) todo.push_back(id);
  }
  for (const Operation& operation : pending_) {
    for (const Change& change : operation) {
      todo.push_back(change.dir);
      if (change.node != 0) todo.push_back(change.node);
    }
  }
  while (!todo.empty()) {
    const NodeId id = todo.back();
    todo.pop_back();
    if (!live.insert(id).second) continue;
    for (const auto& [name, child] : nodes_.at(id).now) todo.push_back(child);
    for (const auto& [name, child] : nodes_.at(id).durable) todo.push_back(child);
  }
  std::erase_if(nodes_, [&](const auto& entry) { return !live.contains(entry.first); });
}

// Which pending operations reached the disk. Half of the seeds behave like a journal per directory
// (a prefix of its operations), the other half like a file system without one (each operation for
// itself).
std::vector<bool> DiskImage::Survivors(CutRandom& random) const {
  std::vector<bool> survives(pending_.size());
  const bool journal = random.Coin();
  std::map<NodeId, uint64_t> left;  // of the journal's prefix, by directory
  for (const Operation& operation : pending_) {
    for (const NodeId dir : Dirs(operation)) ++left[dir];
  }
  for (auto& [dir, count] : left) count = random.Below(count + 1);
  for (size_t i = 0; i < pending_.size(); ++i) {
    const std::set<NodeId> dirs = Dirs(pending_[i]);
    const auto has_room = [&](NodeId dir) { return left[dir] > 0; };
    survives[i] = journal ? std::all_of(dirs.begin(), dirs.end(), has_room) : random.Coin();
    for (const NodeId dir : dirs) left[dir] = survives[i] ? left[dir] - 1 : 0;
  }
  return survives;
}

void DiskImage::PowerCut(uint64_t seed) {
  CutRandom random(seed);
  const std::vector<bool> survives = Survivors(random);
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (survives[i]) Apply(pending_[i], &Node::durable, nodes_);
  }
  pending_.clear();
  for (auto& [id, node] : nodes_) node.now = node.durable;
  UnpinAll();
  std::map<NodeId, uint64_t> salts;  // by the first path, because a file may have two names
  Walk(kRoot, "",
       [&](const std::string& path, NodeId node) { salts.try_emplace(node, Hash(path)); });
  for (const auto& [node, salt] : salts) {
    CutRandom own(seed ^ salt);
    nodes_.at(node).file.PowerCut(own);
  }
}

}  // namespace strata::testing
