#include "server/delivery_codec.h"

#include <string>

#include "proto/convert.h"
#include "proto/opaque.h"
#include "strata/v1/log.pb.h"

namespace strata::server {
namespace {

// Everything of a strata.v1.Delivery but the bytes of its batch, which are its last field.
std::string DeliveryHead(const broker::Delivery& delivery) {
  v1::Delivery head;
  head.set_first_id(delivery.batch.first_id);
  head.set_skip(delivery.skip);
  head.set_count(delivery.batch.count);
  head.set_append_time_micros(delivery.batch.append_time);
  return head.SerializeAsString() + NestedHeader(kBatchField, delivery.batch.bytes.size());
}

}  // namespace

grpc::ByteBuffer EncodeConsumeDelivery(const broker::Delivery& delivery) {
  const Buffer& batch = delivery.batch.bytes;
  const std::string head = DeliveryHead(delivery);
  std::vector<grpc::Slice> slices;
  slices.reserve(1 + batch.pieces().size());
  slices.emplace_back(
      NestedHeader(v1::ConsumeResponse::kDeliveryFieldNumber, head.size() + batch.size()) + head);
  AppendSlices(batch, &slices);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

void FetchResponseBuilder::Add(const broker::Delivery& delivery) {
  const Buffer& batch = delivery.batch.bytes;
  const std::string head = DeliveryHead(delivery);
  const std::string item =
      NestedHeader(v1::FetchItem::kDeliveryFieldNumber, head.size() + batch.size()) + head;
  slices_.emplace_back(
      NestedHeader(v1::FetchResponse::kItemsFieldNumber, item.size() + batch.size()) + item);
  AppendSlices(batch, &slices_);
  batch_bytes_ += batch.size();
}

void FetchResponseBuilder::Add(const Gap& gap) {
  v1::FetchResponse one;
  ToProto(gap, one.add_items()->mutable_gap());
  slices_.emplace_back(one.SerializeAsString());
}

grpc::ByteBuffer FetchResponseBuilder::Finish(const google::protobuf::MessageLite& tail) {
  slices_.emplace_back(tail.SerializeAsString());
  grpc::ByteBuffer out(slices_.data(), slices_.size());
  slices_.clear();
  batch_bytes_ = 0;
  return out;
}

}  // namespace strata::server
