#include "storage/watermark.h"

#include <array>
#include <bit>
#include <cstring>
#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/codec.h"
#include "storage/files.h"
#include "storage/rocks.h"

namespace strata::storage {
namespace {

using rocksdb::IOOptions;

// Header slot, all numbers big-endian: magic 8 | version 4 | zero 4 | store id 16 | sequence 8 | commit 8 |
// zero 8 | XXH3-64 of the 56 bytes before it.
constexpr std::string_view kHeaderMagic = "STRATAWM";
constexpr uint32_t kVersion = 1;
constexpr size_t kSlotBytes = 64;
constexpr size_t kSlotDistance = 512;
constexpr size_t kSlots = 2;

// The table is a run of blocks; those of the two regions alternate, so that both grow without moving.
// Block: magic 4 | entries in this block 4 | sequence 8 | entries of the whole table 8 | XXH3-64 of the block with
// this field zero | entries of channel 8, next id 8.
constexpr std::string_view kBlockMagic = "WMTB";
constexpr size_t kTableAt = 4096;
constexpr size_t kBlockBytes = 4096;
constexpr size_t kBlockHeaderBytes = 32;
constexpr size_t kEntryBytes = 16;
constexpr size_t kEntriesPerBlock = (kBlockBytes - kBlockHeaderBytes) / kEntryBytes;
constexpr size_t kRegions = 2;

size_t BlockOffset(size_t region, size_t index) {
  return kTableAt + (kRegions * index + region) * kBlockBytes;
}

uint64_t HashOf(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string FromHex(const std::string& hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  }
  return bytes;
}

std::string ToHex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    hex.push_back("0123456789abcdef"[static_cast<uint8_t>(c) >> 4]);
    hex.push_back("0123456789abcdef"[static_cast<uint8_t>(c) & 15]);
  }
  return hex;
}

std::array<char, kSlotBytes> EncodeSlot(std::string_view store_id, uint64_t sequence,
                                        uint64_t commit) {
  std::array<char, kSlotBytes> slot{};
  std::memcpy(&slot[0], kHeaderMagic.data(), kHeaderMagic.size());
  PutBigEndian32(&slot[8], kVersion);
  std::memcpy(&slot[16], store_id.data(), 16);
  PutBigEndian64(&slot[32], sequence);
  PutBigEndian64(&slot[40], commit);
  PutBigEndian64(&slot[56], HashOf({slot.data(), 56}));
  return slot;
}

enum class SlotState { kDamaged, kOtherStore, kGood };

SlotState DecodeSlot(std::string_view file, size_t index, std::string_view store_id,
                     uint64_t* sequence, uint64_t* commit) {
  const size_t at = index * kSlotDistance;
  if (file.size() < at + kSlotBytes) return SlotState::kDamaged;
  const std::string_view slot = file.substr(at, kSlotBytes);
  if (!slot.starts_with(kHeaderMagic) || GetBigEndian64(&slot[56]) != HashOf(slot.substr(0, 56)) ||
      GetBigEndian32(&slot[8]) != kVersion) {
    return SlotState::kDamaged;
  }
  if (slot.substr(16, 16) != store_id) return SlotState::kOtherStore;
  *sequence = GetBigEndian64(&slot[32]);
  *commit = GetBigEndian64(&slot[40]);
  return SlotState::kGood;
}

// Fills *block with entries [from, from + n).
void EncodeBlock(const NextIds& next_ids, size_t from, uint64_t sequence, std::string* block) {
  const size_t entries = std::min(kEntriesPerBlock, next_ids.size() - from);
  block->assign(kBlockHeaderBytes + entries * kEntryBytes, '\0');
  char* out = block->data();
  std::memcpy(out, kBlockMagic.data(), kBlockMagic.size());
  PutBigEndian32(out + 4, static_cast<uint32_t>(entries));
  PutBigEndian64(out + 8, sequence);
  PutBigEndian64(out + 16, next_ids.size());
  for (size_t i = 0; i < entries; ++i) {
    PutBigEndian64(out + kBlockHeaderBytes + i * kEntryBytes, next_ids[from + i].first);
    PutBigEndian64(out + kBlockHeaderBytes + i * kEntryBytes + 8,
                   static_cast<uint64_t>(next_ids[from + i].second));
  }
  PutBigEndian64(out + 24, HashOf(*block));
}

// Appends the block's entries. False if it is damaged, or not part of the table that its region's first block began.
bool DecodeBlock(std::string_view file, size_t at, bool first, uint64_t* sequence, uint64_t* total,
                 NextIds* next_ids) {
  if (file.size() < at + kBlockHeaderBytes) return false;
  std::string_view block = file.substr(at, kBlockBytes);
  if (!block.starts_with(kBlockMagic)) return false;
  const size_t entries = GetBigEndian32(&block[4]);
  if (entries > kEntriesPerBlock || block.size() < kBlockHeaderBytes + entries * kEntryBytes)
    return false;
  std::string bytes(block.substr(0, kBlockHeaderBytes + entries * kEntryBytes));
  PutBigEndian64(&bytes[24], 0);
  if (HashOf(bytes) != GetBigEndian64(&block[24])) return false;
  if (first) {
    *sequence = GetBigEndian64(&block[8]);
    *total = GetBigEndian64(&block[16]);
  } else if (*sequence != GetBigEndian64(&block[8])) {
    return false;
  }
  for (size_t i = 0; i < entries; ++i) {
    const char* entry = &bytes[kBlockHeaderBytes + i * kEntryBytes];
    next_ids->emplace_back(GetBigEndian64(entry),
                           static_cast<MessageId>(GetBigEndian64(entry + 8)));
  }
  return true;
}

bool DecodeRegion(std::string_view file, size_t region, uint64_t* sequence, NextIds* next_ids) {
  uint64_t total = 0;
  for (size_t index = 0; index == 0 || next_ids->size() < total; ++index) {
    const size_t before = next_ids->size();
    if (!DecodeBlock(file, BlockOffset(region, index), index == 0, sequence, &total, next_ids))
      return false;
    if (index > 0 && next_ids->size() == before) return false;
  }
  return next_ids->size() == total;
}

}  // namespace

Status Watermark::Create(rocksdb::FileSystem& fs, const std::string& path,
                         const std::string& store_id) {
  const auto slot = EncodeSlot(FromHex(store_id), 1, 0);
  // Both slots and room up to the table, so that later writes extend nothing but the table.
  std::string bytes(kTableAt, '\0');
  for (size_t i = 0; i < kSlots; ++i)
    std::memcpy(&bytes[i * kSlotDistance], slot.data(), slot.size());
  return FromRocks(rocksdb::WriteStringToFile(&fs, bytes, path, /*should_sync=*/true),
                   "writing " + path);
}

Result<std::optional<WatermarkContents>> Watermark::Read(rocksdb::FileSystem& fs,
                                                         const std::string& path,
                                                         const std::string& store_id,
                                                         std::string* absent) {
  STRATA_ASSIGN_OR_RETURN(const bool exists, FileExists(fs, path));
  if (!exists) {
    *absent = path + " is missing";
    return std::optional<WatermarkContents>();
  }
  STRATA_ASSIGN_OR_RETURN(const std::string file, ReadFile(fs, path));
  std::optional<WatermarkContents> found;
  bool other_store = false;
  for (size_t i = 0; i < kSlots; ++i) {
    uint64_t sequence = 0;
    uint64_t commit = 0;
    const SlotState state = DecodeSlot(file, i, FromHex(store_id), &sequence, &commit);
    other_store |= state == SlotState::kOtherStore;
    if (state != SlotState::kGood || (found && found->header_sequence >= sequence)) continue;
    found.emplace();
    found->header_sequence = sequence;
    found->commit = commit;
  }
  if (!found) {
    *absent = path + (other_store ? " belongs to another store" : " has no readable header");
    return found;
  }
  for (size_t region = 0; region < kRegions; ++region) {
    uint64_t sequence = 0;
    NextIds next_ids;
    if (!DecodeRegion(file, region, &sequence, &next_ids) || sequence <= found->table_sequence)
      continue;
    found->table_sequence = sequence;
    found->next_ids = std::move(next_ids);
  }
  return found;
}

std::optional<std::string> Watermark::OwnerOf(rocksdb::FileSystem& fs, const std::string& path) {
  const Result<bool> exists = FileExists(fs, path);
  if (!exists.ok() || !*exists) return std::nullopt;
  const auto file = ReadFile(fs, path);
  if (!file.ok()) return std::nullopt;
  uint64_t sequence = 0;
  uint64_t commit = 0;
  for (size_t i = 0; i < kSlots; ++i) {
    const std::string_view view = *file;
    if (view.size() < i * kSlotDistance + kSlotBytes) break;
    const std::string_view id = view.substr(i * kSlotDistance + 16, 16);
    if (DecodeSlot(view, i, id, &sequence, &commit) == SlotState::kGood) return ToHex(id);
  }
  return std::nullopt;
}

std::vector<std::string> Watermark::Damage(rocksdb::FileSystem& fs, const std::string& path) {
  std::vector<std::string> damage;
  const auto file = ReadFile(fs, path);
  if (!file.ok()) return damage;  // said elsewhere
  std::string rest = file->substr(0, kTableAt);
  uint64_t sequence = 0;
  uint64_t commit = 0;
  for (size_t i = 0; i < kSlots; ++i) {
    const size_t at = i * kSlotDistance;
    const std::string_view id = std::string_view(rest).substr(std::min(at + 16, rest.size()), 16);
    if (DecodeSlot(rest, i, id, &sequence, &commit) != SlotState::kGood) {
      damage.push_back("header slot " + std::to_string(i) + " is damaged; the other one counts");
    }
    if (at < rest.size())
      rest.replace(at, std::min(kSlotBytes, rest.size() - at), kSlotBytes, '\0');
  }
  if (file->size() < kTableAt) damage.emplace_back("it is cut short");
  if (rest.find_first_not_of('\0') != std::string::npos) {
    damage.emplace_back("bytes that say nothing are not zero");
  }
  bool any_table = file->size() <= kTableAt;
  for (size_t region = 0; region < kRegions; ++region) {
    const size_t at = BlockOffset(region, 0);
    if (at >= file->size()) continue;
    const std::string_view block = std::string_view(*file).substr(at, kBlockBytes);
    NextIds next_ids;
    const bool readable = DecodeRegion(*file, region, &sequence, &next_ids);
    any_table |= readable;
    if (readable || block.find_first_not_of('\0') == std::string_view::npos) continue;
    damage.push_back("table " + std::to_string(region) +
                     " is damaged or torn; the other one counts");
  }
  if (!any_table) damage.emplace_back("no table of ids is left of it");
  return damage;
}

Watermark::Watermark(std::unique_ptr<rocksdb::FSRandomRWFile> file, std::string store_id,
                     const WatermarkContents& contents)
    : file_(std::move(file)),
      store_id_(std::move(store_id)),
      header_sequence_(contents.header_sequence),
      table_sequence_(contents.table_sequence) {}

Result<std::unique_ptr<Watermark>> Watermark::Open(rocksdb::FileSystem& fs, const std::string& path,
                                                   const std::string& store_id,
                                                   const WatermarkContents& contents) {
  std::unique_ptr<rocksdb::FSRandomRWFile> file;
  STRATA_RETURN_IF_ERROR(FromRocks(fs.NewRandomRWFile(path, rocksdb::FileOptions(), &file, nullptr),
                                   "opening " + path));
  return std::unique_ptr<Watermark>(new Watermark(std::move(file), FromHex(store_id), contents));
}

Status Watermark::NoteDurable(uint64_t commit) {
  ++header_sequence_;
  const auto slot = EncodeSlot(store_id_, header_sequence_, commit);
  return FromRocks(file_->Write((header_sequence_ % kSlots) * kSlotDistance,
                                rocksdb::Slice(slot.data(), slot.size()), IOOptions(), nullptr),
                   "writing the watermark");
}

Status Watermark::NoteAcknowledged(const NextIds& next_ids) {
  MutexLock lock(table_mu_);
  ++table_sequence_;
  const size_t region = table_sequence_ % kRegions;
  size_t index = 0;
  for (size_t from = 0; index == 0 || from < next_ids.size(); from += kEntriesPerBlock, ++index) {
    EncodeBlock(next_ids, from, table_sequence_, &block_);
    STRATA_RETURN_IF_ERROR(
        FromRocks(file_->Write(BlockOffset(region, index), block_, IOOptions(), nullptr),
                  "writing the watermark"));
  }
  return Status::Ok();
}

Status Watermark::Sync() {
  return FromRocks(file_->Sync(IOOptions(), nullptr), "syncing the watermark");
}

}  // namespace strata::storage
