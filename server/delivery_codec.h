// Replies that carry batches: put together from the few bytes of their fields and the batches as
// they are stored, byte for byte what the generated classes would write (proto/opaque.h).
#pragma once

#include <vector>

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "broker/types.h"

namespace strata::server {

// A strata.v1.ConsumeResponse with this delivery.
grpc::ByteBuffer EncodeConsumeDelivery(const broker::Delivery& delivery);

// Puts a strata.v1.FetchResponse together: its items in order, then the fields of `tail`.
class FetchResponseBuilder {
 public:
  void Add(const broker::Delivery& delivery);
  void Add(const Gap& gap);
  // Of the batches so far.
  size_t batch_bytes() const { return batch_bytes_; }
  bool empty() const { return slices_.empty(); }
  // The response; the builder is empty afterwards. REQUIRES: `tail` has no items.
  grpc::ByteBuffer Finish(const google::protobuf::MessageLite& tail);

 private:
  std::vector<grpc::Slice> slices_;
  size_t batch_bytes_ = 0;
};

}  // namespace strata::server
