// Batches for several channels in one group: judged all, before anything is changed, then added all.
#include <set>

#include "broker/broker.h"
#include "broker/operations.h"

namespace strata::broker {

Result<std::vector<BatchOnItsWay>> Broker::AdmitMulti(std::vector<AppendRequest> requests,
                                                      uint64_t* bytes) {
  if (requests.empty()) {
    return Status(Reason::INVALID_ARGUMENT, "AppendMulti takes at least one append");
  }
  std::vector<BatchOnItsWay> batches;
  batches.reserve(requests.size());
  std::set<std::string> channels;
  *bytes = 0;
  for (AppendRequest& request : requests) {
    if (request.session != nullptr) {
      return Status(Reason::INVALID_ARGUMENT, "AppendMulti takes no sessions; name the producer");
    }
    STRATA_ASSIGN_OR_RETURN(BatchOnItsWay batch, Check(&request));
    if (!channels.insert(batch.channel()).second) {
      return Status(Reason::INVALID_ARGUMENT, "AppendMulti has two batches for channel '" +
                                                  batch.channel() + "'; put them into one");
    }
    *bytes += batch.bytes();
    batches.push_back(std::move(batch));
  }
  if (*bytes > options_.limits.max_batch()) {
    return Status(Reason::BATCH_TOO_LARGE,
                  "the batches together have " + std::to_string(*bytes) + " bytes, at most " +
                      std::to_string(options_.limits.max_batch()) + " may be appended at once");
  }
  STRATA_RETURN_IF_ERROR(Reserve(*bytes));
  return batches;
}

void Broker::AppendMultiAsync(std::vector<AppendRequest> requests, AppendMultiCallback done) {
  uint64_t bytes = 0;
  Result<std::vector<BatchOnItsWay>> batches = AdmitMulti(std::move(requests), &bytes);
  if (!batches.ok()) return done(batches.status());
  committer_->Submit(new AsyncMultiAppend(this, *std::move(batches), bytes, std::move(done)));
}

Result<std::vector<AppendResult>> Broker::AppendMulti(std::vector<AppendRequest> requests) {
  uint64_t bytes = 0;
  STRATA_ASSIGN_OR_RETURN(std::vector<BatchOnItsWay> batches,
                          AdmitMulti(std::move(requests), &bytes));
  BlockingMultiAppend append(this, std::move(batches), bytes);
  committer_->Run(&append);
  return append.Wait();
}

Status MultiAppendOperation::Prepare(storage::WriteGroup* group) {
  const BatchOnItsWay* duplicate = nullptr;
  const BatchOnItsWay* fresh = nullptr;
  for (BatchOnItsWay& batch : batches_) {
    STRATA_RETURN_IF_ERROR(batch.Judge());
    (batch.duplicate() ? duplicate : fresh) = &batch;
  }
  if (duplicate != nullptr && fresh != nullptr) {
    return Status(Reason::INVALID_ARGUMENT,
                  "the batch for channel '" + duplicate->channel() +
                      "' was stored before and the one for channel '" + fresh->channel() +
                      "' was not, so this is not what was sent then; nothing of it was stored now");
  }
  for (BatchOnItsWay& batch : batches_) batch.Add(group);
  return Status::Ok();
}

void MultiAppendOperation::Publish() {
  for (BatchOnItsWay& batch : batches_) batch.Publish();
}

Result<std::vector<AppendResult>> MultiAppendOperation::Finish(const Status& status) {
  broker_->ReleasePending(bytes_);
  if (!status.ok()) return status;
  std::vector<AppendResult> results;
  results.reserve(batches_.size());
  for (const BatchOnItsWay& batch : batches_) results.push_back(batch.result());
  return results;
}

}  // namespace strata::broker
