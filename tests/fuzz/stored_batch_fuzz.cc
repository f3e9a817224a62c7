// Any bytes as a row of a stratum: the storage codec. The first byte chooses whether key and value are
// taken as they are, are given a checksum that matches first (so that what lies behind it is reached),
// or are the fields of a batch that is encoded and read back.
#include <string>

#include "storage/codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/bodies.h"
#include "storage/rocks.h"
#include "tests/fuzz/fuzz.h"

namespace strata::storage {
namespace {

uint64_t Hash(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string Little(uint64_t value, size_t bytes) {
  std::string out;
  for (size_t i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

// As docs/formats/batch.md describes it. REQUIRES: a header's length at least.
uint64_t ChecksumOf(const std::string& key, const std::string& value) {
  const std::string header = value.substr(0, kChecksumOffset);
  const std::string body = value.substr(kBatchHeaderBytes);
  return Hash(key + header + (header[0] == 1 ? body : Little(Hash(body), 8)));
}

// A row that was read says the same again when it is written from what was read.
void CheckAccepted(const std::string& key, const std::string& value, const BatchView& view) {
  FUZZ_CHECK(key.size() == kMessageKeyBytes && value.size() >= kBatchHeaderBytes);
  FUZZ_CHECK(view.count > 0 && view.first_id >= 1 && view.next_id() > view.first_id);
  const std::string_view body = std::string_view(value).substr(kBatchHeaderBytes);
  FUZZ_CHECK(view.elsewhere ? view.body.empty() : view.body == body);

  BatchRecord record{.channel = view.channel,
                     .first_id = view.first_id,
                     .count = view.count,
                     .append_time = view.append_time,
                     .producer = view.producer,
                     .sequence = view.sequence,
                     .bytes = Buffer(std::string(view.body))};
  const MessageKey same_key = EncodeMessageKey(view.channel, view.first_id);
  FUZZ_CHECK(std::string_view(same_key.data(), same_key.size()) == key);
  BatchHeader header;
  if (view.elsewhere) {
    const EncodedReference reference = EncodeReference(*view.elsewhere);
    FUZZ_CHECK(std::string_view(reference.data(), reference.size()) == body);
    header = EncodeBatchHeader(same_key, record, reference);
  } else {
    header = EncodeBatchHeader(same_key, record);
  }
  const std::string encoded(header.data(), header.size());
  // Version 1 is read and no longer written; the rest of its header is the same.
  FUZZ_CHECK(value[0] == 1 || encoded == value.substr(0, kBatchHeaderBytes));
  FUZZ_CHECK(encoded.substr(1, kChecksumOffset - 1) == value.substr(1, kChecksumOffset - 1));
}

// What was accepted is not accepted with another bit.
void CheckFlips(const std::string& key, const std::string& value, testing::Random* random) {
  for (int i = 0; i < 8; ++i) {
    std::string row = key + value;
    const size_t at =
        i % 2 == 0 ? random->Below(key.size() + kBatchHeaderBytes) : random->Below(row.size());
    row[at] = static_cast<char>(row[at] ^ (1 << random->Below(8)));
    BatchView view;
    FUZZ_CHECK_SAY(DecodeBatch(row.substr(0, key.size()), row.substr(key.size()), &view) != nullptr,
                   "byte " + std::to_string(at));
  }
}

void CheckRow(const std::string& key, const std::string& value, testing::Random* random) {
  BatchView view;
  if (DecodeBatch(key, value, &view) != nullptr) return;
  CheckAccepted(key, value, view);
  CheckFlips(key, value, random);
}

void CheckEncoded(fuzz::Input* input, testing::Random* random) {
  const bool separate = input->Byte() % 2 == 1;
  BatchRecord record;
  record.channel = input->Number();
  record.first_id = static_cast<MessageId>(1 + input->Number() % (uint64_t{1} << 62));
  record.count = 1 + static_cast<uint32_t>(input->Number() % kMaxBatchMessages);
  record.append_time = static_cast<TimeMicros>(input->Number());
  record.producer = input->Number();
  record.sequence = input->Number();
  const MessageKey key = EncodeMessageKey(record.channel, record.first_id);
  const BodyReference where{static_cast<uint32_t>(input->Number()), input->Number(),
                            input->Number() % (1u << 30), input->Number()};
  const EncodedReference reference = EncodeReference(where);
  std::string body(reference.data(), reference.size());
  BatchHeader header;
  if (separate) {
    header = EncodeBatchHeader(key, record, reference);
  } else {
    body = input->rest();
    record.bytes = testing::InPieces(body, random, 1 + random->Below(4));
    header = EncodeBatchHeader(key, record);
  }
  const std::string row_key(key.data(), key.size());
  const std::string row = std::string(header.data(), header.size()) + body;
  BatchView view;
  const char* wrong = DecodeBatch(row_key, row, &view);
  FUZZ_CHECK_SAY(wrong == nullptr, wrong);
  FUZZ_CHECK(view.channel == record.channel && view.first_id == record.first_id);
  FUZZ_CHECK(view.count == record.count && view.append_time == record.append_time);
  FUZZ_CHECK(view.producer == record.producer && view.sequence == record.sequence);
  FUZZ_CHECK(view.elsewhere.has_value() == separate);
  FUZZ_CHECK(view.body_bytes() == (separate ? where.length : body.size()));
  CheckRow(row_key, row, random);
}

// Files and column families are found by their names.
void CheckName(std::string_view name) {
  uint32_t stratum = 0;
  if (ParseBodyName(name, &stratum))
    FUZZ_CHECK(BodyPath("db", stratum) == "db/" + std::string(name));
  if (ParseStratumName(name, &stratum)) FUZZ_CHECK(StratumName(stratum) == name);
}

}  // namespace
}  // namespace strata::storage

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata;
  using namespace strata::storage;
  fuzz::Input input(data, size);
  testing::Random random = fuzz::RandomOf(input.rest());
  const uint8_t kind = input.Byte() % 4;
  if (kind == 2) {
    CheckEncoded(&input, &random);
    return 0;
  }
  if (kind == 3) {
    CheckName(input.rest());
    return 0;
  }
  const std::string key(input.Take(kMessageKeyBytes));
  std::string value(input.rest());
  if (kind == 1 && value.size() >= kBatchHeaderBytes) {
    value.replace(kChecksumOffset, 8, Little(ChecksumOf(key, value), 8));
  }
  CheckRow(key, value, &random);
  return 0;
}
