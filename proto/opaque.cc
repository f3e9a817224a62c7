#include "proto/opaque.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "base/wire.h"

namespace strata {
namespace {

constexpr size_t kCopyMessagesBelow = 16u << 10;
constexpr size_t kCopyPiecesBelow = 1u << 10;

std::string_view View(const grpc::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

Status Malformed(const google::protobuf::MessageLite& message) {
  return Status(Reason::INVALID_ARGUMENT, "the bytes are not a " + message.GetTypeName());
}

// Slices of a buffer, each found by a binary search: Buffer::Slice() walks from the first piece, and a
// hostile request of many parts in as many pieces would cost minutes.
class PieceMap {
 public:
  explicit PieceMap(const Buffer& buffer) : buffer_(buffer) {
    ends_.reserve(buffer.pieces().size());
    size_t end = 0;
    for (const std::string_view piece : buffer.pieces()) ends_.push_back(end += piece.size());
  }

  // REQUIRES: offset + length <= the buffer's size.
  Buffer Slice(size_t offset, size_t length) const {
    std::vector<std::string_view> pieces;
    auto piece =
        static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), offset) - ends_.begin());
    for (; length > 0; ++piece) {
      const std::string_view bytes = buffer_.pieces()[piece];
      pieces.push_back(bytes.substr(offset - (ends_[piece] - bytes.size()), length));
      offset += pieces.back().size();
      length -= pieces.back().size();
    }
    return Buffer(std::move(pieces), buffer_.owner());
  }

 private:
  const Buffer& buffer_;
  std::vector<size_t> ends_;  // of each piece, from the start of the buffer
};

}  // namespace

Buffer ToBuffer(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  if (!message.Valid() || !message.Dump(&slices).ok()) return Buffer();
  if (message.Length() < kCopyMessagesBelow) {
    std::string bytes;
    bytes.reserve(message.Length());
    for (const grpc::Slice& slice : slices) bytes.append(View(slice));
    return Buffer(std::move(bytes));
  }
  // Short slices hold their bytes inside the grpc::Slice object, so the views are taken only once
  // the slices are where they stay.
  auto owner = std::make_shared<const std::vector<grpc::Slice>>(std::move(slices));
  std::vector<std::string_view> pieces;
  pieces.reserve(owner->size());
  for (const grpc::Slice& slice : *owner) pieces.push_back(View(slice));
  return Buffer(std::move(pieces), std::move(owner));
}

void AppendSlices(const Buffer& buffer, std::vector<grpc::Slice>* slices) {
  for (const std::string_view piece : buffer.pieces()) {
    if (piece.empty()) continue;
    if (piece.size() < kCopyPiecesBelow || buffer.owner() == nullptr) {
      slices->emplace_back(piece.data(), piece.size());
      continue;
    }
    // A slice wants a pointer that it may write through; nobody writes through ours.
    slices->emplace_back(
        const_cast<char*>(piece.data()), piece.size(),
        [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); },
        new std::shared_ptr<const void>(buffer.owner()));
  }
}

grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& head, const Buffer& batch) {
  std::vector<grpc::Slice> slices;
  slices.reserve(1 + batch.pieces().size());
  slices.emplace_back(head.SerializeAsString() + NestedHeader(kBatchField, batch.size()));
  AppendSlices(batch, &slices);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string NestedHeader(uint32_t field, size_t length) {
  std::string out;
  wire::AppendTag(&out, field, wire::WireType::kBytes);
  wire::AppendVarint(&out, length);
  return out;
}

Status SplitOpaque(const Buffer& message, google::protobuf::MessageLite* head,
                   std::optional<Buffer>* batch) {
  STRATA_ASSIGN_OR_RETURN(wire::Split split, wire::SplitNested(message, kBatchField));
  if (!head->ParseFromString(split.rest)) return Malformed(*head);
  *batch = std::move(split.nested);
  return Status();
}

Result<std::vector<Buffer>> SplitRepeated(const Buffer& message, uint32_t field) {
  const PieceMap map(message);
  std::vector<Buffer> parts;
  wire::Cursor cursor(message);
  while (!cursor.AtEnd()) {
    wire::Tag tag;
    size_t length = 0;
    bool ok = cursor.ReadTag(&tag);
    if (ok && tag.field == field && tag.type == wire::WireType::kBytes) {
      ok = cursor.ReadLength(&length);
      if (ok) parts.push_back(map.Slice(cursor.position(), length));
      ok = ok && cursor.Skip(length);
    } else {
      ok = ok && cursor.SkipValue(tag.type);
    }
    if (!ok) {
      return Status(Reason::INVALID_ARGUMENT, "the request's bytes are malformed near offset " +
                                                  std::to_string(cursor.position()));
    }
    if (parts.size() > kMaxRepeated) {
      return Status(Reason::INVALID_ARGUMENT,
                    "the request has more than " + std::to_string(kMaxRepeated) + " parts");
    }
  }
  return parts;
}

Status ParseOpaque(const Buffer& message, google::protobuf::MessageLite* out) {
  const Buffer bytes = message.Contiguous();
  if (!out->ParseFromArray(bytes.view().data(), static_cast<int>(bytes.size()))) {
    return Malformed(*out);
  }
  return Status();
}

}  // namespace strata
