#include "server/log_service.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/convert.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"
#include "server/consume_stream.h"
#include "server/fetch_call.h"
#include "server/produce_stream.h"

namespace strata::server {
namespace {

// A request that may be appended, or why not.
Status ParseAppend(const Buffer& bytes, broker::AppendRequest* out) {
  v1::AppendRequest head;
  std::optional<Buffer> batch;
  STRATA_RETURN_IF_ERROR(SplitOpaque(bytes, &head, &batch));
  if (!batch.has_value()) {
    return Status(Reason::INVALID_ARGUMENT,
                  "the request to append to channel '" + head.channel() + "' has no batch");
  }
  out->channel = head.channel();
  out->channel_number = head.channel_number();
  out->producer = head.producer();
  out->term = head.term();
  out->sequence = head.sequence();
  out->expected_next_id = head.expected_next_id();
  out->batch = std::move(*batch);
  return Status();
}

// Which channels, and whether any, is the broker's to check.
Status ParseAppendMulti(const Buffer& bytes, std::vector<broker::AppendRequest>* out) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<Buffer> appends,
                          SplitRepeated(bytes, v1::AppendMultiRequest::kAppendsFieldNumber));
  out->reserve(appends.size());
  for (const Buffer& append : appends) {
    STRATA_RETURN_IF_ERROR(ParseAppend(append, &out->emplace_back()));
  }
  return Status();
}

// An append under way, so that draining waits for it; it ends by itself soon enough.
class OpenAppend final : public DrainableStream {
 public:
  void Drain() override {}
};

}  // namespace

grpc::ServerUnaryReactor* LogService::Append(grpc::CallbackServerContext* call,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  auto open = std::make_shared<OpenAppend>();
  broker::AppendRequest append;
  Status status = ParseAppend(ToBuffer(*request), &append);
  if (status.ok() && !context_->producers.Add(open)) status = Draining();
  if (!status.ok()) {
    reactor->Finish(ToGrpc(status));
    return reactor;
  }
  context_->broker->AppendAsync(std::move(append), [context = context_, open, reactor,
                                                    response](const Result<AppendResult>& result) {
    if (result.ok()) {
      v1::AppendResponse reply;
      ToProto(*result, reply.mutable_result());
      *response = ToByteBuffer(reply);
    } else {
      context->health->NoteError(result.status());
    }
    reactor->Finish(ToGrpc(result.status()));
    context->producers.Remove(open.get());
  });
  return reactor;
}

grpc::ServerUnaryReactor* LogService::AppendMulti(grpc::CallbackServerContext* call,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  auto open = std::make_shared<OpenAppend>();
  std::vector<broker::AppendRequest> appends;
  Status status = ParseAppendMulti(ToBuffer(*request), &appends);
  if (status.ok() && !context_->producers.Add(open)) status = Draining();
  if (!status.ok()) {
    reactor->Finish(ToGrpc(status));
    return reactor;
  }
  const auto done = [context = context_, open, reactor,
                     response](const Result<std::vector<AppendResult>>& results) {
    if (results.ok()) {
      v1::AppendMultiResponse reply;
      for (const AppendResult& result : *results) ToProto(result, reply.add_results());
      *response = ToByteBuffer(reply);
    } else {
      context->health->NoteError(results.status());
    }
    reactor->Finish(ToGrpc(results.status()));
    context->producers.Remove(open.get());
  };
  context_->broker->AppendMultiAsync(std::move(appends), done);
  return reactor;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LogService::Produce(
    grpc::CallbackServerContext* call) {
  return ProduceStream::Start(context_, call->peer());
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LogService::Consume(
    grpc::CallbackServerContext* call) {
  return ConsumeStream::Start(context_, call->peer());
}

grpc::ServerUnaryReactor* LogService::Fetch(grpc::CallbackServerContext* call,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) {
  return FetchCall::Start(context_, call->peer(), *request, response);
}

grpc::ServerUnaryReactor* LogService::Acknowledge(grpc::CallbackServerContext* call,
                                                  const v1::AcknowledgeRequest* request,
                                                  v1::AcknowledgeResponse* /*response*/) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(ToGrpc(context_->broker->Acknowledge(request->channel(), request->subscription(),
                                                       request->through_id(), SeekOf(*request),
                                                       request->channel_number())));
  return reactor;
}

}  // namespace strata::server
