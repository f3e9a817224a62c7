#include "client/grpc/produce_stream.h"

#include <utility>

#include "proto/convert.h"
#include "proto/opaque.h"

namespace strata {
namespace {

constexpr char kMethod[] = "/strata.v1.Log/Produce";

}  // namespace

std::shared_ptr<ProduceStream> ProduceStream::Open(std::shared_ptr<Connection> connection,
                                                   const v1::ProduceOpen& open, Events events) {
  auto stream = std::make_shared<ProduceStream>(std::move(connection), std::move(events));
  v1::ProduceRequest request;
  *request.mutable_open() = open;
  Start(stream, kMethod, ToByteBuffer(request));
  return stream;
}

v1::ProduceOpened ProduceStream::opened() const {
  MutexLock lock(mu_);
  return opened_;
}

void ProduceStream::Submit(uint64_t sequence, const Buffer& batch) {
  v1::ProduceRequest head;
  head.set_sequence(sequence);
  Write(ToByteBuffer(head, batch));
}

void ProduceStream::OnMessage(Buffer message) {
  v1::ProduceResponse response;
  if (const Status parsed = ParseOpaque(message, &response); !parsed.ok()) {
    {
      MutexLock lock(mu_);
      broken_ = parsed;
    }
    return Cancel();
  }
  if (response.has_opened()) {
    {
      MutexLock lock(mu_);
      opened_ = response.opened();
    }
    SetOpened();
  }
  if (response.results_size() == 0) return;
  std::vector<AppendResult> results;
  results.reserve(static_cast<size_t>(response.results_size()));
  for (const v1::AppendResult& result : response.results()) results.push_back(FromProto(result));
  events_.results(std::move(results));
}

void ProduceStream::OnEnd(const grpc::Status& status, uint64_t /*sent*/) {
  Status why = connection_->ToStatus(status, DataFate::kMayHaveBeenAppended);
  {
    MutexLock lock(mu_);
    if (!broken_.ok()) why = broken_.WithFate(DataFate::kMayHaveBeenAppended);
  }
  events_.end(why);
}

}  // namespace strata
