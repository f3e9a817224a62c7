#include "client/grpc/produce_stream.h"

#include <utility>
#include <vector>

#include "client/calls.h"
#include "client/deadline.h"
#include "proto/convert.h"
#include "proto/opaque.h"

namespace strata {
namespace {

constexpr char kMethod[] = "/strata.v1.Log/Produce";
constexpr std::chrono::milliseconds kCancelTimeout{2000};

}  // namespace

Result<std::shared_ptr<ProduceStream>> ProduceStream::Open(std::shared_ptr<Connection> connection,
                                                           const std::string& channel,
                                                           const ProducerOptions& options) {
  auto stream = std::make_shared<ProduceStream>(std::move(connection));
  v1::ProduceRequest request;
  request.mutable_open()->set_channel(channel);
  request.mutable_open()->set_create_if_missing(options.create_if_missing);
  Start(stream, kMethod, ToByteBuffer(request));
  const Status opened = stream->WaitUntilOpened();
  if (opened.ok()) return stream;
  stream->Cancel();
  return NothingAppended(opened);
}

Status ProduceStream::WaitUntilOpened() {
  const std::chrono::milliseconds timeout = connection_->options().call_timeout;
  const auto deadline = DeadlineAfter(timeout);
  MutexLock lock(mu_);
  while (!opened_.has_value() && end_.ok()) {
    if (changed_.WaitUntil(mu_, deadline) == std::cv_status::timeout && !opened_.has_value() &&
        end_.ok()) {
      return Status(Reason::TIMEOUT, "the daemon did not open the producer within " +
                                         std::to_string(timeout.count()) + " ms (call_timeout)");
    }
  }
  return opened_.has_value() ? Status::Ok() : end_;
}

ChannelNumber ProduceStream::channel_number() const {
  MutexLock lock(mu_);
  return opened_->channel_number();
}

void ProduceStream::Submit(Buffer batch, BatchTransport::Done done) {
  {
    MutexLock lock(mu_);
    if (end_.ok()) {
      // Before it is written, so that its result finds it; after OnEnd() nothing gets here.
      unanswered_.push_back(std::move(done));
      ++submitted_;
    } else {
      const Status refused = end_.WithFate(DataFate::kNotAppended);
      lock.Unlock();
      done(refused);
      lock.Lock();
      return;
    }
  }
  Write(ToByteBuffer(v1::ProduceRequest(), batch));
}

void ProduceStream::OnMessage(Buffer message) {
  v1::ProduceResponse response;
  Status broken = ParseOpaque(message, &response);
  std::vector<BatchTransport::Done> answered;
  {
    MutexLock lock(mu_);
    if (response.has_opened()) {
      opened_ = response.opened();
      changed_.NotifyAll();
    }
    if (static_cast<size_t>(response.results_size()) > unanswered_.size()) {
      broken = Status(Reason::INTERNAL, "the daemon sent more results than it got batches");
    }
    if (!broken.ok()) {
      if (end_.ok()) end_ = broken;
      changed_.NotifyAll();
    } else {
      for (int i = 0; i < response.results_size(); ++i) {
        answered.push_back(std::move(unanswered_.front()));
        unanswered_.pop_front();
      }
    }
  }
  if (!broken.ok()) Cancel();
  for (size_t i = 0; i < answered.size(); ++i) {
    answered[i](FromProto(response.results(static_cast<int>(i))));
  }
}

void ProduceStream::OnEnd(const grpc::Status& status, uint64_t sent) {
  // Without details the daemon had no word: everything that was sent may be stored.
  const bool told = !status.error_details().empty();
  Status end = connection_->ToStatus(status, DataFate::kMayHaveBeenAppended);
  if (end.ok()) end = Status(Reason::CONNECTION_LOST, "the daemon ended the producer's stream");
  std::deque<BatchTransport::Done> unanswered;
  uint64_t answered = 0;
  {
    MutexLock lock(mu_);
    if (end_.ok()) end_ = end;
    end = end_;
    unanswered.swap(unanswered_);
    answered = submitted_ - unanswered.size();
    changed_.NotifyAll();
  }
  const Status not_appended = end.WithFate(DataFate::kNotAppended);
  for (size_t i = 0; i < unanswered.size(); ++i) {
    // The first message of the stream was the opening.
    const bool was_sent = 1 + answered + i < sent;
    unanswered[i](was_sent && (i == 0 || !told) ? end : not_appended);
  }
}

void ProduceTransport::Abort() {
  stream_->Cancel();
  stream_->WaitUntilEnded(kCancelTimeout);
}

}  // namespace strata
