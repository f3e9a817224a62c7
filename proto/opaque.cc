#include "proto/opaque.h"

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

Status ParseOpaque(const Buffer& message, google::protobuf::MessageLite* out) {
  const Buffer bytes = message.Contiguous();
  if (!out->ParseFromArray(bytes.view().data(), static_cast<int>(bytes.size()))) {
    return Malformed(*out);
  }
  return Status();
}

}  // namespace strata
