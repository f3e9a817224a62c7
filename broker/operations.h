// The operations that a broker sends through the committer: appends, and changes of the catalog.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "broker/broker.h"
#include "broker/channel.h"
#include "broker/committer.h"
#include "broker/producers.h"

namespace strata::broker {

// Lets a thread wait for an operation that another one may complete. Lives on the waiting thread's
// stack.
class Completion {
 public:
  void Set(const Status& status) {
    // Notified under the lock: the waiter may destroy this object as soon as it holds the lock
    // again.
    MutexLock lock(mu_);
    status_ = status;
    done_ = true;
    changed_.NotifyOne();
  }
  Status Wait() {
    MutexLock lock(mu_);
    while (!done_) changed_.Wait(mu_);
    return status_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool done_ STRATA_GUARDED_BY(mu_) = false;
  Status status_ STRATA_GUARDED_BY(mu_);
};

// One batch on its way through the write role: judged first, then given its ids, then readable. What
// a producer has stored before passes without being stored: it has its first result.
class BatchOnItsWay {
 public:
  BatchOnItsWay(Broker* broker, std::shared_ptr<Channel> channel, Sender sender, Buffer batch,
                uint32_t count)
      : broker_(broker), channel_(std::move(channel)), sender_(std::move(sender)) {
    stored_.bytes = std::move(batch);
    stored_.count = count;
  }

  size_t bytes() const { return stored_.bytes.size(); }
  const std::string& channel() const { return channel_->name(); }

  // --- Write role ---
  // Whether it may be stored; changes nothing but the session, which remembers a refusal.
  Status Judge();
  bool duplicate() const { return verdict_.duplicate_of != nullptr; }
  // REQUIRES: Judge() was the last thing that happened to its channel, and said OK.
  void Add(storage::WriteGroup* group);

  // --- In commit order ---
  void Publish();
  AppendResult result() const { return {stored_.first_id, stored_.count, stored_.append_time}; }

 private:
  Broker* broker_;
  std::shared_ptr<Channel> channel_;
  Sender sender_;
  storage::StoredBatch stored_;
  Producers::Verdict verdict_;
  bool added_ = false;
};

// One append. Its bytes count as pending until Done.
class AppendOperation : public CommitOperation {
 public:
  AppendOperation(Broker* broker, BatchOnItsWay&& batch)
      : broker_(broker), batch_(std::move(batch)) {}

  size_t bytes() const override { return batch_.bytes(); }
  Status Prepare(storage::WriteGroup* group) override;
  void Publish() override { batch_.Publish(); }

 protected:
  // The answer, after the bytes have been given back.
  Result<AppendResult> Finish(const Status& status);

 private:
  Broker* const broker_;
  BatchOnItsWay batch_;
};

// Answers through a callback; owns itself.
class AsyncAppend final : public AppendOperation {
 public:
  AsyncAppend(Broker* broker, BatchOnItsWay&& batch, AppendCallback done)
      : AppendOperation(broker, std::move(batch)), done_(std::move(done)) {}

  void Done(const Status& status) override {
    const std::unique_ptr<AsyncAppend> self(this);
    done_(Finish(status));
  }

 private:
  const AppendCallback done_;
};

// Waited for by the thread that sent it.
class BlockingAppend final : public AppendOperation {
 public:
  using AppendOperation::AppendOperation;

  void Done(const Status& status) override { completion_.Set(status); }
  Result<AppendResult> Wait() { return Finish(completion_.Wait()); }

 private:
  Completion completion_;
};

// Batches for several channels, all or none.
class MultiAppendOperation : public CommitOperation {
 public:
  MultiAppendOperation(Broker* broker, std::vector<BatchOnItsWay> batches, size_t bytes)
      : broker_(broker), batches_(std::move(batches)), bytes_(bytes) {}

  size_t bytes() const override { return bytes_; }
  Status Prepare(storage::WriteGroup* group) override;
  void Publish() override;

 protected:
  Result<std::vector<AppendResult>> Finish(const Status& status);

 private:
  Broker* const broker_;
  std::vector<BatchOnItsWay> batches_;
  const size_t bytes_;
};

// Answers through a callback; owns itself.
class AsyncMultiAppend final : public MultiAppendOperation {
 public:
  AsyncMultiAppend(Broker* broker, std::vector<BatchOnItsWay> batches, size_t bytes,
                   AppendMultiCallback done)
      : MultiAppendOperation(broker, std::move(batches), bytes), done_(std::move(done)) {}

  void Done(const Status& status) override {
    const std::unique_ptr<AsyncMultiAppend> self(this);
    done_(Finish(status));
  }

 private:
  const AppendMultiCallback done_;
};

// Waited for by the thread that sent it.
class BlockingMultiAppend final : public MultiAppendOperation {
 public:
  using MultiAppendOperation::MultiAppendOperation;

  void Done(const Status& status) override { completion_.Set(status); }
  Result<std::vector<AppendResult>> Wait() { return Finish(completion_.Wait()); }

 private:
  Completion completion_;
};

// A change of the catalog, waited for by the thread that sent it.
class CatalogOperation final : public CommitOperation {
 public:
  CatalogOperation(std::function<Status(storage::WriteGroup*)> prepare,
                   std::function<void()> publish)
      : prepare_(std::move(prepare)), publish_(std::move(publish)) {}

  size_t bytes() const override { return 0; }
  Status Prepare(storage::WriteGroup* group) override { return prepare_(group); }
  void Publish() override { publish_(); }
  void Done(const Status& status) override { completion_.Set(status); }
  Status Wait() { return completion_.Wait(); }

 private:
  const std::function<Status(storage::WriteGroup*)> prepare_;
  const std::function<void()> publish_;
  Completion completion_;
};

}  // namespace strata::broker
