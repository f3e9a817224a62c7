#include "client/grpc/codec.h"

#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/wire.h"
#include "client/calls.h"
#include "proto/convert.h"
#include "proto/opaque.h"

namespace strata {
namespace {

Status Malformed(const std::string& why) {
  return NothingAppended(Status(Reason::INTERNAL, "the daemon's answer is malformed: " + why));
}

// Readers count ids up, one beyond the last: a range that is none would overflow them, or take them back.
Result<ReceivedBatch> ParseGap(const v1::Gap& gap) {
  if (gap.first_id() > gap.last_id() || gap.last_id() == std::numeric_limits<MessageId>::max()) {
    return Malformed("a gap from " + std::to_string(gap.first_id()) + " to " +
                     std::to_string(gap.last_id()));
  }
  return ReceivedBatch(FromProto(gap));
}

Result<ReceivedBatch> ParseDelivery(const Buffer& message) {
  v1::Delivery head;
  std::optional<Buffer> batch;
  if (const Status split = SplitOpaque(message, &head, &batch); !split.ok()) {
    return Malformed(split.message());
  }
  if (!batch.has_value() || head.skip() >= head.count()) {
    return Malformed("a delivery without messages");
  }
  if (head.first_id() < kFirstMessageId ||
      head.first_id() > std::numeric_limits<MessageId>::max() - head.count()) {
    return Malformed("a delivery of " + std::to_string(head.count()) + " messages from id " +
                     std::to_string(head.first_id()));
  }
  return ReceivedBatch(batch->Contiguous(), head.first_id(), head.count(), head.skip(),
                       head.append_time_micros());
}

Result<ReceivedBatch> ParseFetchItem(const Buffer& message) {
  STRATA_ASSIGN_OR_RETURN(const wire::Split split,
                          wire::SplitNested(message, v1::FetchItem::kDeliveryFieldNumber));
  if (split.nested.has_value()) return ParseDelivery(*split.nested);
  v1::FetchItem item;
  if (!item.ParseFromString(split.rest) || !item.has_gap()) return Malformed("an empty item");
  return ParseGap(item.gap());
}

}  // namespace

Result<ConsumeEvent> ParseConsumeResponse(const Buffer& message) {
  Result<wire::Split> split = wire::SplitNested(message, v1::ConsumeResponse::kDeliveryFieldNumber);
  if (!split.ok()) return Malformed(split.status().message());
  if (split->nested.has_value()) {
    STRATA_ASSIGN_OR_RETURN(ReceivedBatch batch, ParseDelivery(*split->nested));
    return ConsumeEvent(std::move(batch));
  }
  v1::ConsumeResponse response;
  if (!response.ParseFromString(split->rest)) return Malformed("not a ConsumeResponse");
  switch (response.event_case()) {
    case v1::ConsumeResponse::kGap: {
      STRATA_ASSIGN_OR_RETURN(ReceivedBatch gap, ParseGap(response.gap()));
      return ConsumeEvent(std::move(gap));
    }
    case v1::ConsumeResponse::kOpened:
    case v1::ConsumeResponse::kSought:
    case v1::ConsumeResponse::kStandby:
      return ConsumeEvent(std::move(response));
    default:
      return Malformed("a ConsumeResponse without a known event");
  }
}

Result<FetchResult> ParseFetchResponse(const Buffer& message) {
  FetchResult result;
  std::string rest;
  wire::Cursor cursor(message);
  while (!cursor.AtEnd()) {
    const size_t start = cursor.position();
    wire::Tag tag;
    if (!cursor.ReadTag(&tag)) return Malformed("a tag");
    if (tag.field == v1::FetchResponse::kItemsFieldNumber && tag.type == wire::WireType::kBytes) {
      size_t length = 0;
      if (!cursor.ReadLength(&length)) return Malformed("a length");
      Result<ReceivedBatch> item = ParseFetchItem(message.Slice(cursor.position(), length));
      if (!item.ok()) return Malformed(item.status().message());
      result.batches.push_back(std::move(item).value());
      if (!cursor.Skip(length)) return Malformed("an item");
      continue;
    }
    if (!cursor.SkipValue(tag.type)) return Malformed("a field");
    message.Slice(start, cursor.position() - start).AppendTo(&rest);
  }
  v1::FetchResponse tail;
  if (!tail.ParseFromString(rest)) return Malformed("not a FetchResponse");
  result.next_position = tail.next_position();
  result.first_available = tail.first_available_id();
  result.next_id = tail.next_id();
  return result;
}

}  // namespace strata
