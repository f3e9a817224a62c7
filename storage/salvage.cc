#include "storage/salvage.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/salvage_bytes.h"

namespace strata::storage {
namespace {

constexpr size_t kTrailerBytes = 5;
constexpr size_t kFooterBytes = 53;
constexpr uint64_t kTableMagic = 0x88e241b785f4cff7;
constexpr char kNoCompression = 0;
constexpr char kZstd = 7;
// RocksDB's ChecksumType.
constexpr char kCrc32cChecksum = 1;
constexpr char kXxh3Checksum = 4;
constexpr size_t kSequenceBytes = 8;  // behind each key: sequence and type
constexpr size_t kMaxRowsPerBlock = 1u << 24;
constexpr uint64_t kMaxBlock = uint64_t{3} << 30;

uint32_t ChecksumOfBlock(char type, std::string_view bytes, char compression) {
  if (type == kCrc32cChecksum) {
    return MaskedCrc(rocksdb::crc32c::Extend(rocksdb::crc32c::Extend(0, bytes.data(), bytes.size()),
                                             &compression, 1));
  }
  const auto hash = static_cast<uint32_t>(XXH3_64bits(bytes.data(), bytes.size()));
  return hash ^ static_cast<uint8_t>(compression) * 0x6b9083d9u;
}

// Checked and uncompressed into *scratch if need be; nothing if it is damaged.
std::optional<std::string_view> OpenBlock(std::string_view file, const BlockHandle& block,
                                          std::string* scratch) {
  if (block.size > file.size() || block.offset > file.size() - block.size ||
      file.size() - block.offset - block.size < kTrailerBytes) {
    return std::nullopt;
  }
  const std::string_view bytes = file.substr(block.offset, block.size);
  const char* trailer = bytes.data() + bytes.size();
  const uint32_t stored = GetFixed32(trailer + 1);
  // Which of the two checksums it is stands in the footer, which may be damaged.
  if (stored != ChecksumOfBlock(kXxh3Checksum, bytes, *trailer) &&
      stored != ChecksumOfBlock(kCrc32cChecksum, bytes, *trailer)) {
    return std::nullopt;
  }
  if (*trailer == kNoCompression) return bytes;
  if (*trailer != kZstd) return std::nullopt;
  Cursor in(bytes);
  uint32_t size = 0;
  if (!in.Varint32(&size) || size > kMaxBlock) return std::nullopt;
  scratch->resize(size);
  const size_t got = ZSTD_decompress(scratch->data(), size, in.rest().data(), in.rest().size());
  if (ZSTD_isError(got) || got != size) return std::nullopt;
  return std::string_view(*scratch);
}

// The entries of a block, without the restart points behind them.
std::optional<std::string_view> Entries(std::string_view block) {
  if (block.size() < 4) return std::nullopt;
  const uint64_t restarts = GetFixed32(block.data() + block.size() - 4) & 0x7fffffffu;
  if (restarts == 0 || restarts > (block.size() - 4) / 4) return std::nullopt;
  return block.substr(0, block.size() - 4 - 4 * restarts);
}

// Calls `entry` with the key and value of each; false if the block is not made of such.
template <typename Entry>
bool WalkEntries(std::string_view block, Entry&& entry) {
  const auto entries = Entries(block);
  if (!entries) return false;
  Cursor in(*entries);
  std::string key;
  while (!in.rest().empty()) {
    uint32_t shared = 0;
    uint32_t added = 0;
    uint32_t size = 0;
    std::string_view more;
    std::string_view value;
    if (!in.Varint32(&shared) || !in.Varint32(&added) || !in.Varint32(&size) ||
        shared > key.size() || !in.Bytes(added, &more) || !in.Bytes(size, &value)) {
      return false;
    }
    key.resize(shared);
    key.append(more);
    if (!entry(std::string_view(key), value)) return false;
  }
  return true;
}

bool WalkRows(std::string_view block, const std::function<void(const TableRow&)>& row) {
  size_t rows = 0;
  return WalkEntries(block, [&](std::string_view key, std::string_view value) {
    if (key.size() < kSequenceBytes || ++rows > kMaxRowsPerBlock) return false;
    const uint64_t packed = GetFixed64(key.data() + key.size() - kSequenceBytes);
    const uint64_t type = packed & 0xff;
    if (type != 0 && type != 1 && type != 7) return false;  // deletion, value, single deletion
    if (row) row({key.substr(0, key.size() - kSequenceBytes), value, packed >> 8, type != 1});
    return true;
  });
}

bool ReadHandle(Cursor* in, BlockHandle* handle) {
  return in->Varint64(&handle->offset) && in->Varint64(&handle->size);
}

// The handles in an index block. Its keys are whole ones (restart interval 1), and its values have no length.
std::optional<std::vector<BlockHandle>> ReadIndex(std::string_view block, bool first_keys,
                                                  bool lengths) {
  const auto entries = Entries(block);
  if (!entries) return std::nullopt;
  std::vector<BlockHandle> handles;
  Cursor in(*entries);
  uint64_t next = 0;
  while (!in.rest().empty()) {
    uint32_t shared = 0;
    uint32_t added = 0;
    uint32_t size = 0;
    std::string_view bytes;
    BlockHandle handle;
    if (!in.Varint32(&shared) || !in.Varint32(&added) || shared != 0 ||
        (lengths && !in.Varint32(&size)) || !in.Bytes(added, &bytes) || !ReadHandle(&in, &handle)) {
      return std::nullopt;
    }
    uint32_t key = 0;
    if (first_keys && (!in.Varint32(&key) || !in.Bytes(key, &bytes))) return std::nullopt;
    // Data blocks lie one behind the other from the start: a proof that the index was understood.
    if (handle.offset != next) return std::nullopt;
    next = handle.offset + handle.size + kTrailerBytes;
    handles.push_back(handle);
  }
  return handles;
}

// The block that begins at `offset`, if one does that can be told without an index.
std::optional<BlockHandle> FindBlock(std::string_view file, uint64_t offset) {
  std::string scratch;
  const auto whole = [&](uint64_t size) {
    const auto block = OpenBlock(file, {offset, size}, &scratch);
    return block && WalkRows(*block, nullptr);
  };
  Cursor in(file.substr(offset));
  uint32_t raw = 0;
  if (in.Varint32(&raw)) {
    const size_t frame = ZSTD_findFrameCompressedSize(in.rest().data(), in.rest().size());
    const uint64_t size = file.size() - offset - in.rest().size() + frame;
    if (!ZSTD_isError(frame) && whole(size)) return BlockHandle{offset, size};
  }
  // Uncompressed it ends with its restart points, of which the first is 0, and their number.
  for (uint64_t size = 8; offset + size + kTrailerBytes <= file.size(); ++size) {
    const char* end = file.data() + offset + size;
    if (*end != kNoCompression) continue;
    const uint64_t restarts = GetFixed32(end - 4);
    if (restarts == 0 || restarts > (size - 4) / 4) continue;
    if (GetFixed32(end - 4 - 4 * restarts) != 0) continue;
    if (whole(size)) return BlockHandle{offset, size};
  }
  return std::nullopt;
}

struct Footer {
  BlockHandle meta_index;
  BlockHandle index;
};

std::optional<Footer> ReadFooter(std::string_view file, TableLayout* layout) {
  const auto bad = [&](const char* what) {
    layout->damage.push_back({file.size() < kFooterBytes ? 0 : file.size() - kFooterBytes,
                              std::string("footer: ") + what});
    return std::nullopt;
  };
  if (file.size() < kFooterBytes) return bad("the file is shorter than one");
  const std::string_view footer = file.substr(file.size() - kFooterBytes);
  if (GetFixed64(footer.data() + 45) != kTableMagic) return bad("it does not end in its magic");
  if (footer[0] != kCrc32cChecksum && footer[0] != kXxh3Checksum) return bad("unknown checksums");
  const uint32_t version = GetFixed32(footer.data() + 41);
  if (version < 2 || version > 5) return bad("a version that is not known");
  Cursor in(footer.substr(1, 40));
  Footer found;
  if (!ReadHandle(&in, &found.meta_index) || !ReadHandle(&in, &found.index)) {
    return bad("no places of the index");
  }
  if (in.rest().find_first_not_of('\0') != std::string_view::npos) {
    layout->damage.push_back(
        {file.size() - kFooterBytes, "footer: bytes that mean nothing, not zero"});
  }
  return found;
}

// Properties by name, of which few are needed here.
struct Meta {
  std::map<std::string, std::string, std::less<>> properties;
  std::vector<BlockHandle> blocks;  // all of them, the meta index among them
};

Meta ReadMeta(std::string_view file, const Footer& footer, TableLayout* layout) {
  Meta meta;
  meta.blocks = {footer.meta_index, footer.index};
  std::string scratch;
  const auto index = OpenBlock(file, footer.meta_index, &scratch);
  bool whole = index && WalkEntries(*index, [&](std::string_view name, std::string_view value) {
                 BlockHandle handle;
                 Cursor in(value);
                 if (!ReadHandle(&in, &handle)) return false;
                 meta.blocks.push_back(handle);
                 std::string inner;
                 const auto block = OpenBlock(file, handle, &inner);
                 if (!block) {
                   layout->damage.push_back({handle.offset, "meta block " + std::string(name)});
                   return true;
                 }
                 if (name != "rocksdb.properties") return true;
                 return WalkEntries(*block, [&](std::string_view key, std::string_view text) {
                   meta.properties.emplace(key, text);
                   return true;
                 });
               });
  if (!whole) layout->damage.push_back({footer.meta_index.offset, "index of the meta blocks"});
  return meta;
}

// Bytes between the data blocks and the footer that are in no block say nothing, but then somebody wrote them.
void CheckCovered(std::string_view file, std::vector<BlockHandle> blocks, TableLayout* layout) {
  std::sort(blocks.begin(), blocks.end(),
            [](const auto& a, const auto& b) { return a.offset < b.offset; });
  uint64_t next = layout->data_end;
  for (const BlockHandle& each : blocks) {
    if (each.offset != next) break;
    next = each.offset + each.size + kTrailerBytes;
  }
  if (next + kFooterBytes != file.size()) {
    layout->damage.push_back({next, "bytes that are part of no block"});
  }
}

}  // namespace

TableLayout ReadTableLayout(std::string_view file) {
  TableLayout layout;
  Meta meta;
  if (const auto footer = ReadFooter(file, &layout)) {
    meta = ReadMeta(file, *footer, &layout);
    const auto family = meta.properties.find("rocksdb.column.family.name");
    if (family != meta.properties.end()) layout.family = family->second;
    std::string scratch;
    const auto block = OpenBlock(file, footer->index, &scratch);
    // Which kind it is stands in the properties; without them the one that fits is it.
    for (int kind = 0; block && !layout.indexed && kind < 4; ++kind) {
      auto handles = ReadIndex(*block, (kind & 1) == 0, (kind & 2) != 0);
      if (!handles) continue;
      layout.blocks = std::move(*handles);
      layout.indexed = true;
    }
    if (!layout.indexed) layout.damage.push_back({footer->index.offset, "index"});
  }
  if (layout.indexed) {
    const BlockHandle last = layout.blocks.empty() ? BlockHandle() : layout.blocks.back();
    layout.data_end = layout.blocks.empty() ? 0 : last.offset + last.size + kTrailerBytes;
    CheckCovered(file, meta.blocks, &layout);
    return layout;
  }
  std::string newest;
  while (const auto block = FindBlock(file, layout.data_end)) {
    // Meta blocks look alike, but their keys do not go on.
    std::string last;
    bool ascending = true;
    ReadTableBlock(file, *block, [&](const TableRow& row) {
      ascending = ascending && (newest.empty() || row.key >= newest);
      last = row.key;
    });
    if (!ascending || last.empty()) break;
    newest = last;
    layout.blocks.push_back(*block);
    layout.data_end = block->offset + block->size + kTrailerBytes;
  }
  return layout;
}

bool ReadTableBlock(std::string_view file, const BlockHandle& block,
                    const std::function<void(const TableRow&)>& row) {
  std::string scratch;
  const auto bytes = OpenBlock(file, block, &scratch);
  return bytes && WalkRows(*bytes, nullptr) && (!row || WalkRows(*bytes, row));
}

}  // namespace strata::storage
