#include "server/log_service.h"

#include <optional>
#include <string>

#include "proto/convert.h"
#include "proto/opaque.h"
#include "proto/status_mapping.h"
#include "server/consume_stream.h"
#include "server/fetch_call.h"
#include "server/produce_stream.h"

namespace strata::server {
namespace {

// A request that may be appended, or why not.
Status ParseAppend(const grpc::ByteBuffer& bytes, broker::AppendRequest* out) {
  v1::AppendRequest head;
  std::optional<Buffer> batch;
  STRATA_RETURN_IF_ERROR(SplitOpaque(ToBuffer(bytes), &head, &batch));
  if (!head.producer().empty() || head.term() != 0 || head.sequence() != 0 ||
      head.expected_next_id() != 0) {
    return Status(Reason::NOT_SUPPORTED,
                  "this version has no producers with identity and no expected ids yet: leave "
                  "producer, term, sequence and expected_next_id unset");
  }
  if (!batch.has_value()) {
    return Status(Reason::INVALID_ARGUMENT, "the request has no batch");
  }
  out->channel = head.channel();
  out->channel_number = head.channel_number();
  out->batch = std::move(*batch);
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
  Status status = ParseAppend(*request, &append);
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

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LogService::Produce(
    grpc::CallbackServerContext* /*call*/) {
  return ProduceStream::Start(context_);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LogService::Consume(
    grpc::CallbackServerContext* call) {
  return ConsumeStream::Start(context_, call->peer());
}

grpc::ServerUnaryReactor* LogService::Fetch(grpc::CallbackServerContext* /*call*/,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) {
  return FetchCall::Start(context_, *request, response);
}

grpc::ServerUnaryReactor* LogService::Acknowledge(grpc::CallbackServerContext* call,
                                                  const v1::AcknowledgeRequest* request,
                                                  v1::AcknowledgeResponse* /*response*/) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(ToGrpc(context_->broker->Acknowledge(request->channel(), request->subscription(),
                                                       request->through_id())));
  return reactor;
}

}  // namespace strata::server
