// A committer by itself, over a store in memory, and operations that write down what happens to
// them.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/committer.h"
#include "broker/wakes.h"
#include "tests/broker/fixture.h"

namespace strata::testing {

// What happened, in order: "prepare a", "write", "publish a", "done a OK". Thread-safe.
class Journal {
 public:
  void Note(const std::string& line) {
    MutexLock lock(mu_);
    lines_.push_back(line);
  }
  Lines lines() const {
    MutexLock lock(mu_);
    return lines_;
  }
  // The lines that begin with `what`.
  Lines Of(const std::string& what) const {
    Lines out;
    for (const std::string& line : lines()) {
      if (line.starts_with(what)) out.push_back(line);
    }
    return out;
  }

 private:
  mutable Mutex mu_;
  Lines lines_ STRATA_GUARDED_BY(mu_);
};

class TestCommitter;

// Appends one batch of `bytes` to the only channel, unless it is told to refuse or to be empty.
class TestOperation final : public broker::CommitOperation {
 public:
  enum class Kind { kAppend, kRefused, kEmpty };

  TestOperation(TestCommitter* owner, std::string name, size_t bytes = 10,
                Kind kind = Kind::kAppend)
      : owner_(owner), name_(std::move(name)), bytes_(bytes), kind_(kind) {}

  size_t bytes() const override { return bytes_; }
  Status Prepare(storage::WriteGroup* group) override;
  void Publish() override;
  void Done(const Status& status) override;

  // Where it was prepared, published and answered.
  std::thread::id prepared_on, published_on, done_on;
  // So many wakes could have done their work when it was published.
  int spare_wakes = 0;
  // Written by Done.
  Status answer;
  MessageId id = 0;
  std::atomic<int> answers{0};
  // What the committer said of itself when Done ran.
  Status failure_at_done;

 private:
  TestCommitter* const owner_;
  const std::string name_;
  const size_t bytes_;
  const Kind kind_;
};

class TestCommitter {
 public:
  explicit TestCommitter(SyncPolicy sync = SyncPolicy::kAlways, uint64_t group_bytes = 1'000) {
    storage::WriteGroup first;
    first.commit = 1;
    storage::ChannelRecord channel;
    channel.number = 1;
    channel.name = "only";
    first.changes.emplace_back(storage::PutChannel{channel});
    if (!disk->Write(first).ok() || !disk->Sync().ok()) std::abort();
    broker::BrokerOptions options;
    options.sync = sync;
    options.sync_interval = std::chrono::milliseconds(10);
    options.group_bytes = group_bytes;
    options.clock = &clock;
    options.log = Logger([this](LogLevel, std::string_view line) { log.Note(std::string(line)); });
    committer =
        std::make_unique<broker::Committer>(options, &store, 1, [this](storage::WriteGroup* group) {
          if (rider) rider(group);
        });
  }
  ~TestCommitter() {
    disk->ReleaseWrites();
    disk->ReleaseSyncs();
    store.writes.Open();
    store.syncs.Open();
    committer.reset();
  }

  TestOperation* Add(std::string name, size_t bytes = 10,
                     TestOperation::Kind kind = TestOperation::Kind::kAppend) {
    operations.push_back(std::make_unique<TestOperation>(this, std::move(name), bytes, kind));
    return operations.back().get();
  }
  TestOperation* Submit(std::string name, size_t bytes = 10,
                        TestOperation::Kind kind = TestOperation::Kind::kAppend) {
    TestOperation* const operation = Add(std::move(name), bytes, kind);
    committer->Submit(operation);
    return operation;
  }
  TestOperation* Run(std::string name, size_t bytes = 10,
                     TestOperation::Kind kind = TestOperation::Kind::kAppend) {
    TestOperation* const operation = Add(std::move(name), bytes, kind);
    committer->Run(operation);
    return operation;
  }
  // Until `operation` has been answered.
  static bool Answered(const TestOperation* operation) {
    return Eventually([operation] { return operation->answers.load() > 0; });
  }
  // The groups that were written after the channel's own, as numbers of batches.
  std::vector<size_t> Groups() const {
    std::vector<size_t> groups = disk->batches_per_group();
    groups.erase(groups.begin());
    return groups;
  }

  ManualClock clock;
  const std::shared_ptr<MemoryStore> disk = std::make_shared<MemoryStore>();
  GatedStore store{disk};
  Journal journal;
  Journal log;
  std::function<void(storage::WriteGroup*)> rider;  // set before the first operation
  MessageId next_id = 1;                            // the write role's
  std::vector<std::unique_ptr<TestOperation>> operations;
  std::unique_ptr<broker::Committer> committer;
};

inline Status TestOperation::Prepare(storage::WriteGroup* group) {
  prepared_on = std::this_thread::get_id();
  owner_->journal.Note("prepare " + name_);
  if (kind_ == Kind::kRefused) return Status(Reason::CHANNEL_NOT_FOUND, "refused");
  if (kind_ == Kind::kEmpty) return Status::Ok();
  id = owner_->next_id++;
  storage::BatchRecord& batch = group->batches.emplace_back();
  batch.channel = 1;
  batch.first_id = id;
  batch.count = 1;
  batch.bytes = Buffer(std::string(bytes_, 'x'));
  return Status::Ok();
}

inline void TestOperation::Publish() {
  published_on = std::this_thread::get_id();
  while (broker::SpareTime::Take()) ++spare_wakes;
  owner_->journal.Note("publish " + name_);
}

inline void TestOperation::Done(const Status& status) {
  done_on = std::this_thread::get_id();
  answer = status;
  failure_at_done = owner_->committer->failure();
  owner_->journal.Note("done " + name_ + " " + GetErrorInfo(status.reason()).name);
  answers.fetch_add(1);
}

}  // namespace strata::testing
