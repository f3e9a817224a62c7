#include "base/batch.h"

#include <algorithm>

#include "base/utf8.h"
#include "base/wire.h"

namespace strata {
namespace {

using wire::Cursor;
using wire::Tag;
using wire::WireType;

constexpr uint32_t kBatchMessages = 1;
constexpr uint32_t kMessagePayload = 1;
constexpr uint32_t kMessageProperties = 2;
constexpr uint32_t kEntryKey = 1;
constexpr uint32_t kEntryValue = 2;

// Bytes of a length-delimited field whose number is below 16: tag, length, content.
constexpr size_t FieldSize(size_t content) { return 1 + wire::VarintSize(content) + content; }

size_t EntrySize(std::string_view key, std::string_view value) {
  return FieldSize(key.size()) + FieldSize(value.size());
}

size_t MessageSize(size_t payload, const Properties& properties) {
  size_t size = FieldSize(payload);
  for (const auto& [key, value] : properties) size += FieldSize(EntrySize(key, value));
  return size;
}

Status Malformed(uint32_t message, size_t offset, std::string_view what) {
  return Status(Reason::INVALID_BATCH, std::string(what) + " in message " +
                                           std::to_string(message) + " of the batch, near byte " +
                                           std::to_string(offset));
}

// Checks one message of `length` bytes at the cursor and adds its payload and properties to
// *data_bytes.
class MessageChecker {
 public:
  MessageChecker(Cursor& cursor, uint32_t index) : cursor_(cursor), index_(index) {}

  Status Check(size_t length, uint64_t* data_bytes) {
    const size_t end = cursor_.position() + length;
    bool payload_seen = false;
    keys_.clear();
    check_keys_at_ = 64;
    while (cursor_.position() < end) {
      Tag tag;
      size_t field = 0;
      if (!cursor_.ReadTag(&tag)) return Bad("malformed tag");
      if (tag.type != WireType::kBytes) return Bad("unknown field");
      if (!cursor_.ReadLength(&field) || cursor_.position() + field > end) {
        return Bad("a length that exceeds the message");
      }
      if (tag.field == kMessagePayload) {
        if (payload_seen) return Bad("a second payload");
        payload_seen = true;
        *data_bytes += field;
        if (!cursor_.Skip(field)) return Bad("truncated payload");
      } else if (tag.field == kMessageProperties) {
        STRATA_RETURN_IF_ERROR(CheckEntry(field, data_bytes));
      } else {
        return Bad("unknown field " + std::to_string(tag.field));
      }
    }
    return CheckKeysDiffer();
  }

 private:
  Status Bad(std::string_view what) const { return Malformed(index_, cursor_.position(), what); }

  Status CheckEntry(size_t length, uint64_t* data_bytes) {
    const size_t end = cursor_.position() + length;
    bool key_seen = false;
    bool value_seen = false;
    std::string key;
    while (cursor_.position() < end) {
      Tag tag;
      size_t field = 0;
      if (!cursor_.ReadTag(&tag)) return Bad("malformed tag");
      if (tag.type != WireType::kBytes || (tag.field != kEntryKey && tag.field != kEntryValue)) {
        return Bad("unknown field in a property");
      }
      bool& seen = tag.field == kEntryKey ? key_seen : value_seen;
      if (seen) return Bad("a property with two keys or values");
      seen = true;
      std::string_view text;
      if (!cursor_.ReadLength(&field) || cursor_.position() + field > end ||
          !cursor_.ReadBytes(field, &scratch_, &text)) {
        return Bad("a length that exceeds the property");
      }
      if (!IsValidUtf8(text)) return Bad("a property that is not UTF-8");
      if (tag.field == kEntryKey) key.assign(text);
      *data_bytes += field;
    }
    keys_.push_back(std::move(key));
    // Now and then on the way, so that a hostile message of eight million equal properties is found
    // out before it has cost 32 bytes for each.
    if (keys_.size() < check_keys_at_) return Status::Ok();
    check_keys_at_ *= 2;
    return CheckKeysDiffer();
  }

  // A map with the same key twice would mean something else to each decoder.
  Status CheckKeysDiffer() {
    if (keys_.size() < 2) return Status::Ok();
    std::sort(keys_.begin(), keys_.end());
    const auto twice = std::adjacent_find(keys_.begin(), keys_.end());
    if (twice == keys_.end()) return Status::Ok();
    return Bad("the property '" + *twice + "' twice");
  }

  Cursor& cursor_;
  const uint32_t index_;
  std::string scratch_;
  std::vector<std::string> keys_;
  size_t check_keys_at_ = 0;  // how many keys are looked at for the first or next time
};

// Reads tag and length of a length-delimited field at the front of *in and cuts its content off.
bool CutField(std::string_view* in, uint32_t* field, std::string_view* content) {
  const auto varint = [in](uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !in->empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(in->front());
      in->remove_prefix(1);
      *value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  };
  uint64_t tag = 0;
  uint64_t length = 0;
  if (!varint(&tag) || (tag & 7) != static_cast<uint64_t>(WireType::kBytes)) return false;
  if (!varint(&length) || length > in->size()) return false;
  *field = static_cast<uint32_t>(tag >> 3);
  *content = in->substr(0, length);
  in->remove_prefix(length);
  return true;
}

}  // namespace

size_t BatchBuilder::EncodedSize(size_t payload, const Properties& properties) {
  return FieldSize(MessageSize(payload, properties));
}

void BatchBuilder::Add(std::string_view payload, const Properties& properties) {
  wire::AppendTag(&encoded_, kBatchMessages, WireType::kBytes);
  wire::AppendVarint(&encoded_, MessageSize(payload.size(), properties));
  wire::AppendBytes(&encoded_, kMessagePayload, payload);
  for (const auto& [key, value] : properties) {
    wire::AppendTag(&encoded_, kMessageProperties, WireType::kBytes);
    wire::AppendVarint(&encoded_, EntrySize(key, value));
    wire::AppendBytes(&encoded_, kEntryKey, key);
    wire::AppendBytes(&encoded_, kEntryValue, value);
  }
  ++count_;
}

Buffer BatchBuilder::Take() {
  count_ = 0;
  return Buffer(std::exchange(encoded_, {}));
}

Result<BatchShape> CheckBatch(const Buffer& batch, const BatchLimits& limits) {
  if (batch.size() > limits.max_batch()) {
    return Status(Reason::BATCH_TOO_LARGE, "the batch has " + std::to_string(batch.size()) +
                                               " bytes, at most " +
                                               std::to_string(limits.max_batch()) + " are allowed");
  }
  BatchShape shape;
  Cursor cursor(batch);
  while (!cursor.AtEnd()) {
    Tag tag;
    size_t length = 0;
    if (!cursor.ReadTag(&tag) || tag.field != kBatchMessages || tag.type != WireType::kBytes) {
      return Malformed(shape.count, cursor.position(), "unknown field");
    }
    if (!cursor.ReadLength(&length)) {
      return Malformed(shape.count, cursor.position(), "a length that exceeds the batch");
    }
    uint64_t data_bytes = 0;
    STRATA_RETURN_IF_ERROR(MessageChecker(cursor, shape.count).Check(length, &data_bytes));
    if (data_bytes > limits.max_payload) {
      return Status(Reason::MESSAGE_TOO_LARGE,
                    "message " + std::to_string(shape.count) + " of the batch has " +
                        std::to_string(data_bytes) + " bytes of payload and properties, at most " +
                        std::to_string(limits.max_payload) + " are allowed (limits.maxPayload)");
    }
    shape.data_bytes += data_bytes;
    if (++shape.count > kMaxBatchMessages) {
      return Status(Reason::BATCH_TOO_LARGE,
                    "the batch has more than " + std::to_string(kMaxBatchMessages) + " messages");
    }
  }
  if (shape.count == 0) return Status(Reason::INVALID_BATCH, "the batch has no message");
  return shape;
}

std::vector<std::pair<std::string_view, std::string_view>> MessageView::properties() const {
  std::vector<std::pair<std::string_view, std::string_view>> out;
  std::string_view rest = encoded_;
  uint32_t field = 0;
  std::string_view content;
  while (!rest.empty() && CutField(&rest, &field, &content)) {
    if (field != kMessageProperties) continue;
    std::pair<std::string_view, std::string_view> entry;
    std::string_view part;
    while (!content.empty() && CutField(&content, &field, &part)) {
      (field == kEntryKey ? entry.first : entry.second) = part;
    }
    out.push_back(entry);
  }
  return out;
}

Message MessageView::ToMessage() const {
  Message message;
  message.payload.assign(payload);
  if (has_properties_) {
    for (const auto& [key, value] : properties()) message.properties.emplace(key, value);
  }
  return message;
}

bool BatchIterator::Next(MessageView* message) {
  if (rest_.empty() || !ok_) return false;
  uint32_t field = 0;
  std::string_view encoded;
  ok_ = CutField(&rest_, &field, &encoded) && field == kBatchMessages;
  if (!ok_) return false;
  message->id = next_id_++;
  message->append_time = append_time_;
  message->payload = {};
  message->encoded_ = encoded;
  message->has_properties_ = false;
  // The payload comes first from Strata's own encoder, and protobuf writes fields by number: one
  // step, no loop, unless another order was sent.
  std::string_view content;
  while (!encoded.empty()) {
    ok_ = CutField(&encoded, &field, &content);
    if (!ok_) return false;
    if (field == kMessagePayload) {
      message->payload = content;
      if (!encoded.empty()) message->has_properties_ = true;
      break;
    }
    message->has_properties_ = true;
  }
  return true;
}

}  // namespace strata
