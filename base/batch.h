// Batches of messages as bytes: encode, check, iterate. docs/formats/batch.md has the grammar.
//
// The bytes are a strata.v1.MessageBatch. What a client sends, what is stored and what a consumer
// receives are the same bytes, so this one codec serves the SDK, the server and storage, and none
// of them builds protobuf objects: encoding is one copy of the payload, checking walks tags and
// lengths, reading returns views.
//
//   MessageBatch = { 0x0a length Message }                        field 1, repeated
//   Message      = [ 0x0a length payload ] { 0x12 length Entry }  fields 1 and 2; 3 is kept for
//                                                                 a message key
//   Entry        = [ 0x0a length key ] [ 0x12 length value ]      of map<string, string>
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/status.h"
#include "base/types.h"

namespace strata {

using Properties = std::map<std::string, std::string>;

// A message to append: bytes of any kind, and properties (UTF-8 keys and values). Both count
// against maxPayload.
struct Message {
  std::string payload;
  Properties properties;

  friend bool operator==(const Message&, const Message&) = default;
};

// Encodes messages one after the other. Not thread-safe; a value.
class BatchBuilder {
 public:
  void Add(std::string_view payload) { Add(payload, {}); }
  void Add(std::string_view payload, const Properties& properties);
  void Add(const Message& message) { Add(message.payload, message.properties); }

  uint32_t count() const { return count_; }
  size_t bytes() const { return encoded_.size(); }
  bool empty() const { return count_ == 0; }
  void Reserve(size_t bytes) { encoded_.reserve(bytes); }
  // What Add(payload, properties) would add to bytes().
  static size_t EncodedSize(size_t payload, const Properties& properties);

  // The encoded batch; the builder is empty afterwards.
  Buffer Take();

 private:
  std::string encoded_;
  uint32_t count_ = 0;
};

// What CheckBatch learned.
struct BatchShape {
  uint32_t count = 0;       // messages
  uint64_t data_bytes = 0;  // payloads, property keys and values
};

struct BatchLimits {
  uint64_t max_payload = kDefaultMaxPayload;  // bytes of one message's payload and properties
  uint64_t max_batch() const { return max_payload + kMaxBatchOverhead; }
};

// Walks `batch` without copying payloads and counts its messages. INVALID_BATCH for malformed
// bytes, unknown fields, a property twice in one message or properties that are not UTF-8;
// MESSAGE_TOO_LARGE; BATCH_TOO_LARGE (also for more than kMaxBatchMessages); INVALID_BATCH for no
// message at all. Nothing is stored in any of them.
Result<BatchShape> CheckBatch(const Buffer& batch, const BatchLimits& limits);

// One message inside a batch: views, valid as long as the batch's bytes.
class MessageView {
 public:
  MessageId id = 0;
  TimeMicros append_time = 0;
  std::string_view payload;

  // Decodes the properties anew on each call, in the order in which they are stored.
  std::vector<std::pair<std::string_view, std::string_view>> properties() const;
  bool has_properties() const { return has_properties_; }
  // A copy that owns its bytes.
  Message ToMessage() const;

 private:
  friend class BatchIterator;
  std::string_view encoded_;  // the whole Message
  bool has_properties_ = false;
};

// Iterates over an encoded batch in one piece, in order of ids.
//   BatchIterator it(bytes, first_id, append_time);
//   for (MessageView m; it.Next(&m);) Use(m);
//   if (!it.ok()) the bytes are not a batch
class BatchIterator {
 public:
  BatchIterator(std::string_view batch, MessageId first_id, TimeMicros append_time)
      : rest_(batch), next_id_(first_id), append_time_(append_time) {}

  // False at the end or at malformed bytes.
  bool Next(MessageView* message);
  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  MessageId next_id_;
  TimeMicros append_time_;
  bool ok_ = true;
};

}  // namespace strata
