// The operations that a broker sends through the committer: appends, and changes of the catalog.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "broker/broker.h"
#include "broker/channel.h"
#include "broker/committer.h"

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

// One batch on its way: gets its ids in Prepare, becomes readable in Publish. Its bytes count as
// pending until Done.
class AppendOperation : public CommitOperation {
 public:
  AppendOperation(Broker* broker, std::shared_ptr<Channel> channel, Buffer batch, uint32_t count)
      : broker_(broker), channel_(std::move(channel)) {
    stored_.bytes = std::move(batch);
    stored_.count = count;
  }

  size_t bytes() const override { return stored_.bytes.size(); }
  Status Prepare(storage::WriteGroup* group) override;
  void Publish() override;

 protected:
  // The answer, after the bytes have been given back.
  Result<AppendResult> Finish(const Status& status);

 private:
  Broker* const broker_;
  const std::shared_ptr<Channel> channel_;
  storage::StoredBatch stored_;
};

// Answers through a callback; owns itself.
class AsyncAppend final : public AppendOperation {
 public:
  AsyncAppend(Broker* broker, std::shared_ptr<Channel> channel, Buffer batch, uint32_t count,
              AppendCallback done)
      : AppendOperation(broker, std::move(channel), std::move(batch), count),
        done_(std::move(done)) {}

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
