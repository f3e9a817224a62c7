// strata.v1.Log on a broker: the data path. Handlers only check, call, translate and reply; streams
// are classes of their own. Everything but Acknowledge takes and gives raw bytes (proto/opaque.h).
#pragma once

#include <memory>
#include <utility>

#include "server/call_context.h"
#include "strata/v1/log.grpc.pb.h"

namespace strata::server {

using RawLogService = v1::Log::WithRawCallbackMethod_Append<
    v1::Log::WithRawCallbackMethod_AppendMulti<v1::Log::WithRawCallbackMethod_Produce<
        v1::Log::WithRawCallbackMethod_Consume<v1::Log::WithRawCallbackMethod_Fetch<
            v1::Log::WithCallbackMethod_Acknowledge<v1::Log::Service>>>>>>;

class LogService final : public RawLogService {
 public:
  explicit LogService(std::shared_ptr<CallContext> context) : context_(std::move(context)) {}

  grpc::ServerUnaryReactor* Append(grpc::CallbackServerContext* call,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* AppendMulti(grpc::CallbackServerContext* call,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Produce(
      grpc::CallbackServerContext* call) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Consume(
      grpc::CallbackServerContext* call) override;
  grpc::ServerUnaryReactor* Fetch(grpc::CallbackServerContext* call,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Acknowledge(grpc::CallbackServerContext* call,
                                        const v1::AcknowledgeRequest* request,
                                        v1::AcknowledgeResponse* response) override;

 private:
  const std::shared_ptr<CallContext> context_;
};

}  // namespace strata::server
