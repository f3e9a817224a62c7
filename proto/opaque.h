// Messages of the data path as the bytes that they are on the wire, for server and client.
//
// A message that carries a batch is read and written in two parts: the batch, a Buffer that shares
// the slices which gRPC received or will send, and the few bytes around it, which go through the
// generated classes. So no hop copies a payload and no strata.v1.MessageBatch object is built; what
// goes over the wire is byte for byte what the generated classes would write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "base/buffer.h"
#include "base/status.h"

namespace strata {

// The field of AppendRequest, ProduceRequest and Delivery that is their batch.
inline constexpr uint32_t kBatchField = 15;

// What AppendMulti may carry: two bytes are enough for one, and must not become hundreds of them.
inline constexpr size_t kMaxRepeated = 65'536;

// The bytes of a gRPC message. Large ones share its slices. Small ones, below 16 KiB, are copied
// into one piece: a slice keeps the whole buffer alive that its bytes were read into, up to 64 KiB
// with the messages of others, and a few hundred bytes that somebody keeps must not hold that. A
// message that gRPC cannot unpack becomes an empty one.
Buffer ToBuffer(const grpc::ByteBuffer& message);

// The reverse: slices that keep the buffer's owner alive. Pieces below 1 KiB are copied.
void AppendSlices(const Buffer& buffer, std::vector<grpc::Slice>* slices);
grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& message);
// `head`, then its batch. REQUIRES: `head` has no batch.
grpc::ByteBuffer ToByteBuffer(const google::protobuf::MessageLite& head, const Buffer& batch);

// Tag and length of an embedded message whose bytes follow.
std::string NestedHeader(uint32_t field, size_t length);

// INVALID_ARGUMENT for malformed bytes, a second batch, or more than 1 MiB beside it. The batch
// itself is not looked into.
Status SplitOpaque(const Buffer& message, google::protobuf::MessageLite* head,
                   std::optional<Buffer>* batch);
// The messages of repeated field `field`, in order, sharing the memory of `message`; other fields are
// passed over. INVALID_ARGUMENT for malformed bytes, or more than kMaxRepeated of them.
Result<std::vector<Buffer>> SplitRepeated(const Buffer& message, uint32_t field);
// For messages without a batch. INVALID_ARGUMENT for malformed bytes.
Status ParseOpaque(const Buffer& message, google::protobuf::MessageLite* out);

}  // namespace strata
