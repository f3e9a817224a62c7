// Logs and MANIFESTs.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/salvage.h"
#include "storage/salvage_bytes.h"

namespace strata::storage {
namespace {

constexpr uint64_t kLogBlock = 32u << 10;
constexpr uint64_t kHeader = 7;     // checksum 4, length 2, type 1
constexpr size_t kMaxListed = 100;  // damage in one file
enum Part : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

struct Fragment {
  Part part = kFull;
  std::string_view bytes;
};

// The fragment at `at`, if one is there that proves itself. A fragment never crosses a block.
bool ReadFragment(std::string_view file, uint64_t at, Fragment* fragment) {
  const uint64_t left = std::min<uint64_t>(kLogBlock - at % kLogBlock, file.size() - at);
  if (left < kHeader) return false;
  const char* header = file.data() + at;
  const uint64_t size = static_cast<uint8_t>(header[4]) | static_cast<uint8_t>(header[5]) << 8;
  const auto part = static_cast<uint8_t>(header[6]);
  if (part < kFull || part > kLast || size > left - kHeader) return false;
  const uint32_t crc = MaskedCrc(rocksdb::crc32c::Extend(0, header + 6, size + 1));
  if (crc != GetFixed32(header)) return false;
  *fragment = {static_cast<Part>(part), file.substr(at + kHeader, size)};
  return true;
}

bool IsZero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

// Where reading goes on behind what is damaged at `at`: behind the fragment, if its length is still right, or in the
// next block. Not at whatever proves itself in between: a message may hold the bytes of somebody's log.
uint64_t BehindDamage(std::string_view file, uint64_t at) {
  const uint64_t end = std::min<uint64_t>((at / kLogBlock + 1) * kLogBlock, file.size());
  if (end - at < kHeader) return end;
  const char* header = file.data() + at;
  const uint64_t size = static_cast<uint8_t>(header[4]) | static_cast<uint8_t>(header[5]) << 8;
  const uint64_t next = at + kHeader + size;
  Fragment fragment;
  return next < end && ReadFragment(file, next, &fragment) ? next : end;
}

// Whether what is wrong at `at` is what a power cut leaves of an append: its end, or whole sectors, are missing.
bool IsTorn(std::string_view file, uint64_t at) {
  constexpr size_t kZeros = 64;
  constexpr uint64_t kSector = 512;
  constexpr uint64_t kLeastHole = 8;  // an edit that is whole has no eight zeros on end as a rule
  const std::string_view bad = file.substr(at);
  if (bad.size() < kHeader) return true;
  const uint64_t size = static_cast<uint8_t>(bad[4]) | static_cast<uint8_t>(bad[5]) << 8;
  const uint64_t block_left = kLogBlock - at % kLogBlock;
  if (size <= block_left - kHeader && size > bad.size() - kHeader) return true;
  // Sectors of which all that the file has is missing. The first has what is behind `at`, maybe less than a header, the
  // last one what is in front of the file's end.
  const std::string_view block = bad.substr(0, block_left);
  for (uint64_t from = 0; from < block.size();) {
    const std::string_view sector = block.substr(from, kSector - (at + from) % kSector);
    if ((from == 0 || sector.size() >= kLeastHole) && IsZero(sector)) return true;
    from += sector.size();
  }
  return block.find(std::string(kZeros, '\0')) != std::string_view::npos;
}

// Tags of an edit; RocksDB's db/version_edit.h.
enum Tag : uint32_t {
  kComparator = 1,
  kLogNumber = 2,
  kNextFile = 3,
  kLastSequence = 4,
  kCompactCursor = 5,
  kDeletedFile = 6,
  kPrevLog = 9,
  kMinLog = 10,
  kNewFile = 103,
  kFamily = 200,
  kFamilyAdd = 201,
  kFamilyDrop = 202,
  kMaxFamily = 203,
  kAtomicGroup = 300,
  kMayBeIgnored = 1u << 13,
};

struct Edit {
  uint32_t family = 0;
  std::vector<uint64_t> deleted;
  std::vector<std::pair<uint64_t, uint64_t>> added;  // number, size
  std::string added_family;
  bool dropped = false;
  uint64_t log_number = 0;
  uint64_t min_log = 0;
};

bool ReadNewFile(Cursor* in, Edit* edit) {
  uint32_t level = 0;
  uint64_t number = 0;
  uint64_t size = 0;
  uint64_t sequence = 0;
  std::string_view bytes;
  if (!in->Varint32(&level) || !in->Varint64(&number) || !in->Varint64(&size) ||
      !in->Prefixed(&bytes) || !in->Prefixed(&bytes) || !in->Varint64(&sequence) ||
      !in->Varint64(&sequence)) {
    return false;
  }
  for (uint32_t tag = 0; in->Varint32(&tag);) {
    if (tag == 1) {  // ends the fields that later versions added
      edit->added.emplace_back(number, size);
      return true;
    }
    if (!in->Prefixed(&bytes)) return false;
  }
  return false;
}

bool ReadField(uint32_t tag, Cursor* in, Edit* edit) {
  uint32_t small = 0;
  uint64_t number = 0;
  std::string_view bytes;
  switch (tag) {
    case kComparator:
      return in->Prefixed(&bytes);
    case kLogNumber:
      return in->Varint64(&edit->log_number);
    case kMinLog:
      return in->Varint64(&edit->min_log);
    case kNextFile:
    case kLastSequence:
    case kPrevLog:
      return in->Varint64(&number);
    case kCompactCursor:
      return in->Varint32(&small) && in->Prefixed(&bytes);
    case kDeletedFile:
      if (!in->Varint32(&small) || !in->Varint64(&number)) return false;
      edit->deleted.push_back(number);
      return true;
    case kNewFile:
      return ReadNewFile(in, edit);
    case kFamily:
      return in->Varint32(&edit->family);
    case kFamilyAdd:
      if (!in->Prefixed(&bytes)) return false;
      edit->added_family = bytes;
      return true;
    case kFamilyDrop:
      edit->dropped = true;
      return true;
    case kMaxFamily:
    case kAtomicGroup:
      return in->Varint32(&small);
    default:
      return (tag & kMayBeIgnored) != 0 && in->Prefixed(&bytes);
  }
}

bool Apply(std::string_view record, ManifestContents* contents) {
  Edit edit;
  Cursor in(record);
  while (!in.rest().empty()) {
    uint32_t tag = 0;
    if (!in.Varint32(&tag) || !ReadField(tag, &in, &edit)) return false;
  }
  if (!edit.added_family.empty()) contents->families[edit.family] = edit.added_family;
  if (edit.dropped) {
    contents->families.erase(edit.family);
    contents->log_numbers.erase(edit.family);
    std::erase_if(contents->files,
                  [&](const auto& each) { return each.second.family == edit.family; });
  }
  for (const uint64_t number : edit.deleted) contents->files.erase(number);
  for (const auto& [number, size] : edit.added) contents->files[number] = {edit.family, size};
  if (edit.log_number != 0) contents->log_numbers[edit.family] = edit.log_number;
  contents->min_log = std::max(contents->min_log, edit.min_log);
  return true;
}

}  // namespace

LogInfo ReadLog(std::string_view file, const std::function<void(std::string_view)>& record) {
  LogInfo info;
  std::string gathered;
  bool open = false;  // a record that has begun and not ended
  uint64_t at = 0;
  const auto damaged = [&](uint64_t where, std::string what, bool torn = false) {
    if (info.damage.size() < kMaxListed) info.damage.push_back({where, std::move(what), torn});
    open = false;
  };
  while (at < file.size()) {
    const uint64_t left = kLogBlock - at % kLogBlock;
    if (left < kHeader) {  // too small for a header: filled with zeros
      if (!IsZero(file.substr(at, left))) damaged(at, "the end of a block is not zero");
      at += left;
      continue;
    }
    Fragment fragment;
    if (!ReadFragment(file, at, &fragment)) {
      const uint64_t next = BehindDamage(file, at);
      const bool torn = IsTorn(file, at);
      damaged(at,
              torn ? "a record was not written to its end"
                   : fmt::format("{} bytes are damaged", next - at),
              torn);
      at = next;
      continue;
    }
    const bool begins = fragment.part == kFull || fragment.part == kFirst;
    if (begins == open)
      damaged(at, open ? "a record without its end" : "a record without its start");
    if (begins) gathered.clear();
    if (begins || open) {
      gathered.append(fragment.bytes);
      open = fragment.part == kFirst || fragment.part == kMiddle;
      if (!open) {
        ++info.records;
        record(gathered);
      }
    }
    at += kHeader + fragment.bytes.size();
  }
  if (open) damaged(file.size(), "the last record is cut off", /*torn=*/true);
  return info;
}

ManifestContents ReadManifest(std::string_view file) {
  ManifestContents contents;
  contents.families[0] = "default";
  std::vector<FileDamage> unknown;
  const LogInfo log = ReadLog(file, [&](std::string_view record) {
    if (!Apply(record, &contents)) unknown.push_back({0, "an edit that is not understood"});
  });
  contents.damage = log.damage;
  contents.damage.insert(contents.damage.end(), unknown.begin(), unknown.end());
  if (log.records == 0) contents.damage.push_back({0, "it holds nothing"});
  return contents;
}

}  // namespace strata::storage
